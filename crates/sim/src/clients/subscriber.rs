//! A subscriber to an attempt's log: whatever breaks, it goes on with the record it has not had yet.

use feed::{Cursor, Start};
use ledger::Uuid;
use worker::Fence;

use crate::Bug;
use crate::checkers::Fact;
use crate::coordinator::{Host, key};
use crate::event::{CoordinatorId, Event, OnCoordinator};
use crate::stage::Stage;

/// Number of a subscriber.
pub(crate) type SubscriberId = usize;

/// Most bytes of one delivery.
const READ_BYTES: usize = 400;

/// See the module's words.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) id: SubscriberId,
    pub(crate) fence: Fence,
    /// Whom it reads from.
    pub(crate) at: CoordinatorId,
    /// The record that the client has not had yet.
    next: u64,
    /// The place that the server keeps for it; none when it has to come back first.
    cursor: Option<Cursor>,
    pub(crate) is_done: bool,
}

impl Subscriber {
    pub(crate) fn new(id: SubscriberId, fence: Fence, from: u64, at: CoordinatorId) -> Self {
        Self {
            id,
            fence,
            at,
            next: from,
            cursor: Some(Cursor::new(Start::Record(from), 0)),
            is_done: false,
        }
    }

    /// Its connection broke.
    pub(crate) fn cut(&mut self) {
        self.cursor = None;
    }

    /// Gets what there is at a coordinator.
    pub(crate) fn read(&mut self, stage: &mut Stage, host: &Host) {
        let id = Uuid::from_bytes(self.fence.execution_id);
        let execution = host.published().execution_by_id(&id);
        let attempt = execution
            .and_then(|execution| execution.attempts.get(self.fence.attempt as usize - 1))
            .filter(|attempt| !attempt.is_live());
        // A log that was sealed is over when all of it was read; one that was not when nobody has more of it.
        let log = key(self.fence);
        let is_over = attempt.is_some_and(|ended| match ended.feed_digest {
            Some(_) => self.next >= ended.record_count,
            None => host.is_settled(log),
        });
        let feed = host.feeds().get(&log);
        if self.cursor.is_none() {
            stage.sometimes("a subscriber came back");
        }
        let from = match self.next {
            next if stage.has(Bug::ResumeTooLate) => next + 1,
            next if stage.has(Bug::ResumeTooEarly) => next.saturating_sub(1),
            next => next,
        };
        let cursor = self
            .cursor
            .get_or_insert_with(|| Cursor::new(Start::Record(from), 0));
        let next = cursor.next_record();
        let batch = match feed.map_or(Ok(None), |feed| feed.read(next, READ_BYTES)) {
            Ok(batch) => batch,
            Err(_) if stage.has(Bug::ServeFlippedBits) => {
                feed.and_then(|feed| feed.read_flipped(next, READ_BYTES))
            }
            Err(record) => {
                // It is told that its read failed, and comes again.
                let found = OnCoordinator::Damaged(log, record);
                stage.after(0, Event::ToCoordinator(self.at, found));
                return self.cut();
            }
        };
        if let Some(batch) = batch {
            let delivered = match cursor.deliver(&batch) {
                Ok(delivered) => delivered,
                Err(error) => {
                    return stage
                        .checkers
                        .violated("I-21", format!("subscriber {}: {error}", self.id));
                }
            };
            if stage.chance.permille(stage.swarm.loss) {
                // It was on its way when the connection broke.
                return self.cut();
            }
            if let Some(batch) = delivered {
                stage.show(&Fact::Delivered {
                    coordinator: self.at,
                    key: log,
                    next: self.next,
                    batch: &batch,
                });
                self.next = batch.end_record();
            }
            return;
        }
        if !is_over {
            stage.read(self.at, log);
        }
        self.is_done = is_over;
    }
}
