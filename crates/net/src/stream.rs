//! Streams that a task fills: how they end when the task fails, and when the node stops.

use std::future::Future;

use contract::api::ErrorReason;
use coordinator::Refusal;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::status::status;

/// What a streaming RPC answers with.
pub(crate) type Answers<T> = ReceiverStream<Result<T, Status>>;

/// Where a task puts what it streams.
pub(crate) type Out<T> = mpsc::Sender<Result<T, Status>>;

/// Runs a task that fills a stream of at most `queue` waiting messages. A refusal, and a panic, is the stream's last item:
/// only a stream whose task ended well ends without one.
pub(crate) fn fill<T, F, Task>(queue: usize, task: F) -> Answers<T>
where
    T: Send + 'static,
    F: FnOnce(Out<T>) -> Task,
    Task: Future<Output = Result<(), Refusal>> + Send + 'static,
{
    let (out, receiver) = mpsc::channel(queue);
    let task = tokio::spawn(task(out.clone()));
    tokio::spawn(async move {
        let failure = match task.await {
            Ok(Ok(())) => return,
            Ok(Err(refusal)) => refusal,
            Err(panic) => {
                tracing::error!(%panic, "a stream's task failed");
                Refusal::new(
                    ErrorReason::InternalFault,
                    "a fault of Shoal itself; the node's log has more",
                )
            }
        };
        // Nobody may be reading any more.
        let _ = out.send(Err(status(failure))).await;
    });
    ReceiverStream::new(receiver)
}

/// Why a stream ends when its node does.
pub(crate) fn stopping() -> Refusal {
    Refusal::new(ErrorReason::NotReady, "the node is stopping; ask again")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt as _;

    #[tokio::test]
    async fn a_panic_and_a_refusal_are_the_last_item() {
        let panics = fill::<u8, _, _>(1, |out| async move {
            out.send(Ok(1)).await.unwrap();
            assert_eq!(out.capacity(), 9, "on purpose");
            Ok(())
        });
        let items: Vec<_> = panics.collect().await;
        assert_eq!(items.len(), 2);
        assert_eq!(items[1].as_ref().unwrap_err().code(), tonic::Code::Internal);

        let refuses = fill::<u8, _, _>(1, |_| async { Err(stopping()) });
        let items: Vec<_> = refuses.collect().await;
        assert_eq!(
            items[0].as_ref().unwrap_err().code(),
            tonic::Code::Unavailable
        );

        let items: Vec<_> = fill::<u8, _, _>(1, |_| async { Ok(()) }).collect().await;
        assert!(items.is_empty());
    }
}
