//! Histories: every version of a row, and when it held.

use crate::support::{Load, World};
use landfall::columnar::Columns;
use landfall::sink::Scd2;
use std::time::Duration;

fn columns() -> Columns {
    Columns::new().int64("id").utf8("name").timestamp("at").bool("gone")
}

const HISTORY: &str = "SELECT id, name, extract(second FROM _landfall_valid_from)::int, extract(second FROM _landfall_valid_to)::int \
                       FROM {orders} ORDER BY id, _landfall_valid_from";

fn version(id: u64, name: &str, second: u64) -> String {
    format!("{{\"id\":{id},\"name\":\"{name}\",\"at\":\"2024-01-01T00:00:{second:02}Z\",\"gone\":false}}\n")
}

#[tokio::test]
async fn scd2_keeps_every_version_and_when_it_held() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Scd2::by(["id"]).since("at").deleted_when("gone")), columns());
    load.load(&(version(1, "a", 1) + &version(1, "b", 5) + &version(2, "x", 2))).await.expect("loads");
    assert_eq!(world.ask(HISTORY).await, ["1|a|1|5", "1|b|5|-", "2|x|2|-"]);
    load.load(&(version(1, "b", 7) + &version(2, "y", 6) + &version(3, "n", 1))).await.expect("loads");
    assert_eq!(
        world.ask(HISTORY).await,
        ["1|a|1|5", "1|b|5|-", "2|x|2|6", "2|y|6|-", "3|n|1|-"],
        "the same values are no version"
    );
    load.load(&version(1, "late", 3)).await.expect("loads");
    assert_eq!(
        world.ask(HISTORY).await[..2],
        ["1|a|1|5", "1|b|5|-"],
        "what is older than the current one changes nothing"
    );
    load.load(&version(3, "n", 1).replace("false", "true").replace(":01Z", ":09Z")).await.expect("loads");
    assert_eq!(world.ask(HISTORY).await[4], "3|n|1|9", "a delete closes");
    load.load(&(version(3, "n", 11) + &version(3, "m", 12))).await.expect("loads");
    assert_eq!(world.ask(HISTORY).await[4..], ["3|n|1|9", "3|n|11|12", "3|m|12|-"], "what comes back is a version");
    load.load(&version(3, "k", 12)).await.expect("loads");
    assert_eq!(world.ask(HISTORY).await[4..], ["3|n|1|9", "3|n|11|12", "3|k|12|-"], "a correction of the same moment");
    let current =
        world.ask("SELECT id FROM {orders} WHERE _landfall_valid_to IS NULL GROUP BY id HAVING count(*) > 1").await;
    assert!(current.is_empty(), "two current versions: {current:?}");
    let (_, rejects) = load.stage("{\"id\":1,\"name\":\"undated\"}").await.expect("stages");
    assert_eq!(rejects[0].code, "null_since");
}

#[tokio::test]
async fn scd2_without_a_time_of_its_own_holds_from_when_it_was_staged() {
    let Some(world) = World::new().await else { return };
    let columns = Columns::new().int64("id").utf8("name");
    let mut load = Load::new(world.table(Scd2::by(["id"]).columns("from", "to")), columns);
    load.load("{\"id\":1,\"name\":\"a\"}\n{\"id\":1,\"name\":\"b\"}").await.expect("loads");
    load.clock.sleep(Duration::from_secs(60)).await;
    load.load("{\"id\":1,\"name\":\"b\"}").await.expect("loads");
    load.load("{\"id\":1,\"name\":\"c\"}").await.expect("loads");
    let rows = world.ask("SELECT name, \"to\" IS NULL, \"to\" > \"from\" FROM {orders} ORDER BY \"from\"").await;
    assert_eq!(rows, ["b|f|t", "c|t|-"]);
}

#[tokio::test]
async fn a_column_that_is_new_and_null_makes_no_new_version() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Scd2::by(["id"])), Columns::new().int64("id").utf8("a"));
    load.load("{\"id\":1,\"a\":\"x\"}\n{\"id\":2,\"a\":\"x\"}").await.expect("loads");
    load.columns = Columns::new().int64("id").utf8("a").utf8("b");
    load.clock.sleep(Duration::from_secs(60)).await;
    load.load("{\"id\":1,\"a\":\"x\"}\n{\"id\":2,\"a\":\"x\",\"b\":\"y\"}").await.expect("loads");
    assert_eq!(world.ask("SELECT id, count(*) FROM {orders} GROUP BY id ORDER BY id").await, ["1|1", "2|2"]);
}

#[tokio::test]
async fn a_sweep_closes_versions_whose_key_did_not_come() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Scd2::by(["id"]).sweep(1.0)), Columns::new().int64("id").utf8("name"));
    load.enumeration = Some(1);
    load.load("{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}").await.expect("loads");
    load.whole().await.expect("is whole");
    load.clock.sleep(Duration::from_secs(60)).await;
    load.enumeration = Some(2);
    load.load("{\"id\":2,\"name\":\"b\"}\n{\"id\":3,\"name\":\"c\"}").await.expect("loads");
    load.whole().await.expect("is whole");
    let rows = world.ask("SELECT id, _landfall_valid_to IS NULL FROM {orders} ORDER BY id").await;
    assert_eq!(rows, ["1|f", "2|t", "3|t"], "a row that did not change has come all the same");
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
