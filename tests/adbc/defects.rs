//! Paired defects of the commits: see `tests/defects`.

use crate::cuts::{Cut, Proxy};
use crate::paired::assert_noticed;
use crate::support::{Kind, Load, World};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::connectors::adbc::Adbc;
use landfall::sink::{CommitOutcome, Disposition};
use landfall::testkit::Defect;

fn columns() -> Columns {
    Columns::new().int64("id")
}

fn world(kind: Kind) -> World {
    World::new(kind).expect("a driver, as before")
}

async fn ids(world: &World) -> Vec<String> {
    world.ask("SELECT id FROM {orders} ORDER BY id").await
}

/// A commit that cannot enter its load has not changed the rows.
async fn rows_and_mark_change_together(kind: Kind) {
    let world = world(kind);
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
async fn a_commit_whose_answer_is_lost_is_there_once(kind: Kind) {
    for cut in [Cut::Before, Cut::After] {
        for at in 0.. {
            let world = world(kind);
            let url = std::env::var("LANDFALL_TEST_POSTGRES").expect("is there");
            let (proxy, url) = Proxy::start(&url, "COMMIT", at, cut).await;
            let driver = Adbc::driver(std::env::var("LANDFALL_TEST_ADBC_POSTGRES").expect("is there"));
            let mut load = Load::new(world.table_in(&driver.option("uri", url), Disposition::Append), columns());
            for id in 1..=2 {
                let staged = load.stage(&format!("{{\"id\":{id}}}")).await.expect("stages").0.expect("rows").staged;
                let outcome = match load.commit(&staged, false).await {
                    // As a pipeline does that recovers.
                    Err(error) if error.kind() == ErrorKind::Ambiguous => load.commit(&staged, false).await,
                    done => done,
                };
                let outcome = outcome.expect("is asked again");
                assert!(matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted), "{outcome:?}");
            }
            assert_eq!(ids(&world).await, ["1", "2"], "rows are not there once: {cut:?} at {at}");
            if !proxy.has_cut() {
                break;
            }
        }
    }
}

macro_rules! noticed {
    ($($test:ident: $defect:ident on $kind:ident => $scenario:ident, $says:literal;)+) => {
        $(
            #[tokio::test]
            async fn $test() {
                if World::new(Kind::$kind).is_some() {
                    let database = format!("adbc {}", stringify!($kind).to_lowercase());
                    assert_noticed(Defect::$defect, &database, $says, async || $scenario(Kind::$kind).await).await;
                }
            }
        )+
    };
}

noticed! {
    duckdb_a_mark_apart: MarkIsApart on DuckDb => rows_and_mark_change_together, "rows are there without their mark";
    sqlite_a_mark_apart: MarkIsApart on Sqlite => rows_and_mark_change_together, "rows are there without their mark";
    postgres_a_mark_apart: MarkIsApart on Postgres => rows_and_mark_change_together, "rows are there without their mark";
    postgres_a_lost_commit_that_is_failure: LostCommitIsFailure on Postgres => a_commit_whose_answer_is_lost_is_there_once, "rows are not there once";
    postgres_a_lost_commit_that_is_success: LostCommitIsSuccess on Postgres => a_commit_whose_answer_is_lost_is_there_once, "rows are not there once";
}
