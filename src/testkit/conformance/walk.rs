use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// How many awaits or accesses of a call are tried, at most: more than any call should have.
const MOST: u64 = 1_000;

/// Awaits or accesses of a call, one after the other, for a loop that breaks off where the call has come to its end. What a call does last
/// matters most: a loop that has not got there has shown nothing, and panics.
pub(super) struct Walk {
    call: &'static str,
    first: u64,
    last: Option<u64>,
    tried: u64,
    longest: Option<u64>,
    grown: u64,
}

/// A walk that counts from `first`.
pub(super) fn until_the_end_of(call: &'static str, first: u64) -> Walk {
    Walk { call, first, last: None, tried: 0, longest: None, grown: 0 }
}

impl Walk {
    /// How many awaits or accesses the whole call has had this time. A call that reads what is there is longer each time that something has come:
    /// the walk comes one step nearer to its end all the same.
    pub(super) fn was(&mut self, length: u64) {
        self.grown = self.longest.map_or(0, |longest| length.saturating_sub(longest));
        self.longest = self.longest.max(Some(length));
    }
}

impl Iterator for Walk {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let words = "awaits or accesses were tried: what it does last was not";
        assert!(self.tried < MOST, "{} has not ended, and {MOST} {words}", self.call);
        self.tried += 1;
        self.last = Some(self.last.map_or(self.first, |last| last + 1 + self.grown));
        self.last
    }
}

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

/// What a future gives, and how often it has waited.
pub(super) async fn counted<T>(future: impl Future<Output = T>) -> (T, u64) {
    let mut future = pin!(future);
    let mut waits = 0;
    let ended = poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        waits += u64::from(polled.is_pending());
        polled
    });
    (ended.await, waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a call is tried that has these numbers of awaits, until it ends.
    fn tried(length: impl Fn(u64) -> u64) -> Vec<u64> {
        let (mut walk, mut tried) = (until_the_end_of("a call", 1), Vec::new());
        while let Some(wait) = walk.next() {
            let length = length(tried.len() as u64);
            tried.push(wait);
            if wait > length {
                break;
            }
            walk.was(length);
        }
        tried
    }

    #[test]
    fn each_await_of_a_call_is_tried() {
        assert_eq!(tried(|_| 4), [1, 2, 3, 4, 5]);
        assert_eq!(tried(|time| if time == 0 { 4 } else { 2 }), [1, 2, 3]);
    }

    #[test]
    fn the_end_of_a_call_that_grows_is_reached_one_await_after_the_other() {
        let left = |growth: u64| {
            let tried = tried(|time| 20 + growth * time);
            let left = (0..).zip(&tried).map(|(time, wait)| (20 + growth * time + 1).saturating_sub(*wait));
            left.collect::<Vec<u64>>()
        };
        assert!(left(0).into_iter().eq((0..=20).rev()));
        for growth in [1, 3, 50] {
            // How much it grows is known after it has grown once.
            assert!(left(growth).into_iter().skip(1).eq((0..20 + growth).rev()), "{:?}", left(growth));
        }
    }

    #[tokio::test]
    #[should_panic(expected = "a call has not ended, and 1000 awaits or accesses were tried")]
    async fn a_call_that_never_ends_is_told_of() {
        for wait in until_the_end_of("a call", 1) {
            let waits = async {
                for _ in 0..2_000 {
                    tokio::task::yield_now().await;
                }
            };
            if dropped_at(wait, waits).await.is_some() {
                break;
            }
        }
    }
}
