//! Lists and single resources, through the public client.

use client::Kind;
use contract::api::{self, ErrorReason, State};
use contract::link;
use coordinator::Answer;

use crate::support::host::{Host, Server};
use crate::support::{impatient, ledgers};

async fn with_executions(count: i64) -> (std::sync::Arc<Host>, Server, client::Client) {
    let host = Host::new();
    for number in 0..count {
        host.apply(vec![ledgers::create_execution(&format!("e{number}"))]);
    }
    let server = host.serve().await;
    let client = impatient(&server.address);
    (host, server, client)
}

#[tokio::test]
async fn pages_hold_everything_once_newest_first() {
    let (host, server, client) = with_executions(7).await;
    let mut request = api::ListExecutionsRequest {
        parent: "projects/p".to_owned(),
        page_size: 3,
        ..Default::default()
    };
    let mut names = Vec::new();
    loop {
        let page = client.list_executions(request.clone()).await.unwrap();
        names.extend(page.executions.into_iter().map(|execution| execution.name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        // What is new meanwhile is on no later page.
        host.apply(vec![ledgers::create_execution(&format!(
            "later{}",
            names.len()
        ))]);
    }
    let expected: Vec<_> = (1..=7)
        .rev()
        .map(|number| format!("projects/p/executions/{number}"))
        .collect();
    assert_eq!(names, expected);
    server.stop().await;
}

#[tokio::test]
async fn a_page_token_belongs_to_its_request() {
    let (_host, server, client) = with_executions(3).await;
    let mut request = api::ListExecutionsRequest {
        parent: "projects/p".to_owned(),
        page_size: 1,
        ..Default::default()
    };
    request.page_token = client
        .list_executions(request.clone())
        .await
        .unwrap()
        .next_page_token;
    let narrowed = api::ListExecutionsRequest {
        states: vec![State::Queued.into()],
        ..request.clone()
    };
    let error = client.list_executions(narrowed).await.unwrap_err();
    assert_eq!(error.reason, Some(ErrorReason::InvalidPageToken));
    assert_eq!(error.violations[0].field, "page_token");
    assert_eq!(
        client
            .list_executions(request)
            .await
            .unwrap()
            .executions
            .len(),
        1
    );
    server.stop().await;
}

#[tokio::test]
async fn selectors_narrow_a_list() {
    let (host, server, client) = with_executions(2).await;
    host.apply(vec![ledgers::create_pipeline("pipe")]);
    host.apply(vec![ledgers::assign(1, "w")]);
    let count = async |pipeline: &str, states: &[State]| {
        let states = states.iter().map(|state| i32::from(*state)).collect();
        let request = api::ListExecutionsRequest {
            parent: "projects/p".to_owned(),
            pipeline: pipeline.to_owned(),
            states,
            ..Default::default()
        };
        client
            .list_executions(request)
            .await
            .map(|page| page.executions.len())
    };
    assert_eq!(count("", &[]).await, Ok(4));
    assert_eq!(count("projects/p/pipelines/1", &[]).await, Ok(2));
    assert_eq!(count("", &[State::Complete]).await, Ok(0));
    assert_eq!(
        count("projects/q/pipelines/1", &[])
            .await
            .unwrap_err()
            .violations[0]
            .field,
        "pipeline"
    );
    server.stop().await;
}

#[tokio::test]
async fn resources_are_shown_or_not_found() {
    let (host, server, client) = with_executions(1).await;
    host.apply(vec![ledgers::create_pipeline("pipe")]);
    host.apply(vec![ledgers::assign(1, "w")]);
    let seal = feed::SealHasher::new().seal();
    host.apply(vec![ledgers::finish(
        "w",
        host.fence(1),
        seal,
        &[("a.txt", b"bytes")],
    )]);

    let get = api::GetExecutionRequest {
        name: "projects/p/executions/1".to_owned(),
        ..Default::default()
    };
    let execution = client.get_execution(get).await.unwrap().execution.unwrap();
    assert_eq!(execution.state(), State::Complete);
    assert_eq!(execution.attempts.len(), 1);
    assert_eq!(execution.outputs[0].locations, ["127.0.0.1:1"]);

    let get = api::GetDatumRequest {
        name: execution.outputs[0].name.clone(),
        ..Default::default()
    };
    assert_eq!(
        client.get_datum(get).await.unwrap().datum.unwrap(),
        execution.outputs[0]
    );
    let list = api::ListDataRequest {
        parent: "projects/p".to_owned(),
        execution: execution.name,
        ..Default::default()
    };
    assert_eq!(
        client.list_data(list).await.unwrap().data,
        execution.outputs
    );

    let get = api::GetPipelineRequest {
        name: "projects/p/pipelines/1".to_owned(),
        ..Default::default()
    };
    let pipeline = client.get_pipeline(get).await.unwrap().pipeline.unwrap();
    assert_eq!(pipeline.nodes.len(), 2);
    assert_eq!(pipeline.title, "pair");

    let workers = client
        .list_workers(api::ListWorkersRequest::default())
        .await
        .unwrap()
        .workers;
    assert_eq!(
        (workers.len(), &*workers[0].name, workers[0].connected),
        (1, "workers/w", true)
    );

    for name in ["projects/p/executions/9", "projects/q/executions/1"] {
        let error = client
            .get_execution(api::GetExecutionRequest {
                name: name.to_owned(),
                ..Default::default()
            })
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.metadata["resource"].as_str()),
            (Kind::NotFound, name)
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn what_was_created_is_read_from_the_published_ledger() {
    let host = Host::new();
    let server = host.serve().await;
    let client = impatient(&server.address);
    let request = api::CreatePipelineRequest {
        parent: "projects/p".to_owned(),
        config: "x".into(),
        blueprint: "pair".to_owned(),
        ..Default::default()
    };
    let creating = std::sync::Arc::downgrade(&host);
    host.answer(move |request| {
        let coordinator::Request::CreatePipeline(request) = request else {
            panic!("{request:?}")
        };
        assert_eq!(
            request.request_id.len(),
            36,
            "the client gives every mutation an id"
        );
        if request.validate_only {
            return Ok(Answer::Valid {
                warnings: vec!["odd".to_owned()],
            });
        }
        creating
            .upgrade()
            .unwrap()
            .apply(vec![ledgers::create_pipeline("pipe")]);
        Ok(Answer::Pipeline {
            project: "p".to_owned(),
            number: 1,
            warnings: Vec::new(),
        })
    });
    let checked = api::CreatePipelineRequest {
        validate_only: true,
        ..request.clone()
    };
    let answer = client.create_pipeline(checked).await.unwrap();
    assert_eq!(
        (answer.pipeline.unwrap().name, answer.warnings),
        (String::new(), vec!["odd".to_owned()])
    );
    let answer = client.create_pipeline(request).await.unwrap();
    assert_eq!(answer.pipeline.unwrap().name, "projects/p/pipelines/1");
    assert_eq!(
        answer.revision,
        i64::try_from(host.ledger().revision()).unwrap()
    );
    server.stop().await;
}

#[tokio::test]
async fn what_is_done_for_an_attempt_is_told_until_it_runs_and_of_no_other() {
    let (host, server, client) = with_executions(2).await;
    host.apply(vec![ledgers::assign(1, "w"), ledgers::assign(2, "w")]);
    host.answer(|request| match request {
        coordinator::Request::Explain { .. } => Ok(Answer::Explained {
            explanation: schedule::Explanation {
                standing: "queued: attempt 1 is with worker w".to_owned(),
                workers: Vec::new(),
            },
            revision: 9,
        }),
        other => panic!("{other:?}"),
    });
    let activity = async || {
        let name = "projects/p/executions/1".to_owned();
        let request = api::ExplainExecutionRequest { name };
        client.explain_execution(request).await.unwrap().activity
    };
    assert_eq!(activity().await, "", "the worker says nothing");
    // Both were assigned by one entry, so their fences have one index.
    let of = |execution, text: &str| link::AttemptActivity {
        fence: Some(host.fence(execution).into()),
        text: text.to_owned(),
    };
    let say = |activities| {
        let usage = link::Usage {
            activities,
            ..link::Usage::default()
        };
        *host.usage.lock().unwrap() = Some(usage);
    };
    say(vec![of(2, "pulling b"), of(1, "pulling a")]);
    assert_eq!(activity().await, "pulling a");
    say(vec![of(2, "pulling b")]);
    assert_eq!(activity().await, "");
    // What was said before it ran means nothing any more.
    say(vec![of(1, "pulling a")]);
    host.apply(vec![ledgers::start("w", host.fence(1))]);
    assert_eq!(activity().await, "");
    server.stop().await;
}
