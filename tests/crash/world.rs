//! What outlives the processes of a schedule, and the oracle that looks at it from outside.

use crate::source::FaultySource;
use crate::support::{Line, Script};
use crate::watched::Watched;
use crate::worlds::{Destination, Epochs, Way, children, dataset, delta, found, landed, number, quarantined, rows};
use futures::FutureExt;
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::{ColumnType, Columns};
use landfall::connectors::parquet::DatasetReader;
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Page, PipelineName, Rows, ShardKey, Why};
use landfall::pipeline::{Pipeline, PipelineBuilder, Pipelines, Settings};
use landfall::sink::{MemoryTable, Quarantine};
use landfall::source::Source;
use landfall::store::{ObjectPath, Store};
use landfall::testkit::{Faults, ManualClock, SeededEntropy, Verdict, test_env};
use landfall::{Error, ErrorKind, Result, async_trait, testkit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How pages come to what loads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// One pipeline lands them and loads them.
    Landed,
    /// Nobody lands them: their source gives the same ones again.
    Replayed,
    /// One pipeline lands them, and two others load them meanwhile.
    Shared,
}

/// What a schedule is run on.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub partitions: usize,
    pub pages: usize,
    pub shards: u32,
    pub parts: bool,
    pub prune: bool,
    pub route: Route,
    pub into: Destination,
    /// Small files are put together: those of a dataset between epochs, those of a Delta table between the runs, when what nothing needs
    /// is deleted, too.
    pub together: bool,
    /// Whether the second load has a column more.
    pub evolves: bool,
}

const ONE_SHARD: Shape = Shape {
    name: "one shard",
    partitions: 2,
    pages: 3,
    shards: 1,
    parts: false,
    prune: false,
    route: Route::Landed,
    into: Destination::Memory,
    together: false,
    evolves: false,
};

pub const SHAPES: [Shape; 15] = [
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
    Shape { name: "parquet, put together", into: Destination::Parquet, together: true, ..ONE_SHARD },
    Shape {
        name: "delta, put together",
        partitions: 1,
        pages: 1,
        into: Destination::Delta,
        together: true,
        ..ONE_SHARD
    },
    Shape { name: "parquet, a new column", partitions: 1, into: Destination::Parquet, evolves: true, ..ONE_SHARD },
    Shape { name: "delta, a new column", partitions: 1, into: Destination::Delta, evolves: true, ..ONE_SHARD },
    Shape { name: "replayable source", pages: 2, route: Route::Replayed, into: Destination::Parquet, ..ONE_SHARD },
    Shape { name: "one landing, two loads", partitions: 1, pages: 3, prune: true, route: Route::Shared, ..ONE_SHARD },
];

/// The pipeline that asks the API.
const NUMBERS: &str = "numbers";

pub struct World {
    shape: Shape,
    pub store: Store,
    loaded: Loaded,
    /// By the second of two loads.
    copied: Loaded,
    first: Script,
    grown: Script,
    /// The epochs of children.
    children: Epochs,
    reader: Arc<Reader>,
    processes: AtomicU64,
}

/// Who reads while processes are at work, after each change of a destination.
struct Reader {
    shape: Shape,
    store: Store,
    loaded: Loaded,
    children: Epochs,
    /// How often it has looked.
    looks: AtomicU64,
    /// What it has seen that nobody may see.
    seen: Mutex<Verdict>,
}

/// What a load has brought to its destination.
#[derive(Clone, Default)]
struct Loaded {
    table: MemoryTable<Rows<u64>>,
    epochs: Epochs,
}

/// What the pipelines of a process have in common.
struct Process<'a> {
    faults: &'a Faults,
    store: Store,
    env: Env,
    columns: Columns,
}

