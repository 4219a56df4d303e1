//! Three members that agree before they answer: coordinators of Shoal, or of etcd. A put is what one write costs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use client::{Client, Fixed, Options};
use contract::api;
use tempfile::TempDir;

use super::cluster;
use super::etcd::Etcd;
use crate::args;

/// How many members a group has.
const MEMBERS: usize = 3;

/// An execution that no worker takes, so that only the write is measured.
const CONFIG: &str =
    "- step:\n    name: idle\n    image: busybox\n    environment: nowhere\n    command: 'true'\n";

/// How long one write may take, and a group to have a leader.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whose members they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Coordinators.
    Shoal,
    /// etcd of the system.
    Etcd,
}

impl Kind {
    /// Name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shoal => "shoal, 3 coordinators",
            Self::Etcd => "etcd, 3 members",
        }
    }
}

/// A running group. Its processes end with it.
#[derive(Debug)]
pub(crate) struct Group {
    kind: Kind,
    program: PathBuf,
    members: Vec<Member>,
    // Removed when the processes have ended.
    directory: TempDir,
}

#[derive(Debug)]
struct Member {
    process: Option<Child>,
    /// Where clients find it.
    address: String,
    arguments: Vec<String>,
}

impl Group {
    /// Starts a group and waits until it takes writes.
    pub(crate) async fn start(common: &args::Common, kind: Kind) -> anyhow::Result<Self> {
        let directory = cluster::scratch(common)?;
        let program = match kind {
            Kind::Shoal => cluster::program(common)?,
            Kind::Etcd => PathBuf::from("etcd"),
        };
        let mut group = Self {
            kind,
            program,
            members: Vec::new(),
            directory,
        };
        let addresses = free_addresses(2 * MEMBERS)?;
        let (clients, peers) = addresses.split_at(MEMBERS);
        for at in 0..MEMBERS {
            let data = group.directory.path().join(at.to_string());
            let arguments = match kind {
                Kind::Shoal => coordinator(&data, &clients[at], &clients[0], at == 0),
                Kind::Etcd => etcd(&data, at, &clients[at], peers),
            };
            group.members.push(Member {
                process: None,
                address: clients[at].clone(),
                arguments,
            });
            group.revive(at)?;
            // A coordinator joins a group that is there; etcd's members wait for each other.
            if kind == Kind::Shoal {
                group.writer(&[at])?.write("ready").await?;
            }
        }
        group.writer(&[0, 1, 2])?.write("ready").await?;
        Ok(group)
    }

    /// One that writes to these members, the first one first.
    pub(crate) fn writer(&self, members: &[usize]) -> anyhow::Result<Writer> {
        let addresses: Vec<String> = members
            .iter()
            .map(|at| self.members[*at].address.clone())
            .collect();
        Writer::new(self.kind, addresses)
    }

    /// Which member leads.
    pub(crate) async fn leader(&self) -> anyhow::Result<usize> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            for member in self.members.iter().filter(|one| one.process.is_some()) {
                if let Ok(Some(leader)) = self.leader_by(&member.address).await {
                    return Ok(leader);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("{} has no leader", self.kind.name())
    }

    async fn leader_by(&self, address: &str) -> anyhow::Result<Option<usize>> {
        match self.kind {
            Kind::Shoal => {
                let options = Options {
                    deadline: Duration::from_secs(1),
                    ..Options::default()
                };
                let client = Client::with_options(Fixed::one(address), options);
                let answer = client.get_cluster(api::GetClusterRequest {}).await?;
                let cluster = answer.cluster.unwrap_or_default();
                let leader = cluster
                    .members
                    .iter()
                    .find(|member| member.member_id == cluster.leader_id);
                Ok(leader.and_then(|leader| {
                    let known = |one: &Member| one.address == leader.address;
                    self.members.iter().position(known)
                }))
            }
            Kind::Etcd => {
                for (at, member) in self.members.iter().enumerate() {
                    if member.process.is_some() && Etcd::leads(&member.address).await? {
                        return Ok(Some(at));
                    }
                }
                Ok(None)
            }
        }
    }

    /// Kills a member as a crash would.
    pub(crate) fn kill(&mut self, at: usize) {
        if let Some(mut process) = self.members[at].process.take() {
            // It has ended if it cannot be killed.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts a member that does not run, over its data.
    pub(crate) fn revive(&mut self, at: usize) -> anyhow::Result<()> {
        let member = &mut self.members[at];
        let process = Command::new(&self.program)
            .args(&member.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        member.process = Some(process);
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for at in 0..self.members.len() {
            self.kill(at);
        }
    }
}

fn coordinator(data: &Path, listen: &str, first: &str, is_first: bool) -> Vec<String> {
    vec![
        "coordinator".to_owned(),
        if is_first {
            "--bootstrap".to_owned()
        } else {
            format!("--join={first}")
        },
        format!("--data-dir={}", data.display()),
        format!("--listen={listen}"),
    ]
}

/// etcd as its own benchmarks start it: the defaults, which sync before they answer.
fn etcd(data: &Path, at: usize, client: &str, peers: &[String]) -> Vec<String> {
    let cluster: Vec<String> = peers
        .iter()
        .enumerate()
        .map(|(at, peer)| format!("m{at}=http://{peer}"))
        .collect();
    vec![
        format!("--name=m{at}"),
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls=http://{client}"),
        format!("--advertise-client-urls=http://{client}"),
        format!("--listen-peer-urls=http://{}", peers[at]),
        format!("--initial-advertise-peer-urls=http://{}", peers[at]),
        format!("--initial-cluster={}", cluster.join(",")),
        "--initial-cluster-state=new".to_owned(),
    ]
}

/// Addresses of loopback that nobody listens on now.
fn free_addresses(count: usize) -> anyhow::Result<Vec<String>> {
    let listeners = (0..count)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<Vec<_>, _>>()?;
    let addresses = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.to_string()));
    addresses.collect()
}

/// One that writes to a group, and goes on until a write is answered. A clone shares its connection.
#[derive(Clone)]
pub(crate) enum Writer {
    /// Makes executions.
    Shoal(Client),
    /// Puts keys.
    Etcd(Etcd),
}

impl Writer {
    fn new(kind: Kind, addresses: Vec<String>) -> anyhow::Result<Self> {
        Ok(match kind {
            Kind::Shoal => {
                let options = Options {
                    deadline: PATIENCE,
                    ..Options::default()
                };
                Self::Shoal(Client::with_options(Fixed(addresses), options))
            }
            Kind::Etcd => Self::Etcd(Etcd::new(addresses)?),
        })
    }

    /// Writes once, durably on a majority when this returns.
    pub(crate) async fn write(&self, key: &str) -> anyhow::Result<()> {
        match self {
            Self::Shoal(client) => {
                let request = api::CreateExecutionRequest {
                    parent: "projects/bench".to_owned(),
                    config: CONFIG.as_bytes().to_vec().into(),
                    step: "idle".to_owned(),
                    title: key.to_owned(),
                    ..Default::default()
                };
                client.create_execution(request).await?;
            }
            Self::Etcd(etcd) => etcd.put(key, CONFIG.as_bytes(), PATIENCE).await?,
        }
        Ok(())
    }
}
