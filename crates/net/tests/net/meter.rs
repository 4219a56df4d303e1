//! Calls are counted by method and code.

use contract::api;
use contract::api::execution_service_client::ExecutionServiceClient;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::host::{Answered, Host};
use crate::support::soon;

#[tokio::test]
async fn calls_are_counted_by_method_and_code() {
    let host = Host::new();
    let server = host.serve().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut calls = host.calls.lock().await;
    let mut executions = ExecutionServiceClient::new(channel.clone());

    let list = api::ListExecutionsRequest {
        parent: "projects/p".to_owned(),
        ..Default::default()
    };
    executions.list_executions(list).await.unwrap();
    let counted: Answered = soon(calls.recv()).await.unwrap();
    assert_eq!(counted, ("ExecutionService/ListExecutions", "OK", true));

    let missing = api::GetExecutionRequest {
        name: "projects/p/executions/7".to_owned(),
        ..Default::default()
    };
    executions.get_execution(missing).await.unwrap_err();
    let counted = soon(calls.recv()).await.unwrap();
    assert_eq!(
        counted,
        ("ExecutionService/GetExecution", "NOT_FOUND", true)
    );

    // A stream has no time, and is counted when it is over.
    let watch = api::WatchExecutionsRequest {
        name: "projects/p".to_owned(),
        ..Default::default()
    };
    let watched = executions.watch_executions(watch).await.unwrap();
    assert!(calls.try_recv().is_err());
    drop(watched);
    let counted = soon(calls.recv()).await.unwrap();
    assert_eq!(
        counted,
        ("ExecutionService/WatchExecutions", "CANCELLED", false)
    );

    // What is not of the contract has no name of its own: callers cannot make up labels.
    let mut health = HealthClient::new(channel);
    health.check(HealthCheckRequest::default()).await.unwrap();
    let counted = soon(calls.recv()).await.unwrap();
    assert_eq!(counted, ("other", "OK", false));
    drop(calls);
    drop((executions, health));
    server.stop().await;
}
