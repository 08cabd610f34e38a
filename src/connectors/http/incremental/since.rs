use super::format::{CursorFormat, DAY, Unit};
use crate::connectors::http::windows::Window;
use crate::error::{Error, Result};
use crate::json::ValuePath;
use serde::Serialize;
use std::time::Duration;

/// Reads only records whose cursor field is at or above the highest value that the last complete read has seen.
///
/// The API should take the bound as inclusive (`>=`): records at the boundary come again, and a dedup stage removes them. If
/// it does not, say so with [`lower`](Self::lower). For records that become visible late an [`overlap`](Self::overlap) helps;
/// for times there is one by default.
///
/// Bounds are sent in parameters of the query, or in places `{since}` and `{until}` of the path, the query or the body. An API
/// that takes none is read [in the order of its records](Self::row_order) up to the first known one, or
/// [as a whole](Self::client_side).
///
/// Values are compared by their type: numbers without loss of digits, times as times (RFC 3339, dates, and times without an
/// offset, which are taken for UTC), other strings as text. Without an overlap the bound is sent as the API wrote it. A time, or a
/// number with a [`unit`](Self::unit), that is later than the start of the read does not move the bound: a single record
/// dated 2999 would else end all reading. Records are never dropped here: what lies outside of the bounds, or has no value, is
/// landed and left to a stage, such as [`Within`](crate::columnar::Within).
#[derive(Clone, Debug, Serialize)]
#[must_use]
pub struct Since {
    pub(super) field: String,
    pub(super) query: Option<String>,
    pub(super) until_query: Option<String>,
    pub(super) initial: Option<String>,
    pub(super) until: Option<String>,
    pub(super) overlap: Option<Overlap>,
    pub(super) lag: Duration,
    pub(super) unit: Option<Unit>,
    pub(super) format: Option<CursorFormat>,
    pub(super) granularity: Option<Duration>,
    pub(super) lower: Edge,
    pub(super) upper: Edge,
    pub(super) row_order: Option<RowOrder>,
    pub(super) client_side: bool,
    pub(super) window: Option<Window>,
    too_old: CursorTooOld,
    without: Without,
    start_over: bool,
    /// Whether the request has places `{since}` and `{until}`.
    pub(super) since_place: bool,
    pub(super) until_place: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) enum Overlap {
    Time(Duration),
    Number(u64),
}

/// Whether the API gives the records at a bound too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Edge {
    /// `>=` or `<=`.
    Inclusive,
    /// `>` or `<`.
    Exclusive,
}

/// In which order of the cursor field an API gives its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RowOrder {
    /// The oldest first.
    Ascending,
    /// The newest first.
    Descending,
}

/// What to do with records without a value to compare in the cursor field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Without {
    /// Take them, and count them; they do not move the bound. A stage may then filter them.
    #[default]
    Include,
    /// End the read with an error.
    Fail,
}

/// What to do when the API does not go back as far as the bound any more (status 410 for the first page).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CursorTooOld {
    /// End the read with an error.
    #[default]
    Fail,
    /// Read everything that there is, without a bound, or from the initial one on.
    FullRefresh,
    /// Read from so long ago on; what lies between is missing then, and said to be.
    From(Duration),
}

