//! Random events around a worker: crashes, cuts, repeats, losses and delays at any point.

use proptest::prelude::*;

use crate::world::World;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Nothing runs twice, nothing runs that was told off, nothing counts as finished that is not stored (asserted by the world at each
    /// event), and when everything works again everything comes to an end.
    #[test]
    fn whatever_happens_the_promises_hold_and_all_comes_to_rest(
        events in proptest::collection::vec((0..20u8, 0..64usize), 0..200),
    ) {
        let mut world = World::new();
        for (kind, pick) in events {
            world.event(kind, pick);
        }
        world.rest();
    }
}

#[test]
fn without_faults_every_program_runs_and_completes() {
    let mut world = World::new();
    (0..12).for_each(|_| world.event(0, 0));
    world.rest();
    assert_eq!(world.accepted.len(), 12);
    let complete = contract::api::State::Complete;
    assert!(world.accepted.values().all(|state| *state == complete));
}
