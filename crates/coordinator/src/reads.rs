//! Fresh reads (I-03): whoever asks gets a ledger that holds everything that was answered before it asked, from any member.
//!
//! ```text
//! Read ──> asked ──> a round: one ReadIndex for all that wait ──> confirmed at an index ──> applied ──> Fresh
//!             ^───────────── lost on the way: again ──────────────────┘
//! ```
//!
//! raft's ReadIndex vanishes without a word when there is no leader, before the leader's first commit, or when a message is lost. So
//! every round has a context of its own that never comes again, is repeated, and whoever waits too long hears `NO_QUORUM` (I-11).

use std::collections::VecDeque;

use contract::api::ErrorReason;

use crate::Refusal;
use crate::coordinator::{Coordinator, PATIENCE_TICKS};
use crate::group::{Context, splitmix};
use crate::io::{Output, Token};

/// Ticks after which a round counts as lost.
const ROUND_TICKS: u64 = 8;
/// Rounds that are under way at once.
const MAX_ROUNDS: usize = 4;
/// Reads that wait at once.
const MAX_WAITING: usize = 65_536;

/// Somebody who waits.
struct Reader {
    token: Token,
    /// Tick at which it asked.
    since: u64,
}

/// One ReadIndex, for all that waited when it was asked.
struct Round {
    context: Context,
    since: u64,
    readers: Vec<Reader>,
}

/// Reads on their way.
#[derive(Default)]
pub(crate) struct Reads {
    /// Distinguishes this life of the member from others.
    nonce: u64,
    next: u64,
    waiting: usize,
    asked: Vec<Reader>,
    rounds: VecDeque<Round>,
    /// Confirmed, and the index that must be applied first.
    confirmed: Vec<(u64, Reader)>,
}

impl Reads {
    /// No reads. The seed differs between the lives of a member, so that an answer to an earlier one is none.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            nonce: splitmix(seed),
            ..Self::default()
        }
    }

    fn context(&mut self) -> Context {
        self.next += 1;
        let mut context = Context::default();
        context[..8].copy_from_slice(&self.nonce.to_le_bytes());
        context[8..].copy_from_slice(&self.next.to_le_bytes());
        context
    }

    /// A round is answered, and with it those before it: they were asked earlier.
    fn confirm(&mut self, context: &[u8], index: u64) {
        let Some(at) = self
            .rounds
            .iter()
            .position(|round| round.context == context)
        else {
            return;
        };
        for round in self.rounds.drain(..=at) {
            let readers = round.readers.into_iter();
            self.confirmed.extend(readers.map(|reader| (index, reader)));
        }
    }

    /// Rounds that were lost are asked again.
    fn take_back(&mut self, now: u64) {
        while self
            .rounds
            .front()
            .is_some_and(|round| now - round.since >= ROUND_TICKS)
        {
            let readers = self.rounds.pop_front().map(|round| round.readers);
            self.asked.extend(readers.unwrap_or_default());
        }
    }

    /// Takes out who has waited since before a tick.
    fn give_up(&mut self, before: u64) -> Vec<Token> {
        let mut late = Vec::new();
        let mut stays = |reader: &Reader| {
            let stays = reader.since >= before;
            if !stays {
                late.push(reader.token);
            }
            stays
        };
        self.asked.retain(&mut stays);
        self.confirmed.retain(|(_, reader)| stays(reader));
        for round in &mut self.rounds {
            round.readers.retain(&mut stays);
        }
        self.waiting -= late.len();
        late
    }
}

impl Coordinator {
    /// Somebody wants a fresh ledger.
    pub(crate) fn read(&mut self, token: Token) {
        // Whatever a lone voter has committed it has applied: no message could tell it more.
        if self.is_ready() && self.group.is_alone() {
            return self.answer_read(token);
        }
        if self.reads.waiting >= MAX_WAITING {
            let refusal = Refusal::new(
                ErrorReason::LimitExceeded,
                format!("{MAX_WAITING} reads wait already; ask again later"),
            );
            return self.outputs.push(Output::Fresh {
                token,
                result: Err(refusal),
            });
        }
        self.reads.waiting += 1;
        let since = self.group.ticks();
        self.reads.asked.push(Reader { token, since });
    }

    /// Moves reads on.
    pub(crate) fn move_reads(&mut self, answered: Vec<(Vec<u8>, u64)>) {
        for (context, index) in answered {
            self.reads.confirm(&context, index);
        }
        if self.reads.waiting == 0 {
            return;
        }
        let now = self.group.ticks();
        self.reads.take_back(now);
        if self.is_ready() && self.group.is_alone() {
            let asked = std::mem::take(&mut self.reads.asked);
            self.reads
                .confirmed
                .extend(asked.into_iter().map(|reader| (0, reader)));
        }
        let applied = self.applied;
        let (fresh, wait) = std::mem::take(&mut self.reads.confirmed)
            .into_iter()
            .partition(|(index, _)| *index <= applied);
        self.reads.confirmed = wait;
        let fresh: Vec<(u64, Reader)> = fresh;
        self.reads.waiting -= fresh.len();
        for (_, reader) in fresh {
            self.answer_read(reader.token);
        }
        let before = match self.quorum_is_lost() {
            true => u64::MAX,
            false => now.saturating_sub(PATIENCE_TICKS),
        };
        for token in self.reads.give_up(before) {
            let result = Err(self.no_quorum());
            self.outputs.push(Output::Fresh { token, result });
        }
        self.ask_round(now);
    }

    fn ask_round(&mut self, now: u64) {
        let full = self.reads.rounds.len() >= MAX_ROUNDS;
        if self.reads.asked.is_empty() || full || !self.group.can_read() {
            return;
        }
        let context = self.reads.context();
        self.group.read_index(&context);
        let readers = std::mem::take(&mut self.reads.asked);
        self.reads.rounds.push_back(Round {
            context,
            since: now,
            readers,
        });
    }

    fn answer_read(&mut self, token: Token) {
        let result = Ok(self.ledger.clone());
        self.outputs.push(Output::Fresh { token, result });
    }
}
