use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// How many awaits of a call are tried, at most.
pub(super) const AWAITS: u64 = 50;

/// Drops a future at the await, counted from 1, at which it waits; what it gave, if it ended before.
pub(super) async fn dropped_at<T>(wait: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = wait;
    let ended = poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending => {
            left = left.saturating_sub(1);
            if left == 0 { Poll::Ready(None) } else { Poll::Pending }
        }
    });
    ended.await
}
