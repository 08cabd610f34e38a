//! Rows of a key.

use crate::api::{Api, Place};
use crate::warehouse::Warehouse;
use landfall::ErrorKind;
use landfall::columnar::{Columns, Decode};
use landfall::sink::{Disposition, InsertOnly, Scd2, Sink, Upsert};

cases! {
    of_rows_with_one_key_in_a_batch_the_winner_stays,
    without_a_key_both_rows_are_kept,
    a_row_that_says_it_is_deleted_is,
    what_is_newest_of_a_deletion_and_a_row_of_one_key_counts,
    the_newest_version_wins_whatever_the_order_and_a_delete_is_a_version,
    deleted_rows_are_kept_or_that_is_refused,
    insert_only_never_overwrites,
    a_history_ends_with_the_deletion,
    what_an_enumeration_did_not_give_goes_and_nothing_of_others,
}

fn columns() -> Columns {
    Columns::new().int64("id").utf8("name").int64("at").bool("deleted")
}

async fn load<W: Warehouse>(warehouse: &W, place: &Place, pages: &[&str], disposition: impl Into<Disposition>) {
    let api = Api::pages(pages.iter().copied());
    let report = place.run(&api, &columns(), warehouse.sink("orders", disposition)).await.expect("runs");
    assert!(report.is_complete(), "{report}");
}

async fn of_rows_with_one_key_in_a_batch_the_winner_stays<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let first = r#"{"id":1,"name":"a","at":1},{"id":2,"name":"b","at":1},{"id":1,"name":"A","at":1}"#;
    load(&warehouse, &place, &[first], Upsert::by(["id"])).await;
    assert_eq!(warehouse.rows("orders", "id, name").await, ["1|A", "2|b"], "what was landed last");
    // The same in two pages, and an older one that comes later.
    let second = [first, r#"{"id":2,"name":"c","at":7},{"id":2,"name":"d","at":9}"#, r#"{"id":2,"name":"e","at":8}"#];
    let place = Place::new();
    let api = Api::pages(second);
    let newest = warehouse.sink("newest", Upsert::by(["id"]).newest("at"));
    place.run(&api, &columns(), newest).await.expect("runs");
    assert_eq!(
        warehouse.rows("newest", "id, name").await,
        ["1|A", "2|d"],
        "the greatest value wins, and of equal ones the last"
    );
}

async fn without_a_key_both_rows_are_kept<W: Warehouse>(warehouse: W) {
    let rows = r#"{"id":1,"name":"a"},{"id":1,"name":"a"}"#;
    load(&warehouse, &Place::new(), &[rows], Disposition::Append).await;
    assert_eq!(warehouse.rows("orders", "id, name").await, ["1|a", "1|a"]);
}

