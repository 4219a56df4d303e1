//! `DataService`.

use contract::api;
use contract::api::data_service_server::DataService;
use coordinator::Refusal;
use ledger::{Datum, Ledger};
use tonic::{Request, Response, Status, async_trait};

use super::execution::find;
use crate::context::{Context, checked};
use crate::convert::datum::datum;
use crate::convert::int64;
use crate::convert::name::{DatumName, ExecutionName, ProjectName};
use crate::page::Page;
use crate::status::status;

pub(crate) struct Data(pub(crate) Context);

#[async_trait]
impl DataService for Data {
    async fn get_datum(
        &self,
        request: Request<api::GetDatumRequest>,
    ) -> Result<Response<api::GetDatumResponse>, Status> {
        let request = checked(request)?;
        let name = DatumName::parse("name", &request.name).map_err(status)?;
        let ledger = self.0.read(request.consistency).await?;
        let found = ledger
            .datum(&name.id)
            .filter(|datum| *datum.project == *name.project);
        let found = found.ok_or_else(|| status(Refusal::not_found(&name.to_string())))?;
        Ok(Response::new(api::GetDatumResponse {
            datum: Some(datum(&ledger, found)),
            revision: int64(ledger.revision()),
        }))
    }

    async fn list_data(
        &self,
        request: Request<api::ListDataRequest>,
    ) -> Result<Response<api::ListDataResponse>, Status> {
        let request = checked(request)?;
        let ledger = self.0.read(request.consistency).await?;
        list(&ledger, request).map(Response::new).map_err(status)
    }
}

fn list(ledger: &Ledger, request: api::ListDataRequest) -> Result<api::ListDataResponse, Refusal> {
    let project = ProjectName::parse("parent", &request.parent)?.0;
    let (size, token) = (request.page_size, request.page_token.clone());
    let others = api::ListDataRequest {
        page_size: 0,
        page_token: String::new(),
        consistency: 0,
        ..request
    };
    let page = Page::parse(size, &token, &others)?;
    let after = page.after.as_deref();
    let (data, next_page_token) = match others.execution.as_str() {
        "" => page.fill(following(ledger.data(&project), after, ledger)),
        name => {
            let name = ExecutionName::parse("execution", name)?;
            if name.project != project {
                return Err(Refusal::invalid_field(
                    "execution",
                    format!("must be of projects/{project}"),
                ));
            }
            let outputs = find(ledger, &name)?.outputs.clone();
            page.fill(following(
                outputs.iter().rev().filter_map(|id| ledger.datum(id)),
                after,
                ledger,
            ))
        }
    };
    Ok(api::ListDataResponse {
        data,
        next_page_token,
        revision: int64(ledger.revision()),
    })
}

/// The data that follow the one of that id.
fn following<'a>(
    data: impl Iterator<Item = &'a Datum>,
    after: Option<&str>,
    ledger: &'a Ledger,
) -> impl Iterator<Item = (String, api::Datum)> {
    let mut passing = after.map(str::to_owned);
    let rest = data.filter(move |datum| {
        let passed = passing.is_some();
        passing.take_if(|last| *last == datum.datum_id.to_string());
        !passed
    });
    rest.map(|item| (item.datum_id.to_string(), datum(ledger, item)))
}
