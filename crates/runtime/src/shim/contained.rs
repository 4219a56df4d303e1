//! The shim as the first process of a container: it has the image's files around it, and of the attempt what the host gives it.
//!
//! Nothing of the attempt's directory is mounted but what the program is to see: the feed and the run file come as open
//! descriptors by a socket. So a hostile program finds no file by which it could lie about its end, or lead the host astray.

use crate::run_file::RunFile;
use crate::shim::request::{self, Request};
use crate::shim::run::Shim;
use crate::shim::{SIGNALS, spawner};
use crate::sys::{self, SingleThreaded};
use rustix::process::DumpableBehavior;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;

/// Where the directory is mounted that has this program and what it needs.
pub(crate) const HOME: &str = "/.shoal";
/// Where the directory is mounted that has the two following.
pub(crate) const LAUNCH: &str = "/.shoal/launch";
/// The host's socket, until the shim has connected.
pub(crate) const SOCKET: &str = "/.shoal/launch/socket";
/// The script, where it has to be a file.
pub(crate) const SCRIPT: &str = "/.shoal/launch/script";

/// Of the processes of a container, the program's are more likely to be killed for want of memory by this much than the shim.
const PREFERENCE: &str = "500";

/// Runs the one attempt of this container.
pub(super) fn run() -> io::Result<()> {
    SingleThreaded::check()?;
    if !rustix::process::getpid().is_init() {
        return Err(io::Error::other("this is no first process of a container"));
    }
    spawner::stdin_from_null()?;
    sys::block_signals(&SIGNALS)?;
    let host = UnixStream::connect(SOCKET)?;
    let feed = request::receive_file(&host)?;
    let received = Request::receive(&host)?;
    let (request, file) = received.ok_or_else(|| io::Error::other("the host has gone"))?;
    let metrics = request.program.metrics.as_ref();
    let needs_board = metrics.is_some_and(|metrics| !metrics.devices.is_empty());
    // A program whose devices are not measured runs as well.
    let board = needs_board
        .then(|| request::receive_file(&host).ok())
        .flatten();
    drop(host);
    let confined = Confined::new();
    Shim::new()?.contained(&request, RunFile::from_host(file), feed, confined, board)
}

/// What this process is beside being the shim: the one that must not be touched.
pub(super) struct Confined {
    oom_score: Option<File>,
}

impl Confined {
    /// From now on no other process of the container can look into this one, whoever's it is.
    fn new() -> Confined {
        let score = OpenOptions::new()
            .write(true)
            .open("/proc/self/oom_score_adj");
        // Only afterwards: the file belongs to root then. A kernel that refuses leaves it as other programs have it.
        let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
        Confined {
            oom_score: score.ok(),
        }
    }

    /// What is started next is to be killed before us when memory is short.
    pub(super) fn offer_the_program(&self) {
        self.write(PREFERENCE);
    }

    /// What is there already keeps what it has.
    pub(super) fn keep_ourselves(&self) {
        self.write("0");
    }

    /// Where it cannot be written, all are as likely; the engine tells it then.
    fn write(&self, score: &str) {
        if let Some(mut file) = self.oom_score.as_ref() {
            let _ = file.write_all(score.as_bytes());
        }
    }
}
