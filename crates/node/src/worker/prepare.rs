//! Putting everything in place that a program needs: its source tree, its inputs as private writable copies, its
//! configuration.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use blob::Digest;
use contract::link::{AssignedFile, AssignedInput, Assignment, ResolvedFile, ResolvedInput};
use disk::blobs::Blobs;
use runtime::docker::{Container, Network};
use runtime::{Folder, Metrics, Program, View, inputs, workspace};
use worker::placement::{self, Naming, Source};
use worker::program::{self, Layout, Machine};
use worker::{PrepareError, Prepared};

use super::activity::{Activities, Activity, Part};
use super::attempts::{Attempt, CONFIG_FILES, Ready};
use super::cache::BlobCache;
use super::checksum::Checksums;
use super::container::{Containers, check_process};
use super::engine::now_us;
use super::fetch::Fetcher;
use super::wildcard;

/// Variables of the daemon's own environment that programs get.
const PASSED_ON: [&str; 10] = [
    "PATH",
    "HOME",
    "SHELL",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
];

/// Variables that the engine gives a container.
const PASSED_IN_CONTAINERS: [&str; 3] = ["PATH", "HOME", "HOSTNAME"];

/// What preparing needs beside the attempt.
pub(super) struct Kitchen {
    pub(super) blobs: Arc<Blobs>,
    /// What of them may go.
    pub(super) cache: Arc<BlobCache>,
    pub(super) fetcher: Fetcher,
    pub(super) machine: Machine,
    pub(super) view: View,
    pub(super) measured: Measured,
    /// Most bytes that are kept of what an attempt prints; none means all.
    pub(super) log_limit: Option<u64>,
    /// What people are told of what is being done.
    pub(super) activities: Activities,
    /// None where steps are plain processes.
    pub(super) containers: Option<Containers>,
}

