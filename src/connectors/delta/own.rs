//! The columns that the sink adds to rows: the load that brought a row, and, in a history of versions, a hash of its values and the
//! time for which it held. Written description: docs/formats.md, "Columns of a Delta table".

use super::actions::Add;
use super::hash;
use super::stats::Bounds;
use super::versions::time;
use crate::columnar::{Batch, RECORD_COLUMN as RECORD, SEGMENT_COLUMN as SEGMENT, load_prefix};
pub(super) use crate::columnar::{LOAD_COLUMN as LOAD, load_id};
use crate::error::{Error, Result};
use crate::model::ShardKey;
use crate::sink::{Disposition, EpochContext, Scd2};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

pub(super) const HASH: &str = "_landfall_hash";
/// In staged files of children only: the rows of one record have one number.
pub(super) const GROUP: &str = "_landfall_group";

/// Whether rows of this load are of the shard. The names of pipelines may begin alike; a number of twenty digits follows.
pub(super) fn is_of(shard: &ShardKey, load: &str) -> bool {
    load.strip_prefix(&load_prefix(shard))
        .is_some_and(|epoch| epoch.len() == 20 && epoch.bytes().all(|b| b.is_ascii_digit()))
}

/// The columns that are added to the rows of an epoch.
#[derive(Debug)]
pub(super) struct Own {
    load: String,
    scd2: Option<Scd2>,
    /// The number of the next group of children, if rows are children.
    groups: Option<i64>,
    records: bool,
    /// Columns that are made of others, and tell nothing of their own.
    derived: Vec<String>,
}

impl Own {
    pub(super) fn of(context: &EpochContext, disposition: &Disposition, records: bool, derived: Vec<String>) -> Self {
        let scd2 = match disposition {
            Disposition::Scd2(scd2) => Some(scd2.clone()),
            _ => None,
        };
        let groups = matches!(disposition, Disposition::Children(_)).then_some(0);
        Self { load: load_id(&context.shard, context.epoch), scd2, groups, records, derived }
    }

    /// Refuses columns that versions cannot be told by.
    ///
    /// # Errors
    /// `Config`, naming the column.
    pub(super) fn check(&self, rows: &Schema) -> Result<()> {
        let Some(since) = self.scd2.as_ref().and_then(|scd2| scd2.since.as_ref()) else { return Ok(()) };
        match rows.field_with_name(since).map(Field::data_type) {
            Ok(DataType::Date32 | DataType::Timestamp(..)) => Ok(()),
            other => {
                let message = "the time from which a version holds is no date and no timestamp";
                Err(Error::config("stage delta", message)
                    .with("column", since)
                    .with("type", other.map_or_else(|_| "none".to_owned(), ToString::to_string))
                    .with_hint("declare its type in the schema"))
            }
        }
    }

