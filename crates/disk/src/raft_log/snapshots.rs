//! Snapshots as ordinary files: written whole, synced, renamed; the last two are kept.
//!
//! ```text
//! magic 8 | meta len u32le | data len u64le | BLAKE3 32 of meta and data | meta (Raft's SnapshotMetadata) | data
//! ```

use super::SnapshotStore;
use crate::error::{DiskError, During};
use crate::files;
use crate::space::space_of;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, SnapshotMetadata};
use std::fs;
use std::path::{Path, PathBuf};
use tracing::warn;

const MAGIC: &[u8; 8] = b"SHOALSN1";
const HEADER_LEN: usize = 8 + 4 + 8 + 32;
const KEPT: usize = 2;
/// Bytes that a snapshot leaves free: the log beside it does not survive a full disk.
const RESERVE: u64 = 64 << 20;

/// Which state a snapshot is of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapshotMeta {
    /// Index of the last entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Membership at that index.
    pub members: ConfState,
}

/// A directory of snapshots. A clone is the same directory.
#[derive(Clone, Debug)]
pub struct Snapshots {
    dir: PathBuf,
}

impl Snapshots {
    /// Opens `dir`, creating it if needed, and removes what a crash left unfinished.
    pub fn open(dir: &Path) -> Result<Snapshots, DiskError> {
        files::own_dir(dir)?;
        let snapshots = Snapshots {
            dir: dir.to_owned(),
        };
        for path in snapshots.files("tmp")? {
            files::remove_if_there(&path)?;
        }
        Ok(snapshots)
    }

    /// Stores a snapshot; durable on return. Older ones than the newest two are removed.
    pub fn store(&self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), DiskError> {
        let mut metadata = SnapshotMetadata {
            index: meta.index,
            term: meta.term,
            ..SnapshotMetadata::default()
        };
        metadata.set_conf_state(meta.members.clone());
        let encoded = metadata
            .write_to_bytes()
            .map_err(|e| DiskError::Misuse(format!("snapshot: {e}")))?;
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
        header.extend_from_slice(&(data.len() as u64).to_le_bytes());
        header.extend_from_slice(digest(&encoded, data).as_bytes());
        // Zero-padded, so that names sort as numbers.
        let path = self
            .dir
            .join(format!("{:020}-{:020}.snap", meta.index, meta.term));
        files::write_whole(&path, &[&header, &encoded, data])?;
        let all = self.files("snap")?;
        for old in all.iter().rev().skip(KEPT) {
            files::remove_if_there(old)?;
        }
        Ok(())
    }

    /// The newest snapshot that is sound. Damaged ones are set aside under another name, with a warning.
    pub fn latest(&self) -> Result<Option<(SnapshotMeta, Vec<u8>)>, DiskError> {
        for path in self.files("snap")?.into_iter().rev() {
            let bytes = fs::read(&path).during("reading", &path)?;
            match decode(&bytes) {
                Ok((meta, at)) => {
                    let mut data = bytes;
                    data.drain(..at);
                    return Ok(Some((meta, data)));
                }
                Err(why) => set_aside(&path, &why)?,
            }
        }
        Ok(None)
    }

    /// The newest snapshot that is sound, without its data, as a member starts. Older ones are looked at too, so that damage to them
    /// is not found only when they are needed.
    pub fn checked(&self) -> Result<Option<SnapshotMeta>, DiskError> {
        let latest = self.latest()?;
        for path in self.files("snap")?.into_iter().rev().skip(1) {
            let bytes = fs::read(&path).during("reading", &path)?;
            if let Err(why) = decode(&bytes) {
                set_aside(&path, &why)?;
            }
        }
        Ok(latest.map(|(meta, _)| meta))
    }

    /// The newest snapshot up to this index exactly, if it is kept and sound.
    pub fn at(&self, index: u64) -> Result<Option<(SnapshotMeta, Vec<u8>)>, DiskError> {
        let prefix = format!("{index:020}-");
        let named = |path: &PathBuf| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(&prefix))
        };
        let Some(path) = self.files("snap")?.into_iter().rfind(named) else {
            return Ok(None);
        };
        let mut bytes = fs::read(&path).during("reading", &path)?;
        match decode(&bytes) {
            Ok((meta, at)) => {
                bytes.drain(..at);
                Ok(Some((meta, bytes)))
            }
            Err(why) => Err(DiskError::corrupt(path.display().to_string(), why)),
        }
    }

    /// Indexes of the snapshots kept, rising.
    pub fn indexes(&self) -> Result<Vec<u64>, DiskError> {
        let name = |path: &PathBuf| path.file_name()?.to_str()?.get(..20)?.parse().ok();
        Ok(self.files("snap")?.iter().filter_map(name).collect())
    }

    /// The files with this extension, by name.
    fn files(&self, extension: &str) -> Result<Vec<PathBuf>, DiskError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).during("listing", &self.dir)? {
            let path = entry.during("listing", &self.dir)?.path();
            if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }
}

