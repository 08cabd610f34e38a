use crate::odd::{Configured, Odd, Oddity};
use crate::support::{Once, Script, World, parse};
use landfall::checkpoint::{MemoryCheckpoints, StoreCheckpoints};
use landfall::landing::Landing;
use landfall::model::{Page, Rows};
use landfall::pipeline::{Event, Pipeline, PipelineBuilder};
use landfall::sink::{MemorySink, MemoryTable, Quarantine};
use landfall::source::{ComponentConfig, IterSource};
use landfall::stage::{Output, Stage, StageState, from_fn};
use landfall::store::Store;
use landfall::testkit::{Conditionless, test_env};
use landfall::{Error, ErrorKind, Result};

#[test]
fn does_not_build_without_what_it_needs() {
    let world = World::new(Script::new(1, 1, 1));
    let sinkless = Pipeline::named("x").source(IterSource::new([1_u64]));
    let error = sinkless.sink(MemorySink::new(&MemoryTable::<Rows<u64>>::new())).build().expect_err("no checkpoints");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("checkpoints"), "{error}");

    let error = world.builder().checkpoints(MemoryCheckpoints::default()).build().map(drop);
    error.expect("the states go beside the checkpoints that were given first");

    let homeless = Pipeline::named("x")
        .source(world.script.clone())
        .source_is_replayable()
        .stage(parse())
        .stage(Once::default())
        .sink(MemorySink::new(&world.table))
        .checkpoints(MemoryCheckpoints::default())
        .build();
    let error = homeless.expect_err("the state has no place");
    assert!(error.to_string().contains("once"), "{error}");
}

#[tokio::test]
async fn pages_are_exactly_once_with_a_landing_or_a_source_that_replays() {
    let world = World::new(Script::new(1, 3, 10));
    let unlanded = || Pipeline::named("numbers").source(world.script.clone());
    let rest = |builder: PipelineBuilder<Script, Page>| {
        builder
            .stage(parse())
            .sink(MemorySink::new(&world.table))
            .quarantine(Quarantine::in_store(&world.store, "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
            .env(world.env.clone())
    };
    let error = rest(unlanded()).build().expect_err("an API cannot be read twice");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains(".land("), "{error}");
    rest(unlanded()).build_at_least_once().expect("it claims less");
    rest(unlanded().source_is_replayable()).build().expect("it can be read twice");

    // Not even then in parts: an epoch could end in the middle of a response.
    let parts = Script { parts: vec!["p0".into()], ..world.script.clone() };
    let parts = rest(Pipeline::named("numbers").source(parts).source_is_replayable());
    let failure = parts.build().expect("types do not tell").run().await.expect_err("parts need a landing");
    assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
    assert!(world.rows().is_empty());
}

#[test]
fn does_not_build_with_names_or_settings_that_cannot_work() {
    let world = World::new(Script::new(1, 1, 1));
    for name in ["", "a/b", "..", "ä", &"x".repeat(65)] {
        let built = Pipeline::named(name)
            .source(IterSource::new([1_u64]))
            .sink(MemorySink::new(&world.table))
            .checkpoints(MemoryCheckpoints::default())
            .build();
        assert_eq!(built.expect_err(name).kind(), ErrorKind::Config);
    }
    let mut settings = world.settings.clone();
    settings.shards = 0;
    assert_eq!(world.builder().settings(settings).build().expect_err("no shards").kind(), ErrorKind::Config);
}

/// A stage that was set up wrongly.
#[derive(Clone)]
struct Misconfigured;

impl Stage for Misconfigured {
    type In = Rows<u64>;
    type Out = Rows<u64>;

    fn name(&self) -> &str {
        "misconfigured"
    }

    fn config(&self) -> Result<ComponentConfig> {
        Err(Error::config("set up stage", "there is no such pattern"))
    }

    fn fork(&self) -> Option<Self> {
        Some(Self)
    }

    fn state(&mut self) -> Option<&mut dyn StageState> {
        None
    }

    fn apply(&mut self, item: Rows<u64>, out: &mut Output<Rows<u64>>) -> Result<()> {
        out.emit(item);
        Ok(())
    }
}

#[test]
fn does_not_build_with_a_component_that_is_set_up_wrongly() {
    let built = Pipeline::named("x")
        .source(IterSource::new([1_u64]))
        .stage(Misconfigured)
        .sink(MemorySink::new(&MemoryTable::new()))
        .checkpoints(MemoryCheckpoints::default())
        .build();
    let error = built.expect_err("the stage says no");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("stage=`misconfigured`"), "{error}");
}

