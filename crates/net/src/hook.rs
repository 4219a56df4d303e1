//! A message to an address of the operator's, over `http://` or `https://`.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;

use crate::HttpError;
use crate::fetch::{client, parse, without_user, words};

/// As much of an answer as is shown, in bytes.
const MAX_WORDS: usize = 500;

/// Sends a JSON text as a POST, with `token` as a bearer token if there is one. Done when the answer is one of the 2xx; redirects are none, so that
/// neither the text nor the token goes anywhere else than it was meant to.
///
/// # Errors
/// [`HttpError`]; what the server says of it stands in [`HttpError::Refused`]. No message holds the token or a password.
pub async fn post_json(
    address: &str,
    token: Option<&str>,
    text: String,
    timeout: Duration,
) -> Result<(), HttpError> {
    let url = parse(address)?;
    let shown = without_user(address);
    let client = client()
        .timeout(timeout)
        .redirect(Policy::none())
        .build()
        .map_err(|error| HttpError::Tls(words(&error)))?;
    let request = client
        .post(url)
        .header(CONTENT_TYPE, "application/json")
        .body(text);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let no_answer = |error: reqwest::Error| HttpError::NoAnswer {
        address: shown.clone(),
        why: match error.is_timeout() {
            true => format!("no answer within {} s", timeout.as_secs_f64()),
            false => words(&error.without_url()),
        },
    };
    let response = request.send().await.map_err(no_answer)?;
    if response.status().is_success() {
        return Ok(());
    }
    let status = response.status();
    let said = beginning(response).await;
    Err(HttpError::Refused {
        address: shown,
        status: match said.is_empty() {
            true => status.to_string(),
            false => format!("{status}: {said}"),
        },
    })
}

/// The beginning of what an answer says, on one line.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    // A server that breaks off has said what it has said.
    while let Ok(Some(part)) = response.chunk().await {
        bytes.extend_from_slice(&part);
        if bytes.len() >= MAX_WORDS {
            break;
        }
    }
    bytes.truncate(MAX_WORDS);
    let text = String::from_utf8_lossy(&bytes);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
