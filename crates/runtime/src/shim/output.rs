//! One of the program's two output streams: a pipe, and the line that is being printed on it.

use crate::shim::feed_file::FeedFile;
use feed::{Splitter, Stream};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// A line that is not finished is given out after this long, so that a prompt or a progress bar is seen.
const PARTIAL_AFTER: Duration = Duration::from_millis(100);
/// Most bytes taken before looking elsewhere.
const TURN_BYTES: usize = 1 << 20;
/// Pipe of a program that prints a lot.
const LARGE_PIPE: usize = 1 << 20;

pub(super) struct Output {
    stream: Stream,
    /// `None` once every writer has closed it.
    pub(super) pipe: Option<OwnedFd>,
    splitter: Splitter,
    /// When the oldest byte that is held back came.
    held_since: Option<Instant>,
    enlarged: bool,
}

impl Output {
    /// The stream, and the end that the program is to write to.
    pub(super) fn new(stream: Stream) -> io::Result<(Output, OwnedFd)> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)?;
        let output = Output {
            stream,
            pipe: Some(read),
            splitter: Splitter::new(),
            held_since: None,
            enlarged: false,
        };
        Ok((output, write))
    }

    /// Takes what the pipe has, up to a limit. Whether it had anything.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        feed: &mut FeedFile,
        now: Instant,
        time_us: u64,
    ) -> bool {
        let mut taken = 0;
        while let Some(pipe) = &self.pipe
            && taken < TURN_BYTES
        {
            match rustix::io::read(pipe, &mut *buffer) {
                Ok(0) => self.pipe = None,
                Ok(n) => {
                    let stream = self.stream;
                    self.splitter.push(&buffer[..n], |data, partial| {
                        feed.push(stream, partial, time_us, data);
                    });
                    taken += n;
                    if n == buffer.len() && !self.enlarged {
                        // Refused where the user has used up its share of pipe memory: then it stays small.
                        let _ = rustix::pipe::fcntl_setpipe_size(pipe, LARGE_PIPE);
                        self.enlarged = true;
                    }
                    if n < buffer.len() {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        if self.splitter.held_len() == 0 {
            self.held_since = None;
        } else if taken > 0 {
            self.held_since.get_or_insert(now);
        }
        taken > 0
    }

    /// When [`flush_partial`](Self::flush_partial) will have something to do.
    pub(super) fn partial_due(&self) -> Option<Instant> {
        self.held_since.map(|since| since + PARTIAL_AFTER)
    }

    /// Gives out an unfinished line that has been held long enough. Whether there was one.
    pub(super) fn flush_partial(
        &mut self,
        feed: &mut FeedFile,
        now: Instant,
        time_us: u64,
    ) -> bool {
        if self.partial_due().is_none_or(|due| now < due) {
            return false;
        }
        let stream = self.stream;
        self.splitter
            .flush_partial(|data, partial| feed.push(stream, partial, time_us, data));
        self.held_since = None;
        true
    }

    /// Gives out what is held at the end of the stream.
    pub(super) fn finish(&mut self, feed: &mut FeedFile, time_us: u64) {
        let stream = self.stream;
        self.splitter
            .finish(|data, partial| feed.push(stream, partial, time_us, data));
    }
}
