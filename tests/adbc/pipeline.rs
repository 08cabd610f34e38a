//! Whole pipelines.

use crate::pages::Pages;
use landfall::checkpoint::MemoryCheckpoints;
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
