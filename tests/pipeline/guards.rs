use crate::support::{Once, Script, World, parse};
use landfall::ErrorKind;
use landfall::checkpoint::{MemoryCheckpoints, StoreCheckpoints};
use landfall::landing::Landing;
use landfall::model::{Page, Rows};
use landfall::pipeline::{Pipeline, PipelineBuilder};
use landfall::sink::{MemorySink, MemoryTable, Quarantine};
use landfall::source::IterSource;
use landfall::store::Store;
use landfall::testkit::test_env;

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
    let mut world = World::new(Script::new(2, 2, 10));
    world.pipeline().run().await.expect("no faults");
    let before = world.rows();
    world.settings.shards = 2;
    let failure = world.pipeline().run().await.expect_err("shards are identity");
    assert_eq!(failure.error().kind(), ErrorKind::Config);
    assert!(failure.to_string().contains("shards"), "{failure}");
    assert_eq!(world.rows(), before);
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
    let kept = world.table.clone();
    world.table = MemoryTable::new();
    world.script.partitions[0].1.push(vec!["500".into()]);
    let failure = world.pipeline().run().await.expect_err("a gap");
    assert_eq!(failure.error().kind(), ErrorKind::Corrupt);
    world.table = kept;
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
