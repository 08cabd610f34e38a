//! A small scripted source of pages, and the parts of a pipeline around it.

use landfall::checkpoint::{MemoryCheckpoints, StoreCheckpoints};
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Page, Part, Partition, Position, Proof, Reject, Rows, StopReason, Timestamp, Validity};
use landfall::pipeline::{Pipeline, PipelineBuilder, Settings};
use landfall::sink::{MemorySink, MemoryTable, Quarantine, Sink};
use landfall::source::{ComponentConfig, Emitter, IterSource, Listing, Source};
use landfall::stage::{FnStage, Output, Stage, StageState, from_fn};
use landfall::store::Store;
use landfall::testkit::{Faults, test_env};
use landfall::{Error, Result, async_trait};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A record of the scripted API: one line of its pages. A line that is no number is a bad record.
pub type Line = String;

/// What a partition serves, page by page; kept outside of the source so that it outlives a "process".
#[derive(Clone, Debug)]
pub struct Script {
    pub partitions: Vec<(String, Vec<Vec<Line>>)>,
    /// Pages of these partitions come as one response in parts; the first `broken` tries of one break off.
    pub parts: Vec<String>,
    pub broken: Arc<AtomicU64>,
    /// Before the last of the parts, the server says nothing more.
    pub stalled: Arc<AtomicBool>,
    pub requests: Arc<AtomicU64>,
}

impl Script {
    /// `pages` pages of `lines` numbers for each of `partitions`; every 7th line repeats an earlier one, every 11th is bad.
    pub fn new(partitions: usize, pages: usize, lines: usize) -> Self {
        let mut number = 0;
        let mut line = |partition: usize| {
            number += 1;
            match number {
                n if n % 11 == 0 => format!("bad {n}"),
                n if n % 7 == 0 => format!("{}", partition * 1_000_000 + n - 5),
                n => format!("{}", partition * 1_000_000 + n),
            }
        };
        let partitions = (0..partitions)
            .map(|p| {
                let pages = (0..pages).map(|_| (0..lines).map(|_| line(p)).collect()).collect();
                (format!("p{p}"), pages)
            })
            .collect();
        Self {
            partitions,
            parts: Vec::new(),
            broken: Arc::default(),
            stalled: Arc::default(),
            requests: Arc::default(),
        }
    }

