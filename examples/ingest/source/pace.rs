//! `[source.budget]`, `concurrency` and `priority`: how fast the API is asked.

use crate::value::Duration;
use crate::with::With;
use landfall::connectors::http::RestBuilder;
use landfall::retry;
use landfall::retry::rate::{Calls, Learn, Quota, Rate, RateBudget, Reset, StoreRates};
use landfall::store::Store;
use landfall::{Error, Result};
use serde::Deserialize;

/// How many calls the API lets through. A call must find room in all quotas that count it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    /// What the budget is called; where it is shared, the same for all who share it.
    #[serde(default = "api")]
    name: String,
    /// A place through which several processes share it: a folder, or a bucket (`s3://…`, `az://…`, `gs://…`).
    shared: Option<String>,
    quotas: Vec<QuotaTable>,
}

fn api() -> String {
    "api".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaTable {
    /// All of them hold at once.
    #[serde(default)]
    rates: Vec<RateTable>,
    /// Which calls it counts; all, if it does not say.
    #[serde(default)]
    of: Vec<CallsTable>,
    /// Also believe what responses say is left.
    learn: Option<LearnTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateTable {
    calls: u32,
    per: Duration,
    #[serde(default)]
    window: Window,
}

/// How the API counts.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Window {
    /// Any stretch of that length.
    #[default]
    Moving,
    /// Stretches one after the other; the first call begins one.
    Fixed,
    /// Stretches by the clock.
    Aligned,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallsTable {
    /// `*` stands for one segment, `**` at the end for any number.
    path: Option<String>,
    #[serde(default)]
    methods: Vec<String>,
    host: Option<String>,
    weight: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "true, or a table with `remaining`, and `reset` and `as`")]
enum LearnTable {
    Usual(bool),
    Headers { remaining: String, reset: Option<String>, r#as: Option<ResetForm> },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ResetForm {
    Seconds,
    Epoch,
    EpochMillis,
    Date,
}

impl Budget {
    pub(super) fn add(&self, source: RestBuilder) -> Result<RestBuilder> {
        let mut budget =
            RateBudget::named(&self.name).with_all(&self.quotas, |budget, quota| budget.quota(quota.build()));
        if let Some(place) = &self.shared {
            budget = budget.shared(StoreRates::in_store(&Store::from_uri(place)?, "rates")?);
        }
        Ok(source.budget(&budget.build()?))
    }
}

impl QuotaTable {
    fn build(&self) -> Quota {
        let rates = self.rates.iter().map(|rate| {
            let known = Rate::new(rate.calls, rate.per.0);
            match rate.window {
                Window::Moving => known,
                Window::Fixed => known.fixed(),
                Window::Aligned => known.aligned(),
            }
        });
        let learn = match &self.learn {
            None | Some(LearnTable::Usual(false)) => None,
            Some(LearnTable::Usual(true)) => Some(Learn::usual()),
            Some(LearnTable::Headers { remaining, reset, r#as }) => {
                let form = r#as.map_or(Reset::Auto, |form| match form {
                    ResetForm::Seconds => Reset::Seconds,
                    ResetForm::Epoch => Reset::Epoch,
                    ResetForm::EpochMillis => Reset::EpochMillis,
                    ResetForm::Date => Reset::Date,
                });
                Some(Learn::remaining(remaining).with_some(reset.as_ref(), |learn, header| learn.reset(header, form)))
            }
        };
        Quota::new(rates).with_all(&self.of, |quota, calls| quota.of(calls.build())).with_some(learn, Quota::learn)
    }
}

impl CallsTable {
    fn build(&self) -> Calls {
        let calls = self.path.as_ref().map_or_else(Calls::all, Calls::path);
        calls
            .with_all(&self.methods, |calls, method| calls.method(method))
            .with_some(self.host.as_ref(), |calls, host| calls.host(host))
            .with_some(self.weight, Calls::weight)
    }
}

/// How many calls run at the same time: a number, or between two; found out between 1 and 64 without it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a number of calls, or a table with some of `min`, `max`, `initial`, `decrease`, `tolerance`"
)]
pub(crate) enum Concurrency {
    Fixed(u32),
    Between(Between),
}

/// What is missing stays at the library's defaults.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Between {
    min: Option<u32>,
    max: Option<u32>,
    /// Where it begins.
    initial: Option<u32>,
    /// What is left of it after an overload, from 0 to 1.
    decrease: Option<f64>,
    /// How many times slower than usual an answer may be before it goes down.
    tolerance: Option<f64>,
}

impl Concurrency {
    pub(super) fn build(self) -> Result<retry::Concurrency> {
        let between = match self {
            Self::Fixed(0) => return Err(wrong("no calls at the same time ask nothing")),
            Self::Fixed(calls) => return Ok(retry::Concurrency::fixed(calls)),
            Self::Between(between) => between,
        };
        let usual = retry::Concurrency::default();
        let (min, max) = (between.min.unwrap_or(usual.min), between.max.unwrap_or(usual.max));
        let mut calls = retry::Concurrency::between(min, max)
            .with_some(between.initial, retry::Concurrency::with_initial)
            .with_some(between.tolerance, retry::Concurrency::with_tolerance);
        calls.decrease = between.decrease.unwrap_or(calls.decrease);
        if min == 0 || max < min || !(min..=max).contains(&calls.initial) {
            return Err(wrong("these bounds leave no room").with_hint("1 ≤ `min` ≤ `initial` ≤ `max`"));
        }
        if !(calls.decrease > 0.0 && calls.decrease < 1.0 && calls.tolerance >= 1.0) {
            return Err(wrong("these factors do not lower anything")
                .with_hint("`decrease` lies between 0 and 1, and `tolerance` is at least 1"));
        }
        Ok(calls)
    }
}

fn wrong(what: &'static str) -> Error {
    Error::config("read spec", what).with("key", "source.concurrency")
}

/// What goes first where a budget is shared.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Priority {
    #[default]
    Incremental,
    Backfill,
}

impl Priority {
    pub(super) fn build(self) -> retry::Priority {
        match self {
            Self::Incremental => retry::Priority::Incremental,
            Self::Backfill => retry::Priority::Backfill,
        }
    }
}
