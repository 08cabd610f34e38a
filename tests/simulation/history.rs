//! What happens in the days of a seed.

use crate::chance::Chance;
use crate::damage::Damaged;
use crate::oracle::{self, Reader};
use crate::world::{Change, Machine, Poison, World, is_refusal};
use crate::worlds::found::read_rows;
use crate::worlds::{Destination, dataset, delta};
use landfall::pipeline::RunControl;
use landfall::testkit::{Faults, Verdict};
use landfall::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Processes that may work at the same time.
const AT_ONCE: usize = 3;
/// Runs that a recovery may need.
const RECOVERIES: usize = 3;

/// What came of a seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub verdict: Verdict,
    /// A hash of every operation, in its order.
    pub trace: u64,
    pub hours: u64,
    pub points: u64,
    pub faults: u64,
    pub processes: u64,
    pub looks: u64,
    pub refused: u64,
    /// Operations that were refused for good, machines on which listings lacked what was written, and those whose clock was set under a process.
    pub denied: u64,
    pub behind: u64,
    pub set: u64,
    /// Processes of which a stage has panicked.
    pub panicked: u64,
    /// Objects that were damaged, and how often somebody could not go on without one.
    pub damaged: u64,
    pub halted: BTreeMap<&'static str, u64>,
}

/// What somebody does to a table beside the pipelines.
#[derive(Clone, Copy, Debug)]
enum Chore {
    /// Puts files together.
    Compact,
    /// Deletes files that are not needed any more.
    Vacuum { older_than: Duration },
    /// Writes down what its log says, so that the log need not be read from its beginning.
    Checkpoint,
    /// Deletes the old part of its log.
    Expire,
}

/// A process that runs.
struct Process {
    number: u64,
    faults: Faults,
    poison: Poison,
    control: Option<RunControl>,
    task: JoinHandle<Result<()>>,
}

struct Days {
    world: Arc<World>,
    chance: Chance,
    running: Vec<Process>,
    /// Of processes that have ended: a request of theirs may still be on its way.
    late: Vec<Faults>,
    reader: Reader,
    told: Told,
    /// Whether a run has ended well: from then on there is something that must not be changed.
    settled: bool,
}

/// Runs the days of a seed.
pub async fn run(seed: u64) -> Told {
    let world = Arc::new(World::new(seed));
    let mut days = Days {
        chance: Chance::new(!seed),
        world,
        running: Vec::new(),
        late: Vec::new(),
        reader: Reader::default(),
        told: Told::default(),
        settled: false,
    };
    days.world.api.grow(20);
    days.world.weather.turn(5);
    for _ in 0..days.chance.within(40, 120) {
        days.happen().await;
        days.go_on().await;
    }
    days.end().await;
    days.told.trace = days.world.weather.trace();
    days.told.hours = landfall::env::Clock::monotonic(&days.world.clock).as_secs() / 3600;
    let Told { points, faults, denied, behind, set, .. } = &mut days.told;
    [*points, *faults, *denied, *behind, *set] = days.world.weather.counts();
    days.told.looks = days.reader.looks;
    days.told
}

impl Days {
    async fn happen(&mut self) {
        let world = Arc::clone(&self.world);
        match self.chance.below(30) {
            0..=8 if self.running.len() < AT_ONCE => self.start(),
            9..=11 => world.api.grow(self.chance.within(1, 12)),
            12 | 13 => world.api.change(self.chance.within(1, 6)),
            14 if self.chance.per_mille(300) => world.api.add_partition(),
            15 | 16 => world.clock.advance(MINUTE * u32::try_from(self.chance.within(1, 90)).expect("few")),
            17 if self.chance.per_mille(300) => {
                world.clock.advance(MINUTE * 60 * u32::try_from(self.chance.within(2, 40)).expect("few"))
            }
            18 | 19 => world.weather.turn(self.chance.pick(&[0, 2, 5, 10, 20, 60, 200])),
            20 => self.wake(),
            21 => self.arrive().await,
            22 => self.kill(),
            23 => self.drain(),
            24 if self.chance.per_mille(200) => world.api.widen(),
            25 if self.settled && self.chance.per_mille(400) => self.change_config().await,
            26 | 27 if self.running.len() <= AT_ONCE => self.maintain(),
            28 => self.look().await,
            29 if self.chance.per_mille(400) => self.night(),
            29 if self.settled => self.damage().await,
            _ => {}
        }
    }

    /// Lets the others go on for a while.
    async fn go_on(&mut self) {
        for _ in 0..self.chance.below(600) {
            tokio::task::yield_now().await;
        }
        let (ended, running) =
            std::mem::take(&mut self.running).into_iter().partition(|p: &Process| p.task.is_finished());
        self.running = running;
        let ended: Vec<Process> = ended;
        for process in ended {
            self.ended(process).await;
        }
    }

