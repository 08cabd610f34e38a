use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long one piece of work may wait in total because it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitBudget {
    left: Duration,
}

impl WaitBudget {
    /// A budget of `total`; zero never waits.
    pub fn new(total: Duration) -> Self {
        Self { left: total }
    }

    /// What is left.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// Takes `wait` out of the budget if there is that much left, and says whether there was.
    pub fn take(&mut self, wait: Duration) -> bool {
        match self.left.checked_sub(wait) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// Retries that everything which talks to one system shares, so that an outage is not answered with a storm.
///
/// Each retry takes a token and each success gives one back, up to the number there was at the start: a system that
/// fails half of the time is still used to the end, and one that is down gets that many retries from all together.
#[derive(Debug)]
pub struct RetryTokens {
    left: AtomicU32,
    capacity: u32,
}

impl RetryTokens {
    /// `capacity` tokens.
    pub fn new(capacity: u32) -> Self {
        Self { left: AtomicU32::new(capacity), capacity }
    }

    /// Takes a token, if there is one.
    pub fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Gives one back after a success.
    pub fn give(&self) {
        let more = |left: u32| (left < self.capacity).then_some(left + 1);
        let _full = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err();
    }
}

impl Default for RetryTokens {
    /// 100 tokens.
    fn default() -> Self {
        Self::new(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_only_as_long_as_the_budget_lasts() {
        let mut budget = WaitBudget::new(Duration::from_secs(5));
        assert!(budget.take(Duration::from_secs(4)));
        assert!(!budget.take(Duration::from_secs(2)));
        assert_eq!(budget.left(), Duration::from_secs(1));
        assert!(!WaitBudget::new(Duration::ZERO).take(Duration::from_nanos(1)));
    }

    #[test]
    fn an_outage_uses_up_the_shared_retries_and_half_successes_do_not() {
        let tokens = RetryTokens::new(10);
        assert_eq!((0..100).filter(|_| tokens.take()).count(), 10);
        let tokens = RetryTokens::new(10);
        for _ in 0..1_000 {
            assert!(tokens.take());
            tokens.give();
        }
        tokens.give();
        assert_eq!((0..100).filter(|_| tokens.take()).count(), 10);
    }
}
