//! A machine for tests: one of the two runtimes, attempts, and what they have to say.

use crate::engine::{BUSYBOX, Engine, engine};
use feed::{Record, Stream};
use runtime::devices::Device;
use runtime::docker::{Ask, Container, Docker, DockerConfig, Network, Policy, PullPolicy};
use runtime::{
    AttemptDir, AttemptState, Attempts, Exit, FeedTail, LaunchError, Launched, Launcher,
    NotifySocket, Processes, Program, Runtime,
};
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tempfile::TempDir;

/// Longer than anything here takes on the slowest machine: a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(120);
/// What nobody told is looked for now and then: a daemon does the same.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is asked of a container beside its program.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) image: &'static str,
    pub(crate) ask: Ask,
    pub(crate) devices: Vec<Device>,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            image: BUSYBOX,
            ask: Ask::default(),
            devices: Vec::new(),
        }
    }
}

/// Of containers, or of processes.
pub(crate) struct Machine {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) docker: Option<Arc<Docker>>,
    engine: Option<&'static Engine>,
    pub(crate) attempts: Attempts,
    pub(crate) data: TempDir,
    news: mpsc::Receiver<OsString>,
}

/// What tests grant unless they say otherwise: no network is needed, and none is quickest.
pub(crate) fn policy() -> Policy {
    Policy {
        network: Network::None,
        memory: Some(256 << 20),
        ..Policy::default()
    }
}

impl Machine {
    /// One of each that can be had.
    pub(crate) fn each() -> Vec<Machine> {
        let containers = Machine::of_containers(policy());
        [Some(Machine::of_processes()), containers]
            .into_iter()
            .flatten()
            .collect()
    }

    pub(crate) fn of_processes() -> Machine {
        let data = tempfile::tempdir().unwrap();
        let exe = std::env::current_exe().unwrap();
        let socket = NotifySocket::bind(data.path()).unwrap().into_socket();
        socket.set_nonblocking(false).unwrap();
        let launcher = Launcher::new(&exe, data.path()).unwrap();
        let (tell, news) = mpsc::channel();
        std::thread::spawn(move || {
            let mut name = [0; 255];
            while let Ok(len) = socket.recv(&mut name) {
                let name = String::from_utf8_lossy(&name[..len]).into_owned();
                if tell.send(name.into()).is_err() {
                    return;
                }
            }
        });
        Machine::new(Arc::new(Processes::new(launcher)), None, data, news)
    }

    /// None where there is no engine.
    pub(crate) fn of_containers(policy: Policy) -> Option<Machine> {
        let engine = engine()?;
        Some(Machine::at(engine, tempfile::tempdir().unwrap(), policy).unwrap())
    }

    pub(crate) fn at(
        engine: &'static Engine,
        data: TempDir,
        policy: Policy,
    ) -> Result<Machine, String> {
        let (tell, news) = mpsc::channel();
        let docker = open(engine, data.path(), policy, move |name| {
            drop(tell.send(name))
        })?;
        Ok(Machine::with(engine, docker, data, news))
    }

    /// One that fetches images when the policy says so.
    pub(crate) fn pulling(engine: &'static Engine, pull: PullPolicy) -> Machine {
        Machine::keeping(engine, pull, None)
    }

    /// The same, with a bound of what fetched images may take.
    pub(crate) fn keeping(
        engine: &'static Engine,
        pull: PullPolicy,
        image_cache: Option<u64>,
    ) -> Machine {
        let data = tempfile::tempdir().unwrap();
        let (tell, news) = mpsc::channel();
        let opened = open_pulling(
            engine,
            data.path(),
            policy(),
            (pull, image_cache),
            move |name| drop(tell.send(name)),
        );
        Machine::with(engine, opened.unwrap(), data, news)
    }

    fn with(
        engine: &'static Engine,
        docker: Arc<Docker>,
        data: TempDir,
        news: mpsc::Receiver<OsString>,
    ) -> Machine {
        let mut machine = Machine::new(docker.clone(), Some(docker), data, news);
        machine.engine = Some(engine);
        machine
    }

    fn new(
        runtime: Arc<dyn Runtime>,
        docker: Option<Arc<Docker>>,
        data: TempDir,
        news: mpsc::Receiver<OsString>,
    ) -> Machine {
        Machine {
            runtime,
            docker,
            engine: None,
            attempts: Attempts::open(&data.path().join("attempts")).unwrap(),
            data,
            news,
        }
    }

    pub(crate) fn is_docker(&self) -> bool {
        self.docker.is_some()
    }

    pub(crate) fn container(&self, wanted: &Wanted) -> Option<Container> {
        let docker = self.docker.as_ref()?;
        let ask = Ask {
            image: wanted.image.to_owned(),
            ..wanted.ask.clone()
        };
        let grant = docker.grant(&ask).unwrap();
        let pool = &self.engine?.pool;
        let image = pool.block_on(docker.image(wanted.image, &|_| {})).unwrap();
        Some(Container {
            image,
            grant,
            devices: wanted.devices.clone(),
            cluster: "a-cluster".to_owned(),
            worker: "a-worker".to_owned(),
        })
    }