    /// The columns of the files, for rows with the columns `rows`.
    ///
    /// # Errors
    /// `Config` if a name is taken.
    pub(super) fn added(&self, rows: &SchemaRef) -> Result<SchemaRef> {
        let mut fields: Vec<Field> = rows.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.extend(self.scd2.as_ref().map(|_| Field::new(HASH, DataType::Utf8, true)));
        fields.extend(self.groups.map(|_| Field::new(GROUP, DataType::Int64, true)));
        fields.push(Field::new(LOAD, DataType::Utf8, true));
        if self.records {
            fields.extend([SEGMENT, RECORD].map(|name| Field::new(name, DataType::Int64, true)));
        }
        let times = self.scd2.iter().flat_map(|scd2| [scd2.valid_from.as_str(), &scd2.valid_to]);
        for name in times.chain([HASH, GROUP, LOAD, SEGMENT, RECORD]) {
            if rows.fields().iter().any(|field| field.name().eq_ignore_ascii_case(name)) {
                return Err(Error::config("stage delta", "the rows have a column of a name that the sink needs")
                    .with("column", name)
                    .with_hint("rename it in a stage before the sink"));
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Rows with these columns too. `batch` says which of them come from one record.
    pub(super) fn add(&mut self, rows: &RecordBatch, files: &SchemaRef, batch: &Batch) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        if let Some(scd2) = &self.scd2 {
            let named = rows.schema_ref().fields().iter().map(|field| field.name());
            let own = |name: &String| scd2.key.contains(name) || self.derived.contains(name);
            let hashed = named.filter(|name| !own(name) && scd2.since.as_ref() != Some(name));
            columns.push(Arc::new(hash::of(rows, &hashed.cloned().collect::<Vec<_>>())?));
        }
        if let Some(next) = &mut self.groups {
            let (records, first) = (batch.records()?, *next);
            // The same number in another batch is another record.
            *next += records.values().iter().max().map_or(0, |last| i64::from(*last) + 1);
            let groups: Int64Array = records.values().iter().map(|record| Some(first + i64::from(*record))).collect();
            columns.push(Arc::new(groups));
        }
        columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.load, rows.num_rows()))));
        if self.records {
            columns.extend(batch.origins());
        }
        RecordBatch::try_new(Arc::clone(files), columns)
            .map_err(|e| Error::bug("stage delta", "the columns of the sink do not fit").with_source(e))
    }

    /// The columns that the table must have for files with the columns `files`.
    pub(super) fn table(&self, files: &Schema) -> Schema {
        let kept = files.fields().iter().filter(|field| field.name() != GROUP);
        let mut fields: Vec<Field> = kept.map(|field| field.as_ref().clone()).collect();
        if let Some(scd2) = &self.scd2 {
            fields.extend([&scd2.valid_from, &scd2.valid_to].map(|name| Field::new(name, time(), true)));
        }
        Schema::new(fields)
    }
}

/// Whether a file of the table may hold rows of the shard, by its statistics.
pub(super) fn may_hold(shard: &ShardKey, file: &Add) -> bool {
    let prefix = load_prefix(shard);
    // A digit follows, and `:` follows the digits.
    Bounds::of(file.stats.as_deref()).may_hold(LOAD, &prefix, &format!("{prefix}:"))
}

/// Which rows are of loads of the shard.
pub(super) fn own_rows(shard: &ShardKey, loads: &ArrayRef) -> Vec<bool> {
    match loads.as_string_opt::<i32>() {
        Some(loads) => loads.iter().map(|load| load.is_some_and(|load| is_of(shard, load))).collect(),
        None => vec![false; loads.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PipelineName;

    #[test]
    fn loads_of_pipelines_whose_names_begin_alike_are_told_apart() {
        let shard = |name: &str, shard| ShardKey { pipeline: PipelineName::new(name).expect("valid"), shard };
        let id = load_id(&shard("a", 1), 7);
        assert_eq!(id, "a-0001-00000000000000000007");
        assert!(is_of(&shard("a", 1), &id));
        for other in [shard("a", 2), shard("a-0001", 1), shard("b", 1)] {
            assert!(!is_of(&other, &id), "{other}");
            assert!(!is_of(&shard("a", 1), &load_id(&other, 7)), "{other}");
        }
        let holds = |low: &str, high: &str| {
            let stats = serde_json::json!({ "minValues": { LOAD: low }, "maxValues": { LOAD: high } });
            may_hold(&shard("a", 1), &Add { stats: Some(stats.to_string()), ..Add::default() })
        };
        assert!(holds(&id, &id) && holds("a", "b") && may_hold(&shard("a", 1), &Add::default()));
        assert!(!holds(&load_id(&shard("a", 2), 1), &load_id(&shard("a", 2), 9)));
        assert!(holds("a-00", "a-00"), "others cut bounds off");
    }

    #[test]
    fn a_load_of_a_shard_ends_in_exactly_twenty_digits() {
        let shard = ShardKey { pipeline: PipelineName::new("a").expect("valid"), shard: 1 };
        for end in ["7".to_owned(), format!("{:021}", 7), format!("{:x>20}", 7)] {
            assert!(!is_of(&shard, &format!("a-0001-{end}")), "{end}");
        }
    }
}
