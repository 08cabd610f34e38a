//! An epoch is given up while an older owner, which nobody hears of any more, is about to commit it: one of the two counts.

use crate::api::{Api, Gate, Place};
use crate::hooked::before_commit;
use crate::warehouse::Warehouse;
use landfall::columnar::{Batch, Columns, Decode};
use landfall::pipeline::Pipeline;
use landfall::sink::{Disposition, Sink, Transactional};
use landfall::{Error, ErrorKind};
use std::sync::Arc;
use tokio::sync::Semaphore;

cases! {
    of_an_older_commit_and_giving_its_epoch_up_one_counts,
}

/// When the commit of the older owner goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Older {
    Before,
    Meanwhile,
    After,
}

async fn of_an_older_commit_and_giving_its_epoch_up_one_counts<W: Warehouse>(warehouse: W) {
    for (round, older) in [Older::Before, Older::After].into_iter().chain([Older::Meanwhile; 6]).enumerate() {
        race(&warehouse, older, &format!("orders_{round}")).await;
    }
    warehouse.leave().await;
}

fn pipeline<K: Sink<Item = Batch, Promise = Transactional>>(place: &Place, name: &str, sink: K) -> Pipeline {
    let api = Api::pages([r#"{"id":1}"#, r#"{"id":2}"#]);
    let decode = Decode::pages().schema(Columns::new().int64("id"));
    place.builder(name, &api, decode, 1_000, sink).build().expect("complete")
}

async fn race<W: Warehouse>(warehouse: &W, goes_on: Older, name: &str) {
    let (place, gate, ended) = (Place::new(), Gate::new(), Arc::new(Semaphore::new(0)));
    let sink = || warehouse.sink(name, Disposition::Append);
    let held = gate.clone();
    let waits = before_commit(sink(), move |_| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Ok(None)
        }
    });
    let (run, end) = (pipeline(&place, name, waits).start(), Arc::clone(&ended));
    let older = tokio::spawn(async move {
        let outcome = run.wait().await;
        end.add_permits(1);
        outcome
    });
    gate.until_somebody_waits().await;
    let lets_go = gate.clone();
    let refuses = before_commit(sink(), move |step| {
        let (gate, ended) = (lets_go.clone(), Arc::clone(&ended));
        async move {
            if step.number == 0 {
                return Err(Error::data("commit rows", "a check refuses them"));
            }
            // The empty epoch.
            if goes_on != Older::After {
                gate.open();
            }
            if goes_on == Older::Before {
                ended.acquire().await.expect("never closed").forget();
            }
            Ok(None)
        }
    });
    let abandoned = pipeline(&place, name, refuses).abandon_refused("ana", "a check").await.expect("one counts");
    gate.open();
    let older = older.await.expect("no panic");
    let rows = warehouse.rows(name, "id").await;
    match abandoned.as_slice() {
        [] => assert_eq!(rows, ["1", "2"], "{goes_on:?}: the older one counts"),
        _ => {
            assert!(rows.is_empty(), "{goes_on:?}: {rows:?}");
            let failure = older.expect_err("its epoch was given up");
            assert_eq!(failure.error().kind(), ErrorKind::Fenced, "{failure}");
        }
    }
    assert!(
        goes_on == Older::Meanwhile || abandoned.is_empty() == (goes_on == Older::Before),
        "{goes_on:?}: {abandoned:?}"
    );
    let next = pipeline(&place, name, sink());
    next.run().await.expect("runs");
    assert_eq!(warehouse.rows(name, "id").await, ["1", "2"], "{goes_on:?}: each once");
    assert_eq!(next.abandoned().await.expect("reads"), abandoned);
}
