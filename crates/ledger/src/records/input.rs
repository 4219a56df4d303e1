//! Inputs of an execution, file by file.

use contract::{ledger as pb, link};
use uuid::Uuid;

use super::{digest, digest_bytes, id};
use crate::ids;
use crate::snapshot::RestoreError;

/// An input with its files.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its files, in the order of the file and of the edges.
    pub files: Vec<InputFile>,
}

/// One file of an input.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct InputFile {
    /// Where it comes from.
    pub uri: String,
    /// The datum, when it is one.
    pub datum_id: Option<Uuid>,
    /// Where the file came from, a `shoal.v1.Origin`.
    pub origin: i32,
    /// Path under the input's directory; empty until an attempt has prepared it.
    pub file_name: String,
    /// BLAKE3 digest, once known.
    pub digest: Option<[u8; 32]>,
    /// Size in bytes; 0 until known.
    pub size_bytes: u64,
}

impl Input {
    /// The same input as a worker resolved it. What the ledger knew of a file (its datum, its origin) stays.
    pub(crate) fn resolved(&self, found: &link::ResolvedInput) -> Self {
        let files = found.files.iter().map(|file| {
            let known = self.files.iter().find(|known| known.uri == file.uri);
            InputFile {
                uri: file.uri.clone(),
                datum_id: known.and_then(|known| known.datum_id),
                origin: known.map(|known| known.origin).unwrap_or_default(),
                file_name: file.file_name.clone(),
                digest: digest(&file.digest),
                size_bytes: file.size_bytes,
            }
        });
        Self {
            name: self.name.clone(),
            files: files.collect(),
        }
    }

    pub(crate) fn record(&self) -> pb::InputRecord {
        let files = self.files.iter().map(|file| pb::InputFileRecord {
            uri: file.uri.clone(),
            datum_id: file.datum_id.map(ids::wire).unwrap_or_default(),
            origin: file.origin,
            file_name: file.file_name.clone(),
            digest: digest_bytes(file.digest.as_ref()),
            size_bytes: file.size_bytes,
        });
        pb::InputRecord {
            name: self.name.clone(),
            files: files.collect(),
        }
    }

    pub(crate) fn restore(record: pb::InputRecord) -> Result<Self, RestoreError> {
        let files = record.files.into_iter().map(|file| {
            let datum_id = match file.datum_id.is_empty() {
                true => None,
                false => Some(id(&file.datum_id, "input.datum_id")?),
            };
            Ok(InputFile {
                uri: file.uri,
                datum_id,
                origin: file.origin,
                file_name: file.file_name,
                digest: digest(&file.digest),
                size_bytes: file.size_bytes,
            })
        });
        Ok(Self {
            name: record.name,
            files: files.collect::<Result<_, _>>()?,
        })
    }
}
