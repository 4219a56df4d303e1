//! Minds, their disks, the network between them and the clients that ask them. Nothing happens but what a test makes happen; what is
//! always promised is checked at each step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contract::api::{self, ErrorReason};
use contract::ledger::Snapshot;
use coordinator::{
    Answer, Base, Batch, Config, Coordinator, Input, MemberView, Now, Output, Recovered, Refusal,
    Request, SessionId, TICK_MS, Token,
};
use ledger::{Knows, Ledger, Uuid};
use prost::Message as _;
use raft::eraftpb::{Message, MessageType};

const YAML: &str = "- step:\n    name: a\n    image: x\n    command: y\n";
pub const CLUSTER: &str = "5e3c1a52-0000-4000-8000-000000000001";

/// What a member has on its disk, and what is on its way there.
#[derive(Default, Clone)]
pub struct Disk {
    pub log: Recovered,
    snapshot: Vec<u8>,
    /// Batches that were handed over.
    pending: VecDeque<Batch>,
    /// Snapshots that were handed over, with the number of batches before them.
    making: Option<(Base, Vec<u8>)>,
}

impl Disk {
    fn store(&mut self, batch: Batch) {
        if let Some(snapshot) = batch.snapshot {
            self.log.base = snapshot.get_metadata().into();
            self.log.entries.clear();
            self.snapshot = snapshot.data.to_vec();
        }
        if let Some(first) = batch.entries.first() {
            assert!(
                first.index > self.log.base.index,
                "an entry of the snapshot is written again"
            );
            self.log.entries.retain(|entry| entry.index < first.index);
            let last = self
                .log
                .entries
                .last()
                .map_or(self.log.base.index, |last| last.index);
            assert!(last + 1 >= first.index, "a gap in the log");
        }
        self.log.entries.extend(batch.entries);
        if let Some(hard_state) = batch.hard_state {
            let known = &self.log.hard_state;
            assert!(known.term <= hard_state.term, "the term went back");
            self.log.hard_state = hard_state;
        }
    }

    /// Changes the stored snapshot behind the member's back.
    pub fn tamper(&mut self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot::decode(self.snapshot.as_slice()).unwrap();
        change(&mut snapshot);
        self.snapshot = snapshot.encode_to_vec();
    }

    /// What a start finds.
    fn found(&self) -> (Recovered, Ledger) {
        let mut found = self.log.clone();
        found.entries.retain(|entry| entry.index > found.base.index);
        let ledger = match self.snapshot.as_slice() {
            [] => Ledger::new(),
            bytes => Ledger::restore(Snapshot::decode(bytes).unwrap()).unwrap(),
        };
        (found, ledger)
    }
}

/// One coordinator.
#[derive(Default)]
pub struct Node {
    pub mind: Option<Coordinator>,
    pub disk: Disk,
    lives: u64,
    pub published: Ledger,
    pub members: Vec<MemberView>,
    /// Whether batches are stored at once.
    pub stores: bool,
    /// Whether it was told to step down.
    pub stopping: bool,
    pub halted: Option<String>,
    pub refused: Vec<String>,
    pub ended: Vec<(u64, Refusal)>,
    pub desired: Vec<contract::link::SynchronizeResponse>,
}

/// A read under way.
struct Read {
    /// Requests that had been answered when it was asked.
    acked: BTreeSet<u128>,
    pub answer: Option<Result<u64, ErrorReason>>,
}

/// Everything.
pub struct World {
    pub nodes: BTreeMap<u64, Node>,
    pub network: Vec<Message>,
    /// Members that hear nobody and are heard by nobody.
    pub cut: BTreeSet<u64>,
    pub now: Now,
    seed: u64,
    next_token: u64,
    asked: BTreeMap<u64, u128>,
    /// Requests that were answered.
    pub acked: BTreeMap<u128, Answer>,
    pub answers: BTreeMap<u64, Result<Answer, Refusal>>,
    reads: BTreeMap<u64, Read>,
    /// Who led in which term.
    leaders: BTreeMap<u64, u64>,
    /// Digest of the ledger at each revision.
    digests: BTreeMap<u64, [u8; 32]>,
    pub snapshot_entries: u64,
    pub snapshots_taken: usize,
    /// Whether ledgers are compared as they are published.
    pub compares: bool,
    /// Whether what members do to each other is judged; not when somebody lies to them.
    pub judges: bool,
    /// The highest feature level that each member knows; 0 unless it is said.
    pub levels: BTreeMap<u64, u32>,
}

