//! The power of coordinators fails while many clients write: what was acknowledged is there when they are back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::Context as _;
use powercut::{Disk, Mount};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::storage::{Findings, client_of, compare, newest, write};
use super::{Fleet, Settings};

/// Clients that write while a power cut is near.
const CLIENTS: usize = 6;

/// Requests of each in flight.
const IN_FLIGHT: usize = 32;

/// Power cuts of one cluster before another one is made: what it holds slows down its start.
const CUTS_PER_CLUSTER: u64 = 25;

/// How long a cluster may take to acknowledge something after a power cut.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long to wait for many writes, once there are some.
const SOON: Duration = Duration::from_secs(15);

/// How much is cut how often.
#[derive(Clone, Debug)]
pub struct Cuts {
    /// Coordinators of each cluster.
    pub coordinators: usize,
    /// Power cuts in all.
    pub count: u64,
    /// After how many acknowledged writes the power fails.
    pub writes: Range<u64>,
    /// Entries between two snapshots.
    pub snapshot_entries: Range<u64>,
    /// Chance.
    pub seed: u64,
}

/// Whether this machine can mount a disk that forgets; why not, if not.
///
/// # Errors
/// What the system says.
pub fn can_cut() -> std::io::Result<()> {
    let place = tempfile::tempdir()?;
    Mount::new(place.path(), Disk::new(0)).map(drop)
}

/// Numbers and request ids of what was acknowledged.
type Acked = BTreeMap<u64, String>;

/// Cuts the power of coordinators, mostly of all at once, many times, and looks whether what was acknowledged before is there after.
///
/// # Errors
/// When nothing can be mounted, or a cluster cannot be started.
pub async fn power_cuts(cuts: &Cuts, mut each: impl FnMut(&Findings)) -> anyhow::Result<Findings> {
    let mut chance = ChaCha8Rng::seed_from_u64(cuts.seed);
    let mut findings = Findings::default();
    while findings.trials < cuts.count {
        let mut fleet = Fleet::start(Settings {
            name: "power-cut".to_owned(),
            coordinators: cuts.coordinators,
            workers: 0,
            slots: 1,
            lost_after: 60.0,
            forgets: Some(chance.random()),
            set_clocks: false,
            snapshot_entries: Some(chance.random_range(cuts.snapshot_entries.clone())),
        })
        .await?;
        let before = findings.violations.len();
        let cut = cut_one_cluster(&mut fleet, cuts, &mut chance, &mut findings, &mut each);
        if let Err(error) = cut.await {
            findings.violations.push(format!(
                "I-08: a cluster does not come back after a power cut: {error:#}"
            ));
        }
        if findings.violations.len() > before {
            fleet.place.keep();
            each(&findings);
        }
    }
    Ok(findings)
}

async fn cut_one_cluster(
    fleet: &mut Fleet,
    cuts: &Cuts,
    chance: &mut ChaCha8Rng,
    findings: &mut Findings,
    each: &mut impl FnMut(&Findings),
) -> anyhow::Result<()> {
    let (mut all, mut checked) = (Acked::new(), 0);
    for _ in 0..CUTS_PER_CLUSTER.min(cuts.count - findings.trials) {
        // Counted first: what does not come back was cut, too.
        findings.trials += 1;
        let acked = write_until_a_cut(fleet, cuts, chance).await?;
        findings.acknowledged += acked.len() as u64;
        fleet.start_all().await?;
        let there = newest(&client_of(&fleet.addresses()), checked).await?;
        findings.violations.extend(compare(&acked, &there));
        checked = there.keys().next_back().copied().unwrap_or(checked);
        all.extend(acked);
        each(findings);
    }
    // What an earlier cut has left, a later one has left too.
    let there = newest(&client_of(&fleet.addresses()), 0).await?;
    findings.violations.extend(compare(&all, &there));
    Ok(())
}

/// Lets clients write until the power fails; gives what was acknowledged.
async fn write_until_a_cut(
    fleet: &mut Fleet,
    cuts: &Cuts,
    chance: &mut ChaCha8Rng,
) -> anyhow::Result<Acked> {
    let (told, mut acked) = watch::channel(Acked::new());
    let mut writers = writers(&fleet.addresses(), &told, chance.random());
    if chance.random_range(0..8) == 0 {
        // Also while they look for a leader.
        sleep(Duration::from_millis(chance.random_range(0..1_000))).await;
    } else {
        let first = acked.wait_for(|acked| !acked.is_empty());
        let first = timeout(PATIENCE, first).await;
        drop(first.context("nothing is acknowledged")??);
        let enough = chance.random_range(cuts.writes.clone());
        let enough = acked.wait_for(|acked| acked.len() as u64 >= enough);
        // On a slow machine fewer do as well.
        drop(timeout(SOON, enough).await);
    }
    let mut victims: Vec<usize> = (0..fleet.size()).collect();
    victims.shuffle(chance);
    // Of all, three times in four; of any number else.
    if chance.random_range(0..4) == 0 {
        victims.truncate(chance.random_range(1..=fleet.size()));
    }
    fleet.cut_power(&victims)?;
    writers.shutdown().await;
    Ok(acked.borrow().clone())
}

/// Makes executions, many at a time, until it is ended; tells what was acknowledged.
fn writers(addresses: &[String], told: &watch::Sender<Acked>, seed: u64) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for at in 0..CLIENTS {
        let mut addresses = addresses.to_vec();
        let turn = at % addresses.len();
        addresses.rotate_left(turn);
        let client = client_of(&addresses);
        for slot in 0..IN_FLIGHT {
            let (client, told) = (client.clone(), told.clone());
            let mut chance = ChaCha8Rng::seed_from_u64(seed ^ (at * IN_FLIGHT + slot) as u64);
            writers.spawn(async move {
                loop {
                    if let Ok((number, id)) = write(&client, &mut chance).await {
                        told.send_modify(|acked| drop(acked.insert(number, id)));
                    }
                }
            });
        }
    }
    writers
}
