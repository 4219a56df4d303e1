//! Hearing of attempts in containers: the kernel says when a shim has written to one of an attempt's files, or closed it.
//!
//! Shims in containers send no datagrams: nothing that a program in there could flood, or hold up, is between the two.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What comes within this time is told once: a program that prints much is not worth a look a line.
const GATHER: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// Whom to tell that an attempt is to be looked at.
pub type News = Arc<dyn Fn(OsString) + Send + Sync>;

type Names = Mutex<HashMap<i32, OsString>>;

/// The watched attempts.
#[derive(Debug)]
pub(super) struct Watch {
    queue: Arc<OwnedFd>,
    names: Arc<Names>,
    /// The thread ends when this closes.
    _end: OwnedFd,
}

impl Watch {
    /// Watches nothing yet. `news` is told by a thread of its own.
    pub(super) fn new(news: News) -> io::Result<Watch> {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let queue = Arc::new(inotify::init(flags)?);
        let names = Arc::<Names>::default();
        let (ends, end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        std::thread::Builder::new()
            .name("containers".into())
            .spawn({
                let (queue, names) = (queue.clone(), names.clone());
                move || tell(&queue, &names, &ends, &news)
            })?;
        Ok(Watch {
            queue,
            names,
            _end: end,
        })
    }

    /// Watches the files in the directory of an attempt, until that is removed.
    pub(super) fn add(&self, dir: &Path) -> io::Result<()> {
        let flags = WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
        // Locked before, so that the first event finds its name.
        let mut names = lock(&self.names);
        let number = inotify::add_watch(&self.queue, dir, flags)?;
        names.insert(number, dir.file_name().unwrap_or_default().to_os_string());
        Ok(())
    }
}

fn tell(queue: &OwnedFd, names: &Names, ends: &OwnedFd, news: &News) {
    while let Some(false) = wait(&[ends, queue], None) {
        for name in read(queue, names) {
            news(name);
        }
        if wait(&[ends], Some(&GATHER)) != Some(false) {
            return;
        }
    }
}

/// Waits for one of these, or for that long; whether the first has something to say. `None` if there is no waiting.
fn wait(all: &[&OwnedFd], timeout: Option<&Timespec>) -> Option<bool> {
    let mut all: Vec<PollFd<'_>> = all
        .iter()
        .map(|fd| PollFd::new(*fd, PollFlags::IN))
        .collect();
    match rustix::event::poll(&mut all, timeout) {
        Ok(_) => Some(!all.first()?.revents().is_empty()),
        Err(Errno::INTR) => Some(false),
        Err(_) => None,
    }
}

/// Takes all there is; each name once.
fn read(queue: &OwnedFd, names: &Names) -> BTreeSet<OsString> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(queue, &mut buffer);
    let mut names = lock(names);
    let mut found = BTreeSet::new();
    loop {
        match reader.next() {
            Ok(event) if event.events().contains(inotify::ReadFlags::IGNORED) => {
                names.remove(&event.wd());
            }
            // More than the kernel keeps: look at all.
            Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => {
                found.extend(names.values().cloned());
            }
            Ok(event) => found.extend(names.get(&event.wd()).cloned()),
            Err(Errno::INTR) => {}
            Err(_) => return found,
        }
    }
}

fn lock(names: &Names) -> MutexGuard<'_, HashMap<i32, OsString>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}
