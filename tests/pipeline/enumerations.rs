//! Sinks that put whole enumerations in the place of what was there.

use crate::odd::{Odd, Oddity};
use crate::support::{Once, PageNumber, Script, World, parse};
use landfall::checkpoint::StoreCheckpoints;
use landfall::landing::{Landing, LandingWriter};
use landfall::model::{Page, PipelineName, Rows, ShardKey};
use landfall::pipeline::{Pipeline, PipelineBuilder, RunReport};
use landfall::sink::{MemorySink, MemoryTable, Quarantine};
use landfall::source::{IterSource, Source};
use landfall::store::Store;
use landfall::testkit::{Faults, Mode, Plan};
use landfall::{Error, ErrorKind};

fn landing(world: &World) -> Landing {
    Landing::in_store(&world.raw, "raw").expect("a name").segment_bytes(world.segment_bytes)
}

/// The same parts as those of the world, without a stage that remembers.
fn parts<S: Source<Item = Page>>(
    world: &World,
    builder: PipelineBuilder<S, Page>,
    state: &str,
) -> PipelineBuilder<S, Rows<u64>> {
    builder
        .stage(parse())
        .quarantine(Quarantine::in_store(&world.store, &format!("{state}-quarantine")).expect("a name"))
        .checkpoints(StoreCheckpoints::new(&world.store, state).expect("a name"))
        .settings(world.settings.clone())
        .env(world.env.clone())
}

fn replacing<S: Source<Item = Page, Position = PageNumber>>(world: &World, source: S) -> Pipeline {
    let builder = Pipeline::named("numbers").source(source).land(landing(world));
    parts(world, builder, "state")
        .accept_quarantined()
        .sink(MemorySink::new(&world.table).replace())
        .build()
        .expect("complete")
}

async fn run(pipeline: Pipeline) -> RunReport {
    pipeline.run().await.expect("no error")
}

