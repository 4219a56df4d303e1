//! The plan of one blob's way here: whom to ask for what, and what became of it.
//!
//! ```text
//! Planned --manifest verified--> Receiving --every chunk verified and written--> Verified --named--> Sealed
//! ```
//!
//! The host drains [`Fetch::poll`] for what to ask, brings answers to the `on_…` methods, writes what
//! [`Verdict::Write`] gives it, and calls [`Fetch::poll`] again then and at [`Fetch::deadline`]. Chunks that are rare
//! among partial holders come first, from a starting place that the seed decides, so that several receivers of one blob
//! ask its first holder for different parts and then serve each other.

use crate::chunk_set::ChunkSet;
use crate::digest::Digest;
use crate::manifest::{Manifest, ManifestError, chunk_count};
use std::collections::{BTreeMap, BTreeSet};

mod types;

mod source;

use source::Source;
pub use types::{Ask, FetchLimits, FetchState, Holds, Stuck, Verdict};

#[derive(Clone, Debug)]
struct Asked<S> {
    source: S,
    deadline_ms: u64,
}

/// Each chunk is in exactly one of `missing`, `asked`, `arrived`, `written`.
#[derive(Clone, Debug)]
struct Receiving<S> {
    manifest: Manifest,
    /// In the order in which to ask: partial holders, place from the starting chunk on, number.
    missing: BTreeSet<(u32, u64, u64)>,
    asked: BTreeMap<u64, Asked<S>>,
    arrived: BTreeSet<u64>,
    written: ChunkSet,
}

#[derive(Clone, Debug)]
enum Phase<S> {
    Planned { asked: Option<Asked<S>> },
    Receiving(Receiving<S>),
    Verified(Manifest),
    Sealed(Manifest),
}

/// One blob's way here. `S` names a source.
#[derive(Clone, Debug)]
pub struct Fetch<S> {
    digest: Digest,
    size: u64,
    limits: FetchLimits,
    /// The chunk to begin with.
    start: u64,
    sources: BTreeMap<S, Source>,
    /// How many partial holders have each chunk.
    rarity: Vec<u32>,
    phase: Phase<S>,
}

impl<S: Ord + Clone> Fetch<S> {
    /// A plan for `digest`, known to have `size` bytes. `seed` should differ between receivers.
    pub fn new(digest: Digest, size: u64, seed: u64, limits: FetchLimits) -> Fetch<S> {
        let count = chunk_count(size);
        let mut fetch = Fetch {
            digest,
            size,
            limits,
            start: seed % count,
            sources: BTreeMap::new(),
            rarity: vec![0; count as usize],
            phase: Phase::Planned { asked: None },
        };
        if let Some(manifest) = Manifest::of_single_chunk(digest, size) {
            fetch.receive(manifest, ChunkSet::empty(count));
        }
        fetch
    }

    /// The blob.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How far it is.
    pub fn state(&self) -> FetchState {
        match &self.phase {
            Phase::Planned { .. } => FetchState::Planned,
            Phase::Receiving(r) => FetchState::Receiving {
                written: r.written.len(),
                total: r.written.count(),
            },
            Phase::Verified(_) => FetchState::Verified,
            Phase::Sealed(_) => FetchState::Sealed,
        }
    }

