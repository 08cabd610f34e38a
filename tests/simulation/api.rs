//! An API that changes while it is read, and the table of what it has served.

use crate::chance::Chance;
use landfall::env::Env;
use landfall::model::{Page, Part, Partition, Position, Proof, StopReason, Timestamp, Validity};
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::testkit::Faults;
use landfall::{Error, Result, async_trait};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Versions of a record are told apart by the last two digits of its number.
const VERSIONS: u64 = 100;

/// A version of a record.
#[derive(Clone, Debug)]
struct Row {
    id: u64,
    version: u64,
    /// Its time of change; others may have the same.
    changed: u64,
    bad: bool,
}

impl Row {
    fn number(&self) -> u64 {
        self.id * VERSIONS + self.version
    }
}

/// The record that a number is a version of.
pub fn record_of(number: u64) -> u64 {
    number / VERSIONS
}

/// What the API holds, and what it has served. Clones are the same API.
#[derive(Clone, Debug)]
pub struct Api {
    state: Arc<Mutex<State>>,
    chance: Arc<Chance>,
    /// Whether records are JSON.
    json: bool,
}

#[derive(Debug, Default)]
struct State {
    partitions: Vec<Vec<Row>>,
    records: u64,
    /// Whether records have one field more than they used to.
    widened: bool,
    /// Whether it answers as its documentation says.
    calm: bool,
    served: BTreeMap<String, u64>,
}

/// Everything that changed before this was read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Changed(u64);

impl Position for Changed {
    fn validity(&self) -> Validity {
        Validity::Durable
    }
}

struct Served {
    /// The records, and their lines.
    ids: Vec<u64>,
    lines: Vec<String>,
    next: u64,
    more: bool,
}

impl Api {
    pub fn new(partitions: u64, json: bool, seed: u64) -> Self {
        let api = Self { state: Arc::default(), chance: Arc::new(Chance::new(seed)), json };
        api.state().partitions = (0..partitions).map(|_| Vec::new()).collect();
        api
    }

    /// Records come, many of them with the time of the one before.
    pub fn grow(&self, records: u64) {
        let mut state = self.state();
        for _ in 0..records {
            state.records += 1;
            let (id, bad) = (state.records, self.chance.per_mille(80));
            let partition = self.chance.index(state.partitions.len());
            let changed = self.now(&state.partitions[partition]);
            state.partitions[partition].push(Row { id, version: 0, changed, bad });
        }
    }

    /// A record comes to each partition.
    pub fn grow_everywhere(&self) {
        let mut state = self.state();
        for partition in 0..state.partitions.len() {
            state.records += 1;
            let (id, changed) = (state.records, self.now(&state.partitions[partition]));
            state.partitions[partition].push(Row { id, version: 0, changed, bad: false });
        }
    }

    /// Records change, and so move to the end of what the API lists.
    pub fn change(&self, records: u64) {
        let mut state = self.state();
        for _ in 0..records {
            let partition = self.chance.index(state.partitions.len());
            let rows = &mut state.partitions[partition];
            if rows.is_empty() {
                continue;
            }
            let changed = self.now(rows);
            let row = self.chance.index(rows.len());
            let row = &mut rows[row];
            if row.version + 1 < VERSIONS {
                (row.version, row.changed) = (row.version + 1, changed);
            }
        }
    }

    /// These records change.
    fn change_those(&self, partition: usize, ids: &[u64]) {
        let mut state = self.state();
        let Some(rows) = state.partitions.get_mut(partition) else { return };
        let changed = self.now(rows);
        for row in rows.iter_mut().filter(|row| ids.contains(&row.id) && row.version + 1 < VERSIONS) {
            (row.version, row.changed) = (row.version + 1, changed);
        }
    }

    pub fn add_partition(&self) {
        self.state().partitions.push(Vec::new());
    }

    pub fn widen(&self) {
        self.state().widened = true;
    }

    pub fn is_widened(&self) -> bool {
        self.state().widened
    }

    pub fn calm(&self) {
        self.state().calm = true;
    }

    /// The numbers of good records, as they are now.
    pub fn current(&self) -> Vec<u64> {
        let state = self.state();
        state.partitions.iter().flatten().filter(|row| !row.bad).map(Row::number).collect()
    }

    /// The bad records, as they are now.
    pub fn current_bad(&self) -> Vec<String> {
        let state = self.state();
        state.partitions.iter().flatten().filter(|row| row.bad).map(|row| self.line(row, &state)).collect()
    }

