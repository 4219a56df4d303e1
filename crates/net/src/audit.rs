//! Who changed what, and who was kept from what: told to the host, for its audit trail.
//!
//! The layer before all services notes who calls what for as long as a call is answered; whoever changes or denies
//! something within it tells so. Denials are told one by one up to a number for each address and minute, so that an attacker cannot
//! fill a disk.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::api::ErrorReason;
use coordinator::{Answer, Refusal, Request, TokenUse};
use http::Uri;
use prost::Message as _;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::Instant;
use tonic::async_trait;

use crate::ports::Mutations;
use crate::secure::Caller;

/// Denials of one address that are told one by one within [`WINDOW`].
const TOLD: u32 = 20;

/// The time in which they are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// How many addresses are remembered at once.
const MAX_SOURCES: usize = 10_000;

/// What kind of event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Something was changed, or refused for what it was.
    Call,
    /// Somebody has joined with a token.
    Joined,
    /// Somebody has tried to.
    JoinDenied,
    /// A caller is not known, or may not do what it tried.
    AuthDenied,
    /// More denials follow from an address than are told one by one.
    Suppressed,
}

impl EventKind {
    /// As it stands in the trail.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Joined => "join",
            Self::JoinDenied => "join.denied",
            Self::AuthDenied => "auth.denied",
            Self::Suppressed => "suppressed",
        }
    }
}

/// A line of the trail. What is not known, or not of this kind of event, is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What kind.
    pub kind: EventKind,
    /// Who, as `user/ann`.
    pub principal: String,
    /// Serial number of its certificate, in hexadecimal digits.
    pub certificate: String,
    /// Address it came from.
    pub source: String,
    /// Which RPC, as `shoal.v1.ExecutionService/CreateExecution`.
    pub method: String,
    /// What it was about: a resource's name.
    pub object: String,
    /// The request's id.
    pub request_id: String,
    /// BLAKE3 of the request, in hexadecimal digits.
    pub digest: String,
    /// `OK`, or the reason of the refusal.
    pub outcome: String,
    /// What whoever was denied was told.
    pub message: String,
}

/// Keeps the trail.
pub trait Audit: Send + Sync + 'static {
    /// Takes an event, without waiting for a disk.
    fn record(&self, event: Event);
}

/// The way to the trail.
pub(crate) struct Trail {
    audit: Arc<dyn Audit>,
    denials: Mutex<BTreeMap<IpAddr, (Instant, u32)>>,
}

impl Trail {
    pub(crate) fn new(audit: Arc<dyn Audit>) -> Arc<Self> {
        Arc::new(Self {
            audit,
            denials: Mutex::default(),
        })
    }

    /// Tells of somebody whose handshake failed.
    pub(crate) fn handshake_failed(&self, remote: std::net::SocketAddr, why: &str) {
        let event = Event {
            source: remote.to_string(),
            message: format!("a TLS handshake failed: {why}"),
            ..empty(EventKind::AuthDenied)
        };
        self.denied(Some(remote.ip()), event);
    }

    fn denied(&self, source: Option<IpAddr>, event: Event) {
        let Some(source) = source else {
            return self.audit.record(event);
        };
        let count = self.count(source);
        if count <= TOLD {
            self.audit.record(event);
        } else if count == TOLD + 1 {
            self.audit.record(Event {
                source: source.to_string(),
                message: format!(
                    "more than {TOLD} denials within a minute: those that follow from this address in this minute are not told"
                ),
                ..empty(EventKind::Suppressed)
            });
        }
    }

    /// The how manyth denial of this minute it is.
    fn count(&self, source: IpAddr) -> u32 {
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        if denials.len() >= MAX_SOURCES {
            denials.retain(|_, (since, _)| since.elapsed() < WINDOW);
        }
        let (since, count) = denials.entry(source).or_insert((Instant::now(), 0));
        if since.elapsed() >= WINDOW {
            (*since, *count) = (Instant::now(), 0);
        }
        *count = count.saturating_add(1);
        *count
    }
}

fn empty(kind: EventKind) -> Event {
    Event {
        kind,
        principal: String::new(),
        certificate: String::new(),
        source: String::new(),
        method: String::new(),
        object: String::new(),
        request_id: String::new(),
        digest: String::new(),
        outcome: String::new(),
        message: String::new(),
    }
}

tokio::task_local! {
    static CALL: Call;
}

