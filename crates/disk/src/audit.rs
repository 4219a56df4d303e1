//! The audit trail of a coordinator: lines of JSON, each chained to all before it, so that none can be changed, taken out or put in
//! between unnoticed.
//!
//! A line is the caller's object with one more field at its end, `chain`: the BLAKE3 digest of the chain before it and of the line
//! up to that field. A file begins with a line that repeats the chain after which it goes on, so old files can be removed. Whoever
//! may write the files can write all of them anew, or cut off the newest lines: keep the head that [`verify`] tells elsewhere.
//!
//! A crash can leave the last line of a file unfinished. It stays as it is; the trail goes on in a new file, whose first line says so.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::{DiskError, During};
use crate::files::{own_dir, sync_dir};

/// Bytes after which a new file is begun.
const FILE_BYTES: u64 = 16 << 20;

/// What stands between what the caller wrote and the chain.
const FIELD: &str = ",\"chain\":\"";

/// The digest after so many lines.
type Chain = [u8; 32];

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// For how long a file is kept after its last line.
    pub time: Duration,
    /// How many bytes of files are kept, at least those of the newest.
    pub bytes: u64,
}

impl Default for Keep {
    /// 400 days, and a GiB.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(400 * 24 * 3_600),
            bytes: 1 << 30,
        }
    }
}

/// An open trail.
#[derive(Debug)]
pub struct AuditLog {
    dir: PathBuf,
    keep: Keep,
    file_bytes: u64,
    number: u64,
    file: File,
    size: u64,
    head: Chain,
}

impl AuditLog {
    /// Opens the trail in a directory, which is made if it is missing.
    ///
    /// # Errors
    /// [`DiskError`] when the directory cannot be read or written. A damaged file is no error: the trail goes on in a new one.
    pub fn open(dir: &Path, keep: Keep) -> Result<Self, DiskError> {
        Self::open_with(dir, keep, FILE_BYTES)
    }

    fn open_with(dir: &Path, keep: Keep, file_bytes: u64) -> Result<Self, DiskError> {
        own_dir(dir)?;
        let newest = numbers(dir)?.pop();
        let Some(newest) = newest else {
            return Self::begin(dir, keep, file_bytes, 1, [0; 32], None);
        };
        let path = path_of(dir, newest);
        let bytes = fs::read(&path).during("reading", &path)?;
        let read = read_file(&bytes, None);
        if let Some(damage) = read.damage {
            let words = format!("{}: {damage}", name_of(newest));
            return Self::begin(dir, keep, file_bytes, newest + 1, read.head, Some(&words));
        }
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .during("opening", &path)?;
        Ok(Self {
            dir: dir.to_owned(),
            keep,
            file_bytes,
            number: newest,
            file,
            size: bytes.len() as u64,
            head: read.head,
        })
    }

    /// Begins a file, after a chain.
    fn begin(
        dir: &Path,
        keep: Keep,
        file_bytes: u64,
        number: u64,
        after: Chain,
        damage: Option<&str>,
    ) -> Result<Self, DiskError> {
        let path = path_of(dir, number);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .during("creating", &path)?;
        let mut log = Self {
            dir: dir.to_owned(),
            keep,
            file_bytes,
            number,
            file,
            size: 0,
            head: after,
        };
        let mut line = format!("{{\"event\":\"begin\",\"after\":\"{}\"", hex(&after));
        if let Some(damage) = damage {
            // A file's name and a line's number: nothing that JSON would have to escape.
            line += &format!(",\"damage\":\"{damage}\"");
        }
        line.push('}');
        log.write(&[line])?;
        log.sync()?;
        sync_dir(dir)?;
        Ok(log)
    }

