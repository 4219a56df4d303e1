//! `WorkerService`.

use contract::api;
use contract::api::worker_service_server::WorkerService;
use coordinator::Refusal;
use tonic::{Request, Response, Status, async_trait};

use crate::context::{Context, checked};
use crate::convert::int64;
use crate::convert::name::WorkerName;
use crate::convert::worker::{listed, whole};
use crate::page::Page;
use crate::status::status;

pub(crate) struct Workers(pub(crate) Context);

#[async_trait]
impl WorkerService for Workers {
    async fn get_worker(
        &self,
        request: Request<api::GetWorkerRequest>,
    ) -> Result<Response<api::GetWorkerResponse>, Status> {
        let api::GetWorkerRequest { name, consistency } = checked(request)?;
        let parsed = WorkerName::parse("name", &name).map_err(status)?;
        let ledger = self.0.read(consistency).await?;
        let found = ledger
            .worker(&parsed.0)
            .ok_or_else(|| status(Refusal::not_found(&name)))?;
        Ok(Response::new(api::GetWorkerResponse {
            worker: Some(whole(
                &ledger,
                found,
                self.0.surroundings.contact(&found.name),
            )),
            revision: int64(ledger.revision()),
        }))
    }

    async fn drain_worker(
        &self,
        request: Request<api::DrainWorkerRequest>,
    ) -> Result<Response<api::DrainWorkerResponse>, Status> {
        let request = checked(request)?;
        let parsed = WorkerName::parse("name", &request.name).map_err(status)?;
        let drain = coordinator::Request::DrainWorker(request);
        self.0.mutations.request(drain).await.map_err(status)?;
        let ledger = self.0.ledger();
        let found = ledger.worker(&parsed.0);
        Ok(Response::new(api::DrainWorkerResponse {
            worker: found.map(|found| {
                let contact = self.0.surroundings.contact(&found.name);
                whole(&ledger, found, contact)
            }),
            revision: int64(ledger.revision()),
        }))
    }

    async fn list_workers(
        &self,
        request: Request<api::ListWorkersRequest>,
    ) -> Result<Response<api::ListWorkersResponse>, Status> {
        let request = checked(request)?;
        let others = api::ListWorkersRequest::default();
        let page = Page::parse(request.page_size, &request.page_token, &others).map_err(status)?;
        let ledger = self.0.read(request.consistency).await?;
        let rest = ledger.workers().filter(|known| {
            page.after
                .as_deref()
                .is_none_or(|after| &*known.name > after)
        });
        let items = rest.map(|known| {
            let contact = self.0.surroundings.contact(&known.name);
            (known.name.to_string(), listed(&ledger, known, contact))
        });
        let (workers, next_page_token) = page.fill(items);
        Ok(Response::new(api::ListWorkersResponse {
            workers,
            next_page_token,
            revision: int64(ledger.revision()),
        }))
    }
}
