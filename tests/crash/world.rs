//! What outlives the processes of a schedule, and the oracle that looks at it from outside.

use crate::source::FaultySource;
use crate::support::{Line, Script};
use crate::worlds::{Destination, Epochs, Way, children, dataset, delta, found, landed, number, quarantined, rows};
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::{ColumnType, Columns};
use landfall::connectors::parquet::DatasetReader;
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Rows, Why};
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::{MemoryTable, Quarantine};
use landfall::store::{ObjectPath, Store};
use landfall::testkit::{Faults, ManualClock, SeededEntropy, Verdict, test_env};
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
    into: Destination::Memory,
    together: false,
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
];

pub struct World {
    shape: Shape,
    pub store: Store,
    table: MemoryTable<Rows<u64>>,
    first: Script,
    grown: Script,
    epochs: Epochs,
    /// Those of the children.
    children: Epochs,
    processes: AtomicU64,
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
        let (table, epochs, children, processes) = Default::default();
        Self { shape, store: Store::memory(), table, first, grown, epochs, children, processes }
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
            .land(Landing::in_store(&store, "raw").expect("a name").segment_bytes(40))
            .quarantine(Quarantine::in_store(&store, "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&store, "state").expect("a name"))
            .settings(settings)
            .keys_stay_in_partition()
            .env(self.env());
        let evolved = self.shape.evolves && std::ptr::eq(script, &self.grown);
        let columns = Columns::new().int64("n");
        let way = Way {
            into: self.shape.into,
            columns: if evolved { columns.list("children", ColumnType::Int64) } else { columns },
            key: "n",
            record: "n",
            compact_every: if self.shape.together { 2 } else { 0 },
            store: &store,
            table: &self.table,
            epochs: &self.epochs,
            children: &self.children,
        };
        way.end(builder, faults).expect("complete")
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
            let parents =
                if self.shape.into != Destination::DeltaUpsert { distinct } else { lines().count() as u64 - bad };
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
        let seen = async || rows(&self.store, self.shape.into, &self.table).await;
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

    /// What a reader sees that none may see: part of an epoch, or a row twice.
    async fn look(&self) -> Option<Verdict> {
        let committed = async || match self.shape.into.is_parquet() {
            true => {
                DatasetReader::new(&self.store, "numbers").expect("a name").snapshot().await.expect("readable").rows()
            }
            false => 0,
        };
        let before = committed().await;
        let mut rows = match found::read_rows(&self.store, self.shape.into, &self.table).await {
            Ok(rows) => rows,
            // Files that nothing needs any more are deleted at once here, and not after the hours that readers have.
            Err(_) if self.shape.together => return None,
            Err(e) => return Some(Verdict::corrupt(format!("a reader: {e}"))),
        };
        let after = committed().await;
        let seen = rows.len() as u64;
        if self.shape.into.is_parquet() && !(before..=after).contains(&seen) {
            return Some(Verdict::partial(format!("a reader saw {seen} rows, between {before} and {after} committed")));
        }
        // A set of tables commits each by itself.
        if let Some(partial) = self.epochs.look("rows", rows.iter().copied()) {
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

    fn served(&self) -> Vec<Line> {
        self.grown.partitions.iter().flat_map(|(_, pages)| pages.iter().flatten().cloned()).collect()
    }
}

#[async_trait]
impl testkit::World for World {
    /// Loads what there is, and then what has come since.
    async fn process(&self, faults: &Faults) -> Result<()> {
        for script in [&self.first, &self.grown] {
            self.pipeline(script, faults).run().await?;
            if self.shape.into == Destination::Delta && self.shape.together {
                let table = delta(&faults.store(&self.store), self.shape.into);
                table.compact(&self.env()).await?;
                table.checkpoint(&self.env()).await?;
                table.vacuum(&much_later(), HOUR, false).await?;
            }
        }
        Ok(())
    }

    /// Compares destination, quarantine, landing and accounts with what was served.
    async fn verdict(&self) -> Verdict {
        let bad = quarantined(&self.store).await;
        let mut verdict = Verdict::of(self.expected(), self.rows().await).and(Verdict::of(self.bad(), bad));
        if self.shape.into == Destination::Tables {
            let even = self.expected().into_iter().filter(|n| n % 2 == 0);
            verdict = verdict.and(Verdict::of(even, children(&self.store).await));
        }
        if !self.shape.prune {
            verdict = verdict.and(Verdict::of(self.served(), landed(&self.store, self.shape.shards).await));
        }
        verdict.wrong.extend(self.wrong_account().await);
        verdict
    }

    async fn watch(&self) -> Verdict {
        // A table in memory changes with its mark under one lock.
        if self.shape.into == Destination::Memory {
            std::future::pending::<()>().await;
        }
        loop {
            if let Some(verdict) = self.look().await {
                return verdict;
            }
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        }
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

const HOUR: Duration = Duration::from_secs(3600);

/// So late that nobody reads what was replaced.
pub fn much_later() -> Env {
    let clock = ManualClock::auto();
    clock.advance(HOUR * 24 * 365 * 60);
    Env::deterministic(Arc::new(clock), Arc::new(SeededEntropy::new(1)))
}
