//! What a run came by. A simulator that never comes near the hard places proves nothing, so these are counted and a test
//! expects each of them to be reached.

use std::collections::BTreeMap;

/// Places that some seeds must reach.
pub const SOMETIMES: [&str; 91] = [
    "a damaged record was found",
    "a feed was found to be damaged when it was closed",
    "damage was found at a start",
    "a feed without a seal came to its end",
    "a push waited for the ledger",
    "records did not fit on a disk",
    "a feature level was raised",
    "an older program refused to start",
    "an older program stopped by name",
    "a batch was lost in a crash",
    "a batch outlived a crash unacknowledged",
    "a coordinator started from a snapshot",
    "a coordinator replayed its log",
    "the log was compacted",
    "several batches were stored together",
    "a request was lost in a crash",
    "a request was repeated",
    "a repeated request was answered from memory",
    "a request id was refused for another body",
    "an execution was cancelled before it had a worker",
    "an execution was cancelled while a worker had it",
    "an execution was cancelled after its end",
    "a cancel raced a completion",
    "a pipeline was cancelled",
    "a pipeline failed by a node",
    "a pipeline completed",
    "a node was skipped",
    "a node ran again",
    "an execution completed",
    "an execution failed",
    "an execution was stopped",
    "an execution had a second attempt",
    "a worker was declared lost",
    "a lost worker came back",
    "a program was killed because nobody wanted it",
    "a program was stopped gracefully",
    "a program had to be killed after its grace",
    "a program ran into its time limit",
    "a program died with its machine",
    "a program ended while its daemon was down",
    "a running program was adopted",
    "an ended program was adopted",
    "an unstarted attempt was adopted",
    "a launch was cut off",
    "an input could not be fetched",
    "wrong bytes of a blob were refused",
    "a fetch went on with what was there",
    "a worker kept a copy",
    "a copy could not be had",
    "a worker left after it had handed over what it had",
    "records were lost in a crash",
    "a feed was read from its file again",
    "a push was refused",
    "a feed was sealed",
    "a seal was said again",
    "a subscriber came back",
    "a link broke in silence",
    "a clock was set back",
    "a worker drained",
    "a worker had trouble of its own",
    "a torn write was told by its checksum",
    "a leader crashed",
    "a leader was cut off",
    "a leader stood still",
    "the power of all coordinators was cut",
    "a coordinator was cut off in one direction",
    "one coordinator was the bridge of two parts",
    "a link between coordinators flapped",
    "a message between coordinators was cut off",
    "a coordinator ended because its disk was full",
    "a daemon slept while its program ran",
    "a worker was sent on to the leader",
    "a copy of a worker's directory spoke",
    "a client was sent on to the leader",
    "a watcher went on at another coordinator",
    "a subscriber went on at another coordinator",
    "a seal came before its records",
    "a coordinator got records from another",
    "a request was refused for want of a quorum",
    "a follower answered a fresh read",
    "a fresh read was refused",
    "a snapshot was sent",
    "a snapshot did not arrive",
    "a coordinator took over a snapshot of another",
    "a message of another was refused",
    "a disk was lost",
    "a disk was put back to an old copy",
    "leadership was to be handed over",
    "a leader handed over before it stopped",
    "a coordinator joined",
    "a coordinator was removed",
];

/// Counts of a run, or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often each place was come by.
    pub sometimes: BTreeMap<&'static str, u64>,
    /// How many faults of each kind were injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// Requests, programs, subscriptions: what was done.
    pub operations: u64,
}

impl Tally {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        for (of, counts) in [
            (&mut self.sometimes, &other.sometimes),
            (&mut self.faults, &other.faults),
        ] {
            for (name, count) in counts {
                *of.entry(name).or_default() += count;
            }
        }
    }

    /// Places that were never come by.
    pub fn never(&self) -> Vec<&'static str> {
        SOMETIMES
            .into_iter()
            .filter(|name| !self.sometimes.contains_key(name))
            .collect()
    }

    /// How many faults there were in all.
    pub fn fault_count(&self) -> u64 {
        self.faults.values().sum()
    }
}
