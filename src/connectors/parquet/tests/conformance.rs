//! The contract of a sink.

use super::*;
use crate::testkit::Faults;
use crate::testkit::conformance::Destination;
use async_trait::async_trait;
use std::ops::Range;

struct Folder {
    store: Store,
    partitioned: bool,
}

impl Folder {
    fn over(&self, store: &Store) -> ParquetDataset {
        let dataset = dataset(store);
        if self.partitioned { dataset.partition_by(["country"]).expect("a name") } else { dataset }
    }
}

#[async_trait]
impl Destination for Folder {
    type Sink = ParquetDataset;

    fn sink(&self) -> ParquetDataset {
        self.over(&Faults::waiting().store(&self.store))
    }

    async fn reached_by(&self, faults: &Faults) -> Option<ParquetDataset> {
        Some(self.over(&faults.store(&self.store)))
    }

    fn item(&self, numbers: Range<u64>) -> Batch {
        Batch::new(rows(numbers.map(|n| i64::try_from(n).expect("small"))))
    }

    /// A value that is too long for the name of a partition's folder; without partitions, a dataset holds every row.
    fn bad_item(&self, numbers: Range<u64>) -> Option<Batch> {
        let ids: Vec<_> = [999].into_iter().chain(numbers).map(|n| i64::try_from(n).expect("small")).collect();
        let country = |id: &i64| if *id == 999 { "x".repeat(300) } else { "c".to_owned() };
        let countries = StringArray::from_iter_values(ids.iter().map(country));
        let rows = [("id", Arc::new(Int64Array::from(ids)) as _), ("country", Arc::new(countries) as _)];
        self.partitioned.then(|| Batch::new(RecordBatch::try_from_iter(rows).expect("fits")))
    }

    fn stages_outside(&self) -> bool {
        true
    }

    async fn read(&self) -> Vec<u64> {
        let mut ids: Vec<_> = followed(&self.store).await.into_iter().map(i64::unsigned_abs).collect();
        ids.sort_unstable();
        ids
    }
}

mod plain {
    use super::*;

    crate::sink_conformance!(Folder { store: Store::memory(), partitioned: false });
}

mod partitioned {
    use super::*;

    crate::sink_conformance!(Folder { store: Store::memory(), partitioned: true });
}
