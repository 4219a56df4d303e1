//! A coordinator and workers as separate processes on loopback, each of which can be killed and started again.

use std::fs;
use std::process::Command;

use super::{Place, Process};

/// A coordinator and its workers.
#[derive(Debug)]
pub struct Cluster {
    /// Where everything is. Its commands speak to the coordinator.
    pub place: Place,
    /// The coordinator.
    pub coordinator: Coordinator,
    /// The workers, in the order they were added.
    pub workers: Vec<Worker>,
}

/// A coordinator.
#[derive(Debug)]
pub struct Coordinator {
    /// Where it serves; the same after a restart.
    pub address: String,
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
        let mut place = Place::new(name);
        let coordinator = Coordinator::start(&place, "127.0.0.1:0");
        place.use_cluster(&coordinator.address);
        Self {
            place,
            coordinator,
            workers: Vec::new(),
        }
    }

    /// Adds a worker with two slots, and perhaps an environment that it serves.
    pub fn add_worker(&mut self, name: &str, environment: Option<&str>) {
        self.add_worker_within(name, environment, None);
    }

    /// Adds a worker that is started by the shell line `around`, in which `"$@"` stands for the worker's own command.
    pub fn add_worker_within(
        &mut self,
        name: &str,
        environment: Option<&str>,
        around: Option<&str>,
    ) {
        let data = self.place.path().join(name);
        let mut arguments = vec![
            "worker".to_owned(),
            "--slots=2".to_owned(),
            format!("--name={name}"),
        ];
        arguments.push(format!("--coordinator={}", self.coordinator.address));
        arguments.push(format!("--data-dir={}", data.display()));
        arguments.extend(environment.map(|environment| format!("--environment={environment}")));
        let process = start_worker(&self.place, &arguments, around);
        self.workers.push(Worker {
            name: name.to_owned(),
            arguments,
            process,
        });
    }
}

impl Coordinator {
    fn start(place: &Place, listen: &str) -> Self {
        let file = place.path().join("coordinator.address");
        let arguments = [
            "coordinator",
            "--bootstrap",
            &format!("--data-dir={}", place.path().join("coordinator").display()),
            &format!("--listen={listen}"),
            &format!("--address-file={}", file.display()),
        ];
        let mut process = place.start(&arguments);
        process.wait_for("coordinator serves on");
        let address = fs::read_to_string(file).expect("the coordinator wrote where it serves");
        Self { address, process }
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again where it was.
    pub fn restart(&mut self, place: &Place) {
        *self = Self::start(place, &self.address);
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
