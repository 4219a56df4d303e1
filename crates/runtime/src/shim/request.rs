//! What host and spawner say to each other, over a stream socket: a length, the request as JSON, and with it the locked
//! lock file; back comes the pid of the shim, or the number of an error, negative. All numbers little-endian.

use crate::program::Program;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The program of a shim that is started directly, in the attempt's directory. It may hold secrets: the shim removes it.
pub(crate) const PROGRAM: &str = "program.json";

/// One shim to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The attempt's directory, absolute.
    pub(crate) dir: PathBuf,
    /// What to run there.
    pub(crate) program: Program,
}

impl Request {
    /// The host's part.
    pub(crate) fn send(&self, mut socket: &UnixStream, file: BorrowedFd<'_>) -> io::Result<()> {
        let bytes = serde_json::to_vec(self)?;
        let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let fds = [file];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let header = len.to_le_bytes();
        let iov = [IoSlice::new(&header), IoSlice::new(&bytes)];
        let sent = rustix::net::sendmsg(socket, &iov, &mut control, SendFlags::NOSIGNAL)?;
        // The socket may take only part; the lock went with the first byte.
        let whole = [&header[..], &bytes].concat();
        socket.write_all(&whole[sent..])
    }

    /// The spawner's part. `None` when the host has closed its end. The inner error is a request that makes no sense.
    pub(crate) fn receive(
        mut socket: &UnixStream,
    ) -> io::Result<Option<io::Result<(Request, OwnedFd)>>> {
        let mut header = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            let mut iov = [IoSliceMut::new(&mut header)];
            rustix::net::recvmsg(socket, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        if received.bytes == 0 {
            return Ok(None);
        }
        socket.read_exact(&mut header[received.bytes..])?;
        let mut bytes = vec![0; u32::from_le_bytes(header) as usize];
        socket.read_exact(&mut bytes)?;
        let lock = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let request = serde_json::from_slice(&bytes).map_err(io::Error::from);
        Ok(Some(request.and_then(|request| {
            let lock = lock.ok_or_else(|| io::Error::other("no lock came with the request"))?;
            Ok((request, lock))
        })))
    }
}

/// The spawner's answer.
pub(crate) fn send_answer(mut socket: &UnixStream, answer: &io::Result<u32>) -> io::Result<()> {
    let number = match answer {
        Ok(pid) => i64::from(*pid),
        Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EINVAL)),
    };
    socket.write_all(&number.to_le_bytes())
}

/// Waits for the spawner's answer.
pub(crate) fn receive_answer(mut socket: &UnixStream) -> io::Result<u32> {
    let mut number = [0; 8];
    socket.read_exact(&mut number)?;
    let number = i64::from_le_bytes(number);
    u32::try_from(number).map_err(|_| io::Error::from_raw_os_error(-number as i32))
}

/// Writes a file that only this user may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_request_larger_than_the_socket_arrives_with_its_lock() {
        let (host, spawner) = UnixStream::pair().unwrap();
        let request = Request {
            dir: "/a/b.1".into(),
            program: Program {
                script: "x".repeat(3 << 20),
                ..Program::default()
            },
        };
        let served = std::thread::spawn(move || {
            let (request, lock) = Request::receive(&spawner).unwrap().unwrap().unwrap();
            assert_eq!(request.dir, Path::new("/a/b.1"));
            let mut text = String::new();
            std::fs::File::from(lock).read_to_string(&mut text).unwrap();
            send_answer(&spawner, &Ok(request.program.script.len() as u32)).unwrap();
            send_answer(&spawner, &Err(io::Error::from_raw_os_error(11))).unwrap();
            assert!(Request::receive(&spawner).unwrap().is_none());
            text
        });
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        write_private(&path, b"locked").unwrap();
        let lock = std::fs::File::open(&path).unwrap();
        request.send(&host, lock.as_fd()).unwrap();
        assert_eq!(receive_answer(&host).unwrap(), 3 << 20);
        assert_eq!(receive_answer(&host).unwrap_err().raw_os_error(), Some(11));
        drop(host);
        assert_eq!(served.join().unwrap(), "locked");
    }
}
