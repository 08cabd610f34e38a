//! The contract of a sink, for each disposition.

use super::sweep::current;
use super::*;
use crate::sink::{Children, Replace, ReplacePartitions, Scd2};
use crate::testkit::Faults;
use crate::testkit::conformance::Destination;
use arrow::array::{ArrayRef, TimestampNanosecondArray};
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

    fn item(&self, numbers: Range<u64>) -> Batch {
        let ids: Vec<_> = numbers.map(|n| i64::try_from(n).expect("small")).collect();
        Batch::new(RecordBatch::try_from_iter(columns(&ids)).expect("fits"))
    }

    /// A time that is finer than a microsecond.
    fn bad_item(&self, numbers: Range<u64>) -> Option<Batch> {
        let ids: Vec<_> = [999].into_iter().chain(numbers).map(|n| i64::try_from(n).expect("small")).collect();
        let times = TimestampNanosecondArray::from_iter_values(ids.iter().map(|id| i64::from(*id == 999)));
        let rows = columns(&ids).into_iter().chain([("at", Arc::new(times) as _)]);
        Some(Batch::new(RecordBatch::try_from_iter(rows).expect("fits")))
    }

    fn stages_outside(&self) -> bool {
        true
    }

    /// Of a history, the versions that hold.
    async fn read(&self) -> Vec<u64> {
        current(&self.over(&self.store)).await.into_iter().map(i64::unsigned_abs).collect()
    }
}

/// All rows are of one partition, so that a replacement of partitions replaces everything; each is the only child of its parent.
fn columns(ids: &[i64]) -> [(&'static str, ArrayRef); 3] {
    [
        ("id", Arc::new(Int64Array::from(ids.to_vec()))),
        ("country", Arc::new(StringArray::from(vec!["c"; ids.len()]))),
        (Children::INDEX, Arc::new(Int64Array::from(vec![0; ids.len()]))),
    ]
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

mod history {
    use super::*;

    crate::sink_conformance!(Lake::of(Scd2::by(["id"])));
}

mod children {
    use super::*;

    crate::sink_conformance!(Lake::of(Children::of(["id"])));
}

mod swept {
    use super::*;

    crate::enumeration_conformance!(Lake::of(Upsert::by(["id"]).sweep(0.5)));
}

mod swept_history {
    use super::*;

    crate::enumeration_conformance!(Lake::of(Scd2::by(["id"]).sweep(0.5)));
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
