//! What the machine and its devices do, looked at once for everybody: shims see the devices' readings on a board, and coordinators are told how
//! busy the machine is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use contract::link::{DeviceUsage, Usage};
use disk::space_of;
use feed::Reading;
use runtime::devices::Inventory;
use runtime::docker::Docker;
use runtime::measure::{Board, Machine, ReadingSource, Readings};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use worker::Input;

use super::activity::Activities;
use super::engine::{Engine, now_us};
use super::stock::Stock;

/// The board's name in the data directory.
const BOARD: &str = "device-readings";
/// How often coordinators are told at most.
const TELL: Duration = Duration::from_secs(2);

/// Where the board is of the worker in this directory.
pub(super) fn board(data_dir: &std::path::Path) -> PathBuf {
    data_dir.join(BOARD)
}

/// Where readings come from: what was said, or the driver, where it tells of the devices at all.
fn source(said: Option<PathBuf>, inventory: &Inventory) -> Option<ReadingSource> {
    match (said, inventory) {
        (Some(path), _) => Some(ReadingSource::From(path)),
        (None, Inventory::Driver) => Some(ReadingSource::Driver),
        (None, Inventory::Declared(_) | Inventory::File(_)) => None,
    }
}

/// What the worker keeps on its disk, and what it is bringing there.
pub(super) struct Holdings {
    pub(super) blobs: Stock,
    /// None where steps are plain processes.
    pub(super) images: Option<Arc<Docker>>,
    pub(super) activities: Activities,
}

/// What a look needs, and keeps.
struct Looks {
    data_dir: PathBuf,
    holdings: Holdings,
    machine: Machine,
    readings: Option<Readings>,
    board: Option<Board>,
    /// The last look at the devices failed: that is said once.
    failed: bool,
}

impl Looks {
    /// Blocks for as long as a driver takes.
    fn look(&mut self) -> Usage {
        let readings = match self.readings.as_mut().map(Readings::read) {
            None => Vec::new(),
            Some(Ok(readings)) => {
                self.failed = false;
                readings
            }
            Some(Err(error)) => {
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::warn!("how busy the devices are is not known now: {error}");
                }
                Vec::new()
            }
        };
        if let Some(board) = &self.board
            && !readings.is_empty()
            && let Err(error) = board.show(now_us(), &readings)
        {
            tracing::debug!("the readings of devices cannot be shown: {error}");
        }
        let machine = self.machine.look();
        let space = space_of(&self.data_dir).ok();
        Usage {
            cpu_millis: machine.cpu_millis,
            memory_bytes: machine.memory_bytes,
            disk_available_bytes: space.map(|space| space.available_bytes),
            disk_total_bytes: space.map(|space| space.total_bytes),
            devices: readings.into_iter().map(device).collect(),
            image_bytes: self
                .holdings
                .images
                .as_ref()
                .map(|docker| docker.fetched_image_bytes()),
            activities: self.holdings.activities.now(),
            blob_bytes: self.holdings.blobs.count().map(|counted| counted.bytes),
        }
    }
}

fn device(reading: Reading) -> DeviceUsage {
    DeviceUsage {
        device_id: reading.device_id,
        utilization_percent: reading.utilization_percent,
        memory_bytes: reading.memory_bytes,
        temperature_celsius: reading.temperature_celsius,
        power_milliwatts: reading.power_milliwatts,
    }
}

/// Looks every `every`, for as long as the worker runs.
pub(super) async fn watch(
    (data_dir, holdings): (PathBuf, Holdings),
    every: Duration,
    (said, inventory): (Option<PathBuf>, Inventory),
    engine: Engine,
    stopping: CancellationToken,
) {
    let board = Board::open(&board(&data_dir));
    let mut looks = Looks {
        machine: Machine::default(),
        readings: source(said, &inventory).map(|source| Readings::new(source, every)),
        board: board
            .inspect_err(|error| tracing::warn!("{BOARD}: {error}"))
            .ok(),
        data_dir,
        holdings,
        failed: false,
    };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Option<Instant> = None;
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let looked = tokio::task::spawn_blocking(move || {
            let usage = looks.look();
            (looks, usage)
        });
        let Ok((kept, usage)) = looked.await else {
            return;
        };
        looks = kept;
        if told.is_none_or(|told| told.elapsed() >= TELL) && usage.cpu_millis.is_some() {
            told = Some(Instant::now());
            engine.input(Input::Usage(usage));
        }
    }
}
