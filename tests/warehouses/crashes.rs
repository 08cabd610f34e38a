//! Every operation in turn goes wrong: each request to the API, each access to an object, each message to the database. Then another
//! process goes on, and the table must hold what was served, each row once. Some operations only, unless there is `LANDFALL_EVERY_CUT`.

use crate::api::{Answer, Api, Place};
use crate::warehouse::{Delta, Server, Warehouse};
use landfall::ErrorKind;
use landfall::columnar::{ColumnType, Columns, Decode, Unnest, UnnestChild};
use landfall::pipeline::RunFailure;
use landfall::sink::{Children, Disposition, Replace, Upsert};
use landfall::testkit::{Faults, Mode, Plan};
use std::collections::BTreeMap;

const MODES: [Mode; 6] =
    [Mode::Before, Mode::AfterLostResponse, Mode::Torn, Mode::Pause, Mode::LostResponse, Mode::Fail];

/// What outlives the processes.
struct World<W> {
    warehouse: W,
    place: Place,
    shape: Shape,
}

/// What is loaded, and how.
#[derive(Clone, Debug)]
struct Shape {
    disposition: Disposition,
    /// Whether the checkpoints are in the warehouse.
    checkpoints: bool,
    /// Whether each row has a child, in a table of its own.
    children: bool,
}

impl From<Disposition> for Shape {
    fn from(disposition: Disposition) -> Self {
        Self { disposition, checkpoints: false, children: false }
    }
}

#[derive(Default)]
struct Tally {
    schedules: u64,
    lost: u64,
    doubled: u64,
    wrong: Vec<String>,
}

impl<W: Warehouse> World<W> {
    async fn process(&self, faults: &Faults) -> Result<(), RunFailure> {
        let page = |ids: &[u64]| {
            let record = |id: &u64| format!("{{\"id\":{id},\"items\":[{{\"sku\":\"of {id}\"}}]}}");
            Answer::Records(ids.iter().map(record).collect::<Vec<_>>().join(","))
        };
        let mut api =
            Api::of([("a", vec![page(&[1, 2]), page(&[3]), page(&[4, 5])]), ("b", vec![page(&[6]), page(&[7, 8, 9])])]);
        api.faults = faults.clone();
        let reached = self.warehouse.reached_by(faults).await;
        let columns = Columns::new().int64("id");
        let built = if self.shape.children {
            let columns = columns.list("items", ColumnType::Struct(Columns::new().utf8("sku")));
            let unnest = Unnest::new("orders").child("items", UnnestChild::at("items").copy("id", "order_id"));
            let set = reached.set(self.shape.disposition.clone(), Children::of(["order_id"]));
            self.place.builder_of("orders", &api, &columns, unnest, set).build()
        } else {
            let decode = Decode::pages().schema(columns);
            let sink = reached.sink("orders", self.shape.disposition.clone());
            let builder = self.place.builder("orders", &api, decode, 3, sink);
            match reached.checkpoints().filter(|_| self.shape.checkpoints) {
                Some(checkpoints) => builder.checkpoints(checkpoints).build(),
                None => builder.build(),
            }
        };
        built.expect("complete").run().await.map(drop)
    }

    async fn recover(&self, what: &str, tally: &mut Tally) {
        if let Err(failure) = self.process(&Faults::none()).await {
            tally.wrong.push(format!("{what}: recovery failed: {failure}"));
        }
    }

    async fn judge(&self, what: &str, tally: &mut Tally) {
        let tables: &[_] =
            if self.shape.children { &[("orders", "id"), ("items", "order_id")] } else { &[("orders", "id")] };
        for (table, column) in tables {
            let mut found = BTreeMap::<String, u64>::new();
            for row in self.warehouse.rows(table, column).await {
                *found.entry(row).or_default() += 1;
            }
            let lost = (1..=9).filter(|id| !found.contains_key(&id.to_string())).count() as u64;
            let doubled = found.values().filter(|count| **count > 1).count() as u64;
            if (lost, doubled, found.len()) != (0, 0, 9) {
                tally.wrong.push(format!("{what}: lost={lost} doubled={doubled} in {table}: {found:?}"));
            }
            tally.lost += lost;
            tally.doubled += doubled;
        }
        tally.schedules += 1;
    }

