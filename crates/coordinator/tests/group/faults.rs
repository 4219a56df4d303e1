//! Whatever happens in whatever order: nothing answered is lost, nothing is done twice, ledgers agree, reads are fresh, and once all is
//! well again the group goes on.

use coordinator::Request;
use proptest::prelude::*;

use crate::world::{World, uuid};

#[derive(Debug, Clone)]
enum Act {
    /// Time passes for one member.
    Tick(u64, u8),
    /// A message arrives.
    Deliver(usize),
    /// Many do.
    DeliverMany(Vec<u8>),
    /// A message is lost.
    Lose(usize),
    /// A message will come twice.
    Duplicate(usize),
    /// A process ends, and a beginning of what was being written is there.
    Crash(u64, usize),
    Start(u64),
    /// A disk is slow from here on, or quick again.
    Slow(u64, bool),
    /// A disk stores what it has been given.
    Persist(u64),
    /// A member hears nobody, or all again.
    Cut(u64, bool),
    /// Somebody asks for something, maybe again.
    Submit(u64, u8),
    Read(u64),
    Transfer(u64, u64),
    StepDown(u64),
    /// Everything goes well for a while.
    Calm(u8),
    AddMember(u64),
    RemoveMember(u64, u64),
}

fn acts(members: u64, changes: bool) -> impl Strategy<Value = Vec<Act>> {
    let id = 1..=members;
    let act = prop_oneof![
        12 => (id.clone(), 1..30_u8).prop_map(|(id, ticks)| Act::Tick(id, ticks)),
        10 => any::<usize>().prop_map(Act::Deliver),
        20 => prop::collection::vec(any::<u8>(), 1..30).prop_map(Act::DeliverMany),
        3 => any::<usize>().prop_map(Act::Lose),
        3 => any::<usize>().prop_map(Act::Duplicate),
        2 => (id.clone(), any::<usize>()).prop_map(|(id, survive)| Act::Crash(id, survive)),
        4 => id.clone().prop_map(Act::Start),
        2 => (id.clone(), any::<bool>()).prop_map(|(id, slow)| Act::Slow(id, slow)),
        4 => id.clone().prop_map(Act::Persist),
        2 => (id.clone(), any::<bool>()).prop_map(|(id, cut)| Act::Cut(id, cut)),
        10 => (id.clone(), 0..60_u8).prop_map(|(id, request)| Act::Submit(id, request)),
        6 => id.clone().prop_map(Act::Read),
        1 => (id.clone(), 0..=members).prop_map(|(id, to)| Act::Transfer(id, to)),
        1 => id.clone().prop_map(Act::StepDown),
        3 => (1..60_u8).prop_map(Act::Calm),
        2 => id.clone().prop_map(move |id| if changes { Act::AddMember(id) } else { Act::Read(id) }),
        2 => (id.clone(), 1..=members + 2).prop_map(move |(id, gone)| match changes {
            true => Act::RemoveMember(id, gone),
            false => Act::Start(id),
        }),
    ];
    prop::collection::vec(act, 1..160)
}

fn perform(world: &mut World, act: Act) {
    match act {
        Act::Tick(id, ticks) => (0..ticks).for_each(|_| world.tick(id)),
        Act::Deliver(at) => world.deliver(at, false),
        Act::DeliverMany(ats) => ats
            .into_iter()
            .for_each(|at| world.deliver(at.into(), false)),
        Act::Lose(at) => world.deliver(at, true),
        Act::Duplicate(at) => world.duplicate(at),
        Act::Crash(id, survive) => world.crash(id, survive),
        Act::Start(id) => world.start(id),
        Act::Slow(id, slow) => {
            world.nodes.get_mut(&id).unwrap().stores = !slow;
            if !slow {
                world.persist(id);
                world.settle(id);
            }
        }
        Act::Persist(id) => {
            world.persist(id);
            world.settle(id);
        }
        Act::Cut(id, cut) => {
            if cut {
                world.cut.insert(id);
            } else {
                world.cut.remove(&id);
            }
        }
        Act::Submit(id, request) => drop(world.submit(id, request.into())),
        Act::Read(id) => drop(world.read(id)),
        Act::Transfer(id, member_id) => {
            world.ask(id, Request::TransferLeadership { member_id });
        }
        Act::StepDown(id) => {
            world.nodes.get_mut(&id).unwrap().stopping = true;
            world.happen(id, coordinator::Input::StepDown);
        }
        Act::Calm(ticks) => world.run(ticks.into()),
        Act::AddMember(id) => add_member(world, id),
        Act::RemoveMember(id, member_id) => {
            let request_id = uuid(2_000 + u128::from(member_id));
            world.ask(
                id,
                Request::RemoveMember {
                    request_id,
                    member_id,
                },
            );
        }
    }
}

/// The next machine asks to be a member and starts, empty, once it is.
fn add_member(world: &mut World, id: u64) {
    let next = world.nodes.keys().next_back().copied().unwrap_or_default() + 1;
    if next > 7 {
        return;
    }
    let address = format!("c{next}:1");
    let request_id = uuid(1_000 + u128::from(next));
    world.ask(
        id,
        Request::AddMember {
            request_id,
            address: address.clone(),
            feature_level: 0,
        },
    );
    world.run(4);
    let admitted = world.nodes.values().find_map(|node| {
        let member = node
            .published
            .members()
            .find(|member| *member.address == *address)?;
        Some(member.member_id)
    });
    if admitted == Some(next) {
        world.add(next, Default::default());
    }
}

fn check(count: u64, seed: u64, acts: Vec<Act>) {
    let mut world = World::of(count, seed);
    world.snapshot_entries = 12;
    for id in 1..=count {
        world.crash(id, 0);
        world.start(id);
    }
    for act in acts {
        perform(&mut world, act);
    }
    world.heal_and_check();
}

proptest! {
    #![proptest_config(crate::cases(40))]

    #[test]
    fn three_members_keep_every_promise(seed: u64, acts in acts(3, false)) {
        check(3, seed, acts);
    }

    #[test]
    fn five_members_keep_every_promise(seed: u64, acts in acts(5, false)) {
        check(5, seed, acts);
    }

    #[test]
    fn promises_are_kept_while_members_come_and_go(seed: u64, acts in acts(3, true)) {
        check(3, seed, acts);
    }
}