    /// Appends lines, each a JSON object with at least one field and no line break. They are with the system when this returns, and
    /// on the disk after the next [`AuditLog::sync`].
    ///
    /// # Errors
    /// [`DiskError`] when they cannot be written, or one of them is no object.
    pub fn append(&mut self, lines: &[String]) -> Result<(), DiskError> {
        if self.size >= self.file_bytes {
            self.sync()?;
            let (dir, keep) = (self.dir.clone(), self.keep);
            *self = Self::begin(
                &dir,
                keep,
                self.file_bytes,
                self.number + 1,
                self.head,
                None,
            )?;
            self.purge(SystemTime::now())?;
        }
        self.write(lines)
    }

    fn write(&mut self, lines: &[String]) -> Result<(), DiskError> {
        let (mut head, mut bytes) = (self.head, Vec::new());
        for line in lines {
            let open = line
                .strip_suffix('}')
                .filter(|open| open.len() > 1 && open.starts_with('{') && !open.contains('\n'))
                .ok_or_else(|| DiskError::Misuse(format!("no line of an audit trail: {line:?}")))?;
            head = next(&head, open.as_bytes());
            bytes.extend_from_slice(open.as_bytes());
            bytes.extend_from_slice(FIELD.as_bytes());
            bytes.extend_from_slice(hex(&head).as_bytes());
            bytes.extend_from_slice(b"\"}\n");
        }
        let path = path_of(&self.dir, self.number);
        if let Err(error) = self.file.write_all(&bytes).during("writing", &path) {
            // What was written of it goes, so that the next line does not stand behind half of one.
            self.file.set_len(self.size).during("shortening", &path)?;
            return Err(error);
        }
        (self.head, self.size) = (head, self.size + bytes.len() as u64);
        Ok(())
    }

    /// Puts what was appended on the disk.
    ///
    /// # Errors
    /// [`DiskError::Sync`].
    pub fn sync(&mut self) -> Result<(), DiskError> {
        let path = path_of(&self.dir, self.number);
        self.file.sync_data().during_sync(&path)
    }

    /// Removes the oldest files beyond what is kept.
    fn purge(&self, now: SystemTime) -> Result<(), DiskError> {
        let mut kept = self.size;
        for number in numbers(&self.dir)?.into_iter().rev() {
            if number == self.number {
                continue;
            }
            let path = path_of(&self.dir, number);
            let metadata = fs::metadata(&path).during("asking for", &path)?;
            kept = kept.saturating_add(metadata.len());
            let age = metadata
                .modified()
                .ok()
                .and_then(|at| now.duration_since(at).ok());
            let is_old = age.is_some_and(|age| age > self.keep.time);
            if is_old || kept > self.keep.bytes {
                fs::remove_file(&path).during("removing", &path)?;
            }
        }
        Ok(())
    }
}

/// What a trail was found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Lines that are as they were written.
    pub lines: u64,
    /// The chain after the last of them, in hexadecimal digits; empty for an empty trail.
    pub head: String,
    /// What is not as it was written, each with its file and line.
    pub damage: Vec<String>,
    /// Ends of files that a crash has left unfinished, and that the trail itself tells of.
    pub unfinished: Vec<String>,
}

/// Reads a trail from its oldest line to its newest, giving each good line to `each`, and checks that nothing was changed, taken
/// out or put in between.
///
/// # Errors
/// [`DiskError`] when it cannot be read.
pub fn verify(dir: &Path, mut each: impl FnMut(&str)) -> Result<Verified, DiskError> {
    let mut verified = Verified::default();
    // Number, chain, and damage of the file before.
    let mut before: Option<(u64, Chain, Option<String>)> = None;
    for number in numbers(dir)? {
        let path = path_of(dir, number);
        let bytes = fs::read(&path).during("reading", &path)?;
        let read = read_file(&bytes, Some(&mut each));
        verified.lines += read.lines;
        if let Some((last, head, damage)) = before.take() {
            let name = name_of(number);
            if last + 1 != number {
                let missing = name_of(last + 1);
                verified.damage.push(format!("{missing} is missing"));
            } else if read.after != Some(head) {
                let last = name_of(last);
                verified
                    .damage
                    .push(format!("{name}, line 1: does not go on where {last} ends"));
            }
            if let Some(damage) = damage {
                if read.told.as_deref() == Some(&*damage) {
                    verified.unfinished.push(damage);
                } else {
                    verified.damage.push(damage);
                }
            }
        }
        let damage = read
            .damage
            .map(|damage| format!("{}: {damage}", name_of(number)));
        verified.head = hex(&read.head);
        before = Some((number, read.head, damage));
    }
    verified
        .damage
        .extend(before.and_then(|(_, _, damage)| damage));
    Ok(verified)
}

