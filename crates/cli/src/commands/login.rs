//! `shoal login`: who one is to a cluster, kept in a context.

use node::tls::context::ClientContext;
use node::tls::{JoinToken, join_user, renew_user};

use super::{Context, failure};
use crate::args::Login;
use crate::{Exit, Failure, contexts};

/// Name of the administrator that a coordinator's data directory makes, unless another is given.
const ADMIN: &str = "admin";

pub(super) async fn run(context: &Context, arguments: &Login) -> Result<Exit, Failure> {
    let addresses = contexts::addresses(&arguments.address);
    let name = arguments.context_name.clone().unwrap_or_else(|| {
        let first = addresses.first().map(String::as_str).unwrap_or_default();
        let host = first.rsplit_once(':').map_or(first, |(host, _)| host);
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        host.replace(|letter| !plain(letter), "-")
    });
    let made = match (&arguments.token, &arguments.data_dir) {
        (Some(token), _) => {
            let token = token
                .parse::<JoinToken>()
                .map_err(|error| Failure::usage(format!("--token: {error}")))?;
            join_user(addresses, &token).await
        }
        (None, Some(data_dir)) => {
            let admin = arguments.name.as_deref().unwrap_or(ADMIN);
            ClientContext::from_authority(&context.current.join(data_dir), admin, addresses)
        }
        (None, None) => {
            let mut current = contexts::read(&name).map_err(|failure| {
                failure.hint("without --token, `shoal login` renews a context that there is")
            })?;
            current.addresses = addresses;
            renew_user(&current).await
        }
    };
    let made = made.map_err(failure)?;
    let credentials = made.credentials().map_err(failure)?;
    let path = contexts::keep(&name, &made)?;
    let certificate = credentials.certificate();
    let until = pki::date(certificate.end_s);
    context.print(
        || {
            serde_json::json!({
                "context": name,
                "file": path.display().to_string(),
                "principal": certificate.principal.to_string(),
                "role": certificate.principal.role.as_str(),
                "expire_time": until,
            })
        },
        || {
            format!(
                "you are {} ({}) until {until}\n  shoal --cluster {} cluster status\n",
                certificate.principal, certificate.principal.role, arguments.address
            )
        },
    )?;
    Ok(Exit::Done)
}
