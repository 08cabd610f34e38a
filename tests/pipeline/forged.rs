//! Checkpoints that somebody has forged: what they name lies in folders of the pipeline's own or is refused, and nothing else is touched.
//! Their sums fit everywhere: whoever can write to the store can make them.

#![allow(clippy::future_not_send, reason = "they are awaited where they are made")]

use crate::support::{Once, Script, World, parse};
use landfall::checkpoint::{ChainId, Record, RecordKind, StoreCheckpoints};
use landfall::columnar::Batch;
use landfall::columnar::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use landfall::connectors::delta::DeltaTable;
use landfall::connectors::parquet::ParquetDataset;
use landfall::landing::Landing;
use landfall::model::{PipelineName, Rows, ShardKey};
use landfall::pipeline::Pipeline;
use landfall::sink::{ExactlyOnce, Quarantine, Sink};
use landfall::stage::{Output, from_fn};
use landfall::store::{ObjectPath, Store};
use landfall::testkit::{FaultSink, Faults, Mode, Target};
use landfall::{Error, ErrorKind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The first segments of what the pipeline may touch.
const OWN: [&str; 4] = ["quarantine", "raw", "state", "table"];

/// Where something lies that the pipeline has no business with, and its bytes.
const FOREIGN: &str = "secrets/key";
const SECRET: &[u8] = b"[1,2,3]";

/// Names that would lead there from some folder, and those that do from the root.
const CLIMBING: [&str; 4] =
    ["../secrets/key", "../../secrets/key", "../../../../secrets/key", "a/../../../../../secrets/key"];
const ELSEWHERE: [&str; 2] = [FOREIGN, "/secrets/key"];

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard: 0 }
}

fn dataset(store: &Store) -> ParquetDataset {
    ParquetDataset::in_store(store, "table").expect("a name").lanes(1)
}

fn delta(store: &Store) -> DeltaTable {
    DeltaTable::in_store(store, "table").expect("a name").lanes(1)
}

fn pipeline<K>(world: &World, store: &Store, sink: K) -> Pipeline
where
    K: Sink<Item = Batch>,
    K::Promise: ExactlyOnce,
{
    let batches = from_fn("batches", |rows: Rows<u64>, out: &mut Output<Batch>| {
        let numbers: ArrayRef = Arc::new(rows.0.iter().map(|n| i64::try_from(*n).ok()).collect::<Int64Array>());
        out.emit(Batch::new(RecordBatch::try_from_iter([("n", numbers)]).expect("fits")));
        Ok(())
    });
    Pipeline::named("numbers")
        .source(world.script.clone())
        .land(Landing::in_store(store, "raw").expect("a name").segment_bytes(world.segment_bytes))
        .stage(parse())
        .stage(Once::default())
        .stage(batches)
        .sink(sink)
        .quarantine(Quarantine::in_store(store, "quarantine").expect("a name"))
        .checkpoints(StoreCheckpoints::new(store, "state").expect("a name"))
        .settings(world.settings.clone())
        .keys_stay_in_partition()
        .env(world.env.clone())
        .build()
        .expect("complete")
}

/// Changes the newest checkpoint, which a process has left that could not commit its second epoch.
async fn forge(store: &Store, change: impl FnOnce(&mut Value)) {
    let chain = ChainId::checkpoints(&shard());
    let folder = ObjectPath::parse("state").and_then(|state| state.join(chain.as_str())).expect("a name");
    let records = store.list(&folder).await.expect("in memory").into_iter().map(|object| object.path);
    let newest = records.filter(|path| path.as_str().ends_with(".rec")).max().expect("a checkpoint");
    let number = newest.file_name().trim_end_matches(".rec").parse().expect("a number");
    let bytes = store.get(&newest, None).await.expect("in memory").expect("is there");
    let record = Record::decode(&chain, number, &bytes).expect("whole");
    assert_eq!(record.kind, RecordKind::Data);
    let mut checkpoint = serde_json::from_slice(&record.payload).expect("JSON");
    change(&mut checkpoint);
    let payload = serde_json::to_vec(&checkpoint).expect("JSON").into();
    store.put(&newest, Record { payload, ..record }.encode(&chain).expect("fits")).await.expect("in memory");
}

