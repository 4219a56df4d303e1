//! What host, spawner and shims say to each other, over stream sockets. All numbers little-endian.
//!
//! ```text
//!  host ── one byte, with the shim's end of a new socket ──> spawner
//!  host <─ pid of the shim, or the number of an error, negative ── spawner
//!  host ── length, request as JSON, with the locked run file ──> shim
//!  host <─ one byte: the attempt is at its end and the shim serves another ── shim
//! ```
//!
//! A shim in a container connects to the host instead, and is given its one attempt:
//!
//! ```text
//!  host ── one byte, with the empty feed ──> shim
//!  host ── length, request as JSON, with the locked run file ──> shim
//!  host ── if devices are measured: one byte, with the board of their readings ──> shim
//! ```

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

/// Bytes of the length before a request.
const LENGTH: usize = 4;
/// Most requests are no longer and come with one call.
const USUAL: usize = 8 * 1024;
/// What is said where one byte says all.
const MARK: [u8; 1] = *b"+";

/// One attempt to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The attempt's directory, absolute.
    pub(crate) dir: PathBuf,
    /// What to run there.
    pub(crate) program: Program,
}

impl Request {
    /// The host's part.
    pub(crate) fn send(&self, socket: &UnixStream, file: BorrowedFd<'_>) -> io::Result<()> {
        let mut bytes = vec![0; LENGTH];
        serde_json::to_writer(&mut bytes, self)?;
        let len = u32::try_from(bytes.len() - LENGTH).map_err(|_| io::ErrorKind::FileTooLarge)?;
        bytes[..LENGTH].copy_from_slice(&len.to_le_bytes());
        send_with(socket, &bytes, file)
    }

    /// The shim's part. `None` when the host has closed its end.
    pub(crate) fn receive(mut socket: &UnixStream) -> io::Result<Option<(Request, OwnedFd)>> {
        let mut bytes = vec![0; USUAL];
        let (mut filled, lock) = receive_with(socket, &mut bytes)?;
        if filled == 0 {
            return Ok(None);
        }
        if filled < LENGTH {
            socket.read_exact(&mut bytes[filled..LENGTH])?;
            filled = LENGTH;
        }
        let mut length = [0; LENGTH];
        length.copy_from_slice(&bytes[..LENGTH]);
        let end = LENGTH + u32::from_le_bytes(length) as usize;
        if end < filled {
            return Err(io::Error::other("more than one request came"));
        }
        bytes.resize(end, 0);
        socket.read_exact(&mut bytes[filled..])?;
        let request = serde_json::from_slice(&bytes[LENGTH..])?;
        let lock = lock.ok_or_else(|| io::Error::other("no lock came with the request"))?;
        Ok(Some((request, lock)))
    }
}

/// The host asks the spawner for a shim that listens to `theirs`; gives its pid.
pub(crate) fn ask_for_shim(mut spawner: &UnixStream, theirs: BorrowedFd<'_>) -> io::Result<u32> {
    send_with(spawner, &MARK, theirs)?;
    let mut number = [0; 8];
    spawner.read_exact(&mut number)?;
    let number = i64::from_le_bytes(number);
    u32::try_from(number).map_err(|_| io::Error::from_raw_os_error(-number as i32))
}

/// The spawner hears that it is to fork, and for which socket. `None` when the host has closed its end.
pub(crate) fn heard_ask(host: &UnixStream) -> io::Result<Option<UnixStream>> {
    match receive_with(host, &mut [0])? {
        (0, _) => Ok(None),
        (_, Some(socket)) => Ok(Some(socket.into())),
        (_, None) => Err(io::Error::other("no socket came for the shim")),
    }
}

/// The spawner's answer.
pub(crate) fn send_answer(mut host: &UnixStream, answer: &io::Result<u32>) -> io::Result<()> {
    let number = match answer {
        Ok(pid) => i64::from(*pid),
        Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EINVAL)),
    };
    host.write_all(&number.to_le_bytes())
}

/// The shim says that it serves another attempt. Said before the present one's exit can be seen.
pub(crate) fn say_free(host: &UnixStream) -> io::Result<()> {
    rustix::net::send(host, &MARK, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Whether the shim has said so. An error if it is gone or goes.
pub(crate) fn heard_free(shim: &UnixStream) -> io::Result<bool> {
    match rustix::net::recv(shim, &mut [0], RecvFlags::DONTWAIT) {
        Ok((_, 0)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::AGAIN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The host gives a file to a shim that cannot open it.
pub(crate) fn send_file(shim: &UnixStream, file: BorrowedFd<'_>) -> io::Result<()> {
    send_with(shim, &MARK, file)
}

/// The shim takes it.
pub(crate) fn receive_file(host: &UnixStream) -> io::Result<OwnedFd> {
    let (_, file) = receive_with(host, &mut [0])?;
    file.ok_or_else(|| io::Error::other("no file came"))
}

/// Sends all of `bytes`, and `fd` with the first of them.
fn send_with(mut socket: &UnixStream, bytes: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let iov = [IoSlice::new(bytes)];
    let sent = rustix::net::sendmsg(socket, &iov, &mut control, SendFlags::NOSIGNAL)?;
    socket.write_all(&bytes[sent..])
}

/// Receives what is there, and the descriptor that came with it.
fn receive_with(socket: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let mut iov = [IoSliceMut::new(bytes)];
        rustix::net::recvmsg(socket, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok((received.bytes, fd))
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
    fn requests_of_all_sizes_arrive_with_their_lock() {
        let (host, shim) = UnixStream::pair().unwrap();
        let sizes = [0, USUAL - 300, USUAL, 3 << 20];
        let served = std::thread::spawn(move || {
            for size in sizes {
                let (request, lock) = Request::receive(&shim).unwrap().unwrap();
                assert_eq!(request.dir, Path::new("/a/b.1"));
                assert_eq!(request.program.script.len(), size);
                let mut text = String::new();
                std::fs::File::from(lock).read_to_string(&mut text).unwrap();
                assert_eq!(text, "locked");
                say_free(&shim).unwrap();
            }
            assert!(Request::receive(&shim).unwrap().is_none());
        });
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        write_private(&path, b"locked").unwrap();
        for size in sizes {
            let request = Request {
                dir: "/a/b.1".into(),
                program: Program {
                    script: "x".repeat(size),
                    ..Program::default()
                },
            };
            let lock = std::fs::File::open(&path).unwrap();
            request.send(&host, lock.as_fd()).unwrap();
            while !heard_free(&host).unwrap() {
                std::thread::yield_now();
            }
        }
        host.shutdown(std::net::Shutdown::Write).unwrap();
        served.join().unwrap();
        assert!(heard_free(&host).is_err(), "the shim is gone");
    }

    #[test]
    fn a_spawner_is_given_a_socket_and_answers() {
        let (host, spawner) = UnixStream::pair().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let served = std::thread::spawn(move || {
            let mut socket = heard_ask(&spawner).unwrap().unwrap();
            send_answer(&spawner, &Ok(7)).unwrap();
            socket.write_all(b"shim").unwrap();
            drop(heard_ask(&spawner).unwrap().unwrap());
            send_answer(&spawner, &Err(io::Error::from_raw_os_error(11))).unwrap();
            assert!(heard_ask(&spawner).unwrap().is_none());
        });
        assert_eq!(ask_for_shim(&host, theirs.as_fd()).unwrap(), 7);
        let error = ask_for_shim(&host, theirs.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(11));
        drop((host, theirs));
        let mut text = String::new();
        (&ours).read_to_string(&mut text).unwrap();
        assert_eq!(text, "shim");
        served.join().unwrap();
    }
}
