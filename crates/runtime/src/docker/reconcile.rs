//! What is there against what should be: containers that an earlier daemon left, and attempts whose shim is gone.

use crate::attempt::AttemptDir;
use crate::clock::micros;
use crate::docker::container::{self, label};
use crate::docker::{Docker, words};
use crate::program::EndReason;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the engine may take to be there when the daemon starts.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(200);

impl Docker {
    /// Removes every container of this worker that belongs to none of these attempts, and listens to those that do.
    pub(super) async fn reconcile(&self, kept: &[AttemptDir]) -> io::Result<()> {
        for dir in kept {
            self.watch.add(dir.path())?;
        }
        let names: BTreeSet<String> = kept
            .iter()
            .map(|dir| container::name(&dir.name().to_string_lossy()))
            .collect();
        for name in self.all().await? {
            if !names.contains(&name) {
                tracing::info!(container = name, "belongs to no attempt: removed");
                if !self.remove(&name).await {
                    let message =
                        format!("the container {name} belongs to no attempt and cannot be removed");
                    return Err(io::Error::other(message));
                }
            }
        }
        Ok(())
    }

    /// The names of this worker's containers, whatever they do.
    async fn all(&self) -> io::Result<Vec<String>> {
        let owner = format!("{}={}", label::OWNER, self.data_dir.display());
        let filters = HashMap::from([("label".to_owned(), vec![owner])]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let began = tokio::time::Instant::now();
        let found = loop {
            match self.engine.list_containers(Some(options.clone())).await {
                Ok(found) => break found,
                Err(error) if words::is_silent(&error) && began.elapsed() < PATIENCE => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(io::Error::other(words::of(&error))),
            }
        };
        let names = found.into_iter().filter_map(|found| {
            let name = found.names?.into_iter().next()?;
            Some(name.trim_start_matches('/').to_owned())
        });
        Ok(names.collect())
    }

    /// Whether that goes on just now.
    pub(super) fn is_burying(&self, dir: &AttemptDir) -> bool {
        let burying = self.burying.lock();
        let burying = burying.unwrap_or_else(PoisonError::into_inner);
        burying.contains(dir.name())
    }

    /// Finds out in the background how an attempt ended whose shim is gone, writes it down, and tells of it.
    pub(super) fn bury(&self, dir: &AttemptDir) {
        let name = dir.name().to_os_string();
        let is_new = self
            .burying
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.clone());
        let Some(docker) = self.own.upgrade().filter(|_| is_new) else {
            return;
        };
        let dir = dir.clone();
        self.handle.spawn(async move {
            let reason = docker.why_gone(&dir).await;
            let buried = tokio::task::spawn_blocking(move || dir.bury_as(reason)).await;
            let buried = buried.unwrap_or_else(|error| Err(io::Error::other(error)));
            if let Err(error) = buried {
                tracing::warn!(attempt = %name.display(), "its end cannot be written down: {error}");
            }
            let mut burying = docker
                .burying
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            burying.remove(&name);
            drop(burying);
            (docker.news)(name);
        });
    }

    /// With its first process every other process of the container is dead: the kernel sees to that. What is left to ask is why.
    async fn why_gone(&self, dir: &AttemptDir) -> EndReason {
        let name = container::name(&dir.name().to_string_lossy());
        let options = None::<InspectContainerOptions>;
        match self.engine.inspect_container(&name, options).await {
            Ok(found) => {
                let state = found.state.unwrap_or_default();
                if state.oom_killed == Some(true) {
                    return EndReason::OomKilled;
                }
            }
            Err(error) if words::is_silent(&error) => return EndReason::EngineStopped,
            Err(_) => {}
        }
        let made = dir.feed().metadata().and_then(|feed| feed.created());
        let began = made.map_or(0, micros);
        let lost = self.lost_us.load(Ordering::Relaxed);
        match lost > began {
            true => EndReason::EngineStopped,
            false => EndReason::Gone,
        }
    }
}
