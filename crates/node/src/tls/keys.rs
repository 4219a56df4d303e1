//! The directory of a node's keys.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use net::ports::{CoordinatorTls, Signing};
use pki::{Authority, Credentials, Key, Kind, Lifetimes, Principal, Role, from_text, to_text};

use super::context::ClientContext;
use super::now_s;
use crate::{Fault, home};

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
const NODE: &str = "node.pem";
const JOINING: &str = "joining-key.pem";
const ADMIN: &str = "admin.toml";

/// Name of the first administrator.
const FIRST_ADMIN: &str = "admin";

/// Where a node keeps its keys.
#[derive(Debug, Clone)]
pub struct KeyDir(PathBuf);

impl KeyDir {
    /// That of a node with this data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("tls"))
    }

    /// Whether the node has, or once had, keys: then it speaks TLS.
    pub fn exists(&self) -> bool {
        self.0.exists()
    }

    /// The file of the first administrator's context; there only where the cluster was founded.
    pub fn admin_context(&self) -> PathBuf {
        self.0.join(ADMIN)
    }

    /// The cluster's authority; nothing where its key is not.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn authority(&self) -> Result<Option<Authority>, Fault> {
        let (certificate, key) = (
            self.read(Kind::Certificate, CA)?,
            self.read(Kind::Key, CA_KEY)?,
        );
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(Authority::load(certificate, &key)?)),
            _ => Ok(None),
        }
    }

    /// What the node speaks with; nothing before it has joined.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(super) fn credentials(&self) -> Result<Option<Credentials>, Fault> {
        let authority = self.read(Kind::Certificate, CA)?;
        let certificate = self.read(Kind::Certificate, NODE)?;
        let key = self.read(Kind::Key, NODE)?;
        match (authority, certificate, key) {
            (Some(authority), Some(certificate), Some(key)) => {
                Ok(Some(Credentials::new(&authority, &certificate, &key)?))
            }
            _ => Ok(None),
        }
    }

    /// The key that the node joins with: the same for every try, so that a repeat is known as one.
    pub(super) fn joining_key(&self) -> Result<Key, Fault> {
        if let Some(der) = self.read(Kind::Key, JOINING)? {
            return Ok(Key::read(&der)?);
        }
        let key = Key::generate()?;
        self.write(JOINING, &to_text(Kind::Key, &key.der()), true)?;
        Ok(key)
    }

    /// Keeps what the cluster answered.
    pub(super) fn keep_joined(
        &self,
        authority: &[u8],
        certificate: &[u8],
        key: &Key,
    ) -> Result<(), Fault> {
        self.write(CA, &to_text(Kind::Certificate, authority), false)?;
        self.keep(certificate, key)?;
        // A key that is left behind would only be used for the next join.
        drop(fs::remove_file(self.0.join(JOINING)));
        Ok(())
    }

    /// Keeps the key of the authority.
    pub(super) fn keep_authority_key(&self, key: &[u8]) -> Result<(), Fault> {
        self.write(CA_KEY, &to_text(Kind::Key, key), true)
    }

    /// Keeps a certificate with its key.
    pub(super) fn keep(&self, certificate: &[u8], key: &Key) -> Result<(), Fault> {
        let mut text = to_text(Kind::Certificate, certificate);
        text += &to_text(Kind::Key, &key.der());
        self.write(NODE, &text, true)
    }

    fn read(&self, kind: Kind, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        let path = self.0.join(name);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Fault::new(format!("{}: {error}", path.display()))),
            Ok(text) => text,
        };
        match from_text(kind, &text) {
            Ok(der) => Ok(Some(der)),
            Err(error) => Err(Fault::new(format!("{}: {error}", path.display()))),
        }
    }

    fn write(&self, name: &str, text: &str, secret: bool) -> Result<(), Fault> {
        let path = self.0.join(name);
        write_private(&path, text, secret)
            .map_err(|error| Fault::new(format!("cannot write {}: {error}", path.display())))
    }
}

/// Replaces a file, durably. What is secret is nobody else's to read, at no moment.
pub(super) fn write_private(path: &Path, text: &str, secret: bool) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    home::make_dir(parent)?;
    let partial = path.with_extension("partial");
    // One that was left behind may have another mode.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(if secret { 0o600 } else { 0o644 })
        .open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    if secret {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    fs::File::open(parent)?.sync_all()
}

/// Writes a secret to a file that is nobody else's to read, at no moment; durably.
///
/// # Errors
/// When it cannot be written.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    write_private(path, text, true)
}

