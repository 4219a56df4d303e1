//! The contract: every message and service of `proto/`, one module a package. The code is generated at build time; the
//! `.proto` files and their comments are what to read.
#![allow(
    missing_docs,
    clippy::all,
    unreachable_pub,
    rustdoc::invalid_html_tags,
    rustdoc::bare_urls
)]

/// Packages of Google that ours import.
pub mod google {
    /// `google.api`: annotations.
    pub mod api {
        include!(concat!(env!("OUT_DIR"), "/google.api.rs"));
    }
}

/// The packages of Shoal.
pub mod shoal {
    /// `shoal.v1`: what clients in any language speak.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/shoal.v1.rs"));
    }
    /// `shoal.options.v1`: annotations of RPCs.
    pub mod options {
        /// Version 1.
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/shoal.options.v1.rs"));
        }
    }
    /// `shoal.worker.v1`: between workers and coordinators.
    pub mod worker {
        /// Version 1.
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/shoal.worker.v1.rs"));
        }
    }
    /// `shoal.peer.v1`: between coordinators.
    pub mod peer {
        /// Version 1.
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/shoal.peer.v1.rs"));
        }
    }
    /// `shoal.ledger.v1`: what the log and snapshots hold.
    pub mod ledger {
        /// Version 1.
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/shoal.ledger.v1.rs"));
        }
    }
}

pub use shoal::ledger::v1 as ledger;
pub use shoal::peer::v1 as peer;
pub use shoal::v1 as api;
pub use shoal::worker::v1 as link;

/// The descriptors of every file, for reflection and for checks that read annotations.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
