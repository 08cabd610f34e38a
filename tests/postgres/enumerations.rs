//! What takes rows away does so when an enumeration is whole, and never before.

use crate::support::{Load, World};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::sink::{CommitOutcome, Disposition, Replace, ReplacePartitions, Scd2, Sink, Upsert, Writer};

const ALL: &str = "SELECT id, name FROM {orders} ORDER BY id, name";

fn load(world: &World, disposition: impl Into<Disposition>) -> Load {
    let mut load = Load::new(world.table(disposition), Columns::new().int64("id").utf8("name"));
    load.enumeration = Some(1);
    load
}

fn lines(rows: &[(u64, &str)]) -> String {
    rows.iter().map(|(id, name)| format!("{{\"id\":{id},\"name\":\"{name}\"}}\n")).collect()
}

#[tokio::test]
async fn l04_a_table_is_replaced_in_one_step_and_only_by_what_is_whole() {
    let Some(world) = World::new().await else { return };
    let mut load = load(&world, Replace::table());
    load.load(&lines(&[(1, "a"), (2, "b")])).await.expect("loads");
    load.load(&lines(&[(3, "c")])).await.expect("loads");
    assert!(world.ask(ALL).await.is_empty(), "nothing is seen before it is whole");
    load.whole().await.expect("is whole");
    assert_eq!(world.ask(ALL).await, ["1|a", "2|b", "3|c"]);

    // One that breaks off leaves the table as it is, and nothing for the next one.
    load.enumeration = Some(9);
    load.load(&lines(&[(7, "lost")])).await.expect("loads");
    assert_eq!(world.ask(ALL).await, ["1|a", "2|b", "3|c"]);
    load.enumeration = Some(12);
    load.load(&lines(&[(1, "A"), (4, "d")])).await.expect("loads");
    load.whole().await.expect("is whole");
    assert_eq!(world.ask(ALL).await, ["1|A", "4|d"]);
    assert!(world.staged().await.is_empty(), "{:?}", world.staged().await);
    let joined = world
        .ask("SELECT id, l.epoch FROM {orders} o JOIN {loads} l ON l.load_id = o._landfall_load ORDER BY id")
        .await;
    assert_eq!(joined, ["1|5", "4|5"], "a row names the load that brought it");
}

#[tokio::test]
async fn who_asks_for_an_old_commit_again_leaves_the_rows_of_a_later_enumeration() {
    let Some(world) = World::new().await else { return };
    let mut load = load(&world, Replace::table());
    let staged = load.stage(&lines(&[(1, "a")])).await.expect("stages").0.expect("rows").staged;
    let slept = load.request(&staged, false);
    load.commit(&staged, false).await.expect("commits");
    load.enumeration = Some(2);
    load.load(&lines(&[(2, "b")])).await.expect("loads");
    let outcome = load.sink.commit(&load.clock, slept).await.expect("is asked");
    assert_eq!(outcome, CommitOutcome::AlreadyCommitted);
    load.whole().await.expect("its rows are there");
    assert_eq!(world.ask(ALL).await, ["2|b"]);
}

#[tokio::test]
async fn only_partitions_that_came_are_replaced() {
    let Some(world) = World::new().await else { return };
    let mut load = load(&world, ReplacePartitions::by(["name"]));
    load.load(&lines(&[(1, "mon"), (2, "mon"), (3, "tue")]).replace("\"tue\"", "null")).await.expect("loads");
    load.load(&lines(&[(4, "wed")])).await.expect("loads");
    load.whole().await.expect("is whole");
    assert_eq!(world.ask(ALL).await, ["1|mon", "2|mon", "3|-", "4|wed"]);
    load.enumeration = Some(2);
    load.load(&lines(&[(9, "mon")])).await.expect("loads");
    load.load(&lines(&[(8, "mon"), (7, "x")]).replace("\"x\"", "null")).await.expect("loads");
    load.whole().await.expect("is whole");
    assert_eq!(world.ask(ALL).await, ["4|wed", "7|-", "8|mon", "9|mon"], "null is a partition too");
    load.enumeration = Some(3);
    load.whole().await.expect("is whole");
    assert_eq!(world.ask("SELECT count(*) FROM {orders}").await, ["4"], "no row is no partition");
}

#[tokio::test]
async fn l09_a_sweep_deletes_what_did_not_come_and_nothing_of_others() {
    let Some(world) = World::new().await else { return };
    let mut load = load(&world, Upsert::by(["id"]).sweep(1.0));
    load.load(&lines(&[(1, "a"), (2, "b"), (3, "c")])).await.expect("loads");
    assert_eq!(world.ask(ALL).await.len(), 3, "what is new is seen at once");
    load.whole().await.expect("is whole");
    world.ask("INSERT INTO {orders} (id, name, _landfall_load) VALUES (50, 'other', 'elsewhere-0000-1'), (51, 'by hand', NULL)").await;
    load.enumeration = Some(2);
    load.load(&lines(&[(1, "a"), (4, "d")])).await.expect("loads");
    assert_eq!(world.ask(ALL).await.len(), 6, "nothing goes before it is whole");
    load.enumeration = Some(3);
    load.load(&lines(&[(1, "a")])).await.expect("loads");
    load.load(&lines(&[(3, "c")])).await.expect("loads");
    load.whole().await.expect("is whole");
    assert_eq!(world.ask(ALL).await, ["1|a", "3|c", "50|other", "51|by hand"]);
}