    /// The numbers that must be in the destination, each once, sorted.
    pub fn expected(&self) -> Vec<u64> {
        let lines = self.partitions.iter().flat_map(|(_, pages)| pages.iter().flatten());
        let mut numbers: Vec<u64> = lines.filter_map(|l| l.parse().ok()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// The lines that must be in the quarantine, each as often as it was served, sorted.
    pub fn bad(&self) -> Vec<String> {
        let lines = self.partitions.iter().flat_map(|(_, pages)| pages.iter().flatten());
        let mut bad: Vec<String> = lines.filter(|l| l.parse::<u64>().is_err()).cloned().collect();
        bad.sort_unstable();
        bad
    }

    pub fn served(&self) -> u64 {
        self.partitions.iter().flat_map(|(_, pages)| pages.iter().map(Vec::len)).sum::<usize>() as u64
    }
}

/// The number of the page to read next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PageNumber(pub usize);

impl Position for PageNumber {
    fn validity(&self) -> Validity {
        Validity::Durable
    }
}

#[async_trait]
impl Source for Script {
    type Item = Page;
    type Position = PageNumber;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<PageNumber>) -> Result<()> {
        out.add_all(self.partitions.iter().map(|(id, _)| Partition::new(id.clone())).collect()).await
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<PageNumber>,
        out: &mut Emitter<Page, PageNumber>,
    ) -> Result<StopReason> {
        self.read_through(env, partition, from, out, None).await
    }
}

impl Script {
    /// Reads over a connection: every request is an I/O point of `faults`.
    pub async fn read_through(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<PageNumber>,
        out: &mut Emitter<Page, PageNumber>,
        faults: Option<&Faults>,
    ) -> Result<StopReason> {
        let fetch = async |number: usize| {
            self.requests.fetch_add(1, Ordering::SeqCst);
            match faults {
                Some(faults) => faults.point("fetch", format!("{}/{number}", partition.id), async { Ok(()) }).await,
                None => Ok(()),
            }
        };
        let pages = self.partitions.iter().find(|(id, _)| *id == partition.id.0).map_or(&[][..], |(_, pages)| pages);
        let page = |lines: &[Line]| {
            Page::new(partition.id.clone(), lines.join("\n"), lines.len() as u64, Timestamp::from_micros(1))
        };
        if self.parts.contains(&partition.id.0) && from.is_none() {
            let response = env.random();
            let breaks = self.broken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
            for (index, lines) in pages.iter().enumerate() {
                let last = index + 1 == pages.len();
                let part = Part { response, index: u32::try_from(index).expect("few"), last };
                let page = Page { part: Some(part), ..page(lines) };
                fetch(index).await?;
                if last && self.stalled.load(Ordering::SeqCst) {
                    out.cancelled().await;
                }
                if last && breaks {
                    return Err(Error::unavailable("read body", "the connection broke"));
                }
                if last {
                    out.emit(page, &PageNumber(pages.len())).await?;
                } else {
                    out.emit_part(page).await?;
                }
            }
            return Ok(StopReason::Exhausted(Proof::WholeResponse));
        }
        for (number, lines) in pages.iter().enumerate().skip(from.map_or(0, |p| p.0)) {
            fetch(number).await?;
            out.emit(page(lines), &PageNumber(number + 1)).await?;
        }
        Ok(StopReason::Exhausted(Proof::EndOfInput))
    }
}

/// Lines to numbers; what is no number is rejected.
pub fn parse() -> FnStage<Page, Rows<u64>, impl FnMut(Page, &mut Output<Rows<u64>>) -> Result<()> + Clone + Send + Sync>
{
    from_fn("parse", |page: Page, out: &mut Output<Rows<u64>>| {
        let text = std::str::from_utf8(&page.body).map_err(|e| Error::data("parse", "not text").with_source(e))?;
        let mut rows = Vec::new();
        for line in text.lines().skip(usize::try_from(page.skip).expect("few")) {
            match line.parse() {
                Ok(number) => rows.push(number),
                Err(_) => out.reject(Reject::new("number", "not a number", line.to_owned())),
            }
        }
        out.emit(Rows(rows));
        Ok(())
    })
}

/// Lets each number through once: a stage with state.
#[derive(Clone, Debug, Default)]
pub struct Once {
    seen: HashSet<u64>,
    new: Vec<u64>,
    /// What it calls its key.
    key: &'static str,
}

impl Once {
    pub fn by(key: &'static str) -> Self {
        Self { key, ..Self::default() }
    }
}

impl Stage for Once {
    type In = Rows<u64>;
    type Out = Rows<u64>;

    fn name(&self) -> &str {
        "once"
    }

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none().with_identity(self.key.into()))
    }

    fn fork(&self) -> Option<Self> {
        None
    }

    fn state(&mut self) -> Option<&mut dyn StageState> {
        Some(self)
    }

    fn apply(&mut self, item: Rows<u64>, out: &mut Output<Rows<u64>>) -> Result<()> {
        let before = item.0.len();
        let new: Vec<u64> = item.0.into_iter().filter(|n| self.seen.insert(*n)).collect();
        out.deduplicated((before - new.len()) as u64);
        self.new.extend(&new);
        out.emit(Rows(new));
        Ok(())
    }
}

impl StageState for Once {
    fn delta(&mut self) -> Result<Option<bytes::Bytes>> {
        let new = std::mem::take(&mut self.new);
        Ok((!new.is_empty()).then(|| serde_json::to_vec(&new).expect("numbers").into()))
    }

    fn base(&mut self) -> Result<bytes::Bytes> {
        self.new.clear();
        let mut all: Vec<u64> = self.seen.iter().copied().collect();
        all.sort_unstable();
        Ok(serde_json::to_vec(&all).expect("numbers").into())
    }

