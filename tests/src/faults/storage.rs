//! What was acknowledged, and whether it is there: for power cuts and damaged files.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use client::{Client, Fixed, Options};
use contract::api;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::fleet::number;

const PROJECT: &str = "acked";

const CONFIG: &str =
    "- step:\n    name: idle\n    image: busybox\n    environment: nowhere\n    command: 'true'\n";

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

/// A client that does not give up for as long as a cluster may take to come back.
pub(super) fn client_of(addresses: &[String]) -> Client {
    let patience = Duration::from_secs(60);
    let options = Options {
        deadline: patience,
        patience,
        ..Options::default()
    };
    Client::with_options(Fixed(addresses.to_vec()), options)
}

/// Makes one execution; its number and its request id.
pub(super) async fn write(
    client: &Client,
    chance: &mut ChaCha8Rng,
) -> anyhow::Result<(u64, String)> {
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
pub(super) async fn newest(client: &Client, above: u64) -> anyhow::Result<BTreeMap<u64, String>> {
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

/// What is lost or another than it was, in words.
pub(super) fn compare(acked: &BTreeMap<u64, String>, there: &BTreeMap<u64, String>) -> Vec<String> {
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

/// Appends a line to the record of campaigns: commit, layer, seeds, simulated hours (none here), faults, operations, violations,
/// command.
///
/// # Errors
/// When the file cannot be written, or git does not say which commit this is.
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
    let path = root().join("docs/reliability/ledger.tsv");
    let commit = commit();
    anyhow::ensure!(!commit.is_empty(), "git does not say which commit this is");
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

/// The commit that this program was started at. Ask early: others follow while it runs.
pub fn commit() -> &'static str {
    static COMMIT: LazyLock<String> = LazyLock::new(|| {
        let asked = std::process::Command::new("git")
            .args(["rev-parse", "--short=12", "HEAD"])
            .current_dir(root())
            .output();
        let said = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        said.unwrap_or_default()
    });
    &COMMIT
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// How long something took, in seconds, for people.
pub fn seconds(since: Instant) -> String {
    format!("{:.0} s", since.elapsed().as_secs_f64())
}
