//! What the engine is told of a container: all of it in one place, so that it can be read at once what a step gets.

use crate::attempt::AttemptDir;
use crate::docker::carried::Carried;
use crate::docker::policy::{Grant, Network, Policy, Profile};
use crate::docker::{Container, NETWORK};
use crate::shim::contained;
use bollard::models::{
    ContainerCreateBody, DeviceRequest, HealthConfig, HostConfig, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use rustix::process::Resource;
use std::collections::HashMap;
use std::path::Path;

/// Labels that every container of ours carries.
pub(super) mod label {
    /// The data directory of the worker whose it is: absolute.
    pub(in crate::docker) const OWNER: &str = "io.shoal.data-dir";
    /// Name of the attempt's directory: execution, attempt and index, which is its fence.
    pub(in crate::docker) const FENCE: &str = "io.shoal.fence";
    /// UUID of the execution.
    pub(in crate::docker) const EXECUTION: &str = "io.shoal.execution";
    /// Number of the attempt.
    pub(in crate::docker) const ATTEMPT: &str = "io.shoal.attempt";
    /// UUID of the cluster.
    pub(in crate::docker) const CLUSTER: &str = "io.shoal.cluster";
    /// Name of the worker.
    pub(in crate::docker) const WORKER: &str = "io.shoal.worker";
    /// UUIDs of the GPUs that it was given, with commas between.
    pub(in crate::docker) const GPUS: &str = "io.shoal.gpus";
}

/// Capabilities that package managers and servers which drop their rights need.
const STANDARD_CAPABILITIES: [&str; 8] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SYS_CHROOT",
];
/// Who a strict container runs as, where the image names nobody else than root: nobody.
const NOBODY: &str = "65534:65534";
/// Bytes of `/tmp` in a strict container.
const STRICT_TMP: u64 = 1 << 30;
/// Seconds that the engine leaves the shim when it goes down: the program's own grace is the shim's matter.
const STOP_SECONDS: i64 = 10;

/// The name of an attempt's container.
pub(super) fn name(attempt: &str) -> String {
    format!("shoal-{attempt}")
}

/// The user that a container runs as; empty means the image's own, which is root.
pub(super) fn user(profile: Profile, image_user: &str) -> String {
    let is_root = matches!(image_user.split(':').next(), None | Some("" | "0" | "root"));
    match profile {
        Profile::Strict if is_root => NOBODY.to_owned(),
        _ => image_user.to_owned(),
    }
}

/// What to create.
pub(super) fn body(
    dir: &AttemptDir,
    container: &Container,
    policy: &Policy,
    carried: &Carried,
    owner: &Path,
    devices: Vec<DeviceRequest>,
) -> ContainerCreateBody {
    let grant = &container.grant;
    let strict = policy.profile == Profile::Strict;
    ContainerCreateBody {
        image: Some(container.image.id.clone()),
        user: Some(user(policy.profile, &container.image.user)),
        entrypoint: Some(carried.entrypoint.clone()),
        cmd: Some(Vec::new()),
        // The program gets the image's variables from the shim. The shim itself must not be led by them (`LD_PRELOAD`, say).
        env: Some(
            container
                .image
                .env
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
        ),
        working_dir: Some("/".to_owned()),
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        labels: Some(labels(dir, container, owner)),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: Some(STOP_SECONDS),
        attach_stdin: Some(false),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        host_config: Some(HostConfig {
            memory: Some(grant.memory as i64),
            memory_swap: Some(grant.memory as i64),
            nano_cpus: (grant.cpus > 0.0).then_some((grant.cpus * 1e9) as i64),
            cpuset_cpus: (!grant.cpuset.is_empty()).then(|| grant.cpuset.clone()),
            pids_limit: Some(i64::from(policy.pids)),
            shm_size: Some(grant.shm as i64),
            ulimits: Some(vec![open_files(), limit("core", 0, 0)]),
            log_config: Some(HostConfigLogConfig {
                typ: Some("none".to_owned()),
                config: None,
            }),
            network_mode: Some(network(grant)),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            auto_remove: Some(false),
            privileged: Some(false),
            mounts: Some(mounts(dir, container, carried)),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: match strict {
                true => None,
                false => Some(STANDARD_CAPABILITIES.map(str::to_owned).to_vec()),
            },
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(strict),
            tmpfs: strict.then(|| {
                let options = format!("rw,nosuid,nodev,size={STRICT_TMP},mode=1777");
                HashMap::from([("/tmp".to_owned(), options)])
            }),
            init: Some(false),
            runtime: policy.oci_runtime.clone(),
            device_requests: (!devices.is_empty()).then_some(devices),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn labels(dir: &AttemptDir, container: &Container, owner: &Path) -> HashMap<String, String> {
    let fence = dir.name().to_string_lossy().into_owned();
    let mut parts = fence.splitn(3, '.');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (execution, attempt) = (part(), part());
    let owner = owner.display().to_string();
    let devices: Vec<&str> = container.devices.iter().map(|one| &*one.id).collect();
    let all = [
        (label::OWNER, owner),
        (label::EXECUTION, execution),
        (label::ATTEMPT, attempt),
        (label::FENCE, fence),
        (label::CLUSTER, container.cluster.clone()),
        (label::WORKER, container.worker.clone()),
        (label::GPUS, devices.join(",")),
    ];
    let all = all.into_iter().filter(|(_, value)| !value.is_empty());
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn limit(name: &str, soft: i64, hard: i64) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(soft),
        hard: Some(hard),
    }
}

/// Open files: many, but no more than this process could have, which the engine may not be able to exceed either.
fn open_files() -> ResourcesUlimits {
    const SOFT: u64 = 65_536;
    const HARD: u64 = 1_048_576;
    let own = rustix::process::getrlimit(Resource::Nofile).maximum;
    let hard = own.unwrap_or(HARD).min(HARD);
    limit("nofile", SOFT.min(hard) as i64, hard as i64)
}

fn network(grant: &Grant) -> String {
    match grant.network {
        Network::Bridge => NETWORK.to_owned(),
        Network::None => "none".to_owned(),
        Network::Host => "host".to_owned(),
    }
}

/// Each of the program's directories by itself: what is a mount cannot be replaced by a link to elsewhere.
fn mounts(dir: &AttemptDir, container: &Container, carried: &Carried) -> Vec<Mount> {
    let mut all = vec![
        bind(&carried.dir, contained::HOME, true),
        bind(&dir.launch(), contained::LAUNCH, true),
        bind(&dir.repository(), "/valohai/repository", false),
        bind(&dir.inputs(), "/valohai/inputs", false),
        bind(&dir.outputs(), "/valohai/outputs", false),
        bind(&dir.config(), "/valohai/config", true),
    ];
    let asked = container.grant.mounts.iter();
    all.extend(asked.map(|mount| {
        bind(
            Path::new(&mount.source),
            &mount.destination,
            mount.read_only,
        )
    }));
    all
}

fn bind(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::PRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}
