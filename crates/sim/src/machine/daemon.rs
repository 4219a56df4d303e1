//! The daemon of a worker: the real mind, and hands that do what it asks for.

use std::collections::{BTreeMap, BTreeSet};

use contract::link::{Device, Offer, SynchronizeRequest, SynchronizeResponse};
use feed::{HolderId, WriterLimits};
use worker::{Adopted, Cluster, Config, Fence, Found, Input, Prepared, Worker};

use super::blobs::Service;
use super::transfers::Transfers;
use super::{Machine, name};
use crate::Bug;
use crate::checkers::Fact;
use crate::event::{
    ConnectionId, CoordinatorId, Event, Life, MachineId, Message, OnDaemon, Purpose,
};
use crate::network::Network;
use crate::stage::Stage;
use crate::swarm::SECOND;

/// Devices of every machine.
const DEVICES: usize = 2;

/// A daemon that runs.
pub(super) struct Daemon {
    pub(super) mind: Worker,
    /// The connection on which it says what it has and is told what it should have.
    pub(super) session: Option<ConnectionId>,
    /// Who it believes to lead.
    leader: CoordinatorId,
    /// The connections on which it pushes records, by the raft id of who stores them.
    pub(super) pipes: BTreeMap<HolderId, (CoordinatorId, ConnectionId)>,
    /// Coordinators that are being dialed.
    dialing: BTreeSet<(CoordinatorId, bool)>,
    pub(super) last_report: Option<SynchronizeRequest>,
    /// Records of each feed that were read from its file.
    pub(super) read: BTreeMap<Fence, u64>,
    pub(super) told_ended: BTreeSet<Fence>,
    /// Attempts that are about to be looked at.
    pub(super) looks: BTreeSet<Fence>,
    pub(super) prepared: BTreeMap<Fence, Prepared>,
    pub(super) transfers: Transfers,
    /// When the next wake-up is planned.
    pub(super) wake_us: Option<u64>,
    /// How often it has dialed since it was connected last.
    dials: u32,
}

impl Daemon {
    pub(super) fn attempt_count(&self) -> usize {
        self.mind.attempt_count()
    }
}

// Its life.
impl Machine {
    /// The daemon starts, as a new incarnation.
    pub(crate) fn start_daemon(&mut self, stage: &mut Stage) {
        if self.daemon.is_some() || self.is_gone() {
            return;
        }
        self.life += 1;
        let config = Config {
            name: name(self.id),
            incarnation: self.life,
            // Of one machine no two lives are alike.
            instance_id: u128::from(self.life).to_be_bytes(),
            offer: Offer {
                address: name(self.id),
                slot_count: stage.swarm.slots,
                version: "sim".to_owned(),
                runtime: "sim".to_owned(),
                keeps_copies: true,
                devices: (0..DEVICES).map(|number| device(self.id, number)).collect(),
                ..Offer::default()
            },
            cluster: self.cluster.clone(),
            limits: WriterLimits {
                window_bytes: stage.swarm.feed_bytes,
                batch_bytes: stage.swarm.feed_bytes,
                recent_bytes: stage.swarm.feed_bytes,
            },
        };
        self.daemon = Some(Daemon {
            mind: Worker::new(config),
            session: None,
            leader: 0,
            pipes: BTreeMap::new(),
            dialing: BTreeSet::new(),
            last_report: None,
            read: BTreeMap::new(),
            told_ended: BTreeSet::new(),
            looks: BTreeSet::new(),
            prepared: BTreeMap::new(),
            transfers: Transfers::new(),
            wake_us: None,
            dials: 0,
        });
        stage.tally.operations += 1;
        stage.show(&Fact::DaemonStarted { machine: self.id });
        stage.blobs.serve(self.id, Service::Answers);
        if self.life > 1 {
            stage.news(format_args!("{} starts again", name(self.id)));
        }
        let (adopted, launched) = self.adopt(stage);
        self.handle(stage, None, Input::Adopted(adopted));
        for fence in launched {
            self.notify(stage, fence);
        }
        self.dial_all(stage);
    }

    /// The daemon ends, at whatever point it is. Programs go on.
    pub(crate) fn crash_daemon(&mut self, stage: &mut Stage) {
        if self.daemon.take().is_none() {
            return;
        }
        stage.news(format_args!("{} crashes", name(self.id)));
        self.parked = None;
        stage.show(&Fact::DaemonEnded { machine: self.id });
        stage.blobs.serve(self.id, Service::Down);
        if stage.has(Bug::ForgetDirectories) {
            self.disk.clear();
        }
    }