    /// The verified manifest, once there is one.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.phase {
            Phase::Planned { .. } => None,
            Phase::Receiving(r) => Some(&r.manifest),
            Phase::Verified(manifest) | Phase::Sealed(manifest) => Some(manifest),
        }
    }

    /// A source, new or with news of what it has. One that was lost may be asked again; an offender has to wait.
    pub fn set_source(&mut self, source: S, holds: Holds) {
        self.count_holdings(&source, false);
        let entry = self
            .sources
            .entry(source.clone())
            .or_insert(Source::new(Holds::All));
        entry.holds = holds;
        if !entry.reachable {
            (entry.reachable, entry.timeouts, entry.rests_until_ms) = (true, 0, 0);
        }
        self.count_holdings(&source, true);
    }

    /// The connection to `source` is lost, or it says that it has nothing of the blob.
    pub fn on_lost(&mut self, source: &S) {
        self.give_up(source);
    }

    /// What was written before a restart: a manifest and the chunks that were read from the disk and verified again.
    pub fn resume(&mut self, manifest: Manifest, present: ChunkSet) -> Result<(), ManifestError> {
        manifest.verify(&self.digest)?;
        manifest.verify_size(self.size)?;
        if present.count() != manifest.chunk_count() {
            return Err(ManifestError::ChunkCount {
                size: self.size,
                got: present.count(),
            });
        }
        if matches!(self.phase, Phase::Planned { .. })
            || self.state()
                == (FetchState::Receiving {
                    written: 0,
                    total: present.count(),
                })
        {
            self.sources
                .values_mut()
                .for_each(|source| source.in_flight = 0);
            self.receive(manifest, present);
        }
        Ok(())
    }

    /// The next thing to ask, if there is one. Call again until there is none.
    pub fn poll(&mut self, now_ms: u64) -> Option<Ask<S>> {
        self.expire(now_ms);
        let deadline_ms = now_ms.saturating_add(self.limits.answer_timeout_ms);
        let per_source = self.limits.chunks_per_source;
        // The least busy first, and among them those who have only a part, to spare the first holder.
        let mut able: Vec<(u32, bool, &S)> = self
            .sources
            .iter()
            .filter(|(_, s)| s.may_be_asked(now_ms) && s.in_flight < per_source)
            .map(|(id, s)| (s.in_flight, s.holds == Holds::All, id))
            .collect();
        able.sort();
        let (source, ask) = match &mut self.phase {
            Phase::Planned {
                asked: asked @ None,
            } => {
                let source = able.first()?.2.clone();
                *asked = Some(Asked {
                    source: source.clone(),
                    deadline_ms,
                });
                (source.clone(), Ask::Manifest { source })
            }
            Phase::Receiving(r) => {
                if r.asked.len() + r.arrived.len() >= self.limits.chunks_in_all as usize {
                    return None;
                }
                let (source, key) = able.into_iter().find_map(|(_, _, id)| {
                    let source = self.sources.get(id)?;
                    let key = r.missing.iter().find(|key| source.has(key.2))?;
                    Some((id.clone(), *key))
                })?;
                r.missing.remove(&key);
                let index = key.2;
                r.asked.insert(
                    index,
                    Asked {
                        source: source.clone(),
                        deadline_ms,
                    },
                );
                (source.clone(), Ask::Chunk { source, index })
            }
            _ => return None,
        };
        if let Some(asked) = self.sources.get_mut(&source) {
            asked.in_flight += 1;
        }
        Some(ask)
    }

    /// When [`poll`](Fetch::poll) may have something new without anything having come.
    pub fn deadline(&self, now_ms: u64) -> Option<u64> {
        let asked = match &self.phase {
            Phase::Planned { asked } => asked.iter().map(|a| a.deadline_ms).min(),
            Phase::Receiving(r) => r.asked.values().map(|a| a.deadline_ms).min(),
            Phase::Verified(_) | Phase::Sealed(_) => return None,
        };
        let returning = self
            .sources
            .values()
            .filter_map(|source| source.returns_at_ms(now_ms));
        asked.into_iter().chain(returning).min()
    }

    /// Why nothing more can be asked of anybody; nothing while somebody can be, or all is here.
    pub fn stuck(&self, now_ms: u64) -> Option<Stuck> {
        let wanting = match &self.phase {
            Phase::Planned { .. } => true,
            Phase::Receiving(r) => !(r.missing.is_empty() && r.asked.is_empty()),
            Phase::Verified(_) | Phase::Sealed(_) => false,
        };
        if !wanting
            || self
                .sources
                .values()
                .any(|source| source.is_hopeful(now_ms))
        {
            return None;
        }
        let digest = self.digest;
        let lied = self
            .sources
            .values()
            .any(|source| source.shut_out_until_ms.is_some());
        Some(if lied {
            Stuck::DataLoss { digest }
        } else {
            Stuck::Unavailable { digest }
        })
    }

    /// A manifest came. A wrong one is an error and its source an offender.
    pub fn on_manifest(
        &mut self,
        now_ms: u64,
        source: &S,
        manifest: Manifest,
    ) -> Result<(), ManifestError> {
        let verified = manifest
            .verify(&self.digest)
            .and_then(|()| manifest.verify_size(self.size));
        if let Err(error) = verified {
            self.blame(now_ms, source);
            return Err(error);
        }
        self.praise(source);
        if let Phase::Planned { asked } = &mut self.phase {
            if let Some(asked) = asked.take() {
                release(&mut self.sources, &asked.source);
            }
            let none = ChunkSet::empty(manifest.chunk_count());
            self.receive(manifest, none);
        }
        Ok(())
    }

    /// A chunk came.
    pub fn on_chunk<'a>(
        &mut self,
        now_ms: u64,
        source: &S,
        index: u64,
        data: &'a [u8],
    ) -> Verdict<'a> {
        let Phase::Receiving(r) = &mut self.phase else {
            return if self.manifest().is_some() {
                Verdict::Repeat
            } else {
                Verdict::TooEarly
            };
        };
        let chunk = match r.manifest.verify_chunk(index, data) {
            Ok(chunk) => chunk,
            Err(error) => {
                self.blame(now_ms, source);
                return Verdict::Refused(error);
            }
        };
        if r.arrived.contains(&index) || r.written.contains(index) {
            return Verdict::Repeat;
        }
        match r.asked.remove(&index) {
            Some(asked) => release(&mut self.sources, &asked.source),
            // It had been given up, and comes after all.
            None => r.missing.retain(|key| key.2 != index),
        }
        r.arrived.insert(index);
        self.praise(source);
        Verdict::Write(chunk)
    }

    /// `source` does not have chunk `index` after all.
    pub fn on_not_here(&mut self, source: &S, index: u64) {
        self.count_holdings(source, false);
        let count = self.rarity.len() as u64;
        if let Some(entry) = self.sources.get_mut(source) {
            if entry.holds == Holds::All {
                let mut all = ChunkSet::empty(count);
                (0..count).for_each(|i| {
                    all.insert(i);
                });
                entry.holds = Holds::Some(all);
            }
            if let Holds::Some(chunks) = &mut entry.holds {
                chunks.remove(index);
            }
        }
        self.count_holdings(source, true);
        if let Phase::Receiving(r) = &mut self.phase
            && r.asked
                .get(&index)
                .is_some_and(|asked| asked.source == *source)
        {
            r.asked.remove(&index);
            release(&mut self.sources, source);
            self.want(index);
        }
    }

    /// The disk has written chunk `index`.
    pub fn on_written(&mut self, index: u64) {
        if let Phase::Receiving(r) = &mut self.phase
            && r.arrived.remove(&index)
        {
            r.written.insert(index);
            if r.written.is_full() {
                self.phase = Phase::Verified(r.manifest.clone());
            }
        }
    }

    /// The disk could not write chunk `index`: it has to come again.
    pub fn on_write_failed(&mut self, index: u64) {
        if let Phase::Receiving(r) = &mut self.phase
            && r.arrived.remove(&index)
        {
            self.want(index);
        }
    }

    /// The blob has its name.
    ///
    /// # Panics
    /// If not every chunk was verified and written.
    pub fn on_sealed(&mut self) {
        let Phase::Verified(manifest) = &self.phase else {
            panic!(
                "I-19: blob {} was sealed before it was verified",
                self.digest
            );
        };
        self.phase = Phase::Sealed(manifest.clone());
    }

    fn receive(&mut self, manifest: Manifest, written: ChunkSet) {
        if written.is_full() {
            self.phase = Phase::Verified(manifest);
            return;
        }
        let count = manifest.chunk_count();
        self.phase = Phase::Receiving(Receiving {
            manifest,
            missing: BTreeSet::new(),
            asked: BTreeMap::new(),
            arrived: BTreeSet::new(),
            written: written.clone(),
        });
        (0..count)
            .filter(|index| !written.contains(*index))
            .for_each(|index| self.want(index));
    }

    fn order(&self, index: u64) -> (u32, u64, u64) {
        let count = self.rarity.len() as u64;
        let rarity = self.rarity.get(index as usize).copied().unwrap_or(0);
        (rarity, (index + count - self.start) % count, index)
    }

    fn want(&mut self, index: u64) {
        let key = self.order(index);
        if let Phase::Receiving(r) = &mut self.phase {
            r.missing.insert(key);
        }
    }

    /// Counts what a partial holder has in or out of the rarities, and keeps the order of the missing chunks.
    fn count_holdings(&mut self, source: &S, counted_in: bool) {
        let Some(Source {
            holds: Holds::Some(chunks),
            ..
        }) = self.sources.get(source)
        else {
            return;
        };
        for index in chunks.iter().collect::<Vec<_>>() {
            let before = self.order(index);
            if let Some(rarity) = self.rarity.get_mut(index as usize) {
                *rarity = if counted_in {
                    *rarity + 1
                } else {
                    rarity.saturating_sub(1)
                };
            }
            let after = self.order(index);
            if let Phase::Receiving(r) = &mut self.phase
                && r.missing.remove(&before)
            {
                r.missing.insert(after);
            }
        }
    }

    fn praise(&mut self, source: &S) {
        if let Some(source) = self.sources.get_mut(source) {
            (source.timeouts, source.rests_until_ms) = (0, 0);
        }
    }

    fn blame(&mut self, now_ms: u64, source: &S) {
        self.take_back(source);
        if let Some(source) = self.sources.get_mut(source) {
            let until_ms = now_ms.saturating_add(self.limits.offender_backoff_ms);
            source.shut_out_until_ms = Some(until_ms);
        }
    }

    fn give_up(&mut self, source: &S) {
        self.take_back(source);
        if let Some(source) = self.sources.get_mut(source) {
            source.reachable = false;
        }
    }

    /// Takes back all that a source was asked for.
    fn take_back(&mut self, id: &S) {
        if let Some(source) = self.sources.get_mut(id) {
            source.in_flight = 0;
        }
        match &mut self.phase {
            Phase::Planned { asked } => {
                asked.take_if(|asked| asked.source == *id);
            }
            Phase::Receiving(r) => {
                let asked = take_where(&mut r.asked, |asked| asked.source == *id);
                asked.into_iter().for_each(|(index, _)| self.want(index));
            }
            Phase::Verified(_) | Phase::Sealed(_) => {}
        }
    }

    /// Takes back what was not answered in time, so that others can be asked.
    fn expire(&mut self, now_ms: u64) {
        let mut late: Vec<S> = Vec::new();
        match &mut self.phase {
            Phase::Planned { asked } => {
                let expired = asked.take_if(|asked| asked.deadline_ms <= now_ms);
                late.extend(expired.map(|asked| asked.source));
            }
            Phase::Receiving(r) => {
                let expired = take_where(&mut r.asked, |asked| asked.deadline_ms <= now_ms);
                for (index, asked) in expired {
                    late.push(asked.source);
                    self.want(index);
                }
            }
            Phase::Verified(_) | Phase::Sealed(_) => {}
        }
        for id in late {
            release(&mut self.sources, &id);
            let Some(source) = self.sources.get_mut(&id) else {
                continue;
            };
            source.timeouts += 1;
            source.rests_until_ms = now_ms.saturating_add(self.limits.slow_backoff_ms);
            if source.timeouts >= self.limits.timeouts_in_a_row {
                self.give_up(&id);
            }
        }
    }
}

/// Takes out the questions that `which` is true of.
fn take_where<S: Clone>(
    asked: &mut BTreeMap<u64, Asked<S>>,
    which: impl Fn(&Asked<S>) -> bool,
) -> Vec<(u64, Asked<S>)> {
    let taken: Vec<_> = asked
        .iter()
        .filter(|(_, a)| which(a))
        .map(|(i, a)| (*i, a.clone()))
        .collect();
    taken.iter().for_each(|(index, _)| {
        asked.remove(index);
    });
    taken
}

fn release<S: Ord>(sources: &mut BTreeMap<S, Source>, source: &S) {
    if let Some(source) = sources.get_mut(source) {
        source.in_flight = source.in_flight.saturating_sub(1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