#[test]
fn asks_before_it_compares_records_over_several_shards() {
    let world = World::new(Script::new(1, 1, 1));
    let mut settings = world.settings.clone();
    settings.shards = 2;
    let unasked = Pipeline::named("numbers")
        .source(world.script.clone())
        .land(Landing::in_store(&world.store, "raw").expect("a name"))
        .stage(parse())
        .stage(Once::default())
        .sink(MemorySink::new(&world.table))
        .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
        .settings(settings);
    let error = unasked.build().expect_err("nothing is assumed");
    assert!(error.to_string().contains("keys_stay_in_partition"), "{error}");
}

#[tokio::test]
async fn a_change_of_identity_is_refused_and_nothing_is_touched() {
    let mut world = World::new(Script::new(2, 40, 10));
    let running = world.pipeline().start();
    let mut events = running.events();
    while let Ok(event) = events.recv().await {
        if matches!(event, Event::EpochCommitted { .. }) {
            break;
        }
    }
    world.settings.shards = 2;
    let failure = world.pipeline().run().await.expect_err("shards are identity");
    assert_eq!(failure.error().kind(), ErrorKind::Config);
    assert!(failure.to_string().contains("shards"), "{failure}");
    running.wait().await.expect("a start that is refused leaves the running instance alone");
    world.assert_exact().await;
}

/// Landed positions outlive a run that never comes to its first epoch.
#[tokio::test]
async fn a_change_of_identity_is_refused_even_before_the_first_epoch() {
    let mut world = World::new(Script::new(2, 6, 10));
    world.settings.epoch_records = 1_000;
    let by = |field: &str| ComponentConfig::none().with_identity(field.into());
    let hanging = Odd(world.script.clone(), Oddity::Hangs);
    let handle = world.builder_of(Configured(hanging, by("updated_at"))).build().expect("complete").start();
    let mut events = handle.events();
    while let Ok(event) = events.recv().await {
        if matches!(event, Event::SegmentLanded { .. }) {
            break;
        }
    }
    handle.abort();
    drop(handle);
    assert!(world.rows().is_empty());
    let failure =
        world.builder_of(Configured(world.script.clone(), by("created_at"))).build().expect("complete").run().await;
    let failure = failure.expect_err("what was landed follows the other field");
    assert_eq!(failure.error().kind(), ErrorKind::Config);
    assert!(failure.to_string().contains("created_at"), "{failure}");
    let put_back = world.builder_of(Configured(world.script.clone(), by("updated_at"))).build().expect("complete");
    put_back.run().await.expect("nothing was touched");
    world.assert_exact().await;
}

