//! Watches: what is, then what changes, told from the published ledgers.
//!
//! ```text
//! told <= revision of the ledger          everything up to `told` was sent
//! ```
//!
//! A watch keeps no history: it asks the newest ledger what changed after `told` and sends each resource as it is now. A reader
//! that takes long sees fewer states between, and one that takes nothing for too long is told so and let go.

use std::time::Duration;

use contract::api::{WatchEndReason, WatchProgress};
use coordinator::Refusal;
use ledger::{Ledger, Subject};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::convert::int64;
use crate::stream::Out;

/// How often a watch with nothing to tell says that it is alive.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// For how long a reader may take nothing while messages wait for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Messages that wait for a reader. One more place is kept for the end.
pub(crate) const QUEUE: usize = 64;

/// What is watched: all of a project or one resource of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) project: String,
    pub(crate) number: Option<i64>,
}

/// A kind of watch.
pub(crate) trait Watched: Send + Sync + 'static {
    /// Its messages.
    type Message: Send + 'static;

    /// What the scope holds now, with the revision of each one's last change, in that order; for a scope of one resource.
    fn now(ledger: &Ledger, scope: &Scope, number: i64) -> Vec<(u64, Subject)>;

    /// Whether a subject is in the scope.
    fn is_in(ledger: &Ledger, scope: &Scope, subject: &Subject) -> bool;

    /// Whether the one watched resource has reached a final state.
    fn is_final(ledger: &Ledger, scope: &Scope) -> bool;

    /// The message about a subject as it is.
    fn change(ledger: &Ledger, subject: &Subject, revision: i64) -> Option<Self::Message>;

    /// The message that all up to the revision was told.
    fn progress(revision: i64, progress: WatchProgress) -> Self::Message;

    /// The message that the watch ends.
    fn end(revision: i64, reason: WatchEndReason) -> Self::Message;
}

/// Where a watch begins and what it listens to.
pub(crate) struct Watch {
    pub(crate) scope: Scope,
    /// Everything up to here is known to the reader.
    pub(crate) told: u64,
    pub(crate) ledgers: watch::Receiver<Ledger>,
    pub(crate) stopping: CancellationToken,
}

/// Why a watch stops.
enum Stop {
    End(WatchEndReason),
    Left,
}

/// Runs a watch to its end.
pub(crate) async fn run<W: Watched>(mut watch: Watch, out: Out<W::Message>) -> Result<(), Refusal> {
    // The place for the end is taken now, so that a full queue cannot keep the reader from learning why it ended.
    let Ok(place_for_end) = out.clone().reserve_owned().await else {
        return Ok(());
    };
    if let Stop::End(reason) = follow::<W>(&mut watch, &out).await {
        place_for_end.send(Ok(W::end(int64(watch.told), reason)));
    }
    Ok(())
}

async fn follow<W: Watched>(watch: &mut Watch, out: &Out<W::Message>) -> Stop {
    let mut in_sync = false;
    let mut quiet_until = Instant::now() + PROGRESS_EVERY;
    loop {
        let ledger = watch.ledgers.borrow_and_update().clone();
        if ledger.revision() >= watch.told {
            let subjects = subjects::<W>(&ledger, &watch.scope, watch.told);
            for (at, (revision, subject)) in subjects.iter().enumerate() {
                // A reader resumes after the revision of a message: it moves on with the last subject of each revision only.
                let last = subjects.get(at + 1).is_none_or(|(next, _)| next > revision);
                let told = if last {
                    *revision
                } else {
                    watch.told.max(revision.saturating_sub(1))
                };
                let Some(message) = W::change(&ledger, subject, int64(told)) else {
                    continue;
                };
                if let Err(stop) = send(message, watch, out).await {
                    return stop;
                }
                watch.told = told;
            }
            if W::is_final(&ledger, &watch.scope) {
                watch.told = ledger.revision();
                return Stop::End(WatchEndReason::Final);
            }
            watch.told = ledger.revision();
            if !subjects.is_empty() {
                quiet_until = Instant::now() + PROGRESS_EVERY;
            }
            if !in_sync {
                in_sync = true;
                let progress = W::progress(int64(watch.told), WatchProgress {});
                if let Err(stop) = send(progress, watch, out).await {
                    return stop;
                }
            }
        }
        tokio::select! {
            changed = watch.ledgers.changed() => if changed.is_err() {
                return Stop::End(WatchEndReason::Stopping);
            },
            () = sleep_until(quiet_until) => {
                quiet_until = Instant::now() + PROGRESS_EVERY;
                let progress = W::progress(int64(watch.told), WatchProgress {});
                if let Err(stop) = send(progress, watch, out).await {
                    return stop;
                }
            }
            () = watch.stopping.cancelled() => return Stop::End(WatchEndReason::Stopping),
            () = out.closed() => return Stop::Left,
        }
    }
}

/// What changed after a revision, in the order of the changes.
fn subjects<W: Watched>(ledger: &Ledger, scope: &Scope, told: u64) -> Vec<(u64, Subject)> {
    if let (0, Some(number)) = (told, scope.number) {
        return W::now(ledger, scope, number);
    }
    let changed = ledger
        .changed_since(told)
        .filter(|(_, subject)| W::is_in(ledger, scope, subject));
    changed
        .map(|(revision, subject)| (revision, subject.clone()))
        .collect()
}

