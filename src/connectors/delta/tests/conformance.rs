//! The contract of a sink, for each disposition.

use super::*;
use crate::sink::{Replace, ReplacePartitions};
use crate::testkit::Faults;
use crate::testkit::conformance::Destination;
use arrow::array::{ArrayRef, TimestampNanosecondArray};
use arrow::compute::concat_batches;
use async_trait::async_trait;
use std::ops::Range;

struct Lake {
    store: Store,
    disposition: Disposition,
}

impl Lake {
    fn of(disposition: impl Into<Disposition>) -> Self {
        Self { store: Store::memory(), disposition: disposition.into() }
    }

    fn over(&self, store: &Store) -> DeltaTable {
        let table = table(store).disposition(self.disposition.clone());
        let by: &[String] = match &self.disposition {
            Disposition::ReplacePartitions(partitions) => &partitions.by,
            _ => &[],
        };
        if by.is_empty() { table } else { table.partition_by(by).expect("names") }
    }
}

#[async_trait]
impl Destination for Lake {
    type Sink = DeltaTable;

    fn sink(&self) -> DeltaTable {
        self.over(&Faults::waiting().store(&self.store))
    }

    async fn reached_by(&self, faults: &Faults) -> Option<DeltaTable> {
        Some(self.over(&faults.store(&self.store)))
    }

    /// All rows are of one partition, so that a replacement of partitions replaces everything.
    fn item(&self, numbers: Range<u64>) -> Batch {
        let ids: Vec<_> = numbers.map(|n| i64::try_from(n).expect("small")).collect();
        let countries = StringArray::from(vec!["c"; ids.len()]);
        let rows = [("id", Arc::new(Int64Array::from(ids)) as _), ("country", Arc::new(countries) as _)];
        Batch::new(RecordBatch::try_from_iter(rows).expect("fits"))
    }

    /// Rows with a time, one of them finer than a microsecond.
    fn bad_item(&self, numbers: Range<u64>) -> Option<Batch> {
        let (bad, good) = (self.item(999..1_000), self.item(numbers));
        let rows = concat_batches(bad.rows().schema_ref(), [bad.rows(), good.rows()]).expect("rows alike");
        let times = TimestampNanosecondArray::from_iter_values((0..rows.num_rows()).map(|row| i64::from(row == 0)));
        let schema = rows.schema();
        let names = schema.fields().iter().map(|field| field.name().as_str()).chain(["at"]);
        let columns = rows.columns().iter().cloned().chain([Arc::new(times) as ArrayRef]);
        Some(Batch::new(RecordBatch::try_from_iter(names.zip(columns)).expect("fits")))
    }

    async fn read(&self) -> Vec<u64> {
        ids(&self.store).await.into_iter().map(i64::unsigned_abs).collect()
    }
}

mod append {
    use super::*;

    crate::sink_conformance!(Lake::of(Disposition::Append));
}

mod upsert {
    use super::*;

    crate::sink_conformance!(Lake::of(Upsert::by(["id"])));
}

mod insert_only {
    use super::*;

    crate::sink_conformance!(Lake::of(InsertOnly::by(["id"])));
}

mod replace {
    use super::*;

    crate::enumeration_conformance!(Lake::of(Replace::table()));
}

mod replace_by_key {
    use super::*;

    crate::enumeration_conformance!(Lake::of(Replace::table().key(["id"])));
}

mod replace_partitions {
    use super::*;

    crate::enumeration_conformance!(Lake::of(ReplacePartitions::by(["country"])));
}
