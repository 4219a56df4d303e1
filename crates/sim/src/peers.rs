//! Between coordinators: messages are lost, repeated, overtaken and late, and each direction of each pair can be cut by itself.

use std::collections::BTreeMap;

use raft::eraftpb::Message;

use crate::event::{CoordinatorId, Event, OnCoordinator};
use crate::stage::Stage;

/// One direction between two coordinators.
type Way = (CoordinatorId, CoordinatorId);

/// See the module's words.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// Until when nothing gets through.
    blocked_until: BTreeMap<Way, u64>,
    /// When the last message arrives that was not allowed to overtake.
    arrivals: BTreeMap<Way, u64>,
}

impl Peers {
    /// Whether something gets through now.
    pub(crate) fn is_open(&self, stage: &Stage, from: CoordinatorId, to: CoordinatorId) -> bool {
        self.blocked_until
            .get(&(from, to))
            .is_none_or(|until| *until <= stage.now_us())
    }

    /// Cuts a direction for so long.
    pub(crate) fn block(&mut self, stage: &Stage, from: CoordinatorId, to: CoordinatorId, us: u64) {
        let until = stage.now_us() + us;
        let blocked = self.blocked_until.entry((from, to)).or_default();
        *blocked = until.max(*blocked);
    }

    /// Opens everything.
    pub(crate) fn unblock(&mut self) {
        self.blocked_until.clear();
    }

    /// Sends a message. False when it is known not to have left.
    pub(crate) fn send(
        &mut self,
        stage: &mut Stage,
        from: CoordinatorId,
        to: CoordinatorId,
        message: Message,
    ) -> bool {
        if !self.is_open(stage, from, to) {
            stage.sometimes("a message between coordinators was cut off");
            return false;
        }
        let network = stage.swarm.peers;
        if stage.chance.permille(network.loss) {
            return true;
        }
        if stage.chance.permille(network.duplicates) {
            let delay = self.delay(stage, from, to);
            arrive(stage, delay, to, message.clone());
        }
        let delay = self.delay(stage, from, to);
        arrive(stage, delay, to, message);
        true
    }

    /// How long a snapshot is on its way, on its own stream.
    pub(crate) fn snapshot_us(&self, stage: &mut Stage) -> u64 {
        let slowest = 4 * stage.swarm.peers.delay_us;
        stage.chance.delay(1_000..slowest.max(2_000))
    }

    fn delay(&mut self, stage: &mut Stage, from: CoordinatorId, to: CoordinatorId) -> u64 {
        let network = stage.swarm.peers;
        let mut slowest = network.delay_us;
        // Now and then one is as late as if it had been sent again by the transport.
        if stage.chance.permille(network.late) {
            slowest = slowest.max(2_000_000);
        }
        let delay = stage.chance.delay(20..slowest);
        if network.overtakes {
            return delay;
        }
        let now = stage.now_us();
        let arrival = self.arrivals.entry((from, to)).or_default();
        *arrival = (*arrival).max(now + delay);
        *arrival - now
    }
}

fn arrive(stage: &mut Stage, delay_us: u64, to: CoordinatorId, message: Message) {
    let arrives = OnCoordinator::Peer(Box::new(message));
    stage.after(delay_us, Event::ToCoordinator(to, arrives));
}
