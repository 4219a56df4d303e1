//! Records that a worker keeps copies of blobs that others stored. From then on they count as bytes that it has: inputs and downloads are served
//! from there, and a worker that leaves may go.

use contract::ledger as pb;

use crate::feature::COPIES;
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};
use crate::records;
use crate::stored::Digest;

pub(super) fn apply(ledger: &mut Ledger, command: &pb::RecordCopies) -> Result<Outcome, Refused> {
    if ledger.feature_level < COPIES {
        return Err(malformed("copies are recorded from feature level 3 on"));
    }
    let worker = ledger.worker_as(&command.worker, command.incarnation)?;
    let name = worker.name.clone();
    let digests = command.digests.iter().map(|bytes| records::digest(bytes));
    let digests: Option<Vec<Digest>> = digests.collect();
    let digests = digests.ok_or_else(|| malformed("a digest is 32 bytes"))?;
    let new = digests
        .into_iter()
        .filter(|digest| ledger.stored.insert_copy(*digest, &name));
    let new: Vec<Digest> = new.collect();
    if new.is_empty() {
        return Ok(Outcome::Nothing);
    }
    Ok(Outcome::Copies {
        worker: name,
        digests: new.into(),
    })
}
