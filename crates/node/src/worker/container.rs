//! What the container of an attempt is made of: what the step asks for, what the worker's policy grants, and the image, which comes
//! while the inputs do.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use contract::link::Assignment;
use runtime::docker::{Ask, AskedMount, Container, Docker, Grant, Image, ImageError};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use worker::PrepareError;

use super::activity::Activity;
use super::attempts::Attempt;

/// How often a fetch looks whether anybody still waits for it.
const LOOK: Duration = Duration::from_millis(200);
/// Variables by which programs written for Valohai say what their container should be.
const NETWORK: &str = "VH_DOCKER_NETWORK";
const CPU_LIMIT: &str = "VH_CPU_LIMIT";

/// A worker's containers.
pub(super) struct Containers {
    pub(super) docker: Arc<Docker>,
    pub(super) pool: Handle,
    /// Name of the worker, for the labels.
    pub(super) worker: String,
    /// UUID of the cluster, for the labels; empty until a coordinator told it. An attempt has come from one that did.
    pub(super) cluster: RwLock<String>,
}

/// A container whose image is being fetched. Given up, it is not fetched any further.
pub(super) struct Coming<'a> {
    containers: &'a Containers,
    grant: Grant,
    image: JoinHandle<Result<Image, ImageError>>,
}

impl Containers {
    fn cluster(&self) -> RwLockReadGuard<'_, String> {
        self.cluster.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in which cluster it is.
    pub(super) fn belong_to(&self, cluster_id: &str) {
        if *self.cluster() != cluster_id {
            let mut known = self.cluster.write().unwrap_or_else(PoisonError::into_inner);
            cluster_id.clone_into(&mut known);
        }
    }

    /// Checks what the step asks for, and begins to fetch its image. `activity` says how far that is.
    pub(super) fn begin(
        &self,
        attempt: &Attempt,
        activity: Activity,
    ) -> Result<Coming<'_>, PrepareError> {
        let ask = ask(&attempt.assignment);
        let grant = self
            .docker
            .grant(&ask)
            .map_err(|refusal| PrepareError::Refused(refusal.to_string()))?;
        let docker = self.docker.clone();
        let image = self.pool.spawn(async move {
            let progress = |told: String| {
                tracing::info!("{told}");
                activity.says(&told);
            };
            docker.image(&ask.image, &progress).await
        });
        Ok(Coming {
            containers: self,
            grant,
            image,
        })
    }
}

impl Coming<'_> {
    /// Waits for the image.
    pub(super) fn finish(mut self, attempt: &Attempt) -> Result<Container, PrepareError> {
        let pool = self.containers.pool.clone();
        let image = pool.block_on(async {
            loop {
                match tokio::time::timeout(LOOK, &mut self.image).await {
                    Ok(Ok(image)) => break image,
                    Ok(Err(error)) => {
                        break Err(ImageError {
                            message: error.to_string(),
                            hint: "this is a fault of Shoal",
                            retryable: true,
                            is_silence: false,
                        });
                    }
                    Err(_) if attempt.is_abandoned() => {
                        break Err(ImageError {
                            message: "the attempt was given up".to_owned(),
                            hint: "nobody waits for it",
                            retryable: true,
                            is_silence: false,
                        });
                    }
                    Err(_) => {}
                }
            }
        });
        let image = image.map_err(|error| PrepareError::Image {
            message: error.to_string(),
            retryable: error.retryable,
        })?;
        Ok(Container {
            image,
            grant: self.grant.clone(),
            devices: attempt
                .assignment
                .devices
                .iter()
                .map(|device| runtime::devices::Device {
                    id: device.device_id.clone(),
                    kind: device.kind.clone(),
                    name: device.name.clone(),
                    memory_bytes: device.memory_bytes,
                    driver_version: device.driver_version.clone(),
                    pci_bus_id: device.pci_bus_id.clone(),
                })
                .collect(),
            cluster: self.containers.cluster().clone(),
            worker: self.containers.worker.clone(),
        })
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.image.abort();
    }
}

/// In the contract, no limit is 0.
fn limit(of: u64) -> Option<u64> {
    (of > 0).then_some(of)
}

fn ask(assignment: &Assignment) -> Ask {
    let variable = |name: &str| assignment.environment_variables.get(name).cloned();
    let mounts = assignment.mounts.iter().map(|mount| AskedMount {
        source: mount.source.clone(),
        destination: mount.destination.clone(),
        read_only: mount.read_only,
        kind: mount.r#type.clone(),
    });
    Ask {
        image: assignment.image.clone(),
        network: variable(NETWORK),
        cpu_limit: variable(CPU_LIMIT),
        cpus: limit(assignment.cpu_limit_millis).map(|millis| millis as f64 / 1_000.0),
        memory: limit(assignment.memory_limit_bytes),
        mounts: mounts.collect(),
    }
}

/// What a plain process is not given, and a step must not go without unsaid.
pub(super) fn check_process(assignment: &Assignment) -> Result<(), PrepareError> {
    let Some(mount) = assignment.mounts.first() else {
        return Ok(());
    };
    let source = PathBuf::from(&mount.source);
    Err(PrepareError::Refused(format!(
        "refused by the worker: mounts: {}: this worker runs steps as plain processes, which have no mounts",
        source.display()
    )))
}
