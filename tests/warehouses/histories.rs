//! Every operation in turn goes wrong: each request to the API, each access to an object, each message to the database. Then another
//! process goes on, and the table must hold what was served, each row once. Some operations only: each n-th with `LANDFALL_SCHEDULES_EVERY=n`.

use crate::api::{Answer, Api, Place};
use crate::counted::{Counted, Epochs};
use crate::environment::{every, modes, pairs, seed};
use crate::warehouse::{Delta, Server, Warehouse};
use landfall::columnar::{ColumnType, Columns, Decode, Unnest, UnnestChild};
use landfall::sink::{Children, Disposition, Replace, Upsert};
use landfall::testkit::{self, Faults, Mode, Schedules, Verdict};
use landfall::{Result, async_trait};
use std::collections::HashSet;
use std::sync::Mutex;

/// What outlives the processes.
struct World<W> {
    warehouse: W,
    place: Place,
    shape: Shape,
    epochs: Epochs,
    /// What readers have seen.
    seen: Mutex<Verdict>,
}

/// How many good records are served.
const SERVED: u64 = 5;
/// What no column takes.
const BAD: &str = r#"{"id":"none","name":"bad"}"#;

/// A row of `id`, and `name`.
fn row(id: u64) -> String {
    format!("{id}|number {id}")
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

impl<W: Warehouse> World<W> {
    /// Whether a reader sees whole epochs only, and of what is replaced all or nothing.
    async fn look(&self) {
        let rows = self.warehouse.rows("orders", "id").await;
        let partial = || Some(Verdict::partial(format!("a reader saw {} rows, which is part of it", rows.len())));
        let partial = if self.shape.children {
            // A set whose tables commit each by itself has both when it is whole.
            let items = self.warehouse.rows("items", "order_id").await;
            if !W::SET_IS_ATOMIC || items == rows { None } else { partial() }
        } else if matches!(self.shape.disposition, Disposition::Replace(_)) {
            if [0, SERVED].contains(&(rows.len() as u64)) { None } else { partial() }
        } else {
            self.epochs.look("rows", rows.iter().map(|id| id.parse().expect("a number")))
        };
        if let Some(partial) = partial {
            let mut seen = self.seen.lock().expect("no panic");
            *seen = seen.clone().and(partial);
        }
    }
}

#[async_trait]
impl<W: Warehouse> testkit::World for World<W> {
    async fn process(&self, faults: &Faults) -> Result<()> {
        let record = |id: &u64| format!(r#"{{"id":{id},"name":"number {id}","items":[{{"sku":"of {id}"}}]}}"#);
        let records = |ids: &[u64]| ids.iter().map(record).collect::<Vec<_>>().join(",");
        let page = |ids: &[u64]| Answer::Records(records(ids));
        let with_bad = Answer::Records(format!("{BAD},{}", records(&[3])));
        let mut api = Api::of([("a", vec![page(&[1, 2]), with_bad]), ("b", vec![page(&[4, 5])])]);
        api.faults = faults.clone();
        let reached = self.warehouse.reached_by(faults).await;
        let columns = Columns::new().int64("id").utf8("name");
        let quarantine = self.place.quarantine(&api);
        let built = if self.shape.children {
            let columns = columns.list("items", ColumnType::Struct(Columns::new().utf8("sku")));
            let unnest = Unnest::new("orders").child("items", UnnestChild::at("items").copy("id", "order_id"));
            let items = match &self.shape.disposition {
                Disposition::Append => Disposition::Append,
                _ => Children::of(["order_id"]).into(),
            };
            let set = reached.set(self.shape.disposition.clone(), items);
            self.place.builder_of("orders", &api, &columns, unnest, set).quarantine(quarantine).build()
        } else {
            let decode = Decode::pages().schema(columns);
            let sink = Counted::by("id", reached.sink("orders", self.shape.disposition.clone()), &self.epochs);
            // A replacement may lack what was refused.
            let builder = self.place.builder("orders", &api, decode, 3, sink);
            let builder = builder.quarantine(quarantine).accept_quarantined();
            match reached.checkpoints().filter(|_| self.shape.checkpoints) {
                Some(checkpoints) => builder.checkpoints(checkpoints).build(),
                None => builder.build(),
            }
        };
        let ran = built?.run().await;
        self.look().await;
        ran?;
        Ok(())
    }

    async fn verdict(&self) -> Verdict {
        let rows = self.warehouse.rows("orders", "id, name").await;
        let mut verdict = Verdict::of((1..=SERVED).map(row), rows);
        if self.shape.children {
            let served = (1..=SERVED).map(|id| format!("{id}|of {id}"));
            verdict = verdict.and(Verdict::of(served, self.warehouse.rows("items", "order_id, sku").await));
        }
        let quarantine = self.place.quarantine(&Api::pages::<&str>([]));
        let mut refused = quarantine.read_all().await.expect("readable");
        if matches!(self.shape.disposition, Disposition::Replace(_)) {
            // What begins anew lands it anew: that is no double, but the same place twice is.
            let (mut places, mut records) = (HashSet::new(), HashSet::new());
            refused.retain(|r| !places.insert((r.segment, r.record)) | records.insert(r.raw.clone()));
        }
        verdict = verdict.and(Verdict::of([BAD.as_bytes()], refused.iter().map(|r| &r.raw[..])));
        self.warehouse.leave().await;
        verdict.and(self.seen.lock().expect("no panic").clone())
    }

    /// A reader looks where a process has ended: before its next operation, if it has died. One that looked all the time would cost more
    /// than all the rest.
    async fn watch(&self) -> Verdict {
        std::future::pending().await
    }
}

/// Enumerates the schedules of one shape, as many as `LANDFALL_SCHEDULES_EVERY` and `LANDFALL_SCHEDULES_PAIRS` say, or fewer by what one
/// costs: `warehouse` makes a new one for each.
async fn enumerate<W: Warehouse, Made: Future<Output = W> + Send>(
    shape: Shape,
    costs: u64,
    warehouse: impl Fn() -> Made + Send + Sync,
) {
    let world = || {
        let (made, shape) = (warehouse(), shape.clone());
        async {
            let (warehouse, place) = (made.await, Place::new());
            World { warehouse, place, shape, epochs: Epochs::default(), seen: Mutex::default() }
        }
    };
    let (every, pairs) = (costs * every(61), pairs(4) / costs);
    let schedules = Schedules::made_by(world).modes(modes(&Mode::ANY)).every(every).pairs(pairs).seed(seed());
    // Who overtakes one that stands still with a lock waits: others go on meanwhile, unless it is a driver that waits, with its thread.
    let at_once = if costs > 1 { 1 } else { 8 };
    let outcome = if W::IS_SERVER { schedules.varies().at_once(at_once) } else { schedules }.run().await;
    let checkpoints = if shape.checkpoints { ", checkpoints too" } else { "" };
    let children = if shape.children { ", with children" } else { "" };
    println!("{}", outcome.proof(format_args!("{} {}{checkpoints}{children}", W::NAME, shape.disposition.as_str())));
    outcome.assert_right();
}

async fn on_delta(shape: impl Into<Shape>) {
    enumerate(shape.into(), 1, || async { Delta::new() }).await;
}

async fn on_postgres(shape: impl Into<Shape>) {
    if let Some(server) = Server::new().await {
        enumerate(shape.into(), 1, || async { server.beside() }).await;
    }
}

#[tokio::test]
async fn delta_append_survives_a_fault_at_every_operation() {
    on_delta(Disposition::Append).await;
}

#[tokio::test]
async fn delta_upsert_survives_a_fault_at_every_operation() {
    on_delta(Disposition::from(Upsert::by(["id"]))).await;
}

#[tokio::test]
async fn delta_replace_survives_a_fault_at_every_operation() {
    on_delta(Disposition::from(Replace::table())).await;
}

#[tokio::test]
async fn delta_parents_and_children_survive_a_fault_at_every_operation() {
    on_delta(Shape { children: true, ..Disposition::from(Upsert::by(["id"])).into() }).await;
}

#[tokio::test]
async fn postgres_append_alone_survives_a_fault_at_every_operation() {
    on_postgres(Disposition::Append).await;
}

#[tokio::test]
async fn postgres_append_survives_a_fault_at_every_operation_with_its_checkpoints_there_too() {
    on_postgres(Shape { checkpoints: true, ..Disposition::Append.into() }).await;
}

#[tokio::test]
async fn postgres_parents_and_children_append_survives_a_fault_at_every_operation() {
    on_postgres(Shape { children: true, ..Disposition::Append.into() }).await;
}

#[tokio::test]
async fn postgres_upsert_survives_a_fault_at_every_operation_with_its_checkpoints_there_too() {
    on_postgres(Shape { checkpoints: true, ..Disposition::from(Upsert::by(["id"])).into() }).await;
}

#[tokio::test]
async fn postgres_replace_survives_a_fault_at_every_operation() {
    on_postgres(Disposition::from(Replace::table())).await;
}

#[tokio::test]
async fn postgres_parents_and_children_survive_a_fault_at_every_operation() {
    on_postgres(Shape { children: true, ..Disposition::from(Upsert::by(["id"])).into() }).await;
}

mod adbc {
    use super::*;
    use crate::adbc::{Driver, DuckDb, Postgres, Sqlite, Through};

    async fn through<D: Driver>(disposition: impl Into<Disposition>) {
        if Through::<D>::new().is_some() {
            // A driver that opens its connections anew, and waits for who stands still, takes many times as long.
            let costs = if D::ENGINE.is_server() { 8 } else { 1 };
            enumerate(disposition.into().into(), costs, || async { Through::<D>::new().expect("as before") }).await;
        }
    }

    #[tokio::test]
    async fn duckdb_append_survives_a_fault_at_every_call() {
        through::<DuckDb>(Disposition::Append).await;
    }

    #[tokio::test]
    async fn duckdb_survives_a_fault_at_every_call() {
        through::<DuckDb>(Upsert::by(["id"])).await;
        through::<DuckDb>(Replace::table()).await;
    }

    #[tokio::test]
    async fn sqlite_append_survives_a_fault_at_every_call() {
        through::<Sqlite>(Disposition::Append).await;
    }

    #[tokio::test]
    async fn sqlite_survives_a_fault_at_every_call() {
        through::<Sqlite>(Replace::table()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn postgres_through_adbc_survives_a_fault_at_every_message() {
        through::<Postgres>(Disposition::Append).await;
        through::<Postgres>(Replace::table()).await;
    }
}
