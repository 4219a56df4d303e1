//! Who is who: the cluster's certificate authority, certificates, join tokens, and TLS made of them.
//!
//! Participants: an **authority**, whose key every coordinator has; **principals** (coordinators, workers, users), each with a
//! certificate that names it; a **joiner**, which has a token and no certificate yet.
//! Goals: both ends of every connection know who the other is; a private key never leaves the machine that made it; a joiner says
//! nothing to a server that is not of its token's cluster; a certificate is replaced without closing a connection.
//! No goals: names of hosts (a coordinator is who its certificate says, at whatever address), and public authorities.
//!
//! ```text
//!  token ──> pinned TLS ──> signing request ──> Authority::sign ──> Certificate
//!                                                                       │
//!             Credentials (replaceable) <───────────────────────────────┘
//!                 ├── server_config ──> acceptor        who is the client?   Certificate::read
//!                 └── connector ──────> channel         is the server a coordinator, a worker?
//! ```
//!
//! Nothing here touches a file: keys and certificates come and go as bytes or text.

mod principal;

mod der;

mod certificate;

mod authority;

mod token;

mod verify;

mod credentials;

mod dial;

mod text;

mod error;

pub use authority::{Authority, Key, Lifetimes};
pub use certificate::{Certificate, date, digest_of_key};
pub use credentials::{Clients, Credentials};
pub use dial::{Connector, Dialer, check_own, handshake_refused};
pub use error::{DialError, PkiError};
pub use principal::{Principal, Role};
pub use text::{Kind, from_text, to_text};
pub use token::{JoinToken, random};
pub use tokio_rustls::TlsAcceptor;
pub use tokio_rustls::server::TlsStream;

/// SHA-256, by which keys and secrets are known.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}