    fn restore(&mut self, parts: Vec<bytes::Bytes>) -> Result<()> {
        self.seen.clear();
        self.new.clear();
        for part in parts {
            self.seen.extend(serde_json::from_slice::<Vec<u64>>(&part).expect("own bytes"));
        }
        Ok(())
    }
}

/// A pipeline of twenty numbers, of which a stage loses one and does not say so.
pub fn leaky(table: &MemoryTable<Rows<u64>>) -> Pipeline {
    let leaky = from_fn("leaky", |mut rows: Rows<u64>, out: &mut Output<Rows<u64>>| {
        rows.0.pop();
        out.emit(rows);
        Ok(())
    });
    Pipeline::named("numbers")
        .source(IterSource::new(0..20_u64))
        .stage(leaky)
        .sink(MemorySink::new(table))
        .checkpoints(MemoryCheckpoints::default())
        .build()
        .expect("complete")
}

/// Everything that outlives a process.
#[derive(Clone)]
pub struct World {
    pub store: Store,
    /// Where the landing is: the same store, unless a test replaces it.
    pub raw: Store,
    pub table: MemoryTable<Rows<u64>>,
    pub script: Script,
    pub settings: Settings,
    pub segment_bytes: u64,
    pub env: Env,
}

impl World {
    pub fn new(script: Script) -> Self {
        let mut settings = Settings::default();
        settings.epoch_records = 20;
        let store = Store::memory();
        Self {
            raw: store.clone(),
            store,
            table: MemoryTable::new(),
            script,
            settings,
            segment_bytes: 64,
            env: test_env(1),
        }
    }

    /// A pipeline named `numbers` over this world.
    pub fn builder(&self) -> PipelineBuilder<Script, Rows<u64>, MemorySink<Rows<u64>>> {
        self.builder_of(self.script.clone())
    }

    /// The same over another source.
    pub fn builder_of<S: Source<Item = Page>>(
        &self,
        source: S,
    ) -> PipelineBuilder<S, Rows<u64>, MemorySink<Rows<u64>>> {
        self.builder_by("", source)
    }

    /// The same into another sink.
    pub fn builder_into<K: Sink<Item = Rows<u64>>>(&self, sink: K) -> PipelineBuilder<Script, Rows<u64>, K> {
        self.builder_from("", self.script.clone(), sink)
    }

    /// The same with another name for the key of the stage that lets each number through once.
    pub fn builder_by<S: Source<Item = Page>>(
        &self,
        key: &'static str,
        source: S,
    ) -> PipelineBuilder<S, Rows<u64>, MemorySink<Rows<u64>>> {
        self.builder_from(key, source, MemorySink::new(&self.table))
    }

    fn builder_from<S: Source<Item = Page>, K: Sink<Item = Rows<u64>>>(
        &self,
        key: &'static str,
        source: S,
        sink: K,
    ) -> PipelineBuilder<S, Rows<u64>, K> {
        Pipeline::named("numbers")
            .source(source)
            .land(Landing::in_store(&self.raw, "raw").expect("a name").segment_bytes(self.segment_bytes))
            .stage(parse())
            .stage(Once::by(key))
            .sink(sink)
            .quarantine(Quarantine::in_store(&self.store, "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&self.store, "state").expect("a name"))
            .settings(self.settings.clone())
            .keys_stay_in_partition()
            .env(self.env.clone())
    }

    pub fn pipeline(&self) -> Pipeline {
        self.builder().build().expect("complete")
    }

    pub fn rows(&self) -> Vec<u64> {
        let mut rows = self.table.rows();
        rows.sort_unstable();
        rows
    }

    pub async fn quarantined(&self) -> Vec<String> {
        let quarantine = Quarantine::in_store(&self.store, "quarantine").expect("a name");
        let records = quarantine.read_all().await.expect("readable");
        let mut raw: Vec<String> = records.into_iter().map(|r| String::from_utf8_lossy(&r.raw).into_owned()).collect();
        raw.sort_unstable();
        raw
    }

    /// Whether destination and quarantine hold exactly what was served.
    pub async fn assert_exact(&self) {
        assert_eq!(self.rows(), self.script.expected());
        assert_eq!(self.quarantined().await, self.script.bad());
    }
}
