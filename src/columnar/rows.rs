//! Stages on batches made of functions.

use super::Batch;
use crate::error::{Error, Result};
use crate::stage::{FnStage, Output, from_fn};
use arrow::array::BooleanArray;

/// A stage that makes other rows of a batch. Rows beyond those it got are counted as fanned out; to drop rows use
/// [`filter`], which counts them.
///
/// ```
/// use landfall::columnar::map;
///
/// let two_columns = map("two columns", |batch| {
///     let rows = batch.rows().project(&[0, 1]).map_err(|e| {
///         landfall::Error::data("project", "columns are missing").with_source(e)
///     })?;
///     batch.with_rows(rows)
/// });
/// # let _ = two_columns;
/// ```
///
/// # Errors
/// Those of the function; `Bug` if it gives fewer rows than it got.
pub fn map<F>(
    name: impl Into<String>,
    function: F,
) -> FnStage<Batch, Batch, impl FnMut(Batch, &mut Output<Batch>) -> Result<()> + Clone + Send + 'static>
where
    F: FnMut(Batch) -> Result<Batch> + Clone + Send + 'static,
{
    let mut function = function;
    from_fn(name, move |batch: Batch, out: &mut Output<Batch>| {
        let before = batch.num_rows();
        let batch = function(batch)?;
        let Some(more) = batch.num_rows().checked_sub(before) else {
            return Err(Error::bug("map batch", "the function dropped rows")
                .with("before", before)
                .with("after", batch.num_rows())
                .with_hint("use `filter` to drop rows, or `Output::reject` in a stage of your own"));
        };
        out.fanned_out(more as u64);
        out.emit(batch);
        Ok(())
    })
}

/// A stage that keeps the rows for which the answer is true; the others are counted as filtered.
///
/// ```
/// use landfall::columnar::{arrow::array::AsArray, arrow::compute, filter};
///
/// let paid = filter("paid", |batch| {
///     let status = batch.column("paid")?;
///     Ok(status.as_boolean().clone())
/// });
/// # let _ = paid;
/// ```
///
/// # Errors
/// Those of the function; `Bug` if its answer has another length than the batch.
pub fn filter<F>(
    name: impl Into<String>,
    keep: F,
) -> FnStage<Batch, Batch, impl FnMut(Batch, &mut Output<Batch>) -> Result<()> + Clone + Send + 'static>
where
    F: FnMut(&Batch) -> Result<BooleanArray> + Clone + Send + 'static,
{
    let mut keep = keep;
    from_fn(name, move |batch: Batch, out: &mut Output<Batch>| {
        let kept = batch.filter(&keep(&batch)?)?;
        out.filtered((batch.num_rows() - kept.num_rows()) as u64);
        if kept.num_rows() > 0 {
            out.emit(kept);
        }
        Ok(())
    })
}

/// A stage that looks at each batch and lets it pass.
///
/// # Errors
/// Those of the function.
pub fn inspect<F>(
    name: impl Into<String>,
    look: F,
) -> FnStage<Batch, Batch, impl FnMut(Batch, &mut Output<Batch>) -> Result<()> + Clone + Send + 'static>
where
    F: FnMut(&Batch) -> Result<()> + Clone + Send + 'static,
{
    let mut look = look;
    from_fn(name, move |batch: Batch, out: &mut Output<Batch>| {
        look(&batch)?;
        out.emit(batch);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::stage::Stage;
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::compute::kernels::cmp::gt;
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    fn numbers(values: &[i64]) -> Batch {
        let column: arrow::array::ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        Batch::new(RecordBatch::try_from_iter([("n", column)]).expect("one column"))
    }

    fn given<S: Stage<In = Batch, Out = Batch>>(stage: &mut S, batch: Batch) -> (Vec<i64>, [u64; 3]) {
        let mut out = Output::new();
        stage.apply(batch, &mut out).expect("applies");
        let (batches, _, counts) = out.into_parts();
        let values = |b: &Batch| b.rows().column(0).as_primitive::<Int64Type>().values().to_vec();
        (batches.iter().flat_map(values).collect(), counts)
    }

    #[test]
    fn filter_counts_what_it_drops() {
        let mut stage = filter("large", |batch: &Batch| {
            gt(batch.rows().column(0), &Int64Array::new_scalar(2)).map_err(|e| Error::bug("compare", "").with_source(e))
        });
        assert_eq!(given(&mut stage, numbers(&[1, 2, 3, 4])), (vec![3, 4], [2, 0, 0]));
        assert_eq!(given(&mut stage, numbers(&[1])), (vec![], [1, 0, 0]));
    }

    #[test]
    fn map_counts_new_rows_and_may_not_drop_any() {
        let mut doubled = map("doubled", |batch: Batch| batch.take(&[0, 0, 1, 1]));
        assert_eq!(given(&mut doubled, numbers(&[1, 2])), (vec![1, 1, 2, 2], [0, 0, 2]));
        let mut dropping = map("dropping", |batch: Batch| batch.take(&[0]));
        let error = dropping.apply(numbers(&[1, 2]), &mut Output::new()).expect_err("drops a row");
        assert_eq!(error.kind(), ErrorKind::Bug);
    }

    #[test]
    fn inspect_changes_nothing() {
        let mut stage = inspect("look", |batch: &Batch| {
            assert_eq!(batch.num_rows(), 2);
            Ok(())
        });
        assert_eq!(given(&mut stage, numbers(&[1, 2])), (vec![1, 2], [0, 0, 0]));
    }
}
