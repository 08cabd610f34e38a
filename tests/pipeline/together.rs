//! One extract and several loads in one process.

use crate::odd::{Odd, Oddity};
use crate::support::{Once, Script, World, parse};
use crate::tables::while_down;
use landfall::ErrorKind;
use landfall::checkpoint::StoreCheckpoints;
use landfall::landing::{Landing, LandingReader, Retention};
use landfall::model::{PipelineName, Rows, ShardKey};
use landfall::pipeline::{Ended, Event, Pipeline, Pipelines, RunFailure, RunReport};
use landfall::sink::{MemorySink, MemoryTable, Quarantine, Sink};
use landfall::store::Store;
use landfall::testkit::{FaultSource, Faults, Mode, Plan, Target, test_env};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn landing(world: &World) -> Landing {
    Landing::in_store(&world.raw, "raw").expect("a name").segment_bytes(world.segment_bytes)
}

/// Another load of what `numbers` lands.
fn copy<K>(world: &World, name: &str, sink: K) -> Pipeline
where
    K: Sink<Item = Rows<u64>>,
    K::Promise: landfall::sink::ExactlyOnce,
{
    Pipeline::named(name)
        .landing_of("numbers", landing(world))
        .stage(parse())
        .sink(sink)
        .accept_quarantined()
        .quarantine(Quarantine::in_store(&world.store, &format!("quarantine-{name}")).expect("a name"))
        .checkpoints(StoreCheckpoints::new(&world.store, &format!("state-{name}")).expect("a name"))
        .settings(world.settings.clone())
        .env(world.env.clone())
        .build()
        .expect("complete")
}

/// Lands, and loads nothing.
fn lands(world: &World) -> Pipeline {
    Pipeline::named("numbers")
        .source(world.script.clone())
        .land(landing(world))
        .land_only()
        .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
        .settings(world.settings.clone())
        .env(world.env.clone())
        .build()
        .expect("complete")
}

fn of<'a>(ended: &'a Ended, name: &str) -> &'a Result<RunReport, RunFailure> {
    &ended[&PipelineName::new(name).expect("a name")]
}

fn sorted(table: &MemoryTable<Rows<u64>>) -> Vec<u64> {
    let mut rows = table.rows();
    rows.sort_unstable();
    rows
}

/// Every number as often as it was served.
fn served(script: &Script) -> Vec<u64> {
    let lines = script.partitions.iter().flat_map(|(_, pages)| pages.iter().flatten());
    let mut numbers: Vec<u64> = lines.filter_map(|l| l.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn retention(world: &World) -> Retention {
    Retention::new(&landing(world), &shard(), &world.env)
}

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard: 0 }
}

#[tokio::test]
async fn all_loads_come_to_the_end_of_the_landing_in_one_run() {
    let world = World::new(Script::new(3, 20, 7));
    let (history, again) = (MemoryTable::new(), MemoryTable::new());
    let group = |world: &World| {
        let copies = [copy(world, "history", MemorySink::new(&history)), copy(world, "again", MemorySink::new(&again))];
        Pipelines::of([world.pipeline()].into_iter().chain(copies)).expect("fits")
    };
    let ended = group(&world).run().await;
    assert_eq!(ended.len(), 3);
    for (name, ended) in &ended {
        let report = ended.as_ref().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(report.ledger.read, world.script.served(), "{name}");
    }
    world.assert_exact().await;
    assert_eq!((sorted(&history), sorted(&again)), (served(&world.script), served(&world.script)));
    let asked = world.script.requests.load(Ordering::SeqCst);
    assert_eq!(asked, 60, "each page is asked for once");

    // They go on where they stand.
    let grown = World { script: Script { requests: Arc::default(), ..Script::new(3, 22, 7) }, ..world.clone() };
    for (name, ended) in group(&grown).run().await {
        let report = ended.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(report.ledger.read, grown.script.served() - world.script.served(), "{name}");
    }
}

