//! `shoal token`: who may join.

use std::path::PathBuf;
use std::time::Duration;

use client::Client;
use contract::api;
use node::tls::JoinToken;
use serde_json::Value;

use super::{Context, failure};
use crate::args::{TokenCommand, TokenRoleName};
use crate::tables::{self, Now};
use crate::{Exit, Failure, json};

pub(super) async fn execute(context: &Context, command: TokenCommand) -> Result<Exit, Failure> {
    let connection = context.connect_to_cluster()?;
    let client = connection.client.clone();
    let done = match command {
        TokenCommand::Create {
            role,
            name,
            ttl,
            files,
        } => {
            let wanted = Wanted { role, name, ttl };
            match files.is_empty() {
                true => show(context, &client, &wanted).await,
                false => write(context, &client, &wanted, &files).await,
            }
        }
        TokenCommand::List => list(context, &client).await,
        TokenCommand::Revoke { what } => revoke(context, &client, &what).await,
    };
    context.close(connection).await;
    done.map(|()| Exit::Done)
}

/// What a token is to be good for.
struct Wanted {
    role: TokenRoleName,
    name: Option<String>,
    ttl: Duration,
}

/// Makes a token. Its secret never leaves this command.
async fn create(client: &Client, wanted: &Wanted) -> Result<(JoinToken, api::Token), Failure> {
    // The authority's hash is known once the cluster has answered.
    let mut token = JoinToken::generate([0; 32]).map_err(|error| failure(error.into()))?;
    let request = api::CreateTokenRequest {
        request_id: String::new(),
        token_id: token.id.clone(),
        secret_digest: token.secret_digest().to_vec().into(),
        role: api::TokenRole::from(wanted.role).into(),
        joiner_name: wanted.name.clone().unwrap_or_default(),
        ttl: Some(prost_types::Duration {
            seconds: wanted.ttl.as_secs() as i64,
            nanos: wanted.ttl.subsec_nanos() as i32,
        }),
    };
    let answer = client.create_token(request).await?;
    token.ca_digest = answer
        .ca_digest
        .as_ref()
        .try_into()
        .map_err(|_| Failure::new("the cluster did not say what its authority is"))?;
    Ok((token, answer.token.unwrap_or_default()))
}

/// Makes a token and prints it.
async fn show(context: &Context, client: &Client, wanted: &Wanted) -> Result<(), Failure> {
    let (token, made) = create(client, wanted).await?;
    context.print(
        || {
            let mut value = json::token(&made);
            value["token"] = Value::String(token.to_string());
            value
        },
        || {
            context.note(&tables::how_to_join(&made, Now::real()));
            format!("{token}\n")
        },
    )
}

/// Makes a token for each file that is not there, so that a deployment can say so every time it comes up.
async fn write(
    context: &Context,
    client: &Client,
    wanted: &Wanted,
    files: &[PathBuf],
) -> Result<(), Failure> {
    for file in files {
        let path = context.current.join(file);
        let failed = |error: std::io::Error| {
            Failure::new(format!("cannot write {}: {error}", file.display()))
        };
        if path.try_exists().map_err(failed)? {
            context.note(&format!("{} is there, and stays as it is", file.display()));
            continue;
        }
        let (token, made) = create(client, wanted).await?;
        node::tls::write_secret(&path, &token.to_string()).map_err(failed)?;
        context.note(&tables::where_it_is(&made, file, Now::real()));
    }
    Ok(())
}

async fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    let mut tokens = Vec::new();
    let mut request = api::ListTokensRequest {
        page_size: 1_000,
        ..api::ListTokensRequest::default()
    };
    loop {
        let answer = client.list_tokens(request.clone()).await?;
        tokens.extend(answer.tokens);
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page_token = answer.next_page_token;
    }
    context.print(
        || tokens.iter().map(json::token).collect(),
        || tables::tokens(&tokens, Now::real()),
    )
}

/// A token by its id, or the certificates of a principal by its name.
async fn revoke(context: &Context, client: &Client, what: &str) -> Result<(), Failure> {
    if what.contains('/') {
        let request = api::RevokePrincipalRequest {
            request_id: String::new(),
            principal: what.to_owned(),
        };
        client.revoke_principal(request).await?;
        return context.print(
            || serde_json::json!({"revoked": what}),
            || format!("the certificates of {what} do not count any more; it may join again with a new token\n"),
        );
    }
    // A whole token may be pasted: only its id is sent.
    let id = match what.parse::<JoinToken>() {
        Ok(token) => token.id,
        Err(_) => what.to_owned(),
    };
    let request = api::RevokeTokenRequest {
        request_id: String::new(),
        name: format!("tokens/{id}"),
    };
    client
        .revoke_token(request)
        .await
        .map_err(|error| match error.kind {
            client::Kind::NotFound => error.with_hint("look for its id with `shoal token list`"),
            _ => error,
        })?;
    context.print(
        || serde_json::json!({"revoked": format!("tokens/{id}")}),
        || format!("token {id} lets nobody in any more\n"),
    )
}
