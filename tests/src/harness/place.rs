//! A directory of its own for each test: its project, its data, its processes and their logs.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::{Gate, Kind, Log, PATIENCE, Process, binary, kill};

/// A temporary directory with everything that a test starts in it.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
    cluster: Option<String>,
    program: PathBuf,
    commands: Cell<u32>,
}

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What was run, for messages.
    pub what: String,
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it printed beside that.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Checks that it was done.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.ends_with(0)
    }

    /// Checks its exit code.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        let (stdout, stderr) = (
            String::from_utf8_lossy(&self.stdout),
            String::from_utf8_lossy(&self.stderr),
        );
        assert_eq!(self.code, Some(code), "{}\n{stdout}\n{stderr}", self.what);
        self
    }

    /// What it printed, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Place {
    /// A new place. The name is for people who look at what a failed test left.
    pub fn new(name: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix(&format!("shoal-{name}-"))
            .tempdir()
            .expect("a directory can be made");
        let place = Self {
            directory,
            cluster: None,
            program: binary::shoal().to_owned(),
            commands: Cell::new(0),
        };
        for part in ["project", "logs"] {
            fs::create_dir(place.path().join(part)).expect("a directory can be made");
        }
        place
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Keeps everything here when the place is dropped, and says where it is: something is to be looked at.
    pub fn keep(&mut self) {
        self.directory.disable_cleanup(true);
        eprintln!(
            "what was done and left is kept in {}",
            self.path().display()
        );
    }

    /// The directory that commands run in.
    pub fn project(&self) -> PathBuf {
        self.path().join("project")
    }

    /// From now on commands speak to this coordinator instead of running everything themselves.
    pub fn use_cluster(&mut self, address: &str) {
        self.cluster = Some(address.to_owned());
    }

    /// From now on commands are of another file with the same program, as after an upgrade.
    pub fn upgrade(&mut self) {
        let upgraded = self.path().join("upgraded");
        fs::create_dir_all(&upgraded).expect("a directory can be made");
        let program = upgraded.join("shoal");
        fs::copy(&self.program, &program).expect("a program can be copied");
        self.program = program;
    }

    /// Writes the project's `valohai.yaml`.
    pub fn config(&self, yaml: &str) {
        fs::write(self.project().join("valohai.yaml"), yaml).expect("a file can be written");
    }

    /// Another place with the same project, whose commands speak to the same cluster: for a thread of its own.
    pub fn another(&self) -> Self {
        let mut other = Self::new("another");
        copy(&self.project(), &other.project());
        other.cluster.clone_from(&self.cluster);
        other
    }

    /// Copies one of the repository's examples into the project.
    pub fn example(&self, name: &str) {
        let example = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../examples")
            .join(name);
        copy(&example, &self.project());
    }

    /// A gate for a step's script.
    pub fn gate(&self, name: &str) -> Gate {
        Gate::new(&self.path().join(name))
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        let what = format!("shoal {}", arguments.join(" "));
        let (out, err) = (self.log(arguments, "out"), self.log(arguments, "err"));
        let mut command = self.shoal(arguments);
        command.stdin(Stdio::null());
        command.stdout(File::create(&out).expect("a log can be written"));
        command.stderr(File::create(&err).expect("a log can be written"));
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{what} does not start: {error}"));
        let ended = kill::ended(kill::handle(child.id()).as_fd(), Instant::now() + PATIENCE);
        assert!(ended, "`{what}` does not end; see {}", err.display());
        let code = child.wait().expect("a child can be waited for").code();
        let read = |path: &Path| fs::read(path).expect("a log can be read");
        Finished {
            what,
            code,
            stdout: read(&out),
            stderr: read(&err),
        }
    }

    /// Runs a command that must succeed, and reads the JSON it prints.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let finished = self.run(&[&["-o", "json"], arguments].concat()).succeeds();
        serde_json::from_slice(&finished.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}", finished.what))
    }

    /// What is recorded about an execution.
    #[track_caller]
    pub fn execution(&self, number: i64) -> Value {
        self.json(&["execution", "show", &number.to_string()])
    }

    /// What is recorded about the newest execution.
    #[track_caller]
    pub fn newest(&self) -> Value {
        let list = self.json(&["execution", "list", "--limit=1"]);
        self.execution(list[0]["number"].as_i64().expect("there is an execution"))
    }

    /// The log of an attempt of an execution that has ended; of its newest one if none is named.
    #[track_caller]
    pub fn log_of(&self, number: i64, attempt: Option<i64>) -> Log {
        let number = number.to_string();
        let attempt = attempt.map(|attempt| format!("--attempt={attempt}"));
        let mut arguments = vec!["-o", "json", "execution", "logs", number.as_str()];
        arguments.extend(attempt.as_deref());
        Log::read(&self.run(&arguments).succeeds().stdout)
    }

    /// Starts a command whose lines are waited for.
    pub fn start(&self, arguments: &[&str]) -> Process {
        let mut command = self.shoal(arguments);
        command.env("SHOAL_LOG", "info");
        self.start_as(command, arguments)
    }

    /// Starts a command that a test has made by itself, with [`Self::shoal`] or around it.
    pub fn start_as(&self, command: Command, arguments: &[&str]) -> Process {
        Process::start(
            command,
            format!("shoal {}", arguments.join(" ")),
            &self.log(arguments, "log"),
        )
    }

    /// A command of this place, not started yet.
    pub fn shoal(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.project());
        for name in [
            "SHOAL_CLUSTER",
            "SHOAL_CONTEXT",
            "SHOAL_JOIN_TOKEN",
            "SHOAL_PROJECT",
            "SHOAL_LOG",
        ] {
            command.env_remove(name);
        }
        command
            .env("NO_COLOR", "1")
            // Contexts of whoever runs the tests are none of theirs.
            .env("XDG_CONFIG_HOME", self.path().join("config"))
            .env("SHOAL_TEST_PLACE", self.path());
        if let Some(address) = &self.cluster {
            command.env("SHOAL_CLUSTER", address);
        }
        command
    }

    /// Kills every process of this place: commands, shims, and steps' programs with all that they started.
    pub fn kill_all(&self) {
        self.kill(&[Kind::Command, Kind::Shim, Kind::Program]);
    }

    /// Kills the processes of these kinds, as a crash would, and waits until they are dead.
    pub fn kill(&self, kinds: &[Kind]) {
        loop {
            let mut processes = kill::marked(self.path());
            processes.retain(|held| kinds.contains(&kill::kind(held.pid)));
            // One that was being started while the others were looked for is found by the next look.
            if processes.is_empty() {
                return;
            }
            kill::kill(&processes, Instant::now() + PATIENCE);
        }
    }

    /// Where the next command's output goes: `03-pipeline-run.out`.
    fn log(&self, arguments: &[&str], end: &str) -> PathBuf {
        let number = self.commands.get();
        self.commands.set(number + 1);
        let words = arguments
            .iter()
            .filter(|word| word.chars().all(|letter| letter.is_ascii_lowercase()));
        let words: Vec<&str> = words.take(2).copied().collect();
        self.path()
            .join("logs")
            .join(format!("{number:03}-{}.{end}", words.join("-")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.kill_all();
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
            eprintln!(
                "what the test did and left is kept in {}",
                self.path().display()
            );
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("an example can be read") {
        let entry = entry.expect("an example can be read");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&to).expect("a directory can be made");
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("a file can be copied");
        }
    }
}
