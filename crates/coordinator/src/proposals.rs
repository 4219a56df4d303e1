//! Decisions on their way into the log: gathered, proposed as one entry, applied ahead, committed, answered.
//!
//! A caller is answered once: when its entry is committed; with `OUTCOME_UNKNOWN` when nobody can say any more, or not soon enough,
//! whether it will be; and before it was proposed, with `NOT_LEADER` or `NO_QUORUM`, which say that nothing was done.

use contract::api::ErrorReason;
use contract::ledger::{Command, Entry, FoundCluster, command::Kind};
use feed::Seal;
use ledger::{Applied, Ledger, Outcome, PRIORITIES, Refused, Uuid};
use prost::Message as _;

use crate::coordinator::{Coordinator, PATIENCE_TICKS};
use crate::io::{Now, Output, Token};
use crate::{Answer, Refusal, Request, admission, grants, outcome};

/// Format of the entries this version writes.
pub(crate) const ENTRY_VERSION: u32 = 1;
/// A proposal larger than this is refused; raft carries entries whole.
const MAX_ENTRY_BYTES: usize = 8 << 20;

/// A command for the next entry.
pub(crate) struct Queued {
    pub(crate) command: Command,
    /// Who waits for what becomes of it.
    waiting: Option<Waiting>,
}

impl Queued {
    /// A decision of this member's own.
    pub(crate) fn own(kind: Kind) -> Self {
        Self::from(Command { kind: Some(kind) })
    }
}

impl From<Command> for Queued {
    fn from(command: Command) -> Self {
        Self {
            command,
            waiting: None,
        }
    }
}

/// A caller that waits for a command to commit.
struct Waiting {
    token: Token,
    warnings: Vec<String>,
    /// Tick at which it asked.
    since: u64,
}

/// An entry in flight, applied ahead of its commit.
pub(crate) struct Ahead {
    index: u64,
    term: u64,
    pub(crate) ledger: Ledger,
    applied: Applied,
    commands: Vec<Command>,
    /// Who waits, and for which command of the entry.
    waiting: Vec<(usize, Waiting)>,
}

impl Coordinator {
    /// Somebody asked for a mutation.
    pub(crate) fn request(&mut self, now: Now, token: Token, request: Request) {
        match admission::admit(&mut self.files, request) {
            Ok(admission::Admitted::Propose { command, warnings }) => {
                let waiting = Waiting {
                    token,
                    warnings,
                    since: self.group.ticks(),
                };
                self.inbox.push(Queued {
                    command: *command,
                    waiting: Some(waiting),
                });
            }
            Ok(admission::Admitted::Valid { warnings }) => {
                self.outputs.push(Output::Reply {
                    token,
                    result: Ok(Answer::Valid { warnings }),
                });
            }
            Ok(admission::Admitted::Explain { project, execution }) => {
                let result = self.explain(now, &project, execution);
                self.outputs.push(Output::Reply { token, result });
            }
            Ok(admission::Admitted::Transfer { member_id }) => self.hand_over(token, member_id),
            Err(refusal) => self.refuse(token, refusal),
        }
    }

    pub(crate) fn refuse(&mut self, token: Token, refusal: Refusal) {
        self.outputs.push(Output::Reply {
            token,
            result: Err(refusal),
        });
    }

    /// The ledger with every proposal in flight applied. Of use only to a leader that is ready: what an earlier one proposed is
    /// settled by then.
    pub(crate) fn tip(&self) -> &Ledger {
        self.ahead
            .back()
            .map_or(&self.ledger, |ahead| &ahead.ledger)
    }

