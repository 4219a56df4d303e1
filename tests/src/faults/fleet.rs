//! A cluster of real processes whose network, disks and clocks can be broken.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use client::{Client, Fixed, Options};
use contract::api;
use powercut::Mount;
use rustix::process::Signal;
use tokio::time::sleep;

use super::disks::CoordinatorDisk;
use super::source::Census;
use super::{Daemon, Party, Proxy, Rules, State};
use crate::harness::{Kind, Place};

/// How long a daemon may take to serve, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon what was refused for now is asked for again.
const AGAIN: Duration = Duration::from_millis(250);

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For people who look at what a failed run left.
    pub name: String,
    /// Coordinators.
    pub coordinators: usize,
    /// Workers.
    pub workers: usize,
    /// Attempts that each worker runs at once.
    pub slots: usize,
    /// After how many seconds without contact a worker's attempts are given to others.
    pub lost_after: f64,
    /// Whether coordinators are on disks that forget what was not synced; and the seed by which these decide.
    pub forgets: Option<u64>,
    /// Whether the clocks of coordinators can be set.
    pub set_clocks: bool,
    /// Entries between two snapshots of a coordinator, if not the usual number.
    pub snapshot_entries: Option<u64>,
}

/// A running cluster.
#[derive(Debug)]
pub struct Fleet {
    /// What passes between whom.
    pub rules: Rules,
    /// What it was made of.
    pub settings: Settings,
    coordinators: Vec<Coordinator>,
    workers: Vec<Worker>,
    census: Census,
    /// Where everything is. The last: disks are taken out of the tree before it is removed.
    pub place: Place,
}

#[derive(Debug)]
struct Coordinator {
    daemon: Daemon,
    proxy: Proxy,
    /// Where it listens, behind its proxy.
    listen: String,
    disk: CoordinatorDisk,
    /// How it enters the cluster.
    entry: Vec<String>,
}

#[derive(Debug)]
struct Worker {
    daemon: Daemon,
}

