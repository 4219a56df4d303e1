//! Watches: what is told, and that nothing is lost when connections or servers go.

use client::{Client, ExecutionEvent, PipelineEvent, Stream, StreamExt as _};
use contract::api::{ErrorReason, State};

use crate::support::host::Host;
use crate::support::proxy::Proxy;
use crate::support::{Moving, impatient, ledgers, soon};

async fn next<T>(watch: &mut (impl Stream<Item = Result<T, client::Error>> + Unpin)) -> T {
    soon(watch.next()).await.expect("the watch ended").unwrap()
}

/// Reads until the pipeline or an execution is in a state.
async fn until_execution(
    watch: &mut (impl Stream<Item = Result<PipelineEvent, client::Error>> + Unpin),
    number: i64,
    state: State,
) {
    loop {
        if let PipelineEvent::Execution(execution) = next(watch).await
            && execution.name.ends_with(&format!("/{number}"))
            && execution.state() == state
        {
            return;
        }
    }
}

#[tokio::test]
async fn what_is_then_what_changes_then_the_end() {
    let host = Host::new();
    host.apply(vec![ledgers::create_execution("e")]);
    let server = host.serve().await;
    let mut watch = impatient(&server.address).watch_executions("projects/p/executions/1");
    let ExecutionEvent::Execution(execution) = next(&mut watch).await else {
        panic!()
    };
    assert_eq!(execution.state(), State::Queued);
    let revision = i64::try_from(host.ledger().revision()).unwrap();
    assert_eq!(next(&mut watch).await, ExecutionEvent::InSync(revision));

    host.apply(vec![ledgers::create_execution("another, not watched")]);
    host.apply(vec![ledgers::assign(1, "w")]);
    let ExecutionEvent::Execution(execution) = next(&mut watch).await else {
        panic!()
    };
    assert_eq!(execution.attempts.len(), 1);
    host.apply(vec![ledgers::finish(
        "w",
        host.fence(1),
        feed::SealHasher::new().seal(),
        &[],
    )]);
    let ExecutionEvent::Execution(execution) = next(&mut watch).await else {
        panic!()
    };
    assert_eq!(execution.state(), State::Complete);
    assert!(soon(watch.next()).await.is_none());

    // A watch of what is final already tells it and ends.
    let again: Vec<_> = soon(
        impatient(&server.address)
            .watch_executions("projects/p/executions/1")
            .collect(),
    )
    .await;
    assert_eq!(again.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_watch_goes_on_where_connections_were_cut() {
    let host = Host::new();
    host.apply(vec![ledgers::create_pipeline("pipe")]);
    let server = host.serve().await;
    let proxy = Proxy::to(&server.address).await;
    let client = Client::new(client::Fixed::one(proxy.address.clone()));
    let mut watch = client.watch_pipelines("projects/p/pipelines/1");
    until_execution(&mut watch, 1, State::Queued).await;

    // Both nodes change while the connection is down.
    proxy.cut();
    let seal = feed::SealHasher::new().seal();
    host.apply(vec![ledgers::assign(1, "w"), ledgers::assign(2, "w")]);
    host.apply(vec![ledgers::finish("w", host.fence(1), seal, &[])]);
    until_execution(&mut watch, 1, State::Complete).await;

    proxy.cut();
    host.apply(vec![ledgers::finish("w", host.fence(2), seal, &[])]);
    let rest: Vec<_> = soon(watch.collect()).await;
    let rest: Vec<PipelineEvent> = rest.into_iter().map(Result::unwrap).collect();
    let mut last = rest.iter().filter_map(|event| match event {
        PipelineEvent::Pipeline(pipeline) => Some(pipeline.state()),
        _ => None,
    });
    assert_eq!(last.next_back(), Some(State::Complete));
    assert!(proxy.connections() >= 3);
    server.stop().await;
}

/// Each connection carries a little more than the one before, so that all of them get somewhere.
#[tokio::test]
async fn a_watch_cut_at_any_byte_tells_every_resource() {
    let host = Host::new();
    for number in 0..200 {
        host.apply(vec![
            ledgers::create_execution(&format!("a{number}")),
            ledgers::create_execution(&format!("b{number}")),
        ]);
    }
    let server = host.serve().await;
    let proxy = Proxy::to(&server.address).await;
    proxy.budgets((0..8).map(|step| 20_000 + 3_137 * step));
    let client = Client::new(client::Fixed::one(proxy.address.clone()));
    let mut watch = client.watch_executions("projects/p");
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 400 {
        if let ExecutionEvent::Execution(execution) = next(&mut watch).await {
            seen.insert(execution.name);
        }
    }
    assert!(proxy.connections() > 2);
    drop(watch);
    server.stop().await;
}

#[tokio::test]
async fn a_watch_moves_to_the_next_server_when_one_stops() {
    let host = Host::new();
    host.apply(vec![ledgers::create_execution("e")]);
    let first = host.serve().await;
    let place = Moving::at(first.address.clone());
    let mut watch = Client::new(place.clone()).watch_executions("projects/p/executions/1");
    next(&mut watch).await;
    let second = host.serve().await;
    place.to(second.address.clone());
    first.stop().await;
    host.apply(vec![ledgers::assign(1, "w")]);
    host.apply(vec![ledgers::finish(
        "w",
        host.fence(1),
        feed::SealHasher::new().seal(),
        &[],
    )]);
    let rest: Vec<_> = soon(watch.collect()).await;
    let Some(Ok(ExecutionEvent::Execution(execution))) = rest.last() else {
        panic!("{rest:?}")
    };
    assert_eq!(execution.state(), State::Complete);
    second.stop().await;
}

#[tokio::test]
async fn a_watch_of_nothing_is_refused() {
    let host = Host::new();
    let server = host.serve().await;
    let client = impatient(&server.address);
    let mut watch = client.watch_pipelines("projects/p/pipelines/1");
    let error = soon(watch.next()).await.unwrap().unwrap_err();
    assert_eq!(error.reason, Some(ErrorReason::ResourceNotFound));
    let mut watch = client.watch_pipelines("projects/p/executions/1");
    assert_eq!(
        soon(watch.next()).await.unwrap().unwrap_err().reason,
        Some(ErrorReason::InvalidField)
    );
    server.stop().await;
}
