//! Who this node is to others: its keys on the disk, how it gets them, and how they stay fresh.
//!
//! | file in `DIR/tls` | what | mode |
//! | --- | --- | --- |
//! | `ca.pem` | certificate of the cluster's authority | 0644 |
//! | `ca-key.pem` | its key; coordinators only | 0600 |
//! | `node.pem` | this node's certificate and key, in one file so that they always fit | 0600 |
//! | `joining-key.pem` | the key that it joins with, until it has | 0600 |
//! | `admin.toml` | context of the first administrator; where the cluster was founded | 0600 |

mod keys;

mod join;

mod renew;

pub mod context;

use std::time::{SystemTime, UNIX_EPOCH};

use pki::{Credentials, Dialer, Role};
pub use pki::{JoinToken, Lifetimes};

pub(crate) use self::join::worker_credentials;
pub use self::join::{CoordinatorJoin, join_user, renew_user};
pub(crate) use self::keys::coordinator_tls;
pub use self::keys::{KeyDir, write_secret};
pub(crate) use self::renew::Keeper;

use crate::Fault;

/// Whether an address to listen on can be reached from this machine only.
pub fn is_loopback(listen: &str) -> bool {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    }
}

/// How a node connects to others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dialers {
    /// To coordinators.
    pub(crate) coordinators: Dialer,
    /// To any node, for blobs.
    pub(crate) nodes: Dialer,
}

impl Dialers {
    /// With these credentials; without TLS where there are none.
    pub(crate) fn of(credentials: Option<&Credentials>) -> Result<Self, Fault> {
        let Some(credentials) = credentials else {
            return Ok(Self::default());
        };
        let by = |roles| credentials.connector(roles).map(Dialer::Tls);
        let (coordinators, nodes): (&'static [Role], &'static [Role]) =
            (&[Role::Coordinator], &[Role::Worker, Role::Coordinator]);
        Ok(Self {
            coordinators: by(coordinators)?,
            nodes: by(nodes)?,
        })
    }
}

/// Whether a node that listens there speaks TLS: off loopback, where it is asked for, and where it did before.
///
/// # Errors
/// When that is refused although it is needed.
pub(crate) fn wanted(
    listen: &str,
    keys: &KeyDir,
    asked: bool,
    insecure: bool,
) -> Result<bool, Fault> {
    match (insecure, keys.exists()) {
        (true, true) => Err(Fault::new(
            "this data directory is of a node that speaks TLS; start it without --insecure",
        )),
        (true, false) => {
            if !is_loopback(listen) {
                tracing::warn!(
                    "--insecure: whoever reaches {listen} can run programs and read everything; keep it on a network you trust"
                );
            }
            Ok(false)
        }
        (false, has_keys) => Ok(asked || has_keys || !is_loopback(listen)),
    }
}

/// Seconds of Unix time.
pub(crate) fn now_s() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}

impl From<pki::PkiError> for Fault {
    fn from(error: pki::PkiError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<net::JoinError> for Fault {
    fn from(error: net::JoinError) -> Self {
        match &error {
            net::JoinError::Dial { error: dial, .. } if dial.is_final() => {
                Self::untrusted(dial.to_string())
            }
            net::JoinError::Dial { .. } => {
                Self::new(format!("no coordinator can be reached: {error}"))
            }
            net::JoinError::Refused(refusal) => Self::new(format!(
                "the cluster does not let this one in: {}",
                refusal.message
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn loopback_is_this_machine_only() {
        for address in ["127.0.0.1:0", "127.8.0.3:7461", "[::1]:7461", "localhost:1"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in [
            "0.0.0.0:7461",
            "[::]:7461",
            "10.0.0.1:1",
            "gpu-1:7461",
            ":7461",
        ] {
            assert!(!is_loopback(address), "{address}");
        }
    }
}
