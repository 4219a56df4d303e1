//! Who a Raft member is, and what it remembers of the others: two small text files beside its log.
//!
//! `member` says which member of which cluster the directory belongs to, and whether it has ever stored anything. It is what a
//! wiped log is found out by: a member that was established and has no state must not start (I-13). `peers` says where the
//! others are and what they have promised, so that one whose disk was put back is found out too; it is written now and then,
//! and may be lost.
//!
//! Each file is lines of `word value…`; the last one is a checksum of those before it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{DiskError, During};
use crate::files;

const MEMBER: &str = "member";
const JOINING: &str = "joining";
const PEERS: &str = "peers";

/// Which member a directory belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// UUID of the cluster.
    pub cluster_id: String,
    /// Raft id in it.
    pub member_id: u64,
    /// Whether it has stored something that others may count on. If so, a directory without a log is one that lost it.
    pub established: bool,
}

/// What is remembered of another member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// `host:port` of its services; empty if it is not known.
    pub address: String,
    /// The furthest term it has promised to have entered.
    pub term: u64,
    /// The last entry that it has acknowledged in that term.
    pub index: u64,
}

/// Reads who the directory belongs to; nothing if nobody.
///
/// # Errors
/// When the file is damaged or cannot be read.
pub fn identity(dir: &Path) -> Result<Option<Identity>, DiskError> {
    let path = dir.join(MEMBER);
    let Some(lines) = read(&path)? else {
        return Ok(None);
    };
    let corrupt = || DiskError::corrupt(path.display().to_string(), "it does not say who this is");
    let value = |word: &str| {
        lines
            .iter()
            .find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
            .ok_or_else(corrupt)
    };
    Ok(Some(Identity {
        cluster_id: value("cluster")?.to_owned(),
        member_id: value("number")?.parse().map_err(|_| corrupt())?,
        established: value("established")? == "yes",
    }))
}

/// Says who the directory belongs to; durable on return.
///
/// # Errors
/// When it cannot be written.
pub fn set_identity(dir: &Path, identity: &Identity) -> Result<(), DiskError> {
    let established = if identity.established { "yes" } else { "no" };
    let text = format!(
        "cluster {}\nnumber {}\nestablished {established}\n",
        identity.cluster_id, identity.member_id
    );
    files::create_dir(dir)?;
    write(&dir.join(MEMBER), &text)
}

/// The id of the request by which the directory joins a cluster: the one that an interrupted try used, else `fresh`, which is
/// durable before this returns.
///
/// # Errors
/// When it cannot be read or written.
pub fn join_request(dir: &Path, fresh: &str) -> Result<String, DiskError> {
    let path = dir.join(JOINING);
    if let Some([line, ..]) = read(&path)?.as_deref()
        && let Some(id) = line.strip_prefix("request ")
    {
        return Ok(id.to_owned());
    }
    files::create_dir(dir)?;
    write(&path, &format!("request {fresh}\n"))?;
    Ok(fresh.to_owned())
}

/// What is remembered of the other members of a cluster. Damage, or another cluster's file, is nothing remembered.
///
/// # Errors
/// When the file cannot be read.
pub fn peers(dir: &Path, cluster_id: &str) -> Result<BTreeMap<u64, Peer>, DiskError> {
    let path = dir.join(PEERS);
    let lines = match read(&path) {
        Err(DiskError::Corrupt { place, why }) => {
            tracing::warn!(place, why, "what was remembered of other members is lost");
            None
        }
        other => other?,
    };
    let mut lines = lines.unwrap_or_default().into_iter();
    if lines.next().as_deref() != Some(&*format!("cluster {cluster_id}")) {
        return Ok(BTreeMap::new());
    }
    Ok(lines.filter_map(|line| peer(&line)).collect())
}

fn peer(line: &str) -> Option<(u64, Peer)> {
    let mut words = line.strip_prefix("peer ")?.split(' ');
    let mut number = || words.next()?.parse().ok();
    let (member, term, index) = (number()?, number()?, number()?);
    let address = words.next().unwrap_or_default().to_owned();
    Some((
        member,
        Peer {
            address,
            term,
            index,
        },
    ))
}

/// Notes what is to be remembered of the others.
///
/// # Errors
/// When it cannot be written.
pub fn set_peers(
    dir: &Path,
    cluster_id: &str,
    peers: &BTreeMap<u64, Peer>,
) -> Result<(), DiskError> {
    let mut text = format!("cluster {cluster_id}\n");
    for (member, peer) in peers {
        text += &format!(
            "peer {member} {} {} {}\n",
            peer.term, peer.index, peer.address
        );
    }
    write(&dir.join(PEERS), &text)
}

/// The lines of a file before its checksum; nothing if there is none.
fn read(path: &Path) -> Result<Option<Vec<String>>, DiskError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.during("reading", path)?,
    };
    let corrupt = |why| DiskError::corrupt(path.display().to_string(), why);
    let text = String::from_utf8(text).map_err(|_| corrupt("it is no text"))?;
    let (lines, sum) = text
        .trim_end_matches('\n')
        .rsplit_once('\n')
        .ok_or_else(|| corrupt("it is cut off"))?;
    if sum != checksum(&format!("{lines}\n")) {
        return Err(corrupt("its checksum does not match"));
    }
    Ok(Some(lines.lines().map(str::to_owned).collect()))
}

fn write(path: &Path, text: &str) -> Result<(), DiskError> {
    let sum = format!("{}\n", checksum(text));
    files::write_whole(path, &[text.as_bytes(), sum.as_bytes()])
}

fn checksum(text: &str) -> String {
    let hash = blake3::hash(text.as_bytes()).to_hex();
    format!("checksum {}", &hash[..16])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_identity_is_what_was_said_or_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(identity(dir.path()).unwrap(), None);
        let mut said = Identity {
            cluster_id: "c0ffee".to_owned(),
            member_id: 7,
            established: false,
        };
        set_identity(dir.path(), &said).unwrap();
        assert_eq!(identity(dir.path()).unwrap(), Some(said.clone()));
        said.established = true;
        set_identity(dir.path(), &said).unwrap();
        assert_eq!(identity(dir.path()).unwrap(), Some(said));
        let path = dir.path().join(MEMBER);
        let text = fs::read_to_string(&path).unwrap();
        for damaged in [
            text.replace("number 7", "number 8"),
            text[..text.len() - 9].to_owned(),
            String::new(),
        ] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(
                identity(dir.path()),
                Err(DiskError::Corrupt { .. })
            ));
        }
    }

    #[test]
    fn a_try_to_join_goes_on_under_the_same_request() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(join_request(dir.path(), "first").unwrap(), "first");
        assert_eq!(join_request(dir.path(), "second").unwrap(), "first");
    }

    #[test]
    fn peers_are_remembered_and_their_loss_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let known = BTreeMap::from([
            (
                2,
                Peer {
                    address: "10.0.0.2:7461".to_owned(),
                    term: 5,
                    index: 900,
                },
            ),
            (3, Peer::default()),
        ]);
        assert!(peers(dir.path(), "c").unwrap().is_empty());
        set_peers(dir.path(), "c", &known).unwrap();
        assert_eq!(peers(dir.path(), "c").unwrap(), known);
        assert!(peers(dir.path(), "another").unwrap().is_empty());
        fs::write(dir.path().join(PEERS), "cluster c\npeer 2 9").unwrap();
        assert!(peers(dir.path(), "c").unwrap().is_empty());
    }
}