impl World {
    /// A group of founders that all know each other.
    pub fn of(count: u64, seed: u64) -> Self {
        let mut world = Self {
            nodes: BTreeMap::new(),
            network: Vec::new(),
            cut: BTreeSet::new(),
            now: Now {
                unix_ms: 1_000,
                monotonic_us: 0,
            },
            seed,
            next_token: 0,
            asked: BTreeMap::new(),
            acked: BTreeMap::new(),
            answers: BTreeMap::new(),
            reads: BTreeMap::new(),
            leaders: BTreeMap::new(),
            digests: BTreeMap::new(),
            snapshot_entries: 1_000,
            snapshots_taken: 0,
            compares: true,
            judges: true,
            levels: BTreeMap::new(),
        };
        let voters: Vec<u64> = (1..=count).collect();
        for id in &voters {
            let disk = Disk {
                log: Recovered::founding(&voters),
                ..Disk::default()
            };
            world.add(*id, disk);
        }
        world
    }

    /// Puts a machine in place and starts it.
    pub fn add(&mut self, id: u64, disk: Disk) {
        let node = Node {
            disk,
            stores: true,
            ..Node::default()
        };
        self.nodes.insert(id, node);
        self.start(id);
    }

    pub fn start(&mut self, id: u64) {
        let seed = self.seed;
        let snapshot_entries = self.snapshot_entries;
        let node = self.nodes.get_mut(&id).unwrap();
        if node.mind.is_some() {
            return;
        }
        node.lives += 1;
        let (found, ledger) = node.disk.found();
        node.published = ledger.clone();
        let config = Config {
            member_id: id,
            cluster_id: CLUSTER.into(),
            address: format!("c{id}:1"),
            knows: Knows {
                level: self.levels.get(&id).copied().unwrap_or_default(),
                version: "0.1.0".into(),
            },
            seed: seed ^ (id << 32) ^ node.lives,
            snapshot_entries,
            lost_after_us: 60_000_000,
            stop_grace_ms: 1_000,
            on_disconnect: coordinator::OnDisconnect::KeepRunning,
        };
        node.mind = Some(Coordinator::new(config, found, ledger).unwrap());
        self.settle(id);
    }

