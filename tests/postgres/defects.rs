//! Paired defects of locks: see `tests/defects`. Those that every database can have are in `tests/warehouses`.

use crate::paired::assert_noticed;
use crate::support::{Load, World};
use landfall::columnar::Columns;
use landfall::connectors::postgres::{Postgres, PostgresTable};
use landfall::sink::{CommitOutcome, Sink};
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
    let outcomes = [one, another].map(|outcome| outcome.expect("two that commit at once are answered"));
    assert!(
        outcomes.contains(&CommitOutcome::Done) && outcomes.contains(&CommitOutcome::AlreadyCommitted),
        "two that commit at once both commit: {outcomes:?}"
    );
    assert_eq!(ids(&world).await, ["1", "2"], "what two that commit at once have left");
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
    a_mark_that_is_not_locked: MarkIsNotLocked => two_owners_that_commit_one_epoch_at_once_commit_it_once, "two that commit at once";
    children_that_are_not_locked: ChildrenAreNotLocked => crate::dispositions::children_of_one_parent_are_those_of_one_shard, "children of both shards";
}
