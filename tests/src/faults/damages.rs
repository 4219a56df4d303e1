//! Files of one coordinator are damaged while it is down: it notices, or answers as before.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::damage::{self, Damage};
use super::storage::{Findings, client_of, compare, newest, write};
use super::{Fleet, Settings};

/// How long a coordinator that has said why it ends may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Damages one file of one coordinator while it is down, many times, and looks whether it notices, or answers as before.
///
/// # Errors
/// When a cluster does not come back when its files are whole again.
pub async fn damages(
    coordinators: usize,
    trials: u64,
    seed: u64,
    mut each: impl FnMut(&str),
) -> anyhow::Result<Findings> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut findings = Findings::default();
    let mut fleet = Fleet::start(Settings {
        name: "damage".to_owned(),
        coordinators,
        workers: 0,
        slots: 1,
        lost_after: 60.0,
        forgets: None,
        set_clocks: false,
        snapshot_entries: None,
    })
    .await?;
    let result =
        damage_one_after_the_other(&mut fleet, trials, &mut chance, &mut each, &mut findings);
    if let Err(error) = result.await {
        fleet.place.keep();
        return Err(error);
    }
    Ok(findings)
}

async fn damage_one_after_the_other(
    fleet: &mut Fleet,
    trials: u64,
    chance: &mut ChaCha8Rng,
    each: &mut impl FnMut(&str),
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let coordinators = fleet.size();
    let client = client_of(&fleet.addresses());
    let mut acked = BTreeMap::new();
    while findings.trials < trials {
        let one = chance.random_range(0..coordinators);
        for _ in 0..chance.random_range(1..20) {
            let (number, id) = write(&client, chance).await?;
            acked.insert(number, id);
        }
        let data = fleet.data(one);
        let (earlier, whole) = (data.with_file_name("earlier"), data.with_file_name("whole"));
        fleet.coordinator(one).kill();
        copy_or_keep(&data, &earlier)?;
        damage::copy(&data, &whole)?;
        // More is acknowledged by the others while it is down.
        let kind = Damage::ALL[findings.trials as usize % Damage::ALL.len()];
        let Some(what) = kind.inflict(&data, &earlier, chance)? else {
            fleet.start_coordinator(one)?;
            fleet.coordinator_serves(one).await?;
            continue;
        };
        fleet.start_coordinator(one)?;
        let served = fleet.coordinator_serves(one).await;
        let mut noticed = served.is_err();
        let verdict = match served {
            Err(error) => {
                // It should have said why; its process may take a moment longer.
                fleet.coordinator(one).ended(PATIENCE).await?;
                findings.detected += 1;
                format!("noticed: {error:#}")
            }
            Ok(()) => {
                let direct = fleet.client_of(one, Duration::from_secs(20));
                let wrong = match newest(&direct, 0).await {
                    Ok(there) => compare(&acked, &there),
                    // Not to answer is to have noticed.
                    Err(error) => {
                        each(&format!("{what}: does not answer: {error:#}"));
                        Vec::new()
                    }
                };
                if wrong.is_empty() {
                    findings.harmless += 1;
                    "harmless".to_owned()
                } else {
                    findings
                        .violations
                        .push(format!("{what}: {}", wrong.join("; ")));
                    format!("WRONG: {}", wrong.join("; "))
                }
            }
        };
        each(&format!("{kind:?} {what}: {verdict}"));
        findings.trials += 1;
        noticed |= !fleet.coordinator(one).runs();
        match (coordinators, noticed) {
            // Nobody else has the state: its own files, whole again, are all there is.
            (1, _) => {
                fleet.coordinator(one).kill();
                damage::copy(&whole, &data)?;
                fleet.start_coordinator(one)?;
                fleet.coordinator_serves(one).await?;
            }
            // As its message says. To put its disk back is no way: the others may have gone on.
            (_, true) => {
                fleet.replace_coordinator(one).await?;
                fs::remove_dir_all(&earlier)?;
            }
            // What was not read yet may still be noticed at a later start.
            (_, false) => {}
        }
    }
    let there = newest(&client, 0).await?;
    findings.violations.extend(compare(&acked, &there));
    findings.acknowledged = acked.len() as u64;
    Ok(())
}

fn copy_or_keep(data: &Path, earlier: &Path) -> anyhow::Result<()> {
    if !earlier.exists() {
        damage::copy(data, earlier)?;
    }
    Ok(())
}
