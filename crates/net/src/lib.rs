//! Sockets: tonic services and links, conversions between wire and domain.
//!
//! ```text
//! server side   ports <- context <- services <- server      what the host implements, and who calls it
//! border        required, convert, page, status             requests checked, records told, refusals sent
//! client side   waits, link, feed_link                      a worker's conversation with the leader, its feeds to every coordinator
//!               peers, peer_reads, peer_blobs, join, fetch  other coordinators, blobs of other nodes, certificates, http(s) inputs
//!               hook             messages to an operator's own address
//! both          endpoint                                    how connections are made
//! TLS           secure, gate, audit                         who calls, and whether they may
//! beside        meter, probes                               calls are counted; plain HTTP for monitoring and supervisors
//! ```
//!
//! Nothing here decides anything: what is asked goes to the host through the traits of [`ports`], what is shown comes from the
//! published ledger.

pub mod ports;

pub mod status;

pub mod backup;

mod required;

mod convert;

mod page;

mod stream;

mod watch;

mod endpoint;

mod context;

mod services;

mod panic;

mod gate;

mod meter;

pub mod audit;

mod secure;

mod server;

mod waits;

mod link;

mod feed_link;

mod join;

mod peer_blobs;

mod peers;

mod peer_reads;

mod fetch;
mod hook;

mod probes;

pub use feed_link::{FeedLink, FeedLinkEvent, Pushes};
pub use fetch::{HttpError, HttpFetcher, HttpLimits, HttpSink};
pub use hook::post_json;
pub use join::{JoinError, join_coordinator, join_user, join_worker, renew};
pub use link::{Link, LinkEvent};
pub use peer_blobs::{ChunkSink, PeerBlobs, PeerError, Wanted};
pub use peer_reads::PeerReads;
pub use peers::{Holds, PeerEvent, PeerLinks, Sender, hello};
pub use probes::serve_probes;
pub use server::{CoordinatorParts, MAX_MESSAGE, ServeError, serve_coordinator, serve_worker};
pub use tonic::async_trait;
