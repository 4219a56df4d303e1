//! The virtual clock: it stands still while something is handled and jumps to the next event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What is going to happen, by time; what is due at the same time happens in the order in which it was planned.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    now_us: u64,
    planned: u64,
    /// When each event is due, its number, and its place among the events: small things to move around.
    due: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<E>>,
    free: Vec<usize>,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self {
            now_us: 0,
            planned: 0,
            due: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Microseconds since the run began.
    pub(crate) fn now_us(&self) -> u64 {
        self.now_us
    }

    pub(crate) fn after(&mut self, delay_us: u64, event: E) {
        self.planned += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.due
            .push(Reverse((self.now_us + delay_us, self.planned, place)));
    }

    /// Lets the time pass to the next event that is due by `until_us`; to `until_us` itself when there is none.
    pub(crate) fn next(&mut self, until_us: u64) -> Option<E> {
        match self.due.peek() {
            Some(Reverse((time, _, _))) if *time <= until_us => {
                let Reverse((time, _, place)) = self.due.pop()?;
                self.now_us = time;
                self.free.push(place);
                self.events[place].take()
            }
            _ => {
                self.now_us = self.now_us.max(until_us);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

    #[test]
    fn time_jumps_from_event_to_event() {
        let mut queue = Queue::new();
        queue.after(5, 'b');
        queue.after(5, 'c');
        queue.after(2, 'a');
        queue.after(90, 'z');
        let mut seen = Vec::new();
        while let Some(event) = queue.next(50) {
            seen.push((queue.now_us(), event));
        }
        assert_eq!(seen, [(2, 'a'), (5, 'b'), (5, 'c')]);
        assert_eq!(queue.now_us(), 50);
    }
}
