//! The files and the names of a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::file::File;

/// The number of the directory at the top.
pub const ROOT: u64 = 1;

/// Names of a directory and the numbers they mean, by the number of the directory.
type Names = BTreeMap<u64, BTreeMap<OsString, u64>>;

/// Files and directories by number.
#[derive(Debug)]
pub struct Disk {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    live: Names,
    durable: Names,
    /// Changes of names since they were synced, in order.
    pending: Vec<Change>,
    /// Handles by which programs hold a file.
    open: BTreeMap<u64, usize>,
    chance: ChaCha8Rng,
    powered: bool,
    /// Changes and syncs after which the power fails.
    left: Option<u64>,
    syncs_fail: bool,
    capacity: Option<u64>,
    counts: Counts,
}

#[derive(Debug)]
enum Node {
    File(File),
    Directory,
}

/// A change of names.
#[derive(Clone, Debug)]
enum Change {
    Link {
        directory: u64,
        name: OsString,
        node: u64,
    },
    Unlink {
        directory: u64,
        name: OsString,
    },
    Rename {
        from: (u64, OsString),
        to: (u64, OsString),
    },
}

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
}

/// What is known of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its number.
    pub node: u64,
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes.
    pub length: u64,
    /// How many names it has.
    pub names: u32,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no such file or directory.
    Missing,
    /// There is one of this name already.
    Exists,
    /// It is a directory.
    IsDirectory,
    /// It is not a directory.
    NotDirectory,
    /// The directory has names in it.
    NotEmpty,
    /// The disk is full.
    Full,
    /// The disk failed: it has no power, or syncs were told to fail.
    Broken,
}

/// What was done to a disk so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes to files.
    pub writes: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Files that lost something by them.
    pub torn_files: u64,
    /// Changes of names that were lost by them.
    pub lost_names: u64,
}

type Done<T> = Result<T, Failure>;