impl Kitchen {
    /// Sees to it that a blob is here, whole, and stays: others will rely on it.
    pub(super) fn keep(
        &self,
        digest: &Digest,
        size: u64,
        locations: &[String],
    ) -> Result<(), String> {
        let _lease = self.cache.lease(vec![*digest]);
        let was_here = self.blobs.has(digest);
        let fetched = self.fetcher.ensure(digest, size, locations);
        fetched.map_err(|missing| missing.message)?;
        // What comes is verified as it does. What was here may have been damaged since; then it is set aside, and fetched the next time.
        if was_here {
            let verified = self.blobs.verify(digest);
            verified.map_err(|error| error.to_string())?;
        }
        match self.blobs.keep(digest) {
            Ok(true) => Ok(()),
            Ok(false) => Err("it was here and is not any more".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// How attempts are measured.
pub(super) struct Measured {
    /// How often; zero means never.
    pub(super) every: Duration,
    /// Where readings of devices are seen.
    pub(super) board: PathBuf,
}

impl Measured {
    fn of(&self, attempt: &Attempt, container: Option<&Container>) -> Option<Metrics> {
        let devices = attempt.assignment.devices.iter();
        (!self.every.is_zero()).then(|| Metrics {
            span_ms: self.every.as_millis() as u64,
            own_network: container.is_some_and(|one| one.grant.network == Network::Bridge),
            devices: devices.map(|device| device.device_id.clone()).collect(),
            board: self.board.clone(),
        })
    }
}

/// Prepares an attempt; blocks until all is in place.
pub(super) fn prepare(kitchen: &Kitchen, attempt: &Attempt) -> Result<Ready, PrepareError> {
    let coming = match &kitchen.containers {
        Some(containers) => {
            let activity = kitchen.activities.of(attempt.fence, Part::Image);
            Some(containers.begin(attempt, activity)?)
        }
        None => check_process(&attempt.assignment).map(|()| None)?,
    };
    let mut notices = Vec::new();
    if coming.is_none() {
        notices.push(notice_of_image(&attempt.assignment.image));
    }
    let activity = kitchen.activities.of(attempt.fence, Part::Files);
    let lease = kitchen.cache.lease(needed(&attempt.assignment));
    source(kitchen, attempt, &activity)?;
    let mut resolved = Vec::new();
    let mut found = Vec::new();
    for input in &attempt.assignment.inputs {
        if attempt.is_abandoned() {
            return Err(PrepareError::Fetch {
                message: "the attempt was given up".into(),
                retryable: true,
            });
        }
        activity.says(&format!("fetching the input {}", input.name));
        let (wire, files) = self::input(kitchen, attempt, input, &mut notices)?;
        resolved.push(wire);
        found.push(files);
    }
    drop(lease);
    drop(activity);
    let layout = Layout::below(&kitchen.view.base(&attempt.dir.root()));
    let files = program::build(
        attempt.fence,
        &attempt.assignment,
        &found,
        &layout,
        &kitchen.machine,
    );
    // What is not written anew would be an earlier attempt's.
    debug_assert!(
        CONFIG_FILES
            .iter()
            .all(|known| files.config.iter().any(|(name, _)| name == known))
    );
    let config = attempt.dir.config();
    let folder = Folder::open(&config).map_err(|error| failed(&config, &error))?;
    for (name, bytes) in &files.config {
        folder
            .overwrite(name, bytes, 0o644)
            .map_err(|error| failed(&config.join(name), &error))?;
    }
    let limit = |ms: u64| (ms > 0).then_some(ms);
    // Fetched while all this went on.
    let container = coming.map(|coming| coming.finish(attempt)).transpose()?;
    let mut image_digest = String::new();
    let (mut env, mut passed) = (Vec::new(), PASSED_ON.as_slice());
    if let Some(Container { image, .. }) = &container {
        notices.push(Some(format!("image {}, {}", image.name, image.digest)));
        image_digest.clone_from(&image.digest);
        env.clone_from(&image.env);
        passed = &PASSED_IN_CONTAINERS;
    }
    env.extend(files.environment);
    let program = Program {
        script: files.script,
        env,
        pass_env: passed.iter().map(|&name| name.to_owned()).collect(),
        time_limit_ms: limit(attempt.assignment.time_limit_ms),
        no_output_timeout_ms: limit(attempt.assignment.no_output_timeout_ms),
        grace_ms: attempt.assignment.stop_grace_ms,
        want_namespace: kitchen.view == View::Namespace,
        notices: notices.into_iter().flatten().collect(),
        metrics: kitchen.measured.of(attempt, container.as_ref()),
        log_limit_bytes: kitchen.log_limit,
        ..Program::default()
    };
    Ok(Ready {
        program,
        container,
        prepared: Prepared {
            time_us: now_us(),
            inputs: resolved,
            image_digest,
        },
    })
}

/// The blobs that are to be here while an attempt is prepared. What is no digest is found out when it is its turn.
fn needed(assignment: &Assignment) -> Vec<Digest> {
    let source = assignment.source.iter().map(|source| &source.digest);
    let inputs = assignment.inputs.iter().filter(|input| !input.on_demand);
    let files = inputs.flat_map(|input| input.files.iter().map(|file| &file.digest));
    let digests = source.chain(files).filter_map(|bytes| digest(bytes).ok());
    digests.collect()
}

/// This runtime runs plain processes: an image is named in the file, but nothing comes of it.
fn notice_of_image(image: &str) -> Option<String> {
    (!image.is_empty()).then(|| format!("the image {image} is not used: this worker runs steps as plain processes of its machine"))
}

/// Unpacks the source tree into the repository.
fn source(kitchen: &Kitchen, attempt: &Attempt, activity: &Activity) -> Result<(), PrepareError> {
    let Some(source) = attempt
        .assignment
        .source
        .as_ref()
        .filter(|source| !source.digest.is_empty())
    else {
        return Ok(());
    };
    activity.says("fetching the source tree");
    let digest = digest(&source.digest)?;
    let size = source.size_bytes as u64;
    let locations = &attempt.assignment.source_locations;
    kitchen
        .cache
        .making_room(size, Missing::lacks_room, || {
            kitchen.fetcher.ensure(&digest, size, locations)
        })
        .map_err(|error| error.of("the source tree"))?;
    let archive = kitchen.blobs.path(&digest);
    let archive = fs::File::open(&archive).map_err(|error| failed(&archive, &error))?;
    let limits = workspace::TreeLimits::default();
    workspace::unpack(
        io::BufReader::new(archive),
        &attempt.dir.repository(),
        limits,
    )
    .map(drop)
    .map_err(|error| PrepareError::Fetch {
        message: format!("the source tree cannot be unpacked: {error}"),
        retryable: false,
    })
}

/// One file that an input resolves to, before it has its name.
struct Found<'a> {
    uri: String,
    pattern: &'a str,
    file: &'a AssignedFile,
}

/// Puts an input's files in place. What programs are told of it, and what is recorded, side by side.
fn input(
    kitchen: &Kitchen,
    attempt: &Attempt,
    input: &AssignedInput,
    notices: &mut Vec<Option<String>>,
) -> Result<(ResolvedInput, program::Input), PrepareError> {
    let found = expand(input)?;
    let sources: Vec<Source<'_>> = found
        .iter()
        .map(|found| Source {
            uri: &found.uri,
            stored_name: &found.file.file_name,
            pattern: found.pattern,
        })
        .collect();
    let naming = Naming {
        keep_directories: &input.keep_directories,
        file_name: &input.file_name,
    };
    let placed = placement::place(naming, &sources).map_err(|error| fault(input, &error))?;
    notices.extend(
        placed
            .notices
            .into_iter()
            .map(|notice| Some(format!("input {}: {notice}", input.name))),
    );
    let mut resolved = ResolvedInput {
        name: input.name.clone(),
        files: Vec::new(),
    };
    let mut told = program::Input {
        name: input.name.clone(),
        files: Vec::new(),
        on_demand: input.on_demand,
    };
    for (index, name) in placed.files {
        let found = &found[index];
        let sums = if input.on_demand {
            None
        } else {
            let path = inputs::place(&attempt.dir.inputs(), &input.name, name.as_str())
                .map_err(|error| fault(input, &error))?;
            let brought =
                kitchen
                    .cache
                    .making_room(found.file.size_bytes, Missing::lacks_room, || {
                        bring(kitchen, found, &path)
                    });
            Some(
                brought
                    .map_err(|error| error.of(&format!("input {}: {}", input.name, found.uri)))?,
            )
        };
        resolved.files.push(ResolvedFile {
            file_name: name.as_str().to_owned(),
            uri: found.uri.clone(),
            digest: sums.as_ref().map_or_else(
                || found.file.digest.clone(),
                |sums| sums.digest.as_bytes().to_vec().into(),
            ),
            size_bytes: sums
                .as_ref()
                .map_or(found.file.size_bytes, |sums| sums.size),
        });
        told.files.push(program::InputFile {
            name: name.as_str().to_owned(),
            uri: found.uri.clone(),
            size: sums
                .as_ref()
                .map(|sums| sums.size)
                .or(Some(found.file.size_bytes).filter(|size| *size > 0)),
            checksums: sums.map(Checksums::by_name).unwrap_or_default(),
            properties_json: found.file.properties_json.clone(),
        });
    }
    Ok((resolved, told))
}

/// The files an input resolves to: wildcards of `file://` addresses are matched against this machine's files.
fn expand(input: &AssignedInput) -> Result<Vec<Found<'_>>, PrepareError> {
    let mut found = Vec::new();
    for file in &input.files {
        match file.uri.strip_prefix("file://") {
            Some(path) if path.contains('*') => {
                let matches = wildcard::expand(Path::new(path))
                    .map_err(|error| fault(input, &format!("{}: {error}", file.uri)))?;
                if matches.is_empty() {
                    return Err(fault(input, &format!("{} matches no file", file.uri)));
                }
                found.extend(matches.into_iter().map(|path| Found {
                    uri: format!("file://{}", path.display()),
                    pattern: &file.uri,
                    file,
                }));
            }
            _ => found.push(Found {
                uri: file.uri.clone(),
                pattern: "",
                file,
            }),
        }
    }
    Ok(found)
}

/// Why a file did not come.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) message: String,
    pub(super) retryable: bool,
    pub(crate) disk_full: bool,
}

impl Missing {
    pub(super) fn new(message: impl Into<String>, retryable: bool) -> Self {
        Self {
            message: message.into(),
            retryable,
            disk_full: false,
        }
    }

