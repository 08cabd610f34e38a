use super::*;
use crate::model::PipelineName;
use crate::testkit::test_env;

const RUN: &[u8] = include_bytes!("../../../tests/fixtures/rows-v1.run");
const BASE: &[u8] = include_bytes!("../../../tests/fixtures/rows-base-1.json").trim_ascii_end();

fn row(n: u64) -> (String, Box<RawValue>) {
    (format!("p{n:03}"), RawValue::from_string(format!("{{\"value\":{n},\"validity\":\"durable\"}}")).expect("JSON"))
}

fn long(n: u64) -> Box<RawValue> {
    RawValue::from_string(format!("\"{n:0>100}\"")).expect("JSON")
}

fn folder() -> ObjectPath {
    ObjectPath::parse("raw/orders/positions/0000").expect("a valid name")
}

/// The bytes of version 1, written once. They never change.
#[tokio::test]
async fn the_frozen_run_and_base_are_read() {
    let store = Store::memory();
    let base: Base = serde_json::from_slice(BASE).expect("parses");
    assert_eq!(serde_json::to_vec(&base).expect("serialises"), BASE);
    let [reference] = base.runs.as_slice() else { panic!("one run") };
    store.put(&folder().join(&reference.name).expect("a name"), RUN.into()).await.expect("writes");
    let run = Run::open(&store, &folder(), reference.clone()).await.expect("reads");
    let memory: Rows = serde_json::from_str(base.rows.get()).expect("rows");
    let view = View { memory: Arc::new(memory), runs: vec![run], cache: Arc::default() };
    let value = |n: u64| row(n).1.get().to_owned();
    let got = async |n: u64| view.get(&row(n).0).await.expect("readable").map(|v| v.get().to_owned());
    assert_eq!(got(0).await, Some(value(0)));
    assert_eq!(got(59).await, Some(value(59)));
    assert_eq!(got(60).await, None);
    assert_eq!(got(7).await, Some(value(700)), "what is in memory is newer");
    let mut scan = view.scan("p");
    let mut rows = 0;
    while let Some((key, _)) = scan.next().await.expect("readable") {
        assert_eq!(key, row(rows).0);
        rows += 1;
    }
    assert_eq!(rows, 60);
}

#[tokio::test]
async fn a_newer_run_is_refused() {
    let store = Store::memory();
    let index = br#"{"format":2,"blocks":[],"more":1}"#;
    let xxh3 = xxhash_rust::xxh3::xxh3_64(index);
    let reference = RunRef { name: "x.run".into(), level: 0, rows: 0, offset: 0, length: index.len() as u64, xxh3 };
    store.put(&folder().join("x.run").expect("a name"), index.as_slice().into()).await.expect("writes");
    let error = Run::open(&store, &folder(), reference).await.expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn merging_keeps_the_newest_of_each_key_and_names_a_level() {
    let store = Store::memory();
    let landing = Landing::in_store(&store, "raw").expect("a valid prefix");
    let shard = ShardKey { pipeline: PipelineName::new("orders").expect("valid"), shard: 0 };
    let (checkpoints, id) = landing.chain(&shard);
    let env = test_env(1);
    let chain = Chain::open(checkpoints, id, env.clone()).await.expect("opens").chain;
    let mut table = Table::recover(&landing, &shard, History::Owned(&chain), None).await.expect("recovers");
    for number in 1..=9_u64 {
        // Every other key again, with another value.
        let rows = (0..400).filter(|n| n % number == 0).map(|n| (row(n).0, long(n * 1_000 + number))).collect();
        let mut manifest = Manifest::new(manifest::keep(&()).expect("JSON"), manifest::keep(&()).expect("JSON"));
        table.describe(&env, number, rows, &mut manifest).await.expect("writes");
        assert!(table.memory_bytes < 2 * MEMORY_BYTES, "{}", table.memory_bytes);
    }
    let view = table.view();
    assert!(!view.runs.is_empty());
    for n in 0..400 {
        let newest = (1..=9).rev().find(|number| n % number == 0).expect("1 divides");
        let value = view.get(&row(n).0).await.expect("readable").expect("is there");
        assert_eq!(value.get(), long(n * 1_000 + newest).get());
    }
}
