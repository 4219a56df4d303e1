//! The shim: a small process, the parent of an attempt's program; when that is over, of the next one's.
//!
//! An attempt depends on nothing that the daemon does after the launch. The shim writes what the program prints to `feed`, keeps the
//! limits, takes two signals (SIGTERM: ask the program to stop; SIGUSR1: kill it), and writes `exit.json` last. Signals of a
//! host only say that the run file says what to do, since they may come when the attempt that they were for is over.
//!
//! What one program could leave to the next ends the shim instead: a process that cannot be killed, a mount. With no host, or
//! nothing to do and no host any more, it ends too.
//!
//! How a program is asked to stop, whoever asks: each of its processes gets the signal that it listens to. Shells get
//! SIGTERM, so that no further line of the script starts; a process that catches SIGTERM gets that; one that catches only
//! SIGINT gets SIGINT, so that Python sees `KeyboardInterrupt` and runs its `finally` blocks; any other gets SIGTERM.
//! Then it has the grace to end; the attempt goes on until the last process has ended, even when the main shell has.
//!
//! Without being stopped, an attempt ends when the main shell does: what it left in the background is killed.

mod spawner;

mod run;

mod view;

pub(crate) mod start;

mod words;

pub(crate) mod contained;

mod supervise;

mod output;

mod stop;

mod meter;

mod feed_file;

pub(crate) mod request;

use crate::sys;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

/// What the shim takes by [`sys::signal_fd`] instead of being interrupted.
const SIGNALS: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGUSR1, libc::SIGCHLD];

/// The hidden `shim` subcommand. `args` are those after the word `shim`. Must be called before any thread is started.
///
/// - `--serve`: fork a shim for each socket that comes by the one that is standard input, until that closes;
/// - `--attempt DIR`: be the shim of `DIR`, whose `program.json` says what to run;
/// - `--contained`: be the first process of a container, and run what comes by the socket that is mounted there;
/// - `--probe DIR`: print `namespace` or `direct`, for programs below `DIR`.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let words: Vec<Option<&str>> = args.iter().map(|arg| arg.to_str()).collect();
    sys::close_on_exec_from_3();
    let result = match (words.as_slice(), args.get(1)) {
        ([Some("--serve")], _) => spawner::serve(),
        ([Some("--attempt"), _], Some(dir)) => run::direct(dir.as_ref()),
        ([Some("--contained")], _) => contained::run(),
        ([Some("--probe"), _], Some(dir)) => view::probe(dir.as_ref()),
        _ => Err(std::io::Error::other(
            "usage: shim --serve | --attempt DIR | --contained | --probe DIR",
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Tells the shims' log what cannot be told in an attempt. The log may lie on the disk that is full: then nobody is told, and a
/// shim still has its program to look after.
fn complain(error: &std::io::Error) {
    let _ = writeln!(std::io::stderr(), "shim {}: {error}", std::process::id());
}