/// Sends a message, unless the reader has taken nothing for too long.
async fn send<M>(message: M, watch: &Watch, out: &Out<M>) -> Result<(), Stop> {
    tokio::select! {
        sent = timeout(PATIENCE, out.send(Ok(message))) => match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Stop::Left),
            Err(_) => Err(Stop::End(WatchEndReason::Lagged)),
        },
        () = watch.stopping.cancelled() => Err(Stop::End(WatchEndReason::Stopping)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use contract::ledger::command::Kind;
    use contract::ledger::{Command, Entry, FoundCluster, RegisterWorker};
    use contract::link::Offer;
    use tokio::sync::mpsc;

    /// A watch of workers, told as text.
    struct Workers;

    impl Watched for Workers {
        type Message = String;

        fn now(_: &Ledger, _: &Scope, _: i64) -> Vec<(u64, Subject)> {
            Vec::new()
        }

        fn is_in(_: &Ledger, _: &Scope, subject: &Subject) -> bool {
            matches!(subject, Subject::Worker(_))
        }

        fn is_final(_: &Ledger, _: &Scope) -> bool {
            false
        }

        fn change(_: &Ledger, subject: &Subject, revision: i64) -> Option<String> {
            Some(format!("{revision} {subject}"))
        }

        fn progress(revision: i64, _: WatchProgress) -> String {
            format!("{revision} progress")
        }

        fn end(revision: i64, reason: WatchEndReason) -> String {
            format!("{revision} {}", reason.as_str_name())
        }
    }

    /// The ledger after entries that each admit workers.
    fn ledger(entries: &[&[&str]]) -> Ledger {
        let mut ledger = Ledger::new();
        let mut apply = |kinds: Vec<Kind>| {
            let commands = kinds
                .into_iter()
                .map(|kind| Command { kind: Some(kind) })
                .collect();
            let entry = Entry {
                version: ledger::ENTRY_VERSION,
                leader_time_ms: 1,
                commands,
            };
            ledger.apply(ledger.revision() + 1, &entry);
        };
        apply(vec![Kind::FoundCluster(FoundCluster {
            cluster_id: "c".to_owned(),
        })]);
        for names in entries {
            let admit = |name: &&str| {
                let offer = Some(Offer::default());
                Kind::RegisterWorker(RegisterWorker {
                    name: (*name).to_owned(),
                    incarnation: 1,
                    offer,
                    instance_id: Default::default(),
                })
            };
            apply(names.iter().map(admit).collect());
        }
        ledger
    }

    struct Running {
        told: mpsc::Receiver<Result<String, tonic::Status>>,
        ledgers: watch::Sender<Ledger>,
        stopping: CancellationToken,
    }

    fn watching(ledger: Ledger, told: u64, queue: usize) -> Running {
        let (ledgers, receiver) = watch::channel(ledger);
        let stopping = CancellationToken::new();
        let scope = Scope {
            project: "p".to_owned(),
            number: None,
        };
        let (out, messages) = mpsc::channel(queue);
        let watch = Watch {
            scope,
            told,
            ledgers: receiver,
            stopping: stopping.clone(),
        };
        tokio::spawn(run::<Workers>(watch, out));
        Running {
            told: messages,
            ledgers,
            stopping,
        }
    }

    async fn next(running: &mut Running) -> String {
        running.told.recv().await.expect("the watch ended").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn changes_then_progress_then_what_follows_then_the_end() {
        let mut running = watching(ledger(&[&["a"], &["b", "c"]]), 0, 8);
        // Both of revision 3 must have come before a reader may resume after it.
        assert_eq!(next(&mut running).await, "2 worker a");
        assert_eq!(next(&mut running).await, "2 worker b");
        assert_eq!(next(&mut running).await, "3 worker c");
        assert_eq!(next(&mut running).await, "3 progress");
        // Nothing happens: the clock of the test jumps.
        assert_eq!(next(&mut running).await, "3 progress");
        running
            .ledgers
            .send_replace(ledger(&[&["a"], &["b", "c"], &["d"]]));
        assert_eq!(next(&mut running).await, "4 worker d");
        running.stopping.cancel();
        assert_eq!(next(&mut running).await, "4 WATCH_END_REASON_STOPPING");
        assert!(running.told.recv().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_told_so_and_resumes_without_loss() {
        let all = ledger(&[&["a"], &["b"], &["c"], &["d"]]);
        let mut slow = watching(all.clone(), 0, 3);
        // Room for two messages and the end. Nothing is taken before the watch has given up.
        while slow.told.len() < 3 {
            tokio::time::sleep(PATIENCE).await;
        }
        let mut told = Vec::new();
        while let Some(message) = slow.told.recv().await {
            told.push(message.unwrap());
        }
        assert_eq!(
            told,
            ["2 worker a", "3 worker b", "3 WATCH_END_REASON_LAGGED"]
        );
        let mut resumed = watching(all, 3, 8);
        assert_eq!(next(&mut resumed).await, "4 worker c");
        assert_eq!(next(&mut resumed).await, "5 worker d");
    }

    #[tokio::test(start_paused = true)]
    async fn a_coordinator_that_is_behind_the_reader_catches_up_first() {
        let mut running = watching(ledger(&[&["a"]]), 3, 8);
        running
            .ledgers
            .send_replace(ledger(&[&["a"], &["b"], &["c"]]));
        assert_eq!(next(&mut running).await, "4 worker c");
        assert_eq!(next(&mut running).await, "4 progress");
    }
}
