//! Paired defects of the commits: see `tests/defects`.

use crate::cuts::{Cut, Proxy};
use crate::paired::assert_noticed;
use crate::support::{Load, World};
use landfall::columnar::Columns;
use landfall::connectors::postgres::{Postgres, PostgresTable};
use landfall::sink::{CommitOutcome, Disposition, Sink};
use landfall::testkit::Defect;

fn columns() -> Columns {
    Columns::new().int64("id")
}

async fn world() -> World {
    World::new().await.expect("a server, as before")
}

async fn ids(world: &World) -> Vec<String> {
    world.ask("SELECT id FROM {orders} ORDER BY id").await
}

/// A commit that cannot enter its load has not changed the rows.
async fn rows_and_mark_change_together() {
    let world = world().await;
    let mut load = Load::new(world.table(Disposition::Append), columns());
    load.load("{\"id\":1}").await.expect("loads");
    let staged = load.stage("{\"id\":2}").await.expect("stages").0.expect("rows").staged;
    world.ask("ALTER TABLE {loads} RENAME TO kept").await;
    load.commit(&staged, false).await.expect_err("there is no ledger of loads");
    assert_eq!(ids(&world).await, ["1"], "rows are there without their mark");
    world.ask("ALTER TABLE {kept} RENAME TO landfall_loads").await;
    assert_eq!(load.commit(&staged, false).await.expect("commits"), CommitOutcome::Done);
    assert_eq!(ids(&world).await, ["1", "2"]);
}

/// At each `COMMIT` of a load.
async fn a_commit_whose_answer_is_lost_is_there_once() {
    for cut in [Cut::Before, Cut::After] {
        for at in 0.. {
            let world = world().await;
            let (proxy, url) = Proxy::start(&world.url, "COMMIT", at, cut).await;
            let database = Postgres::connect(&url).expect("a URL").pool_size(4).expect("a size");
            let table = PostgresTable::at(&database, &format!("{}.orders", world.schema)).expect("a name");
            let mut load = Load::new(table, columns());
            for id in 1..=2 {
                let staged = load.stage(&format!("{{\"id\":{id}}}")).await.expect("stages").0.expect("rows").staged;
                let outcome = load.commit(&staged, false).await.expect("is asked again");
                assert!(matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted), "{outcome:?}");
            }
            assert_eq!(ids(&world).await, ["1", "2"], "rows are not there once: {cut:?} at {at}");
            if !proxy.has_cut() {
                break;
            }
        }
    }
}

/// Both read the mark before either changes a row, unless one waits for the other.
async fn two_owners_that_commit_one_epoch_at_once_commit_it_once() {
    let world = world().await;
    let name = world.schema.replace(['"', ' '], "_");
    let database = Postgres::connect(&format!("{}&application_name={name}", world.url)).expect("a URL");
    let orders = format!("{}.orders", world.schema);
    let table = || PostgresTable::at(&database, &orders).expect("a name");
    let mut load = Load::new(table(), columns());
    load.load("{\"id\":1}").await.expect("loads");
    let staged = load.stage("{\"id\":2}").await.expect("stages").0.expect("rows").staged;
    // Whoever has read the mark stops here before it changes a row.
    world.ask("BEGIN; LOCK TABLE {orders} IN EXCLUSIVE MODE").await;
    let other = table();
    let committed = async {
        let requests = [load.request(&staged, false), load.request(&staged, false)];
        let [one, another] = requests;
        tokio::join!(load.sink.commit(&load.clock, one), other.commit(&load.clock, another))
    };
    let both_wait = async {
        // A transaction sees one moment of it, unless it asks for the next.
        let waiting = format!(
            "SELECT pg_stat_clear_snapshot(); \
             SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' AND wait_event_type = 'Lock'"
        );
        while world.ask(&waiting).await.last().is_none_or(|waiting| waiting != "2") {}
        world.ask("COMMIT").await;
    };
    let ((one, another), ()) = tokio::join!(committed, both_wait);
    let outcomes = [one.expect("commits"), another.expect("commits")];
    assert!(
        outcomes.contains(&CommitOutcome::Done) && outcomes.contains(&CommitOutcome::AlreadyCommitted),
        "both commit: {outcomes:?}"
    );
    assert_eq!(ids(&world).await, ["1", "2"]);
}

macro_rules! noticed {
    ($($test:ident: $defect:ident => $scenario:path, $says:literal;)+) => {
        $(
            #[tokio::test]
            async fn $test() {
                if World::new().await.is_some() {
                    assert_noticed(Defect::$defect, "postgres", $says, async || $scenario().await).await;
                }
            }
        )+
    };
}

noticed! {
    a_mark_apart: MarkIsApart => rows_and_mark_change_together, "rows are there without their mark";
    a_lost_commit_that_is_failure: LostCommitIsFailure => a_commit_whose_answer_is_lost_is_there_once, "rows are not there once";
    a_lost_commit_that_is_success: LostCommitIsSuccess => a_commit_whose_answer_is_lost_is_there_once, "rows are not there once";
    a_mark_that_is_not_locked: MarkIsNotLocked => two_owners_that_commit_one_epoch_at_once_commit_it_once, "both commit";
    children_that_are_not_locked: ChildrenAreNotLocked => crate::dispositions::children_of_one_parent_are_those_of_one_shard, "children of both shards";
}
