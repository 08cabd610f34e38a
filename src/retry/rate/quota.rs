use super::budget::RateBudget;
use super::calls::{Call, Calls};
use super::headers::Learn;
use super::shared::SharedRates;
use super::window::Rate;
use crate::error::{Error, Result};
use std::sync::Arc;

/// One of the limits of an API: which calls it counts, and how many of them it lets through.
#[derive(Clone, Debug)]
#[must_use]
pub struct Quota {
    pub(super) rates: Vec<Rate>,
    pub(super) calls: Vec<Calls>,
    pub(super) learn: Option<Learn>,
}

impl Quota {
    /// All `rates` hold at once: the strictest decides. It counts every call unless [`of`](Self::of) says which.
    pub fn new(rates: impl IntoIterator<Item = Rate>) -> Self {
        Self { rates: rates.into_iter().collect(), calls: Vec::new(), learn: None }
    }

    /// No rate is known beforehand: the headers of responses alone say what is left.
    pub fn learned(learn: Learn) -> Self {
        Self::new([]).learn(learn)
    }

    /// Counts these calls; several kinds may share the quota, each with a weight of its own. The first that fits decides.
    pub fn of(mut self, calls: Calls) -> Self {
        self.calls.push(calls);
        self
    }

    /// Also believes what responses say is left.
    pub fn learn(mut self, learn: Learn) -> Self {
        self.learn = Some(learn);
        self
    }

    /// What `call` takes out of it, if it counts it.
    pub(super) fn weight(&self, call: &Call<'_>) -> Option<u32> {
        if self.calls.is_empty() {
            return Some(1);
        }
        self.calls.iter().find(|calls| calls.fits(call)).map(|calls| calls.weight)
    }

    fn check(&self) -> Result<()> {
        if self.rates.is_empty() && self.learn.is_none() {
            return Err(wrong("a quota has neither a rate nor headers to learn from"));
        }
        if let Some(rate) = self.rates.iter().find(|rate| rate.limit == 0 || rate.per.is_zero()) {
            return Err(wrong("a rate without calls or without time lets nothing through")
                .with("limit", rate.limit)
                .with("per_seconds", rate.per.as_secs_f64()));
        }
        let weights = self.calls.iter().map(|calls| calls.weight);
        for weight in weights.chain(self.calls.is_empty().then_some(1)) {
            if weight == 0 {
                return Err(wrong("calls without weight are not counted").with_hint("leave them out of the quota"));
            }
            if let Some(rate) = self.rates.iter().find(|rate| weight > rate.limit) {
                return Err(wrong("a call weighs more than a whole window holds: it could never be made")
                    .with("weight", weight)
                    .with("limit", rate.limit)
                    .with("per_seconds", rate.per.as_secs_f64()));
            }
        }
        Ok(())
    }
}

/// Describes a [`RateBudget`].
#[derive(Debug)]
#[must_use]
pub struct RateBudgetBuilder {
    pub(super) name: String,
    pub(super) quotas: Vec<Quota>,
    pub(super) shared: Option<Arc<dyn SharedRates>>,
}

impl RateBudgetBuilder {
    /// Adds a limit. A call must find room in all quotas that count it.
    pub fn quota(mut self, quota: Quota) -> Self {
        self.quotas.push(quota);
        self
    }

    /// Shares the accounting of the rates with other processes. They describe the budget alike: its name, and its quotas in
    /// the same order. What is learned from headers stays in the process.
    pub fn shared(mut self, rates: impl SharedRates) -> Self {
        self.shared = Some(Arc::new(rates));
        self
    }

    /// Makes the budget.
    ///
    /// # Errors
    /// `Config` for a rate that lets nothing through, a weight above a limit, a quota without rates and headers, or more
    /// than 64 quotas.
    pub fn build(self) -> Result<RateBudget> {
        if self.quotas.len() > MOST_QUOTAS {
            return Err(wrong("a budget has too many quotas").with("limit", MOST_QUOTAS));
        }
        for (n, quota) in self.quotas.iter().enumerate() {
            quota.check().map_err(|e| e.with("budget", &self.name).with("quota", n))?;
        }
        Ok(RateBudget::new(self))
    }
}

fn wrong(what: &'static str) -> Error {
    Error::config("build rate budget", what)
}

/// As many as a set of them has bits.
const MOST_QUOTAS: usize = 64;