    /// The program as this runtime wants it: in a container, with the image's environment around its own.
    pub(crate) fn launch(
        &self,
        dir: &AttemptDir,
        program: &Program,
        wanted: &Wanted,
    ) -> Result<(), LaunchError> {
        let container = self.container(wanted);
        let mut program = program.clone();
        if let Some(container) = &container {
            program
                .env
                .splice(0..0, container.image.env.iter().cloned());
        }
        let (tell, outcome) = mpsc::channel();
        let told = Box::new(move |launched| drop(tell.send(launched)));
        match self.runtime.launch(dir, &program, container, told) {
            Launched::Now(outcome) => outcome,
            Launched::Later => outcome.recv_timeout(DEADLINE).unwrap(),
        }
    }

    pub(crate) fn start(&self, name: &str, program: &Program) -> AttemptDir {
        let dir = self.attempts.create(name).unwrap();
        self.launch(&dir, program, &Wanted::default()).unwrap();
        dir
    }

    pub(crate) fn run(&self, name: &str, program: &Program) -> Ran {
        self.run_in(name, program, &Wanted::default())
    }

    pub(crate) fn run_in(&self, name: &str, program: &Program, wanted: &Wanted) -> Ran {
        let dir = self.attempts.create(name).unwrap();
        self.launch(&dir, program, wanted).unwrap();
        self.finish(dir)
    }

    /// Waits for the end of an attempt, and reads its feed.
    pub(crate) fn finish(&self, dir: AttemptDir) -> Ran {
        let exit = self.wait_for(|| match self.runtime.look(&dir).unwrap() {
            AttemptState::Ended(exit) => Some(exit),
            AttemptState::Running { .. } => None,
            other => panic!("{other:?}"),
        });
        let mut tail = FeedTail::new(&dir, 0, 0);
        let records = read_all(&mut tail);
        assert_eq!(exit.record_count, records.len() as u64);
        assert_eq!(exit.feed_bytes, tail.offset());
        Ran { dir, exit, records }
    }

    /// Waits until the program has printed `text`.
    pub(crate) fn wait_for_output(&self, dir: &AttemptDir, text: &str) {
        let mut tail = FeedTail::new(dir, 0, 0);
        let mut seen = String::new();
        self.wait_for(|| {
            let records = read_all(&mut tail);
            seen.push_str(&String::from_utf8_lossy(&joined(&records, Stream::Stdout)));
            seen.contains(text).then_some(())
        });
    }

    /// Asks `look` now and after each piece of news, until it answers.
    pub(crate) fn wait_for<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let began = std::time::Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(began.elapsed() < DEADLINE, "nothing came in time");
            let _ = self.news.recv_timeout(LOOK_AGAIN);
        }
    }

    /// Nothing of the attempt stays.
    pub(crate) fn forget(&self, ran: Ran) {
        self.runtime.forget(&ran.dir).unwrap();
        self.attempts.retire(&ran.dir).unwrap();
        assert!(!ran.dir.path().exists());
    }

    /// The containers that this machine has, whatever they do.
    pub(crate) fn containers(&self) -> Vec<String> {
        let data = self.data.path().display().to_string();
        let engine = self.engine.unwrap();
        engine.containers("io.shoal.data-dir", &data)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Whatever a failed test has left, if it can be removed at all.
        if self.is_docker() && std::thread::panicking() {
            drop(self.runtime.adopt(&[]));
        }
    }
}

/// Opens the runtime of containers in a directory.
pub(crate) fn open(
    engine: &Engine,
    data: &Path,
    policy: Policy,
    news: impl Fn(OsString) + Send + Sync + 'static,
) -> Result<Arc<Docker>, String> {
    open_pulling(engine, data, policy, (PullPolicy::Never, None), news)
}

fn open_pulling(
    engine: &Engine,
    data: &Path,
    policy: Policy,
    (pull, image_cache): (PullPolicy, Option<u64>),
    news: impl Fn(OsString) + Send + Sync + 'static,
) -> Result<Arc<Docker>, String> {
    let exe = std::env::current_exe().unwrap();
    let config = DockerConfig {
        host: engine.host.clone(),
        pull,
        image_cache,
        policy,
        coordinators: Vec::new(),
    };
    let opened = Docker::open(config, &exe, data, Arc::new(news));
    engine
        .pool
        .block_on(opened)
        .map_err(|error| error.to_string())
}

/// An attempt that has ended.
pub(crate) struct Ran {
    pub(crate) dir: AttemptDir,
    pub(crate) exit: Exit,
    pub(crate) records: Vec<Record>,
}

impl Ran {
    pub(crate) fn bytes(&self, stream: Stream) -> Vec<u8> {
        joined(&self.records, stream)
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.bytes(Stream::Stdout)).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.bytes(Stream::Stderr)).unwrap()
    }

    pub(crate) fn status(&self) -> String {
        String::from_utf8(self.bytes(Stream::Status)).unwrap()
    }
}

fn joined(records: &[Record], stream: Stream) -> Vec<u8> {
    let of_stream = records.iter().filter(|record| record.stream == stream);
    of_stream
        .flat_map(|record| record.data.iter().copied())
        .collect()
}

fn read_all(tail: &mut FeedTail) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let batch = tail.read(1 << 20).unwrap();
        if batch.is_empty() {
            return records;
        }
        records.extend(feed::frames(&batch.frames).map(|frame| frame.unwrap().to_record()));
    }
}

/// A script for whatever shell there is; of the machine's own variables only the path, and that not in a container.
pub(crate) fn script(script: &str) -> Program {
    Program {
        script: script.to_owned(),
        env: Vec::new(),
        pass_env: vec!["PATH".to_owned()],
        grace_ms: 60_000,
        want_namespace: true,
        ..Program::default()
    }
}
