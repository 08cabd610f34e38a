//! Paired defects of the commits: see `tests/defects`.

use crate::adbc::{DuckDb, Postgres, Sqlite, Through};
use crate::cuts::{Cut, Proxy};
use crate::load::Load;
use crate::paired::assert_noticed;
use crate::sql::{Sql, server};
use crate::warehouse::{Server, Warehouse};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::sink::{CommitOutcome, Disposition};
use landfall::testkit::Defect;

fn load<W: Sql>(warehouse: &W) -> Load<W::Sink> {
    Load::new(warehouse.sink("orders", Disposition::Append), Columns::new().int64("id"))
}

/// A commit that cannot enter its load has not changed the rows.
async fn rows_and_mark_change_together<W: Sql>(open: impl AsyncFn() -> W) {
    let warehouse = open().await;
    let mut load = load(&warehouse);
    load.load("{\"id\":1}").await.expect("loads");
    let staged = load.stage("{\"id\":2}").await.expect("stages").0.expect("rows").staged;
    warehouse.sql("ALTER TABLE {landfall_loads} RENAME TO kept").await;
    load.commit(&staged, false).await.expect_err("there is no ledger of loads");
    assert_eq!(warehouse.rows("orders", "id").await, ["1"], "rows are there without their mark");
    warehouse.sql("ALTER TABLE {kept} RENAME TO landfall_loads").await;
    assert_eq!(load.commit(&staged, false).await.expect("commits"), CommitOutcome::Done);
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2"]);
}

/// At each `COMMIT` of a load.
async fn a_commit_whose_answer_is_lost_is_there_once<W: Sql>(open: impl AsyncFn() -> W) {
    for cut in [Cut::Before, Cut::After] {
        for at in 0.. {
            let warehouse = open().await;
            let (proxy, url) = Proxy::start(&server(), "COMMIT", at, cut).await;
            let mut load = load(&warehouse.over(&url));
            for id in 1..=2 {
                let staged = load.stage(&format!("{{\"id\":{id}}}")).await.expect("stages").0.expect("rows").staged;
                let outcome = match load.commit(&staged, false).await {
                    // As a pipeline does that recovers. Landfall's own sink looks by itself.
                    Err(error) if error.kind() == ErrorKind::Ambiguous && W::NAME != Server::NAME => {
                        load.commit(&staged, false).await
                    }
                    done => done,
                };
                let outcome = outcome.expect("is asked again");
                let there = matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted);
                assert!(there, "rows are not there once: {outcome:?}");
            }
            assert_eq!(warehouse.rows("orders", "id").await, ["1", "2"], "rows are not there once: {cut:?} at {at}");
            if !proxy.has_cut() {
                break;
            }
        }
    }
}

fn name<W: Sql>(_: &W) -> &'static str {
    W::NAME
}

macro_rules! noticed {
    ($($test:ident: $defect:ident in $open:expr => $scenario:ident, $says:literal;)+) => {
        $(
            #[tokio::test]
            async fn $test() {
                if let Some(warehouse) = $open {
                    let open = async || $open.expect("as before");
                    assert_noticed(Defect::$defect, name(&warehouse), $says, async || $scenario(open).await).await;
                }
            }
        )+
    };
}

noticed! {
    postgres_a_mark_apart: MarkIsApart in Server::new().await => rows_and_mark_change_together, "rows are there without their mark";
    duckdb_a_mark_apart: MarkIsApart in Through::<DuckDb>::new() => rows_and_mark_change_together, "rows are there without their mark";
    sqlite_a_mark_apart: MarkIsApart in Through::<Sqlite>::new() => rows_and_mark_change_together, "rows are there without their mark";
    through_adbc_a_mark_apart: MarkIsApart in Through::<Postgres>::new() => rows_and_mark_change_together, "rows are there without their mark";
    postgres_a_lost_commit_that_is_failure: LostCommitIsFailure in Server::new().await => a_commit_whose_answer_is_lost_is_there_once, "rows are not there once";
    postgres_a_lost_commit_that_is_success: LostCommitIsSuccess in Server::new().await => a_commit_whose_answer_is_lost_is_there_once, "rows are not there once";
    through_adbc_a_lost_commit_that_is_failure: LostCommitIsFailure in Through::<Postgres>::new() => a_commit_whose_answer_is_lost_is_there_once, "rows are not there once";
    through_adbc_a_lost_commit_that_is_success: LostCommitIsSuccess in Through::<Postgres>::new() => a_commit_whose_answer_is_lost_is_there_once, "rows are not there once";
}
