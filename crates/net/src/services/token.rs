//! `TokenService`.

use contract::api;
use contract::api::ErrorReason;
use contract::api::token_service_server::TokenService;
use coordinator::{Answer, Refusal};
use tonic::{Request, Response, Status, async_trait};

use super::join::digest;
use crate::context::{Context, checked};
use crate::convert::int64;
use crate::convert::token::token;
use crate::page::Page;
use crate::ports::Signing;
use crate::secure::Caller;
use crate::status::status;

pub(crate) struct Tokens {
    pub(crate) context: Context,
    /// What certificates are signed with; nothing on a cluster without TLS.
    pub(crate) signing: Option<Signing>,
}

#[async_trait]
impl TokenService for Tokens {
    async fn create_token(
        &self,
        request: Request<api::CreateTokenRequest>,
    ) -> Result<Response<api::CreateTokenResponse>, Status> {
        let caller = request.extensions().get::<Caller>();
        let creator = caller.map(Caller::name).unwrap_or_default().to_owned();
        let request = checked(request)?;
        let Some(signing) = &self.signing else {
            return Err(status(Refusal::new(
                ErrorReason::StateForbids,
                "this cluster runs without TLS: whoever reaches it may join, and tokens are of no use",
            )));
        };
        let ca_digest = digest(&signing.authority).map_err(status)?;
        let request = coordinator::Request::CreateToken { request, creator };
        let token = self.changed(request).await?;
        Ok(Response::new(api::CreateTokenResponse {
            token: Some(token),
            ca_digest: bytes::Bytes::copy_from_slice(&ca_digest),
            revision: int64(self.context.ledger().revision()),
        }))
    }

    async fn list_tokens(
        &self,
        request: Request<api::ListTokensRequest>,
    ) -> Result<Response<api::ListTokensResponse>, Status> {
        let request = checked(request)?;
        let others = api::ListTokensRequest::default();
        let page = Page::parse(request.page_size, &request.page_token, &others).map_err(status)?;
        let ledger = self.context.ledger();
        let rest = ledger.tokens().filter(|known| {
            page.after
                .as_deref()
                .is_none_or(|after| &*known.token_id > after)
        });
        let items = rest.map(|known| (known.token_id.to_string(), token(known)));
        let (tokens, next_page_token) = page.fill(items);
        Ok(Response::new(api::ListTokensResponse {
            tokens,
            next_page_token,
            revision: int64(ledger.revision()),
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<api::RevokeTokenRequest>,
    ) -> Result<Response<api::RevokeTokenResponse>, Status> {
        let request = checked(request)?;
        let name = request.name.clone();
        let request = coordinator::Request::RevokeToken(request);
        self.context
            .mutations
            .request(request)
            .await
            .map_err(status)?;
        let ledger = self.context.ledger();
        let id = name.trim_start_matches("tokens/");
        Ok(Response::new(api::RevokeTokenResponse {
            token: ledger.token(id).map(token),
            revision: int64(ledger.revision()),
        }))
    }

    async fn revoke_principal(
        &self,
        request: Request<api::RevokePrincipalRequest>,
    ) -> Result<Response<api::RevokePrincipalResponse>, Status> {
        let request = coordinator::Request::RevokePrincipal(checked(request)?);
        self.context
            .mutations
            .request(request)
            .await
            .map_err(status)?;
        Ok(Response::new(api::RevokePrincipalResponse {
            revision: int64(self.context.ledger().revision()),
        }))
    }
}

impl Tokens {
    /// Makes a change and answers with the token that it was about.
    async fn changed(&self, request: coordinator::Request) -> Result<api::Token, Status> {
        let answer = self.context.mutations.request(request).await;
        let Answer::Token { token_id } = answer.map_err(status)? else {
            return Err(status(Refusal::new(
                ErrorReason::InternalFault,
                "a token was not created, and not refused",
            )));
        };
        let ledger = self.context.ledger();
        ledger.token(&token_id).map(token).ok_or_else(|| {
            status(Refusal::new(
                ErrorReason::InternalFault,
                "the token is not in the ledger that was published",
            ))
        })
    }
}