    /// Takes in a committed entry: what was computed ahead if it is that entry, else by applying it.
    pub(crate) fn commit(&mut self, index: u64, term: u64, data: &[u8]) {
        self.drop_overtaken(index, term);
        if data.is_empty() {
            return;
        }
        self.snapshot_bytes += data.len() as u64;
        let (commands, applied, waiting) = match self.ahead.pop_front() {
            Some(ahead) => {
                self.ledger = ahead.ledger;
                (ahead.commands, ahead.applied, ahead.waiting)
            }
            None => {
                let Ok(entry) = Entry::decode(data) else {
                    return self.halt(format!("entry {index} of the log cannot be read"));
                };
                let applied = self.ledger.apply(index, &entry);
                (entry.commands, applied, Vec::new())
            }
        };
        for outcome in &applied.outcomes {
            match outcome {
                // Going on past a command that only a newer version knows would make replicas differ.
                Err(Refused::Unknown) => {
                    return self.halt(format!(
                        "entry {index} of the log holds a command of a newer version of shoal"
                    ));
                }
                Err(refused @ Refused::Diverged { .. }) => {
                    return self.halt(format!("I-04: {refused}"));
                }
                _ => {}
            }
        }
        self.check_feature_level();
        if commands.first().is_some_and(is_verify) {
            self.verified = self.verified.max(index);
        }
        self.seal_feeds(&commands, &applied);
        for (
            command,
            Waiting {
                token, warnings, ..
            },
        ) in waiting
        {
            let result = match applied.outcomes.get(command) {
                Some(Ok(done)) => Ok(outcome::answer(done, warnings)),
                Some(Err(refused)) => Err(outcome::refusal(refused)),
                None => Err(Refusal::new(
                    ErrorReason::InternalFault,
                    "the entry has no outcome for this request",
                )),
            };
            self.outputs.push(Output::Reply { token, result });
        }
    }

    /// Gives up what was computed ahead if another entry stands in its place: then none of it will ever be committed.
    pub(crate) fn drop_overtaken(&mut self, index: u64, term: u64) {
        let overtaken = self.ahead.front().is_some_and(|ahead| {
            ahead.index < index || (ahead.index == index && ahead.term != term)
        });
        if overtaken {
            self.drop_ahead();
        }
    }

    /// Gives up what was computed ahead.
    pub(crate) fn drop_ahead(&mut self) {
        // What it was told of is none of what will be.
        self.scheduler.forget();
        for ahead in std::mem::take(&mut self.ahead) {
            for (_, waiting) in ahead.waiting {
                self.refuse(waiting.token, outcome_unknown());
            }
        }
    }

    /// Gives up what was computed ahead in an earlier term. What of it was to be committed is by now.
    pub(crate) fn drop_earlier(&mut self) {
        let term = self.group.term();
        if self.ahead.front().is_some_and(|ahead| ahead.term != term) {
            self.drop_ahead();
        }
    }

    /// Answers those who have waited for long enough for an entry that does not commit. It may yet.
    pub(crate) fn give_up_late(&mut self) {
        let Some(before) = self.group.ticks().checked_sub(PATIENCE_TICKS) else {
            return;
        };
        let mut late = Vec::new();
        for ahead in &mut self.ahead {
            let (gone, stay) = std::mem::take(&mut ahead.waiting)
                .into_iter()
                .partition(|(_, waiting)| waiting.since < before);
            ahead.waiting = stay;
            let gone: Vec<(usize, Waiting)> = gone;
            late.extend(gone.into_iter().map(|(_, waiting)| waiting.token));
        }
        for token in late {
            self.refuse(token, outcome_unknown());
        }
    }

    /// A finished attempt's feed is complete.
    fn seal_feeds(&mut self, commands: &[Command], applied: &Applied) {
        for (command, done) in commands.iter().zip(&applied.outcomes) {
            let (Some(Kind::FinishAttempt(finish)), Ok(Outcome::Attempt(_))) =
                (&command.kind, done)
            else {
                continue;
            };
            let (Some(fence), Some(result)) = (&finish.fence, &finish.result) else {
                continue;
            };
            self.pace
                .observe(&finish.worker, finish.start_time_us, result.exit_time_us);
            self.see_pace(&finish.worker);
            let Ok(digest) = <[u8; 32]>::try_from(result.feed_digest.as_ref()) else {
                continue;
            };
            let seal = Seal {
                record_count: result.record_count,
                digest,
            };
            self.outputs.push(Output::SealFeed {
                fence: fence.clone(),
                seal,
            });
        }
    }

