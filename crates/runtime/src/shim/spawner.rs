//! The spawner: forks shims, and does nothing else. Small, so that a fork is cheap; single-threaded, so that it is safe.

use crate::shim::{SIGNALS, request, run};
use crate::sys::{self, Fork, SingleThreaded};
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::unix::net::UnixStream;

/// Serves the socket on standard input until the host closes it. Returns in each forked shim too, when that has ended.
pub(super) fn serve() -> io::Result<()> {
    let proof = SingleThreaded::check()?;
    let socket = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
    stdin_from_null()?;
    // Not in the daemon's session, so that a Ctrl-C in its terminal does not come here. Fails if we lead one: as good.
    let _ = rustix::process::setsid();
    // Blocked before any fork: a shim that is told to stop in its first moments must not die of it.
    sys::block_signals(&SIGNALS)?;
    sys::ignore_children(true);
    while let Some(shims) = request::heard_ask(&socket)? {
        let answer = match sys::fork(&proof) {
            Ok(Fork::Child) => {
                drop(socket);
                sys::ignore_children(false);
                return run::serve(&shims);
            }
            Ok(Fork::Parent(pid)) => Ok(pid.as_raw_nonzero().get() as u32),
            Err(error) => Err(error),
        };
        drop(shims);
        request::send_answer(&socket, &answer)?;
    }
    Ok(())
}

/// Programs read nothing, and never the spawner's socket.
pub(super) fn stdin_from_null() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::stdio::dup2_stdin(null)?)
}