/// What one file holds.
struct Read {
    lines: u64,
    /// Chain after which it begins.
    after: Option<Chain>,
    /// What its first line tells of the end of the file before.
    told: Option<String>,
    /// Chain after its last good line.
    head: Chain,
    /// What is wrong after that.
    damage: Option<String>,
}

fn read_file(bytes: &[u8], mut each: Option<&mut dyn FnMut(&str)>) -> Read {
    let mut read = Read {
        lines: 0,
        after: None,
        told: None,
        head: [0; 32],
        damage: None,
    };
    for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let broken = |what: &str| Some(format!("line {}: {what}", at + 1));
        let Some(text) = line
            .strip_suffix(b"\n")
            .and_then(|line| std::str::from_utf8(line).ok())
        else {
            read.damage = broken("is not whole");
            break;
        };
        if at == 0 {
            read.after = field(text, "after").and_then(unhex);
            read.told = field(text, "damage").map(str::to_owned);
            read.head = read.after.unwrap_or_default();
        }
        let Some((open, chain)) = split(text) else {
            read.damage = broken("has no chain");
            break;
        };
        let head = next(&read.head, open.as_bytes());
        if chain != head {
            read.damage = broken("it or a line before it is not as it was written");
            break;
        }
        (read.head, read.lines) = (head, read.lines + 1);
        if let Some(each) = &mut each {
            each(text);
        }
    }
    read
}

/// A line up to its chain, and its chain.
fn split(line: &str) -> Option<(&str, Chain)> {
    let (open, chain) = line.rsplit_once(FIELD)?;
    Some((open, unhex(chain.strip_suffix("\"}")?)?))
}

/// The value of a field of a file's first line, which we have written ourselves.
fn field<'line>(line: &'line str, name: &str) -> Option<&'line str> {
    let (_, rest) = line.split_once(&format!(",\"{name}\":\""))?;
    Some(rest.split_once('"')?.0)
}

fn next(head: &Chain, line: &[u8]) -> Chain {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head);
    hasher.update(line);
    *hasher.finalize().as_bytes()
}

fn hex(chain: &Chain) -> String {
    blake3::Hash::from_bytes(*chain).to_hex().to_string()
}

fn unhex(digits: &str) -> Option<Chain> {
    Some(*blake3::Hash::from_hex(digits).ok()?.as_bytes())
}

fn name_of(number: u64) -> String {
    format!("{number:08}.jsonl")
}

fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(name_of(number))
}

