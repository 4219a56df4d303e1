//! What devices' drivers tell of them, and the board on which the daemon shows that to shims.
//!
//! A shim may be in a container, where no driver can be asked, and outlives the daemon; the daemon asks once for all attempts of the machine.
//! So the newest readings stand in one file that the daemon writes over and over, and shims have open. It holds one frame
//! of a feed, whose checksum tells a torn one, and whose time tells an old one: a daemon that is away leaves samples without devices, not
//! samples that lie.

use crate::devices::{DeviceError, output_of};
use feed::{Reading, Stream};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the driver is asked.
const QUERY: &str = "--query-gpu=uuid,utilization.gpu,memory.used,temperature.gpu,power.draw";
/// A driver's program that ended is not started again sooner than this.
const AGAIN: Duration = Duration::from_secs(10);
/// A program that gives readings and has not ended after this long hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// Readings are old after so many spans.
const SPANS: u32 = 3;
/// But never sooner than this.
const LEAST_AGE: Duration = Duration::from_secs(5);
/// Most bytes of a board: some hundreds of devices.
const BOARD_BYTES: usize = feed::MAX_FRAME_LEN;

/// Where readings of devices come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReadingSource {
    /// From the driver, where there is one.
    #[default]
    Driver,
    /// From this file, with a line for each device: its id, busy percent, MiB of memory, degrees Celsius, watts, with commas between;
    /// what is no number is not known. One that can be run is run, and what it prints is read.
    From(PathBuf),
}

/// Asks a source again and again.
#[derive(Debug)]
pub struct Readings {
    source: ReadingSource,
    span: Duration,
    driver: Option<Driver>,
    started: Option<Instant>,
}

impl Readings {
    /// Asks `source` every `span`. Nothing is asked yet.
    pub fn new(source: ReadingSource, span: Duration) -> Readings {
        Readings {
            source,
            span,
            driver: None,
            started: None,
        }
    }

    /// The newest readings; of devices that tell nothing by now, none. May block for some seconds.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn read(&mut self) -> Result<Vec<Reading>, DeviceError> {
        match &self.source {
            ReadingSource::From(path) => read_from(path),
            ReadingSource::Driver => {
                let runs = self.driver.as_mut().is_some_and(Driver::runs);
                let may_start = self.started.is_none_or(|at| at.elapsed() >= AGAIN);
                if !runs && may_start {
                    self.started = Some(Instant::now());
                    self.driver = Driver::start("nvidia-smi".as_ref(), self.span)?;
                }
                let driver = self.driver.as_ref();
                Ok(driver.map_or_else(Vec::new, |driver| driver.newest(max_age(self.span))))
            }
        }
    }
}

fn max_age(span: Duration) -> Duration {
    (span * SPANS).max(LEAST_AGE)
}

fn read_from(path: &Path) -> Result<Vec<Reading>, DeviceError> {
    let failed = |error| DeviceError::File {
        path: path.to_path_buf(),
        error,
    };
    let runs = std::fs::metadata(path).map_err(failed)?;
    let text = match runs.is_file() && runs.permissions().mode() & 0o111 != 0 {
        true => output_of(path, &[], PATIENCE)?.unwrap_or_default(),
        false => std::fs::read_to_string(path).map_err(failed)?,
    };
    Ok(text.lines().filter_map(reading).collect())
}

/// One line of readings.
fn reading(line: &str) -> Option<Reading> {
    let mut fields = line.split(',').map(str::trim);
    let device_id = fields
        .next()
        .filter(|id| !id.is_empty() && !id.starts_with('#'))?;
    let mut number = || fields.next()?.parse::<f64>().ok().filter(|n| n.is_finite());
    let (busy, mib, celsius, watts) = (number(), number(), number(), number());
    Some(Reading {
        device_id: device_id.to_owned(),
        utilization_percent: busy.map(|n| n.round() as u32),
        memory_bytes: mib.map(|n| (n * 1_048_576.0) as u64),
        temperature_celsius: celsius.map(|n| n.round() as i32),
        power_milliwatts: watts.map(|n| (n * 1_000.0).round() as u64),
    })
}

/// The driver's own program, which goes on telling: to start it each time would cost more than what it tells.
#[derive(Debug)]
struct Driver {
    child: Child,
    newest: Arc<Mutex<BTreeMap<String, (Reading, Instant)>>>,
}