    /// Founds the cluster if nobody has.
    pub(crate) fn found(&mut self) {
        self.introduce_members();
        if self.tip().cluster_id().is_empty() {
            let found = FoundCluster {
                cluster_id: self.config.cluster_id.clone(),
            };
            // First of all, so that ids that are derived from the cluster's have it.
            self.inbox.insert(0, Queued::own(Kind::FoundCluster(found)));
        }
    }

    pub(crate) fn propose_inbox(&mut self, now: Now) {
        if !self.inbox.is_empty() {
            let inbox = std::mem::take(&mut self.inbox);
            let possible = inbox.into_iter().filter_map(|queued| self.check(queued));
            let possible: Vec<Queued> = possible.collect();
            if !possible.is_empty() {
                self.propose(now, possible);
            }
        }
    }

    /// Refuses what a caller asks for and what the cluster, as it is now, does not allow. What was done already is let through: it is answered as it
    /// was, whatever has become of it since (I-02).
    fn check(&mut self, queued: Queued) -> Option<Queued> {
        let Some(waiting) = &queued.waiting else {
            return Some(queued);
        };
        let command = &queued.command;
        if is_repeat(self.tip(), command) {
            return Some(queued);
        }
        let checked = self
            .check_members(command)
            .and_then(|()| self.check_priority(command))
            .and_then(|()| grants::check(self.tip(), command));
        let Err(refusal) = checked else {
            return Some(queued);
        };
        self.refuse(waiting.token, refusal);
        None
    }

    /// Where an execution stands, by the same problem that decides.
    fn explain(&self, now: Now, project: &str, execution: i64) -> Result<Answer, Refusal> {
        let facts = self.scheduler.facts();
        let explanation = schedule::explain(&self.ledger, facts, project, execution);
        let name = || format!("projects/{project}/executions/{execution}");
        let mut explanation = explanation.ok_or_else(|| Refusal::not_found(&name()))?;
        let waits = self.ledger.execution(project, execution);
        let waits = waits.filter(|execution| execution.is_waiting());
        if let Some(words) =
            waits.and_then(|execution| self.pool_words(&execution.recipe.needs.environment, now))
        {
            explanation.standing += &format!("; {words}");
        }
        Ok(Answer::Explained {
            explanation,
            revision: self.ledger.revision(),
        })
    }

    pub(crate) fn propose_placements(&mut self, now: Now) {
        // Not by `tip`: the scheduler is lent beside it.
        let tip = self
            .ahead
            .back()
            .map_or(&self.ledger, |ahead| &ahead.ledger);
        let plan = self.scheduler.plan(tip);
        let knows_promises = tip.feature_level() >= PRIORITIES;
        let placements = plan.placements.into_iter().map(outcome::assignment);
        let mut commands: Vec<Queued> = placements.map(Queued::from).collect();
        if knows_promises {
            let promises = plan.promises.into_iter().map(outcome::promise);
            let withdrawn = plan.withdrawn.iter().map(outcome::withdrawal);
            commands.extend(promises.chain(withdrawn).map(Queued::own));
        }
        if !commands.is_empty() {
            self.propose(now, commands);
        }
    }

