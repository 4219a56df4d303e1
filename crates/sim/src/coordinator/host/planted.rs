//! Planted bugs that need more than a line where they are.

use contract::link::SynchronizeRequest;
use coordinator::Input;

use super::Host;
use crate::Bug;
use crate::stage::Stage;

impl Host {
    /// Tells its mind that others have stored what they may not have.
    pub(super) fn forge_acks(&mut self, stage: &mut Stage, index: u64, of_learners: bool) {
        let Some(mind) = self.mind.as_ref().filter(|mind| mind.leads()) else {
            return;
        };
        let (members, term) = (mind.members(), mind.group().term());
        let whose = match of_learners {
            true => members.learners.clone(),
            false => members.voters.clone(),
        };
        let me = self.member_id;
        for from in whose.into_iter().filter(|id| *id != me) {
            let mut message = raft::eraftpb::Message {
                from,
                to: self.member_id,
                term,
                index,
                ..Default::default()
            };
            message.set_msg_type(raft::eraftpb::MessageType::MsgAppendResponse);
            let message = Box::new(message);
            self.handle(stage, Input::Peer { message });
        }
    }

    /// Makes less of what a worker says.
    pub(super) fn plant(&self, stage: &Stage, state: &mut SynchronizeRequest) {
        if stage.has(Bug::LoseMetadata) {
            let results = state.attempts.iter_mut().flat_map(|one| &mut one.result);
            results.for_each(|result| result.metadata_json.clear());
        }
        if stage.has(Bug::HideWhatStops) {
            state.attempts.retain(|report| {
                let fence = report.fence.as_ref();
                let fence = fence.and_then(|fence| ledger::Fence::try_from(fence).ok());
                let is_live = |fence: &ledger::Fence| {
                    let execution = self.published.execution_by_id(&fence.execution_id);
                    execution.and_then(|execution| execution.live_fence()) == Some(*fence)
                };
                fence.as_ref().is_none_or(is_live)
            });
        }
    }

    /// Puts the fence of the attempt that runs into what a worker says of a former one.
    pub(super) fn bring_up_to_date(&self, state: &mut SynchronizeRequest) {
        for report in &mut state.attempts {
            let Some(fence) = report
                .fence
                .as_ref()
                .and_then(|fence| ledger::Fence::try_from(fence).ok())
            else {
                continue;
            };
            let execution = self.published.execution_by_id(&fence.execution_id);
            if let Some(live) = execution.and_then(|execution| execution.live_fence()) {
                report.fence = Some(live.into());
            }
        }
    }
}