impl Since {
    /// The cursor field: the name of a top-level field, or a path such as `$.meta.updated`.
    pub fn field(field: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            query: None,
            until_query: None,
            initial: None,
            until: None,
            overlap: None,
            lag: Duration::ZERO,
            unit: None,
            format: None,
            granularity: None,
            lower: Edge::Inclusive,
            upper: Edge::Exclusive,
            row_order: None,
            client_side: false,
            window: None,
            too_old: CursorTooOld::default(),
            without: Without::default(),
            start_over: false,
            since_place: false,
            until_place: false,
        }
    }

    /// Sends the lower bound in the parameter `name` of the query.
    pub fn query(mut self, name: impl Into<String>) -> Self {
        self.query = Some(name.into());
        self
    }

    /// Sends an upper bound in the parameter `name` of the query: the time at which the read began, less the
    /// [`lag`](Self::lag), or [`until`](Self::until) if that is lower. It stays the same for all pages of the read.
    pub fn until_query(mut self, name: impl Into<String>) -> Self {
        self.until_query = Some(name.into());
        self
    }

    /// How far behind the present the upper bound stays.
    pub fn lag(mut self, lag: Duration) -> Self {
        self.lag = lag;
        self
    }

    /// The lower bound of the first read; without it the first read has none.
    pub fn initial(mut self, value: impl Into<String>) -> Self {
        self.initial = Some(value.into());
        self
    }

    /// Reads nothing at or above `value`: a bounded load, such as a backfill. Give it a pipeline of its own: its state is then
    /// apart from that of the pipeline that follows the present.
    pub fn until(mut self, value: impl Into<String>) -> Self {
        self.until = Some(value.into());
        self
    }

    /// Begins each read this much before the bound, for records that become visible late. For times, and for numbers with a
    /// [`unit`](Self::unit); there it is 5 minutes unless set, and zero turns it off. With windows it applies to the latest
    /// end alone.
    pub fn overlap(mut self, overlap: Duration) -> Self {
        self.overlap = Some(Overlap::Time(overlap));
        self
    }

    /// Begins each read this much before the bound. For numbers.
    pub fn overlap_number(mut self, overlap: u64) -> Self {
        self.overlap = Some(Overlap::Number(overlap));
        self
    }

    /// The cursor field holds numbers that count time.
    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = Some(unit);
        self
    }

    /// How bounds are written for the API; as it writes its own values unless set.
    pub fn format(mut self, format: CursorFormat) -> Self {
        self.format = Some(format);
        self
    }

    /// The API tells values apart no finer than this: bounds are rounded down to it. Of numbers it is 1.
    pub fn granularity(mut self, granularity: Duration) -> Self {
        self.granularity = Some(granularity);
        self
    }

    /// Whether the API gives the records at the lower bound; [`Inclusive`](Edge::Inclusive) unless set. To an exclusive one the
    /// value one [`granularity`](Self::granularity) below is sent: records that come late with the same value would else be lost.
    pub fn lower(mut self, edge: Edge) -> Self {
        self.lower = edge;
        self
    }

    /// Whether the API gives the records at the upper bound; [`Exclusive`](Edge::Exclusive) unless set. To an inclusive one the
    /// value one [`granularity`](Self::granularity) below is sent, if that is known: records at a bound would else come in
    /// both windows that meet there.
    pub fn upper(mut self, edge: Edge) -> Self {
        self.upper = edge;
        self
    }

    /// What to do with records without a value to compare.
    pub fn without(mut self, without: Without) -> Self {
        self.without = without;
        self
    }

    /// The API gives the records in this order of the cursor field.
    ///
    /// The read ends where the order shows that nothing more is within its bounds: of records in descending order at the first
    /// one below the lower bound, in ascending order at the first one at or above [`until`](Self::until). In ascending order a read
    /// that cannot go on at its page begins again at the highest value so far, not at the bound.
    ///
    /// An order that does not hold loses no records: as soon as it is seen, the read goes on to its very end. Records later
    /// than the read are no sign of an end, and do not count for the order.
    pub fn row_order(mut self, order: RowOrder) -> Self {
        self.row_order = Some(order);
        self
    }

    /// The API takes no bound: each read reads everything. A dedup stage removes what is known.
    pub fn client_side(mut self) -> Self {
        self.client_side = true;
        self
    }

    /// Reads window by window: see [`Window`]. Needs both bounds at the API, an [`initial`](Self::initial) value, and for numbers
    /// that count no time [`until`](Self::until).
    pub fn window(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    /// What to do when the API says that it does not go back as far as the bound; an error unless set.
    pub fn too_old(mut self, policy: CursorTooOld) -> Self {
        self.too_old = policy;
        self
    }

    /// If the cursor field is another one than that of the kept bound, reads everything from the beginning, once. Without
    /// this it is an error: values of different fields do not compare.
    pub fn start_over_on_key_change(mut self) -> Self {
        self.start_over = true;
        self
    }

    /// Which of its places the request has.
    pub(in super::super) fn with_places(mut self, since: bool, until: bool) -> Self {
        (self.since_place, self.until_place) = (since, until);
        self
    }

    pub(in super::super) fn check(&self) -> Result<()> {
        let wrong = |what| Error::config("build source", what).with("field", &self.field);
        if let (Some(initial), Some(until)) = (&self.initial, &self.until) {
            if self.ends_before(initial, until) {
                return Err(wrong("the read ends before it begins").with("initial", initial).with("until", until));
            }
        }
        let sends_lower = self.query.is_some() || self.since_place;
        let sends_upper = self.until_query.is_some() || self.until_place;
        if !sends_lower && self.row_order.is_none() && !self.client_side {
            return Err(wrong("the cursor field is sent nowhere").with_hint(
                "add .query(\"name\"), the parameter in which the API takes the lower bound; if it takes none, say in which \
                 .row_order(…) records come, or that everything is read each time, with .client_side()",
            ));
        }
        if sends_lower && self.client_side {
            return Err(
                wrong("the bound is sent, and said to be taken by nobody").with_hint("leave out .client_side()")
            );
        }
        if self.since_place && self.initial.is_none() {
            return Err(wrong("the first read has no value for the place {since}").with_hint("add .initial(\"value\")"));
        }
        if !sends_upper && !self.lag.is_zero() {
            return Err(wrong("a lag without an upper bound has no effect").with_hint("add .until_query(\"name\")"));
        }
        if let Some(format) = &self.format {
            format.check()?;
            if matches!(format, CursorFormat::Pattern(_)) && self.granule().is_none() && !has_fraction(format) {
                return Err(wrong("nothing tells how finely the format of the cursor can tell times apart")
                    .with_hint("add .granularity(…)"));
            }
        }
        if self.granularity.is_some_and(|g| g.is_zero() || g.subsec_nanos() % 1_000 != 0) {
            return Err(wrong("the granularity is not in whole microseconds"));
        }
        if let Some(window) = &self.window {
            let slicer = window.check()?;
            if !(sends_lower && sends_upper) {
                return Err(wrong("windows need both bounds at the API")
                    .with_hint("add .query(\"name\") and .until_query(\"name\"), or places {since} and {until}"));
            }
            let Some(initial) = &self.initial else {
                return Err(wrong("windows need a beginning").with_hint("add .initial(\"value\")"));
            };
            if window.is_of_numbers() && self.unit.is_none() && self.until.is_none() {
                return Err(wrong("windows of numbers need an end").with_hint("add .until(\"value\")"));
            }
            if self.too_old != CursorTooOld::Fail {
                return Err(wrong("a window cannot begin anywhere else").with_hint("leave out .too_old(…)"));
            }
            if self.lower == Edge::Exclusive && !window.is_of_numbers() && self.granule().is_none() {
                return Err(wrong("what lies just above an exclusive bound cannot be told without a granularity")
                    .with_hint("add .granularity(…)"));
            }
            if self.granule().is_some_and(|g| !slicer.is_in_steps_of(g)) {
                return Err(wrong("the length of windows is no multiple of the granularity of the bounds"));
            }
            for value in [initial].into_iter().chain(&self.until) {
                self.bound(value)?;
            }
        }
        self.path().map(drop)
    }

    pub(in super::super) fn path(&self) -> Result<ValuePath> {
        ValuePath::field(&self.field)
    }

    pub(in super::super) fn name(&self) -> &str {
        &self.field
    }

    pub(in super::super) fn fails_without(&self) -> bool {
        self.without == Without::Fail
    }

    pub(in super::super) fn starts_over(&self) -> bool {
        self.start_over
    }

    pub(in super::super) fn order(&self) -> Option<RowOrder> {
        self.row_order
    }

    pub(in super::super) fn windows(&self) -> Option<&Window> {
        self.window.as_ref()
    }

    pub(in super::super) fn policy_if_too_old(&self) -> CursorTooOld {
        self.too_old
    }

    pub(in super::super) fn parameters(&self) -> Vec<String> {
        self.query.iter().chain(&self.until_query).cloned().collect()
    }

    /// The bounds that go into the query, by the name of their parameter.
    pub(in super::super) fn in_query<'a>(
        &'a self,
        lower: &'a Option<String>,
        upper: &'a Option<String>,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pairs = [(self.query.as_deref(), lower.as_deref()), (self.until_query.as_deref(), upper.as_deref())];
        pairs.into_iter().filter_map(|(name, value)| name.zip(value))
    }

    /// The steps in which the API can tell times apart, if that is known.
    pub(super) fn granule(&self) -> Option<Duration> {
        let of_unit = self.unit.map(|unit| Duration::from_micros(unit.micros().unsigned_abs()));
        let of_format = self.format.as_ref().and_then(CursorFormat::granularity);
        self.granularity.into_iter().chain(of_unit).chain(of_format).max()
    }

    /// Whether bounds are whole days.
    pub(super) fn is_by_day(&self) -> bool {
        self.granule().is_some_and(|g| g.as_micros() % DAY.as_micros() == 0)
    }
}

fn has_fraction(format: &CursorFormat) -> bool {
    matches!(format, CursorFormat::Pattern(pattern) if super::format::has_fraction(pattern))
}