impl SnapshotStore for Snapshots {
    fn store(&self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), DiskError> {
        let needed = RESERVE.saturating_add(data.len() as u64);
        if space_of(&self.dir)?.available_bytes < needed {
            return Err(DiskError::Full {
                doing: "storing a snapshot in",
                path: self.dir.clone(),
            });
        }
        Snapshots::store(self, meta, data)
    }

    fn at(&self, index: u64) -> Result<Option<(SnapshotMeta, Vec<u8>)>, DiskError> {
        Snapshots::at(self, index)
    }
}

/// A damaged snapshot is kept for a person to look at, and counts as not there.
fn set_aside(path: &Path, why: &str) -> Result<(), DiskError> {
    warn!(path = %path.display(), why, "snapshot is corrupt; set aside");
    let aside = files::suffixed(path, "corrupt");
    fs::rename(path, &aside).during("renaming to", &aside)
}

fn digest(meta: &[u8], data: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(meta).update(data).finalize()
}

/// The metadata and where the data begins.
fn decode(bytes: &[u8]) -> Result<(SnapshotMeta, usize), String> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err("shorter than its header".into());
    };
    if !header.starts_with(MAGIC) {
        return Err("not a snapshot".into());
    }
    let meta_len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    let data_len = u64::from_le_bytes([
        header[12], header[13], header[14], header[15], header[16], header[17], header[18],
        header[19],
    ]);
    let Some((encoded, data)) = rest.split_at_checked(meta_len) else {
        return Err("cut off".into());
    };
    if data.len() as u64 != data_len {
        return Err(format!(
            "holds {} bytes of data, not {data_len}",
            data.len()
        ));
    }
    if digest(encoded, data).as_bytes() != &header[20..] {
        return Err("digest does not match".into());
    }
    let metadata = SnapshotMetadata::parse_from_bytes(encoded).map_err(|e| e.to_string())?;
    let members = metadata.get_conf_state().clone();
    let meta = SnapshotMeta {
        index: metadata.index,
        term: metadata.term,
        members,
    };
    Ok((meta, HEADER_LEN + meta_len))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meta(index: u64) -> SnapshotMeta {
        let mut members = ConfState::default();
        members.set_voters(vec![1, 2, 3]);
        members.set_learners(vec![9]);
        SnapshotMeta {
            index,
            term: 4,
            members,
        }
    }

    #[test]
    fn the_newest_is_given_and_two_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(dir.path()).unwrap();
        assert_eq!(snapshots.latest().unwrap(), None);
        for index in [5, 900, 1000] {
            snapshots
                .store(&meta(index), format!("state {index}").as_bytes())
                .unwrap();
        }
        assert_eq!(snapshots.indexes().unwrap(), [900, 1000]);
        assert_eq!(
            snapshots.at(900).unwrap(),
            Some((meta(900), b"state 900".to_vec()))
        );
        assert_eq!(snapshots.at(5).unwrap(), None);
        fs::write(dir.path().join("7.snap.tmp"), b"half").unwrap();
        let snapshots = Snapshots::open(dir.path()).unwrap();
        assert_eq!(
            snapshots.latest().unwrap(),
            Some((meta(1000), b"state 1000".to_vec()))
        );
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "the leftover is gone"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn a_damaged_one_is_set_aside_and_the_one_before_serves(at in any::<prop::sample::Index>(), bit in 0..8u8, cut: bool) {
            let dir = tempfile::tempdir().unwrap();
            let snapshots = Snapshots::open(dir.path()).unwrap();
            snapshots.store(&meta(5), b"old").unwrap();
            snapshots.store(&meta(6), b"new state").unwrap();
            let path = snapshots.files("snap").unwrap().pop().unwrap();
            let mut bytes = fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            fs::write(&path, bytes).unwrap();
            prop_assert_eq!(snapshots.latest().unwrap(), Some((meta(5), b"old".to_vec())));
            prop_assert_eq!(snapshots.indexes().unwrap(), [5]);
        }

        #[test]
        fn a_damaged_older_one_is_found_at_the_start(at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let dir = tempfile::tempdir().unwrap();
            let snapshots = Snapshots::open(dir.path()).unwrap();
            snapshots.store(&meta(5), b"old").unwrap();
            snapshots.store(&meta(6), b"new state").unwrap();
            prop_assert_eq!(snapshots.checked().unwrap(), Some(meta(6)));
            prop_assert_eq!(snapshots.indexes().unwrap(), [5, 6]);
            let path = snapshots.files("snap").unwrap().remove(0);
            let mut bytes = fs::read(&path).unwrap();
            bytes[at.index(path.metadata().unwrap().len() as usize)] ^= 1 << bit;
            fs::write(&path, bytes).unwrap();
            prop_assert_eq!(snapshots.checked().unwrap(), Some(meta(6)));
            prop_assert_eq!(snapshots.indexes().unwrap(), [6]);
        }
    }
}
