//! The checkers see: every planted bug is caught, by a promise that it breaks.

use sim::script::play;
use sim::{Bug, Detail, run};

/// How many seeds a bug may get through.
const SEEDS: u64 = 40;

/// Promises that a bug breaks: which of them is seen to be broken first differs from seed to seed.
fn breaks(bug: Bug) -> &'static [&'static str] {
    const LOST: &[&str] = &[
        "I-01", "I-02", "I-03", "I-04", "I-05", "I-06", "I-08", "I-12", "I-13", "I-18", "I-21",
        "panic",
    ];
    match bug {
        Bug::AckBeforeStored
        | Bug::ForgetLastEntry
        | Bug::ForgetLogAfterSnapshot
        | Bug::ForgetVote
        | Bug::RejoinWithOldId
        | Bug::RollBackUnnoticed
        | Bug::AckBeforeQuorum
        | Bug::SnapshotWithoutLedger => LOST,
        Bug::AckRecordsBeforeStored | Bug::StoreEveryPush | Bug::EndBeforeTail => &["I-21"],
        Bug::SealBeforeRecords => &["I-21"],
        Bug::ForgetDirectories | Bug::ForgetLaunchMark => &["I-06", "I-07", "I-21"],
        Bug::DuplicateFence => &["I-06", "I-12"],
        Bug::DropStops => &["I-10"],
        Bug::OutputsNotStored | Bug::LoseAnOutput => &["I-18"],
        Bug::NewIdForRetry | Bug::NewIdUnderNewLeader => &["I-02"],
        Bug::ForgetRequestIds => &["I-02", "I-04"],
        Bug::ResumeTooLate | Bug::ResumeTooEarly => &["I-21"],
        Bug::NeverDialAgain | Bug::AnswerRepeatsAtOnce | Bug::PromoteLagging => &["I-08", "panic"],
        Bug::ReadWithoutQuorum => &["I-03"],
        Bug::StaleResult => &[
            "I-05", "I-06", "I-07", "I-08", "I-10", "I-12", "I-18", "I-21",
        ],
        Bug::AckLostCancel => &["I-10"],
        Bug::IgnoreFlippedBits => LOST,
        Bug::ServeFlippedBits => &["I-21"],
        Bug::RaiseTooEarly | Bug::HideOldProgram => &["I-12"],
        Bug::HideWhatStops => &["I-15"],
        Bug::LoseMetadata => &["I-22"],
        Bug::TakeInCopies => &["I-16"],
        Bug::TrustOldParts => &["I-19"],
        Bug::CopyTooEarly => &["I-20"],
    }
}

/// Bugs that need more seeds than an unoptimised simulator has time for; the optimised one plants them all: `sim --bugs`.
const RARE: [Bug; 9] = [
    Bug::TrustOldParts,
    Bug::AnswerRepeatsAtOnce,
    Bug::RejoinWithOldId,
    Bug::RollBackUnnoticed,
    Bug::ForgetVote,
    Bug::StaleResult,
    Bug::AckLostCancel,
    Bug::HideWhatStops,
    Bug::IgnoreFlippedBits,
];

/// Need moments that seeds seldom hit; scripts tell the stories.
const SELDOM: [(Bug, &str, &str); 4] = [
    (
        Bug::TrustOldParts,
        "I-19 at",
        include_str!("../../scripts/torn-parts.txt"),
    ),
    (
        Bug::AnswerRepeatsAtOnce,
        "I-08 at",
        include_str!("../../scripts/pushed-twice.txt"),
    ),
    (
        Bug::RollBackUnnoticed,
        "I-04 at",
        include_str!("../../scripts/rolled-back.txt"),
    ),
    (
        Bug::HideWhatStops,
        "I-15 at",
        include_str!("../../scripts/lost-devices.txt"),
    ),
];

#[test]
fn bugs_that_seeds_seldom_hit_are_caught_by_their_scripts() {
    for (bug, broken, script) in SELDOM {
        let story = play(script, Some(bug)).unwrap();
        assert!(story.contains(broken), "{bug} got through:\n{story}");
    }
}

#[test]
fn every_planted_bug_is_caught() {
    for bug in Bug::ALL.into_iter().filter(|bug| !RARE.contains(bug)) {
        let caught = (0..SEEDS).find_map(|seed| run(seed, Some(bug), Detail::None).violation);
        let violation = caught.unwrap_or_else(|| panic!("{bug} got through {SEEDS} seeds"));
        assert!(
            breaks(bug).contains(&violation.code),
            "{bug} was taken for something else: {violation}"
        );
    }
}
