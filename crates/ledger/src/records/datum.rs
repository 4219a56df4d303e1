//! A stored output.

use std::sync::Arc;

use contract::ledger as pb;
use uuid::Uuid;

use super::{digest, id};
use crate::ids;
use crate::snapshot::RestoreError;

/// A datum: a stored output with its properties. It never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    /// Its UUID.
    pub datum_id: Uuid,
    /// Project it belongs to.
    pub project: Arc<str>,
    /// Path under the outputs.
    pub file_name: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// BLAKE3 digest of its bytes.
    pub digest: [u8; 32],
    /// Properties, one JSON object; empty when there are none.
    pub properties_json: String,
    /// Number of the execution that made it.
    pub execution: i64,
    /// Unix time in milliseconds.
    pub create_time_ms: i64,
    /// Worker that stored it.
    pub worker: Arc<str>,
}

impl Datum {
    /// The address by which executions name it: `datum://<uuid>`.
    pub fn uri(&self) -> String {
        format!("datum://{}", self.datum_id)
    }

    pub(crate) fn record(&self) -> pb::DatumRecord {
        pb::DatumRecord {
            datum_id: ids::wire(self.datum_id),
            project: self.project.to_string(),
            file_name: self.file_name.clone(),
            size_bytes: self.size_bytes,
            digest: prost::bytes::Bytes::copy_from_slice(&self.digest),
            properties_json: self.properties_json.clone(),
            execution: self.execution,
            create_time_ms: self.create_time_ms,
            worker: self.worker.to_string(),
        }
    }

    pub(crate) fn restore(
        record: pb::DatumRecord,
        project: Arc<str>,
        worker: Arc<str>,
    ) -> Result<Self, RestoreError> {
        Ok(Self {
            datum_id: id(&record.datum_id, "datum_id")?,
            project,
            file_name: record.file_name,
            size_bytes: record.size_bytes,
            digest: digest(&record.digest).ok_or(RestoreError::Malformed("datum.digest"))?,
            properties_json: record.properties_json,
            execution: record.execution,
            create_time_ms: record.create_time_ms,
            worker,
        })
    }
}
