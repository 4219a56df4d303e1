//! Reading an attempt's feed while its shim writes it.

use crate::attempt::AttemptDir;
use bytes::Bytes;
use feed::{Batch, BatchError, MAX_FRAME_LEN};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// A reader that remembers how far it came, in bytes and in records.
#[derive(Debug)]
pub struct FeedTail {
    path: PathBuf,
    file: Option<File>,
    offset: u64,
    next_record: u64,
}

impl FeedTail {
    /// A reader of the feed of `dir` from byte `offset` on, where record `next_record` begins. Opens nothing yet.
    pub fn new(dir: &AttemptDir, offset: u64, next_record: u64) -> FeedTail {
        FeedTail {
            path: dir.feed(),
            file: None,
            offset,
            next_record,
        }
    }

    /// The whole frames that follow, in at most `max_bytes` (or one frame); an empty batch if there are none yet.
    ///
    /// # Errors
    /// `InvalidData` if what follows is no frame, and the errors of the file system.
    pub fn read(&mut self, max_bytes: usize) -> io::Result<Batch> {
        let mut bytes = Vec::new();
        let offset = self.offset;
        if let Some(file) = self.open()? {
            let rest = file.metadata()?.len().saturating_sub(offset);
            let room = rest.min(max_bytes.max(MAX_FRAME_LEN) as u64) as usize;
            bytes.resize(room, 0);
            let mut filled = 0;
            while filled < room {
                match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            bytes.truncate(filled);
        }
        let (batch, whole) = Batch::of_whole_prefix(self.next_record, Bytes::from(bytes))
            .map_err(|error: BatchError| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.offset += whole as u64;
        self.next_record = batch.end_record();
        Ok(batch)
    }

    /// The byte after the last frame that was read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The number of the next record.
    pub fn next_record(&self) -> u64 {
        self.next_record
    }

    /// The shim makes the file a moment after the launch: until then the feed is empty.
    fn open(&mut self) -> io::Result<Option<&File>> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
        Ok(self.file.as_ref())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use feed::Stream;
    use std::io::Write;

    #[test]
    fn a_torn_frame_waits_for_its_rest() {
        let temp = tempfile::tempdir().unwrap();
        let dir = AttemptDir::at(temp.path().to_path_buf());
        let mut tail = FeedTail::new(&dir, 0, 0);
        assert!(tail.read(1).unwrap().is_empty(), "no file yet");

        let mut bytes = Vec::new();
        feed::encode_parts(Stream::Stdout, false, 1, b"one\n", &mut bytes);
        let first = bytes.len();
        feed::encode_parts(Stream::Stdout, false, 2, b"two\n", &mut bytes);
        let mut file = File::create(dir.feed()).unwrap();
        file.write_all(&bytes[..first + 5]).unwrap();
        let batch = tail.read(1).unwrap();
        assert_eq!((batch.first_record, batch.count), (0, 1));
        assert!(tail.read(1).unwrap().is_empty());

        file.write_all(&bytes[first + 5..]).unwrap();
        let batch = tail.read(1).unwrap();
        assert_eq!((batch.first_record, batch.count), (1, 1));
        assert_eq!((tail.offset(), tail.next_record()), (bytes.len() as u64, 2));

        file.write_all(&[0xff; 30]).unwrap();
        assert_eq!(tail.read(1).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
