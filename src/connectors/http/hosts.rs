//! Which of the hosts that a source talks to answer.

use crate::retry::{Breaker, Policy};
use reqwest::Url;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A breaker for each host, for all reads of a source.
#[derive(Debug)]
pub(super) struct Hosts {
    policy: Policy,
    known: Mutex<BTreeMap<String, Breaker>>,
}

impl Hosts {
    pub(super) fn new(policy: &Policy) -> Self {
        Self { policy: *policy, known: Mutex::default() }
    }

    /// The breaker of the origin of `url`.
    pub(super) fn of(&self, url: &Url) -> Breaker {
        self.named(&url.origin().ascii_serialization())
    }

    /// The breaker of what has this name: an endpoint that calls to a host may wait for is none of its origin.
    pub(super) fn named(&self, name: &str) -> Breaker {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(breaker) = known.get(name) {
            return breaker.clone();
        }
        let breaker = Breaker::new(&self.policy);
        // Links from data name any number of hosts.
        if known.len() >= MOST {
            known.retain(|_, breaker| !breaker.is_like_new());
        }
        // Where so many do not answer, a later one is asked by each read for itself: it must not answer for the others.
        if known.len() < MOST {
            known.insert(name.to_owned(), breaker.clone());
        }
        breaker
    }
}

const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::retry::Pass;
    use std::time::Duration;

    fn pass(hosts: &Hosts, env: &Env, n: usize) -> Option<Pass> {
        hosts.named(&n.to_string()).try_enter(env)
    }

    #[test]
    fn no_host_answers_for_another_however_many_there_are() {
        let (hosts, env) = (Hosts::new(&Policy::default()), Env::system());
        for n in 0..1_000 {
            pass(&hosts, &env, n).expect("open").succeeded();
        }
        for n in 0..MOST + 10 {
            pass(&hosts, &env, n).expect("open").refused(&env, Duration::from_secs(3_600));
        }
        assert!((0..MOST).all(|n| pass(&hosts, &env, n).is_none()), "those that refused are known");
        assert!(pass(&hosts, &env, MOST + 20).is_some());
        assert!(hosts.known.lock().expect("not poisoned").len() <= MOST);
    }
}
