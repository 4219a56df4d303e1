//! The feature level (I-12). The leader raises it once every member, learners too, has said that it knows a higher one; whoever knows less than the ledger
//! says stops, with words that name the version it takes. What members say is soft state, told anew with every connection: whoever was put back to
//! an older version meanwhile stops when the entry comes.
//!
//! ```text
//! ledger's level  <=  what every member of the group knows
//! ```

use contract::api::ErrorReason;
use contract::ledger::{Command, RaiseFeatureLevel, command::Kind};
use ledger::PRIORITIES;

use crate::Refusal;
use crate::coordinator::Coordinator;
use crate::proposals::Queued;

impl Coordinator {
    /// Another member has said how much it knows.
    pub(crate) fn peer_knows(&mut self, member: u64, feature_level: u32) {
        self.levels.insert(member, feature_level);
    }

    /// Raises the level when everybody knows a higher one.
    pub(crate) fn raise_feature_level(&mut self) {
        let is_raise =
            |queued: &Queued| matches!(&queued.command.kind, Some(Kind::RaiseFeatureLevel(_)));
        let members = &self.members;
        if !members.voters_outgoing.is_empty() || self.inbox.iter().any(is_raise) {
            return;
        }
        let me = self.group.id();
        let known = |id: &u64| match *id == me {
            true => self.config.knows.level,
            false => self.levels.get(id).copied().unwrap_or_default(),
        };
        let all = members.voters.iter().chain(&members.learners).map(known);
        let level = all.min().unwrap_or_default();
        if level > self.tip().feature_level() {
            let version = self.config.knows.version.to_string();
            let raise = RaiseFeatureLevel { level, version };
            // Before all that was asked for: it may count by then.
            let raise = Queued::own(Kind::RaiseFeatureLevel(raise));
            self.inbox.insert(0, raise);
        }
    }

    /// Refuses a priority while some member would not see it.
    pub(crate) fn check_priority(&self, command: &Command) -> Result<(), Refusal> {
        let priority = match &command.kind {
            Some(Kind::CreatePipeline(create)) => create.priority,
            Some(Kind::CreateExecution(create)) => create.priority,
            _ => 0,
        };
        if priority == 0 || !self.is_ready() || self.tip().feature_level() >= PRIORITIES {
            return Ok(());
        }
        let message =
            "there are no priorities before every coordinator is of a version that has them";
        Err(Refusal::new(ErrorReason::StateForbids, message))
    }

    /// Stops if the ledger needs more than this program knows.
    pub(crate) fn check_feature_level(&mut self) {
        let ledger = &self.ledger;
        let (level, raised_by) = (ledger.feature_level(), ledger.feature_version());
        if let Err(too_old) = self.config.knows.check(level, raised_by) {
            self.halt(too_old.to_string());
        }
    }
}
