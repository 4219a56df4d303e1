//! The virtual clock: it stands still while something is handled and jumps to the next event.

use std::collections::BTreeMap;

/// What is going to happen, by time; what is due at the same time happens in the order in which it was planned.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    now_us: u64,
    planned: u64,
    events: BTreeMap<(u64, u64), E>,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self {
            now_us: 0,
            planned: 0,
            events: BTreeMap::new(),
        }
    }

    /// Microseconds since the run began.
    pub(crate) fn now_us(&self) -> u64 {
        self.now_us
    }

    pub(crate) fn after(&mut self, delay_us: u64, event: E) {
        self.planned += 1;
        self.events
            .insert((self.now_us + delay_us, self.planned), event);
    }

    /// Lets the time pass to the next event that is due by `until_us`; to `until_us` itself when there is none.
    pub(crate) fn next(&mut self, until_us: u64) -> Option<E> {
        match self.events.first_entry() {
            Some(first) if first.key().0 <= until_us => {
                self.now_us = first.key().0;
                Some(first.remove())
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