async fn a_row_that_says_it_is_deleted_is<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let disposition = Upsert::by(["id"]).deleted_when("deleted");
    let first = r#"{"id":1,"name":"a"},{"id":2,"name":"b","deleted":false},{"id":3,"name":"c","deleted":true}"#;
    load(&warehouse, &place, &[first], disposition.clone()).await;
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2"], "one that never was is not there either");
    load(&warehouse, &place, &[first, r#"{"id":1,"deleted":true}"#], disposition).await;
    assert_eq!(warehouse.rows("orders", "id").await, ["2"]);
}

async fn what_is_newest_of_a_deletion_and_a_row_of_one_key_counts<W: Warehouse>(warehouse: W) {
    let page = r#"{"id":1,"name":"a","at":5},{"id":1,"at":4,"deleted":true},{"id":2,"name":"b","at":4},{"id":2,"at":5,"deleted":true}"#;
    load(&warehouse, &Place::new(), &[page], Upsert::by(["id"]).newest("at").deleted_when("deleted")).await;
    assert_eq!(warehouse.rows("orders", "id, name").await, ["1|a"]);
    let api = Api::pages([page]);
    let last = warehouse.sink("landed", Upsert::by(["id"]).deleted_when("deleted"));
    Place::new().run(&api, &columns(), last).await.expect("runs");
    assert!(warehouse.rows("landed", "id, name").await.is_empty(), "without a column, the last one that was landed");
}

async fn the_newest_version_wins_whatever_the_order_and_a_delete_is_a_version<W: Warehouse>(warehouse: W) {
    let upsert = || Upsert::by(["id"]).newest("at").deleted_when("deleted");
    let (place, mut pages) = (Place::new(), Vec::new());
    let steps: [(&str, &[&str], &str); 5] = [
        (
            r#"{"id":1,"name":"new","at":5},{"id":1,"name":"old","at":3},{"id":2,"name":"x","at":1}"#,
            &["1|new", "2|x"],
            "by the column",
        ),
        (
            r#"{"id":1,"name":"older","at":4},{"id":2,"name":"same","at":1}"#,
            &["1|new", "2|same"],
            "an equal one changes the row",
        ),
        (
            r#"{"id":1,"at":4,"deleted":true},{"id":2,"at":2,"deleted":true}"#,
            &["1|new"],
            "an older delete changes nothing",
        ),
        (
            r#"{"id":1,"name":"back","at":9},{"id":1,"at":8,"deleted":true},{"id":3,"at":2,"deleted":true},{"id":3,"name":"no","at":1}"#,
            &["1|back"],
            "delete and insert of one key in one epoch follow the column as well",
        ),
        (r#"{"id":1,"name":"undated"}"#, &["1|back"], "null is before everything"),
    ];
    for (page, expected, why) in steps {
        pages.push(page);
        load(&warehouse, &place, &pages, upsert()).await;
        assert_eq!(warehouse.rows("orders", "id, name").await, expected, "{why}");
    }
}

async fn deleted_rows_are_kept_or_that_is_refused<W: Warehouse>(warehouse: W) {
    let keep = Upsert::by(["id"]).newest("at").deleted_when("deleted").keep_deleted();
    if !warehouse.offers(&keep.clone().into()) {
        let error = warehouse.sink("orders", keep).config().expect_err("it is not kept");
        assert_eq!(error.kind(), ErrorKind::Config);
        return;
    }
    let place = Place::new();
    let first = r#"{"id":1,"name":"a","at":5,"deleted":false}"#;
    let second = r#"{"id":1,"at":7,"deleted":true}"#;
    load(&warehouse, &place, &[first, second], keep.clone()).await;
    load(&warehouse, &place, &[first, second, r#"{"id":1,"name":"older","at":6}"#], keep).await;
    assert_eq!(warehouse.rows("orders", "id, at, deleted").await, ["1|7|t"], "an older version is no row again");
}

async fn insert_only_never_overwrites<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let first = r#"{"id":1,"name":"a"},{"id":1,"name":"b"}"#;
    load(&warehouse, &place, &[first], InsertOnly::by(["id"])).await;
    load(&warehouse, &place, &[first, r#"{"id":1,"name":"c"},{"id":2,"name":"d"}"#], InsertOnly::by(["id"])).await;
    assert_eq!(warehouse.rows("orders", "id, name").await, ["1|a", "2|d"]);
}

async fn a_history_ends_with_the_deletion<W: Warehouse>(warehouse: W) {
    let disposition = Scd2::by(["id"]).deleted_when("deleted");
    if !warehouse.offers(&disposition.clone().into()) {
        let error = warehouse.sink("orders", disposition).config().expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::Config);
        return;
    }
    let place = Place::new();
    let first = r#"{"id":1,"name":"a"},{"id":2,"name":"b"}"#;
    let second = r#"{"id":1,"name":"A"},{"id":2,"name":"b"}"#;
    let third = r#"{"id":1,"deleted":true}"#;
    load(&warehouse, &place, &[first], disposition.clone()).await;
    load(&warehouse, &place, &[first, second], disposition.clone()).await;
    assert_eq!(
        warehouse.rows("orders", "id, name").await,
        ["1|A", "1|a", "2|b"],
        "a row that did not change is no version"
    );
    load(&warehouse, &place, &[first, second, third], disposition).await;
    let versions = warehouse.rows("orders", "id, name, _landfall_valid_to").await;
    let open: Vec<_> = versions.iter().filter(|row| row.ends_with("|-")).collect();
    assert_eq!((versions.len(), open), (3, vec![&"2|b|-".to_owned()]));
}

async fn what_an_enumeration_did_not_give_goes_and_nothing_of_others<W: Warehouse>(warehouse: W) {
    let disposition = Upsert::by(["id"]).sweep(1.0);
    let place = Place::new();
    // Another source writes the same table, and is never swept by this one.
    let other = place.builder(
        "others",
        &Api::pages([r#"{"id":50,"name":"other"}"#]),
        Decode::pages().schema(columns()),
        10,
        warehouse.sink("orders", disposition.clone()),
    );
    other.build().expect("complete").run().await.expect("runs");
    load(&warehouse, &place, &[r#"{"id":1,"name":"a"},{"id":2,"name":"b"},{"id":3}"#], disposition.clone()).await;
    load(&warehouse, &place, &[r#"{"id":1,"name":"a"},{"id":3},{"id":4,"name":"d"}"#], disposition).await;
    let rows = warehouse.rows("orders", "id, name").await;
    assert_eq!(rows, ["1|a", "3|-", "4|d", "50|other"], "a row that came again and did not change survives");
}
