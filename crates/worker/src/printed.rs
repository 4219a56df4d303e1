//! What an attempt's program has printed, as far as its file was read: numbering, acks, seal, metadata.
//!
//! `writer.produced == hasher.record_count`. The file is read from its beginning by every incarnation of the daemon, so all of this is
//! made anew from it, and nothing of it has to be saved.

use std::collections::{BTreeMap, BTreeSet};

use feed::{
    Batch, HolderId, Latest, Line, LineAssembler, Push, Seal, SealHasher, Stream, Writer,
    WriterLimits, parse_metadata,
};

use crate::condition::StopCondition;
use crate::fence::Fence;
use crate::output::Output;

/// How long a coordinator that refused a feed is left alone.
const REFUSED_US: u64 = 1_000_000;

/// See the module's words.
#[derive(Debug)]
pub(crate) struct Printed {
    writer: Writer,
    hasher: SealHasher,
    stdout: LineAssembler,
    latest: Latest,
    condition: StopCondition,
    /// Coordinators for whom the file is being read.
    reading: BTreeSet<HolderId>,
    /// Coordinators for whom reading the file gave nothing: left alone until they come back.
    stalled: BTreeSet<HolderId>,
    /// Coordinators that refused the feed, and when they are asked again.
    refused: BTreeMap<HolderId, u64>,
}

/// What came of new frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grown {
    /// There is new metadata.
    pub(crate) metadata: bool,
    /// The stop condition holds.
    pub(crate) must_stop: bool,
}