    fn start(&mut self) {
        let machine = self.world.machine();
        let pipeline = self.world.pipeline(&machine, Change::None);
        let Machine { number, faults, poison, .. } = machine;
        let handle = pipeline.start();
        let control = Some(handle.control());
        let task = tokio::spawn(async move { Ok(handle.wait().await.map(drop)?) });
        self.told.processes += 1;
        self.world.weather.tell(|| format!("{number} starts"));
        self.running.push(Process { number, faults, poison, control, task });
    }

    fn maintain(&mut self) {
        let chore = match self.chance.below(8) {
            0 | 1 => Chore::Compact,
            2..=4 => Chore::Vacuum { older_than: self.chance.pick(&[HOUR, DAY]) },
            5 | 6 => Chore::Checkpoint,
            _ => Chore::Expire,
        };
        self.begin(chore);
    }

    /// All machines die, and nothing is done for hours but that old files are deleted, whatever waits for them.
    fn night(&mut self) {
        self.world.weather.tell(|| "night".to_owned());
        self.running.iter().for_each(|process| process.faults.crash());
        self.world.clock.advance(3 * HOUR);
        self.begin(Chore::Vacuum { older_than: HOUR });
    }

    fn begin(&mut self, chore: Chore) {
        let of_delta = matches!(chore, Chore::Checkpoint | Chore::Expire);
        let parquet = match self.world.shape.into {
            Destination::Memory => return,
            Destination::Parquet if of_delta => return,
            Destination::Parquet => true,
            Destination::Delta | Destination::DeltaUpsert => false,
            Destination::Tables => !of_delta && self.chance.per_mille(500),
        };
        let Machine { number, env, faults, store, poison } = self.world.machine();
        let world = Arc::clone(&self.world);
        world.weather.tell(|| format!("{number} maintains, parquet {parquet}: {chore:?}"));
        let task = tokio::spawn(async move {
            let (dataset, delta) = (dataset(&store), delta(&store, world.shape.into));
            match chore {
                Chore::Compact if parquet => dataset.compact(&env).await.map(drop),
                Chore::Compact => delta.compact(&env).await.map(drop),
                Chore::Vacuum { older_than } if parquet => dataset.vacuum(&env, older_than, false).await.map(drop),
                Chore::Vacuum { older_than } => delta.vacuum(&env, older_than, false).await.map(drop),
                Chore::Checkpoint => delta.checkpoint(&env).await.map(drop),
                Chore::Expire => delta.expire_log(&env, Some(WEEK), false).await.map(drop),
            }
        });
        self.told.processes += 1;
        self.running.push(Process { number, faults, poison, control: None, task });
    }

    /// One that stands still goes on, or has died meanwhile: then only what was on its way arrives.
    fn wake(&mut self) {
        let paused: Vec<&Process> = self.running.iter().filter(|process| process.faults.is_paused()).collect();
        if paused.is_empty() {
            return;
        }
        let process = paused[self.chance.index(paused.len())];
        if self.chance.per_mille(300) {
            process.faults.crash();
        }
        self.world.weather.tell(|| format!("{} wakes", process.number));
        process.faults.resume();
    }

    /// One dies: all of its machine, or it is aborted wherever it is.
    fn kill(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let process = &self.running[self.chance.index(self.running.len())];
        self.world.weather.tell(|| format!("{} dies", process.number));
        match &process.control {
            Some(control) if self.chance.per_mille(500) => control.abort(),
            _ => process.faults.crash(),
        }
    }

    fn drain(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let process = &self.running[self.chance.index(self.running.len())];
        self.world.weather.tell(|| format!("{} is stopped", process.number));
        if let Some(control) = &process.control {
            control.drain();
        }
    }

    /// Somebody deploys what must be refused.
    async fn change_config(&mut self) {
        let key = self.world.shape.into != Destination::DeltaUpsert && self.chance.per_mille(500);
        let change = if key { Change::Key } else { Change::Shards };
        self.world.weather.tell(|| format!("somebody deploys another {change:?}"));
        match self.undisturbed(change).await {
            Err(error) if error.kind() == ErrorKind::Config => self.told.refused += 1,
            Err(error) if error.kind() == ErrorKind::Fenced => {}
            ended => self.wrong(format!("a process with another {change:?} ended with {ended:?}")),
        }
    }

