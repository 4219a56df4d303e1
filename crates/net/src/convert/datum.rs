//! Data.

use bytes::Bytes;
use contract::api;
use ledger::{Datum, Ledger};

use super::{from_millis, int64, name};

/// A datum with the nodes that have its bytes.
pub(crate) fn datum(ledger: &Ledger, datum: &Datum) -> api::Datum {
    let addresses = ledger
        .holders(&datum.digest)
        .filter(|worker| !worker.lost && !worker.offer.address.is_empty())
        .map(|worker| worker.offer.address.clone());
    api::Datum {
        name: name::datum(&datum.project, &datum.datum_id),
        file_name: datum.file_name.clone(),
        size_bytes: int64(datum.size_bytes),
        digest: Bytes::copy_from_slice(&datum.digest),
        properties_json: datum.properties_json.clone(),
        execution: name::execution(&datum.project, datum.execution),
        create_time: from_millis(datum.create_time_ms),
        locations: addresses.collect(),
    }
}