impl Driver {
    /// Starts it; none where there is no such program. One whose daemon was killed ends when it has to print the next time.
    fn start(program: &Path, span: Duration) -> Result<Option<Driver>, DeviceError> {
        let failed = |error: io::Error| DeviceError::Driver(format!("nvidia-smi: {error}"));
        let mut command = Command::new(program);
        command
            .args([QUERY, "--format=csv,noheader,nounits"])
            .arg(format!("--loop-ms={}", span.as_millis()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let newest = Arc::<Mutex<BTreeMap<_, _>>>::default();
        let kept = newest.clone();
        if let Some(stdout) = child.stdout.take() {
            std::thread::Builder::new()
                .name("device-readings".to_owned())
                .spawn(move || {
                    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                        if let Some(reading) = reading(&line) {
                            let id = reading.device_id.clone();
                            lock(&kept).insert(id, (reading, Instant::now()));
                        }
                    }
                })
                .map_err(failed)?;
        }
        Ok(Some(Driver { child, newest }))
    }

    fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn newest(&self, max_age: Duration) -> Vec<Reading> {
        let newest = lock(&self.newest);
        let fresh = newest.values().filter(|(_, at)| at.elapsed() <= max_age);
        fresh.map(|(reading, _)| reading.clone()).collect()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every change is a single insertion, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The daemon's side of the board.
#[derive(Debug)]
pub struct Board(File);

impl Board {
    /// Makes the board, or goes on with the one that shims have open.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: &Path) -> io::Result<Board> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        Ok(Board(options.open(path)?))
    }

    /// Shows what was read at `now_us`, Unix time in microseconds.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn show(&self, now_us: u64, readings: &[Reading]) -> io::Result<()> {
        let data = serde_json::to_vec(readings)?;
        if data.len() > feed::MAX_RECORD_LEN {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut frame = Vec::new();
        feed::encode_parts(Stream::Metric, false, now_us, &data, &mut frame);
        self.0.write_all_at(&frame, 0)
    }
}

/// The shim's side: what stands there of these devices, unless it is old at `now_us`.
pub(crate) fn look(board: &File, span: Duration, now_us: u64, ids: &[String]) -> Vec<Reading> {
    let mut bytes = vec![0; BOARD_BYTES];
    let Ok(filled) = board.read_at(&mut bytes, 0) else {
        return Vec::new();
    };
    let Some(Ok(frame)) = feed::frames(&bytes[..filled]).next() else {
        return Vec::new();
    };
    if now_us.abs_diff(frame.time_us) > max_age(span).as_micros() as u64 {
        return Vec::new();
    }
    let all: Vec<Reading> = serde_json::from_slice(frame.data).unwrap_or_default();
    let own = all.into_iter().filter(|one| ids.contains(&one.device_id));
    own.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(1);

    #[test]
    fn lines_are_read_as_far_as_they_are_numbers() {
        let full = Reading {
            device_id: "GPU-aa".into(),
            utilization_percent: Some(97),
            memory_bytes: Some(1_024 << 20),
            temperature_celsius: Some(61),
            power_milliwatts: Some(250_130),
        };
        assert_eq!(reading("GPU-aa, 97, 1024, 61, 250.13"), Some(full));
        let part = Reading {
            device_id: "MIG-1".into(),
            memory_bytes: Some(0),
            ..Reading::default()
        };
        assert_eq!(reading("MIG-1, [N/A], 0, [Not Supported]"), Some(part));
        assert_eq!(reading("# of this machine"), None);
        assert_eq!(reading(""), None);
    }

    #[test]
    fn a_board_shows_a_shim_its_own_devices_while_they_are_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("board");
        let board = Board::open(&path).unwrap();
        let file = File::open(&path).unwrap();
        let own = ["b".to_owned()];
        assert_eq!(look(&file, SPAN, 0, &own), [], "nothing stands there yet");
        let readings = ["a,1", "b,2", "c,3"].map(|line| reading(line).unwrap());
        board.show(7_000_000, &readings).unwrap();
        assert_eq!(look(&file, SPAN, 9_000_000, &own), readings[1..2]);
        assert_eq!(look(&file, SPAN, 13_000_000, &own), [], "it is old");
        // What is shorter is shown where something longer stood.
        let board = Board::open(&path).unwrap();
        board.show(20_000_000, &readings[1..2]).unwrap();
        assert_eq!(look(&file, SPAN, 20_000_000, &own), readings[1..2]);
        std::fs::write(&path, b"torn").unwrap();
        assert_eq!(look(&file, SPAN, 20_000_000, &own), []);
    }

    fn script(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("tells");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_source_is_a_file_or_what_a_program_prints() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("readings");
        let mut readings = Readings::new(ReadingSource::From(path.clone()), SPAN);
        assert!(readings.read().is_err());
        std::fs::write(&path, "gpu-a, 5\n").unwrap();
        assert_eq!(readings.read().unwrap()[0].utilization_percent, Some(5));
        let path = script(dir.path(), "echo gpu-a, 6");
        let mut readings = Readings::new(ReadingSource::From(path), SPAN);
        assert_eq!(readings.read().unwrap()[0].utilization_percent, Some(6));
    }

    #[test]
    fn a_driver_goes_on_telling_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = script(dir.path(), "echo \"$3, 1\"; echo GPU-b, 2; exec sleep 600");
        let mut driver = Driver::start(&path, SPAN).unwrap().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while driver.newest(LEAST_AGE).len() < 2 {
            assert!(Instant::now() < until, "it says nothing");
            std::thread::yield_now();
        }
        let told = driver.newest(LEAST_AGE);
        assert_eq!(
            (told[0].device_id.as_str(), told[1].utilization_percent),
            ("--loop-ms=1000", Some(2))
        );
        assert!(driver.runs());
        assert!(
            Driver::start(Path::new("/nonexistent/nvidia-smi"), SPAN)
                .unwrap()
                .is_none()
        );
    }
}
