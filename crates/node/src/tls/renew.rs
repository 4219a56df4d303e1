//! Certificates that stay fresh: renewed after two thirds of their life, used from the next connection on.

use std::time::Duration;

use net::ports::{CoordinatorTls, Signing};
use pki::{Credentials, Key, Role};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::keys::{KeyDir, signed};
use super::now_s;
use crate::Fault;

/// The longest sleep: clocks are set, machines are suspended.
const LOOK: Duration = Duration::from_secs(60);

/// The wait after a failure.
const AGAIN: Duration = Duration::from_secs(10);

/// The shortest wait: a certificate that is due again at once must not keep the machine busy.
const LEAST: Duration = Duration::from_secs(1);

/// Keeps a certificate fresh.
pub(crate) struct Keeper {
    credentials: Credentials,
    dir: KeyDir,
    by: By,
}

/// Who signs the next one.
enum By {
    /// This node: it has the authority's key.
    Itself(Signing),
    /// One of these coordinators.
    Coordinators(Vec<String>),
}

impl Keeper {
    /// Of a coordinator, which signs for itself.
    pub(crate) fn of_coordinator(tls: CoordinatorTls, dir: KeyDir) -> Self {
        Self {
            credentials: tls.credentials,
            dir,
            by: By::Itself(tls.signing),
        }
    }

    /// Of a worker, for which a coordinator signs.
    pub(crate) fn of_worker(
        credentials: Credentials,
        coordinators: Vec<String>,
        dir: KeyDir,
    ) -> Self {
        Self {
            credentials,
            dir,
            by: By::Coordinators(coordinators),
        }
    }

    /// Renews for as long as the node runs.
    pub(crate) async fn keep(self, stopping: CancellationToken) {
        loop {
            let wait = self.look().await;
            tokio::select! {
                () = stopping.cancelled() => return,
                () = sleep(wait.max(LEAST)) => {}
            }
        }
    }

    /// Renews what is due. Says when to look again.
    async fn look(&self) -> Duration {
        let certificate = self.credentials.certificate();
        let left = u64::try_from(certificate.renewal_s() - now_s()).unwrap_or_default();
        if left > 0 {
            return Duration::from_secs(left).min(LOOK);
        }
        match self.renew().await {
            Ok(()) => {
                tracing::info!("the certificate of {} was renewed", certificate.principal);
                Duration::ZERO
            }
            Err(fault) => {
                tracing::warn!(
                    "the certificate of {} counts until {} and cannot be renewed: {fault}",
                    certificate.principal,
                    pki::date(certificate.end_s)
                );
                AGAIN
            }
        }
    }

    async fn renew(&self) -> Result<(), Fault> {
        let current = self.credentials.certificate();
        let (certificate, key) = match &self.by {
            By::Itself(signing) => signed(
                &signing.authority,
                Role::Coordinator,
                &current.principal.name,
                current.joined,
                signing.lifetimes,
            )?,
            By::Coordinators(addresses) => {
                let key = Key::generate()?;
                let request = key.signing_request()?;
                let signed = net::renew(addresses, &self.credentials, &request).await?;
                (signed, key)
            }
        };
        self.credentials.replace(&certificate, &key.der())?;
        self.dir.keep(&certificate, &key)
    }
}
