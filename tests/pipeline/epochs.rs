//! When an epoch begins, what belongs to it, and when it is cut.

use crate::support::{Once, PageNumber, Script, World, parse};
use landfall::checkpoint::StoreCheckpoints;
use landfall::env::Env;
use landfall::landing::{Landing, LandingWriter, SegmentDraft};
use landfall::model::{Page, Part, Partition, PipelineName, Proof, Reject, Rows, ShardKey, StopReason, Timestamp};
use landfall::pipeline::{Event, Pipeline, Settings};
use landfall::sink::{
    CommitOutcome, CommitRequest, Demand, EpochContext, Mark, MemorySink, MemoryStaged, MemoryTable, MemoryWriter,
    Quarantine, Sink, StagedOutput, Transactional, Writer,
};
use landfall::source::{ComponentConfig, Emitter, IterSource, Listing, Source};
use landfall::store::{ObjectPath, Store};
use landfall::testkit::Faults;
use landfall::{Error, ErrorKind, Result, async_trait};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard: 0 }
}

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
    script.broken.store(1, Ordering::SeqCst);
    let world = World::new(script);
    let first = world.pipeline().run().await.expect_err("it breaks off");
    assert_eq!((first.report().ledger.read, first.report().ledger.superseded), (0, 27), "{first}");
    let second = world.pipeline().run().await.expect("the rest");
    assert_eq!((second.ledger.read, second.ledger.superseded), (36, 0), "{second}");
    world.assert_exact().await;
}

#[tokio::test]
async fn a_sink_that_refuses_nothing_is_no_stage_of_the_ledger() {
    let world = World::new(Script::new(1, 2, 10));
    let report = world.pipeline().run().await.expect("no faults");
    let stages: Vec<&str> = report.ledger.stages.iter().map(|counts| counts.stage.as_str()).collect();
    assert_eq!(stages, ["parse", "once"]);
}

#[tokio::test]
async fn what_is_collected_is_told() {
    let mut world = World::new(Script::new(1, 6, 9));
    world.settings.kept_checkpoints = 0;
    world.pipeline().run().await.expect("no faults");
    // Staged by an owner that was shut out.
    let late = EpochContext::new(shard(), 0, 99, world.env.clone());
    let mut writer = MemorySink::new(&world.table).open(late).await.expect("opens");
    writer.write(Rows(vec![1])).await.expect("writes");
    writer.finish().await.expect("finishes").expect("has rows");

    let faults = Faults::none();
    let watched = World { store: faults.store(&world.store), script: Script::new(1, 12, 9), ..world.clone() };
    let handle = watched.pipeline().start();
    let mut events = handle.events();
    handle.wait().await.expect("no faults");
    let mut told = 0;
    while let Ok(event) = events.try_recv() {
        if let Event::Collected { deleted, .. } = event {
            told += deleted;
        }
    }
    let trace = faults.trace();
    let deleted = |under: &str| {
        trace.iter().filter(|point| point.operation == "delete" && point.name.starts_with(under)).count() as u64
    };
    assert!(deleted("state") > 0, "{trace:?}");
    assert_eq!((told, world.table.staged_epochs()), (deleted("") + 1, 0));
    watched.assert_exact().await;
}

#[tokio::test]
async fn a_partition_that_fails_in_each_run_holds_no_collection_up() {
    let mut world = World::new(Script::new(2, 6, 9));
    world.settings.kept_checkpoints = 0;
    world.settings.prune_landing = true;
    world.script.parts = vec!["p0".to_owned()];
    world.script.broken.store(u64::MAX, Ordering::SeqCst);
    let mut deleted = Vec::new();
    for pages in [6, 12, 18] {
        world.script.partitions[1] = Script::new(2, pages, 9).partitions.swap_remove(1);
        let handle = world.pipeline().start();
        let mut events = handle.events();
        handle.wait().await.expect_err("a partition fails");
        while let Ok(event) = events.try_recv() {
            if let Event::Collected { deleted: told, .. } = event {
                deleted.push(told);
            }
        }
    }
    assert!(deleted.len() == 3 && deleted[1..].iter().all(|told| *told > 0), "{deleted:?}");
}

/// Says which epochs were opened, and may refuse to make an enumeration whole.
#[derive(Clone)]
struct Watched {
    inner: MemorySink<Rows<u64>>,
    opened: Arc<Mutex<Vec<EpochContext>>>,
    /// The error, and the number of the enumeration.
    refuses: Option<(ErrorKind, u64)>,
}

impl Watched {
    fn over(inner: MemorySink<Rows<u64>>) -> Self {
        Self { inner, opened: Arc::default(), refuses: None }
    }
}

struct WatchedWriter(MemoryWriter<Rows<u64>>, Option<ErrorKind>);

#[async_trait]
impl Sink for Watched {
    type Item = Rows<u64>;
    type Staged = MemoryStaged;
    type Promise = Transactional;
    type Writer = WatchedWriter;

    fn config(&self) -> Result<ComponentConfig> {
        self.inner.config()
    }