    /// The process ends; a beginning of what was on its way to the disk is there.
    pub fn crash(&mut self, id: u64, survive: usize) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.mind.take().is_none() {
            return;
        }
        let pending = std::mem::take(&mut node.disk.pending);
        let survive = survive % (pending.len() + 1);
        for batch in pending.into_iter().take(survive) {
            node.disk.store(batch);
        }
        node.disk.making = None;
    }

    pub fn mind(&self, id: u64) -> &Coordinator {
        self.nodes[&id].mind.as_ref().unwrap()
    }

    pub fn handle(&mut self, id: u64, input: Input) {
        let now = self.now;
        if let Some(mind) = self.nodes.get_mut(&id).and_then(|node| node.mind.as_mut()) {
            mind.handle(now, input);
        }
    }

    /// Hands an input over and does what is asked for.
    pub fn happen(&mut self, id: u64, input: Input) {
        self.handle(id, input);
        self.settle(id);
    }

    /// Does what a mind asks for until it asks for nothing more.
    pub fn settle(&mut self, id: u64) {
        loop {
            let now = self.now;
            let Some(mind) = self.nodes.get_mut(&id).and_then(|node| node.mind.as_mut()) else {
                return;
            };
            let outputs = mind.poll(now);
            let (leads, term) = (mind.leads(), mind.group().term());
            if leads && self.judges {
                let leader = *self.leaders.entry(term).or_insert(id);
                assert_eq!(leader, id, "two leaders in term {term}");
            }
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                self.perform(id, output);
            }
        }
    }

    fn perform(&mut self, id: u64, output: Output) {
        let node = self.nodes.get_mut(&id).unwrap();
        match output {
            Output::Persist(batch) => {
                node.disk.pending.push_back(batch);
                if node.stores {
                    self.persist(id);
                }
            }
            Output::Send(message) => self.network.push(*message),
            Output::SendSnapshot { mut message } => {
                assert!(message.get_snapshot().data.is_empty());
                let index = message.get_snapshot().get_metadata().index;
                if node.disk.log.base.index == index && !node.disk.snapshot.is_empty() {
                    message.mut_snapshot().data = node.disk.snapshot.clone().into();
                    self.network.push(*message);
                } else {
                    let member = message.to;
                    self.handle(
                        id,
                        Input::SnapshotSent {
                            member,
                            delivered: false,
                        },
                    );
                }
            }
            Output::Publish(ledger) => {
                ledger.check_invariants().unwrap();
                let known = *self
                    .digests
                    .entry(ledger.revision())
                    .or_insert(ledger.digest());
                let equal = known == ledger.digest() || !self.compares;
                assert!(equal, "I-04: ledgers differ at {}", ledger.revision());
                node.published = ledger;
            }
            Output::Reply { token, result } => {
                if let (Some(request), Ok(answer)) = (self.asked.get(&token.0), &result) {
                    let first = self.acked.entry(*request).or_insert_with(|| answer.clone());
                    let same = first == answer || !self.judges;
                    assert!(
                        same,
                        "I-02: a request was answered {first:?}, then {answer:?}"
                    );
                }
                let twice = self.answers.insert(token.0, result);
                assert!(twice.is_none(), "a caller was answered twice");
            }
            Output::Fresh { token, result } => {
                let read = self.reads.get_mut(&token.0).unwrap();
                assert!(read.answer.is_none(), "a reader was answered twice");
                read.answer = Some(match result {
                    Err(refusal) => Err(refusal.reason),
                    Ok(ledger) => {
                        for request in read.acked.iter().filter(|_| self.judges) {
                            let known = ledger.request(&Uuid::from_u128(*request));
                            assert!(
                                known.is_some(),
                                "I-03: a fresh ledger lacks request {request}"
                            );
                        }
                        Ok(ledger.revision())
                    }
                });
            }
            Output::StoreSnapshot {
                index,
                term,
                members,
                ledger,
            } => {
                let base = Base {
                    index,
                    term,
                    members,
                };
                node.disk.making = Some((base, ledger.snapshot().encode_to_vec()));
                if node.stores {
                    self.persist(id);
                }
            }
            Output::CompactLog { index } => {
                node.disk.log.entries.retain(|entry| entry.index > index);
            }
            Output::Members(members) => node.members = members,
            Output::Halt { why } => node.halted = Some(why),
            Output::PeerRefused { why, .. } => node.refused.push(why.into()),
            Output::CallPool(_) => panic!("nobody has pools here"),
            Output::EndSession { session, refusal } => node.ended.push((session.0, refusal)),
            Output::Desired { desired, .. } => node.desired.push(desired),
            Output::SealFeed { .. } => {}
        }
    }

    /// The disk stores what it has been given.
    pub fn persist(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        let mut stored = None;
        while let Some(batch) = node.disk.pending.pop_front() {
            stored = Some(batch.number);
            node.disk.store(batch);
        }
        let mut inputs: Vec<Input> = stored
            .map(|number| Input::Persisted { number })
            .into_iter()
            .collect();
        if let Some((base, data)) = node.disk.making.take() {
            let index = base.index;
            // A leader's snapshot may have come in between.
            if index > node.disk.log.base.index {
                node.disk.log.base = base;
                node.disk.snapshot = data;
            }
            inputs.push(Input::SnapshotStored { index });
        }
        for input in inputs {
            self.handle(id, input);
        }
    }

    /// A member connects with another one, and says how much it knows.
    pub fn tell(&mut self, from: u64, to: u64) {
        let feature_level = self.levels.get(&from).copied().unwrap_or_default();
        self.happen(
            to,
            Input::PeerKnows {
                member: from,
                feature_level,
            },
        );
    }

    /// Delivers, or loses, a message on its way.
    pub fn deliver(&mut self, at: usize, lose: bool) {
        if self.network.is_empty() {
            return;
        }
        let message = self.network.swap_remove(at % self.network.len());
        let (from, to) = (message.from, message.to);
        let is_snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
        let up = self.nodes.get(&to).is_some_and(|node| node.mind.is_some());
        let lost = lose || !up || self.cut.contains(&from) || self.cut.contains(&to);
        if !lost {
            self.tell(from, to);
            self.happen(
                to,
                Input::Peer {
                    message: Box::new(message),
                },
            );
            let node = &self.nodes[&to];
            // Who was removed may not have heard of it.
            let removed = ["the sender was removed", "the sender is no member"];
            let fair = |why: &String| removed.contains(&why.as_str());
            let sound = node.refused.iter().all(fair) || !self.judges;
            assert!(sound, "a sound member was refused: {:?}", node.refused);
        }
        if is_snapshot {
            self.snapshots_taken += usize::from(!lost);
            let delivered = !lost;
            self.happen(
                from,
                Input::SnapshotSent {
                    member: to,
                    delivered,
                },
            );
        } else if lost {
            self.happen(from, Input::Unreachable { member: to });
        }
    }

    pub fn duplicate(&mut self, at: usize) {
        if !self.network.is_empty() && self.network.len() < 500 {
            let message = self.network[at % self.network.len()].clone();
            if message.get_msg_type() != MessageType::MsgSnapshot {
                self.network.push(message);
            }
        }
    }

    /// Time passes for one member.
    pub fn tick(&mut self, id: u64) {
        self.happen(id, Input::Tick);
    }

    /// So many ticks pass for all, and everything arrives.
    pub fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.now.monotonic_us += TICK_MS * 1_000;
            self.now.unix_ms += TICK_MS as i64;
            for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.tick(id);
            }
            self.drain();
        }
    }

    /// Everything on its way arrives, in the order it was sent.
    pub fn drain(&mut self) {
        for _ in 0..20_000 {
            if self.network.is_empty() {
                return;
            }
            // A member answers with messages, which go to the end.
            let message = self.network.remove(0);
            self.network.push(message);
            let at = self.network.len() - 1;
            self.deliver(at, false);
        }
        panic!("the members never stop talking");
    }

    /// Who leads and is ready.
    pub fn leader(&self) -> Option<u64> {
        let ready = |node: &Node| node.mind.as_ref().is_some_and(Coordinator::is_ready);
        let mut leaders = self
            .nodes
            .iter()
            .filter(|(id, node)| ready(node) && !self.cut.contains(id));
        let newest = leaders
            .by_ref()
            .max_by_key(|(id, _)| self.mind(**id).group().term());
        newest.map(|(id, _)| *id)
    }

    /// Runs until somebody leads; how many ticks that took.
    pub fn elect(&mut self) -> u64 {
        for tick in 0..400 {
            if self.leader().is_some() {
                return tick;
            }
            self.run(1);
        }
        panic!("nobody leads");
    }

    pub fn ask(&mut self, id: u64, request: Request) -> u64 {
        self.next_token += 1;
        let token = Token(self.next_token);
        self.happen(
            id,
            Input::Request {
                token,
                request: Box::new(request),
            },
        );
        token.0
    }

    /// Asks a member to run a step, under a request id.
    pub fn submit(&mut self, id: u64, request: u128) -> u64 {
        self.asked.insert(self.next_token + 1, request);
        self.ask(id, Request::CreateExecution(execution(request)))
    }

    pub fn read(&mut self, id: u64) -> u64 {
        self.next_token += 1;
        let acked = self.acked.keys().copied().collect();
        self.reads.insert(
            self.next_token,
            Read {
                acked,
                answer: None,
            },
        );
        self.happen(
            id,
            Input::Read {
                token: Token(self.next_token),
            },
        );
        self.next_token
    }

    /// What a reader got: a revision, or a refusal.
    pub fn read_answer(&self, token: u64) -> Option<Result<u64, ErrorReason>> {
        self.reads[&token].answer
    }

    pub fn reason(&self, token: u64) -> Option<ErrorReason> {
        let answer = self.answers.get(&token)?;
        answer.as_ref().err().map(|refusal| refusal.reason)
    }

    /// Everything is well again; all that was answered is there, once, and everywhere the same.
    pub fn heal_and_check(&mut self) {
        self.cut.clear();
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            // Who was about to stop has stopped by now.
            if std::mem::take(&mut self.nodes.get_mut(&id).unwrap().stopping) {
                self.crash(id, 0);
            }
            self.nodes.get_mut(&id).unwrap().stores = true;
            self.start(id);
            self.persist(id);
            self.settle(id);
        }
        self.elect();
        self.run(100);
        let leader = self.leader().expect("somebody leads after all is well");
        let last = 1 << 100;
        let token = self.submit(leader, last);
        self.run(40);
        assert!(
            self.answers[&token].is_ok(),
            "I-08: {:?}",
            self.answers[&token]
        );
        let token = self.read(leader);
        self.run(8);
        assert!(
            matches!(self.read_answer(token), Some(Ok(_))),
            "{:?}",
            self.read_answer(token)
        );
        let members = self.mind(leader).members().clone();
        assert!(
            members.voters_outgoing.is_empty(),
            "a change of membership never ended"
        );
        let ledger = &self.nodes[&leader].published;
        for (request, answer) in &self.acked {
            let known = ledger.request(&Uuid::from_u128(*request));
            assert!(
                known.is_some(),
                "I-01: request {request} was answered {answer:?} and is lost"
            );
        }
        let titles: BTreeSet<&str> = ledger
            .executions("p")
            .map(|execution| &*execution.title)
            .collect();
        assert_eq!(
            titles.len(),
            ledger.executions("p").count(),
            "I-02: a request ran twice"
        );
        for id in members.voters.iter().chain(&members.learners) {
            let Some(node) = self.nodes.get(id) else {
                continue;
            };
            assert_eq!(node.halted, None);
            let at = (node.published.revision(), ledger.revision());
            assert_eq!(at.0, at.1, "I-08: member {id} does not follow {leader}");
            assert_eq!(
                node.published.state_hash(),
                ledger.state_hash(),
                "I-04: member {id}"
            );
        }
    }
}

pub fn uuid(id: u128) -> String {
    Uuid::from_u128(id).to_string()
}

fn execution(id: u128) -> api::CreateExecutionRequest {
    api::CreateExecutionRequest {
        parent: "projects/p".into(),
        request_id: uuid(id),
        config: YAML.into(),
        step: "a".into(),
        title: format!("request {id}"),
        ..api::CreateExecutionRequest::default()
    }
}

/// Names a worker's connection.
pub fn session(id: u64) -> SessionId {
    SessionId(id)
}
