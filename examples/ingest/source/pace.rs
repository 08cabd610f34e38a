//! `[source.budget]`, `concurrency` and `priority`: how fast the API is asked.

use crate::place;
use crate::value::Duration;
use crate::with::With;
use landfall::Result;
use landfall::connectors::http::RestBuilder;
use landfall::retry;
use landfall::retry::rate::{Calls, Learn, Quota, Rate, RateBudget, Reset, StoreRates};
use serde::Deserialize;

/// How many calls the API lets through. A call must find room in all quotas that count it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    /// What the budget is called; where it is shared, the same for all who share it.
    #[serde(default = "api")]
    name: String,
    /// A place through which several processes share it: a folder, `file:///…` or `s3://…`.
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
#[serde(untagged, expecting = "true, or a table with `remaining`, and `reset` and `as`")]
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
            let place = place::Place::open(place)?;
            budget = budget.shared(StoreRates::in_store(&place.store, &place.below("rates"))?);
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
#[serde(untagged, expecting = "a number of calls, or a table with `min` and `max`")]
pub(crate) enum Concurrency {
    Fixed(u32),
    Between { min: u32, max: u32 },
}

impl Concurrency {
    pub(super) fn build(self) -> retry::Concurrency {
        match self {
            Self::Fixed(calls) => retry::Concurrency::fixed(calls),
            Self::Between { min, max } => retry::Concurrency::between(min, max),
        }
    }
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