/// Somebody mends a typo of the first try.
#[tokio::test]
async fn the_identity_of_a_stage_may_change_until_something_is_loaded() {
    let world = World::new(Script::new(1, 3, 10));
    let failing =
        from_fn("wrong", |_: Rows<u64>, _: &mut Output<Rows<u64>>| Err(Error::data("look up", "no such key")));
    let by = |key: &'static str| {
        Pipeline::named("numbers")
            .source(world.script.clone())
            .land(Landing::in_store(&world.raw, "raw").expect("a name"))
            .stage(parse())
            .stage(Once::by(key))
    };
    let rest = |builder: PipelineBuilder<Script, Rows<u64>>| {
        builder
            .sink(MemorySink::new(&world.table))
            .quarantine(Quarantine::in_store(&world.store, "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
            .env(world.env.clone())
            .build()
            .expect("complete")
    };
    rest(by("typo").stage(failing)).run().await.expect_err("nothing is loaded");
    assert!(world.rows().is_empty());
    rest(by("number")).run().await.expect("landed, and never loaded by the other key");
    let failure = rest(by("typo")).run().await.expect_err("it has begun");
    assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
}

#[tokio::test]
async fn a_change_of_the_dedup_key_is_refused_and_a_change_of_settings_is_told() {
    let world = World::new(Script::new(1, 3, 10));
    let with = |key: &'static str, settings: u64| {
        let config = ComponentConfig::none().with_settings(settings.into());
        world.builder_by(key, Configured(world.script.clone(), config)).build().expect("complete")
    };
    let changes = async |pipeline: Pipeline| {
        let handle = pipeline.start();
        let mut events = handle.events();
        let done = handle.wait().await;
        let mut changed = 0;
        while let Ok(event) = events.try_recv() {
            changed += u64::from(matches!(event, Event::ConfigChanged { .. }));
        }
        done.map(|_| changed)
    };
    assert_eq!(changes(with("id", 1)).await.expect("no faults"), 0);
    assert_eq!(changes(with("id", 1)).await.expect("no faults"), 0);
    assert_eq!(changes(with("id", 2)).await.expect("it is no identity"), 1);
    let failure = changes(with("name", 1)).await.expect_err("the key is identity");
    assert_eq!(failure.error().kind(), ErrorKind::Config);
    assert!(failure.to_string().contains("once"), "{failure}");
    world.assert_exact().await;
}

#[tokio::test]
async fn a_state_that_no_stage_takes_up_is_refused() {
    let world = World::new(Script::new(1, 3, 10));
    world.pipeline().run().await.expect("no faults");
    let forgetful = Pipeline::named("numbers")
        .source(world.script.clone())
        .land(Landing::in_store(&world.raw, "raw").expect("a name"))
        .stage(parse())
        .stage(from_fn("once", |rows: Rows<u64>, out: &mut Output<Rows<u64>>| {
            out.emit(rows);
            Ok(())
        }))
        .sink(MemorySink::new(&world.table))
        .quarantine(Quarantine::in_store(&world.store, "quarantine").expect("a name"))
        .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
        .env(world.env.clone());
    let failure = forgetful.build().expect("complete").run().await.expect_err("it would forget what it has seen");
    assert_eq!(failure.error().kind(), ErrorKind::Config);
    assert!(failure.to_string().contains("once"), "{failure}");
    world.pipeline().run().await.expect("put back");
}

