//! How busy the machine is, for who looks at workers.

use super::{field, text};

/// What the machine's memory and processors do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineUse {
    /// Processors that were busy since the look before, in thousandths; none at the first look.
    pub cpu_millis: Option<u64>,
    /// Bytes of memory that programs have.
    pub memory_bytes: Option<u64>,
}

/// Looks at the machine again and again.
#[derive(Debug, Default)]
pub struct Machine {
    /// Ticks of all processors, busy and in all.
    before: Option<(u64, u64)>,
}

impl Machine {
    /// How busy it was since the last look.
    pub fn look(&mut self) -> MachineUse {
        let now = text("/proc/stat").and_then(|stat| ticks(&stat));
        let before = std::mem::replace(&mut self.before, now);
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let memory = text("/proc/meminfo").unwrap_or_default();
        let kib = field(&memory, "MemTotal:").zip(field(&memory, "MemAvailable:"));
        MachineUse {
            cpu_millis: before.zip(now).and_then(|(before, now)| {
                let busy = now.0.saturating_sub(before.0);
                let all = now.1.saturating_sub(before.1);
                (busy * processors * 1_000).checked_div(all)
            }),
            memory_bytes: kib.map(|(total, available)| total.saturating_sub(available) << 10),
        }
    }
}

/// Ticks that the processors were busy, and in all. Guests are counted with their hosts; waiting for disks is idleness.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .filter_map(|n| n.parse().ok())
        .collect();
    let idle = fields.get(3)? + fields.get(4)?;
    let all: u64 = fields.iter().sum();
    Some((all - idle, all))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn waiting_and_idling_are_not_busy() {
        assert_eq!(
            ticks("cpu  10 1 5 100 20 1 2 3 7 0\ncpu0 1\n"),
            Some((22, 142))
        );
        assert_eq!(ticks("nothing"), None);
    }

    #[test]
    fn this_machine_is_measured_from_the_second_look_on() {
        let mut machine = Machine::default();
        let first = machine.look();
        assert_eq!(first.cpu_millis, None);
        assert!(first.memory_bytes.unwrap() > 0);
    }
}
