//! Whole pipelines into PostgreSQL, with their checkpoints there as well.

use crate::pages::Pages;
use crate::support::World;
use landfall::columnar::{Columns, Decode, Validate};
use landfall::connectors::postgres::{PostgresCheckpoints, PostgresTable};
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, RunReport, Settings};
use landfall::sink::{Disposition, Quarantine, Replace, Upsert};
use landfall::store::Store;

pub fn pages(of: std::ops::Range<u64>, name: &str) -> Pages {
    let page =
        |n: u64| format!("[{{\"id\":{n},\"name\":\"{name}\"}},{{\"id\":{},\"name\":\"zero\\u0000\"}}]", n + 1_000);
    Pages(of.map(page).collect())
}

fn pipeline(
    world: &World,
    store: &Store,
    name: &str,
    source: Pages,
    disposition: impl Into<Disposition>,
    epoch: u64,
    validate: Validate,
) -> Pipeline {
    let columns = Columns::new().int64("id").utf8("name");
    let table = PostgresTable::at(&world.database, &format!("{}.orders", world.schema)).expect("a name");
    Pipeline::named(name)
        .source(source)
        .land(Landing::in_store(store, "raw").expect("a name").segment_bytes(64))
        .stage(Decode::pages().schema(columns))
        .stage(validate)
        .sink(table.disposition(disposition))
        .quarantine(Quarantine::in_store(store, "quarantine").expect("a name"))
        .checkpoints(PostgresCheckpoints::in_schema(&world.database, &world.schema).expect("a name"))
        .accept_quarantined()
        .settings(Settings::default().epoch_records(epoch))
        .build()
        .expect("complete")
}

async fn run(
    world: &World,
    store: &Store,
    name: &str,
    source: Pages,
    disposition: impl Into<Disposition>,
    epoch: u64,
) -> RunReport {
    pipeline(world, store, name, source, disposition, epoch, Validate::new()).run().await.expect("runs")
}

#[tokio::test]
async fn a_pipeline_goes_on_where_it_was_and_its_books_balance() {
    let Some(world) = World::new().await else { return };
    let store = Store::memory();
    let report = run(&world, &store, "orders", pages(0..20, "a"), Upsert::by(["id"]), 7).await;
    assert!(report.is_complete() && report.promise == "transactional", "{report}");
    report.ledger.check().expect("balances");
    assert_eq!((report.ledger.staged, report.ledger.quarantined), (20, 20), "zero bytes are refused");
    let report = run(&world, &store, "orders", pages(0..25, "a"), Upsert::by(["id"]), 7).await;
    assert_eq!(report.ledger.staged, 5);
    assert_eq!(world.ask("SELECT count(*), count(DISTINCT id) FROM {orders}").await, ["25|25"]);
    let sums = world.ask("SELECT sum(rows_inserted), sum((ledger->>'staged')::int), count(DISTINCT position::text) = count(*) FROM {loads}").await;
    assert_eq!(sums, ["25|25|t"]);
    assert!(world.staged().await.is_empty(), "{:?}", world.staged().await);
}

#[tokio::test]
async fn a_pipeline_replaces_its_table_run_by_run() {
    let Some(world) = World::new().await else { return };
    let store = Store::memory();
    let report = run(&world, &store, "snapshot", pages(0..20, "a"), Replace::table(), 7).await;
    assert_eq!(report.enumerated, Some(true), "{report}");
    run(&world, &store, "snapshot", pages(5..18, "b"), Replace::table(), 7).await;
    let rows = world.ask("SELECT count(*), min(id), max(id), min(name) FROM {orders}").await;
    assert_eq!(rows, ["13|5|17|b"]);
    // The guard waits for the rows before it.
    run(&world, &store, "snapshot", pages(5..19, "c"), Replace::table().may_shrink_by(0.0), 1_000).await;
    assert_eq!(world.ask("SELECT count(*), min(name) FROM {orders}").await, ["14|c"]);
    assert!(world.staged().await.is_empty(), "{:?}", world.staged().await);
}

/// The table was given a constraint after the rows were staged; or it had it all the time, which nobody looks at before the commit.
#[tokio::test]
async fn an_epoch_that_a_constraint_refuses_can_be_given_up_and_its_rows_go_to_the_quarantine() {
    for disposition in [Disposition::Append, Upsert::by(["id"]).into(), Replace::table().into()] {
        let Some(world) = World::new().await else { return };
        world
            .ask(&format!(
                "CREATE SCHEMA {}; CREATE TABLE {{orders}} (id bigint CHECK (id < 15), name text); \
                 CREATE UNIQUE INDEX ON {{orders}} (id)",
                world.schema_name()
            ))
            .await;
        let store = Store::memory();
        let of = |validate| pipeline(&world, &store, "orders", pages(0..20, "a"), disposition.clone(), 7, validate);
        let plain = || of(Validate::new());
        let failure = plain().run().await.expect_err("15 is refused");
        assert!(failure.to_string().contains("orders_id_check"), "{failure}");
        let again = plain().run().await.expect_err("it is refused each time");
        assert_eq!(again.error().kind(), failure.error().kind());
        let abandoned = plain().abandon_refused("ana", "no ids from 15 on").await.expect("gives up");
        let [epoch] = abandoned.as_slice() else { panic!("{disposition:?}: {abandoned:?}") };
        assert!(epoch.refusal.contains("orders_id_check"), "{epoch:?}");
        let report = of(Validate::new().range("id", 0..=14)).run().await.expect("runs");
        report.ledger.check().expect("balances");
        let rows = world.ask("SELECT count(*), count(DISTINCT id), max(id) FROM {orders}").await;
        assert_eq!(rows, ["15|15|14"], "{disposition:?}");
        let quarantine = Quarantine::in_store(&store, "quarantine").expect("a name").read_all().await.expect("reads");
        let refused = quarantine.iter().filter(|record| !String::from_utf8_lossy(&record.raw).contains("zero"));
        let stages: Vec<_> = refused.map(|record| record.stage.as_str()).collect();
        assert_eq!(stages, ["validate"; 5], "{disposition:?}");
        assert!(world.staged().await.is_empty(), "{:?}", world.staged().await);
    }
}
