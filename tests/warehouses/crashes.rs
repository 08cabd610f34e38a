//! Every operation in turn goes wrong: each request to the API, each access to an object, each message to the database. Then another
//! process goes on, and the table must hold what was served, each row once. Some operations only, unless there is `LANDFALL_EVERY_CUT`.

use crate::api::{Api, Place};
use crate::warehouse::{Delta, Server, Warehouse};
use landfall::ErrorKind;
use landfall::columnar::{Columns, Decode};
use landfall::pipeline::RunFailure;
use landfall::sink::{Disposition, Replace, Upsert};
use landfall::testkit::{Faults, Mode, Plan};
use std::collections::BTreeMap;

const MODES: [Mode; 6] =
    [Mode::Before, Mode::AfterLostResponse, Mode::Torn, Mode::Pause, Mode::LostResponse, Mode::Fail];

/// What outlives the processes.
struct World<W> {
    warehouse: W,
    place: Place,
    disposition: Disposition,
    /// Whether the checkpoints are in the warehouse.
    checkpoints: bool,
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
        let mut api = Api::of([
            ("a", vec![r#"{"id":1},{"id":2}"#, r#"{"id":3}"#, r#"{"id":4},{"id":5}"#]),
            ("b", vec![r#"{"id":6}"#, r#"{"id":7},{"id":8},{"id":9}"#]),
        ]);
        api.faults = faults.clone();
        let reached = self.warehouse.reached_by(faults).await;
        let decode = Decode::pages().schema(Columns::new().int64("id"));
        let sink = reached.sink("orders", self.disposition.clone());
        let builder = self.place.builder("orders", &api, decode, 3, sink);
        let builder = match reached.checkpoints().filter(|_| self.checkpoints) {
            Some(checkpoints) => builder.checkpoints(checkpoints),
            None => builder,
        };
        builder.build().expect("complete").run().await.map(drop)
    }

    async fn recover(&self, what: &str, tally: &mut Tally) {
        if let Err(failure) = self.process(&Faults::none()).await {
            tally.wrong.push(format!("{what}: recovery failed: {failure}"));
        }
    }

    async fn judge(&self, what: &str, tally: &mut Tally) {
        let mut found = BTreeMap::<String, u64>::new();
        for row in self.warehouse.rows("orders", "id").await {
            *found.entry(row).or_default() += 1;
        }
        let lost = (1..=9).filter(|id| !found.contains_key(&id.to_string())).count() as u64;
        let doubled = found.values().filter(|count| **count > 1).count() as u64;
        if (lost, doubled, found.len()) != (0, 0, 9) {
            tally.wrong.push(format!("{what}: lost={lost} doubled={doubled} {found:?}"));
        }
        tally.lost += lost;
        tally.doubled += doubled;
        tally.schedules += 1;
    }

    async fn schedule(&self, plan: Plan, tally: &mut Tally) {
        let what = format!("{} {}, {plan:?}", W::NAME, self.disposition.as_str());
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
async fn enumerate<W: Warehouse>(
    disposition: impl Into<Disposition>,
    checkpoints: bool,
    warehouse: impl AsyncFn() -> Option<W>,
) {
    let disposition = disposition.into();
    let world = async || {
        let disposition = disposition.clone();
        Some(World { warehouse: warehouse().await?, place: Place::new(), disposition, checkpoints })
    };
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
        "{} {}{}: points={points} schedules={schedules} lost={lost} doubled={doubled}",
        W::NAME,
        disposition.as_str(),
        if checkpoints { ", checkpoints too" } else { "" }
    );
    assert!(wrong.is_empty(), "{} went wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[tokio::test]
async fn l16_delta_append_survives_a_fault_at_every_operation() {
    enumerate(Disposition::Append, false, async || Some(Delta::new())).await;
}

#[tokio::test]
async fn l16_delta_upsert_survives_a_fault_at_every_operation() {
    enumerate(Upsert::by(["id"]), false, async || Some(Delta::new())).await;
}

#[tokio::test]
async fn l16_delta_replace_survives_a_fault_at_every_operation() {
    enumerate(Replace::table(), false, async || Some(Delta::new())).await;
}

#[tokio::test]
async fn l16_postgres_append_survives_a_fault_at_every_operation() {
    enumerate(Disposition::Append, false, Server::new).await;
}

#[tokio::test]
async fn l16_postgres_upsert_survives_a_fault_at_every_operation_with_its_checkpoints_there_too() {
    enumerate(Upsert::by(["id"]), true, Server::new).await;
}

#[tokio::test]
async fn l16_postgres_replace_survives_a_fault_at_every_operation() {
    enumerate(Replace::table(), false, Server::new).await;
}
