//! What went over the interfaces of this process's network.

use super::text;

/// Bytes received and sent since the network is there, the loopback's left out.
pub(crate) fn traffic() -> Option<(u64, u64)> {
    Some(sum(&text("/proc/self/net/dev")?))
}

/// The first number after an interface's name is what it received, the ninth what it sent.
fn sum(table: &str) -> (u64, u64) {
    let rows = table.lines().filter_map(|line| line.split_once(':'));
    let others = rows.filter(|(name, _)| name.trim() != "lo");
    others.fold((0, 0), |(received, sent), (_, numbers)| {
        let mut numbers = numbers.split_whitespace().map(|n| n.parse::<u64>());
        let mut next = |skip: usize| numbers.nth(skip).and_then(Result::ok).unwrap_or(0);
        (received + next(0), sent + next(7))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_interfaces_but_the_loopback() {
        let table = "Inter-|   Receive                            |  Transmit\n \
                     face |bytes    packets errs drop fifo frame compressed multicast|bytes packets\n    \
                     lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n  \
                     eth0:  10 1 0 0 0 0 0 0  20 2 0 0 0 0 0 0\n  \
                     eth1: 1 1 0 0 0 0 0 0 2 2 0 0 0 0 0 0\n";
        assert_eq!(sum(table), (11, 22));
        assert_eq!(sum(""), (0, 0));
    }
}
