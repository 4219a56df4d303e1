//! A `/valohai` of the program's own, by a mount namespace.
//!
//! The ways, in order; the first that the kernel allows is taken:
//! 1. as root: a mount namespace with the attempt's `root` bound on `/valohai`, an empty directory that is made once;
//! 2. as anyone else: the same inside a user namespace in which every id but our own is unmapped;
//! 3. where `/valohai` does not exist and cannot be made: a new root, a tmpfs with everything of the old one bound into
//!    it and `/valohai` beside. Also in a user namespace if need be.
//!
//! A namespace serves the attempts of a shim one after another: made anew for each, it would cost as much as half a shell.
//! One in which something was mounted or unmounted since, by a program or by the machine, serves no other.
//!
//! Whatever fails leaves the program with its real directories, and a record that says so.

use crate::program::{VALOHAI, View};
use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The namespace that a shim has for its attempts, one after another.
pub(super) struct Namespace {
    /// Says when something is mounted or unmounted in it.
    mounts: OwnedFd,
    /// The next attempt's program may have it, with another directory as its `/valohai`.
    serves_again: bool,
    /// An attempt's directory is there.
    is_shown: bool,
}

impl Namespace {
    /// Puts this process and all its children into a namespace in which `root` is `/valohai`. After an error, this process
    /// still sees everything where it was.
    pub(super) fn enter(root: &Path) -> io::Result<Namespace> {
        let way = enter(root)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mounts = rustix::fs::open("/proc/self/mountinfo", flags, Mode::empty())?;
        let namespace = Namespace {
            mounts,
            // A new root shows of the machine what it had when it was made; the next program is to see what there is then.
            serves_again: way == Way::Bound,
            is_shown: true,
        };
        namespace.has_changed();
        Ok(namespace)
    }

    /// Makes `root` the `/valohai` of a namespace that is [as it was](Self::is_as_it_was).
    pub(super) fn show(&mut self, root: &Path) -> io::Result<()> {
        self.hide()?;
        rustix::mount::mount_bind(root, VALOHAI)?;
        self.is_shown = true;
        self.has_changed();
        Ok(())
    }

    /// Takes the directory of the attempt before away. The kernel waits for all processors when it unmounts, so this is best done while nobody
    /// waits for a program.
    pub(super) fn hide(&mut self) -> io::Result<()> {
        if self.is_shown {
            rustix::mount::unmount(VALOHAI, UnmountFlags::DETACH)?;
            self.is_shown = false;
        }
        Ok(())
    }

    /// Whether nothing was mounted or unmounted by the program or by the machine, so that another program can have it.
    pub(super) fn is_as_it_was(&self) -> bool {
        self.serves_again && !self.has_changed()
    }

    /// Whether a mount came or went since this was last asked.
    fn has_changed(&self) -> bool {
        const NOW: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut mounts = [PollFd::new(&self.mounts, PollFlags::PRI)];
        !matches!(rustix::event::poll(&mut mounts, Some(&NOW)), Ok(0))
    }
}

/// How the program got its `/valohai`.
#[derive(PartialEq, Eq)]
enum Way {
    /// A directory of the machine's root was covered.
    Bound,
    /// The root was replaced.
    NewRoot,
}

fn enter(root: &Path) -> io::Result<Way> {
    match sys::unshare_mounts(false) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => enter_user_namespace()?,
        Err(error) => return Err(error),
    }
    // What the machine mounts later is seen here too; what is mounted here is not seen outside.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave)?;
    if valohai_exists() {
        rustix::mount::mount_bind(root, VALOHAI)?;
        Ok(Way::Bound)
    } else {
        new_root(root)?;
        Ok(Way::NewRoot)
    }
}

fn valohai_exists() -> bool {
    let made = fs::DirBuilder::new().mode(0o755).create(VALOHAI);
    made.is_ok() || fs::symlink_metadata(VALOHAI).is_ok_and(|m| m.is_dir())
}

fn enter_user_namespace() -> io::Result<()> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    sys::unshare_mounts(true)?;
    // The kernel wants this given up before it lets an unprivileged process map its group.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Mounts a tmpfs over `/tmp`, makes it the root, and binds everything of the old root into it.
fn new_root(root: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", "/tmp", "tmpfs", flags, c"mode=0755")?;
    fs::create_dir("/tmp/old")?;
    // The tmpfs covers only the namespace's `/tmp`; once it is the root, the old `/tmp` shows again under `/old`.
    rustix::process::pivot_root("/tmp", "/tmp/old")?;
    let filled = fill_new_root(root);
    if filled.is_err() {
        // Back to the old root, so that the program finds all in place.
        rustix::process::pivot_root("/old", "/old/tmp")?;
        rustix::mount::unmount("/tmp", UnmountFlags::DETACH)?;
    }
    filled
}

fn fill_new_root(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir("/old")? {
        let entry = entry?;
        let place = Path::new("/").join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &place)?;
        } else if kind.is_dir() && entry.file_name() != "old" {
            fs::create_dir(&place)?;
            rustix::mount::mount_bind_recursive(entry.path(), &place)?;
        }
    }
    fs::create_dir_all(VALOHAI)?;
    let relative = root.strip_prefix("/").unwrap_or(root);
    rustix::mount::mount_bind(Path::new("/old").join(relative), VALOHAI)?;
    rustix::mount::unmount("/old", UnmountFlags::DETACH)?;
    fs::remove_dir("/old")
}

/// Tries [`Namespace::enter`] with a directory of its own below `dir`, and prints the outcome.
pub(super) fn probe(dir: &Path) -> io::Result<()> {
    let root = std::path::absolute(dir)?;
    let found = Namespace::enter(&root).and_then(|_| {
        let (there, here) = (fs::metadata(VALOHAI)?, fs::metadata(&root)?);
        use std::os::unix::fs::MetadataExt;
        Ok((there.dev(), there.ino()) == (here.dev(), here.ino()))
    });
    let view = match found {
        Ok(true) => View::Namespace,
        Ok(false) | Err(_) => View::Direct,
    };
    match view {
        View::Namespace => println!("namespace"),
        View::Direct | View::Container => println!("direct"),
    }
    Ok(())
}
