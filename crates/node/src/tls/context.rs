//! Contexts: who a person or program is to a cluster, in one file.

use std::fs;
use std::path::Path;

use pki::{Credentials, Kind, Lifetimes, from_text, to_text};
use serde::{Deserialize, Serialize};

use super::keys::{KeyDir, administrator, write_private};
use crate::Fault;

/// First lines of the file.
const HEAD: &str =
    "# Who you are to a shoal cluster. Keep it to yourself: whoever has it can do what you can.\n";

/// A context.
#[derive(Clone, Serialize, Deserialize)]
pub struct ClientContext {
    /// Addresses of coordinators, `host:port`.
    pub addresses: Vec<String>,
    /// Certificate of the cluster's authority, PEM.
    ca: String,
    /// One's own certificate, PEM.
    certificate: String,
    /// Its key, PEM.
    key: String,
}

impl ClientContext {
    /// A context of these parts, DER.
    pub fn new(addresses: Vec<String>, ca: &[u8], certificate: &[u8], key: &[u8]) -> Self {
        Self {
            addresses,
            ca: to_text(Kind::Certificate, ca),
            certificate: to_text(Kind::Certificate, certificate),
            key: to_text(Kind::Key, key),
        }
    }

    /// Makes one for an administrator from the key of the cluster's authority in a coordinator's data directory.
    ///
    /// # Errors
    /// When the key is not there.
    pub fn from_authority(
        data_dir: &Path,
        name: &str,
        addresses: Vec<String>,
    ) -> Result<Self, Fault> {
        let authority = KeyDir::of(data_dir).authority()?.ok_or_else(|| {
            Fault::new(format!(
                "{} is not the data directory of a coordinator with TLS",
                data_dir.display()
            ))
        })?;
        administrator(&authority, name, addresses, Lifetimes::default())
    }

    /// Reads a context.
    ///
    /// # Errors
    /// When the file cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let fault = |why: &dyn std::fmt::Display| Fault::new(format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| fault(&error))?;
        toml::from_str(&text).map_err(|error| fault(&error.message()))
    }

    /// Writes it, readable for its owner only.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Fault> {
        let text = toml::to_string(self).map_err(|error| Fault::new(error.to_string()))?;
        write_private(path, &format!("{HEAD}{text}"), true)
            .map_err(|error| Fault::new(format!("cannot write {}: {error}", path.display())))
    }

    /// What to speak with.
    ///
    /// # Errors
    /// When the parts cannot be read, or do not fit each other.
    pub fn credentials(&self) -> Result<Credentials, Fault> {
        let ca = from_text(Kind::Certificate, &self.ca)?;
        let certificate = from_text(Kind::Certificate, &self.certificate)?;
        let key = from_text(Kind::Key, &self.key)?;
        Ok(Credentials::new(&ca, &certificate, &key)?)
    }
}
