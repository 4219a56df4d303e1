//! The calls that the compiler cannot check: fork, posix_spawn, signals and unshare. All `unsafe` is here.
//!
//! Everything else the crate asks of the kernel goes through `rustix`.

#![allow(unsafe_code)]

use rustix::process::Pid;
use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// Proof that this process had one thread when it was looked at. Nothing in the shim starts another.
pub(crate) struct SingleThreaded(());

impl SingleThreaded {
    /// Looks at `/proc/self/task`; an error if there is more than one thread.
    pub(crate) fn check() -> io::Result<SingleThreaded> {
        match std::fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(SingleThreaded(())),
            n => Err(io::Error::other(format!(
                "the shim must be started before any thread; there are {n}"
            ))),
        }
    }
}

/// Which side of a fork this is.
pub(crate) enum Fork {
    /// The one that asked, with the child's pid.
    Parent(Pid),
    /// The new one.
    Child,
}

/// Forks this process.
pub(crate) fn fork(_proof: &SingleThreaded) -> io::Result<Fork> {
    // SAFETY: the danger of fork is locks held by threads that do not exist in the child (the allocator's, stdio's).
    // `_proof` says that there are no other threads, so the child is a full copy and may do all that the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Pid::from_raw(pid)
            .map(Fork::Parent)
            .ok_or_else(|| io::Error::other("fork gave no pid")),
    }
}

/// A program to start. Standard input is this process's own; it becomes the leader of a new process group, with an empty
/// signal mask and default dispositions.
pub(crate) struct Spawn<'a> {
    /// The file to execute.
    pub(crate) path: &'a CStr,
    /// Its arguments, `argv[0]` first.
    pub(crate) argv: &'a [CString],
    /// Its whole environment, `NAME=value`.
    pub(crate) envp: &'a [CString],
    /// Becomes its standard output.
    pub(crate) stdout: BorrowedFd<'a>,
    /// Becomes its standard error.
    pub(crate) stderr: BorrowedFd<'a>,
}

impl Spawn<'_> {
    /// Starts it, by vfork and exec in one. The error is that of the exec.
    pub(crate) fn start(&self) -> io::Result<Pid> {
        let argv = pointers(self.argv);
        let envp = pointers(self.envp);
        let mut pid: libc::pid_t = 0;
        // SAFETY: `attr` and `actions` are initialised by their init calls before any other use and destroyed once;
        // sigsets are initialised by sigemptyset and sigfillset; `argv` and `envp` are null-terminated arrays of
        // pointers into `CString`s that outlive the call, which posix_spawn only reads.
        unsafe {
            let mut attr = std::mem::zeroed::<libc::posix_spawnattr_t>();
            let mut actions = std::mem::zeroed::<libc::posix_spawn_file_actions_t>();
            let mut none = std::mem::zeroed::<libc::sigset_t>();
            let mut all = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&mut none);
            libc::sigfillset(&mut all);
            check(libc::posix_spawnattr_init(&mut attr))?;
            if let Err(error) = check(libc::posix_spawn_file_actions_init(&mut actions)) {
                libc::posix_spawnattr_destroy(&mut attr);
                return Err(error);
            }
            let flags = libc::POSIX_SPAWN_SETPGROUP
                | libc::POSIX_SPAWN_SETSIGMASK
                | libc::POSIX_SPAWN_SETSIGDEF;
            let dup2 = libc::posix_spawn_file_actions_adddup2;
            let result = check(libc::posix_spawnattr_setflags(&mut attr, flags as _))
                .and_then(|()| check(libc::posix_spawnattr_setpgroup(&mut attr, 0)))
                .and_then(|()| check(libc::posix_spawnattr_setsigmask(&mut attr, &none)))
                .and_then(|()| check(libc::posix_spawnattr_setsigdefault(&mut attr, &all)))
                .and_then(|()| check(dup2(&mut actions, self.stdout.as_raw_fd(), 1)))
                .and_then(|()| check(dup2(&mut actions, self.stderr.as_raw_fd(), 2)))
                .and_then(|()| {
                    check(libc::posix_spawn(
                        &mut pid,
                        self.path.as_ptr(),
                        &actions,
                        &attr,
                        argv.as_ptr(),
                        envp.as_ptr(),
                    ))
                });
            libc::posix_spawn_file_actions_destroy(&mut actions);
            libc::posix_spawnattr_destroy(&mut attr);
            result?;
        }
        Pid::from_raw(pid).ok_or_else(|| io::Error::other("posix_spawn gave no pid"))
    }
}

fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    let all = strings.iter().map(|s| s.as_ptr().cast_mut());
    all.chain([ptr::null_mut()]).collect()
}

/// The functions of the posix_spawn family give the error number itself.
fn check(code: c_int) -> io::Result<()> {
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Blocks `signals` in this thread, so that they wait until a [`signal_fd`] reads them. Children by fork inherit that.
pub(crate) fn block_signals(signals: &[c_int]) -> io::Result<()> {
    let set = signal_set(signals);
    // SAFETY: `set` is initialised; a null old set is allowed.
    match unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A descriptor that becomes readable when one of the blocked `signals` arrives: 128 bytes each, the number first.
pub(crate) fn signal_fd(signals: &[c_int]) -> io::Result<OwnedFd> {
    let set = signal_set(signals);
    // SAFETY: `set` is initialised, and the descriptor that comes back is new and owned by nobody else.
    unsafe {
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Sends a signal that says of itself that it comes from a host: `signalfd_siginfo::ssi_code` is [`libc::SI_QUEUE`].
pub(crate) fn queue_signal(process: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid siginfo_t, the descriptor is open, and the kernel only reads what it is given.
    let sent = unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        info.si_signo = signal;
        info.si_code = libc::SI_QUEUE;
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            &info,
            0u32,
        )
    };
    match sent {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Kills every process that this one may signal, but itself. Only for the first process of a container, whose world ends
/// with it. Nothing is forked past it.
pub(crate) fn kill_everything() {
    // SAFETY: no memory is passed. That there was nobody to kill is no error.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

fn signal_set(signals: &[c_int]) -> libc::sigset_t {
    // SAFETY: all-zero bytes are a valid sigset_t, and sigemptyset makes it a known one; sigaddset only sets bits in it.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        set
    }
}

/// Children that end are forgotten at once (`true`), or wait to be asked about (`false`).
pub(crate) fn ignore_children(ignore: bool) {
    let disposition = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: neither disposition is a handler, so no code of ours can run in a signal.
    unsafe { libc::signal(libc::SIGCHLD, disposition) };
}

/// Processor time of all children that have ended and were asked about, in microseconds.
pub(crate) fn children_cpu_us() -> u64 {
    // SAFETY: all-zero bytes are a valid rusage, which the call overwrites.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let us = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    us(usage.ru_utime) + us(usage.ru_stime)
}

/// Marks every descriptor from 3 on as not to be inherited by programs, whatever the daemon was started with.
pub(crate) fn close_on_exec_from_3() {
    // SAFETY: no descriptor is closed now; only the flag of each is set. An old kernel refuses, which changes nothing.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

/// Gives this process a mount namespace of its own, and a user namespace around it if `user`.
pub(crate) fn unshare_mounts(user: bool) -> io::Result<()> {
    let flags = libc::CLONE_NEWNS | if user { libc::CLONE_NEWUSER } else { 0 };
    // SAFETY: unshare is dangerous where it divides a descriptor table between threads (CLONE_FILES), which it does not
    // here; namespaces are no matter of memory.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
