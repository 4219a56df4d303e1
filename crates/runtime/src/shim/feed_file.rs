//! The feed as the shim writes it: frames gathered in memory, appended by one write per batch.
//!
//! `written ≤ gathered`; the file always ends at the end of a frame, also after a write that failed half way.

use feed::Stream;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

pub(super) struct FeedFile {
    file: OwnedFd,
    /// Frames not yet written.
    gathered: Vec<u8>,
    gathered_records: u64,
    written_bytes: u64,
    written_records: u64,
    /// A write failed: nothing more is taken.
    broken: bool,
    /// Bytes of what the program prints that may still be taken.
    room: Option<u64>,
    /// Bytes of it that were left out.
    left_out: u64,
}

impl FeedFile {
    /// Makes the feed of an attempt's directory, or takes the empty one that is there. An error if it holds something.
    pub(super) fn create(dir: impl AsFd) -> io::Result<FeedFile> {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
        let flags = flags | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(dir, "feed", flags, Mode::from_raw_mode(0o600))?;
        FeedFile::of(file)
    }

    /// Takes an empty file that is open for appending.
    pub(super) fn of(file: OwnedFd) -> io::Result<FeedFile> {
        if rustix::fs::fstat(&file)?.st_size != 0 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(FeedFile {
            file,
            gathered: Vec::new(),
            gathered_records: 0,
            written_bytes: 0,
            written_records: 0,
            broken: false,
            room: None,
            left_out: 0,
        })
    }

    /// From now on at most so many bytes of what the program prints are taken.
    pub(super) fn limit(&mut self, bytes: Option<u64>) {
        self.room = bytes;
    }

    /// Bytes of what the program printed that were left out for the limit.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Adds one record. Once one of the program's own does not fit within the limit, no further one is taken, so that a log ends somewhere
    /// instead of having holes.
    pub(super) fn push(&mut self, stream: Stream, partial: bool, time_us: u64, data: &[u8]) {
        let is_printed = matches!(stream, Stream::Stdout | Stream::Stderr);
        if let Some(room) = self.room.as_mut().filter(|_| is_printed) {
            let len = data.len() as u64;
            if self.left_out > 0 || len > *room {
                self.left_out += len;
                return;
            }
            *room -= len;
        }
        if !self.broken {
            feed::encode_parts(stream, partial, time_us, data, &mut self.gathered);
            let pieces = data.len().div_ceil(feed::MAX_RECORD_LEN).max(1);
            self.gathered_records += pieces as u64;
        }
    }

    /// Bytes gathered and not yet written.
    pub(super) fn gathered_bytes(&self) -> usize {
        self.gathered.len()
    }

    /// Appends what was gathered. After an error, the file holds the whole frames that went in, and takes no more.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut done = 0;
        let mut result = Ok(());
        while done < self.gathered.len() && result.is_ok() {
            match rustix::io::retry_on_intr(|| {
                rustix::io::write(&self.file, &self.gathered[done..])
            }) {
                Ok(n) => done += n,
                Err(error) => result = Err(error.into()),
            }
        }
        if result.is_ok() {
            self.written_records += self.gathered_records;
        } else {
            let mut whole = feed::frames(&self.gathered[..done]);
            whole.by_ref().for_each(drop);
            self.written_records += whole.count_so_far();
            done = whole.whole_bytes();
            self.broken = true;
        }
        self.written_bytes += done as u64;
        if self.broken {
            let _ = rustix::fs::ftruncate(&self.file, self.written_bytes);
        }
        self.gathered.clear();
        self.gathered_records = 0;
        result
    }

    /// Records and bytes in the file.
    pub(super) fn written(&self) -> (u64, u64) {
        (self.written_records, self.written_bytes)
    }
}