/// What a script serves, repeats too.
fn served(script: &Script) -> Vec<u64> {
    let lines = script.partitions.iter().flat_map(|(_, pages)| pages.iter().flatten());
    let mut numbers: Vec<u64> = lines.filter_map(|l| l.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn each_run_reads_everything_and_takes_the_place_of_the_one_before() {
    let world = World::new(Script::new(3, 5, 7));
    let report = run(replacing(&world, world.script.clone())).await;
    assert_eq!((report.enumerated, report.is_complete()), (Some(true), true), "{report}");
    assert!(report.epochs > 2, "rows of several epochs come into view at once");
    assert_eq!(world.rows(), served(&world.script));

    let now = Script::new(2, 3, 8);
    run(replacing(&world, now.clone())).await;
    assert_eq!(world.rows(), served(&now));
    run(replacing(&world, now.clone())).await;
    assert_eq!(world.rows(), served(&now), "nothing new is everything again");

    let nothing = Script::new(0, 0, 0);
    let report = run(replacing(&world, nothing)).await;
    assert!(world.rows().is_empty(), "nothing is whole too");
    assert_eq!(report.enumerated, Some(true));
}

#[tokio::test]
async fn replace_with_a_failing_second_stream_leaves_the_old_data_readable() {
    let world = World::new(Script::new(2, 3, 7));
    run(replacing(&world, world.script.clone())).await;
    let old = world.rows();

    let now = Script::new(3, 4, 9);
    let failing = Odd(now.clone(), Oddity::SaysStopped);
    let failure = replacing(&world, failing).run().await.expect_err("each read fails after its pages");
    assert_eq!(failure.report().enumerated, Some(false), "{}", failure.report());
    assert!(failure.report().epochs > 1, "rows were committed, and are not seen");
    assert_eq!(world.rows(), old);

    run(replacing(&world, now.clone())).await;
    assert_eq!(world.rows(), served(&now), "what the failed run has left is gone");
}

#[tokio::test]
async fn a_run_that_is_stopped_takes_nothing_away() {
    let world = World::new(Script::new(2, 3, 7));
    run(replacing(&world, world.script.clone())).await;
    let old = world.rows();
    let handle = replacing(&world, Odd(Script::new(1, 2, 5), Oddity::Hangs)).start();
    handle.drain();
    let report = handle.wait().await.expect("stopped in peace");
    assert_eq!((report.enumerated, report.is_complete()), (Some(false), false));
    assert_eq!(world.rows(), old);
}

#[tokio::test]
async fn a_load_that_is_added_later_replaces_from_the_landing() {
    let world = World::new(Script::new(2, 4, 7));
    let copy = MemoryTable::<Rows<u64>>::new();
    let later = |table: &MemoryTable<Rows<u64>>| {
        let builder = Pipeline::named("copy").landing_of("numbers", landing(&world));
        parts(&world, builder, "copy")
            .accept_quarantined()
            .sink(MemorySink::new(table).replace())
            .build()
            .expect("complete")
    };
    let sorted = |table: &MemoryTable<Rows<u64>>| {
        let mut rows = table.rows();
        rows.sort_unstable();
        rows
    };
    // What goes on from run to run is never whole.
    run(world.pipeline()).await;
    assert_eq!(run(later(&copy)).await.enumerated, Some(false));
    assert!(copy.rows().is_empty());

    let all = world.builder().from_the_beginning().build().expect("complete");
    run(all.clone()).await;
    assert_eq!(run(later(&copy)).await.enumerated, Some(true));
    assert_eq!(sorted(&copy), served(&world.script));
    assert_eq!(world.rows(), world.script.expected(), "a sink of increments takes what is new");
    run(all).await;
    run(later(&copy)).await;
    assert_eq!(sorted(&copy), served(&world.script));
}

/// A load of what was landed as a whole, whose checkpoints are in `store`.
fn whole(world: &World, store: &Store, table: &MemoryTable<Rows<u64>>) -> Pipeline {
    let builder = Pipeline::named("copy").landing_of("numbers", landing(world));
    parts(&World { store: store.clone(), ..world.clone() }, builder, "copy")
        .accept_quarantined()
        .sink(MemorySink::new(table).replace())
        .build()
        .expect("complete")
}

#[tokio::test]
async fn an_enumeration_is_taken_wherever_a_run_breaks_off() {
    let shard = ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard: 0 };
    // Records at the end, and 64 segments without any.
    for (script, fences) in [(Script::new(2, 4, 7), 0), (Script::new(0, 0, 0), 62)] {
        let world = World::new(script);
        for _ in 0..fences {
            LandingWriter::open(&landing(&world), &shard, &world.env).await.expect("owns it");
        }
        world.builder().from_the_beginning().build().expect("complete").run().await.expect("no faults");
        for at in 0.. {
            let (store, table) = (Store::memory(), MemoryTable::<Rows<u64>>::new());
            let faults = Faults::of([Plan { at, mode: Mode::Before }]);
            let broken = whole(&world, &faults.store(&store), &table).run().await.is_err();
            let report = run(whole(&world, &store, &table)).await;
            assert_eq!(report.enumerated, Some(true), "died at {at}: {report}");
            let mut rows = table.rows();
            rows.sort_unstable();
            assert_eq!(rows, served(&world.script), "died at {at}");
            if !broken && faults.trace().len() as u64 <= at {
                break;
            }
        }
    }
}

#[tokio::test]
async fn records_in_the_quarantine_keep_an_enumeration_from_being_whole() {
    let world = World::new(Script::new(1, 2, 5));
    run(replacing(&world, world.script.clone())).await;
    let old = world.rows();
    let strict = |source: Script| {
        let builder = Pipeline::named("numbers").source(source).land(landing(&world));
        parts(&world, builder, "state").sink(MemorySink::new(&world.table).replace()).build().expect("complete")
    };
    let failure = strict(Script::new(2, 4, 9)).run().await.expect_err("bad lines were served");
    assert_eq!(failure.error().kind(), ErrorKind::Incomplete, "{failure}");
    assert!(failure.to_string().contains("accept_quarantined"), "{failure}");
    assert_eq!(world.rows(), old);
    // What was refused does not stand in the way of the next one.
    let good = Script { partitions: vec![("p0".into(), vec![vec!["1".into(), "2".into()]])], ..Script::new(0, 0, 0) };
    run(strict(good)).await;
    assert_eq!(world.rows(), [1, 2]);
}

#[test]
fn does_not_build_where_an_enumeration_could_not_be_told_to_be_whole() {
    let world = World::new(Script::new(1, 1, 1));
    let refused = |built: Result<Pipeline, Error>, why: &str| {
        let error = built.expect_err(why);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(why), "{error}");
    };
    let sink = || MemorySink::new(&world.table).replace();
    let unlanded = Pipeline::named("x").source(IterSource::new([1_u64])).sink(sink());
    refused(unlanded.checkpoints(StoreCheckpoints::new(&world.store, "x").expect("a name")).build(), ".land(");

    let landed = || Pipeline::named("numbers").source(world.script.clone()).land(landing(&world));
    let sharded = World { settings: world.settings.clone().shards(2), ..world.clone() };
    refused(parts(&sharded, landed(), "state").sink(sink()).build(), "shards");
    refused(parts(&world, landed(), "state").stage(Once::default()).sink(sink()).build(), "remembers");
}
