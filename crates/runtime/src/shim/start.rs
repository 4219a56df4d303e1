//! From a script to a running process: which interpreter, which environment, where.

use crate::attempt::AttemptDir;
use crate::bury::MARK;
use crate::program::{Interpreter, Program, VALOHAI, View};
use crate::shim::{contained, words};
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

/// Where the shim is, and what it can see of the attempt.
pub(super) enum Place<'a> {
    /// On the host.
    Host {
        /// The attempt's directory.
        dir: &'a AttemptDir,
        /// The same, open.
        dir_fd: BorrowedFd<'a>,
    },
    /// In a container, where that directory is not to be seen.
    Container {
        /// Name of the attempt.
        attempt: &'a str,
    },
}

impl Place<'_> {
    /// How programs see their directories, unless more is done about it.
    pub(super) fn view(&self) -> View {
        match self {
            Place::Host { .. } => View::Direct,
            Place::Container { .. } => View::Container,
        }
    }

    fn base(&self, view: View) -> PathBuf {
        match self {
            Place::Host { dir, .. } => view.base(&dir.root()),
            Place::Container { .. } => PathBuf::from(VALOHAI),
        }
    }

    /// What [`MARK`] is set to.
    fn mark(&self) -> OsString {
        match self {
            Place::Host { dir, .. } => dir.path().into(),
            Place::Container { attempt } => attempt.into(),
        }
    }

    /// A file with the script.
    fn script_file(&self, script: &str) -> Result<PathBuf, String> {
        match self {
            Place::Host { dir, dir_fd } => script_file(dir, *dir_fd, script),
            // Written by the host, which knows as well that one is needed.
            Place::Container { .. } => Ok(contained::SCRIPT.into()),
        }
    }
}

/// Whether a script is run from a file.
pub(crate) fn needs_a_file(script: &str) -> bool {
    script.starts_with("#!") || script.len() > MAX_ARGUMENT
}

/// Starts the program in its repository. The message of the error is for the user.
pub(super) fn start(
    place: &Place<'_>,
    program: &Program,
    view: View,
    [stdout, stderr]: [&OwnedFd; 2],
) -> Result<Pid, String> {
    let base = place.base(view);
    let repository = base.join("repository");
    rustix::process::chdir(&repository)
        .map_err(|error| format!("{}: {}", repository.display(), io::Error::from(error)))?;
    let environment = environment(place.mark(), program, &base);
    let (path, argv) = command(place, program, &environment)?;
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
    place: &Place<'_>,
    program: &Program,
    environment: &BTreeMap<OsString, OsString>,
) -> Result<(PathBuf, Vec<OsString>), String> {
    let script = OsString::from(&program.script);
    if argv_is_script(program) {
        let path = place.script_file(&program.script)?;
        return Ok((path.clone(), vec![path.into()]));
    }
    let names: &[&str] = match program.interpreter {
        Interpreter::BashOrSh => &["bash", "sh"],
        Interpreter::Sh => &["sh"],
    };
    let search = environment
        .get(OsStr::new("PATH"))
        .map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
    let Some(shell) = names.iter().find_map(|name| find(name, search)) else {
        let no_shell = format!("no {} in {}", names.join(" or "), search.display());
        return match place {
            Place::Host { .. } => Err(no_shell),
            Place::Container { .. } => without_shell(&program.script, search, &no_shell),
        };
    };
    let name = shell.file_name().unwrap_or_default().to_os_string();
    let argv = if script.len() <= MAX_ARGUMENT {
        vec![name, "-c".into(), script]
    } else {
        vec![name, place.script_file(&program.script)?.into()]
    };
    Ok((shell, argv))
}

/// The command of an image without a shell: one program and its arguments, as a shell would have taken them apart.
fn without_shell(
    script: &str,
    search: &OsStr,
    no_shell: &str,
) -> Result<(PathBuf, Vec<OsString>), String> {
    let words = words::split(script).map_err(|reason| {
        format!("the image has no shell ({no_shell}), and the command needs one: {reason}")
    })?;
    let Some(name) = words.first() else {
        return Err(format!(
            "the image has no shell ({no_shell}), and there is no command"
        ));
    };
    let path = match name.contains('/') {
        true => PathBuf::from(name),
        false => find(name, search).ok_or_else(|| {
            format!(
                "{name}: command not found in {} (the image has no shell)",
                search.display()
            )
        })?,
    };
    Ok((path, words.into_iter().map(OsString::from).collect()))
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
fn environment(mark: OsString, program: &Program, base: &Path) -> BTreeMap<OsString, OsString> {
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
    all.insert(MARK.into(), mark);
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