    /// What the disk tells of earlier incarnations, and what of it was launched.
    fn adopt(&mut self, stage: &mut Stage) -> (Vec<Adopted>, Vec<Fence>) {
        let mut adopted = Vec::new();
        let mut launched = Vec::new();
        for (fence, directory) in &self.disk {
            let found = match &directory.mark {
                None => {
                    stage.sometimes("an unstarted attempt was adopted");
                    Found::NotLaunched
                }
                Some(mark) => {
                    launched.push(*fence);
                    match (&directory.program, &directory.exit) {
                        (Some(_), _) => stage.sometimes("a running program was adopted"),
                        (None, Some(_)) => stage.sometimes("an ended program was adopted"),
                        (None, None) => stage.sometimes("a launch was cut off"),
                    }
                    Found::Launched {
                        prepared: mark.prepared.clone(),
                        start_time_us: mark.start_time_us,
                        live_outputs: Vec::new(),
                    }
                }
            };
            adopted.push(Adopted {
                fence: *fence,
                assignment: directory.assignment.clone(),
                found,
            });
        }
        (adopted, launched)
    }
}

// What comes from the network.
impl Machine {
    /// Whether this daemon speaks on that connection.
    pub(crate) fn speaks_on(&self, life: Life, connection: ConnectionId) -> bool {
        let of = |daemon: &Daemon| {
            daemon.session == Some(connection)
                || daemon.pipes.values().any(|(_, pipe)| *pipe == connection)
        };
        life == self.life && self.daemon.as_ref().is_some_and(of)
    }

    /// Dials everybody that it should be connected to.
    pub(crate) fn dial_all(&mut self, stage: &mut Stage) {
        let Some(daemon) = &self.daemon else { return };
        let leader = daemon.leader;
        let holders: Vec<HolderId> = self.holders().collect();
        for holder in holders {
            if let Some(place) = stage.places.get(&holder.0).copied() {
                self.dial(stage, place, Purpose::Pipe, 0);
            }
        }
        self.dial(stage, leader, Purpose::Session, 0);
    }

    /// Who stores feeds, as it was told.
    fn holders(&self) -> impl Iterator<Item = HolderId> {
        self.cluster.coordinators.iter().map(|one| one.id)
    }

