//! When an epoch begins, what belongs to it, and when it is cut.

use crate::support::{Once, PageNumber, Script, World};
use landfall::checkpoint::StoreCheckpoints;
use landfall::env::Env;
use landfall::model::{Page, Partition, Proof, Rows, StopReason, Timestamp};
use landfall::pipeline::Pipeline;
use landfall::sink::{MemorySink, MemoryTable};
use landfall::source::{ComponentConfig, Emitter, IterSource, Listing, Source};
use landfall::store::Store;
use landfall::{Result, async_trait};
use std::time::Duration;

/// Rests after each page.
#[derive(Clone, Debug)]
struct Slow(Script, Duration);

#[async_trait]
impl Source for Slow {
    type Item = Page;
    type Position = PageNumber;

    fn config(&self) -> Result<ComponentConfig> {
        self.0.config()
    }

    async fn partitions(&self, env: &Env, out: &mut Listing<PageNumber>) -> Result<()> {
        self.0.partitions(env, out).await
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<PageNumber>,
        out: &mut Emitter<Page, PageNumber>,
    ) -> Result<StopReason> {
        let (_, pages) = &self.0.partitions[0];
        for (number, lines) in pages.iter().enumerate().skip(from.map_or(0, |p| p.0)) {
            let (body, records) = (lines.join("\n"), lines.len() as u64);
            let page = Page::new(partition.id.clone(), body, records, Timestamp::from_micros(1));
            out.emit(page, &PageNumber(number + 1)).await?;
            env.sleep(self.1).await;
        }
        Ok(StopReason::Exhausted(Proof::EndOfInput))
    }
}

#[tokio::test]
async fn the_age_of_an_epoch_counts_from_its_first_record() {
    let mut world = World::new(Script::new(1, 6, 10));
    world.settings.epoch_records = 1_000_000;
    world.segment_bytes = 1;
    // Each page comes before the epoch is old enough, and the third is the last that it is waited for.
    let rest = world.settings.epoch_age * 2 / 5;
    let report = world.builder_of(Slow(world.script.clone(), rest)).build().expect("complete").run().await;
    assert_eq!(report.expect("no faults").epochs, 2);
    world.assert_exact().await;
}

#[tokio::test]
async fn stages_that_need_the_order_may_be_all_there_are() {
    let (store, table) = (Store::memory(), MemoryTable::<Rows<u64>>::new());
    let report = Pipeline::named("numbers")
        .source(IterSource::new((0..20_u64).chain(0..30)).with_batch(7))
        .stage(Once::default())
        .sink(MemorySink::new(&table))
        .checkpoints(StoreCheckpoints::new(&store, "state").expect("a name"))
        .build()
        .expect("complete")
        .run()
        .await
        .expect("no faults");
    assert_eq!((report.ledger.read, report.ledger.stages[0].deduplicated), (50, 20));
    let mut rows = table.rows();
    rows.sort_unstable();
    assert_eq!(rows, (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_read_fills_an_epoch_though_nothing_of_it_is_staged() {
    let mut script = Script::new(1, 20, 10);
    for line in script.partitions.iter_mut().flat_map(|(_, pages)| pages.iter_mut().flatten()) {
        line.insert_str(0, "bad ");
    }
    let mut world = World::new(script);
    world.settings.epoch_records = 1_000_000;
    world.settings.epoch_bytes = 500;
    let report = world.pipeline().run().await.expect("no faults");
    assert!((2..5).contains(&report.epochs), "{report}");
    world.assert_exact().await;
}

#[tokio::test]
async fn a_response_that_broke_off_is_accounted_for_though_there_is_nothing_else() {
    let mut script = Script::new(1, 4, 9);
    script.parts = vec!["p0".to_owned()];
    script.broken.store(1, std::sync::atomic::Ordering::SeqCst);
    let world = World::new(script);
    let first = world.pipeline().run().await.expect_err("it breaks off");
    assert_eq!((first.report().ledger.read, first.report().ledger.superseded), (0, 27), "{first}");
    let second = world.pipeline().run().await.expect("the rest");
    assert_eq!((second.ledger.read, second.ledger.superseded), (36, 0), "{second}");
    world.assert_exact().await;
}
