//! A coordinator and a worker inside this process, over real gRPC on loopback: the same program as a fleet, for one machine.

use std::time::Duration;

use ledger::Ledger;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Fault;
use crate::coordinator::{CoordinatorConfig, CoordinatorNode};
use crate::home::Ownership;
use crate::worker::{RuntimeChoice, WorkerConfig, WorkerNode};

/// Name of the embedded worker.
const WORKER: &str = "local";

/// How the embedded node is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How many attempts run at once; by default one for each processor.
    pub slots: Option<u32>,
    /// What steps are run in.
    pub runtime: RuntimeChoice,
}

/// An embedded node.
pub struct Embedded {
    coordinator: CoordinatorNode,
    worker: WorkerNode,
    resumed: usize,
    ownership: Ownership,
}

impl Embedded {
    /// Starts a node in a home and says there where it serves.
    ///
    /// # Errors
    /// When one of its roles does not start.
    pub async fn start(ownership: Ownership, options: Options) -> Result<Self, Fault> {
        let path = ownership.home().path().to_path_buf();
        // What is kept here is nobody's source: version control must not see it.
        std::fs::write(path.join(".gitignore"), "*\n")?;
        let mut config = CoordinatorConfig::new(path.join("coordinator"));
        config.bootstrap = true;
        let coordinator = CoordinatorNode::start(config).await?;
        let resumed = unfinished(&coordinator.ledger().borrow());
        let mut config =
            WorkerConfig::new(path.join("worker"), vec![coordinator.address().to_owned()]);
        config.name = WORKER.to_owned();
        // There is no other machine to wait for: a step that finds the disk full says so at once.
        config.disk_reserve = Some(0);
        if let Some(slots) = options.slots {
            config.slots = slots;
        }
        config.runtime = options.runtime;
        let worker = WorkerNode::start(config).await?;
        ownership.publish(coordinator.address())?;
        Ok(Self {
            coordinator,
            worker,
            resumed,
            ownership,
        })
    }

    /// Address of its coordinator.
    pub fn address(&self) -> &str {
        self.coordinator.address()
    }

    /// How many executions and pipelines an earlier node left unfinished.
    pub fn resumed(&self) -> usize {
        self.resumed
    }

    /// The fault that ended one of its roles, if one did.
    pub fn fault(&self) -> Option<Fault> {
        self.coordinator.fault().or_else(|| self.worker.fault())
    }

    /// Waits until a fault ends one of its roles; for ever when none does.
    pub async fn faulted(&self) -> Fault {
        tokio::select! {
            fault = self.coordinator.faulted() => fault,
            fault = self.worker.faulted() => fault,
        }
    }

    /// Waits until nothing has been left to do for as long as `grace`: what was asked for a moment ago may still be on its way.
    pub async fn idle(&self, grace: Duration) {
        let mut ledger: watch::Receiver<Ledger> = self.coordinator.ledger();
        loop {
            let quiet = ledger
                .wait_for(|ledger| unfinished(ledger) == 0)
                .await
                .is_ok();
            let busy_again = timeout(grace, ledger.wait_for(|ledger| unfinished(ledger) > 0));
            match busy_again.await {
                Ok(Ok(_)) => {}
                Err(_) if quiet => return,
                // The coordinator ended; whoever waits for faults hears of it.
                Ok(Err(_)) | Err(_) => std::future::pending::<()>().await,
            }
        }
    }

    /// Ends it. Programs of steps go on.
    pub async fn stop(self) {
        self.worker.stop().await;
        self.coordinator.stop().await;
        drop(self.ownership);
    }
}

/// How many pipelines, and executions outside of pipelines, have not ended.
fn unfinished(ledger: &Ledger) -> usize {
    ledger
        .projects()
        .map(|project| {
            let pipelines = ledger
                .pipelines(&project.name)
                .filter(|pipeline| !pipeline.is_final())
                .count();
            let executions = ledger.executions(&project.name);
            pipelines
                + executions
                    .filter(|execution| execution.pipeline == 0 && !execution.is_final())
                    .count()
        })
        .sum()
}
