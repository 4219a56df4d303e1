//! Inputs from `http://` and `https://`: fetched whole, going on where a connection broke if the server allows it.

use std::io;
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url};
use thiserror::Error;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

/// How patient a fetch is.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// How long to wait for a connection. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long a server may say nothing. Default: 60 s.
    pub read_timeout: Duration,
    /// How many redirects are followed. Default: 10.
    pub redirects: usize,
    /// How often in a row it is tried without a byte of progress. Default: 5.
    pub tries: u32,
    /// The wait before the second try; it doubles each time. Default: 250 ms.
    pub first_wait: Duration,
    /// Whether the proxies that the environment names are used. Default: yes.
    pub proxies: bool,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            redirects: 10,
            tries: 5,
            first_wait: Duration::from_millis(250),
            proxies: true,
        }
    }
}

/// Why an address could not be fetched. No message holds a password.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address is none.
    #[error("{address} is no http(s) address: {why}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server refuses.
    #[error("{address} answered {status}")]
    Refused {
        /// The address.
        address: String,
        /// Code and words of the answer.
        status: String,
    },
    /// The server could not be reached, failed or broke off, as often as it was tried.
    #[error("{address} could not be fetched, tried {tries} times: {why}")]
    Unreachable {
        /// The address.
        address: String,
        /// How often in a row.
        tries: u32,
        /// What happened the last time.
        why: String,
    },
    /// What was sent was not answered.
    #[error("{address} did not answer: {why}")]
    NoAnswer {
        /// The address.
        address: String,
        /// What happened.
        why: String,
    },
    /// The bytes could not be written here.
    #[error("cannot store what was fetched: {0}")]
    Sink(#[from] io::Error),
    /// The TLS of this program could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Where fetched bytes go.
#[tonic::async_trait]
pub trait HttpSink: Send {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    async fn write(&mut self, data: &[u8]) -> io::Result<()>;

    /// Drops everything taken so far: the server starts over.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn restart(&mut self) -> io::Result<()>;
}

#[tonic::async_trait]
impl HttpSink for File {
    async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.write_all(data).await
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.rewind().await?;
        self.set_len(0).await
    }
}

#[tonic::async_trait]
impl HttpSink for Vec<u8> {
    async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.extend_from_slice(data);
        Ok(())
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

/// A client as all of this program's are: by its TLS, under its name.
pub(crate) fn client() -> ClientBuilder {
    // Another part of the process may have installed it before; it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().user_agent(concat!("shoal/", env!("CARGO_PKG_VERSION")))
}

/// Fetches addresses. A clone shares its connections.
#[derive(Debug, Clone)]
pub struct HttpFetcher {
    client: Client,
    limits: HttpLimits,
}

impl HttpFetcher {
    /// A fetcher with these limits.
    ///
    /// # Errors
    /// [`HttpError::Tls`].
    pub fn new(limits: HttpLimits) -> Result<Self, HttpError> {
        let builder = client()
            .connect_timeout(limits.connect_timeout)
            .read_timeout(limits.read_timeout)
            .redirect(reqwest::redirect::Policy::limited(limits.redirects));
        let builder = if limits.proxies {
            builder
        } else {
            builder.no_proxy()
        };
        let client = builder
            .build()
            .map_err(|error| HttpError::Tls(words(&error)))?;
        Ok(Self { client, limits })
    }

