//! What a destination keeps beside its rows of where they come from: the load that brought a row, and where its record was landed.

use super::Batch;
use crate::error::{Error, Result};
use crate::model::ShardKey;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use std::sync::Arc;

/// The column that names the load which brought a row: its [id](load_id).
pub const LOAD_COLUMN: &str = "_landfall_load";
/// The column with the segment in which the record of a row was landed.
pub const SEGMENT_COLUMN: &str = "_landfall_segment";
/// The column with the number of that record within the segment.
pub const RECORD_COLUMN: &str = "_landfall_record";

/// What rows say of the load that brought them: `<pipeline>-<shard:4>-<epoch:20>`. As text, loads of a shard are in the order in which
/// they came.
pub fn load_id(shard: &ShardKey, epoch: u64) -> String {
    format!("{}{epoch:020}", load_prefix(shard))
}

/// What the ids of all loads of a shard begin with. Names of pipelines may begin alike: an id is of the shard if exactly twenty digits
/// follow.
pub fn load_prefix(shard: &ShardKey) -> String {
    format!("{}-{:04}-", shard.pipeline, shard.shard)
}

impl Batch {
    /// Where the record of each row was landed: segments and records, null where it is not known.
    pub fn origins(&self) -> [ArrayRef; 2] {
        let origins: Vec<_> = (0..self.num_rows()).map(|row| self.origin(row)).collect();
        let signed = |n: u64| i64::try_from(n).ok();
        let segments: Int64Array = origins.iter().map(|o| o.and_then(|o| signed(o.segment))).collect();
        let records: Int64Array = origins.iter().map(|o| o.and_then(|o| signed(o.record))).collect();
        [Arc::new(segments), Arc::new(records)]
    }

    /// The rows, and behind their columns those that say where each record was landed: [`SEGMENT_COLUMN`] and [`RECORD_COLUMN`].
    ///
    /// # Errors
    /// `Bug` if Arrow refuses it.
    pub fn with_origins(&self) -> Result<RecordBatch> {
        let rows = self.rows();
        let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
        fields.extend([SEGMENT_COLUMN, RECORD_COLUMN].map(|name| Arc::new(Field::new(name, DataType::Int64, true))));
        let columns = rows.columns().iter().cloned().chain(self.origins()).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|e| Error::bug("add origins", "the columns do not fit").with_source(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PipelineName;

    #[test]
    fn ids_of_loads_order_as_they_came_and_name_their_shard() {
        let shard = ShardKey { pipeline: PipelineName::new("a-b").expect("valid"), shard: 1 };
        assert_eq!(load_id(&shard, 7), "a-b-0001-00000000000000000007");
        assert!(load_id(&shard, 9) < load_id(&shard, 10));
        assert!(load_id(&shard, u64::MAX).strip_prefix(&load_prefix(&shard)).is_some_and(|n| n.len() == 20));
    }
}
