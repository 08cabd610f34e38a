//! What outlives the processes of a schedule, and the oracle that looks at it from outside.

use crate::source::FaultySource;
use crate::support::{Line, Once, Script, parse};
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::arrow::array::{AsArray, RecordBatch};
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::columnar::{ColumnType, Columns, Decode, Dedup, Unnest, UnnestChild};
use landfall::connectors::delta::DeltaTable;
use landfall::connectors::parquet::{DatasetReader, ParquetDataset};
use landfall::env::Env;
use landfall::landing::{Landing, LandingReader};
use landfall::model::{PipelineName, Rows, ShardKey, Why};
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::{MemorySink, MemoryTable, Quarantine, TableSet};
use landfall::store::{ObjectPath, Store};
use landfall::testkit::{FaultSink, Faults, ManualClock, SeededEntropy, Verdict, test_env};
use landfall::{Result, async_trait, testkit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a schedule is run on.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub partitions: usize,
    pub pages: usize,
    pub shards: u32,
    pub parts: bool,
    pub prune: bool,
    pub into: Destination,
    /// Whether the second load has a column more.
    pub evolves: bool,
}

/// Where the numbers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A table in memory: records are numbers as text. Everywhere else they are JSON, and decoded.
    Memory,
    /// Deduplicated, into a Parquet dataset.
    Parquet,
    /// The same; the dataset puts its small files together, between epochs.
    ParquetCompacted,
    /// Deduplicated, into a Delta table.
    Delta,
    /// Into a Delta table that keeps one row of each: files are written again.
    DeltaUpsert,
    /// The same, deduplicated; small files are put together between the runs, and what nothing needs is deleted.
    DeltaKept,
    /// Deduplicated, into a set of a Parquet dataset and of a Delta table of their children: even numbers have one.
    Tables,
}

impl Shape {
    /// Whether records are JSON.
    fn decoded(self) -> bool {
        self.into != Destination::Memory
    }

    fn parquet(self) -> bool {
        matches!(self.into, Destination::Parquet | Destination::ParquetCompacted | Destination::Tables)
    }

    fn delta(self) -> bool {
        matches!(self.into, Destination::Delta | Destination::DeltaUpsert | Destination::DeltaKept)
    }

    /// Whether a stage finds repeats; else the sink does.
    fn deduplicated(self) -> bool {
        self.into != Destination::DeltaUpsert
    }
}

const ONE_SHARD: Shape = Shape {
    name: "one shard",
    partitions: 2,
    pages: 3,
    shards: 1,
    parts: false,
    prune: false,
    into: Destination::Memory,
    evolves: false,
};

pub const SHAPES: [Shape; 13] = [
    ONE_SHARD,
    Shape { name: "three shards", partitions: 5, pages: 2, shards: 3, ..ONE_SHARD },
    Shape { name: "a response in parts", pages: 4, parts: true, ..ONE_SHARD },
    Shape { name: "collection", pages: 4, prune: true, ..ONE_SHARD },
    Shape { name: "parquet", pages: 2, prune: true, into: Destination::Parquet, ..ONE_SHARD },
    Shape {
        name: "parquet, two shards",
        partitions: 3,
        pages: 2,
        shards: 2,
        parts: true,
        into: Destination::Parquet,
        ..ONE_SHARD
    },
    Shape { name: "delta", pages: 2, prune: true, into: Destination::Delta, ..ONE_SHARD },
    Shape { name: "delta, upsert", pages: 2, into: Destination::DeltaUpsert, ..ONE_SHARD },
    Shape { name: "tables", partitions: 1, pages: 2, into: Destination::Tables, ..ONE_SHARD },
    Shape { name: "parquet, put together", into: Destination::ParquetCompacted, ..ONE_SHARD },
    Shape { name: "delta, put together", partitions: 1, pages: 1, into: Destination::DeltaKept, ..ONE_SHARD },
    Shape { name: "parquet, a new column", partitions: 1, into: Destination::Parquet, evolves: true, ..ONE_SHARD },
    Shape { name: "delta, a new column", partitions: 1, into: Destination::Delta, evolves: true, ..ONE_SHARD },
];