impl Fleet {
    /// Starts a cluster; every daemon serves when this returns.
    ///
    /// # Errors
    /// When something cannot be made or a daemon does not serve.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let place = Place::new(&settings.name);
        place.config("- step: {name: unused, image: busybox, command: 'true'}\n");
        let host = host();
        let mut fleet = Self {
            rules: Rules::new(),
            coordinators: Vec::new(),
            workers: Vec::new(),
            census: Census::default(),
            place,
            settings,
        };
        for at in 0..fleet.settings.coordinators {
            fleet.add_coordinator(&host, at).await?;
        }
        fleet.all_vote(0).await?;
        for at in 0..fleet.settings.workers {
            let log = fleet.place.path().join(format!("logs/worker-{at}.log"));
            let daemon = Daemon::new(format!("worker {at}"), "serves blobs on", log);
            fleet.workers.push(Worker { daemon });
            fleet.start_worker(at)?;
        }
        for at in 0..fleet.settings.workers {
            fleet.workers[at].daemon.serving(PATIENCE).await?;
        }
        Ok(fleet)
    }

    async fn add_coordinator(&mut self, host: &str, at: usize) -> anyhow::Result<()> {
        let listen = free_address(host)?;
        let party = Party::Coordinator(at);
        let (rules, census) = (self.rules.clone(), self.census.clone());
        let proxy = Proxy::start(host, listen.clone(), party, rules, census).await?;
        let forgets = self.settings.forgets.map(|seed| seed + at as u64);
        let path = self.place.path().join(format!("coordinator-{at}"));
        let entry = match self.coordinators.first() {
            None => vec!["--bootstrap".to_owned()],
            Some(first) => vec![format!("--join={}", first.proxy.address())],
        };
        let log = self.place.path().join(format!("logs/coordinator-{at}.log"));
        self.coordinators.push(Coordinator {
            daemon: Daemon::new(format!("coordinator {at}"), "coordinator serves on", log),
            proxy,
            listen,
            disk: CoordinatorDisk::new(&path, forgets)?,
            entry,
        });
        self.set_clock(at, "+0")?;
        self.start_coordinator(at)?;
        self.coordinator_serves(at).await
    }

    /// How many coordinators there are.
    pub fn size(&self) -> usize {
        self.coordinators.len()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Where clients find the coordinators: their proxies.
    pub fn addresses(&self) -> Vec<String> {
        self.coordinators
            .iter()
            .map(|coordinator| coordinator.proxy.address())
            .collect()
    }

    /// Where one coordinator listens behind its proxy.
    pub fn direct(&self, at: usize) -> &str {
        &self.coordinators[at].listen
    }

    /// A client that speaks to one coordinator only, past its proxy.
    pub fn client_of(&self, at: usize, deadline: Duration) -> Client {
        let options = Options {
            deadline,
            patience: deadline,
            ..Options::default()
        };
        Client::with_options(Fixed::one(self.direct(at)), options)
    }

    /// The data directory of a coordinator.
    pub fn data(&self, at: usize) -> PathBuf {
        self.coordinators[at].disk.data()
    }

    /// The disk of a coordinator, if it is one that forgets.
    ///
    /// # Errors
    /// When it is the machine's own.
    pub fn disk(&self, at: usize) -> anyhow::Result<&Mount> {
        self.coordinators[at].disk.forgetful()
    }

    /// Which coordinator leads, as the others see it; none when nobody knows of one.
    pub async fn leader(&self) -> Option<usize> {
        let addresses = self.addresses();
        let mut seen: Option<(i64, usize)> = None;
        for at in 0..self.size() {
            if self.coordinators[at].daemon.state() != State::Serving {
                continue;
            }
            let client = self.client_of(at, Duration::from_secs(2));
            let Ok(answer) = client.get_cluster(api::GetClusterRequest {}).await else {
                continue;
            };
            let cluster = answer.cluster.unwrap_or_default();
            let leader = cluster
                .members
                .iter()
                .find(|member| member.member_id == cluster.leader_id)
                .and_then(|member| addresses.iter().position(|one| *one == member.address));
            // Who is behind may know of an older one.
            if let Some(leader) = leader
                && seen.is_none_or(|(term, _)| term < cluster.term)
            {
                seen = Some((cluster.term, leader));
            }
        }
        seen.map(|(_, leader)| leader)
    }

    /// Starts a coordinator; it need not serve when this returns.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_coordinator(&mut self, at: usize) -> anyhow::Result<()> {
        let coordinator = &mut self.coordinators[at];
        let mut arguments = vec!["coordinator".to_owned()];
        arguments.extend(coordinator.entry.clone());
        arguments.extend([
            format!("--data-dir={}", coordinator.disk.data().display()),
            format!("--listen={}", coordinator.listen),
            format!("--advertise={}", coordinator.proxy.address()),
            format!("--lost-after={}", self.settings.lost_after),
        ]);
        if let Some(entries) = self.settings.snapshot_entries {
            let file = self.place.path().join("coordinators.toml");
            fs::write(
                &file,
                format!("[coordinator]\nsnapshot_entries = {entries}\n"),
            )?;
            arguments.push(format!("--config={}", file.display()));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = self.place.shoal(&arguments);
        command.env("SHOAL_LOG", "info");
        if self.settings.set_clocks {
            let file = self.place.path().join(format!("clock-{at}"));
            command
                .env("LD_PRELOAD", fake_time().context("no libfaketime here")?)
                .env("FAKETIME_TIMESTAMP_FILE", file)
                .env("FAKETIME_NO_CACHE", "1")
                // A monotonic clock does not jump.
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        let process = coordinator
            .daemon
            .start(command)
            .context("a coordinator cannot be started")?;
        self.census.enter(process, Party::Coordinator(at));
        Ok(())
    }

    /// Waits until a coordinator serves.
    ///
    /// # Errors
    /// When it ends instead, or takes too long.
    pub async fn coordinator_serves(&self, at: usize) -> anyhow::Result<()> {
        self.coordinators[at].daemon.serving(PATIENCE).await
    }

    /// The process of a coordinator, to be killed, stopped or asked to end.
    pub fn coordinator(&mut self, at: usize) -> &mut Daemon {
        &mut self.coordinators[at].daemon
    }

    /// The process of a worker.
    pub fn worker(&mut self, at: usize) -> &mut Daemon {
        &mut self.workers[at].daemon
    }

    /// Starts the coordinators that do not run, all at once, and waits until they serve.
    ///
    /// # Errors
    /// When one does not.
    pub async fn start_all(&mut self) -> anyhow::Result<()> {
        for at in 0..self.size() {
            if self.coordinators[at].daemon.process().is_none() {
                self.start_coordinator(at)?;
            }
        }
        for at in 0..self.size() {
            self.coordinator_serves(at).await?;
        }
        Ok(())
    }

    /// Waits until all coordinators vote and nobody else does, as one of them sees it. Before that the group has fewer to spare than
    /// it seems: a new member is a learner until it has caught up.
    ///
    /// # Errors
    /// When that takes too long.
    async fn all_vote(&self, seen_by: usize) -> anyhow::Result<()> {
        let (client, until) = (self.client_of(seen_by, PATIENCE), Instant::now() + PATIENCE);
        loop {
            let answer = client.get_cluster(api::GetClusterRequest {}).await?;
            let members = answer.cluster.unwrap_or_default().members;
            let voters = members.iter().filter(|member| !member.learner);
            if members.len() == self.size() && voters.count() == self.size() {
                return Ok(());
            }
            ensure!(Instant::now() < until, "not all vote: {members:?}");
            sleep(AGAIN).await;
        }
    }

    /// Waits until no coordinator but one lacks a log or a source tree: before that the one may be the only one that has it. Those that are
    /// down are not asked.
    ///
    /// # Errors
    /// When that takes too long.
    async fn others_are_whole(&self, one: usize) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        for at in (0..self.size()).filter(|at| *at != one) {
            if self.coordinators[at].daemon.state() != State::Serving {
                continue;
            }
            let client = self.client_of(at, PATIENCE);
            loop {
                let answer = client.get_cluster(api::GetClusterRequest {}).await?;
                let cluster = answer.cluster.unwrap_or_default();
                let lacking = (cluster.lacking_log_count, cluster.lacking_source_count);
                if lacking == (0, 0) {
                    break;
                }
                ensure!(
                    Instant::now() < until,
                    "{at} lacks {lacking:?} logs and trees"
                );
                sleep(AGAIN).await;
            }
        }
        Ok(())
    }

    /// A coordinator is gone for good with its disk, and a new one takes its place and its addresses. It votes when this returns.
    ///
    /// # Errors
    /// When it cannot be removed or the new one does not serve.
    pub async fn replace_coordinator(&mut self, at: usize) -> anyhow::Result<()> {
        let address = self.coordinators[at].proxy.address();
        let other = (at + 1) % self.size();
        ensure!(
            other != at,
            "a coordinator that is alone cannot be replaced"
        );
        let client = self.client_of(other, PATIENCE);
        let answer = client.get_cluster(api::GetClusterRequest {}).await?;
        let members = answer.cluster.unwrap_or_default().members;
        let member = members.iter().find(|member| member.address == address);
        let id = member.context("it is no member")?.member_id.to_string();
        self.others_are_whole(at).await?;
        self.coordinators[at].daemon.kill();
        let entry = self.coordinators[other].proxy.address();
        self.place.use_cluster(&entry);
        // A member that has just started is heard after a heartbeat or two, and counts for the majority that must remain from then on.
        let until = Instant::now() + PATIENCE;
        loop {
            let removed = self.place.run(&["cluster", "remove", &id]);
            if removed.code == Some(0) || Instant::now() >= until {
                removed.succeeds();
                break;
            }
            sleep(AGAIN).await;
        }
        fs::remove_dir_all(self.data(at))?;
        self.coordinators[at].entry = vec![format!("--join={entry}")];
        self.start_coordinator(at)?;
        self.coordinator_serves(at).await?;
        self.all_vote(other).await
    }

    /// Starts a worker over its data; it need not serve when this returns.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_worker(&mut self, at: usize) -> anyhow::Result<()> {
        let mut arguments = vec![
            "worker".to_owned(),
            format!("--name=w{at}"),
            format!("--slots={}", self.settings.slots),
            format!(
                "--data-dir={}",
                self.place.path().join(format!("worker-{at}")).display()
            ),
        ];
        for address in self.addresses() {
            arguments.push(format!("--coordinator={address}"));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = self.place.shoal(&arguments);
        command.env("SHOAL_LOG", "info");
        let process = self.workers[at].daemon.start(command)?;
        self.census.enter(process, Party::Worker(at));
        Ok(())
    }

    /// Sets how far the clock of a coordinator is off, in libfaketime's words: `+10y`, `-3d`.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn set_clock(&self, at: usize, offset: &str) -> anyhow::Result<()> {
        if self.settings.set_clocks {
            let file = self.place.path().join(format!("clock-{at}"));
            let aside = file.with_extension("new");
            fs::write(&aside, format!("{offset}\n"))?;
            fs::rename(aside, file)?;
        }
        Ok(())
    }

    /// The power of these coordinators fails at one moment, and comes back. None of them runs when this returns.
    ///
    /// # Errors
    /// When they are not on disks that forget.
    pub fn cut_power(&mut self, victims: &[usize]) -> anyhow::Result<()> {
        for at in victims {
            self.disk(*at)?.disk().power_off();
        }
        for at in victims {
            self.coordinators[*at].daemon.kill();
        }
        for at in victims {
            self.disk(*at)?.disk().power_on();
        }
        Ok(())
    }

    /// Ends every fault: the network passes everything, stopped processes go on, ended ones are started, clocks are right, and all
    /// serve.
    ///
    /// # Errors
    /// When a daemon does not serve again.
    pub async fn heal(&mut self) -> anyhow::Result<()> {
        self.rules.heal();
        for at in 0..self.size() {
            self.set_clock(at, "+0")?;
            if let Ok(mount) = self.disk(at) {
                mount.disk().set_capacity(None);
                mount.disk().fail_syncs(false);
            }
            let daemon = &mut self.coordinators[at].daemon;
            if daemon.runs() {
                daemon.signal(Signal::CONT)?;
            }
        }
        self.start_all().await?;
        for at in 0..self.workers() {
            let daemon = &mut self.workers[at].daemon;
            if daemon.runs() {
                daemon.signal(Signal::CONT)?;
            } else {
                self.start_worker(at)?;
            }
            self.workers[at].daemon.serving(PATIENCE).await?;
        }
        Ok(())
    }

    /// Kills everything that runs at this place, steps' programs too.
    pub fn kill_all(&mut self) {
        for coordinator in &mut self.coordinators {
            coordinator.daemon.kill();
        }
        for worker in &mut self.workers {
            worker.daemon.kill();
        }
        self.place.kill(&[Kind::Command, Kind::Shim, Kind::Program]);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Before the disks are taken out of the tree, and before the place is removed.
        self.kill_all();
    }
}