/// The numbers of the files, in order.
fn numbers(dir: &Path) -> Result<Vec<u64>, DiskError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).during("listing", dir)? {
        let name = entry.during("listing", dir)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SMALL: Keep = Keep {
        time: Duration::from_secs(3_600),
        bytes: 4_000,
    };

    fn lines(range: std::ops::Range<u32>) -> Vec<String> {
        range
            .map(|at| format!("{{\"event\":\"call\",\"object\":\"projects/p/executions/{at}\"}}"))
            .collect()
    }

    /// A trail of some files.
    fn trail(dir: &Path, keep: Keep) {
        let mut log = AuditLog::open_with(dir, keep, 600).unwrap();
        for at in 0..30 {
            log.append(&lines(at..at + 1)).unwrap();
        }
        log.sync().unwrap();
    }

    #[test]
    fn a_trail_goes_on_where_it_ended_and_tells_all_lines() {
        let dir = tempfile::tempdir().unwrap();
        trail(dir.path(), Keep::default());
        let mut log = AuditLog::open_with(dir.path(), Keep::default(), 600).unwrap();
        log.append(&lines(30..32)).unwrap();
        let mut told = Vec::new();
        let verified = verify(dir.path(), |line| told.push(line.to_owned())).unwrap();
        assert_eq!(verified.damage, [""; 0]);
        assert_eq!(verified.lines, told.len() as u64);
        told.retain(|line| !line.contains("\"begin\""));
        assert_eq!(told.len(), 32);
        for (at, line) in told.iter().enumerate() {
            assert!(line.contains(&format!("executions/{at}\"")), "{line}");
        }
    }

    #[test]
    fn old_files_go_and_the_rest_still_verifies() {
        let dir = tempfile::tempdir().unwrap();
        trail(dir.path(), SMALL);
        let all = numbers(dir.path()).unwrap();
        assert!(all[0] > 1, "{all:?}");
        let verified = verify(dir.path(), |_| ()).unwrap();
        assert_eq!(verified.damage, [""; 0]);
        let log = AuditLog::open_with(dir.path(), SMALL, 600).unwrap();
        log.purge(SystemTime::now() + Duration::from_secs(7_200))
            .unwrap();
        assert_eq!(numbers(dir.path()).unwrap().len(), 1);
    }

    /// Every byte of every file, one at a time; every line taken out; every file taken out but the oldest and the newest.
    #[test]
    fn whatever_is_changed_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        trail(dir.path(), Keep::default());
        let whole = verify(dir.path(), |_| ()).unwrap();
        let all = numbers(dir.path()).unwrap();
        let is_noticed = || {
            let now = verify(dir.path(), |_| ()).unwrap();
            !now.damage.is_empty() || now.head != whole.head
        };
        for number in &all {
            let path = path_of(dir.path(), *number);
            let bytes = fs::read(&path).unwrap();
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                fs::write(&path, &changed).unwrap();
                assert!(is_noticed(), "byte {at} of file {number}");
            }
            let rows: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            for out in 0..rows.len() {
                let mut left = rows.clone();
                left.remove(out);
                fs::write(&path, left.concat()).unwrap();
                assert!(is_noticed(), "line {out} of file {number}");
            }
            fs::write(&path, &bytes).unwrap();
        }
        for number in &all[1..all.len() - 1] {
            let path = path_of(dir.path(), *number);
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            assert!(is_noticed(), "file {number}");
            fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(verify(dir.path(), |_| ()).unwrap(), whole);
    }

    /// A crash at any byte of the last line: the trail goes on, and says where it was cut.
    #[test]
    fn an_unfinished_line_is_told_and_not_taken_for_tampering() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = AuditLog::open(dir.path(), Keep::default()).unwrap();
        log.append(&lines(0..2)).unwrap();
        drop(log);
        let path = path_of(dir.path(), 1);
        let bytes = fs::read(&path).unwrap();
        let rows: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        for cut in 1..rows[2].len() {
            fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
            let mut log = AuditLog::open(dir.path(), Keep::default()).unwrap();
            log.append(&lines(5..6)).unwrap();
            drop(log);
            let verified = verify(dir.path(), |_| ()).unwrap();
            assert_eq!(verified.damage, [""; 0], "cut {cut}");
            assert_eq!(
                verified.unfinished,
                ["00000001.jsonl: line 3: is not whole"]
            );
            assert_eq!(verified.lines, 4);
            fs::remove_file(path_of(dir.path(), 2)).unwrap();
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = AuditLog::open(dir.path(), Keep::default()).unwrap();
        for line in ["", "{}", "text", "{\"a\":1}\n{\"b\":2}"] {
            let refused = log.append(&[line.to_owned()]);
            assert!(matches!(refused, Err(DiskError::Misuse(_))), "{line}");
        }
        assert_eq!(verify(dir.path(), |_| ()).unwrap().lines, 1);
    }
}
