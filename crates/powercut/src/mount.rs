//! A disk in the tree of files, by FUSE.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::disk::{Disk, Failure, Kind, ROOT, Status};

/// Nothing is remembered by the kernel: what it had cached would survive a power cut.
const TTL: Duration = Duration::ZERO;

/// Bytes of a block, as told to programs.
const BLOCK: u64 = 4_096;

/// A disk that programs can use. Taken out of the tree when it is dropped.
#[derive(Debug)]
pub struct Mount {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    session: Option<BackgroundSession>,
}

impl Mount {
    /// Puts a disk at a directory that is there.
    ///
    /// # Errors
    /// When `/dev/fuse` cannot be opened or nothing may be mounted.
    pub fn new(path: &Path, disk: Disk) -> io::Result<Self> {
        let disk = Arc::new(Mutex::new(disk));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("powercut".to_owned())];
        let session = fuser::spawn_mount(Server(Arc::clone(&disk)), path, &config)?;
        Ok(Self {
            disk,
            path: path.to_owned(),
            session: Some(session),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk itself. Programs that use it wait as long as it is held.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // One that is still in use is detached when its last user ends; there is nobody to tell.
            let _ = session.umount_and_join();
        }
    }
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Server(Arc<Mutex<Disk>>);

impl Server {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.0)
    }
}

fn errno(failure: Failure) -> Errno {
    match failure {
        Failure::Missing => Errno::ENOENT,
        Failure::Exists => Errno::EEXIST,
        Failure::IsDirectory => Errno::EISDIR,
        Failure::NotDirectory => Errno::ENOTDIR,
        Failure::NotEmpty => Errno::ENOTEMPTY,
        Failure::Full => Errno::ENOSPC,
        Failure::Broken => Errno::EIO,
    }
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
    }
}

fn attributes(status: Status) -> FileAttr {
    let time = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(status.node),
        size: status.length,
        blocks: status.length.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(status.kind),
        perm: match status.kind {
            Kind::File => 0o600,
            Kind::Directory => 0o700,
        },
        nlink: status.names,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK as u32,
        flags: 0,
    }
}

fn entry(result: Result<Status, Failure>, reply: ReplyEntry) {
    match result {
        Ok(status) => reply.entry(&TTL, &attributes(status), Generation(0)),
        Err(failure) => reply.error(errno(failure)),
    }
}

fn empty(result: Result<(), Failure>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(failure) => reply.error(errno(failure)),
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(self.disk().lookup(parent.0, name), reply);
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.disk().status(node.0) {
            Ok(status) => reply.attr(&TTL, &attributes(status)),
            Err(failure) => reply.error(errno(failure)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.disk();
        let set = size.map_or(Ok(()), |size| disk.set_len(node.0, size));
        match set.and_then(|()| disk.status(node.0)) {
            Ok(status) => reply.attr(&TTL, &attributes(status)),
            Err(failure) => reply.error(errno(failure)),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        entry(self.disk().make(parent.0, name, Kind::Directory), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.disk().unlink(parent.0, name, Kind::File), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.disk().unlink(parent.0, name, Kind::Directory), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags & !RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        let (from, to) = ((parent.0, name), (new_parent.0, new_name));
        empty(self.disk().rename(from, to, replace), reply);
    }

    fn link(
        &self,
        _: &Request,
        node: INodeNo,
        new_parent: INodeNo,
        new_name: &OsStr,
        reply: ReplyEntry,
    ) {
        let mut disk = self.disk();
        let linked = disk.link(new_parent.0, new_name, node.0);
        entry(linked.and_then(|()| disk.status(node.0)), reply);
    }

    fn open(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let mut disk = self.disk();
        match disk.status(node.0) {
            Ok(_) => {
                disk.hold(node.0);
                reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(failure) => reply.error(errno(failure)),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mut disk = self.disk();
        match disk.make(parent.0, name, Kind::File) {
            Ok(status) => {
                disk.hold(status.node);
                reply.created(
                    &TTL,
                    &attributes(status),
                    Generation(0),
                    FileHandle(0),
                    FopenFlags::FOPEN_DIRECT_IO,
                );
            }
            Err(failure) => reply.error(errno(failure)),
        }
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.disk().read(node.0, offset, u64::from(size)) {
            Ok(data) => reply.data(data),
            Err(failure) => reply.error(errno(failure)),
        }
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.disk().write(node.0, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(failure) => reply.error(errno(failure)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.disk().release(node.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(self.disk().sync(node.0), reply);
    }

    fn fsyncdir(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(self.disk().sync(node.0), reply);
    }

    fn fallocate(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        // Holes and the like are not needed by anyone here.
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let mut disk = self.disk();
        let grown = disk.status(node.0).and_then(|status| {
            if status.length < offset + length {
                disk.set_len(node.0, offset + length)
            } else {
                Ok(())
            }
        });
        empty(grown, reply);
    }

    fn readdir(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let names = match self.disk().list(node.0) {
            Ok(names) => names,
            Err(failure) => return reply.error(errno(failure)),
        };
        let dots = [".", ".."].map(|dot| (dot.into(), ROOT, Kind::Directory));
        let all = dots.into_iter().chain(names).zip(1_u64..);
        for ((name, node, kind), place) in all.skip(offset as usize) {
            if reply.add(INodeNo(node), place, file_type(kind), name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (used, capacity) = self.disk().usage();
        // As large as a file system that nobody fills.
        let capacity = capacity.unwrap_or(1 << 40);
        let free = capacity.saturating_sub(used) / BLOCK;
        let (block, files) = (BLOCK as u32, 1 << 20);
        reply.statfs(
            capacity / BLOCK,
            free,
            free,
            files,
            files,
            block,
            255,
            block,
        );
    }
}
