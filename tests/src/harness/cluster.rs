//! Coordinators and workers as separate processes on loopback, each of which can be killed and started again.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::{PATIENCE, Place, Process};

/// Coordinators and their workers.
#[derive(Debug)]
pub struct Cluster {
    /// Where everything is. Its commands speak to the coordinators.
    pub place: Place,
    /// The first coordinator, which founded the cluster.
    pub coordinator: Coordinator,
    /// The coordinators that joined it, in their order.
    pub others: Vec<Coordinator>,
    /// The workers, in the order they were added.
    pub workers: Vec<Worker>,
}

/// A coordinator.
#[derive(Debug)]
pub struct Coordinator {
    /// Where it serves; the same after a restart.
    pub address: String,
    /// Its own directory.
    pub data: PathBuf,
    /// What it was started with beside that.
    arguments: Vec<String>,
    process: Process,
}

/// A worker.
#[derive(Debug)]
pub struct Worker {
    /// Its name.
    pub name: String,
    arguments: Vec<String>,
    process: Process,
}

impl Cluster {
    /// A coordinator without workers.
    pub fn new(name: &str) -> Self {
        Self::of(name, 1)
    }

    /// So many coordinators without workers: all of them vote, and one leads.
    pub fn of(name: &str, coordinators: usize) -> Self {
        Self::of_arguments(name, coordinators, &[])
    }

    /// So many coordinators, all with more arguments.
    pub fn of_arguments(name: &str, coordinators: usize, more: &[&str]) -> Self {
        let mut place = Place::new(name);
        let data = place.path().join("coordinator");
        let arguments = [&["--bootstrap"], more].concat();
        let coordinator = Coordinator::start(&place, data, "127.0.0.1:0", &arguments);
        place.use_cluster(&coordinator.address);
        let mut cluster = Self {
            place,
            coordinator,
            others: Vec::new(),
            workers: Vec::new(),
        };
        for _ in 1..coordinators {
            cluster.add_coordinator_with(more);
        }
        cluster
    }

    /// Adds a coordinator and waits until it votes.
    pub fn add_coordinator(&mut self) {
        self.add_coordinator_with(&[]);
    }

    fn add_coordinator_with(&mut self, more: &[&str]) {
        let number = self.others.len() + 2;
        let data = self.place.path().join(format!("coordinator-{number}"));
        let join = format!("--join={}", self.addresses().join(","));
        let arguments = [&[join.as_str()], more].concat();
        let joined = Coordinator::start(&self.place, data, "127.0.0.1:0", &arguments);
        let address = joined.address.clone();
        self.others.push(joined);
        self.place.use_cluster(&self.addresses().join(","));
        self.wait_for(|status| {
            member_at(status, &address)
                .is_some_and(|member| member["role"] == "follower" || member["role"] == "leader")
        });
    }

    /// Every coordinator, the founder first.
    pub fn coordinators(&mut self) -> impl Iterator<Item = &mut Coordinator> {
        std::iter::once(&mut self.coordinator).chain(&mut self.others)
    }

    /// Where the coordinators serve, the founder first.
    pub fn addresses(&self) -> Vec<String> {
        std::iter::once(&self.coordinator)
            .chain(&self.others)
            .map(|coordinator| coordinator.address.clone())
            .collect()
    }

