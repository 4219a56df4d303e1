//! All there is between machines.

use crate::network::Network;
use crate::peers::Peers;

/// See the module's words.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    /// Between workers and coordinators.
    pub(crate) network: Network,
    /// Between coordinators.
    pub(crate) peers: Peers,
}