impl World {
    pub fn new(shape: Shape) -> Self {
        let mut first = Script::new(shape.partitions, shape.pages, 6);
        first.parts = if shape.parts { vec!["p0".to_owned()] } else { Vec::new() };
        if shape.into.decodes() {
            let lines = first.partitions.iter_mut().flat_map(|(_, pages)| pages.iter_mut().flatten());
            lines.for_each(|line| *line = json(line));
        }
        let mut grown = first.clone();
        for (number, (id, pages)) in grown.partitions.iter_mut().enumerate() {
            // Repeats of what is there, something new, something bad.
            let repeated: Line = pages[0][0].clone();
            let (new, bad) = (format!("{}", 9_000_000 + number), format!("bad in {id}"));
            pages.push(if shape.into.decodes() {
                vec![repeated, json(&new), json(&bad)]
            } else {
                vec![repeated, new, bad]
            });
        }
        let store = Store::memory();
        let (loaded, copied, children, processes): (Loaded, _, Epochs, _) = Default::default();
        let reader = Arc::new(Reader {
            shape,
            store: store.clone(),
            loaded: loaded.clone(),
            children: children.clone(),
            looks: AtomicU64::new(0),
            seen: Mutex::default(),
        });
        Self { shape, store, loaded, copied, first, grown, children, reader, processes }
    }

    /// This world, with an epoch of which no reader will see more than a part.
    pub fn promising_more(self) -> Self {
        // Rows are those of the first shard that promises them.
        let shard = ShardKey { pipeline: PipelineName::new("a").expect("a name"), shard: 0 };
        self.loaded.epochs.promise(&shard, 1, [self.expected()[0], u64::MAX]);
        self
    }

    /// How often a reader has looked.
    pub fn looks(&self) -> u64 {
        self.reader.looks.load(Ordering::SeqCst)
    }

    /// The store as a process reaches it.
    fn store(&self, faults: &Faults) -> Store {
        let reader = Arc::clone(&self.reader);
        let look = move || {
            let reader = Arc::clone(&reader);
            async move { reader.look().await }.boxed()
        };
        Store::new(Watched::new(faults.store(&self.store), look))
    }

