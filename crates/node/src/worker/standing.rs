//! What a worker was told of its cluster, kept over a restart: without it, a restarted daemon could not tell which coordinators are a
//! majority until one of them speaks to it.

use std::io;
use std::path::{Path, PathBuf};

use contract::link::{self, SynchronizeResponse};
use feed::HolderId;
use prost::Message as _;
use worker::{Cluster, Coordinator};

use crate::home::write_durably;

/// A small file in the worker's directory.
pub(super) struct Standing {
    path: PathBuf,
}

impl Standing {
    /// The file of the worker in `directory`, and what it says; nothing when there is none, or none that can be read: the next word of a
    /// coordinator replaces it.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Cluster)> {
        let path = directory.join("cluster");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let told = SynchronizeResponse::decode_length_delimited(bytes.as_slice());
        let told = told.unwrap_or_default();
        let coordinators = told.coordinators.into_iter().map(|one| Coordinator {
            id: HolderId(one.member_id),
            address: one.address,
        });
        let cluster = Cluster {
            id: told.cluster_id,
            coordinators: coordinators.collect(),
            stop_after_ms: told.stop_after_ms,
        };
        Ok((Self { path }, cluster))
    }

    /// Keeps what was told; it is on the disk on return.
    pub(super) fn keep(&self, cluster: &Cluster) -> io::Result<()> {
        let coordinators = cluster.coordinators.iter().map(|one| link::Coordinator {
            member_id: one.id.0,
            address: one.address.clone(),
        });
        let told = SynchronizeResponse {
            cluster_id: cluster.id.clone(),
            coordinators: coordinators.collect(),
            stop_after_ms: cluster.stop_after_ms,
            ..SynchronizeResponse::default()
        };
        write_durably(&self.path, &told.encode_length_delimited_to_vec())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_told_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (standing, none) = Standing::open(directory.path()).unwrap();
        assert_eq!(none, Cluster::default());
        let cluster = Cluster {
            id: "a-cluster".to_owned(),
            coordinators: [1, 7]
                .map(|id| Coordinator {
                    id: HolderId(id),
                    address: format!("10.0.0.{id}:7460"),
                })
                .to_vec(),
            stop_after_ms: 35_000,
        };
        standing.keep(&cluster).unwrap();
        assert_eq!(Standing::open(directory.path()).unwrap().1, cluster);
        std::fs::write(directory.path().join("cluster"), b"\x09torn").unwrap();
        assert_eq!(Standing::open(directory.path()).unwrap().1, none);
    }
}