impl Printed {
    pub(crate) fn new(
        holders: impl IntoIterator<Item = HolderId>,
        limits: WriterLimits,
        condition: StopCondition,
    ) -> Printed {
        Printed {
            writer: Writer::new(holders, limits),
            hasher: SealHasher::new(),
            stdout: LineAssembler::new(),
            latest: Latest::new(),
            condition,
            reading: BTreeSet::new(),
            stalled: BTreeSet::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Takes what is new of `batch`. Durations count from `start_us`, by the records' own times: reading the file again
    /// comes to the same end.
    pub(crate) fn grow(&mut self, batch: &Batch, start_us: Option<u64>) -> Grown {
        let mut grown = Grown::default();
        let next = self.writer.produced();
        if batch.first_record > next || batch.end_record() <= next {
            return grown;
        }
        let Ok(batch) = batch.from_record(next) else {
            return grown;
        };
        for record in batch.records() {
            let Ok((_, record)) = record else { break };
            if record.stream != Stream::Stdout {
                continue;
            }
            if let Some(Line::Whole(line)) = self.stdout.push(&record.data, record.partial) {
                let found = observe(&mut self.latest, &line);
                grown.metadata |= found;
                let after_us = record
                    .time_us
                    .saturating_sub(start_us.unwrap_or(record.time_us));
                grown.must_stop |= found && self.condition.holds(&self.latest, after_us);
            }
        }
        self.hasher.update_batch(&batch);
        self.writer.produce(batch);
        grown
    }

    /// The program has ended: a line that it began and never ended is a line.
    pub(crate) fn end(&mut self) {
        if let Some(Line::Whole(line)) = self.stdout.finish() {
            observe(&mut self.latest, &line);
        }
    }

    /// Whether the stop condition can come true by time alone.
    pub(crate) fn watches_time(&self) -> bool {
        self.condition.watches_time()
    }

    /// Whether the stop condition holds when the program has run for `after_us`.
    pub(crate) fn must_stop(&self, after_us: u64) -> bool {
        self.condition.holds(&self.latest, after_us)
    }

    /// Latest value of every metadata key as one JSON object; empty when there is none.
    pub(crate) fn metadata_json(&self) -> String {
        let values = self.latest.values();
        if values.is_empty() {
            return String::new();
        }
        serde_json::to_string(values).unwrap_or_default()
    }

    /// The seal of all that was read.
    pub(crate) fn seal(&self) -> Seal {
        self.hasher.seal()
    }

    /// Whether a majority of the coordinators has all that was read on its disk.
    pub(crate) fn is_stored(&self) -> bool {
        self.writer.acked() == self.writer.produced()
    }

    pub(crate) fn set_holders(&mut self, holders: &[HolderId]) {
        self.writer.set_holders(holders.iter().copied());
    }

    /// A new connection: what was on its way by the last one is sent again.
    pub(crate) fn connected(&mut self, holder: HolderId) {
        self.reading.remove(&holder);
        self.stalled.remove(&holder);
        self.refused.remove(&holder);
        // A stranger's connection is nothing to this feed.
        let _ = self.writer.disconnected(holder);
    }

    /// The holder answered with the record to go on with.
    pub(crate) fn stored(&mut self, holder: HolderId, next_record: u64) {
        let Some(before) = self.writer.stored(holder) else {
            return;
        };
        self.stalled.remove(&holder);
        let known = if next_record < before {
            // It went back: its disk is another one, or lost something.
            self.writer.rewind(holder, next_record, next_record)
        } else {
            self.writer.acknowledge(holder, next_record)
        };
        debug_assert_eq!(known, Ok(()), "it was asked for above");
    }

    /// The holder does not take the feed, at least not now. It is asked again later.
    pub(crate) fn refused(&mut self, holder: HolderId, now: u64) {
        if self.writer.stored(holder).is_some() {
            self.refused.insert(holder, now + REFUSED_US);
        }
    }

    /// What was asked to be read came.
    pub(crate) fn read(&mut self, fence: Fence, holder: HolderId, batch: &Batch) -> Option<Output> {
        self.reading.remove(&holder);
        // The file may have grown since; what was not counted yet is not pushed yet.
        let batch = batch.before_record(self.writer.produced()).ok()?;
        match self.writer.next_push(holder)? {
            Push::Read { first_record, .. } if first_record == batch.first_record => {
                if batch.is_empty() {
                    self.stalled.insert(holder);
                    return None;
                }
                self.writer.sent(holder, &batch).ok()?;
                Some(push(fence, holder, batch))
            }
            // The holder has moved meanwhile; it is asked for again in its turn.
            Push::Read { .. } => None,
            Push::Ready(batch) => Some(push(fence, holder, batch)),
        }
    }

    /// Appends what is to be pushed now to those of `up`.
    pub(crate) fn push(
        &mut self,
        now: u64,
        fence: Fence,
        up: &BTreeSet<HolderId>,
        outputs: &mut Vec<Output>,
    ) {
        for &holder in up {
            match self.refused.get(&holder) {
                Some(&until) if now < until => continue,
                Some(_) => self.connected(holder),
                None => {}
            }
            if self.reading.contains(&holder) || self.stalled.contains(&holder) {
                continue;
            }
            while let Some(next) = self.writer.next_push(holder) {
                match next {
                    Push::Ready(batch) => outputs.push(push(fence, holder, batch)),
                    Push::Read {
                        first_record,
                        offset,
                        max_bytes,
                    } => {
                        self.reading.insert(holder);
                        outputs.push(Output::ReadFeed {
                            fence,
                            holder,
                            first_record,
                            offset,
                            max_bytes,
                        });
                        break;
                    }
                }
            }
        }
    }

    /// When a coordinator that refused is to be asked again.
    pub(crate) fn wakeup(&self, up: &BTreeSet<HolderId>) -> Option<u64> {
        let waiting = self
            .refused
            .iter()
            .filter(|(holder, _)| up.contains(holder));
        waiting.map(|(_, until)| *until).min()
    }

    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        let (produced, sealed) = (self.writer.produced(), self.hasher.record_count());
        if produced != sealed {
            return Err(format!(
                "I-21: {produced} records produced, {sealed} under the seal"
            ));
        }
        Ok(())
    }
}

/// Whether the line was metadata.
fn observe(latest: &mut Latest, line: &[u8]) -> bool {
    match parse_metadata(line) {
        Some(values) => {
            latest.observe(values);
            true
        }
        None => false,
    }
}

fn push(fence: Fence, holder: HolderId, batch: Batch) -> Output {
    Output::Push {
        fence,
        holder,
        batch,
    }
}