/// How a process ends that takes such a checkpoint over, and whether its epoch has become visible. Nothing foreign is touched.
async fn taken_over<K>(sink: impl Fn(&Store) -> K, change: impl FnOnce(&mut Value)) -> (Result<(), Error>, bool)
where
    K: Sink<Item = Batch>,
    K::Promise: ExactlyOnce,
{
    let world = World::new(Script::new(1, 6, 10));
    let store = &world.store;
    let foreign = ObjectPath::parse(FOREIGN).expect("a name");
    store.put(&foreign, SECRET.into()).await.expect("in memory");
    let down = Faults::at(Target::operation("commit").after(1), Mode::Fail);
    pipeline(&world, store, FaultSink::new(sink(store), &down)).run().await.expect_err("its sink is down");
    forge(store, change).await;

    let mark = async || sink(store).mark(&shard()).await.expect("readable");
    let (before, faults) = (mark().await, Faults::none());
    let reached = faults.store(store);
    let next = || pipeline(&world, &reached, sink(&reached));
    let ended = async {
        next().run().await.map_err(Error::from)?;
        next().accounts().await.map(drop)
    };
    let ended = ended.await;
    let is_own = |name: &str| {
        let mut segments = name.split('/');
        segments.clone().all(|segment| segment != "..") && segments.next().is_some_and(|first| OWN.contains(&first))
    };
    for point in faults.trace() {
        assert!(point.name.split(" -> ").all(is_own), "{point:?} of a pipeline that ended with {ended:?}");
    }
    assert_eq!(store.get(&foreign, None).await.expect("in memory").as_deref(), Some(SECRET));
    (ended, mark().await != before)
}

/// Puts `name` where the reference stands that `at` leads to. Of an object that must be there, the sums become those of the foreign one.
fn put_name(checkpoint: &mut Value, at: &str, must_be_there: bool, name: &str) {
    let (object, field) = at.rsplit_once('/').expect("a path");
    let object = checkpoint.pointer_mut(object).unwrap_or_else(|| panic!("there is no {at}"));
    let sums: [(&str, Value); 3] = [
        ("bytes", SECRET.len().into()),
        ("sha256", format!("{:x}", Sha256::digest(SECRET)).into()),
        ("tail_crc32c", format!("{:08x}", crc32c::crc32c(SECRET)).into()),
    ];
    for (sum, value) in sums.into_iter().filter(|_| must_be_there) {
        object.get_mut(sum).into_iter().for_each(|held| *held = value.clone());
    }
    assert!(object[field].is_string(), "there is no {at}");
    object[field] = name.into();
}

async fn is_confined<K>(sink: impl Fn(&Store) -> K, at: &str, must_be_there: bool)
where
    K: Sink<Item = Batch>,
    K::Promise: ExactlyOnce,
{
    for name in CLIMBING {
        let (ended, visible) = taken_over(&sink, |checkpoint| put_name(checkpoint, at, must_be_there, name)).await;
        let error = ended.expect_err(at);
        assert_eq!(error.kind(), ErrorKind::Config, "{at}: {error}");
        assert!(error.to_string().contains(name), "{at}: {error}");
        assert!(!visible || !at.starts_with("/prepared"), "{at}: {error}");
    }
    for name in ELSEWHERE {
        // Below its own folder there is nothing of that name.
        let (ended, _) = taken_over(&sink, |checkpoint| put_name(checkpoint, at, must_be_there, name)).await;
        let kind = ended.as_ref().err().map(Error::kind);
        assert_eq!(kind, must_be_there.then_some(ErrorKind::Corrupt), "{at}: {ended:?}");
    }
}

#[tokio::test]
async fn a_forged_checkpoint_names_nothing_outside_of_its_folders() {
    let (ended, visible) = taken_over(dataset, |_| {}).await;
    assert!(ended.is_ok() && visible, "as it was, it is rolled forward: {ended:?}");
    is_confined(dataset, "/state/0/path", true).await;
    is_confined(dataset, "/quarantine/staged", true).await;
    is_confined(dataset, "/quarantine/path", false).await;
}

#[tokio::test]
async fn a_forged_checkpoint_commits_no_file_outside_of_the_table() {
    is_confined(dataset, "/prepared/staged/files/0/staged", true).await;
    is_confined(dataset, "/prepared/staged/files/0/path", false).await;
    is_confined(delta, "/prepared/staged/files/0/path", true).await;
}

#[tokio::test]
async fn a_forged_checkpoint_has_no_accounts_outside_of_the_landing() {
    for (names, kind) in [(&CLIMBING[..], ErrorKind::Config), (&ELSEWHERE, ErrorKind::Corrupt)] {
        for name in names {
            let (length, xxh3) = (SECRET.len(), xxhash_rust::xxh3::xxh3_64(SECRET));
            let run = json!({ "name": name, "level": 0, "rows": 1, "offset": 0, "length": length, "xxh3": xxh3 });
            let (ended, _) = taken_over(dataset, |checkpoint| checkpoint["accounts"]["runs"] = json!([run])).await;
            let error = ended.expect_err(name);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(FOREIGN), "{error}");
        }
    }
}
