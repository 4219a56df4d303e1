//! What a power cut and damaged files leave of what was acknowledged.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use client::{Client, Fixed, Options};
use contract::api;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::damage::{self, Damage};
use super::fleet::number;
use super::{Fleet, Settings, State};

const PROJECT: &str = "acked";

const CONFIG: &str =
    "- step:\n    name: idle\n    image: busybox\n    environment: nowhere\n    command: 'true'\n";

/// Requests in flight while a power cut is near.
const WRITERS: usize = 64;

/// Power cuts of one cluster before another one is made: what it holds slows down its start.
const CUTS_PER_CLUSTER: u64 = 15;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Power cuts, or damaged files.
    pub trials: u64,
    /// Acknowledged writes that were looked for.
    pub acknowledged: u64,
    /// How many were noticed by whoever read the damaged files.
    pub detected: u64,
    /// How many changed no answer.
    pub harmless: u64,
    /// What was lost, wrong, or broken, in words.
    pub violations: Vec<String>,
}

type Acked = Arc<Mutex<BTreeMap<u64, String>>>;

fn lock(acked: &Acked) -> std::sync::MutexGuard<'_, BTreeMap<u64, String>> {
    acked.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cuts the power of all coordinators at once, many times, and looks whether what was acknowledged before is there after.
///
/// # Errors
/// When nothing can be mounted, or a cluster does not come back.
pub async fn power_cuts(
    coordinators: usize,
    cuts: u64,
    seed: u64,
    mut each: impl FnMut(&Findings),
) -> anyhow::Result<Findings> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut findings = Findings::default();
    while findings.trials < cuts {
        let mut fleet =
            Fleet::start(settings("power-cut", coordinators, Some(chance.random()))).await?;
        let mut checked = 0;
        for _ in 0..CUTS_PER_CLUSTER.min(cuts - findings.trials) {
            let acked = Acked::default();
            let mut writers = writers(&fleet.addresses(), &acked, chance.random());
            sleep(Duration::from_millis(chance.random_range(100..1_500))).await;
            fleet.cut_power()?;
            writers.shutdown().await;
            let started = fleet.start_all().await;
            if let Err(error) = started {
                findings.violations.push(format!(
                    "I-01: a coordinator does not start after a power cut: {error:#}"
                ));
                fleet.place.keep();
                findings.trials += 1;
                break;
            }
            let acked = std::mem::take(&mut *lock(&acked));
            let there = newest(&client_of(&fleet.addresses()), checked).await?;
            let wrong = compare(&acked, &there);
            if !wrong.is_empty() {
                fleet.place.keep();
            }
            findings.violations.extend(wrong);
            checked = there.keys().next_back().copied().unwrap_or(checked);
            findings.acknowledged += acked.len() as u64;
            findings.trials += 1;
            each(&findings);
        }
    }
    Ok(findings)
}

fn settings(name: &str, coordinators: usize, forgets: Option<u64>) -> Settings {
    Settings {
        name: name.to_owned(),
        coordinators,
        workers: 0,
        slots: 1,
        lost_after: 60.0,
        forgets,
        set_clocks: false,
    }
}

fn client_of(addresses: &[String]) -> Client {
    let patience = Duration::from_secs(60);
    let options = Options {
        deadline: patience,
        patience,
        ..Options::default()
    };
    Client::with_options(Fixed(addresses.to_vec()), options)
}

/// Makes executions, many at a time, until it is ended; notes what was acknowledged.
fn writers(addresses: &[String], acked: &Acked, seed: u64) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for at in 0..WRITERS {
        let mut addresses = addresses.to_vec();
        let turn = at % addresses.len();
        addresses.rotate_left(turn);
        let (client, acked) = (client_of(&addresses), Arc::clone(acked));
        let mut chance = ChaCha8Rng::seed_from_u64(seed ^ at as u64);
        writers.spawn(async move {
            loop {
                if let Ok((number, id)) = write(&client, &mut chance).await {
                    lock(&acked).insert(number, id);
                }
            }
        });
    }
    writers
}

/// Makes one execution; its number and its request id.
async fn write(client: &Client, chance: &mut ChaCha8Rng) -> anyhow::Result<(u64, String)> {
    let id = uuid::Builder::from_random_bytes(chance.random())
        .into_uuid()
        .to_string();
    let answer = client
        .create_execution(api::CreateExecutionRequest {
            parent: format!("projects/{PROJECT}"),
            config: CONFIG.as_bytes().to_vec().into(),
            step: "idle".to_owned(),
            title: id.clone(),
            request_id: id.clone(),
            ..Default::default()
        })
        .await?;
    Ok((number(&answer.execution.unwrap_or_default().name)?, id))
}

