use super::{Backoff, RetryTokens, WaitBudget};
use crate::env::Env;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often, how soon and how long to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Policy {
    /// Attempts of one operation that may end in a fault, the first included. 5.
    pub attempts: u32,
    /// How long after its first fault an operation may still be tried. 5 min.
    pub elapsed: Duration,
    /// How long a read may wait in total because it was asked to. 1 h.
    pub wait: Duration,
    /// When to try again.
    pub backoff: Backoff,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 5,
            elapsed: Duration::from_secs(300),
            wait: Duration::from_secs(3_600),
            backoff: Backoff::default(),
        }
    }
}

impl Policy {
    /// Sets how many attempts may end in a fault; at least 1.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets how long after its first fault an operation may still be tried.
    #[must_use]
    pub fn with_elapsed(mut self, elapsed: Duration) -> Self {
        self.elapsed = elapsed;
        self
    }

    /// Sets how long a read may wait in total because it was asked to; zero never waits.
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets when to try again.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// Try again after this time.
    Again {
        /// How long to wait first.
        after: Duration,
    },
    /// The budget for faults is used up, for this reason.
    GiveUp(&'static str),
    /// The budget for waiting does not last for the wait that is due. Put the work off.
    PutOff {
        /// The wait that would be due.
        wait: Duration,
    },
}

/// One operation that is being tried.
#[derive(Clone, Debug)]
pub struct Trial {
    policy: Policy,
    faults: u32,
    refusals: u32,
    first_fault: Option<Duration>,
}

impl Trial {
    /// An operation that has not been tried.
    pub fn new(policy: &Policy) -> Self {
        Self { policy: *policy, faults: 0, refusals: 0, first_fault: None }
    }

    /// Attempts that ended in a fault.
    pub fn faults(&self) -> u32 {
        self.faults
    }

    /// The operation met a fault.
    pub fn fault(&mut self, env: &Env, shared: &RetryTokens) -> Next {
        let now = env.monotonic();
        let first = *self.first_fault.get_or_insert(now);
        let after = self.policy.backoff.wait(self.faults, env.random());
        self.faults += 1;
        if self.faults >= self.policy.attempts {
            Next::GiveUp("attempts")
        } else if now.saturating_sub(first) + after > self.policy.elapsed {
            Next::GiveUp("elapsed time")
        } else if !shared.take() {
            Next::GiveUp("retries shared by the whole source")
        } else {
            Next::Again { after }
        }
    }

    /// The operation was refused for its rate, and asked to wait for `demanded`.
    pub fn rate_limited(&mut self, env: &Env, budget: &mut WaitBudget, demanded: Option<Duration>) -> Next {
        let backoff = &self.policy.backoff;
        let wait = match (demanded, self.refusals) {
            (Some(demanded), 0) => demanded,
            // Asked to come back at once, and refused again: each time a little later, so that it ends.
            (Some(demanded), n) => demanded.max(backoff.wait_at_least_half(n - 1, env.random())),
            (None, n) => backoff.wait_at_least_half(n, env.random()),
        };
        self.refusals += 1;
        if budget.take(wait) { Next::Again { after: wait } } else { Next::PutOff { wait } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(mut next: impl FnMut() -> Next) -> (Vec<Duration>, Next) {
        let mut waits = Vec::new();
        loop {
            match next() {
                Next::Again { after } => waits.push(after),
                end => return (waits, end),
            }
        }
    }

    #[test]
    fn gives_up_after_the_attempts_of_the_policy() {
        let (env, tokens) = (Env::system(), RetryTokens::default());
        let mut trial = Trial::new(&Policy::default());
        let (waits, end) = waits(|| trial.fault(&env, &tokens));
        assert_eq!((waits.len(), end), (4, Next::GiveUp("attempts")));
        assert!(waits.first().is_some_and(|w| *w <= Duration::from_millis(50)), "{waits:?}");
    }

    #[test]
    fn gives_up_when_the_time_for_faults_would_be_over() {
        let (env, tokens) = (Env::system(), RetryTokens::default());
        let slow = Backoff { first: Duration::from_secs(1_000_000_000), max: Duration::MAX, ..Backoff::default() };
        let mut trial = Trial::new(&Policy::default().with_backoff(slow));
        assert_eq!(trial.fault(&env, &tokens), Next::GiveUp("elapsed time"));
    }

    #[test]
    fn gives_up_when_the_shared_retries_are_gone() {
        let (env, tokens) = (Env::system(), RetryTokens::new(1));
        assert!(matches!(Trial::new(&Policy::default()).fault(&env, &tokens), Next::Again { .. }));
        assert!(
            matches!(Trial::new(&Policy::default()).fault(&env, &tokens), Next::GiveUp(why) if why.contains("shared"))
        );
    }

    #[test]
    fn waits_as_long_as_asked_and_not_beyond_the_budget() {
        let env = Env::system();
        let mut budget = WaitBudget::new(Duration::from_secs(10));
        let mut trial = Trial::new(&Policy::default());
        let four = Duration::from_secs(4);
        assert_eq!(trial.rate_limited(&env, &mut budget, Some(four)), Next::Again { after: four });
        let minute = Duration::from_secs(60);
        assert_eq!(trial.rate_limited(&env, &mut budget, Some(minute)), Next::PutOff { wait: minute });
    }

    #[test]
    fn refusals_that_ask_for_no_wait_end_too() {
        let env = Env::system();
        for demanded in [Some(Duration::ZERO), None] {
            let mut budget = WaitBudget::new(Duration::from_secs(300));
            let mut trial = Trial::new(&Policy::default());
            let (waits, end) = waits(|| trial.rate_limited(&env, &mut budget, demanded));
            assert!(waits.len() < 30 && matches!(end, Next::PutOff { .. }));
            assert!(waits.first().is_some_and(|w| *w <= Duration::from_millis(50)));
        }
    }
}
