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
        // Links from data name any number of hosts: the later ones share one.
        let name = if known.contains_key(name) || known.len() < MOST { name } else { "" };
        known.entry(name.to_owned()).or_insert_with(|| Breaker::new(&self.policy)).clone()
    }
}

const MOST: usize = 64;