    /// Whether it did not come because there was no room for it.
    fn lacks_room(&self) -> bool {
        self.disk_full
    }

    /// Says of what it is.
    fn of(self, what: &str) -> PrepareError {
        let message = format!("{what}: {}", self.message);
        if self.disk_full {
            PrepareError::DiskFull(message)
        } else {
            PrepareError::Fetch {
                message,
                retryable: self.retryable,
            }
        }
    }
}

impl From<disk::DiskError> for Missing {
    fn from(error: disk::DiskError) -> Self {
        Self {
            disk_full: error.is_full(),
            ..Self::new(error.to_string(), true)
        }
    }
}

/// Brings one file to its place.
fn bring(kitchen: &Kitchen, found: &Found<'_>, to: &Path) -> Result<Checksums, Missing> {
    if !found.file.digest.is_empty() {
        let digest = digest(&found.file.digest)
            .map_err(|_| Missing::new("its digest is malformed", false))?;
        kitchen
            .fetcher
            .ensure(&digest, found.file.size_bytes, &found.file.locations)?;
        if !kitchen.blobs.copy_out(&digest, to)? {
            // Set aside as damaged by somebody else a moment ago.
            return Err(Missing::new("it was found damaged here", true));
        }
        // The copy was verified against its digest; programs that ask for other checksums are rare and can make them.
        return Ok(Checksums::known(digest, found.file.size_bytes));
    }
    if let Some(path) = found.uri.strip_prefix("file://") {
        return copy(Path::new(path), to);
    }
    if found.uri.starts_with("http://") || found.uri.starts_with("https://") {
        return kitchen.fetcher.download(&found.uri, to);
    }
    Err(Missing::new(
        "this address cannot be fetched; datum://, file://, http:// and https:// can",
        false,
    ))
}

/// Copies a file of this machine, hashing what passes.
fn copy(from: &Path, to: &Path) -> Result<Checksums, Missing> {
    let unreadable =
        |error: io::Error| Missing::new(format!("cannot read {}: {error}", from.display()), false);
    if !from.is_absolute() {
        return Err(Missing::new(
            "a file:// address has three slashes and an absolute path",
            false,
        ));
    }
    let mut reader = fs::File::open(from).map_err(unreadable)?;
    if !reader.metadata().map_err(unreadable)?.is_file() {
        return Err(Missing::new(
            format!("{} is not a regular file", from.display()),
            false,
        ));
    }
    let mut writer = fs::File::create(to).map_err(|error| unwritable(to, &error))?;
    let mut sums = Checksums::hasher();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = reader.read(&mut buffer).map_err(unreadable)?;
        if length == 0 {
            return Ok(sums.finish());
        }
        sums.update(&buffer[..length]);
        io::Write::write_all(&mut writer, &buffer[..length])
            .map_err(|error| unwritable(to, &error))?;
    }
}

/// Whether there is no room on the disk.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

pub(super) fn unwritable(to: &Path, error: &io::Error) -> Missing {
    Missing {
        disk_full: is_full(error),
        ..Missing::new(format!("cannot write {}: {error}", to.display()), true)
    }
}

fn digest(bytes: &[u8]) -> Result<Digest, PrepareError> {
    <[u8; 32]>::try_from(bytes)
        .map(Digest)
        .map_err(|_| PrepareError::Fetch {
            message: "a digest is malformed".into(),
            retryable: false,
        })
}

fn fault(input: &AssignedInput, error: &dyn std::fmt::Display) -> PrepareError {
    PrepareError::Fetch {
        message: format!("input {}: {error}", input.name),
        retryable: false,
    }
}

fn failed(path: &Path, error: &io::Error) -> PrepareError {
    unwritable(path, error).of("preparing")
}
