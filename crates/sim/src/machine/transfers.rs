//! Blobs on their way from one machine to another: the real plan of a fetch, and hands that ask, write, and give the name in the end.

use std::collections::{BTreeMap, BTreeSet};

use blob::{
    Ask, CHUNK, ChunkSet, Digest, Fetch, FetchLimits, FetchState, Holds, Manifest, ManifestBuilder,
    Verdict,
};
use contract::link::AssignedFile;
use worker::{Fence, Input, PrepareError, Prepared};

use super::blobs::{Service, digest};
use super::hands::resolved;
use super::{Machine, id_of};
use crate::Bug;
use crate::chance::Chance;
use crate::checkers::Fact;
use crate::event::{Event, MachineId, OnDaemon};
use crate::network::Network;
use crate::stage::Stage;
use crate::swarm::SECOND;

/// How often an input is asked for before the attempt is given up.
const FETCHES: u32 = 4;

/// As those of the product, with less patience.
const LIMITS: FetchLimits = FetchLimits {
    chunks_per_source: 8,
    chunks_in_all: 32,
    answer_timeout_ms: 1_000,
    slow_backoff_ms: 200,
    offender_backoff_ms: 300_000,
    timeouts_in_a_row: 3,
};

/// A fetch under way. What it has written outlives it.
#[derive(Debug)]
pub(super) struct Transfer {
    fetch: Fetch<MachineId>,
    /// Of its own, so that how bytes travel changes nothing else in a run.
    chance: Chance,
    /// Attempts that wait for the blob, and how often each has asked.
    waiting: BTreeSet<(Fence, u32)>,
    /// Whether a coordinator waits for a copy to be kept.
    is_copy: bool,
    /// When the plan is looked at again, whatever comes.
    due_ms: Option<u64>,
    /// All is there, and the name is being given.
    is_naming: bool,
}

/// Fetches under way, by what is fetched.
pub(super) type Transfers = BTreeMap<Digest, Transfer>;

impl Machine {
    /// Brings an attempt's inputs, as far as they are not here yet.
    pub(super) fn fetch(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        fence: Fence,
        attempt: u32,
    ) {
        let Some(directory) = self.disk.get(&fence) else {
            return;
        };
        let files = directory.assignment.inputs.iter();
        let files = files.flat_map(|input| &input.files);
        let missing = files.filter(|file| !stage.blobs.has(self.id, digest(&file.digest)));
        let missing: Vec<AssignedFile> = missing.cloned().collect();
        for file in &missing {
            self.begin_transfer(stage, file, Some((fence, attempt)));
        }
        for file in &missing {
            self.pump(stage, network, digest(&file.digest));
        }
        if missing.is_empty() {
            self.prepared(stage, network, fence);
        }
    }

    /// All inputs are there.
    fn prepared(&mut self, stage: &mut Stage, network: &mut Network, fence: Fence) {
        let (Some(directory), Some(daemon)) = (self.disk.get(&fence), &mut self.daemon) else {
            return;
        };
        let outcome = match stage.has_trouble() {
            true => Err(PrepareError::DiskFull("the disk is full".to_owned())),
            false => Ok(Prepared {
                time_us: stage.unix_us(self.clock_us),
                inputs: resolved(directory),
                ..Prepared::default()
            }),
        };
        if let Ok(prepared) = &outcome {
            daemon.prepared.insert(fence, prepared.clone());
        }
        self.handle(stage, Some(network), Input::Prepared { fence, outcome });
    }

    /// Brings a copy that is to be kept here, unless there is one.
    pub(super) fn keep_copy(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        file: &AssignedFile,
    ) {
        let digest = digest(&file.digest);
        if stage.blobs.has(self.id, digest) {
            return self.copied(stage, network, digest, Ok(()));
        }
        self.begin_transfer(stage, file, None);
        if let Some(transfer) = self.transfer(digest) {
            transfer.is_copy = true;
        }
        self.pump(stage, network, digest);
    }

    /// A copy is kept, or cannot be had.
    fn copied(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        digest: Digest,
        outcome: Result<(), String>,
    ) {
        stage.sometimes(match outcome {
            Ok(()) => "a worker kept a copy",
            Err(_) => "a copy could not be had",
        });
        self.handle(stage, Some(network), Input::CopyKept { digest, outcome });
    }

