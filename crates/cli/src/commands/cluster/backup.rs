//! `shoal cluster snapshot` and `restore`: the whole replicated state as a file, and a new cluster from one.

use std::io::Write as _;
use std::path::Path;

use client::{BackupPart, StreamExt as _};
use serde_json::json;

use super::super::Context;
use crate::{Exit, Failure};

/// Writes a backup: a file that is there whole, or not at all.
pub(super) async fn snapshot(context: &Context, file: &Path) -> Result<Exit, Failure> {
    let path = context.current.join(file);
    let cannot =
        |error: std::io::Error| Failure::new(format!("cannot write {}: {error}", path.display()));
    let directory = path.parent().unwrap_or(&context.current);
    let mut partial = tempfile::NamedTempFile::new_in(directory).map_err(cannot)?;
    let connection = context.connect();
    let mut size = 0_u64;
    let written = async {
        let mut parts = connection.client.read_snapshot();
        while let Some(part) = parts.next().await {
            match part? {
                BackupPart::Bytes(bytes) => {
                    partial.write_all(&bytes).map_err(cannot)?;
                    size += bytes.len() as u64;
                }
                // The connection was lost: the next state is another one, so it is read from its beginning.
                BackupPart::Again => {
                    size = 0;
                    partial.as_file().set_len(0).map_err(cannot)?;
                    std::io::Seek::rewind(partial.as_file_mut()).map_err(cannot)?;
                }
            }
        }
        partial.as_file().sync_all().map_err(cannot)
    };
    let written: Result<(), Failure> = written.await;
    context.close(connection).await;
    written?;
    partial
        .persist(&path)
        .map_err(|error| cannot(error.error))?;
    context.print(
        || json!({"file": path, "size_bytes": size}),
        || format!("{size} bytes in {}\n", path.display()),
    )?;
    Ok(Exit::Done)
}

/// Makes a data directory for the first coordinator of a new cluster that goes on from a backup.
pub(super) async fn restore(
    context: &Context,
    file: &Path,
    data_dir: &Path,
) -> Result<Exit, Failure> {
    let path = context.current.join(file);
    let dir = context.current.join(data_dir);
    let taken = std::fs::read_dir(&dir).is_ok_and(|mut found| found.next().is_some());
    if taken {
        return Err(Failure::usage(format!("{} is not empty", dir.display()))
            .hint("name a directory that is empty or does not exist"));
    }
    let bytes = crate::place::read(&path)?;
    let restored = node::coordinator::restore(&bytes, &dir)
        .map_err(|fault| Failure::new(format!("{}: {fault}", path.display())))?;
    context.print(
        || json!({"cluster_id": restored.cluster_id, "data_dir": dir, "revision": restored.revision}),
        || {
            format!(
                "a new cluster, {}, with the state of revision {}\n\nStart its first coordinator with:\n  shoal coordinator --data-dir {}\n",
                restored.cluster_id,
                restored.revision,
                dir.display()
            )
        },
    )?;
    Ok(Exit::Done)
}
