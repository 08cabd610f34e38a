use super::limit::Limit;
use super::rule::Rule;
use crate::columnar::Batch;
use crate::error::Result;
use crate::source::ComponentConfig;
use crate::stage::{Output, Stage, StageState};
use arrow::array::BooleanArray;
use serde_json::json;
use std::ops::RangeBounds;
use std::sync::Arc;

/// Filters the rows whose value of a column lies outside of a range; they are counted as filtered.
///
/// For APIs that give more than they are asked for: the source lands what comes, and what lies outside of its bounds goes no
/// further than this stage. Rows without a value pass unless they are [excluded](Self::exclude_nulls).
///
/// ```
/// use landfall::columnar::Within;
///
/// let this_year = Within::range("updated_at", "2024-01-01T00:00:00Z".."2025-01-01T00:00:00Z").exclude_nulls();
/// # let _ = this_year;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Within {
    name: String,
    column: String,
    range: Arc<Rule>,
    nulls: Option<Arc<Rule>>,
}

impl Within {
    /// Keeps rows whose value of `column` lies in `range`: numbers; for times and dates their text.
    pub fn range<L: Into<Limit> + Clone>(column: impl Into<String>, range: impl RangeBounds<L>) -> Self {
        let column = column.into();
        let low = range.start_bound().map(|limit| limit.clone().into());
        let high = range.end_bound().map(|limit| limit.clone().into());
        let range = Arc::new(Rule::range(column.clone(), low, high));
        Self { name: "within".to_owned(), column, range, nulls: None }
    }

    /// Filters rows without a value too.
    pub fn exclude_nulls(mut self) -> Self {
        self.nulls = Some(Arc::new(Rule::required(self.column.clone())));
        self
    }

    /// Names the stage; `within` unless set.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl Stage for Within {
    type In = Batch;
    type Out = Batch;

    fn name(&self) -> &str {
        &self.name
    }

    fn config(&self) -> Result<ComponentConfig> {
        let rules: Vec<String> = [&self.range].into_iter().chain(&self.nulls).map(|rule| rule.to_string()).collect();
        Ok(ComponentConfig::none().with_settings(json!({ "rules": rules })))
    }

    fn fork(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn state(&mut self) -> Option<&mut dyn StageState> {
        None
    }

    fn apply(&mut self, batch: Batch, out: &mut Output<Batch>) -> Result<()> {
        let mut keep = vec![true; batch.num_rows()];
        for rule in [&self.range].into_iter().chain(&self.nulls) {
            for row in rule.broken_by(&batch)? {
                if let Some(keep) = keep.get_mut(row) {
                    *keep = false;
                }
            }
        }
        let kept = batch.filter(&BooleanArray::from(keep))?;
        out.filtered((batch.num_rows() - kept.num_rows()) as u64);
        if kept.num_rows() > 0 {
            out.emit(kept);
        }
        Ok(())
    }
}