    async fn schedule(&self, plan: Plan, tally: &mut Tally) {
        let what = format!("{} {:?}, {plan:?}", W::NAME, self.shape);
        let faults = Faults::of([plan]);
        if plan.mode == Mode::Pause {
            let mut zombie = std::pin::pin!(self.process(&faults));
            let ended = tokio::select! {
                _ended = &mut zombie => true,
                () = faults.until_paused() => false,
            };
            if !ended {
                self.recover(&what, tally).await;
                faults.resume();
                if let Err(failure) = zombie.await {
                    let kind = failure.error().kind();
                    if !matches!(kind, ErrorKind::Fenced | ErrorKind::Ambiguous | ErrorKind::Unavailable) {
                        tally.wrong.push(format!("{what}: the zombie ended with {failure}"));
                    }
                }
            }
        } else {
            // How it ends is its own affair; what it leaves behind is not.
            drop(self.process(&faults).await);
        }
        self.recover(&what, tally).await;
        self.judge(&what, tally).await;
    }
}

/// Enumerates the schedules of one shape: `world` makes it anew for each.
#[allow(clippy::future_not_send, reason = "a test runs where it was begun")]
async fn enumerate<W: Warehouse>(shape: Shape, warehouse: impl AsyncFn() -> Option<W>) {
    let world = async || Some(World { warehouse: warehouse().await?, place: Place::new(), shape: shape.clone() });
    let Some(dry) = world().await else { return };
    let faults = Faults::none();
    dry.process(&faults).await.expect("no faults");
    let points = faults.count();
    let step = if std::env::var_os("LANDFALL_EVERY_CUT").is_some() { 1 } else { 89 };
    let mut tally = Tally::default();
    for (start, mode) in (0..).zip(MODES) {
        // Another part of the operations for each mode.
        for at in (start * 31 % step..points).step_by(usize::try_from(step).expect("small")) {
            let world = world().await.expect("as before");
            world.schedule(Plan { at, mode }, &mut tally).await;
        }
    }
    let Tally { schedules, lost, doubled, wrong } = &tally;
    println!(
        "{} {}{}{}: points={points} schedules={schedules} lost={lost} doubled={doubled}",
        W::NAME,
        shape.disposition.as_str(),
        if shape.checkpoints { ", checkpoints too" } else { "" },
        if shape.children { ", with children" } else { "" },
    );
    assert!(wrong.is_empty(), "{} went wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[tokio::test]
async fn l16_delta_append_survives_a_fault_at_every_operation() {
    enumerate(Disposition::Append.into(), async || Some(Delta::new())).await;
}

#[tokio::test]
async fn l16_delta_upsert_survives_a_fault_at_every_operation() {
    enumerate(Disposition::from(Upsert::by(["id"])).into(), async || Some(Delta::new())).await;
}

#[tokio::test]
async fn l16_delta_replace_survives_a_fault_at_every_operation() {
    enumerate(Disposition::from(Replace::table()).into(), async || Some(Delta::new())).await;
}

#[tokio::test]
async fn l16_delta_parents_and_children_survive_a_fault_at_every_operation() {
    let upsert = Disposition::from(Upsert::by(["id"]));
    enumerate(Shape { children: true, ..upsert.into() }, async || Some(Delta::new())).await;
}

#[tokio::test]
async fn l16_postgres_append_survives_a_fault_at_every_operation() {
    enumerate(Disposition::Append.into(), Server::new).await;
}

#[tokio::test]
async fn l16_postgres_upsert_survives_a_fault_at_every_operation_with_its_checkpoints_there_too() {
    let upsert = Disposition::from(Upsert::by(["id"]));
    enumerate(Shape { checkpoints: true, ..upsert.into() }, Server::new).await;
}

#[tokio::test]
async fn l16_postgres_replace_survives_a_fault_at_every_operation() {
    enumerate(Disposition::from(Replace::table()).into(), Server::new).await;
}

#[tokio::test]
async fn l16_postgres_parents_and_children_survive_a_fault_at_every_operation() {
    let upsert = Disposition::from(Upsert::by(["id"]));
    enumerate(Shape { children: true, ..upsert.into() }, Server::new).await;
}