    fn demand(&self) -> Demand {
        self.inner.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<WatchedWriter> {
        self.opened.lock().expect("no panic").push(epoch.clone());
        let refuses =
            self.refuses.filter(|(_, number)| epoch.enumeration.is_some_and(|e| e.whole && e.number == *number));
        Ok(WatchedWriter(self.inner.open(epoch).await?, refuses.map(|(kind, _)| kind)))
    }

    async fn commit(&self, env: &Env, request: CommitRequest<MemoryStaged>) -> Result<CommitOutcome> {
        self.inner.commit(env, request).await
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.inner.mark(shard).await
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[MemoryStaged]) -> Result<u64> {
        self.inner.collect(shard, below_generation, keep).await
    }
}

#[async_trait]
impl Writer for WatchedWriter {
    type Item = Rows<u64>;
    type Staged = MemoryStaged;

    async fn write(&mut self, item: Rows<u64>) -> Result<Vec<Reject>> {
        self.0.write(item).await
    }

    fn staged_bytes(&self) -> u64 {
        self.0.staged_bytes()
    }

    async fn finish(self) -> Result<Option<StagedOutput<MemoryStaged>>> {
        match self.1 {
            Some(kind) => Err(Error::new(kind, "take rows away", "too many")),
            None => self.0.finish().await,
        }
    }
}

/// What was given up may still be on its way: what is staged in its place has another name.
#[tokio::test]
async fn what_is_staged_again_is_another_attempt() {
    let mut script = Script::new(2, 6, 9);
    script.parts = vec!["p0".to_owned()];
    script.broken.store(1, Ordering::SeqCst);
    let world = World { segment_bytes: 1, ..World::new(script) };
    let sink = Watched::over(MemorySink::new(&world.table));
    let pipeline = world.builder_into(sink.clone()).build().expect("complete");
    pipeline.run().await.expect_err("it breaks off");
    let opened = std::mem::take(&mut *sink.opened.lock().expect("no panic"));
    let attempts: Vec<(u64, u32)> = opened.iter().map(|epoch| (epoch.epoch, epoch.attempt)).collect();
    assert!(attempts.iter().any(|(_, attempt)| *attempt == 1), "{attempts:?}");
    assert!(attempts.windows(2).all(|two| two[0] < two[1]), "no name twice: {attempts:?}");
    pipeline.run().await.expect("the rest");
}

#[tokio::test]
async fn an_enumeration_that_a_guard_refuses_is_told_by_each_run_and_taken_once_the_guard_lets_it() {
    // Records at the end, and 64 segments without any.
    for (script, fences) in [(Script::new(1, 2, 5), 0), (Script::new(0, 0, 0), 62)] {
        let world = World::new(script);
        let landing = || Landing::in_store(&world.raw, "raw").expect("a name");
        for _ in 0..fences {
            LandingWriter::open(&landing(), &shard(), &world.env).await.expect("owns it");
        }
        world.builder().from_the_beginning().build().expect("complete").run().await.expect("no faults");
        let (store, table) = (Store::memory(), MemoryTable::<Rows<u64>>::new());
        let again = |refuses: Option<ErrorKind>| {
            let refuses = refuses.map(|kind| (kind, fences + 1));
            Pipeline::named("again")
                .landing_of("numbers", landing())
                .stage(parse())
                .sink(Watched { refuses, ..Watched::over(MemorySink::new(&table).replace()) })
                .accept_quarantined()
                .quarantine(Quarantine::in_store(&store, "quarantine").expect("a name"))
                .checkpoints(StoreCheckpoints::new(&store, "state").expect("a name"))
                .settings(world.settings.clone())
                .env(world.env.clone())
                .build()
                .expect("complete")
        };
        for _ in 0..3 {
            let failure = again(Some(ErrorKind::Data)).run().await.expect_err("the guard refuses it");
            assert_eq!((failure.error().kind(), failure.report().enumerated), (ErrorKind::Data, Some(false)));
            assert!(table.rows().is_empty());
        }
        for _ in 0..2 {
            assert_eq!(again(None).run().await.expect("nothing refuses it").enumerated, Some(true));
            assert_eq!(table.rows().len() as u64, world.script.served());
        }
    }
}

#[tokio::test]
async fn an_enumeration_that_a_guard_refuses_does_not_stand_in_the_way_of_the_next() {
    let world = World::new(Script::new(1, 2, 5));
    for _ in 0..2 {
        let all = world.builder().from_the_beginning().build().expect("complete");
        all.run().await.expect("no faults");
    }
    for (refuses, passes) in [(ErrorKind::Data, true), (ErrorKind::Auth, false)] {
        let table = MemoryTable::<Rows<u64>>::new();
        let sink = Watched { refuses: Some((refuses, 1)), ..Watched::over(MemorySink::new(&table).replace()) };
        let again = Pipeline::named("again")
            .landing_of("numbers", Landing::in_store(&world.raw, "raw").expect("a name"))
            .stage(parse())
            .sink(sink)
            .accept_quarantined()
            .quarantine(Quarantine::in_store(&Store::memory(), "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&Store::memory(), "state").expect("a name"))
            .settings(world.settings.clone())
            .env(world.env.clone())
            .build()
            .expect("complete");
        let ended = again.run().await;
        assert_eq!(ended.is_ok(), passes, "{refuses:?}");
        assert_eq!(table.rows().is_empty(), !passes, "{refuses:?}");
    }
}

/// A landing is loaded again under the same name: an empty destination, checkpoints in a new place, the same quarantine.
#[tokio::test]
async fn what_is_rejected_again_lies_beside_what_the_life_before_rejected() {
    let world = World::new(Script::new(2, 6, 9));
    world.pipeline().run().await.expect("no faults");
    world.assert_exact().await;
    let mut anew = World { table: MemoryTable::new(), ..world.clone() };
    // Other epochs under the same numbers.
    anew.settings.epoch_records = 30;
    let checkpoints = StoreCheckpoints::new(&Store::memory(), "state").expect("a name");
    anew.builder().checkpoints(checkpoints).build().expect("complete").run().await.expect("no faults");
    assert_eq!(anew.rows(), world.script.expected());
    let (bad, twice) = (world.script.bad(), anew.quarantined().await);
    assert!(bad.len() > 2 && bad.iter().flat_map(|line| [line, line]).eq(&twice), "{twice:?}");
}

/// A landing may end where its owner died, inside of a response.
#[tokio::test]
async fn what_lies_before_a_response_that_is_not_whole_does_not_wait_for_it() {
    for epoch_records in [1, 3, 1_000] {
        let mut world = World::new(Script::new(0, 0, 0));
        world.settings.epoch_records = epoch_records;
        let landing = || Landing::in_store(&world.raw, "raw").expect("a name");
        let page = |number: u64| Page::new("p0".into(), number.to_string(), 1, Timestamp::from_micros(1));
        let part = |response, index| {
            let part = Some(Part { response, index, last: false });
            Page { part, ..page(100) }
        };
        let land = async |drafts: Vec<Vec<Page>>| {
            let (mut owner, _) = LandingWriter::open(&landing(), &shard(), &world.env).await.expect("owns it");
            for pages in drafts {
                owner.append(SegmentDraft { pages, ..SegmentDraft::default() }).await.expect("lands");
            }
        };
        let run = async || {
            Pipeline::named("copy")
                .landing_of("numbers", landing())
                .stage(parse())
                .sink(MemorySink::new(&world.table))
                .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
                .settings(world.settings.clone())
                .env(world.env.clone())
                .build()
                .expect("complete")
                .run()
                .await
        };
        land(vec![vec![page(1)], vec![page(2), page(3), part(7, 0)], vec![part(7, 1)]]).await;
        for _ in 0..3 {
            let failure = run().await.expect_err("it may become whole");
            assert_eq!(failure.error().kind(), ErrorKind::Unavailable, "{failure}");
            assert_eq!(world.rows(), [1, 2, 3], "epochs of {epoch_records}");
        }
        land(vec![vec![part(8, 0)]]).await;
        run().await.expect_err("another one");
        assert_eq!(world.rows(), [1, 2, 3]);
        land(vec![vec![page(4)]]).await;
        run().await.expect("it was given up");
        assert_eq!(world.rows(), [1, 2, 3, 4], "epochs of {epoch_records}");
    }
}

#[tokio::test]
async fn starts_that_bring_nothing_do_not_fill_the_store() {
    let (store, table) = (Store::memory(), MemoryTable::<Rows<u64>>::new());
    let mut settings = Settings::default();
    settings.kept_checkpoints = 0;
    for _ in 0..200 {
        Pipeline::named("numbers")
            .source(IterSource::new(0..20_u64))
            .sink(MemorySink::new(&table))
            .checkpoints(StoreCheckpoints::new(&store, "state").expect("a name"))
            .settings(settings.clone())
            .build()
            .expect("complete")
            .run()
            .await
            .expect("no faults");
    }
    let objects = store.list(&ObjectPath::root()).await.expect("lists").len();
    assert!(objects < 80, "{objects} objects");
}

/// What was read under one identity is not gone on with under another, though nothing of it was staged or remembered.
#[tokio::test]
async fn a_change_of_identity_is_refused_once_anything_was_read() {
    let mut script = Script::new(1, 2, 5);
    for line in script.partitions.iter_mut().flat_map(|(_, pages)| pages.iter_mut().flatten()) {
        line.insert_str(0, "bad ");
    }
    let world = World::new(script);
    let by = |key: &'static str, script: Script| world.builder_by(key, script).build().expect("complete");
    let run = async |pipeline: Pipeline| pipeline.run().await.map(|report| report.ledger.read);
    assert_eq!(run(by("id", Script::new(0, 0, 0))).await.expect("nothing to read"), 0);
    assert_eq!(run(by("key", world.script.clone())).await.expect("nothing was read yet"), 10);
    let failure = run(by("id", world.script.clone())).await.expect_err("it has changed");
    assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
}
