//! From a script to a running process: which interpreter, which environment, where.

use crate::attempt::AttemptDir;
use crate::bury::MARK;
use crate::program::{Interpreter, Program, View};
use crate::sys::Spawn;
use rustix::fs::{Access, Mode, OFlags};
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The kernel takes 128 KiB as one argument; a longer script goes by a file.
const MAX_ARGUMENT: usize = 120 * 1024;

/// Starts the program in its repository. The message of the error is for the user.
pub(super) fn start(
    dir: &AttemptDir,
    dir_fd: BorrowedFd<'_>,
    program: &Program,
    view: View,
    [stdout, stderr]: [&OwnedFd; 2],
) -> Result<Pid, String> {
    let base = view.base(&dir.root());
    let repository = base.join("repository");
    rustix::process::chdir(&repository)
        .map_err(|error| format!("{}: {}", repository.display(), io::Error::from(error)))?;
    let environment = environment(dir, program, &base);
    let (path, argv) = command(dir, dir_fd, program, &environment)?;
    let envp = environment.into_iter().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        c_string(name)
    });
    let spawn = Spawn {
        path: &c_string(path.clone().into())?,
        argv: &argv
            .into_iter()
            .map(c_string)
            .collect::<Result<Vec<_>, _>>()?,
        envp: &envp.collect::<Result<Vec<_>, _>>()?,
        stdout: stdout.as_fd(),
        stderr: stderr.as_fd(),
    };
    spawn.start().map_err(|error| {
        let path = path.display();
        match error.raw_os_error() {
            // The file is there, for the kernel names a missing interpreter like a missing file.
            Some(libc::ENOENT) if argv_is_script(program) => {
                format!("the interpreter named in the script's first line does not exist: {error}")
            }
            _ => format!("{path}: {error}"),
        }
    })
}

fn argv_is_script(program: &Program) -> bool {
    program.script.starts_with("#!")
}

/// The file to execute and its arguments.
fn command(
    dir: &AttemptDir,
    dir_fd: BorrowedFd<'_>,
    program: &Program,
    environment: &BTreeMap<OsString, OsString>,
) -> Result<(PathBuf, Vec<OsString>), String> {
    let script = OsString::from(&program.script);
    if argv_is_script(program) {
        let path = script_file(dir, dir_fd, &program.script)?;
        return Ok((path.clone(), vec![path.into()]));
    }
    let names: &[&str] = match program.interpreter {
        Interpreter::BashOrSh => &["bash", "sh"],
        Interpreter::Sh => &["sh"],
    };
    let search = environment
        .get(OsStr::new("PATH"))
        .map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
    let shell = names
        .iter()
        .find_map(|name| find(name, search))
        .ok_or_else(|| format!("no {} in {}", names.join(" or "), search.display()))?;
    let name = shell.file_name().unwrap_or_default().to_os_string();
    let argv = if script.len() <= MAX_ARGUMENT {
        vec![name, "-c".into(), script]
    } else {
        vec![name, script_file(dir, dir_fd, &program.script)?.into()]
    };
    Ok((shell, argv))
}

/// The first executable file of that name.
fn find(name: &str, search: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(search)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|path| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok())
}

/// Writes the script beside the program's root. Closed before anything is executed, so that it is not "busy".
fn script_file(dir: &AttemptDir, dir_fd: BorrowedFd<'_>, script: &str) -> Result<PathBuf, String> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let write = || -> io::Result<()> {
        let file = rustix::fs::openat(dir_fd, "script", flags, Mode::from_raw_mode(0o700))?;
        std::fs::File::from(file).write_all(script.as_bytes())
    };
    write().map_err(|error| format!("cannot write the script: {error}"))?;
    Ok(dir.path().join("script"))
}

/// Sorted, each name once: the program's own win over what is passed on, and ours over both.
fn environment(dir: &AttemptDir, program: &Program, base: &Path) -> BTreeMap<OsString, OsString> {
    let mut all = BTreeMap::new();
    for name in &program.pass_env {
        if let Some(value) = std::env::var_os(name) {
            all.insert(OsString::from(name), value);
        }
    }
    for (name, value) in &program.env {
        all.insert(name.into(), value.into());
    }
    for part in ["config", "inputs", "outputs", "repository"] {
        let name = format!("VH_{}_DIR", part.to_uppercase());
        all.insert(name.into(), base.join(part).into());
    }
    all.insert(MARK.into(), dir.path().into());
    all
}

fn c_string(text: OsString) -> Result<CString, String> {
    CString::new(text.into_vec()).map_err(|error| {
        let end = error.nul_position().min(40);
        let bytes = error.into_vec();
        let shown = OsStr::from_bytes(&bytes[..end]).display().to_string();
        format!("the script or its environment holds a NUL byte, after `{shown}`")
    })
}
