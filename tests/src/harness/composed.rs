//! The cluster of `deploy/compose.yaml`, brought up for real by an engine.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::{BUSYBOX, Engine, Finished, PATIENCE, Place, Process};

/// The repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Coordinators and workers in containers. All of it is taken down when this is dropped.
pub struct Composed {
    /// Its project, and the logs of what is done with it.
    pub place: Place,
    engine: &'static Engine,
    /// The command and its first words: `docker compose`, or `docker-compose`.
    compose: Vec<&'static str>,
    name: String,
    is_down: bool,
}

impl Composed {
    /// Makes the image and brings everything up. None where that cannot be, which is said.
    ///
    /// # Panics
    /// When there is all that it needs, and it does not come up.
    pub fn up(name: &str) -> Option<Self> {
        let engine = Engine::get()?;
        let Some(compose) = find() else {
            eprintln!("SKIPPED, as there is neither `docker compose` nor `docker-compose`");
            return None;
        };
        let composed = Self {
            place: Place::new(name),
            engine,
            compose,
            name: format!("shoal-{name}-{}", std::process::id()),
            is_down: false,
        };
        engine.make_image(&composed.image());
        std::fs::create_dir(composed.worker_dir()).expect("a directory can be made");
        composed.run(&["up", "--detach"]).succeeds();
        Some(composed)
    }

    fn image(&self) -> String {
        format!("{}:test", self.name)
    }

    /// Where the workers keep what they have.
    fn worker_dir(&self) -> PathBuf {
        self.place.path().join("workers")
    }

    /// A command of compose, for these containers.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.compose[0]);
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = host.strip_prefix("unix://").unwrap_or("");
        if !socket.is_empty() {
            command.env("SHOAL_SOCKET", socket);
        }
        command
            .args(&self.compose[1..])
            .args(["--project-name", &self.name])
            .args(["--file", &format!("{ROOT}/deploy/compose.yaml")])
            .args(arguments)
            .current_dir(self.place.project())
            .stdin(Stdio::null())
            .env("SHOAL_IMAGE", self.image())
            .env("SHOAL_WORKER_DIR", self.worker_dir())
            // No step of these tests needs one, and the engine makes one for all workers that nobody takes down.
            .env("SHOAL_NETWORK", "none");
        for number in 1..=3 {
            // Free ports.
            command.env(format!("SHOAL_API_{number}"), "127.0.0.1:");
        }
        command
    }

    /// Runs a command of compose to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        let what = format!("{} {}", self.compose.join(" "), arguments.join(" "));
        let output = self
            .command(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{what} does not start: {error}"));
        Finished {
            what,
            code: output.status.code(),
            stdout: output.stdout,
            stderr: output.stderr,
        }
    }

    /// The arguments of compose with which a `shoal` command runs beside the daemons, in the project's directory.
    fn beside(&self, arguments: &[&str]) -> Vec<String> {
        let project = self.place.project().display().to_string();
        let mount = format!("{project}:{project}");
        let words = ["run", "--rm", "-T", "-v", &mount, "-w", &project, "shoal"];
        let all = words.into_iter().chain(arguments.iter().copied());
        all.map(str::to_owned).collect()
    }

    /// Runs a `shoal` command.
    pub fn shoal(&self, arguments: &[&str]) -> Finished {
        let all = self.beside(arguments);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        self.run(&all)
    }

    /// Starts a `shoal` command whose lines are waited for.
    pub fn start(&self, arguments: &[&str]) -> Process {
        let all = self.beside(arguments);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        self.place.start_as(self.command(&all), arguments)
    }

    /// Runs a `shoal` command that must succeed, and reads the JSON it prints.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let finished = self.shoal(&[&["-o", "json"], arguments].concat());
        let finished = finished.succeeds();
        serde_json::from_slice(&finished.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", finished.what, finished.text()))
    }

    /// Waits until `cluster status` is as wanted. Every look is a container that is started.
    #[track_caller]
    pub fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.json(&["cluster", "status"]);
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < until, "it stays as it is: {status:#}");
        }
    }

    /// The container of a service.
    pub fn container(&self, service: &str) -> String {
        let found = self.run(&["ps", "--quiet", service]).succeeds();
        found.text().trim().to_owned()
    }

    /// Runs `docker` with arguments; gives what it printed.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        self.engine.docker(arguments)
    }

    /// Takes everything down, and says what of it is left, which should be nothing.
    pub fn down(&mut self) -> Vec<String> {
        self.is_down = true;
        self.run(&["down", "--volumes", "--timeout", "30"])
            .succeeds();
        let label = format!("label=com.docker.compose.project={}", self.name);
        let mut left = Vec::new();
        for what in [
            &["ps", "--all"][..],
            &["network", "ls"][..],
            &["volume", "ls"][..],
        ] {
            let listed = [what, &["--quiet", "--filter", &label]].concat();
            left.extend(self.docker(&listed).lines().map(str::to_owned));
        }
        for worker in ["1", "2"] {
            left.extend(self.engine.containers(&self.worker_dir().join(worker)));
        }
        self.docker(&["image", "rm", &self.image()]);
        self.empty();
        left
    }

    /// Lets what programs in containers left be removed: it is not always of who runs the tests.
    fn empty(&self) {
        let mount = format!("{}:/it", self.place.path().display());
        let remove = ["run", "--rm", "--network=none", "-v", &mount, BUSYBOX];
        let remove = [&remove[..], &["rm", "-rf", "/it/workers"]].concat();
        self.docker(&remove);
    }
}

impl Drop for Composed {
    fn drop(&mut self) {
        if self.is_down {
            return;
        }
        // A test that fails leaves what its daemons said, and nothing that runs.
        let said = self.run(&["logs", "--no-color"]);
        let log = self.place.path().join("logs/compose.log");
        drop(std::fs::write(&log, said.stdout));
        drop(self.run(&["down", "--volumes", "--timeout", "5"]));
        let remove = ["image", "rm", "--force", &self.image()];
        drop(Command::new("docker").args(remove).output());
    }
}

/// How compose is called here.
fn find() -> Option<Vec<&'static str>> {
    let known = [vec!["docker", "compose"], vec!["docker-compose"]];
    known.into_iter().find(|words| {
        let asked = Command::new(words[0])
            .args(&words[1..])
            .arg("version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        asked.is_ok_and(|status| status.success())
    })
}