/// A call that is being answered.
#[derive(Clone)]
pub(crate) struct Call {
    trail: Option<Arc<Trail>>,
    caller: Option<Caller>,
    uri: Uri,
}

impl Call {
    pub(crate) fn new(trail: Option<Arc<Trail>>, caller: Option<&Caller>, uri: &Uri) -> Self {
        Self {
            trail,
            caller: caller.cloned(),
            uri: uri.clone(),
        }
    }

    /// The call that the current task answers. Whoever starts another task takes it along.
    pub(crate) fn current() -> Option<Self> {
        CALL.try_with(Clone::clone).ok()
    }

    /// What answers it.
    pub(crate) fn scope<F: Future>(self, answer: F) -> TaskLocalFuture<Self, F> {
        CALL.scope(self, answer)
    }

    /// Tells of a refusal, if it is one for what the caller is.
    pub(crate) fn denied(&self, refusal: &Refusal) {
        let is_told = matches!(
            refusal.reason,
            ErrorReason::Unauthenticated | ErrorReason::NotPermitted
        );
        if let Some(trail) = self.trail.as_ref().filter(|_| is_told) {
            self.refused(trail, self.event(EventKind::AuthDenied), refusal);
        }
    }

    /// Tells of a denial, in the words that the caller was given.
    fn refused(&self, trail: &Trail, event: Event, refusal: &Refusal) {
        let source = self.caller.as_ref().map(|caller| caller.remote.ip());
        trail.denied(
            source,
            Event {
                outcome: reason(refusal),
                message: refusal.message.clone(),
                ..event
            },
        );
    }

    /// Tells that an administrator reads what nobody else may.
    pub(crate) fn admitted(&self) {
        if let Some(trail) = &self.trail {
            trail.audit.record(Event {
                outcome: "OK".to_owned(),
                ..self.event(EventKind::Call)
            });
        }
    }

    fn event(&self, kind: EventKind) -> Event {
        let caller = self.caller.as_ref();
        let certificate = caller.and_then(|caller| caller.certificate.as_ref());
        Event {
            principal: caller
                .map(|caller| caller.name().to_owned())
                .unwrap_or_default(),
            certificate: certificate
                .map(|known| known.serial_digits())
                .unwrap_or_default(),
            source: caller.map(Caller::source).unwrap_or_default(),
            method: self.uri.path().trim_start_matches('/').to_owned(),
            ..empty(kind)
        }
    }

    /// Tells what became of a mutation.
    fn done(&self, trail: &Trail, asked: Asked, answer: &Result<Answer, Refusal>) {
        let Asked {
            joiner,
            kind,
            object,
            request_id,
            digest,
        } = asked;
        let mut event = Event {
            object,
            request_id,
            digest,
            ..self.event(kind)
        };
        if let Some(principal) = joiner {
            event.principal = principal;
        }
        match answer {
            Ok(Answer::Valid { .. } | Answer::Explained { .. }) => return,
            Ok(answer) => {
                event.object = made(answer).unwrap_or(event.object);
                event.outcome = "OK".to_owned();
            }
            // The caller repeats it, here or elsewhere, and is answered then.
            Err(refusal) if is_put_off(refusal.reason) => return,
            Err(refusal) if refusal.reason == ErrorReason::JoinDenied => {
                event.kind = EventKind::JoinDenied;
                return self.refused(trail, event, refusal);
            }
            Err(refusal) => event.outcome = reason(refusal),
        }
        trail.audit.record(event);
    }
}

/// Whether a refusal means that it should be asked again.
fn is_put_off(reason: ErrorReason) -> bool {
    matches!(
        reason,
        ErrorReason::NotLeader | ErrorReason::NoQuorum | ErrorReason::NotReady
    )
}

fn reason(refusal: &Refusal) -> String {
    let name = refusal.reason.as_str_name();
    name.trim_start_matches("ERROR_REASON_").to_owned()
}

/// Who somebody wants to be, as `worker/gpu-1`.
fn named(joiner: &TokenUse) -> String {
    let role = joiner
        .role
        .as_str_name()
        .trim_start_matches("TOKEN_ROLE_")
        .to_lowercase();
    match &*joiner.name {
        "" => role,
        name => format!("{role}/{name}"),
    }
}