impl Disk {
    /// An empty disk. The same seed and the same calls lose the same.
    pub fn new(seed: u64) -> Self {
        let root = || Names::from([(ROOT, BTreeMap::new())]);
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Directory)]),
            next: ROOT + 1,
            live: root(),
            durable: root(),
            pending: Vec::new(),
            open: BTreeMap::new(),
            chance: ChaCha8Rng::seed_from_u64(seed),
            powered: true,
            left: None,
            syncs_fail: false,
            capacity: None,
            counts: Counts::default(),
        }
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// From now on everything fails, as when the power is gone.
    pub fn power_off(&mut self) {
        self.powered = false;
    }

    /// After so many more changes and syncs the power fails, in the middle of the next one: a change may come true or not, a sync has
    /// not been done. None for never.
    pub fn fail_after(&mut self, changes: Option<u64>) {
        self.left = changes;
    }

    /// What was not synced when the power failed is lost, as chance decides; the disk works again.
    pub fn power_on(&mut self) {
        self.counts.cuts += 1;
        for node in self.nodes.values_mut() {
            if let Node::File(file) = node {
                self.counts.torn_files += u64::from(file.cut(&mut self.chance));
            }
        }
        let kept = self.chance.random_range(0..=self.pending.len());
        self.counts.lost_names += (self.pending.len() - kept) as u64;
        for change in self.pending.drain(..).take(kept) {
            apply(&mut self.durable, change);
        }
        self.live.clone_from(&self.durable);
        self.open.clear();
        self.collect();
        self.powered = true;
        self.left = None;
    }

    /// Whether syncs fail from now on, as on a dying disk. What they were to sync stays unsynced.
    pub fn fail_syncs(&mut self, fail: bool) {
        self.syncs_fail = fail;
    }

    /// How many bytes all files together may have; none for no limit.
    pub fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    /// How many bytes all files together have, and how many they may have.
    pub fn usage(&self) -> (u64, Option<u64>) {
        let lengths = self.nodes.values().map(|node| match node {
            Node::File(file) => file.len() as u64,
            Node::Directory => 0,
        });
        (lengths.sum(), self.capacity)
    }

    /// What a name in a directory means.
    ///
    /// # Errors
    /// When there is no such name, or no power.
    pub fn lookup(&self, directory: u64, name: &OsStr) -> Done<Status> {
        self.powered()?;
        let names = self.live.get(&directory).ok_or(Failure::NotDirectory)?;
        self.status(*names.get(name).ok_or(Failure::Missing)?)
    }

    /// What is known of a file or directory.
    ///
    /// # Errors
    /// When there is none of this number, or no power.
    pub fn status(&self, node: u64) -> Done<Status> {
        self.powered()?;
        let (kind, length) = match self.nodes.get(&node).ok_or(Failure::Missing)? {
            Node::File(file) => (Kind::File, file.len() as u64),
            Node::Directory => (Kind::Directory, 0),
        };
        let names = match kind {
            Kind::Directory => 2,
            Kind::File => links(&self.live).filter(|linked| *linked == node).count() as u32,
        };
        Ok(Status {
            node,
            kind,
            length,
            names,
        })
    }

    /// The names in a directory, in order, with what they mean.
    ///
    /// # Errors
    /// When it is no directory, or there is no power.
    pub fn list(&self, directory: u64) -> Done<Vec<(OsString, u64, Kind)>> {
        self.powered()?;
        let names = self.live.get(&directory).ok_or(Failure::NotDirectory)?;
        names
            .iter()
            .map(|(name, node)| Ok((name.clone(), *node, self.status(*node)?.kind)))
            .collect()
    }

    /// Makes an empty file or directory.
    ///
    /// # Errors
    /// When the name is taken or the directory missing, or there is no power.
    pub fn make(&mut self, directory: u64, name: &OsStr, kind: Kind) -> Done<Status> {
        self.is_free(directory, name)?;
        let node = self.next;
        self.next += 1;
        self.nodes.insert(
            node,
            match kind {
                Kind::File => Node::File(File::default()),
                Kind::Directory => Node::Directory,
            },
        );
        if kind == Kind::Directory {
            self.live.insert(node, BTreeMap::new());
            // Without a name it cannot be reached; its own names are synced with it.
            self.durable.insert(node, BTreeMap::new());
        }
        self.link(directory, name, node)?;
        self.status(node)
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// When the name is taken or the directory missing, or there is no power.
    pub fn link(&mut self, directory: u64, name: &OsStr, node: u64) -> Done<()> {
        self.is_free(directory, name)?;
        self.change(Change::Link {
            directory,
            name: name.to_owned(),
            node,
        })
    }

    /// Takes a name away from a file or an empty directory.
    ///
    /// # Errors
    /// When there is no such name, the directory is not empty, or it is not of this kind, or there is no power.
    pub fn unlink(&mut self, directory: u64, name: &OsStr, kind: Kind) -> Done<()> {
        let found = self.lookup(directory, name)?;
        match (kind, found.kind) {
            (Kind::File, Kind::Directory) => return Err(Failure::IsDirectory),
            (Kind::Directory, Kind::File) => return Err(Failure::NotDirectory),
            _ => {}
        }
        if self
            .live
            .get(&found.node)
            .is_some_and(|names| !names.is_empty())
        {
            return Err(Failure::NotEmpty);
        }
        self.change(Change::Unlink {
            directory,
            name: name.to_owned(),
        })
    }

    /// Gives what has one name another one instead, in place of what had that.
    ///
    /// # Errors
    /// When there is nothing of the first name, `replace` is false and there is something of the second, a directory is in the
    /// way, or there is no power.
    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), replace: bool) -> Done<()> {
        self.lookup(from.0, from.1)?;
        match self.lookup(to.0, to.1) {
            Ok(_) if !replace => return Err(Failure::Exists),
            Ok(found) => {
                if self
                    .live
                    .get(&found.node)
                    .is_some_and(|names| !names.is_empty())
                {
                    return Err(Failure::NotEmpty);
                }
            }
            Err(Failure::Missing) => {}
            Err(failure) => return Err(failure),
        }
        self.change(Change::Rename {
            from: (from.0, from.1.to_owned()),
            to: (to.0, to.1.to_owned()),
        })
    }

    /// Bytes of a file; fewer than asked for at its end.
    ///
    /// # Errors
    /// When it is no file, or there is no power.
    pub fn read(&self, node: u64, offset: u64, length: u64) -> Done<&[u8]> {
        self.powered()?;
        match self.nodes.get(&node).ok_or(Failure::Missing)? {
            Node::File(file) => Ok(file.read(offset as usize, length as usize)),
            Node::Directory => Err(Failure::IsDirectory),
        }
    }

    /// Writes bytes to a file.
    ///
    /// # Errors
    /// When it is no file, the disk is full, or there is no power.
    pub fn write(&mut self, node: u64, offset: u64, data: &[u8]) -> Done<()> {
        self.room_for(node, offset + data.len() as u64)?;
        self.file(node)?.write(offset as usize, data);
        self.counts.writes += 1;
        self.goes_on()
    }

    /// Cuts a file off, or fills it up with zeros.
    ///
    /// # Errors
    /// When it is no file, the disk is full, or there is no power.
    pub fn set_len(&mut self, node: u64, length: u64) -> Done<()> {
        self.room_for(node, length)?;
        self.file(node)?.set_len(length as usize);
        self.goes_on()
    }

    /// Syncs the bytes of a file, or the names of a directory and all changes of names that were made before the last of them.
    ///
    /// # Errors
    /// When there is none of this number, there is no power, or syncs were told to fail.
    pub fn sync(&mut self, node: u64) -> Done<()> {
        self.powered()?;
        self.goes_on()?;
        if self.syncs_fail {
            return Err(Failure::Broken);
        }
        self.counts.syncs += 1;
        if let Ok(file) = self.file(node) {
            file.sync();
            return Ok(());
        }
        if !self.live.contains_key(&node) {
            return Err(Failure::Missing);
        }
        let touches = |change: &Change| match change {
            Change::Link { directory, .. } | Change::Unlink { directory, .. } => *directory == node,
            Change::Rename { from, to } => from.0 == node || to.0 == node,
        };
        let end = self
            .pending
            .iter()
            .rposition(touches)
            .map_or(0, |last| last + 1);
        for change in self.pending.drain(..end) {
            apply(&mut self.durable, change);
        }
        self.collect();
        Ok(())
    }

    /// A program holds this file: it stays even without a name.
    pub fn hold(&mut self, node: u64) {
        *self.open.entry(node).or_default() += 1;
    }

    /// A program holds it no more.
    pub fn release(&mut self, node: u64) {
        if let Some(count) = self.open.get_mut(&node) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&node);
            }
        }
    }

    fn powered(&self) -> Done<()> {
        if self.powered {
            Ok(())
        } else {
            Err(Failure::Broken)
        }
    }

    fn is_free(&self, directory: u64, name: &OsStr) -> Done<()> {
        self.powered()?;
        let names = self.live.get(&directory).ok_or(Failure::NotDirectory)?;
        match names.contains_key(name) {
            true => Err(Failure::Exists),
            false => Ok(()),
        }
    }

    fn file(&mut self, node: u64) -> Done<&mut File> {
        self.powered()?;
        match self.nodes.get_mut(&node).ok_or(Failure::Missing)? {
            Node::File(file) => Ok(file),
            Node::Directory => Err(Failure::IsDirectory),
        }
    }

    fn room_for(&mut self, node: u64, length: u64) -> Done<()> {
        let now = self.file(node)?.len() as u64;
        match self.usage() {
            (used, Some(capacity)) if length > now && used + (length - now) > capacity => {
                Err(Failure::Full)
            }
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: Change) -> Done<()> {
        apply(&mut self.live, change.clone());
        self.pending.push(change);
        self.goes_on()
    }

    /// Whether the power has not failed by what is being done now.
    fn goes_on(&mut self) -> Done<()> {
        match &mut self.left {
            Some(0) => {
                self.powered = false;
                Err(Failure::Broken)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Forgets what no name can come to mean any more.
    fn collect(&mut self) {
        let pending = self.pending.iter().filter_map(|change| match change {
            Change::Link { node, .. } => Some(*node),
            _ => None,
        });
        let kept: BTreeSet<u64> = links(&self.live)
            .chain(links(&self.durable))
            .chain(pending)
            .chain(self.open.keys().copied())
            .chain([ROOT])
            .collect();
        self.nodes.retain(|node, _| kept.contains(node));
        self.live.retain(|node, _| kept.contains(node));
        self.durable.retain(|node, _| kept.contains(node));
    }
}

/// What the names of all directories mean.
fn links(names: &Names) -> impl Iterator<Item = u64> {
    names.values().flat_map(|names| names.values().copied())
}

fn apply(names: &mut Names, change: Change) {
    match change {
        Change::Link {
            directory,
            name,
            node,
        } => {
            names.entry(directory).or_default().insert(name, node);
        }
        Change::Unlink { directory, name } => {
            names.entry(directory).or_default().remove(&name);
        }
        Change::Rename { from, to } => {
            if let Some(node) = names.entry(from.0).or_default().remove(&from.1) {
                names.entry(to.0).or_default().insert(to.1, node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> &OsStr {
        OsStr::new(name)
    }

    fn cut(disk: &mut Disk) {
        disk.power_off();
        assert_eq!(disk.status(ROOT), Err(Failure::Broken));
        disk.power_on();
    }

    #[test]
    fn a_file_is_there_when_it_and_its_directory_were_synced() {
        for seed in 0..100 {
            let mut disk = Disk::new(seed);
            let file = disk.make(ROOT, name("a"), Kind::File).unwrap().node;
            disk.write(file, 0, b"hello").unwrap();
            disk.sync(file).unwrap();
            disk.sync(ROOT).unwrap();
            cut(&mut disk);
            let found = disk.lookup(ROOT, name("a")).unwrap();
            assert_eq!(disk.read(found.node, 0, 10), Ok(&b"hello"[..]));
        }
    }

    #[test]
    fn a_name_that_was_not_synced_is_lost_at_times() {
        let mut lost = 0;
        for seed in 0..100 {
            let mut disk = Disk::new(seed);
            let file = disk.make(ROOT, name("a"), Kind::File).unwrap().node;
            disk.write(file, 0, b"hello").unwrap();
            disk.sync(file).unwrap();
            cut(&mut disk);
            match disk.lookup(ROOT, name("a")) {
                Ok(found) => assert_eq!(disk.read(found.node, 0, 10), Ok(&b"hello"[..])),
                Err(failure) => {
                    assert_eq!(failure, Failure::Missing);
                    lost += 1;
                }
            }
        }
        assert!((20..80).contains(&lost), "{lost}");
    }

    #[test]
    fn a_file_written_aside_and_renamed_is_old_or_new() {
        let (mut old, mut new) = (0, 0);
        for seed in 0..100 {
            let mut disk = Disk::new(seed);
            let put = |disk: &mut Disk, data: &[u8]| {
                let file = disk.make(ROOT, name("tmp"), Kind::File).unwrap().node;
                disk.write(file, 0, data).unwrap();
                disk.sync(file).unwrap();
                disk.rename((ROOT, name("tmp")), (ROOT, name("a")), true)
                    .unwrap();
            };
            put(&mut disk, b"old");
            disk.sync(ROOT).unwrap();
            put(&mut disk, b"new");
            cut(&mut disk);
            let found = disk.lookup(ROOT, name("a")).unwrap().node;
            match disk.read(found, 0, 10).unwrap() {
                b"old" => old += 1,
                b"new" => new += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(old > 10 && new > 10, "{old} {new}");
    }

    #[test]
    fn names_are_kept_in_the_order_they_were_made() {
        for seed in 0..100 {
            let mut disk = Disk::new(seed);
            let inside = disk.make(ROOT, name("d"), Kind::Directory).unwrap().node;
            for at in 0..10 {
                disk.make(inside, name(&at.to_string()), Kind::File)
                    .unwrap();
            }
            cut(&mut disk);
            let Ok(found) = disk.lookup(ROOT, name("d")) else {
                continue;
            };
            let names: Vec<_> = disk.list(found.node).unwrap();
            for (at, (found, ..)) in names.iter().enumerate() {
                assert_eq!(found, name(&at.to_string()), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_full_disk_takes_no_more_and_a_dying_one_does_not_sync() {
        let mut disk = Disk::new(0);
        let file = disk.make(ROOT, name("a"), Kind::File).unwrap().node;
        disk.set_capacity(Some(1_000));
        disk.write(file, 0, &[1; 900]).unwrap();
        assert_eq!(disk.write(file, 900, &[1; 101]), Err(Failure::Full));
        disk.write(file, 0, &[2; 1_000]).unwrap();
        disk.fail_syncs(true);
        assert_eq!(disk.sync(file), Err(Failure::Broken));
        disk.fail_syncs(false);
        assert_eq!(disk.sync(file), Ok(()));
    }

    #[test]
    fn the_power_fails_after_so_many_changes() {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..50 {
            let mut disk = Disk::new(seed);
            let file = disk.make(ROOT, name("a"), Kind::File).unwrap().node;
            disk.sync(ROOT).unwrap();
            disk.fail_after(Some(2));
            disk.write(file, 0, b"one").unwrap();
            disk.sync(file).unwrap();
            assert_eq!(disk.write(file, 0, b"two"), Err(Failure::Broken));
            assert_eq!(disk.status(file), Err(Failure::Broken), "it is off");
            disk.power_on();
            match disk.read(file, 0, 10).unwrap() {
                b"one" => lost += 1,
                b"two" => kept += 1,
                other => panic!("{other:?}"),
            }
            disk.fail_after(Some(0));
            assert!(disk.make(ROOT, name("b"), Kind::File).is_err());
            disk.power_on();
            if let Ok(made) = disk.lookup(ROOT, name("b")) {
                assert_eq!(disk.read(made.node, 0, 10), Ok(&b""[..]));
            }
        }
        assert!(kept > 5 && lost > 5, "{kept} {lost}");
    }

    #[test]
    fn a_file_without_a_name_stays_while_it_is_held() {
        let mut disk = Disk::new(0);
        let file = disk.make(ROOT, name("a"), Kind::File).unwrap().node;
        disk.hold(file);
        disk.sync(ROOT).unwrap();
        disk.unlink(ROOT, name("a"), Kind::File).unwrap();
        disk.sync(ROOT).unwrap();
        disk.write(file, 0, b"x").unwrap();
        disk.release(file);
        disk.sync(ROOT).unwrap();
        assert_eq!(disk.status(file), Err(Failure::Missing));
    }
}
