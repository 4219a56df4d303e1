//! The worker's own clock: the host's, but never running back.

/// Turns the host's time into one that never runs back, so that a clock that is set back holds no timer up (I-14).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    last_us: u64,
    /// How far the host's time was set back in all.
    behind_us: u64,
}

impl Clock {
    /// The host's time is `now_us`.
    pub(crate) fn read(&mut self, now_us: u64) -> u64 {
        let now = now_us + self.behind_us;
        if now < self.last_us {
            self.behind_us += self.last_us - now;
            return self.last_us;
        }
        self.last_us = now;
        now
    }

    /// The last time that was read.
    pub(crate) fn last_us(&self) -> u64 {
        self.last_us
    }

    /// A time of this clock as the host's clock shows it.
    pub(crate) fn as_host_time(&self, time: u64) -> u64 {
        time.saturating_sub(self.behind_us)
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn a_clock_set_back_goes_on_from_where_it_was() {
        let mut clock = Clock::default();
        let times: Vec<u64> = [100, 150, 20, 30, 25, 40]
            .map(|host| clock.read(host))
            .to_vec();
        assert_eq!(times, [100, 150, 150, 160, 160, 175]);
        assert_eq!(clock.as_host_time(180), 45);
    }
}