/// An address of loopback that no other fleet of this machine has.
fn host() -> String {
    static FLEETS: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(16) + FLEETS.fetch_add(1, Ordering::Relaxed);
    let [_, a, b, c] = number.to_be_bytes();
    // Not 0 or 255, and not what everybody uses.
    let part = |byte: u8, least: u8| least + byte % (254 - least);
    format!("127.{}.{}.{}", part(a, 2), part(b, 1), part(c, 1))
}

/// An address that nobody listens on now. It is this fleet's own host, so nobody will.
fn free_address(host: &str) -> anyhow::Result<String> {
    let listener = TcpListener::bind((host, 0))?;
    Ok(listener.local_addr()?.to_string())
}

/// Where libfaketime is, if it is installed.
pub(super) fn fake_time() -> Option<PathBuf> {
    let found = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|machine| PathBuf::from(format!("/usr/lib/{machine}/faketime/libfaketimeMT.so.1")));
    found.into_iter().find(|path| path.exists())
}

/// The number at the end of a resource's name.
///
/// # Errors
/// When there is none.
pub(super) fn number(name: &str) -> anyhow::Result<u64> {
    let last = name.rsplit('/').next().unwrap_or_default();
    let number = last
        .parse()
        .with_context(|| format!("{name:?} ends with no number"))?;
    ensure!(number > 0, "{name:?} ends with 0");
    Ok(number)
}