pub struct World {
    shape: Shape,
    pub store: Store,
    table: MemoryTable<Rows<u64>>,
    first: Script,
    grown: Script,
    processes: AtomicU64,
}

impl World {
    pub fn new(shape: Shape) -> Self {
        let mut first = Script::new(shape.partitions, shape.pages, 6);
        first.parts = if shape.parts { vec!["p0".to_owned()] } else { Vec::new() };
        if shape.decoded() {
            let lines = first.partitions.iter_mut().flat_map(|(_, pages)| pages.iter_mut().flatten());
            lines.for_each(|line| *line = json(line));
        }
        let mut grown = first.clone();
        for (number, (id, pages)) in grown.partitions.iter_mut().enumerate() {
            // Repeats of what is there, something new, something bad.
            let repeated: Line = pages[0][0].clone();
            let (new, bad) = (format!("{}", 9_000_000 + number), format!("bad in {id}"));
            pages.push(if shape.decoded() { vec![repeated, json(&new), json(&bad)] } else { vec![repeated, new, bad] });
        }
        Self { shape, store: Store::memory(), table: MemoryTable::new(), first, grown, processes: AtomicU64::new(0) }
    }

    fn env(&self) -> Env {
        test_env(self.processes.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn pipeline(&self, script: &Script, faults: &Faults) -> Pipeline {
        let mut settings = Settings::default();
        settings.shards = self.shape.shards;
        settings.epoch_records = 8;
        settings.kept_checkpoints = 1;
        settings.prune_landing = self.shape.prune;
        let store = faults.store(&self.store);
        let builder = Pipeline::named("numbers")
            .source(FaultySource { script: script.clone(), faults: faults.clone() })
            .land(Landing::in_store(&store, "raw").expect("a name").segment_bytes(40));
        let quarantine = Quarantine::in_store(&store, "quarantine").expect("a name");
        let checkpoints = StoreCheckpoints::new(&store, "state").expect("a name");
        let mut columns = Columns::new().int64("n");
        if self.shape.evolves && std::ptr::eq(script, &self.grown) {
            columns = columns.list("children", ColumnType::Int64);
        }
        let decode = || Decode::pages().ndjson().schema(columns.clone());
        let delta = || DeltaTable::in_store(&store, "numbers").expect("a name").lanes(1);
        macro_rules! built {
            ($($step:ident($with:expr)),*) => {
                builder
                    $(.$step($with))*
                    .quarantine(quarantine)
                    .checkpoints(checkpoints)
                    .settings(settings)
                    .keys_stay_in_partition()
                    .env(self.env())
                    .build()
            };
        }
        let built = match self.shape.into {
            Destination::Memory => {
                let sink = FaultSink::new(MemorySink::new(&self.table), faults);
                built!(stage(parse()), stage(Once::default()), sink(sink))
            }
            Destination::Parquet | Destination::ParquetCompacted => {
                let every = if self.shape.into == Destination::Parquet { 0 } else { 2 };
                let dataset =
                    ParquetDataset::in_store(&store, "numbers").expect("a name").lanes(1).compact_every(every);
                built!(stage(decode()), stage(Dedup::by(["n"])), sink(dataset))
            }
            Destination::Delta | Destination::DeltaKept => {
                built!(stage(decode()), stage(Dedup::by(["n"])), sink(delta()))
            }
            Destination::DeltaUpsert => built!(stage(decode()), sink(delta().upsert(["n"]))),
            Destination::Tables => {
                let columns = Columns::new().int64("n").list("children", ColumnType::Int64);
                let children = UnnestChild::at("children").copy("n", "parent").value("n").without_markers();
                let numbers = ParquetDataset::in_store(&store, "numbers").expect("a name").lanes(1);
                let set = TableSet::new()
                    .table("numbers", numbers)
                    .table("children", DeltaTable::in_store(&store, "children").expect("a name").lanes(1));
                built!(
                    stage(Decode::pages().ndjson().schema(columns)),
                    stage(Dedup::by(["n"])),
                    stage(Unnest::new("numbers").child("children", children)),
                    sink(set)
                )
            }
        };
        built.expect("complete")
    }

    /// What is wrong with the account of a partition, if anything is: every record served must be in one of its counts.
    async fn wrong_account(&self) -> Option<String> {
        let reader = self.pipeline(&self.grown, &Faults::none()).accounts().await.expect("readable");
        let accounts = reader.all().await.expect("readable");
        if accounts.len() != self.grown.partitions.len() {
            return Some(format!("other partitions have accounts: {accounts:?}"));
        }
        accounts.into_iter().find_map(|account| {
            let (_, pages) = self.grown.partitions.iter().find(|(id, _)| *id == account.partition.0)?;
            let lines = || pages.iter().flatten();
            let bad = lines().filter(|line| number(line).is_none()).count() as u64;
            let numbers = lines().filter_map(|line| number(line)).collect::<std::collections::BTreeSet<_>>();
            let children = match self.shape.into {
                Destination::Tables => numbers.iter().filter(|n| *n % 2 == 0).count() as u64,
                _ => 0,
            };
            let distinct = numbers.len() as u64;
            let parents = if self.shape.deduplicated() { distinct } else { lines().count() as u64 - bad };
            let (served, load) = (lines().count() as u64, account.load);
            let right = (load.read, load.loaded, load.fanned_out, load.quarantined, load.deduplicated)
                == (served, parents + children, children, bad, served - bad - parents);
            (!right || account.missing().is_some()).then(|| format!("of {served} records: {account}"))
        })
    }

    fn expected(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.served().iter().filter_map(|line| number(line)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn bad(&self) -> Vec<Line> {
        self.served().into_iter().filter(|line| number(line).is_none()).collect()
    }

    async fn rows(&self) -> Vec<u64> {
        if self.shape.delta() {
            let table = DeltaTable::in_store(&self.store, "numbers").expect("a name");
            return numbers_of(&table.read_batches().await.expect("readable"));
        }
        if !self.shape.parquet() {
            return self.table.rows();
        }
        let reader = DatasetReader::new(&self.store, "numbers").expect("a name");
        let rows = rows_of(&reader).await;
        // Those that only list files see what was put together when the others are gone.
        let (dataset, env) = (ParquetDataset::in_store(&self.store, "numbers").expect("a name"), much_later());
        let vacuumed = dataset.vacuum(&env, HOUR, false).await.expect("vacuums");
        assert_eq!(vacuumed.kept.get(&Why::Recent), None);
        assert_eq!(rows_of(&reader).await, rows);
        // Readers that only list files see the same.
        let files = self.store.list(&ObjectPath::parse("numbers").expect("a name")).await.expect("a list");
        let listed = files.iter().filter(|f| !f.path.as_str().contains("/_")).count();
        let committed = reader.snapshot().await.expect("readable").files().count();
        assert_eq!(listed, committed, "files in view, and files committed");
        rows
    }

    /// Whoever follows the commits of the dataset sees whole epochs only.
    async fn follow(&self) -> Verdict {
        if !self.shape.parquet() {
            std::future::pending::<()>().await;
        }
        let reader = DatasetReader::new(&self.store, "numbers").expect("a name");
        loop {
            let before = reader.snapshot().await.expect("readable").rows();
            let mut rows = rows_of(&reader).await;
            let after = reader.snapshot().await.expect("readable").rows();
            let seen = rows.len() as u64;
            if !(before..=after).contains(&seen) {
                return Verdict::partial(format!("a reader saw {seen} rows, between {before} and {after} committed"));
            }
            rows.sort_unstable();
            rows.dedup();
            let doubled = seen - rows.len() as u64;
            if doubled > 0 {
                return Verdict { doubled, ..Verdict::wrong("a reader saw rows twice") };
            }
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn served(&self) -> Vec<Line> {
        self.grown.partitions.iter().flat_map(|(_, pages)| pages.iter().flatten().cloned()).collect()
    }

    /// Every line that the landing holds, but for the parts of responses that never became whole.
    async fn landed(&self) -> Vec<Line> {
        let landing = Landing::in_store(&self.store, "raw").expect("a name");
        let mut pages = Vec::new();
        for shard in 0..self.shape.shards {
            let key = ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard };
            let reader = LandingReader::new(&landing, &key, &test_env(0));
            let mut number = 1;
            while let Some(segment) = reader.read(number).await.expect("readable") {
                pages.extend(segment.pages);
                number += 1;
            }
        }
        let whole: Vec<u64> =
            pages.iter().filter_map(|p| p.part.filter(|part| part.last).map(|part| part.response)).collect();
        let counts = |page: &landfall::model::Page| page.part.is_none_or(|part| whole.contains(&part.response));
        let bodies =
            pages.iter().filter(|page| counts(page)).map(|page| String::from_utf8_lossy(&page.body).into_owned());
        bodies.flat_map(|body| body.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

#[async_trait]
impl testkit::World for World {
    /// Loads what there is, and then what has come since.
    async fn process(&self, faults: &Faults) -> Result<()> {
        for script in [&self.first, &self.grown] {
            self.pipeline(script, faults).run().await?;
            if self.shape.into == Destination::DeltaKept {
                let table = DeltaTable::in_store(&faults.store(&self.store), "numbers")?;
                table.compact(&self.env()).await?;
                table.checkpoint(&self.env()).await?;
                table.vacuum(&much_later(), HOUR, false).await?;
            }
        }
        Ok(())
    }

    /// Compares destination, quarantine, landing and accounts with what was served.
    async fn verdict(&self) -> Verdict {
        let quarantine = Quarantine::in_store(&self.store, "quarantine").expect("a name");
        let quarantined = quarantine.read_all().await.expect("readable").into_iter();
        let bad = quarantined.map(|r| String::from_utf8_lossy(&r.raw).into_owned());
        let mut verdict = Verdict::of(self.expected(), self.rows().await).and(Verdict::of(self.bad(), bad));
        if self.shape.into == Destination::Tables {
            let table = DeltaTable::in_store(&self.store, "children").expect("a name");
            let children = numbers_of(&table.read_batches().await.expect("readable"));
            verdict = verdict.and(Verdict::of(self.expected().into_iter().filter(|n| n % 2 == 0), children));
        }
        if !self.shape.prune {
            verdict = verdict.and(Verdict::of(self.served(), self.landed().await));
        }
        verdict.wrong.extend(self.wrong_account().await);
        verdict
    }

    async fn watch(&self) -> Verdict {
        self.follow().await
    }
}

/// A line of the script as a record: a number, or something in its place.
fn json(line: &str) -> Line {
    match line.parse::<u64>() {
        Ok(number) if number % 2 == 0 => format!("{{\"n\":{number},\"children\":[{number}]}}"),
        Ok(number) => format!("{{\"n\":{number}}}"),
        Err(_) => format!("{{\"n\":\"{line}\"}}"),
    }
}

fn number(line: &str) -> Option<u64> {
    line.strip_prefix("{\"n\":").map_or(line, |rest| rest.split([',', '}']).next().unwrap_or_default()).parse().ok()
}

const HOUR: Duration = Duration::from_secs(3600);

/// So late that nobody reads what was replaced.
pub fn much_later() -> Env {
    let clock = ManualClock::auto();
    clock.advance(HOUR * 24 * 365 * 60);
    Env::deterministic(Arc::new(clock), Arc::new(SeededEntropy::new(1)))
}

async fn rows_of(reader: &DatasetReader) -> Vec<u64> {
    numbers_of(&reader.snapshot().await.expect("readable").read_batches().await.expect("readable"))
}

fn numbers_of(batches: &[RecordBatch]) -> Vec<u64> {
    let mut rows = Vec::new();
    for batch in batches {
        let column = batch.column_by_name("n").expect("the column").as_primitive::<Int64Type>();
        rows.extend(column.values().iter().map(|n| u64::try_from(*n).expect("positive")));
    }
    rows
}
