//! How a node, or a person, comes by a certificate.

use std::path::Path;

use pki::{Certificate, Credentials, JoinToken, Key, Role};

use super::context::ClientContext;
use super::keys::KeyDir;
use super::now_s;
use crate::Fault;
use crate::coordinator::{Join, Joined};

/// What a worker speaks with: what it has, or what a token gets it.
pub(crate) async fn worker_credentials(
    dir: &KeyDir,
    name: &str,
    coordinators: &[String],
    token: Option<&JoinToken>,
) -> Result<Credentials, Fault> {
    let known = dir.credentials()?;
    let objection = match &known {
        None => "it has no certificate yet".to_owned(),
        Some(known) => {
            let certificate = known.certificate();
            check_name(&certificate, name)?;
            match certificate.objection(now_s()) {
                None => return Ok(known.clone()),
                Some(objection) => objection,
            }
        }
    };
    let Some(token) = token else {
        return Err(Fault::new(format!(
            "{objection}; create a token with `shoal token create --role worker --name {name}` and start it once with --join-token TOKEN"
        )));
    };
    let key = dir.joining_key()?;
    let request = key.signing_request()?;
    let answer = net::join_worker(coordinators, token, &request, name).await?;
    let credentials = Credentials::new(&answer.ca_certificate, &answer.certificate, &key.der())?;
    dir.keep_joined(&answer.ca_certificate, &answer.certificate, &key)?;
    Ok(credentials)
}

fn check_name(certificate: &Certificate, name: &str) -> Result<(), Fault> {
    let principal = &certificate.principal;
    if principal.role == Role::Worker && &*principal.name == name {
        return Ok(());
    }
    Err(Fault::new(format!(
        "the certificate in the data directory is of {principal}, and this worker is called {name}: start it with its own name or its own \
         data directory"
    )))
}

/// Joins a cluster with a token, and keeps the keys that it gets.
pub struct CoordinatorJoin {
    addresses: Vec<String>,
    token: JoinToken,
    dir: KeyDir,
    feature_level: u32,
}

impl CoordinatorJoin {
    /// For a coordinator with this data directory, which knows rules up to `feature_level`.
    pub fn new(
        addresses: Vec<String>,
        token: JoinToken,
        data_dir: &Path,
        feature_level: u32,
    ) -> Self {
        Self {
            addresses,
            token,
            dir: KeyDir::of(data_dir),
            feature_level,
        }
    }
}

#[net::async_trait]
impl Join for CoordinatorJoin {
    /// The token identifies the request: the id is not needed.
    async fn join(&self, address: &str, _request_id: &str) -> Result<Joined, Fault> {
        let key = self.dir.joining_key()?;
        let request = key.signing_request()?;
        let (addresses, level) = (&self.addresses, self.feature_level);
        let answer =
            net::join_coordinator(addresses, &self.token, &request, address, level).await?;
        self.dir.keep_authority_key(&answer.ca_key)?;
        self.dir
            .keep_joined(&answer.ca_certificate, &answer.certificate, &key)?;
        Ok(Joined {
            cluster_id: answer.cluster_id,
            member_id: u64::try_from(answer.member_id).unwrap_or_default(),
        })
    }
}

/// Joins as a person: gives the context to keep.
///
/// # Errors
/// When the cluster cannot be reached, is not the token's, or refuses.
pub async fn join_user(addresses: Vec<String>, token: &JoinToken) -> Result<ClientContext, Fault> {
    let key = Key::generate()?;
    let answer = net::join_user(&addresses, token, &key.signing_request()?).await?;
    Ok(ClientContext::new(
        addresses,
        &answer.ca_certificate,
        &answer.certificate,
        &key.der(),
    ))
}

/// Renews a person's certificate while it still counts.
///
/// # Errors
/// When the cluster cannot be reached, or refuses.
pub async fn renew_user(context: &ClientContext) -> Result<ClientContext, Fault> {
    let current = context.credentials()?;
    let key = Key::generate()?;
    let request = key.signing_request()?;
    let certificate = net::renew(&context.addresses, &current, &request).await?;
    Ok(ClientContext::new(
        context.addresses.clone(),
        current.authority(),
        &certificate,
        &key.der(),
    ))
}
