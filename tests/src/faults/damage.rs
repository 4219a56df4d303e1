//! Damage to the files of one coordinator.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit is turned over.
    BitFlip,
    /// 4,096 bytes are zero.
    ZeroedPage,
    /// Its end is missing.
    Truncation,
    /// It is as it was some time ago.
    StaleCopy,
    /// It and another one have changed places.
    Swapped,
}

impl Damage {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::BitFlip,
        Self::ZeroedPage,
        Self::Truncation,
        Self::StaleCopy,
        Self::Swapped,
    ];

    /// Does it to one file below `data`, chosen by chance; `earlier` is a copy of `data` as it was some time ago. In words what was
    /// done; none when there is no file that this would change.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn inflict(
        self,
        data: &Path,
        earlier: &Path,
        chance: &mut ChaCha8Rng,
    ) -> anyhow::Result<Option<String>> {
        let files = files(data)?;
        let fit: Vec<&PathBuf> = match self {
            Self::StaleCopy => files
                .iter()
                .filter(|file| differs(&data.join(file), &earlier.join(file)))
                .collect(),
            _ => files.iter().collect(),
        };
        let Some(file) = fit.choose(chance) else {
            return Ok(None);
        };
        let path = data.join(file);
        let length = fs::metadata(&path)?.len();
        let what = match self {
            Self::BitFlip => {
                let at = used(&path, 1, chance)?;
                let mut byte = [0];
                let open = OpenOptions::new().read(true).write(true).open(&path)?;
                open.read_exact_at(&mut byte, at)?;
                byte[0] ^= 1 << chance.random_range(0..8);
                open.write_all_at(&byte, at)?;
                format!("a bit at {at} of {length}")
            }
            Self::ZeroedPage => {
                let page = used(&path, 4_096, chance)?;
                let zeros = vec![0; 4_096.min(length - page) as usize];
                let open = OpenOptions::new().write(true).open(&path)?;
                open.write_all_at(&zeros, page)?;
                format!("zeros at {page} of {length}")
            }
            Self::Truncation => {
                let left = used(&path, 1, chance)?;
                OpenOptions::new().write(true).open(&path)?.set_len(left)?;
                format!("cut to {left} of {length}")
            }
            Self::StaleCopy => {
                fs::copy(earlier.join(file), &path)?;
                "an earlier copy".to_owned()
            }
            Self::Swapped => {
                let others: Vec<&PathBuf> = files.iter().filter(|other| other != file).collect();
                let Some(other) = others.choose(chance) else {
                    return Ok(None);
                };
                let aside = data.join("aside");
                fs::rename(&path, &aside)?;
                fs::rename(data.join(other), &path)?;
                fs::rename(aside, data.join(other))?;
                format!("swapped with {}", other.display())
            }
        };
        Ok(Some(format!("{}: {what}", file.display())))
    }
}

/// The beginning of a block that is not all zeros, by chance; 0 if there is none. Files are made longer than they are filled.
fn used(path: &Path, block: usize, chance: &mut ChaCha8Rng) -> anyhow::Result<u64> {
    let bytes = fs::read(path)?;
    let filled: Vec<usize> = bytes
        .chunks(block)
        .enumerate()
        .filter(|(_, block)| block.iter().any(|byte| *byte != 0))
        .map(|(at, _)| at * block)
        .collect();
    Ok(filled.choose(chance).copied().unwrap_or(0) as u64)
}

fn differs(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one != other)
}

/// The files below a directory that have something in them, as paths from there, in order.
pub(super) fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        let entries = fs::read_dir(&next).with_context(|| next.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                open.push(entry.path());
            } else if metadata.len() > 0 {
                found.push(entry.path().strip_prefix(directory)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a directory with all that is in it, in place of what was there.
///
/// # Errors
/// When something cannot be read or written.
pub(super) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn every_kind_changes_something() {
        for (seed, damage) in Damage::ALL.into_iter().enumerate() {
            let place = TempDir::new().unwrap();
            let (data, earlier) = (place.path().join("data"), place.path().join("earlier"));
            for (path, byte) in [(&earlier, 1), (&data, 2)] {
                fs::create_dir_all(path.join("inner")).unwrap();
                fs::write(path.join("one"), vec![byte; 10_000]).unwrap();
                fs::write(path.join("inner/two"), vec![byte + 7; 500]).unwrap();
            }
            let before = place.path().join("before");
            copy(&data, &before).unwrap();
            let mut chance = ChaCha8Rng::seed_from_u64(seed as u64);
            let what = damage.inflict(&data, &earlier, &mut chance).unwrap();
            let changed = ["one", "inner/two"]
                .iter()
                .filter(|file| differs(&data.join(file), &before.join(file)));
            let expected = if damage == Damage::Swapped { 2 } else { 1 };
            assert_eq!(changed.count(), expected, "{damage:?}: {what:?}");
        }
    }
}