    /// Fetches all of an address into `sink` and gives the number of bytes. A user and password in the address are sent as
    /// basic authentication. Failures that may pass (no connection, a broken one, 408, 429 and 5xx) are tried again, from
    /// the byte that is missing where the server can name the version of what it sends, else from the first.
    ///
    /// # Errors
    /// [`HttpError`], with the address without its password.
    pub async fn fetch(&self, address: &str, sink: &mut dyn HttpSink) -> Result<u64, HttpError> {
        let url = parse(address)?;
        let shown = shown(&url);
        let mut got = Got::default();
        let mut tries = 0;
        loop {
            let before = got.bytes;
            let why = match self.once(&url, &mut got, sink).await {
                Ok(()) => return Ok(got.bytes),
                Err(Failure::Passing(why)) => why,
                Err(Failure::Refused(status)) => {
                    return Err(HttpError::Refused {
                        address: shown,
                        status: status.to_string(),
                    });
                }
                Err(Failure::Sink(error)) => return Err(error.into()),
            };
            tries = if got.bytes > before { 1 } else { tries + 1 };
            if tries >= self.limits.tries {
                return Err(HttpError::Unreachable {
                    address: shown,
                    tries,
                    why,
                });
            }
            tracing::info!(address = %shown, tries, %why, "fetching again");
            tokio::time::sleep(self.limits.first_wait * 2u32.saturating_pow(tries - 1)).await;
        }
    }

    /// One request, from the byte that is missing on.
    async fn once(&self, url: &Url, got: &mut Got, sink: &mut dyn HttpSink) -> Result<(), Failure> {
        let mut request = self.client.get(url.clone());
        if let Some(version) = got.version.as_ref().filter(|_| got.bytes > 0) {
            request = request
                .header(RANGE, format!("bytes={}-", got.bytes))
                .header(IF_RANGE, version);
        }
        let mut response = request.send().await.map_err(passing)?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if continues(&response, got.bytes) => {}
            StatusCode::OK => {
                if got.bytes > 0 {
                    sink.restart().await.map_err(Failure::Sink)?;
                }
                *got = Got {
                    bytes: 0,
                    version: version(response.headers()),
                };
            }
            status if may_pass(status) => {
                return Err(Failure::Passing(format!("the server answered {status}")));
            }
            status => return Err(Failure::Refused(status)),
        }
        while let Some(data) = response.chunk().await.map_err(passing)? {
            sink.write(&data).await.map_err(Failure::Sink)?;
            got.bytes += data.len() as u64;
        }
        Ok(())
    }
}

/// What is here already.
#[derive(Debug, Default)]
struct Got {
    bytes: u64,
    /// By which the server knows that it still has the same: a strong entity tag, or a date.
    version: Option<String>,
}

/// Why one request failed.
enum Failure {
    Passing(String),
    Refused(StatusCode),
    Sink(io::Error),
}

fn passing(error: reqwest::Error) -> Failure {
    Failure::Passing(words(&error.without_url()))
}

fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
                | StatusCode::RANGE_NOT_SATISFIABLE
        )
}

/// Whether an answer in part begins where it was asked to.
fn continues(response: &Response, from: u64) -> bool {
    let range = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|range| range.to_str().ok());
    from > 0 && range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

fn version(headers: &HeaderMap) -> Option<String> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    text(ETAG)
        .filter(|tag| !tag.starts_with("W/"))
        .or_else(|| text(LAST_MODIFIED))
}

pub(crate) fn parse(address: &str) -> Result<Url, HttpError> {
    let refused = |why: &str| HttpError::Address {
        address: without_user(address),
        why: why.to_owned(),
    };
    let url = Url::parse(address).map_err(|error| refused(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(refused("it begins with neither http:// nor https://")),
    }
}

/// An address without its user and password.
fn shown(url: &Url) -> String {
    without_user(url.as_str())
}

pub(crate) fn without_user(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{}", &rest[end..]),
        None => address.to_owned(),
    }
}

/// An error with its causes, each once.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !words.contains(&next) {
            words = format!("{words}: {next}");
        }
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        let check = |address: &str, expected: &str| assert_eq!(without_user(address), expected);
        check("http://u:p@host/a@b", "http://host/a@b");
        check("http://u:p@x@host?q=a@b", "http://host?q=a@b");
        check("https://host:8/a", "https://host:8/a");
        check("no address", "no address");
    }

    #[test]
    fn other_schemes_are_refused() {
        for bad in ["ftp://host/a", "file:///etc/passwd", "host/a", ""] {
            assert!(
                matches!(parse(bad), Err(HttpError::Address { .. })),
                "{bad}"
            );
        }
    }
}
