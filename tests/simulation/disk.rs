//! A pipeline over a local store whose disk loses its power after each call, and again in the recovery.

use crate::acked::Acked;
use crate::chance::Chance;
use crate::support::Script;
use crate::worlds::{Destination, Epochs, Way, number, quarantined, rows};
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::Columns;
use landfall::landing::Landing;
use landfall::model::Rows;
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::{MemoryTable, Quarantine};
use landfall::store::Store;
use landfall::testkit::{Faults, Lie, SimDisk, Verdict, test_env};
use landfall::{Error, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[test]
fn what_is_acknowledged_survives_a_power_loss_at_any_call() {
    let images = crate::environment::number("LANDFALL_DISK_IMAGES").unwrap_or(1_600) / 2;
    for into in [Destination::Parquet, Destination::Delta] {
        let Losses { calls, images, recovered, verdict } = block_on(lose(into, None, images));
        let sums = verdict.sums();
        println!("proof suite=disk of={into:?} calls={calls} images={images} recovered={recovered} {sums}");
        let told = verdict.wrong.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
        assert!(verdict.is_right(), "{into:?}: {sums}\n{told}");
    }
}

#[test]
fn a_disk_that_does_not_sync_is_noticed() {
    let lies = [Lie::Files, Lie::Folders];
    let caught =
        lies.into_iter().filter(|lie| !block_on(lose(Destination::Parquet, Some(*lie), 200)).verdict.is_right());
    let caught = caught.count();
    println!("proof suite=disk of=lies lies={} caught={caught}", lies.len());
    assert_eq!(caught, lies.len());
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// What came of the losses of power.
#[derive(Debug, Default)]
struct Losses {
    calls: u64,
    images: u64,
    recovered: u64,
    verdict: Verdict,
}

/// One in so many images is recovered; in each, what was acknowledged is looked for.
const RECOVERED: u64 = 16;

struct Trial {
    into: Destination,
    first: Script,
    grown: Script,
    table: MemoryTable<Rows<u64>>,
    epochs: Epochs,
    children: Epochs,
    home: TempDir,
    folders: u64,
}

/// Runs a pipeline once, and loses power after each of its calls, in so many ways.
async fn lose(into: Destination, lie: Option<Lie>, images: u64) -> Losses {
    let mut trial = Trial::new(into);
    let mut losses = Losses::default();
    let folder = trial.folder();
    let disk = match lie {
        Some(lie) => SimDisk::lying(folder, lie),
        None => SimDisk::in_folder(folder),
    };
    let disk = disk.expect("a disk");
    let acked = trial.process(&disk, 1).await.expect("nothing went wrong yet");
    let chance = Chance::new(images);
    losses.calls = disk.calls();
    for image in 0..images {
        // Each call in turn, as often as there are images.
        let call = image % (losses.calls + 1);
        let at = format!("after call {call} of {}, image {image}", losses.calls);
        let wrong = trial.lose(&disk, &acked, call, image, &chance, &mut losses).await;
        losses.verdict.wrong.extend(wrong.into_iter().map(|wrong| format!("{at}: {wrong}")));
    }
    losses
}

impl Trial {
    fn new(into: Destination) -> Self {
        let mut first = Script::new(2, 2, 6);
        let lines = first.partitions.iter_mut().flat_map(|(_, pages)| pages.iter_mut().flatten());
        lines.for_each(|line| {
            let quote = if line.parse::<u64>().is_ok() { "" } else { "\"" };
            *line = format!("{{\"n\":{quote}{line}{quote}}}");
        });
        let mut grown = first.clone();
        for (number, (_, pages)) in grown.partitions.iter_mut().enumerate() {
            pages.push(vec![pages[0][0].clone(), format!("{{\"n\":{}}}", 9_000_000 + number)]);
        }
        let memory = Path::new("/dev/shm");
        let home = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let (table, epochs, children) = Default::default();
        Self { into, first, grown, table, epochs, children, home: home.expect("a folder"), folders: 0 }
    }

    fn folder(&mut self) -> PathBuf {
        self.folders += 1;
        self.home.path().join(self.folders.to_string())
    }

    /// Power is lost, at the latest when what was asked for is done; gives what is wrong with what is left.
    async fn lose(
        &mut self,
        disk: &SimDisk,
        acked: &Acked,
        call: u64,
        image: u64,
        chance: &Chance,
        losses: &mut Losses,
    ) -> Vec<String> {
        let left = disk.power_loss(call, image, self.folder()).expect("a disk");
        losses.images += 1;
        let mut wrong = self.missing(acked, call, &left, losses);
        // Each time round others of the calls, whatever divisors their number has.
        if (image + image / (disk.calls() + 1)) % RECOVERED == 0 {
            losses.recovered += 1;
            match self.process(&left, 2).await {
                Ok(acked) => {
                    wrong.extend(self.judge(&left, 4, losses).await);
                    // Once more, in the recovery.
                    let call = chance.below(left.calls() + 1);
                    let again = left.power_loss(call, image, self.folder()).expect("a disk");
                    losses.images += 1;
                    wrong.extend(self.missing(&acked, call, &again, losses));
                    match self.process(&again, 3).await {
                        Ok(_) => wrong.extend(self.judge(&again, 5, losses).await),
                        Err(error) => wrong.push(format!("the recovery of the recovery: {error}")),
                    }
                    remove(&again);
                }
                Err(error) => wrong.push(format!("the recovery: {error}")),
            }
        }
        remove(&left);
        wrong
    }

    /// What was acknowledged and is not there.
    fn missing(&self, acked: &Acked, call: u64, left: &SimDisk, losses: &mut Losses) -> Vec<String> {
        let acknowledged = acked.after(call).into_iter();
        let gone = acknowledged.filter(|(path, bytes)| {
            std::fs::read(left.folder().join(path.as_str())).ok().as_deref() != Some(bytes.as_ref())
        });
        let gone: Vec<String> = gone.map(|(path, _)| format!("`{path}` was acknowledged")).collect();
        losses.verdict.lost += gone.len() as u64;
        gone
    }

    /// Loads what there is, and then what has come since.
    async fn process(&self, disk: &SimDisk, seed: u64) -> Result<Acked> {
        let acked = Acked::new(disk.store(&test_env(10 * seed))?, disk);
        for (run, script) in (1..).zip([&self.first, &self.grown]) {
            self.pipeline(&Store::new(acked.clone()), script, 10 * seed + run)?.run().await.map_err(Error::from)?;
        }
        Ok(acked)
    }

    fn pipeline(&self, store: &Store, script: &Script, seed: u64) -> Result<Pipeline> {
        let settings = Settings::default().epoch_records(8).kept_checkpoints(1).prune_landing(true);
        let builder = Pipeline::named("numbers")
            .source(script.clone())
            .land(Landing::in_store(store, "raw")?.segment_bytes(40))
            .quarantine(Quarantine::in_store(store, "quarantine")?)
            .checkpoints(StoreCheckpoints::new(store, "state")?)
            .settings(settings)
            .keys_stay_in_partition()
            .env(test_env(seed));
        let way = Way {
            into: self.into,
            columns: Columns::new().int64("n"),
            key: "n",
            record: "n",
            compact_every: 2,
            store,
            table: &self.table,
            epochs: &self.epochs,
            children: &self.children,
        };
        way.end(builder, &Faults::none())
    }

    /// Compares destination and quarantine with what was served.
    async fn judge(&self, disk: &SimDisk, seed: u64, losses: &mut Losses) -> Option<String> {
        let store = disk.store(&test_env(seed)).expect("open");
        let lines = || self.grown.partitions.iter().flat_map(|(_, pages)| pages.iter().flatten());
        let expected: BTreeSet<u64> = lines().filter_map(|line| number(line)).collect();
        let bad = lines().filter(|line| number(line).is_none()).cloned();
        let verdict = Verdict::of(expected, rows(&store, self.into, &self.table).await)
            .and(Verdict::of(bad, quarantined(&store, "numbers").await));
        let wrong = (!verdict.is_right()).then(|| verdict.to_string());
        losses.verdict = std::mem::take(&mut losses.verdict).and(verdict);
        wrong
    }
}

fn remove(disk: &SimDisk) {
    std::fs::remove_dir_all(disk.folder()).expect("removed");
}