    fn dial(&mut self, stage: &mut Stage, to: CoordinatorId, purpose: Purpose, delay_us: u64) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        if daemon.dialing.insert((to, purpose == Purpose::Session)) {
            let dial = OnDaemon::Dial(to, purpose);
            stage.after(delay_us, Event::Daemon(self.id, self.life, dial));
        }
    }

    /// A dial is due: whether it is still wanted.
    pub(crate) fn wants_to_dial(
        &mut self,
        stage: &Stage,
        life: Life,
        to: CoordinatorId,
        purpose: Purpose,
    ) -> bool {
        let Some(daemon) = self.daemon.as_mut().filter(|_| life == self.life) else {
            return false;
        };
        daemon.dialing.remove(&(to, purpose == Purpose::Session));
        match purpose {
            Purpose::Session => daemon.session.is_none() && daemon.leader == to,
            Purpose::Pipe => {
                let is_connected = daemon.pipes.values().any(|(other, _)| *other == to);
                let at = |holder: HolderId| stage.places.get(&holder.0) == Some(&to);
                !is_connected && self.holders().any(at)
            }
        }
    }

    /// A connection is open in both directions.
    pub(crate) fn connected(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        (connection, coordinator): (ConnectionId, CoordinatorId),
        purpose: Purpose,
    ) {
        let at = |holder: &HolderId| stage.places.get(&holder.0) == Some(&coordinator);
        let holder = self.holders().find(at);
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        daemon.dials = 0;
        match purpose {
            Purpose::Session => {
                daemon.session = Some(connection);
                // What was said last is said again by itself.
                if let Some(last) = &daemon.last_report {
                    network.send(stage, connection, Message::State(Box::new(last.clone())));
                }
                self.handle(stage, Some(network), Input::Connected);
            }
            Purpose::Pipe => {
                let Some(holder) = holder else { return };
                daemon.pipes.insert(holder, (coordinator, connection));
                self.handle(stage, Some(network), Input::HolderConnected(holder));
            }
        }
    }

    /// The daemon notices that a connection broke.
    pub(crate) fn disconnected(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        connection: ConnectionId,
    ) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        if daemon.session == Some(connection) {
            daemon.session = None;
            // Perhaps somebody else leads by now.
            daemon.leader = (daemon.leader + 1) % stage.coordinator_count.max(1);
            let leader = daemon.leader;
            self.handle(stage, Some(network), Input::Disconnected);
            return self.dial_later(stage, leader, Purpose::Session);
        }
        let pipe = daemon
            .pipes
            .iter()
            .find(|(_, (_, pipe))| *pipe == connection);
        if let Some((holder, (coordinator, _))) = pipe.map(|(holder, pipe)| (*holder, *pipe)) {
            daemon.pipes.remove(&holder);
            self.handle(stage, Some(network), Input::HolderDisconnected(holder));
            self.dial_later(stage, coordinator, Purpose::Pipe);
        }
    }

    /// The coordinator that it speaks to does not lead.
    pub(crate) fn refused(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        connection: ConnectionId,
        leader: Option<CoordinatorId>,
    ) {
        let Some(daemon) = self
            .daemon
            .as_mut()
            .filter(|daemon| daemon.session == Some(connection))
        else {
            return;
        };
        stage.sometimes("a worker was sent on to the leader");
        network.cut(stage, connection);
        daemon.session = None;
        daemon.leader = leader.unwrap_or((daemon.leader + 1) % stage.coordinator_count.max(1));
        let to = daemon.leader;
        self.handle(stage, Some(network), Input::Disconnected);
        match leader {
            Some(_) => self.dial(stage, to, Purpose::Session, 1_000),
            None => self.dial_later(stage, to, Purpose::Session),
        }
    }

    /// Dials again, each time a little later.
    pub(crate) fn dial_later(&mut self, stage: &mut Stage, to: CoordinatorId, purpose: Purpose) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        if stage.has(Bug::NeverDialAgain) {
            return;
        }
        daemon.dials += 1;
        let longest = (50_000 << daemon.dials.min(6)).min(3 * SECOND);
        let delay = stage.chance.between(longest / 2..longest);
        let to = match purpose {
            // Whoever did not answer does not lead.
            Purpose::Session if daemon.session.is_none() && daemon.leader == to => {
                daemon.leader = (to + 1) % stage.coordinator_count.max(1);
                daemon.leader
            }
            _ => to,
        };
        self.dial(stage, to, purpose, delay);
    }

    /// It was told who the coordinators are.
    pub(super) fn set_cluster(
        &mut self,
        stage: &mut Stage,
        network: Option<&mut Network>,
        cluster: Cluster,
    ) {
        self.cluster = cluster;
        let holders: Vec<HolderId> = self.holders().collect();
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let pipes = daemon.pipes.iter();
        let gone: Vec<ConnectionId> = pipes
            .filter(|(holder, _)| !holders.contains(holder))
            .map(|(_, (_, pipe))| *pipe)
            .collect();
        if let Some(network) = network {
            for pipe in gone {
                network.cut(stage, pipe);
            }
        }
        self.dial_all(stage);
    }

    /// Orders arrive.
    pub(crate) fn desired(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        mut desired: SynchronizeResponse,
    ) {
        stage.show(&Fact::Told {
            machine: self.id,
            desired: &desired,
        });
        if stage.has(Bug::DropStops) {
            desired
                .attempts
                .iter_mut()
                .for_each(|attempt| attempt.stop = false);
        }
        self.handle(stage, Some(network), Input::Desired(desired));
    }

    /// An answer to a push arrives.
    pub(crate) fn stored(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        connection: ConnectionId,
        (fence, next): (Fence, Option<u64>),
    ) {
        let Some(daemon) = &self.daemon else { return };
        let pipe = daemon
            .pipes
            .iter()
            .find(|(_, (_, pipe))| *pipe == connection);
        let Some(holder) = pipe.map(|(holder, _)| *holder) else {
            return;
        };
        let input = match next {
            Some(next_record) => Input::FeedStored {
                fence,
                holder,
                next_record,
            },
            None => Input::FeedRefused { fence, holder },
        };
        self.handle(stage, Some(network), input);
    }

    /// Somebody tells the worker to take no more work, or to take it again.
    pub(crate) fn drain(&mut self, stage: &mut Stage, network: &mut Network, draining: bool) {
        self.handle(stage, Some(network), Input::Drain(draining));
    }
}

/// A device of a machine.
fn device(machine: MachineId, number: usize) -> Device {
    Device {
        device_id: format!("{}-gpu{number}", name(machine)),
        kind: "nvidia.com/gpu".to_owned(),
        ..Device::default()
    }
}