    /// How often each line was served.
    pub fn served(&self) -> BTreeMap<String, u64> {
        self.state().served.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of the newest change, or a later one.
    fn now(&self, rows: &[Row]) -> u64 {
        rows.iter().map(|row| row.changed).max().unwrap_or(1) + self.chance.below(2)
    }

    fn line(&self, row: &Row, state: &State) -> String {
        let number = row.number();
        match (self.json, row.bad) {
            (false, false) => number.to_string(),
            (false, true) => format!("bad {number}"),
            (true, true) => format!("{{\"n\":\"bad {number}\"}}"),
            (true, false) => {
                let children = if number % 2 == 0 { format!(",\"children\":[{number}]") } else { String::new() };
                let extra = if state.widened { ",\"extra\":\"more\"" } else { "" };
                format!("{{\"n\":{number},\"id\":{}{children}{extra}}}", row.id)
            }
        }
    }

    /// Some of what has changed since `from`, in its order; those that changed at the same time stay together.
    fn serve(&self, partition: usize, from: u64) -> Served {
        let mut state = self.state();
        let mut rows: Vec<Row> = state.partitions.get(partition).cloned().unwrap_or_default();
        rows.sort_by_key(|row| (row.changed, row.id));
        // Sometimes it repeats what it was not asked for.
        let from_here = if !state.calm && self.chance.per_mille(60) { from.saturating_sub(2) } else { from };
        let wanted = rows.iter().filter(|row| row.changed >= from_here);
        let limit = self.chance.within(1, 6);
        let mut page: Vec<&Row> = Vec::new();
        for row in wanted {
            let last = page.last().map_or(0, |last| last.changed);
            if page.len() as u64 >= limit && row.changed > last && last > from {
                break;
            }
            page.push(row);
        }
        let next = page.last().map_or(from, |last| last.changed).max(from);
        let more = rows.iter().any(|row| row.changed > next);
        let ids = page.iter().map(|row| row.id).collect();
        let lines: Vec<String> = page.into_iter().map(|row| self.line(row, &state)).collect();
        for line in &lines {
            *state.served.entry(line.clone()).or_default() += 1;
        }
        Served { ids, lines, next, more }
    }
}

/// The API over a connection of a process.
pub struct Connected {
    pub api: Api,
    pub faults: Faults,
}

impl Connected {
    fn chance(&self, odds: u64) -> bool {
        !self.api.state().calm && self.api.chance.per_mille(odds)
    }

    async fn request(&self, what: String) -> Result<()> {
        self.faults.read_point("fetch", what, async { Ok(()) }).await
    }
}

#[async_trait]
impl Source for Connected {
    type Item = Page;
    type Position = Changed;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<Changed>) -> Result<()> {
        self.request("partitions".to_owned()).await?;
        let partitions = self.api.state().partitions.len();
        out.add_all((0..partitions).map(|number| Partition::new(format!("p{number}"))).collect()).await
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<Changed>,
        out: &mut Emitter<Page, Changed>,
    ) -> Result<StopReason> {
        let number =
            partition.id.0.trim_start_matches('p').parse().map_err(|_| Error::config("read", "whose is it?"))?;
        let mut at = from.map_or(0, |from| from.0);
        loop {
            self.request(format!("{} from {at}", partition.id)).await?;
            if self.chance(10) {
                return Ok(StopReason::RateLimited { until: Some(env.now().saturating_add(Duration::from_secs(90))) });
            }
            let Served { ids, lines, next, more } = self.api.serve(number, at);
            let page = |lines: &[String], part| {
                let page =
                    Page::new(partition.id.clone(), lines.join("\n"), lines.len() as u64, Timestamp::from_micros(1));
                Page { part, ..page }
            };
            if lines.len() > 1 && self.chance(200) {
                let (response, (first, rest)) = (env.random(), lines.split_at(lines.len() / 2));
                out.emit_part(page(first, Some(Part { response, index: 0, last: false }))).await?;
                self.request(format!("the rest of {} from {at}", partition.id)).await?;
                if self.chance(300) {
                    // When it is asked for again, what was sent is not what it was.
                    self.api.change_those(number, &ids[..first.len()]);
                    return Err(Error::unavailable("read body", "the connection broke"));
                }
                out.emit(page(rest, Some(Part { response, index: 1, last: true })), &Changed(next)).await?;
            } else {
                out.emit(page(&lines, None), &Changed(next)).await?;
            }
            if !more {
                return Ok(StopReason::Exhausted(Proof::EndOfInput));
            }
            at = next;
        }
    }
}