/// The name of what an answer is about.
fn made(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Pipeline {
            project, number, ..
        } => Some(format!("projects/{project}/pipelines/{number}")),
        Answer::Execution {
            project, number, ..
        } => Some(format!("projects/{project}/executions/{number}")),
        Answer::Member { member_id } => Some(format!("members/{member_id}")),
        Answer::Token { token_id } => Some(format!("tokens/{token_id}")),
        Answer::Joined { .. } | Answer::Explained { .. } | Answer::Valid { .. } => None,
    }
}

/// What a mutation asks for.
struct Asked {
    /// Who it will be, of somebody who joins.
    joiner: Option<String>,
    kind: EventKind,
    object: String,
    request_id: String,
    digest: String,
}

impl Asked {
    /// Nothing for what changes nothing.
    fn of(request: &Request) -> Option<Self> {
        let of = |object: &str, id: &str, bytes: &[u8]| Self {
            joiner: None,
            kind: EventKind::Call,
            object: object.to_owned(),
            request_id: id.to_owned(),
            digest: blake3::hash(bytes).to_hex().to_string(),
        };
        Some(match request {
            Request::CreatePipeline(asked) => {
                of(&asked.parent, &asked.request_id, &asked.encode_to_vec())
            }
            Request::CreateExecution(asked) => {
                of(&asked.parent, &asked.request_id, &asked.encode_to_vec())
            }
            Request::CancelPipeline(asked) => {
                of(&asked.name, &asked.request_id, &asked.encode_to_vec())
            }
            Request::CancelExecution(asked) => {
                of(&asked.name, &asked.request_id, &asked.encode_to_vec())
            }
            Request::AddMember {
                request_id,
                address,
                ..
            } => of(address, request_id, address.as_bytes()),
            Request::RemoveMember {
                request_id,
                member_id,
            } => of(
                &format!("members/{member_id}"),
                request_id,
                &member_id.to_be_bytes(),
            ),
            Request::TransferLeadership { member_id } => of(
                &format!("members/{member_id}"),
                "",
                &member_id.to_be_bytes(),
            ),
            Request::DrainWorker(asked) => {
                of(&asked.name, &asked.request_id, &asked.encode_to_vec())
            }
            Request::CreateToken { request, .. } => {
                let object = format!("tokens/{}", request.token_id);
                of(&object, &request.request_id, &request.encode_to_vec())
            }
            Request::RevokeToken(asked) => {
                of(&asked.name, &asked.request_id, &asked.encode_to_vec())
            }
            Request::RevokePrincipal(asked) => {
                of(&asked.principal, &asked.request_id, &asked.encode_to_vec())
            }
            Request::UseToken(joiner) => Self {
                joiner: Some(named(joiner)),
                kind: EventKind::Joined,
                object: format!("tokens/{}", joiner.token_id),
                request_id: String::new(),
                digest: blake3::hash(&joiner.key_digest).to_hex().to_string(),
            },
            Request::Explain { .. } => return None,
        })
    }
}

/// Takes mutations on, and tells what became of them.
pub(crate) struct Audited(pub(crate) Arc<dyn Mutations>);

#[async_trait]
impl Mutations for Audited {
    async fn request(&self, request: Request) -> Result<Answer, Refusal> {
        let call = Call::current();
        let told = call
            .as_ref()
            .and_then(|call| Some((call, call.trail.as_ref()?)));
        let (Some((call, trail)), Some(asked)) = (told, Asked::of(&request)) else {
            return self.0.request(request).await;
        };
        let answer = self.0.request(request).await;
        call.done(trail, asked, &answer);
        answer
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Event>>);

    impl Audit for Kept {
        fn record(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn denials_are_told_one_by_one_up_to_a_number() {
        let kept = Arc::new(Kept::default());
        let trail = Trail::new(kept.clone());
        let (one, other) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
        for _ in 0..1_000 {
            trail.handshake_failed(one, "no");
        }
        trail.handshake_failed(other, "no");
        let kinds = |kind| {
            kept.0
                .lock()
                .unwrap()
                .iter()
                .filter(|event| event.kind == kind)
                .count()
        };
        assert_eq!(kinds(EventKind::AuthDenied), TOLD as usize + 1);
        assert_eq!(kinds(EventKind::Suppressed), 1);
        tokio::time::advance(WINDOW).await;
        trail.handshake_failed(one, "no");
        assert_eq!(kinds(EventKind::AuthDenied), TOLD as usize + 2);
    }
}