    /// Begins to fetch a blob for an attempt, or for itself.
    fn begin_transfer(
        &mut self,
        stage: &mut Stage,
        file: &AssignedFile,
        waits: Option<(Fence, u32)>,
    ) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let digest = digest(&file.digest);
        if let Some(transfer) = daemon.transfers.get_mut(&digest) {
            transfer.waiting.extend(waits);
            return;
        }
        let bytes = digest.as_bytes().first_chunk().copied();
        let seed = u64::from_be_bytes(bytes.unwrap_or_default()) ^ stage.now_us() ^ self.id as u64;
        let mut fetch = Fetch::new(digest, file.size_bytes, seed, LIMITS);
        if let Some(parts) = stage.blobs.parts(self.id, digest) {
            let mut present = ChunkSet::empty(parts.manifest.chunk_count());
            for (index, data) in &parts.chunks {
                let is_good = parts.manifest.verify_chunk(*index, data).is_ok();
                if is_good || stage.has(Bug::TrustOldParts) {
                    present.insert(*index);
                }
            }
            if let Err(error) = fetch.resume(parts.manifest.clone(), present) {
                stage
                    .checkers
                    .violated("I-19", format!("what was written of {digest}: {error}"));
            }
            stage.sometimes("a fetch went on with what was there");
        }
        for source in file.locations.iter().filter_map(|address| id_of(address)) {
            fetch.set_source(source, Holds::All);
        }
        let transfer = Transfer {
            fetch,
            chance: Chance::new(seed),
            waiting: waits.into_iter().collect(),
            is_copy: false,
            due_ms: None,
            is_naming: false,
        };
        daemon.transfers.insert(digest, transfer);
    }

    /// Asks whatever the plan wants to ask, and sees to what it has come to.
    pub(super) fn pump(&mut self, stage: &mut Stage, network: &mut Network, digest: Digest) {
        let (id, life) = (self.id, self.life);
        let Some(transfer) = self.transfer(digest) else {
            return;
        };
        let now_ms = stage.now_us() / 1_000;
        while let Some(ask) = transfer.fetch.poll(now_ms) {
            let way = 20..stage.swarm.network_us;
            let there_and_back = transfer.chance.delay(way.clone()) + transfer.chance.delay(way);
            if !transfer.chance.permille(stage.swarm.loss) {
                let served = OnDaemon::Served(digest, ask);
                stage.after(there_and_back, Event::Daemon(id, life, served));
            }
        }
        if transfer.is_naming {
            return;
        }
        if transfer.fetch.state() == FetchState::Verified {
            transfer.is_naming = true;
            let delay = transfer.chance.delay(50..SECOND / 2);
            return stage.after(delay, Event::Daemon(id, life, OnDaemon::Named(digest)));
        }
        if transfer.fetch.stuck(now_ms).is_some() {
            return self.give_up(stage, network, digest);
        }
        if let Some(due_ms) = transfer.fetch.deadline(now_ms)
            && transfer.due_ms.is_none_or(|planned| due_ms < planned)
        {
            transfer.due_ms = Some(due_ms);
            let delay = (due_ms * 1_000).saturating_sub(stage.now_us());
            stage.after(delay, Event::Daemon(id, life, OnDaemon::Due(digest)));
        }
    }

    /// Time has passed for a fetch.
    pub(super) fn due(&mut self, stage: &mut Stage, network: &mut Network, digest: Digest) {
        if let Some(transfer) = self.transfer(digest) {
            transfer.due_ms = None;
        }
        self.pump(stage, network, digest);
    }

    /// An answer arrives: what the source has to say by now.
    pub(super) fn served(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        digest: Digest,
        ask: Ask<MachineId>,
    ) {
        let id = self.id;
        let Some(transfer) = self.transfer(digest) else {
            return;
        };
        let now_ms = stage.now_us() / 1_000;
        let (Ask::Manifest { source } | Ask::Chunk { source, .. }) = ask;
        let bytes = stage.blobs.bytes(source, digest);
        match (stage.blobs.service(source), bytes) {
            (Service::Silent, _) => return,
            (Service::Down, _) => transfer.fetch.on_lost(&source),
            (Service::Answers, None) => {
                let what = format!(
                    "{digest} is asked of {}, where it is not",
                    super::name(source)
                );
                return stage.checkers.violated("I-18", what);
            }
            (Service::Answers, Some(bytes)) => {
                let is_wrong = transfer.chance.permille(stage.swarm.wrong_bytes);
                let is_refused = match ask {
                    Ask::Manifest { .. } => {
                        let manifest = manifest(bytes, is_wrong);
                        transfer
                            .fetch
                            .on_manifest(now_ms, &source, manifest)
                            .is_err()
                    }
                    Ask::Chunk { index, .. } => {
                        let mut data = chunk(bytes, index).to_vec();
                        if is_wrong {
                            spoil(&mut data, &mut transfer.chance);
                        }
                        match transfer.fetch.on_chunk(now_ms, &source, index, &data) {
                            Verdict::Refused(_) => true,
                            Verdict::Repeat | Verdict::TooEarly => false,
                            Verdict::Write(_) if transfer.chance.permille(stage.swarm.trouble) => {
                                transfer.fetch.on_write_failed(index);
                                false
                            }
                            Verdict::Write(verified) => {
                                if let Some(manifest) = transfer.fetch.manifest() {
                                    let written = (index, verified.data());
                                    stage.blobs.write(id, digest, manifest, written);
                                }
                                transfer.fetch.on_written(index);
                                false
                            }
                        }
                    }
                };
                if is_refused {
                    stage.sometimes("wrong bytes of a blob were refused");
                }
            }
        }
        self.pump(stage, network, digest);
    }

    /// A blob that is there as a whole has its name.
    pub(super) fn named(&mut self, stage: &mut Stage, network: &mut Network, digest: Digest) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let Some(mut transfer) = daemon.transfers.remove(&digest) else {
            return;
        };
        transfer.fetch.on_sealed();
        let bytes = stage.blobs.take_parts(self.id, digest);
        stage.show(&Fact::Fetched {
            machine: self.id,
            digest,
            bytes: &bytes,
        });
        stage.blobs.keep(self.id, digest, bytes);
        if transfer.is_copy {
            self.copied(stage, network, digest, Ok(()));
        }
        for (fence, attempt) in transfer.waiting {
            self.fetch(stage, network, fence, attempt);
        }
    }

    /// Nobody can be asked for a blob. Who waits for it tries again later, some times.
    fn give_up(&mut self, stage: &mut Stage, network: &mut Network, digest: Digest) {
        let (id, life) = (self.id, self.life);
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let Some(mut transfer) = daemon.transfers.remove(&digest) else {
            return;
        };
        let mut failed = Vec::new();
        for (fence, attempt) in transfer.waiting {
            for other in daemon.transfers.values_mut() {
                other.waiting.remove(&(fence, attempt));
            }
            if attempt < FETCHES {
                let delay = transfer.chance.between(SECOND / 2..2 * SECOND);
                let again = OnDaemon::Fetch(fence, attempt + 1);
                stage.after(delay, Event::Daemon(id, life, again));
            } else {
                failed.push(fence);
            }
        }
        if transfer.is_copy {
            let problem = Err("it cannot be fetched".to_owned());
            self.copied(stage, network, digest, problem);
        }
        for fence in failed {
            stage.sometimes("an input could not be fetched");
            let outcome = Err(PrepareError::Fetch {
                message: format!("{digest} cannot be fetched"),
                retryable: true,
            });
            self.handle(stage, Some(network), Input::Prepared { fence, outcome });
        }
    }

    fn transfer(&mut self, digest: Digest) -> Option<&mut Transfer> {
        self.daemon.as_mut()?.transfers.get_mut(&digest)
    }
}

/// The manifest of these bytes, or one that is not.
fn manifest(bytes: &[u8], is_wrong: bool) -> Manifest {
    let mut builder = ManifestBuilder::new();
    builder.update(bytes);
    let (_, manifest) = builder.finish();
    let mut chunks = manifest.chunks().to_vec();
    if let Some(first) = chunks.first_mut().filter(|_| is_wrong) {
        first[0] ^= 1;
    }
    Manifest::new(manifest.size(), chunks).unwrap_or(manifest)
}

fn chunk(bytes: &[u8], index: u64) -> &[u8] {
    let rest = bytes.get(index as usize * CHUNK..).unwrap_or_default();
    &rest[..rest.len().min(CHUNK)]
}

/// A bit is not what was sent, or the end is missing.
fn spoil(data: &mut Vec<u8>, chance: &mut Chance) {
    let at = chance.between(0..data.len() as u64) as usize;
    match chance.permille(500) {
        true => data.truncate(at),
        false => {
            if let Some(byte) = data.get_mut(at) {
                *byte ^= 1;
            }
        }
    }
}