    /// What `shoal cluster status` says.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.place.json(&["cluster", "status"])
    }

    /// Waits until the status is as wanted. Every look is a command that waits for answers by itself.
    #[track_caller]
    pub fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(
                Instant::now() < until,
                "the cluster stays as it is: {status:#}"
            );
        }
    }

    /// Waits until one coordinator leads and says so itself, and gives its position among [`Self::coordinators`].
    #[track_caller]
    pub fn leader(&self) -> usize {
        let leader = |status: &Value| {
            let members = status["members"].as_array()?;
            let leader = members
                .iter()
                .find(|member| member["role"] == "leader" && member["reachable"] == true)?;
            let address = leader["address"].as_str()?.to_owned();
            self.addresses().iter().position(|other| *other == address)
        };
        let status = self.wait_for(|status| leader(status).is_some());
        leader(&status).expect("there is one")
    }

    /// The coordinator at a position of [`Self::coordinators`].
    pub fn coordinator_at(&mut self, position: usize) -> &mut Coordinator {
        match position {
            0 => &mut self.coordinator,
            other => &mut self.others[other - 1],
        }
    }

    /// Starts a coordinator again where it was, and waits until it has caught up.
    pub fn restart_coordinator(&mut self, position: usize) {
        let Self {
            coordinator,
            others,
            place,
            ..
        } = self;
        let coordinator = match position {
            0 => coordinator,
            other => &mut others[other - 1],
        };
        coordinator.restart(place);
        let address = coordinator.address.clone();
        self.wait_for(|status| {
            member_at(status, &address).is_some_and(|member| member["ready"] == true)
        });
    }

    /// Starts a coordinator that was stopped and is to end by itself at once; gives what it says.
    #[track_caller]
    pub fn coordinator_that_fails(&mut self, position: usize) -> String {
        let coordinator = self.coordinator_at(position);
        let own = [
            "coordinator".to_owned(),
            format!("--data-dir={}", coordinator.data.display()),
            format!("--listen={}", coordinator.address),
        ];
        let all: Vec<String> = own
            .into_iter()
            .chain(coordinator.arguments.clone())
            .collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let said = self.place.run(&all).ends_with(1).stderr;
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Adds a worker with two slots, and perhaps an environment that it serves.
    pub fn add_worker(&mut self, name: &str, environment: Option<&str>) {
        self.add_worker_within(name, environment, None);
    }

    /// Adds a worker with more arguments than others have.
    pub fn add_worker_with(&mut self, name: &str, more: &[&str]) {
        self.add_worker_of(
            name,
            more.iter().map(|one| (*one).to_owned()).collect(),
            None,
        );
    }

    /// Adds a worker that is started by the shell line `around`, in which `"$@"` stands for the worker's own command.
    pub fn add_worker_within(
        &mut self,
        name: &str,
        environment: Option<&str>,
        around: Option<&str>,
    ) {
        let environment = environment.map(|environment| format!("--environment={environment}"));
        self.add_worker_of(name, environment.into_iter().collect(), around);
    }

    fn add_worker_of(&mut self, name: &str, more: Vec<String>, around: Option<&str>) {
        let data = self.place.path().join(name);
        let mut arguments = vec!["worker".to_owned(), format!("--name={name}")];
        if !more.iter().any(|one| one.starts_with("--slots")) {
            arguments.push("--slots=2".to_owned());
        }
        for address in self.addresses() {
            arguments.push(format!("--coordinator={address}"));
        }
        arguments.push(format!("--data-dir={}", data.display()));
        arguments.extend(more);
        let process = start_worker(&self.place, &arguments, around);
        self.workers.push(Worker {
            name: name.to_owned(),
            arguments,
            process,
        });
    }
}

/// What a status says of the member at an address.
fn member_at<'a>(status: &'a Value, address: &str) -> Option<&'a Value> {
    let members = status["members"].as_array()?;
    members.iter().find(|member| member["address"] == address)
}

impl Coordinator {
    fn start(place: &Place, data: PathBuf, listen: &str, arguments: &[&str]) -> Self {
        let mut file = data.clone();
        file.set_extension("address");
        let process = {
            let own = [
                format!("--data-dir={}", data.display()),
                format!("--listen={listen}"),
                format!("--address-file={}", file.display()),
            ];
            let all: Vec<&str> = ["coordinator"]
                .into_iter()
                .chain(arguments.iter().copied())
                .chain(own.iter().map(String::as_str))
                .collect();
            let mut process = place.start(&all);
            process.wait_for("coordinator serves on");
            process
        };
        let address = fs::read_to_string(file).expect("the coordinator wrote where it serves");
        Self {
            address,
            data,
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            process,
        }
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// What it is started with, beside where it is.
    pub fn arguments(&mut self) -> &mut Vec<String> {
        &mut self.arguments
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    pub fn stop(&mut self) {
        let status = self.process.terminate();
        assert!(
            status.success(),
            "a coordinator that is told to end: {status}"
        );
    }

    /// Starts it again where it was.
    pub fn restart(&mut self, place: &Place) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        *self = Self::start(place, self.data.clone(), &self.address, &arguments);
    }
}

impl Worker {
    /// Kills the daemon as a crash would. Its steps go on.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the daemon again over the same data.
    pub fn restart(&mut self, place: &Place) {
        self.process = start_worker(place, &self.arguments, None);
    }
}

fn start_worker(place: &Place, arguments: &[String], around: Option<&str>) -> Process {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut process = match around {
        None => place.start(&arguments),
        Some(around) => {
            let inner = place.shoal(&arguments);
            let mut command = Command::new("sh");
            command
                .args(["-c", around, "sh"])
                .arg(inner.get_program())
                .args(inner.get_args());
            command.current_dir(place.project());
            for (name, value) in inner.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            place.start_as(command, &arguments)
        }
    };
    process.wait_for("serves blobs on");
    process
}
