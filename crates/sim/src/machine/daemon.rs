//! The daemon of a worker: the real mind, and hands that do what it asks for.

use std::collections::{BTreeMap, BTreeSet};

use contract::link::{Offer, SynchronizeRequest, SynchronizeResponse};
use feed::{HolderId, WriterLimits};
use worker::{Adopted, Config, Fence, Found, Input, Prepared, Worker};

use super::{Machine, name};
use crate::Bug;
use crate::checkers::Fact;
use crate::event::{ConnectionId, Event, Life, Message, OnDaemon};
use crate::network::Network;
use crate::stage::Stage;
use crate::swarm::SECOND;

/// The one coordinator that feeds go to.
const HOLDER: HolderId = HolderId(1);

/// A daemon that runs.
pub(super) struct Daemon {
    pub(super) mind: Worker,
    pub(super) connection: Option<ConnectionId>,
    pub(super) last_report: Option<SynchronizeRequest>,
    /// Records of each feed that were read from its file.
    pub(super) read: BTreeMap<Fence, u64>,
    pub(super) told_ended: BTreeSet<Fence>,
    /// Attempts that are about to be looked at.
    pub(super) looks: BTreeSet<Fence>,
    pub(super) prepared: BTreeMap<Fence, Prepared>,
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
        if self.daemon.is_some() {
            return;
        }
        self.life += 1;
        let config = Config {
            name: name(self.id),
            incarnation: self.life,
            offer: Offer {
                address: name(self.id),
                slot_count: stage.swarm.slots,
                version: "sim".to_owned(),
                runtime: "sim".to_owned(),
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
            connection: None,
            last_report: None,
            read: BTreeMap::new(),
            told_ended: BTreeSet::new(),
            looks: BTreeSet::new(),
            prepared: BTreeMap::new(),
            wake_us: None,
            dials: 0,
        });
        stage.tally.operations += 1;
        stage.show(&Fact::DaemonStarted { machine: self.id });
        stage.blobs.serve(self.id, true);
        if self.life > 1 {
            stage.news(format_args!("{} starts again", name(self.id)));
        }
        let (adopted, launched) = self.adopt(stage);
        self.handle(stage, None, Input::Adopted(adopted));
        for fence in launched {
            self.notify(stage, fence);
        }
        stage.after(0, Event::Daemon(self.id, self.life, OnDaemon::Dial));
    }

    /// The daemon ends, at whatever point it is. Programs go on.
    pub(crate) fn crash_daemon(&mut self, stage: &mut Stage) {
        if self.daemon.take().is_none() {
            return;
        }
        stage.news(format_args!("{} crashes", name(self.id)));
        stage.show(&Fact::DaemonEnded { machine: self.id });
        stage.blobs.serve(self.id, false);
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
        life == self.life
            && self
                .daemon
                .as_ref()
                .is_some_and(|daemon| daemon.connection == Some(connection))
    }

    /// A connection is open in both directions.
    pub(crate) fn connected(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        connection: ConnectionId,
    ) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        daemon.connection = Some(connection);
        daemon.dials = 0;
        // What was said last is said again by itself.
        if let Some(last) = &daemon.last_report {
            network.send(stage, connection, Message::State(Box::new(last.clone())));
        }
        self.handle(stage, Some(network), Input::HolderConnected(HOLDER));
        self.handle(stage, Some(network), Input::Connected);
    }

    /// The daemon notices that its connection broke.
    pub(crate) fn disconnected(&mut self, stage: &mut Stage, network: &mut Network) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        daemon.connection = None;
        self.handle(stage, Some(network), Input::HolderDisconnected(HOLDER));
        self.handle(stage, Some(network), Input::Disconnected);
        if !stage.has(Bug::NeverDialAgain) {
            self.dial_later(stage);
        }
    }

    /// Dials again, each time a little later.
    pub(crate) fn dial_later(&mut self, stage: &mut Stage) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        daemon.dials += 1;
        let longest = (50_000 << daemon.dials.min(6)).min(3 * SECOND);
        let delay = stage.chance.between(longest / 2..longest);
        stage.after(delay, Event::Daemon(self.id, self.life, OnDaemon::Dial));
    }

    /// Whether a daemon of that life wants to dial.
    pub(crate) fn wants_to_dial(&self, life: Life) -> bool {
        life == self.life
            && self
                .daemon
                .as_ref()
                .is_some_and(|daemon| daemon.connection.is_none())
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
        fence: Fence,
        next: Option<u64>,
    ) {
        let input = match next {
            Some(next_record) => Input::FeedStored {
                fence,
                holder: HOLDER,
                next_record,
            },
            None => Input::FeedRefused {
                fence,
                holder: HOLDER,
            },
        };
        self.handle(stage, Some(network), input);
    }

    /// Somebody tells the worker to take no more work, or to take it again.
    pub(crate) fn drain(&mut self, stage: &mut Stage, network: &mut Network, draining: bool) {
        self.handle(stage, Some(network), Input::Drain(draining));
    }
}
