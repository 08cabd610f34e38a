//! `[source.since]`: ask for what changed since the last run.

use crate::value::{Duration, Text};
use crate::with::With;
use landfall::connectors::http::{self, CursorFormat};
use serde::Deserialize;

/// Ask for what changed since the last run. The bounds go into parameters of the query, or into places `{since}` and `{until}`
/// of the request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Since {
    /// The field that tells when a record changed.
    pub(crate) field: String,
    /// The parameter that asks for records from a bound on.
    query: Option<String>,
    /// The parameter that asks for records up to a bound: the begin of the read.
    until_query: Option<String>,
    /// The bound of the first read.
    initial: Option<Text>,
    /// Nothing at or above it is read: a bounded load.
    until: Option<Text>,
    /// How far to reach back, for records that come late: a time such as `5m`, or a number where the field is one.
    overlap: Option<Amount>,
    /// How far the upper bound stays behind the present.
    lag: Option<Duration>,
    /// What a number in the field counts, since 1970.
    unit: Option<Unit>,
    /// How bounds are written for the API: `rfc3339`, `date`, `seconds`, `milliseconds`, `microseconds`, or a pattern of `strftime`.
    format: Option<String>,
    /// The API tells values apart no finer than this.
    granularity: Option<Duration>,
    /// Whether the API gives the records at the bound too.
    lower: Option<Edge>,
    upper: Option<Edge>,
    /// The order of the records by the field.
    row_order: Option<RowOrder>,
    /// The API takes no bound: each read reads everything.
    #[serde(default)]
    client_side: bool,
    /// What to do with records without a value in the field.
    without: Option<Without>,
    /// What to do when the API does not go back as far as the bound.
    too_old: Option<TooOld>,
    /// If the field is another one than before, read everything once.
    #[serde(default)]
    start_over_on_key_change: bool,
    /// Read window by window.
    window: Option<Window>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "a time such as \"5m\", or a whole number")]
enum Amount {
    Number(u64),
    Time(Duration),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
}

impl From<Unit> for http::Unit {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::Seconds => Self::Seconds,
            Unit::Milliseconds => Self::Milliseconds,
            Unit::Microseconds => Self::Microseconds,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Edge {
    Inclusive,
    Exclusive,
}

impl From<Edge> for http::Edge {
    fn from(edge: Edge) -> Self {
        match edge {
            Edge::Inclusive => Self::Inclusive,
            Edge::Exclusive => Self::Exclusive,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RowOrder {
    Ascending,
    Descending,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Without {
    Include,
    Fail,
}

/// `fail`, `full_refresh`, or `{ from = "30d" }`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "`too_old` is \"fail\", \"full_refresh\", or { from = \"30d\" }")]
enum TooOld {
    Word(TooOldWord),
    From { from: Duration },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TooOldWord {
    Fail,
    FullRefresh,
}

/// How long windows are: a time, `days`, `weeks`, `months`, or a number; or a table that also says more.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a time such as \"6h\", \"days\", \"weeks\", \"months\", a number, or a table with `of`"
)]
enum Window {
    Step(Step),
    Table {
        of: Step,
        zone: Option<String>,
        order: Option<WindowOrder>,
        /// Windows at the same time.
        parallel: Option<usize>,
    },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Step {
    Calendar(Calendar),
    Number(u64),
    Time(Duration),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Calendar {
    Days,
    Weeks,
    Months,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WindowOrder {
    OldestFirst,
    NewestFirst,
}

impl Since {
    pub(super) fn add(&self, source: http::RestBuilder) -> http::RestBuilder {
        let parallel = match &self.window {
            Some(Window::Table { parallel, .. }) => *parallel,
            _ => None,
        };
        source.since(self.build()).with_some(parallel, http::RestBuilder::parallel_windows)
    }

    fn build(&self) -> http::Since {
        http::Since::field(&self.field)
            .with_some(self.query.as_ref(), |since, name| since.query(name))
            .with_some(self.until_query.as_ref(), |since, name| since.until_query(name))
            .with_some(self.initial.as_ref(), |since, value| since.initial(&value.0))
            .with_some(self.until.as_ref(), |since, value| since.until(&value.0))
            .with_some(self.overlap.as_ref(), |since, overlap| match overlap {
                Amount::Time(time) => since.overlap(time.0),
                Amount::Number(number) => since.overlap_number(*number),
            })
            .with_some(self.lag, |since, lag| since.lag(lag.0))
            .with_some(self.unit, |since, unit| since.unit(unit.into()))
            .with_some(self.format.as_deref(), |since, format| since.format(written(format)))
            .with_some(self.granularity, |since, step| since.granularity(step.0))
            .with_some(self.lower, |since, edge| since.lower(edge.into()))
            .with_some(self.upper, |since, edge| since.upper(edge.into()))
            .with_some(self.row_order, |since, order| {
                since.row_order(match order {
                    RowOrder::Ascending => http::RowOrder::Ascending,
                    RowOrder::Descending => http::RowOrder::Descending,
                })
            })
            .with_flag(self.client_side, http::Since::client_side)
            .with_some(self.without, |since, without| {
                since.without(match without {
                    Without::Include => http::Without::Include,
                    Without::Fail => http::Without::Fail,
                })
            })
            .with_some(self.too_old, |since, policy| {
                since.too_old(match policy {
                    TooOld::Word(TooOldWord::Fail) => http::CursorTooOld::Fail,
                    TooOld::Word(TooOldWord::FullRefresh) => http::CursorTooOld::FullRefresh,
                    TooOld::From { from: time } => http::CursorTooOld::From(time.0),
                })
            })
            .with_flag(self.start_over_on_key_change, http::Since::start_over_on_key_change)
            .with_some(self.window.as_ref(), |since, window| since.window(window.build()))
    }
}

fn written(format: &str) -> CursorFormat {
    match format {
        "rfc3339" => CursorFormat::Rfc3339,
        "date" => CursorFormat::Date,
        "seconds" => CursorFormat::Epoch(http::Unit::Seconds),
        "milliseconds" => CursorFormat::Epoch(http::Unit::Milliseconds),
        "microseconds" => CursorFormat::Epoch(http::Unit::Microseconds),
        pattern => CursorFormat::Pattern(pattern.to_owned()),
    }
}

impl Window {
    fn build(&self) -> http::Window {
        let (step, zone, order) = match self {
            Self::Step(step) => (step, None, None),
            Self::Table { of, zone, order, .. } => (of, zone.as_ref(), *order),
        };
        let window = match step {
            Step::Calendar(Calendar::Days) => http::Window::days(),
            Step::Calendar(Calendar::Weeks) => http::Window::weeks(),
            Step::Calendar(Calendar::Months) => http::Window::months(),
            Step::Number(number) => http::Window::numbers(*number),
            Step::Time(time) => http::Window::of(time.0),
        };
        window.with_some(zone, |window, zone| window.zone(zone)).with_some(order, |window, order| {
            window.order(match order {
                WindowOrder::OldestFirst => http::WindowOrder::OldestFirst,
                WindowOrder::NewestFirst => http::WindowOrder::NewestFirst,
            })
        })
    }
}