    /// Proposes one entry and applies it ahead of its commit.
    fn propose(&mut self, now: Now, queued: Vec<Queued>) {
        let mut commands = Vec::with_capacity(queued.len());
        let mut waiting = Vec::new();
        for (at, queued) in queued.into_iter().enumerate() {
            commands.push(queued.command);
            waiting.extend(queued.waiting.map(|waiting| (at, waiting)));
        }
        let entry = Entry {
            version: ENTRY_VERSION,
            leader_time_ms: now.unix_ms,
            commands,
        };
        let size = entry.encoded_len();
        if size > MAX_ENTRY_BYTES && entry.commands.len() > 1 {
            return self.propose_halves(now, entry.commands, waiting);
        }
        if size > MAX_ENTRY_BYTES {
            let refusal = Refusal::new(ErrorReason::LimitExceeded, format!("the request needs {size} bytes in the log; at most {MAX_ENTRY_BYTES} are allowed"))
                .with("size_bytes", size.to_string())
                .with("limit_bytes", MAX_ENTRY_BYTES.to_string());
            return self.refuse_all(waiting, &refusal);
        }
        let Ok(index) = self.group.propose(entry.encode_to_vec()) else {
            let refusal = Refusal::new(
                ErrorReason::NotReady,
                "the log takes no more for now; repeat the request",
            );
            let callers: Vec<usize> = waiting.iter().map(|(at, _)| *at).collect();
            self.refuse_all(waiting, &refusal);
            // What nobody asked for, such as what workers said, nobody would repeat.
            let own = entry.commands.into_iter().enumerate();
            let own = own.filter(|(at, command)| !callers.contains(at) && !is_verify(command));
            self.inbox
                .extend(own.map(|(_, command)| Queued::from(command)));
            return;
        };
        let mut ledger = self.tip().clone();
        let applied = ledger.apply(index, &entry);
        let term = self.group.term();
        self.ahead.push_back(Ahead {
            index,
            term,
            ledger,
            applied,
            commands: entry.commands,
            waiting,
        });
    }

    fn refuse_all(&mut self, waiting: Vec<(usize, Waiting)>, refusal: &Refusal) {
        for (_, waiting) in waiting {
            self.refuse(waiting.token, refusal.clone());
        }
    }

    /// Splits what is too large for one entry; each half is proposed by itself.
    fn propose_halves(&mut self, now: Now, commands: Vec<Command>, waiting: Vec<(usize, Waiting)>) {
        let mut queued: Vec<Queued> = commands.into_iter().map(Queued::from).collect();
        for (at, waiting) in waiting {
            queued[at].waiting = Some(waiting);
        }
        let second = queued.split_off(queued.len() / 2);
        self.propose(now, queued);
        self.propose(now, second);
    }

    /// Who does not lead decides nothing: callers are sent on to who does, and wait a while where nobody is known to. A leader that
    /// has not caught up with its own term yet, or is handing over, keeps what it was asked.
    pub(crate) fn wait_or_refuse(&mut self) {
        let known = !self.group.leads() && self.group.leader() != 0;
        // Where no leader is known for long, another coordinator may well know one.
        if known || self.quorum_is_lost() {
            self.end_sessions();
        }
        if self.inbox.is_empty() {
            return;
        }
        let refusal = match known {
            true => self.not_leader(),
            false => self.no_quorum(),
        };
        let before = match known || self.quorum_is_lost() {
            true => u64::MAX,
            false => self.group.ticks().saturating_sub(PATIENCE_TICKS),
        };
        // What workers said is said again to whoever leads.
        let leads = self.group.leads();
        let (gone, stay) = std::mem::take(&mut self.inbox)
            .into_iter()
            .partition(|queued| match &queued.waiting {
                Some(waiting) => waiting.since < before,
                None => !leads,
            });
        self.inbox = stay;
        let gone: Vec<Queued> = gone;
        for waiting in gone.into_iter().filter_map(|queued| queued.waiting) {
            self.refuse(waiting.token, refusal.clone());
        }
    }
}

/// Whether a request came before, of those that the state of the cluster may forbid.
fn is_repeat(tip: &Ledger, command: &Command) -> bool {
    let key = match &command.kind {
        Some(Kind::CreateExecution(create)) => &create.request,
        Some(Kind::CreatePipeline(create)) => &create.request,
        Some(Kind::RemoveMember(remove)) => &remove.request,
        _ => return false,
    };
    let id = key.as_ref().map(|key| Uuid::from_slice(&key.request_id));
    id.is_some_and(|id| id.is_ok_and(|id| tip.request(&id).is_some()))
}

/// Whether a command compares ledgers. It is of use in the place that it was made for and nowhere else.
fn is_verify(command: &Command) -> bool {
    matches!(command.kind, Some(Kind::VerifyState(_)))
}

/// What a caller hears when nobody can say whether what it asked for was done.
fn outcome_unknown() -> Refusal {
    Refusal::new(
        ErrorReason::OutcomeUnknown,
        "leadership or the majority was lost while the request was in flight; repeat it with the same request id",
    )
}