    fn env(&self) -> Env {
        test_env(self.processes.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// The pipelines that a process runs at the same time; one that only lands comes first.
    fn pipelines(&self, script: &Script, faults: &Faults) -> Vec<Pipeline> {
        let evolved = self.shape.evolves && std::ptr::eq(script, &self.grown);
        let columns = Columns::new().int64("n");
        let columns = if evolved { columns.list("children", ColumnType::Int64) } else { columns };
        let process = Process { faults, store: self.store(faults), env: self.env(), columns };
        let landing = || Landing::in_store(&process.store, "raw").expect("a name").segment_bytes(40);
        let read = Pipeline::named(NUMBERS).source(FaultySource { script: script.clone(), faults: faults.clone() });
        match self.shape.route {
            Route::Landed => vec![self.load(read.land(landing()), &self.loaded, &process)],
            Route::Replayed => vec![self.load(read.source_is_replayable(), &self.loaded, &process)],
            Route::Shared => {
                let lands = self.settled(read.land(landing()).land_only(), &process).build().expect("complete");
                let load =
                    |(name, loaded)| self.load(Pipeline::named(name).landing_of(NUMBERS, landing()), loaded, &process);
                [lands].into_iter().chain(self.loads().into_iter().map(load)).collect()
            }
        }
    }

    /// The names of those that load, and what each has loaded.
    fn loads(&self) -> Vec<(&'static str, &Loaded)> {
        match self.shape.route {
            Route::Landed | Route::Replayed => vec![(NUMBERS, &self.loaded)],
            Route::Shared => vec![("loaded", &self.loaded), ("copied", &self.copied)],
        }
    }

    /// What each pipeline has, whatever it does.
    fn settled<S, I, K>(&self, builder: PipelineBuilder<S, I, K>, process: &Process<'_>) -> PipelineBuilder<S, I, K> {
        let mut settings = Settings::default();
        settings.shards = self.shape.shards;
        settings.epoch_records = 8;
        settings.kept_checkpoints = 1;
        settings.prune_landing = self.shape.prune;
        builder
            .checkpoints(StoreCheckpoints::new(&process.store, "state").expect("a name"))
            .settings(settings)
            .keys_stay_in_partition()
            .env(process.env.clone())
    }

    /// A pipeline that loads what comes from here.
    fn load<S: Source>(&self, builder: PipelineBuilder<S, Page>, loaded: &Loaded, process: &Process<'_>) -> Pipeline {
        let Process { faults, store, columns, .. } = process;
        let way = Way {
            into: self.shape.into,
            columns: columns.clone(),
            key: "n",
            record: "n",
            compact_every: if self.shape.together { 2 } else { 0 },
            store,
            table: &loaded.table,
            epochs: &loaded.epochs,
            children: &self.children,
        };
        let quarantine = Quarantine::in_store(store, "quarantine").expect("a name");
        way.end(self.settled(builder, process).quarantine(quarantine), faults).expect("complete")
    }

    /// What is wrong with the accounts, if anything is. Without a landing there are none.
    async fn wrong_accounts(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.shape.route != Route::Replayed {
            for pipeline in self.pipelines(&self.grown, &Faults::none()) {
                wrong.extend(self.wrong_account(&pipeline).await);
            }
        }
        wrong
    }

    /// What is wrong with the account of a partition, if anything is: every record served must be in one of its counts.
    async fn wrong_account(&self, pipeline: &Pipeline) -> Option<String> {
        let name = pipeline.name();
        let accounts = pipeline.accounts().await.expect("readable").all().await.expect("readable");
        if accounts.len() != self.grown.partitions.len() {
            return Some(format!("other partitions have accounts of {name}: {accounts:?}"));
        }
        let only_lands = self.loads().iter().all(|(load, _)| *load != name.as_str());
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
            let parents =
                if self.shape.into != Destination::DeltaUpsert { distinct } else { lines().count() as u64 - bad };
            let (served, load) = (lines().count() as u64, account.load);
            let expected = match only_lands {
                true => (served, 0, 0, 0, 0),
                false => (served, parents + children, children, bad, served - bad - parents),
            };
            let right = (load.read, load.loaded, load.fanned_out, load.quarantined, load.deduplicated) == expected;
            (!right || account.missing().is_some()).then(|| format!("{name}, of {served} records: {account}"))
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

    async fn rows(&self, loaded: &Loaded) -> Vec<u64> {
        let seen = async || rows(&self.store, self.shape.into, &loaded.table).await;
        let found = seen().await;
        if !self.shape.into.is_parquet() {
            return found;
        }
        // Those that only list files see what was put together when the others are gone.
        let vacuumed = dataset(&self.store).vacuum(&much_later(), HOUR, false).await.expect("vacuums");
        assert_eq!(vacuumed.kept.get(&Why::Recent), None);
        assert_eq!(seen().await, found);
        // Readers that only list files see the same.
        let files = self.store.list(&ObjectPath::parse("numbers").expect("a name")).await.expect("a list");
        let listed = files.iter().filter(|f| !f.path.as_str().contains("/_")).count();
        let reader = DatasetReader::new(&self.store, "numbers").expect("a name");
        let committed = reader.snapshot().await.expect("readable").files().count();
        assert_eq!(listed, committed, "files in view, and files committed");
        found
    }

    fn served(&self) -> Vec<Line> {
        self.grown.partitions.iter().flat_map(|(_, pages)| pages.iter().flatten().cloned()).collect()
    }
}

impl Reader {
    async fn look(&self) {
        self.looks.fetch_add(1, Ordering::SeqCst);
        if let Some(seen) = self.sees().await {
            let mut all = self.seen.lock().expect("no panic");
            // Once is enough.
            if all.is_right() {
                *all = seen;
            }
        }
    }

    /// What a reader sees that none may see: part of an epoch, or a row twice.
    async fn sees(&self) -> Option<Verdict> {
        let committed = async || match self.shape.into.is_parquet() {
            true => {
                DatasetReader::new(&self.store, "numbers").expect("a name").snapshot().await.expect("readable").rows()
            }
            false => 0,
        };
        let before = committed().await;
        let read = async || found::read_rows(&self.store, self.shape.into, &self.loaded.table).await;
        let mut found = read().await;
        // Files that nothing needs any more are deleted at once here, and not after the hours that readers have: who looks again
        // reads those that took their place.
        for _ in 0..LOOKS {
            if found.is_ok() || !self.shape.together {
                break;
            }
            found = read().await;
        }
        let mut rows = match found {
            Ok(rows) => rows,
            Err(e) => return Some(Verdict::corrupt(format!("a reader: {e}"))),
        };
        let after = committed().await;
        let seen = rows.len() as u64;
        if self.shape.into.is_parquet() && !(before..=after).contains(&seen) {
            return Some(Verdict::partial(format!("a reader saw {seen} rows, between {before} and {after} committed")));
        }
        // A set of tables commits each by itself.
        if let Some(partial) = self.loaded.epochs.look("rows", rows.iter().copied()) {
            return Some(partial);
        }
        if self.shape.into == Destination::Tables {
            if let Some(partial) = self.children.look("children", children(&self.store).await) {
                return Some(partial);
            }
        }
        rows.sort_unstable();
        rows.dedup();
        let doubled = seen - rows.len() as u64;
        (doubled > 0).then(|| Verdict { doubled, ..Verdict::wrong("a reader saw rows twice") })
    }
}

#[async_trait]
impl testkit::World for World {
    /// Loads what there is, and then what has come since.
    async fn process(&self, faults: &Faults) -> Result<()> {
        for script in [&self.first, &self.grown] {
            run(self.pipelines(script, faults)).await?;
            if self.shape.into == Destination::Delta && self.shape.together {
                let table = delta(&self.store(faults), self.shape.into);
                table.compact(&self.env()).await?;
                table.checkpoint(&self.env()).await?;
                table.vacuum(&much_later(), HOUR, false).await?;
            }
        }
        Ok(())
    }

    /// Compares destination, quarantine, landing and accounts with what was served.
    async fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for (name, loaded) in self.loads() {
            let bad = quarantined(&self.store, name).await;
            verdict = verdict.and(Verdict::of(self.expected(), self.rows(loaded).await));
            verdict = verdict.and(Verdict::of(self.bad(), bad));
        }
        if self.shape.into == Destination::Tables {
            let even = self.expected().into_iter().filter(|n| n % 2 == 0);
            verdict = verdict.and(Verdict::of(even, children(&self.store).await));
        }
        if self.shape.prune {
            // Not whether a segment is gone: one that was collected is written again by who slept in that, and nobody reads it.
            let boundary = ObjectPath::parse("raw/numbers/segments/0000/boundary").expect("a name");
            let pruned = !self.store.list(&boundary).await.expect("a list").is_empty();
            verdict.wrong.extend((!pruned).then(|| "nothing of the landing is pruned".to_owned()));
        } else {
            let served = if self.shape.route == Route::Replayed { Vec::new() } else { self.served() };
            verdict = verdict.and(Verdict::of(served, landed(&self.store, self.shape.shards).await));
        }
        verdict.wrong.extend(self.wrong_accounts().await);
        verdict.and(self.reader.seen.lock().expect("no panic").clone())
    }

    /// A table in memory changes with its mark under one lock; everywhere else, who changes something lets a reader look.
    async fn watch(&self) -> Verdict {
        std::future::pending().await
    }
}

/// Runs pipelines at the same time. Of several that fail, one tells of it whose error is not that of a process that is shut out.
async fn run(pipelines: Vec<Pipeline>) -> Result<()> {
    let ended = Pipelines::of(pipelines)?.run().await.into_values();
    let mut errors: Vec<Error> = ended.filter_map(|ended| ended.err().map(Error::from)).collect();
    let shut_out = [ErrorKind::Fenced, ErrorKind::Ambiguous, ErrorKind::Unavailable];
    errors.sort_by_key(|error| shut_out.contains(&error.kind()));
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// A line of the script as a record: a number, or something in its place.
fn json(line: &str) -> Line {
    match line.parse::<u64>() {
        Ok(number) if number % 2 == 0 => format!("{{\"n\":{number},\"children\":[{number}]}}"),
        Ok(number) => format!("{{\"n\":{number}}}"),
        Err(_) => format!("{{\"n\":\"{line}\"}}"),
    }
}

/// How often a reader looks again that met a file that was deleted.
const LOOKS: usize = 9;
const HOUR: Duration = Duration::from_secs(3600);

/// So late that nobody reads what was replaced.
pub fn much_later() -> Env {
    let clock = ManualClock::auto();
    clock.advance(HOUR * 24 * 365 * 60);
    Env::deterministic(Arc::new(clock), Arc::new(SeededEntropy::new(1)))
}