/// What a coordinator speaks and signs with. The founder makes the authority, and a context for the first administrator.
pub(crate) fn coordinator_tls(
    dir: &KeyDir,
    cluster_id: &str,
    member_id: u64,
    founds: bool,
    address: &str,
    lifetimes: Lifetimes,
) -> Result<CoordinatorTls, Fault> {
    let authority = match dir.authority()? {
        Some(authority) => authority,
        None if founds => {
            let authority = Authority::found(cluster_id, now_s())?;
            // The key first: a certificate without it would be an authority that nobody can be.
            dir.keep_authority_key(&authority.key())?;
            dir.write(
                CA,
                &to_text(Kind::Certificate, authority.certificate()),
                false,
            )?;
            authority
        }
        None => {
            return Err(Fault::new(format!(
                "{} holds no authority of the cluster: this coordinator was started without TLS before; use --insecure, or add it to the \
                 cluster as a new member with --join and --join-token",
                dir.0.display()
            )));
        }
    };
    if authority.cluster() != cluster_id {
        return Err(Fault::new(format!(
            "the keys in {} are of cluster {}, the data of cluster {cluster_id}",
            dir.0.display(),
            authority.cluster()
        )));
    }
    let name = member_id.to_string();
    let current = dir.credentials()?.filter(|current| {
        let certificate = current.certificate();
        *certificate.principal.name == *name && certificate.renewal_s() > now_s()
    });
    let credentials = match current {
        Some(credentials) => credentials,
        // Whoever has the authority's key renews by itself.
        None => {
            let joined = dir.credentials()?.map_or(0, |old| old.certificate().joined);
            let (certificate, key) =
                signed(&authority, Role::Coordinator, &name, joined, lifetimes)?;
            dir.keep(&certificate, &key)?;
            Credentials::new(authority.certificate(), &certificate, &key.der())?
        }
    };
    if founds && !dir.admin_context().exists() {
        let context = administrator(&authority, FIRST_ADMIN, vec![address.to_owned()], lifetimes)?;
        context.write(&dir.admin_context())?;
    }
    Ok(CoordinatorTls {
        credentials,
        signing: Signing {
            authority: Arc::new(authority),
            lifetimes,
        },
    })
}

/// A context for an administrator, made by whoever can read the authority's key.
pub(super) fn administrator(
    authority: &Authority,
    name: &str,
    addresses: Vec<String>,
    lifetimes: Lifetimes,
) -> Result<ClientContext, Fault> {
    let (certificate, key) = signed(authority, Role::Admin, name, 0, lifetimes)?;
    Ok(ClientContext::new(
        addresses,
        authority.certificate(),
        &certificate,
        &key.der(),
    ))
}

/// A new key and its certificate.
pub(super) fn signed(
    authority: &Authority,
    role: Role,
    name: &str,
    joined: u64,
    lifetimes: Lifetimes,
) -> Result<(Vec<u8>, Key), Fault> {
    let key = Key::generate()?;
    let principal = Principal::new(authority.cluster(), role, name);
    let request = key.signing_request()?;
    let lifetime = lifetimes.of(role);
    let certificate = authority.sign(&request, &principal, joined, now_s(), lifetime)?;
    Ok((certificate, key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_founder_has_everything_and_keeps_it() {
        let directory = tempfile::tempdir().unwrap();
        let dir = KeyDir::of(directory.path());
        assert!(!dir.exists());
        let start = |founds| coordinator_tls(&dir, "c", 1, founds, "host:1", Lifetimes::default());
        let refused = start(false).map(drop).unwrap_err().to_string();
        assert!(refused.contains("without TLS before"), "{refused}");
        let first = start(true).unwrap();
        assert_eq!(
            first.credentials.certificate().principal.uri(),
            "spiffe://c/coordinator/1"
        );
        for name in [CA_KEY, NODE, ADMIN] {
            assert_eq!(mode(&dir.0.join(name)), 0o600, "{name}");
        }
        let admin = ClientContext::read(&dir.admin_context()).unwrap();
        assert_eq!(admin.addresses, ["host:1"]);
        let admin = admin.credentials().unwrap();
        assert_eq!(admin.certificate().principal.role, Role::Admin);
        // A restart finds what is there, founding or not.
        let again = start(false).unwrap();
        assert_eq!(
            again.credentials.certificate(),
            first.credentials.certificate()
        );
        assert_eq!(
            again.signing.authority.certificate(),
            first.signing.authority.certificate()
        );
        let other = coordinator_tls(&dir, "d", 1, false, "host:1", Lifetimes::default());
        assert!(other.is_err(), "the keys of another cluster");
    }

    #[test]
    fn an_old_certificate_is_renewed_at_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let dir = KeyDir::of(directory.path());
        let short = Lifetimes {
            coordinator: std::time::Duration::from_secs(2),
            ..Lifetimes::default()
        };
        let first = coordinator_tls(&dir, "c", 1, true, "host:1", short).unwrap();
        // Renewed after two thirds of two seconds; asked for with another lifetime, at once or not at all.
        let due = first.credentials.certificate().renewal_s();
        while now_s() < due {
            std::thread::yield_now();
        }
        let again = coordinator_tls(&dir, "c", 1, false, "host:1", Lifetimes::default()).unwrap();
        let (before, after) = (
            first.credentials.certificate(),
            again.credentials.certificate(),
        );
        assert!(after.end_s > before.end_s + 3_600);
    }
}