#[tokio::test]
async fn loads_follow_the_tail_while_it_is_landed() {
    let mut world = World::new(Script::new(1, 6, 10));
    world.settings.epoch_records = 20;
    let table = MemoryTable::new();
    let hangs = world.builder_of(Odd(world.script.clone(), Oddity::Hangs)).build().expect("complete");
    let group = Pipelines::of([hangs, copy(&world, "copy", MemorySink::new(&table))]).expect("fits");
    let handle = group.start();
    let control = handle.controls().remove(&PipelineName::new("copy").expect("a name")).expect("it runs");
    let mut events = control.events();
    let mut read = 0;
    while read < world.script.served() {
        if let Event::EpochCommitted { ledger, .. } = events.recv().await.expect("few events") {
            read += ledger.read;
        }
    }
    assert_eq!(sorted(&table), served(&world.script), "the server has not said that there is no more");
    handle.drain();
    let ended = handle.wait().await;
    let failure = of(&ended, "numbers").as_ref().expect_err("it hangs beyond its deadline");
    assert_eq!(failure.error().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_sink_that_is_down_stops_neither_the_others_nor_what_is_landed() {
    let world = World::new(Script::new(2, 12, 9));
    let (table, other, down) = (MemoryTable::new(), MemoryTable::new(), Arc::new(AtomicBool::new(true)));
    let group = || {
        let sink = while_down(MemorySink::new(&table), &down, false);
        Pipelines::of([lands(&world), copy(&world, "down", sink), copy(&world, "other", MemorySink::new(&other))])
            .expect("fits")
    };
    let ended = group().run().await;
    let landed = of(&ended, "numbers").as_ref().expect("it has no sink that could be down");
    assert_eq!((landed.landed.records, landed.ledger.staged), (world.script.served(), 0));
    assert!(of(&ended, "down").as_ref().expect_err("it is down").error().is_transient());
    assert_eq!(sorted(&other), served(&world.script));
    down.store(false, Ordering::SeqCst);
    let asked = world.script.requests.load(Ordering::SeqCst);
    for (name, ended) in group().run().await {
        ended.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    assert_eq!((sorted(&table), sorted(&other)), (served(&world.script), served(&world.script)));
    assert_eq!(world.script.requests.load(Ordering::SeqCst), asked, "what was landed is not asked for again");
}

#[tokio::test]
async fn what_the_slowest_load_needs_is_kept() {
    let mut world = World::new(Script::new(2, 12, 9));
    world.settings.prune_landing = true;
    let (table, down) = (MemoryTable::new(), Arc::new(AtomicBool::new(true)));
    let slow = || {
        let sink = while_down(MemorySink::new(&table), &down, true);
        copy(&world, "slow", sink)
    };
    let group = || Pipelines::of([world.pipeline(), slow()]).expect("fits");
    of(&group().run().await, "numbers").as_ref().expect("no faults");
    // It could not even begin, and yet was known before anything was landed.
    assert_eq!(retention(&world).retained().await.expect("readable").map(|p| p.segment), Some(1));
    down.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        for (name, ended) in group().run().await {
            ended.unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    assert_eq!(sorted(&table), served(&world.script));
    let kept = retention(&world).retained().await.expect("readable").expect("both are known").segment;
    assert!(kept > 10, "{kept}");

    // A load that comes now is too late.
    let late = MemoryTable::new();
    let group = Pipelines::of([world.pipeline(), copy(&world, "late", MemorySink::new(&late))]).expect("fits");
    let ended = group.run().await;
    of(&ended, "numbers").as_ref().expect("it is not concerned");
    let failure = of(&ended, "late").as_ref().expect_err("the beginning is gone");
    assert_eq!(failure.error().kind(), ErrorKind::Corrupt);
    assert!(failure.to_string().contains("beginning of the landing"), "{failure}");
    assert!(failure.error().hint().is_some_and(|hint| hint.contains("announce")), "{failure:?}");
    assert!(late.rows().is_empty());
}

/// The landing is loaded again under the same name: an empty destination, checkpoints in a new place.
#[tokio::test]
async fn what_a_load_needs_is_kept_though_its_life_before_was_further() {
    let world = World::new(Script::new(2, 12, 9));
    lands(&world).run().await.expect("no faults");
    let before = || copy(&world, "copy", MemorySink::new(&MemoryTable::new()));
    before().run().await.expect("no faults");
    let retained = async || retention(&world).retained().await.expect("readable").map(|p| p.segment);
    assert!(retained().await > Some(10));

    let anew = World { store: Store::memory(), ..world.clone() };
    let (table, down) = (MemoryTable::new(), Arc::new(AtomicBool::new(true)));
    let again = || copy(&anew, "copy", while_down(MemorySink::new(&table), &down, false));
    again().run().await.expect_err("it is down");
    assert_eq!(retained().await, Some(1));
    landing(&world).vacuum(&shard(), &world.env, false).await.expect("deletes what nobody needs");
    down.store(false, Ordering::SeqCst);
    again().run().await.expect("everything is there");
    assert_eq!(sorted(&table), served(&world.script));
}

#[tokio::test]
async fn a_load_that_was_announced_finds_the_beginning() {
    let mut world = World::new(Script::new(2, 12, 9));
    world.settings.prune_landing = true;
    let later = PipelineName::new("later").expect("a name");
    retention(&world).announce(&later).await.expect("everything is there");
    world.pipeline().run().await.expect("no faults");
    world.pipeline().run().await.expect("no faults");
    retention(&world).announce(&later).await.expect("it is known");
    let table = MemoryTable::new();
    copy(&world, "later", MemorySink::new(&table)).run().await.expect("everything is there");
    assert_eq!(sorted(&table), served(&world.script));
}

#[tokio::test]
async fn a_sink_that_is_added_later_replays_the_landing_and_then_follows() {
    let world = World::new(Script::new(1, 8, 9));
    world.pipeline().run().await.expect("no faults");
    let grown = World { script: Script::new(1, 10, 9), ..world.clone() };
    let table = MemoryTable::new();
    let group = Pipelines::of([copy(&grown, "later", MemorySink::new(&table)), grown.pipeline()]).expect("fits");
    let ended = group.run().await;
    assert_eq!(of(&ended, "later").as_ref().expect("no faults").ledger.read, grown.script.served());
    assert_eq!(sorted(&table), served(&grown.script));
}

#[tokio::test]
async fn a_load_that_replaces_follows_enumerations() {
    let world = World::new(Script::new(2, 8, 9));
    let table = MemoryTable::new();
    let group = |world: &World| {
        let all = world.builder().from_the_beginning().build().expect("complete");
        Pipelines::of([all, copy(world, "copy", MemorySink::new(&table).replace())]).expect("fits")
    };
    for script in [world.script.clone(), Script::new(1, 5, 9)] {
        let world = World { script: script.clone(), ..world.clone() };
        let ended = group(&world).run().await;
        of(&ended, "numbers").as_ref().expect("no faults");
        assert_eq!(of(&ended, "copy").as_ref().expect("no faults").enumerated, Some(true));
        assert_eq!(sorted(&table), served(&script));
    }
}

#[tokio::test]
async fn stopped_or_aborted_the_next_run_goes_on() {
    let world = World::new(Script::new(3, 40, 10));
    let table = MemoryTable::new();
    let group = || Pipelines::of([world.pipeline(), copy(&world, "copy", MemorySink::new(&table))]).expect("fits");
    for drain in [true, false] {
        let handle = group().start();
        let control = handle.controls().remove(&PipelineName::new("copy").expect("a name")).expect("it runs");
        let mut events = control.events();
        while !matches!(events.recv().await, Ok(Event::EpochCommitted { .. }) | Err(_)) {}
        if drain {
            handle.drain();
            let ended = handle.wait().await;
            let read = |name| of(&ended, name).as_ref().expect("stopped in peace").ledger.read;
            assert_eq!(read("copy"), read("numbers"), "both have loaded all that was landed");
            assert!(read("copy") < world.script.served());
        } else {
            handle.abort();
            handle.wait().await;
        }
    }
    for (name, ended) in group().run().await {
        ended.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    world.assert_exact().await;
    assert_eq!(sorted(&table), served(&world.script));
}

#[tokio::test]
async fn a_load_ends_with_what_there_is_if_the_extract_cannot_begin() {
    let world = World::new(Script::new(2, 5, 9));
    world.pipeline().run().await.expect("no faults");
    // Its checkpoints are lost: it is refused before it lands anything.
    let broken = world.builder().checkpoints(StoreCheckpoints::new(&world.store, "other").expect("a name"));
    let table = MemoryTable::new();
    let copy = copy(&world, "copy", MemorySink::new(&table));
    let ended = Pipelines::of([broken.build().expect("complete"), copy]).expect("fits").run().await;
    assert_eq!(of(&ended, "numbers").as_ref().expect_err("refused").error().kind(), ErrorKind::Corrupt);
    of(&ended, "copy").as_ref().expect("it has what was landed");
    assert_eq!(sorted(&table), served(&world.script));
}

#[tokio::test]
async fn a_load_that_is_ahead_of_an_overtaken_landing_beside_it_is_no_damage() {
    let world = World::new(Script::new(1, 6, 10));
    let table = MemoryTable::new();
    // What lands stands still before its last page, and its load before it takes anything over.
    let reading = Faults::at(Target::operation("read on").after(5).times(1), Mode::Pause);
    let loading = Faults::of([Plan { at: 0, mode: Mode::Pause }]);
    let lands = world.builder_of(FaultSource::new(world.script.clone(), &reading)).build().expect("complete");
    let late = World { store: loading.store(&world.store), ..world.clone() };
    let overtaken = Pipelines::of([lands, copy(&late, "copy", MemorySink::new(&table))]).expect("fits").start();
    reading.until_paused().await;
    loading.until_paused().await;
    // Others take over, and land and load more.
    let grown = World { script: Script::new(1, 9, 10), env: test_env(2), ..world.clone() };
    let group = Pipelines::of([grown.pipeline(), copy(&grown, "copy", MemorySink::new(&table))]).expect("fits");
    for (name, ended) in group.run().await {
        ended.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    loading.resume();
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    reading.resume();
    let ended = overtaken.wait().await;
    assert_eq!(of(&ended, "numbers").as_ref().expect_err("overtaken").error().kind(), ErrorKind::Fenced);
    of(&ended, "copy").as_ref().expect("nothing is left to load");
    grown.assert_exact().await;
    assert_eq!(sorted(&table), served(&grown.script));
}

#[tokio::test]
async fn groups_with_several_shards_follow_each_of_them() {
    let mut world = World::new(Script::new(6, 5, 9));
    world.settings.shards = 3;
    let table = MemoryTable::new();
    let ended =
        Pipelines::of([world.pipeline(), copy(&world, "copy", MemorySink::new(&table))]).expect("fits").run().await;
    for (name, ended) in &ended {
        ended.as_ref().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    assert_eq!(sorted(&table), served(&world.script));
    let newest = LandingReader::new(&landing(&world), &shard(), &world.env).newest().await.expect("readable");
    assert!(newest > 1);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let world = World::new(Script::new(1, 1, 1));
    let table = MemoryTable::<Rows<u64>>::new();
    let sink = || MemorySink::new(&table);
    let with = |change: &dyn Fn(&mut World)| {
        let mut world = world.clone();
        change(&mut world);
        world
    };
    let elsewhere = Pipeline::named("copy")
        .landing_of("numbers", Landing::in_store(&world.raw, "elsewhere").expect("a name"))
        .stage(parse())
        .stage(Once::default())
        .sink(sink())
        .checkpoints(StoreCheckpoints::new(&world.store, "c").expect("a name"))
        .build()
        .expect("complete");
    let sharded = with(&|world| world.settings.shards = 2);
    let refused = [
        vec![world.pipeline(), world.pipeline()],
        vec![world.pipeline(), elsewhere],
        vec![world.pipeline(), copy(&sharded, "copy", sink())],
        vec![world.pipeline(), copy(&world, "copy", sink().replace())],
    ];
    for pipelines in refused {
        let error = Pipelines::of(pipelines).expect_err("does not fit");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    // The one that lands may run elsewhere.
    Pipelines::of([copy(&world, "copy", sink())]).expect("fits");
}