/// The executions above a number, from one listing.
async fn newest(client: &Client, above: u64) -> anyhow::Result<BTreeMap<u64, String>> {
    let mut all = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = api::ListExecutionsRequest {
            parent: format!("projects/{PROJECT}"),
            page_size: 1_000,
            page_token,
            ..Default::default()
        };
        let answer = match client.list_executions(request).await {
            Ok(answer) => answer,
            // A project is there with its first execution.
            Err(error) if error.kind == client::Kind::NotFound => return Ok(all),
            Err(error) => return Err(error).context("executions cannot be listed"),
        };
        for execution in answer.executions {
            let number = number(&execution.name)?;
            if number <= above {
                return Ok(all);
            }
            all.insert(number, execution.title);
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

fn compare(acked: &BTreeMap<u64, String>, there: &BTreeMap<u64, String>) -> Vec<String> {
    let mut wrong: Vec<String> = acked
        .iter()
        .filter_map(|(number, id)| match there.get(number) {
            Some(title) if title == id => None,
            Some(title) => Some(format!("I-02: #{number} was given to {id}, and is {title}")),
            None => Some(format!("I-01: #{number} was acknowledged and is lost")),
        })
        .collect();
    // One line says it as well as a thousand.
    if wrong.len() > 5 {
        let rest = wrong.split_off(5).len();
        wrong.push(format!("and {rest} more"));
    }
    wrong
}

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
    let mut fleet = Fleet::start(settings("damage", coordinators, None)).await?;
    let client = client_of(&fleet.addresses());
    let mut acked = BTreeMap::new();
    while findings.trials < trials {
        let one = chance.random_range(0..coordinators);
        for _ in 0..chance.random_range(1..20) {
            let (number, id) = write(&client, &mut chance).await?;
            acked.insert(number, id);
        }
        let data = fleet.data(one);
        let (earlier, whole) = (data.with_file_name("earlier"), data.with_file_name("whole"));
        fleet.coordinator(one).kill();
        copy_or_keep(&data, &earlier)?;
        damage::copy(&data, &whole)?;
        // More is acknowledged by the others while it is down.
        let kind = Damage::ALL[findings.trials as usize % Damage::ALL.len()];
        let Some(what) = kind.inflict(&data, &earlier, &mut chance)? else {
            fleet.start_coordinator(one)?;
            fleet.coordinator_serves(one).await?;
            continue;
        };
        fleet.start_coordinator(one)?;
        let served = fleet.coordinator_serves(one).await;
        let verdict = match served {
            Err(error) => {
                ensure_ended(&mut fleet, one, &error)?;
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
        let noticed = !fleet.coordinator(one).runs();
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
    Ok(findings)
}

fn copy_or_keep(data: &Path, earlier: &Path) -> anyhow::Result<()> {
    if !earlier.exists() {
        damage::copy(data, earlier)?;
    }
    Ok(())
}

/// A coordinator that does not serve should have said why and ended.
fn ensure_ended(fleet: &mut Fleet, at: usize, error: &anyhow::Error) -> anyhow::Result<()> {
    let state = fleet.coordinator(at).state();
    ensure!(
        matches!(state, State::Ended(_)),
        "a damaged coordinator hangs: {error:#}"
    );
    Ok(())
}

/// Appends a line to the record of campaigns: commit, layer, seeds, simulated hours (none here), faults, operations, violations,
/// command.
///
/// # Errors
/// When the file cannot be written.
pub fn record(
    layer: &str,
    seed: u64,
    faults: u64,
    operations: u64,
    violations: usize,
    command: &str,
) -> anyhow::Result<()> {
    const HEADING: &str =
        "commit\tlayer\tseeds\tsimulated hours\tfaults\toperations\tviolations\tcommand\n";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("docs/reliability/ledger.tsv");
    let commit = std::process::Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .current_dir(&root)
        .output()?;
    let commit = String::from_utf8_lossy(&commit.stdout).trim().to_owned();
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let is_new = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    if is_new {
        file.write_all(HEADING.as_bytes())?;
    }
    let line =
        format!("{commit}\t{layer}\t{seed}\t-\t{faults}\t{operations}\t{violations}\t{command}\n");
    file.write_all(line.as_bytes())?;
    Ok(())
}

/// How long something took, in seconds, for people.
pub fn seconds(since: Instant) -> String {
    format!("{:.0} s", since.elapsed().as_secs_f64())
}
