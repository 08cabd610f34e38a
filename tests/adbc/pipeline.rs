//! Whole pipelines.

use crate::pages::Pages;
use crate::support::{Kind, World, reach};
use landfall::checkpoint::{MemoryCheckpoints, StoreCheckpoints};
use landfall::columnar::{Columns, Decode};
use landfall::connectors::adbc::{Adbc, AdbcTable};
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Page, Partition, Proof, StopReason};
use landfall::pipeline::Pipeline;
use landfall::source::{ComponentConfig, Emitter, Listing, RowsRead, Source};
use landfall::store::Store;
use landfall::{ErrorKind, Result, async_trait};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub fn pages(of: std::ops::Range<u64>, name: &str) -> Pages {
    let page = |n: u64| format!("[{{\"id\":{n},\"name\":\"{name}\"}}]");
    Pages(of.map(page).collect())
}

/// Counts how often it is asked for something.
#[derive(Clone, Debug)]
struct Asked(Arc<AtomicU64>);

#[async_trait]
impl Source for Asked {
    type Item = Page;
    type Position = RowsRead;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, _out: &mut Listing<RowsRead>) -> Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn read(
        &self,
        _env: &Env,
        _partition: &Partition,
        _from: Option<RowsRead>,
        _out: &mut Emitter<Page, RowsRead>,
    ) -> Result<StopReason> {
        Ok(StopReason::Exhausted(Proof::EndOfInput))
    }
}

#[tokio::test]
async fn what_the_database_cannot_do_is_refused_before_anything_is_fetched() {
    let Ok(driver) = std::env::var("LANDFALL_TEST_ADBC_SQLITE") else { return };
    let store = Store::memory();
    let (forgets, asked) = (Adbc::driver(driver), Arc::<AtomicU64>::default());
    let error = Pipeline::named("orders")
        .source(Asked(Arc::clone(&asked)))
        .land(Landing::in_store(&store, "raw").expect("a name"))
        .stage(Decode::pages().schema(Columns::new().int64("id")))
        .sink(AdbcTable::at(&forgets, "orders").expect("a name"))
        .checkpoints(MemoryCheckpoints::default())
        .build()
        .expect("complete")
        .run()
        .await
        .expect_err("it is in memory");
    assert_eq!(error.error().kind(), ErrorKind::Config, "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 0, "the source was asked");
}

/// DuckDB writes a block over itself when it checkpoints: where a process is killed in that, its file is like this.
#[tokio::test]
async fn a_file_of_duckdb_that_is_damaged_is_loaded_anew_from_the_landing() {
    let Some(World { folder, .. }) = World::new(Kind::DuckDb) else { return };
    let store = Store::memory();
    let database = || reach(Kind::DuckDb, folder.path().to_str().expect("text")).expect("as before");
    let load = |pages, checkpoints| {
        Pipeline::named("orders")
            .source(pages)
            .land(Landing::in_store(&store, "raw").expect("a name"))
            .stage(Decode::pages().schema(Columns::new().int64("id").utf8("name")))
            .sink(AdbcTable::at(&database(), "orders").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&store, checkpoints).expect("a name"))
            .build()
            .expect("complete")
    };
    load(pages(0..9, "first"), "checkpoints").run().await.expect("loads");
    let file = folder.path().join("x.duckdb");
    let mut bytes = std::fs::read(&file).expect("the file");
    // The first block begins behind three headers of 4 KiB, with its checksum.
    bytes[3 * 4096] ^= 1;
    std::fs::write(&file, bytes).expect("writes");
    let error = load(pages(0..12, "second"), "checkpoints").run().await.expect_err("it cannot be read");
    assert_eq!(error.error().kind(), ErrorKind::Corrupt, "{error}");
    let error = error.to_string();
    assert!(error.contains("x.duckdb") && error.contains("docs/adbc.md"), "{error}");

    std::fs::remove_file(&file).expect("it is there");
    load(pages(0..12, "second"), "checkpoints-2").run().await.expect("loads all of it");
    let database = database();
    for (what, number) in [("id", 12), ("DISTINCT id", 12), ("DISTINCT id, name", 12)] {
        let rows = database.query(&format!("SELECT {what} FROM orders")).await.expect("readable");
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), number, "{what}");
    }
    let landed = database.query("SELECT id FROM orders WHERE name = 'first'").await.expect("readable");
    assert_eq!(landed.iter().map(|batch| batch.num_rows()).sum::<usize>(), 9, "what was in the first file");
}
