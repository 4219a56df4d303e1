//! Who it is that connects: on one machine the kernel tells which process a socket belongs to.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::Party;

/// The processes that are parties.
#[derive(Clone, Debug, Default)]
pub(super) struct Census(Arc<Mutex<BTreeMap<u32, Party>>>);

impl Census {
    /// From now on this process is this party.
    pub(super) fn enter(&self, process: u32, party: Party) {
        let mut census = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        census.retain(|_, other| *other != party);
        census.insert(process, party);
    }

    /// Whose socket it is that is bound to `local` and connected to `remote`; a client's if it is nobody's.
    pub(super) fn whose(&self, local: SocketAddr, remote: SocketAddr) -> Party {
        let Some(socket) = socket(local, remote) else {
            return Party::Client;
        };
        let census = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let owner = census
            .into_iter()
            .find(|(process, _)| holds(*process, &socket));
        owner.map_or(Party::Client, |(_, party)| party)
    }
}

/// The name of a socket as links in `/proc/PID/fd` have it.
fn socket(local: SocketAddr, remote: SocketAddr) -> Option<String> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let (local, remote) = (kernel_form(local)?, kernel_form(remote)?);
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        if words.next() != Some(&local) || words.next() != Some(&remote) {
            return None;
        }
        Some(format!("socket:[{}]", words.nth(6)?))
    })
}

/// `0100007F:1F90`, as the kernel writes addresses on machines that store the low byte first.
fn kernel_form(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else {
        return None;
    };
    let ip = u32::from_ne_bytes(ip.octets());
    Some(format!("{ip:08X}:{:04X}", address.port()))
}

fn holds(process: u32, socket: &str) -> bool {
    let Ok(handles) = fs::read_dir(format!("/proc/{process}/fd")) else {
        return false;
    };
    handles
        .flatten()
        .any(|handle| fs::read_link(handle.path()).is_ok_and(|to| to == Path::new(socket)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_socket_is_known_by_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, from) = listener.accept().unwrap();
        let census = Census::default();
        let here = accepted.local_addr().unwrap();
        assert_eq!(census.whose(from, here), Party::Client);
        census.enter(std::process::id(), Party::Worker(3));
        assert_eq!(census.whose(from, here), Party::Worker(3));
        drop(stream);
    }
}
