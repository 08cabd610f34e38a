//! Sinks by their contract.

use crate::lake::{ids, numbers};
use crate::paired::said;
use futures::FutureExt;
use landfall::async_trait;
use landfall::columnar::Batch;
use landfall::connectors::parquet::{DatasetReader, ParquetDataset};
use landfall::store::Store;
use landfall::testkit::Faults;
use landfall::testkit::conformance::{Destination, sink};
use std::ops::Range;
use std::panic::AssertUnwindSafe;

struct Folder(Store);

#[async_trait]
impl Destination for Folder {
    type Sink = ParquetDataset;

    fn sink(&self) -> ParquetDataset {
        ParquetDataset::in_store(&self.0, "numbers").expect("a name").lanes(1)
    }

    async fn reached_by(&self, faults: &Faults) -> Option<ParquetDataset> {
        Some(ParquetDataset::in_store(&faults.store(&self.0), "numbers").expect("a name").lanes(1))
    }

    fn item(&self, of: Range<u64>) -> Batch {
        Batch::new(numbers(of))
    }

    /// A dataset without partitions holds every row.
    fn bad_item(&self, _of: Range<u64>) -> Option<Batch> {
        None
    }

    fn stages_outside(&self) -> bool {
        true
    }

    async fn read(&self) -> Vec<u64> {
        let snapshot = DatasetReader::new(&self.0, "numbers").expect("a name").snapshot().await.expect("readable");
        ids(&snapshot.read_batches().await.expect("readable"))
    }
}

pub async fn the_contract_of_a_sink_holds() {
    macro_rules! all {
        ($($check:ident)+) => {$(
            let folder = Folder(Store::memory());
            if let Err(panic) = AssertUnwindSafe(sink::$check(&folder)).catch_unwind().await {
                panic!("{}: {}", stringify!($check), said(&*panic));
            }
        )+};
    }
    all! {
        g1_what_is_staged_is_not_seen
        g2_an_epoch_is_seen_with_its_mark
        g3_the_same_commit_again_changes_nothing
        g3_one_epoch_committed_twice_at_once_is_there_once
        g4_an_older_owner_changes_nothing
        g5_a_gap_changes_nothing
        g5_a_fork_changes_nothing
        g4_staged_output_of_two_owners_does_not_mix
        g6_doubt_is_told
        g7_another_process_commits_what_was_staged
        collection_takes_only_what_nobody_commits
    }
}
