//! One record: a line, or a piece of a long one, with its time and the stream it came by.

use bytes::Bytes;
use std::fmt;

/// Most bytes of data in one record. A longer line continues in the next record of its stream.
pub const MAX_RECORD_LEN: usize = 64 * 1024;

/// Where a record came from. The numbers are stored on disks and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stream {
    /// The program's standard output, byte for byte. Metadata is read from here only.
    Stdout = 1,
    /// The program's standard error, byte for byte.
    Stderr = 2,
    /// What Shoal has to say about the attempt: started, limit reached, stopped.
    Status = 3,
    /// Measurements of the machine and the program.
    Metric = 4,
}

impl Stream {
    /// All streams, in the order of their numbers.
    pub const ALL: [Stream; 4] = [
        Stream::Stdout,
        Stream::Stderr,
        Stream::Status,
        Stream::Metric,
    ];

    /// The stream of a stored number, if there is one.
    pub fn from_number(number: u8) -> Option<Stream> {
        Stream::ALL.into_iter().find(|s| *s as u8 == number)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Status => "status",
            Stream::Metric => "metric",
        })
    }
}

/// One record of a feed. Its number is its position and is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was read from the program, in microseconds since the Unix epoch, by the worker's clock.
    pub time_us: u64,
    /// Where it came from.
    pub stream: Stream,
    /// The line goes on in the next record of the same stream.
    pub partial: bool,
    /// The bytes as printed, including the newline if there was one; at most [`MAX_RECORD_LEN`].
    pub data: Bytes,
}

/// Who may write: the Raft log index of the entry that assigned the attempt. A higher fence shuts out all lower ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_numbers_never_change() {
        let numbers: Vec<u8> = Stream::ALL.iter().map(|s| *s as u8).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        for stream in Stream::ALL {
            assert_eq!(Stream::from_number(stream as u8), Some(stream));
        }
        assert_eq!(Stream::from_number(0), None);
        assert_eq!(Stream::from_number(5), None);
    }
}
