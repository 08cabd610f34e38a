//! The contract of a sink.

use super::*;
use crate::testkit::conformance::Destination;
use async_trait::async_trait;
use std::ops::Range;

struct Folder {
    store: Store,
    partitioned: bool,
}

#[async_trait]
impl Destination for Folder {
    type Sink = ParquetDataset;

    fn sink(&self) -> ParquetDataset {
        let dataset = dataset(&self.store);
        if self.partitioned { dataset.partition_by(["country"]).expect("a name") } else { dataset }
    }

    fn item(&self, numbers: Range<u64>) -> Batch {
        Batch::new(rows(numbers.map(|n| i64::try_from(n).expect("small"))))
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