#[tokio::test]
async fn a_sweep_closes_versions_whose_key_did_not_come() {
    let Some(world) = World::new().await else { return };
    let mut load = load(&world, Scd2::by(["id"]).sweep(1.0));
    load.load(&lines(&[(1, "a"), (2, "b")])).await.expect("loads");
    load.whole().await.expect("is whole");
    load.clock.sleep(std::time::Duration::from_secs(60)).await;
    load.enumeration = Some(2);
    load.load(&lines(&[(2, "b"), (3, "c")])).await.expect("loads");
    load.whole().await.expect("is whole");
    let rows = world.ask("SELECT id, _landfall_valid_to IS NULL FROM {orders} ORDER BY id").await;
    assert_eq!(rows, ["1|f", "2|t", "3|t"], "a row that did not change has come all the same");
}

#[tokio::test]
async fn a_sweep_that_would_take_too_much_is_refused_before_anything_is_prepared() {
    let Some(world) = World::new().await else { return };
    for disposition in [Disposition::from(Upsert::by(["id"]).sweep(0.5)), Scd2::by(["id"]).sweep(0.5).into()] {
        world.ask("DROP TABLE IF EXISTS {orders}").await;
        let world = World {
            schema: format!("{} {}", world.schema, disposition.as_str()),
            ..World::new().await.expect("a server")
        };
        let mut load = load(&world, disposition);
        load.load(&lines(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")])).await.expect("loads");
        load.whole().await.expect("is whole");
        load.enumeration = Some(2);
        load.load(&lines(&[(1, "a")])).await.expect("loads");
        let error = load.open(true).await.expect("opens").finish().await.expect_err("three of four would go");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        load.enumeration = Some(3);
        load.load(&lines(&[(1, "a"), (2, "b")])).await.expect("loads");
        load.whole().await.expect("half may go");
        load.enumeration = Some(4);
        let error = load.open(true).await.expect("opens").finish().await.expect_err("an empty one takes all");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    }
}

#[tokio::test]
async fn a_key_that_was_swept_and_comes_again_is_a_version_again() {
    let Some(world) = World::new().await else { return };
    let mut load =
        Load::new(world.table(Scd2::by(["id"]).since("at").sweep(1.0)), Columns::new().int64("id").timestamp("at"));
    let row = "{\"id\":1,\"at\":\"1970-01-01T00:00:01Z\"}";
    for (number, lines) in [(1, row), (2, "{\"id\":2,\"at\":\"1970-01-01T00:00:01Z\"}"), (3, row)] {
        load.enumeration = Some(number);
        load.load(lines).await.expect("loads");
        load.whole().await.expect("is whole");
    }
    let rows = world.ask("SELECT _landfall_valid_to IS NULL, coalesce(_landfall_valid_to >= _landfall_valid_from, true) FROM {orders} WHERE id = 1 ORDER BY _landfall_valid_from").await;
    assert_eq!(rows, ["f|t", "t|t"]);
}

#[tokio::test]
async fn what_follows_the_return_of_a_swept_key_goes_by_its_own_times() {
    let Some(world) = World::new().await else { return };
    let columns = Columns::new().int64("id").utf8("name").timestamp("at").bool("gone");
    let mut load = Load::new(world.table(Scd2::by(["id"]).since("at").deleted_when("gone").sweep(1.0)), columns);
    let row = |id: u64, name: &str, at: &str, gone: bool| {
        format!("{{\"id\":{id},\"name\":\"{name}\",\"at\":\"{at}\",\"gone\":{gone}}}\n")
    };
    let second = |n: u64| format!("1970-01-01T00:00:{n:02}Z");
    let one = |name: &str, n: u64, gone: bool| row(1, name, &second(n), gone);
    let steps: [(String, &[&str]); 9] = [
        (one("a", 1, false), &["a|t|t"]),
        (String::new(), &["a|f|t"]),
        (one("b", 3, false), &["a|f|t", "b|t|t"]),
        (one("c", 5, false), &["a|f|t", "c|t|t"]),
        (one("late", 4, false), &["a|f|t", "c|t|t"]),
        (one("", 6, true), &["a|f|t"]),
        (one("d", 7, false) + &one("", 8, true), &["a|f|t"]),
        (row(1, "e", "9000-01-01T00:00:00Z", false), &["a|f|t", "e|t|t"]),
        (String::new(), &["a|f|t"]),
    ];
    for (number, (lines, expected)) in steps.into_iter().enumerate() {
        load.enumeration = Some(number as u64 + 1);
        load.load(&(lines + &row(2, "x", &second(2), false))).await.expect("loads");
        load.whole().await.expect("is whole");
        let rows = world
            .ask("SELECT name, _landfall_valid_to IS NULL, coalesce(_landfall_valid_to > _landfall_valid_from, true) FROM {orders} WHERE id = 1 ORDER BY _landfall_valid_from")
            .await;
        assert_eq!(rows, expected, "{number}");
    }
}
