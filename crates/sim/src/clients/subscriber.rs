//! A subscriber to an attempt's log: whatever breaks, it goes on with the record it has not had yet.

use feed::{Cursor, Start};
use worker::Fence;

use crate::Bug;
use crate::checkers::Fact;
use crate::coordinator::Feed;
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
    /// The record that the client has not had yet.
    next: u64,
    /// The place that the server keeps for it; none when it has to come back first.
    cursor: Option<Cursor>,
    pub(crate) is_done: bool,
}

impl Subscriber {
    pub(crate) fn new(id: SubscriberId, fence: Fence, from: u64) -> Self {
        Self {
            id,
            fence,
            next: from,
            cursor: Some(Cursor::new(Start::Record(from), 0)),
            is_done: false,
        }
    }

    /// Its connection broke.
    pub(crate) fn cut(&mut self) {
        self.cursor = None;
    }

    /// Gets what there is. `is_over` says that no more will come: the attempt has ended.
    pub(crate) fn read(&mut self, stage: &mut Stage, feed: Option<&Feed>, is_over: bool) {
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
        let batch = feed.and_then(|feed| feed.read(cursor.next_record(), READ_BYTES));
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
                    fence: self.fence,
                    next: self.next,
                    batch: &batch,
                });
                self.next = batch.end_record();
            }
            return;
        }
        self.is_done = is_over;
    }
}
