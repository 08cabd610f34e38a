//! A source of your own: a fleet of weather stations, each with a log that is read from a line number on.
//!
//! Each station is a partition, so they are read side by side and each has its own position. The source gives raw pages:
//! they are landed before anything is decoded, and a second run asks only for what is new.
//!
//! `cargo run --example custom_source`

#![allow(clippy::print_stdout, clippy::disallowed_macros, reason = "it is a program")]

use landfall::checkpoint::StoreCheckpoints;
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Page, Partition, Position, Proof, Reject, Rows, StopReason, Validity};
use landfall::pipeline::Pipeline;
use landfall::sink::{MemorySink, MemoryTable, Quarantine};
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::stage::{self, Output};
use landfall::store::Store;
use landfall::{Error, Result, async_trait};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// Stands in for the client of your system.
#[derive(Clone, Debug, Default)]
struct Fleet(Arc<Mutex<Vec<(String, Vec<String>)>>>);

impl Fleet {
    fn measure(&self, station: &str, line: &str) {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match logs.iter_mut().find(|(name, _)| name == station) {
            Some((_, log)) => log.push(line.to_owned()),
            None => logs.push((station.to_owned(), vec![line.to_owned()])),
        }
    }

    fn stations(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(name, _)| name.clone()).collect()
    }

    fn lines(&self, station: &str, from: usize, limit: usize) -> Vec<String> {
        let logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let log = logs.iter().find(|(name, _)| name == station);
        log.map(|(_, log)| log.iter().skip(from).take(limit).cloned().collect()).unwrap_or_default()
    }
}

/// Where the read of a station stands. Any serde type will do; it is kept beside the pages.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct LinesRead(usize);

impl Position for LinesRead {
    fn validity(&self) -> Validity {
        // A line keeps its number for ever. A token that expires would be `ShortLived`, an offset into a changing list `Unstable`.
        Validity::Durable
    }
}

#[derive(Debug)]
struct Stations(Fleet);

#[async_trait]
impl Source for Stations {
    type Item = Page;
    type Position = LinesRead;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<LinesRead>) -> Result<()> {
        out.add_all(self.0.stations().into_iter().map(Partition::new).collect()).await
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<LinesRead>,
        out: &mut Emitter<Page, LinesRead>,
    ) -> Result<StopReason> {
        const LIMIT: usize = 3;
        let mut at = from.map_or(0, |p| p.0);
        loop {
            let lines = self.0.lines(&partition.id.0, at, LIMIT);
            at += lines.len();
            if !lines.is_empty() {
                let page = Page::new(partition.id.clone(), lines.join("\n"), lines.len() as u64, env.now());
                // The position lies after the page: both become durable together, or neither.
                out.emit(page, &LinesRead(at)).await?;
            }
            if lines.len() < LIMIT {
                return Ok(StopReason::Exhausted(Proof::EndOfInput));
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Measurement {
    station: String,
    time: String,
    celsius: f64,
}

/// Every line becomes a measurement, or goes to the quarantine with its bytes and a reason.
fn decode(page: Page, out: &mut Output<Rows<Measurement>>) -> Result<()> {
    let text = std::str::from_utf8(&page.body).map_err(|e| Error::data("decode log", "not UTF-8").with_source(e))?;
    let mut rows = Vec::new();
    // `skip` counts records at the front that an earlier epoch has taken.
    for line in text.lines().skip(usize::try_from(page.skip).unwrap_or(usize::MAX)) {
        let parsed = line.split_once(' ').and_then(|(time, celsius)| Some((time, celsius.parse::<f64>().ok()?)));
        match parsed {
            Some((time, celsius)) => {
                rows.push(Measurement { station: page.partition.0.clone(), time: time.to_owned(), celsius });
            }
            None => out.reject(Reject::new("line", "not a time and a temperature", line.as_bytes().to_vec())),
        }
    }
    out.emit(Rows(rows));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let fleet = Fleet::default();
    for hour in 0..8 {
        fleet.measure("harbour", &format!("2025-01-01T{hour:02}:00Z {}.5", hour + 2));
        fleet.measure("summit", &format!("2025-01-01T{hour:02}:00Z -{hour}.0"));
    }
    fleet.measure("summit", "2025-01-01T08:00Z ice on the sensor");

    let store = Store::memory();
    let table = MemoryTable::new();
    let weather = Pipeline::named("weather")
        .source(Stations(fleet.clone()))
        .land(Landing::in_store(&store, "raw")?)
        .stage(stage::from_fn("decode", decode))
        .sink(MemorySink::new(&table))
        .quarantine(Quarantine::in_store(&store, "quarantine")?)
        .checkpoints(StoreCheckpoints::new(&store, "checkpoints")?)
        .build()?;

    println!("{}", weather.run().await?);

    fleet.measure("harbour", "2025-01-01T08:00Z 9.1");
    println!("One more measurement, and another run:\n");
    println!("{}", weather.run().await?);

    let rows = table.rows();
    println!("{} measurements; the last is {:?}", rows.len(), rows.last());
    for refused in Quarantine::in_store(&store, "quarantine")?.read_all().await? {
        println!("in quarantine: {:?}, {} ({})", refused.raw, refused.reason, refused.code);
    }
    Ok(())
}
