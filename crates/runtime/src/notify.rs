//! Datagrams from shims to the host: "look again at this attempt". A lost one does no harm beyond its delay.
//!
//! Invariant: whatever a datagram announces is in the attempt's files before it is sent. So a host that binds the socket
//! first and then scans the attempts misses nothing, and a shim whose host is down sends into the void.

use crate::beneath;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Longest path that fits into a socket address.
const MAX_SOCKET_PATH: usize = 107;
/// Longest name of an attempt's directory.
const MAX_NAME: usize = 255;

/// The host's end: datagrams whose content is the name of an attempt's directory.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
}

impl NotifySocket {
    /// Where the socket of a data directory is.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("notify.sock")
    }

    /// Binds the socket of `data_dir`, taking the place of one that an earlier daemon left. Does not block when read.
    pub fn bind(data_dir: &Path) -> io::Result<NotifySocket> {
        let path = NotifySocket::path(data_dir);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let reachable = Reachable::new(&path)?;
        let socket = UnixDatagram::bind(&reachable.path)?;
        socket.set_nonblocking(true)?;
        Ok(NotifySocket { socket })
    }

    /// The next attempt to look at; `None` when there is none just now.
    pub fn receive(&self) -> io::Result<Option<OsString>> {
        let mut name = vec![0; MAX_NAME];
        match self.socket.recv(&mut name) {
            Ok(len) => {
                name.truncate(len);
                Ok(Some(OsString::from_vec(name)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The socket, for an event loop to own.
    pub fn into_socket(self) -> UnixDatagram {
        self.socket
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A path short enough for a socket address: long ones go through an open directory.
pub(crate) struct Reachable {
    pub(crate) path: PathBuf,
    _dir: Option<OwnedFd>,
}

impl Reachable {
    pub(crate) fn new(path: &Path) -> io::Result<Reachable> {
        if path.as_os_str().len() <= MAX_SOCKET_PATH {
            let path = path.to_path_buf();
            return Ok(Reachable { path, _dir: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let dir = beneath::open_dir(parent)?;
        let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string());
        Ok(Reachable {
            path: path.join(name),
            _dir: Some(dir),
        })
    }
}

/// The shim's end. It keeps no connection: the host may be replaced at any time.
pub(crate) struct Notifier {
    path: Option<PathBuf>,
    socket: Option<(UnixDatagram, Reachable)>,
    name: Vec<u8>,
    /// The host's queue was full: it has not been told yet.
    pub(crate) owed: bool,
}

impl Notifier {
    /// A notifier that says `name` to the socket at `path`; to nobody if there is no path, or no way to make a socket.
    pub(crate) fn new(path: Option<&Path>, name: Vec<u8>) -> Notifier {
        let open = |path| -> io::Result<_> {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok((socket, Reachable::new(path)?))
        };
        Notifier {
            path: path.map(Path::to_path_buf),
            socket: path.and_then(|path| open(path).ok()),
            name,
            owed: false,
        }
    }

    /// The same notifier for another name, if it goes to the same path; else a new one.
    pub(crate) fn renewed(
        before: Option<Notifier>,
        path: Option<&Path>,
        name: Vec<u8>,
    ) -> Notifier {
        match before {
            Some(notifier) if notifier.path.as_deref() == path && notifier.socket.is_some() => {
                Notifier {
                    name,
                    owed: false,
                    ..notifier
                }
            }
            _ => Notifier::new(path, name),
        }
    }

    /// Tells the host, if it listens, without waiting for it.
    pub(crate) fn send(&mut self) {
        if let Some((socket, to)) = &self.socket {
            let sent = socket.send_to(&self.name, &to.path);
            self.owed = sent.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
        }
    }

    /// Tells the host for the last time, and lets a busy one take a while: nothing after this will wake it.
    pub(crate) fn send_last(&mut self) {
        const ROUNDS: u32 = 250;
        const ROUND: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        for _ in 0..ROUNDS {
            self.send();
            let Some((socket, _)) = self.socket.as_ref().filter(|_| self.owed) else {
                return;
            };
            // An unconnected socket does not say when the other's queue has room: poll returns at the timeout.
            let mut nothing = [PollFd::new(socket, PollFlags::empty())];
            let _ = rustix::event::poll(&mut nothing, Some(&ROUND));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn check(dir: &Path) {
        let socket = NotifySocket::bind(dir).unwrap();
        let path = NotifySocket::path(dir);
        let mut notifier = Notifier::new(Some(&path), b"uuid.1".to_vec());
        assert_eq!(socket.receive().unwrap(), None);
        notifier.send();
        assert_eq!(socket.receive().unwrap().unwrap(), "uuid.1");
        // The host is replaced: the same notifier reaches the new one.
        drop(socket);
        notifier.send_last();
        let socket = NotifySocket::bind(dir).unwrap();
        assert_eq!(socket.receive().unwrap(), None);
        notifier.send();
        assert_eq!(socket.receive().unwrap().unwrap(), "uuid.1");
    }

    #[test]
    fn a_notifier_finds_the_host_of_the_day() {
        check(tempfile::tempdir().unwrap().path());
    }

    #[test]
    fn a_path_may_be_longer_than_a_socket_address() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("d".repeat(120));
        std::fs::create_dir(&long).unwrap();
        check(&long);
    }

    #[test]
    fn a_full_queue_is_remembered_and_made_good() {
        let dir = tempfile::tempdir().unwrap();
        let socket = NotifySocket::bind(dir.path()).unwrap();
        let path = NotifySocket::path(dir.path());
        let mut notifier = Notifier::new(Some(&path), b"a".to_vec());
        while !notifier.owed {
            notifier.send();
        }
        while socket.receive().unwrap().is_some() {}
        notifier.send_last();
        assert!(!notifier.owed);
        assert_eq!(socket.receive().unwrap().unwrap(), "a");
    }
}
