//! Refuses records that break declared rules.

mod limit;
mod rule;
mod within;

#[cfg(test)]
mod tests;

pub use limit::Limit;
pub use within::Within;

use self::rule::Rule;
use super::Batch;
use super::schema::ColumnType;
use crate::error::{Error, Result};
use crate::source::ComponentConfig;
use crate::stage::{Output, Stage, StageState};
use arrow::array::{BooleanArray, BooleanBufferBuilder};
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;

/// Refuses the records that break a rule; the others pass unchanged and in order.
///
/// Rules are checked column by column, in the order in which they were given. A record is refused once, by the first rule
/// that it breaks, with the rule's word as code (`required`, `range`, `pattern`, `one_of`, `parses`, or the name of a
/// custom rule). Null breaks no rule but `required`. Columns are named, nested ones by a path such as `customer.id`.
///
/// A rule that names a column that is not there, or does not fit its type, is an error of kind `Config` at the first batch:
/// it would refuse everything, or nothing.
///
/// ```
/// use landfall::columnar::Validate;
///
/// let validate = Validate::new()
///     .required("id")
///     .range("amount", 0.0..)
///     .range("created_at", "2000-01-01T00:00:00Z"..)
///     .pattern("email", "^[^@]+@[^@]+$")
///     .one_of("status", ["open", "paid"]);
/// # drop(validate);
/// ```
#[derive(Clone, Debug)]
pub struct Validate {
    name: String,
    rules: Vec<Arc<Rule>>,
}

impl Validate {
    /// No rules yet.
    pub fn new() -> Self {
        Self { name: "validate".to_owned(), rules: Vec::new() }
    }

    fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(Arc::new(rule));
        self
    }

    /// The column must have a value.
    #[must_use]
    pub fn required(self, column: impl Into<String>) -> Self {
        self.rule(Rule::required(column.into()))
    }

    /// A value must lie in the range. Limits are numbers for columns of numbers and decimals, which are compared exactly,
    /// and text for dates (`2024-05-17`), times (RFC 3339) and decimals (`0.01`).
    #[must_use]
    pub fn range<L: Into<Limit> + Clone>(self, column: impl Into<String>, range: impl RangeBounds<L>) -> Self {
        let (low, high) = (range.start_bound().cloned(), range.end_bound().cloned());
        self.rule(Rule::range(column.into(), low.map(Into::into), high.map(Into::into)))
    }

    /// A string must match the regular expression somewhere; anchor it with `^` and `$` to match the whole.
    #[must_use]
    pub fn pattern(self, column: impl Into<String>, pattern: impl AsRef<str>) -> Self {
        self.rule(Rule::pattern(column.into(), pattern.as_ref()))
    }

    /// A value must be one of these: strings for columns of strings, whole numbers for those of numbers.
    #[must_use]
    pub fn one_of<L: Into<Limit>>(self, column: impl Into<String>, values: impl IntoIterator<Item = L>) -> Self {
        self.rule(Rule::one_of(column.into(), values.into_iter().map(Into::into).collect()))
    }

    /// A string must be readable as a value of `kind`, as [`Decode`](super::Decode) would read it: for text columns that
    /// are cast later on.
    #[must_use]
    pub fn parses(self, column: impl Into<String>, kind: ColumnType) -> Self {
        self.rule(Rule::parses(column.into(), kind))
    }

    /// A rule of your own: true for the rows that keep it. False and null refuse a row, with `name` as the code.
    #[must_use]
    pub fn custom<F>(self, name: &'static str, keeps: F) -> Self
    where
        F: Fn(&Batch) -> Result<BooleanArray> + Send + Sync + 'static,
    {
        self.rule(Rule::custom(name, Box::new(keeps)))
    }

    /// Names the stage; `validate` unless set.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl Default for Validate {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage for Validate {
    type In = Batch;
    type Out = Batch;

    fn name(&self) -> &str {
        &self.name
    }

    fn config(&self) -> Result<ComponentConfig> {
        self.rules.iter().try_for_each(|rule| rule.check())?;
        let rules: Vec<String> = self.rules.iter().map(|rule| rule.to_string()).collect();
        Ok(ComponentConfig::none().with_settings(json!({ "rules": rules })))
    }

    fn fork(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn state(&mut self) -> Option<&mut dyn StageState> {
        None
    }

    fn apply(&mut self, batch: Batch, out: &mut Output<Batch>) -> Result<()> {
        let mut broken: BTreeMap<usize, &Rule> = BTreeMap::new();
        for rule in &self.rules {
            for row in rule.broken_by(&batch).map_err(|e| e.with("rule", rule))? {
                broken.entry(row).or_insert(rule);
            }
        }
        if broken.is_empty() {
            out.emit(batch);
            return Ok(());
        }
        let mut keep = BooleanBufferBuilder::new(batch.num_rows());
        keep.append_n(batch.num_rows(), true);
        for (row, rule) in &broken {
            if *row >= batch.num_rows() {
                return Err(Error::bug("validate", "a rule refuses a row that is not there").with("rule", rule));
            }
            keep.set_bit(*row, false);
            out.reject(batch.reject(*row, rule.code(), rule.to_string()));
        }
        if broken.len() < batch.num_rows() {
            out.emit(batch.filter(&BooleanArray::new(keep.finish(), None))?);
        }
        Ok(())
    }
}