#[tokio::test]
async fn rejects_whose_quarantine_is_gone_are_not_left_behind() {
    let world = World::new(Script::new(1, 1, 11));
    world.pipeline().run().await.expect("no faults");
    for moved in [None, Some("elsewhere")] {
        let mut without = Pipeline::named("numbers")
            .source(world.script.clone())
            .land(Landing::in_store(&world.raw, "raw").expect("a name"))
            .stage(parse())
            .stage(Once::default())
            .sink(MemorySink::new(&world.table))
            .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
            .env(world.env.clone());
        if let Some(folder) = moved {
            without = without.quarantine(Quarantine::in_store(&world.store, folder).expect("a name"));
        }
        let failure = without.build().expect("complete").run().await.expect_err("the rejects are in the other one");
        assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
        assert!(failure.to_string().contains("quarantine"), "{failure}");
    }
    world.assert_exact().await;
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused_before_the_source_is_asked() {
    for at in ["raw", "state"] {
        let mut world = World::new(Script::new(1, 3, 10));
        let careless = Store::new(Conditionless::new(&world.store));
        if at == "raw" {
            world.raw = careless;
        } else {
            world.store = careless;
        }
        let odd = Odd(world.script.clone(), Oddity::HangsAtStart);
        let failure = world.builder_of(odd).build().expect("complete").run().await.expect_err("not safe");
        assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
        assert!(failure.to_string().contains("condition"), "{failure}");
        assert_eq!(world.script.requests.load(std::sync::atomic::Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_destination_ahead_of_its_checkpoints_halts() {
    let world = World::new(Script::new(1, 3, 10));
    world.pipeline().run().await.expect("no faults");
    // The checkpoints are lost; the destination is not.
    let lost = World { store: Store::memory(), ..world.clone() };
    let failure = lost.pipeline().run().await.expect_err("another life");
    assert_eq!(failure.error().kind(), ErrorKind::Corrupt);
    world.assert_exact().await;
}

#[tokio::test]
async fn a_destination_that_lost_epochs_halts() {
    let mut world = World::new(Script::new(1, 3, 10));
    world.pipeline().run().await.expect("no faults");
    // However quiet the last runs were: nothing new is needed to notice it.
    for new_records in [false, true] {
        world.pipeline().run().await.expect("nothing new");
        let kept = std::mem::replace(&mut world.table, MemoryTable::new());
        if new_records {
            world.script.partitions[0].1.push(vec!["500".into()]);
        }
        let failure = world.pipeline().run().await.expect_err("what was committed is gone");
        assert_eq!(failure.error().kind(), ErrorKind::Corrupt);
        assert!(failure.to_string().contains("does not hold what was committed"), "{failure}");
        world.table = kept;
    }
    world.pipeline().run().await.expect("put back");
    world.assert_exact().await;
}

#[tokio::test]
async fn a_rejected_record_without_a_quarantine_stops_the_pipeline() {
    let world = World::new(Script::new(1, 3, 10));
    let pipeline = Pipeline::named("numbers")
        .source(world.script.clone())
        .source_is_replayable()
        .stage(parse())
        .sink(MemorySink::new(&world.table))
        .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
        .env(world.env.clone())
        .build()
        .expect("complete");
    let failure = pipeline.run().await.expect_err("nowhere to put it");
    assert_eq!(failure.error().kind(), ErrorKind::Data);
    assert!(failure.to_string().contains("quarantine"), "{failure}");
    assert!(world.rows().is_empty());
}

/// Another landing in the place of the one that was read: what it holds instead would be passed over in silence.
#[tokio::test]
async fn a_replaced_landing_is_refused_however_long_it_is() {
    for pages in [0, 1, 40] {
        let mut world = World::new(Script::new(1, 6, 10));
        world.pipeline().run().await.expect("no faults");
        world.assert_exact().await;
        let (kept, before) = (world.raw.clone(), world.rows());

        world.raw = Store::memory();
        if pages > 0 {
            let other = Script::new(1, pages, 10);
            let other = World { raw: world.raw.clone(), env: test_env(2), ..World::new(other) };
            other.pipeline().run().await.expect("no faults");
        }
        world.script = Script::new(1, 50, 10);
        for _ in 0..3 {
            // A refusal changes nothing, so that the next start does not take its traces for a landing.
            let failure = world.pipeline().run().await.expect_err("another landing");
            assert_eq!(failure.error().kind(), ErrorKind::Corrupt, "{failure}");
            assert!(failure.to_string().contains("landing"), "{failure}");
        }
        assert_eq!(world.rows(), before);

        world.raw = kept;
        world.pipeline().run().await.expect("put back");
        world.assert_exact().await;
    }
}

/// A shard that nobody loads would be lost in silence.
#[tokio::test]
async fn a_second_load_needs_as_many_shards_as_were_landed() {
    let mut world = World::new(Script::new(6, 2, 10));
    world.settings.shards = 3;
    world.pipeline().run().await.expect("no faults");
    let table = MemoryTable::<Rows<u64>>::new();
    let fewer = Pipeline::named("again")
        .landing_of("numbers", Landing::in_store(&world.raw, "raw").expect("a name"))
        .stage(parse())
        .sink(MemorySink::new(&table))
        .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
        .env(world.env.clone());
    let failure = fewer.build().expect("it is not looked at").run().await.expect_err("two shards are missing");
    assert_eq!(failure.error().kind(), ErrorKind::Config);
    assert!(failure.to_string().contains("shards"), "{failure}");
    assert!(table.rows().is_empty());
}