    /// All machines die, and an object is damaged. Nobody who needs it goes on until it is put back.
    async fn damage(&mut self) {
        for process in std::mem::take(&mut self.running) {
            process.faults.crash();
            process.faults.resume();
            self.ended(process).await;
        }
        let world = Arc::clone(&self.world);
        let Some(damaged) = Damaged::one(&world.store, &self.chance).await else { return };
        world.weather.tell(|| damaged.to_string());
        self.told.damaged += 1;
        for _ in 0..2 {
            let ended = self.undisturbed(Change::None).await;
            self.needs(&damaged, ended);
        }
        let read = read_rows(&world.store, world.shape.into, &world.table).await;
        let gone = read.as_ref().map(|rows| self.reader.gone(world.shape.into, rows)).unwrap_or_default();
        gone.into_iter().for_each(|gone| self.wrong(format!("{damaged}, and a reader is not told: {gone}")));
        self.needs(&damaged, read.map(drop));
        if let Some(wrong) = damaged.put_back(&world.store).await {
            self.wrong(wrong);
        }
        match self.undisturbed(Change::None).await {
            Err(error) if error.kind() != ErrorKind::Unavailable => {
                self.wrong(format!("{damaged} no more, and a process ended with {error}"))
            }
            _ => self.look().await,
        }
    }

    /// What somebody makes of an object that is damaged: does without it, or says which it is.
    fn needs(&mut self, damaged: &Damaged, ended: Result<()>) {
        match ended {
            Err(error) if damaged.is_named_by(&error) => *self.told.halted.entry(damaged.of()).or_default() += 1,
            // The API.
            Err(error) if error.kind() != ErrorKind::Unavailable => {
                self.wrong(format!("{damaged}, and somebody ended with {error}"))
            }
            _ => {}
        }
    }

    /// Runs a process to which nothing happens.
    async fn undisturbed(&mut self, change: Change) -> Result<()> {
        let Machine { number, env, .. } = self.world.machine();
        let machine = Machine::undisturbed(number, env, &self.world.store);
        let ended = self.world.pipeline(&machine, change).run().await.map(drop).map_err(Error::from);
        self.world.weather.tell(|| format!("{number} ended: {:?}", ended.as_ref().map_err(Error::kind)));
        ended
    }

    async fn look(&mut self) {
        let seen = self.reader.look(&self.world).await;
        self.told.verdict = std::mem::take(&mut self.told.verdict).and(seen);
    }

    async fn ended(&mut self, process: Process) {
        let Process { number, faults, poison, task, control } = process;
        let ended = match task.await {
            Ok(ended) => ended,
            Err(panic) => return self.wrong(format!("process {number} ended with {panic}")),
        };
        self.world.weather.tell(|| format!("{number} ended: {:?}", ended.as_ref().map_err(Error::kind)));
        self.late.push(faults.clone());
        self.told.panicked += u64::from(poison.was_met());
        match ended {
            Ok(()) if poison.was_met() => {
                self.wrong(format!("a stage of process {number} panicked, and it ended well"))
            }
            Ok(()) => self.settled |= control.is_some(),
            Err(error) if Faults::is_crash(&error) || faults.is_dead() => {}
            Err(error) => {
                use ErrorKind::{Ambiguous, Cancelled, Fenced, Unavailable};
                let passes = matches!(error.kind(), Ambiguous | Cancelled | Fenced | Unavailable);
                if !passes && !is_refusal(&error) && !poison.is_named_by(&error) {
                    self.wrong(format!("process {number} ended with {error}"));
                }
            }
        }
    }

    fn wrong(&mut self, what: String) {
        self.world.weather.tell(|| what.clone());
        self.told.verdict.wrong.push(what);
    }

    /// The faults end: whoever still runs comes to an end, another one recovers, and what was served must be there.
    async fn end(&mut self) {
        self.world.weather.calm();
        self.world.api.calm();
        for process in std::mem::take(&mut self.running) {
            if self.chance.per_mille(300) {
                process.faults.crash();
            }
            process.faults.resume();
            self.ended(process).await;
        }
        self.arrive().await;
        self.recover().await;
        let verdict = oracle::verdict(&self.world).await;
        self.judge("after the recovery", verdict);
        self.look().await;
        // A fresh record passes.
        self.world.api.grow_everywhere();
        self.recover().await;
        let verdict = oracle::verdict(&self.world).await;
        self.judge("after a fresh record", verdict);
        self.look().await;
    }

    /// What those who have ended had sent off has its effect.
    async fn arrive(&mut self) {
        for faults in std::mem::take(&mut self.late) {
            faults.arrive().await;
        }
    }

    async fn recover(&mut self) {
        for _ in 0..RECOVERIES {
            let machine = self.world.machine();
            match self.world.pipeline(&machine, Change::None).run().await.map_err(Error::from) {
                Ok(_) => return,
                Err(error) => self.world.weather.tell(|| format!("recovery {}: {error}", machine.number)),
            }
        }
        self.wrong("no recovery ended well".to_owned());
    }

    fn judge(&mut self, when: &str, mut verdict: Verdict) {
        verdict.wrong.iter_mut().for_each(|wrong| *wrong = format!("{when}: {wrong}"));
        self.told.verdict = std::mem::take(&mut self.told.verdict).and(verdict);
    }
}
