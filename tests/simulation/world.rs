//! What outlives the processes of a seed.

use crate::api::{Api, Connected};
use crate::chance::Chance;
use crate::worlds::{Destination, Epochs, Way};
use futures::future::BoxFuture;
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::Columns;
use landfall::env::{Clock, Env};
use landfall::landing::Landing;
use landfall::model::{Rows, Timestamp};
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::{MemoryTable, Quarantine};
use landfall::store::{MemoryStore, Store};
use landfall::testkit::{Faults, ManualClock, Mode, Point, SeededEntropy};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub const DESTINATIONS: [Destination; 5] =
    [Destination::Memory, Destination::Parquet, Destination::Delta, Destination::DeltaUpsert, Destination::Tables];

/// How the pipeline of a seed is set.
#[derive(Clone, Debug)]
pub struct Shape {
    pub into: Destination,
    pub settings: Settings,
    segment_bytes: u64,
    compact_every: u64,
}

/// What the first processes of a pipeline say that a later one must not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Shards,
    Key,
}

pub struct World {
    pub shape: Shape,
    pub api: Api,
    pub store: Store,
    pub table: MemoryTable<Rows<u64>>,
    pub clock: ManualClock,
    pub weather: Weather,
    pub epochs: Epochs,
    /// Those of the children.
    pub children: Epochs,
    chance: Chance,
    processes: AtomicU64,
}

/// The faults of all processes, and what they have done.
#[derive(Clone, Debug)]
pub struct Weather(Arc<Sky>);

#[derive(Debug)]
struct Sky {
    chance: Chance,
    per_mille: AtomicU64,
    trace: Mutex<DefaultHasher>,
    points: AtomicU64,
    faults: AtomicU64,
    told: bool,
    calm: AtomicBool,
}

impl Weather {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Sky {
            chance: Chance::new(seed),
            per_mille: AtomicU64::new(0),
            trace: Mutex::new(DefaultHasher::new()),
            points: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            told: std::env::var_os("LANDFALL_SIMULATION_TRACE").is_some(),
            calm: AtomicBool::new(false),
        }))
    }

    /// How many of a thousand operations go wrong from now on.
    pub fn turn(&self, per_mille: u64) {
        self.0.per_mille.store(per_mille, Ordering::SeqCst);
    }

    /// No more faults.
    pub fn calm(&self) {
        self.0.calm.store(true, Ordering::SeqCst);
    }

    /// A hash of everything that any process did, in its order.
    pub fn trace(&self) -> u64 {
        self.0.trace.lock().unwrap_or_else(PoisonError::into_inner).finish()
    }

    /// How many operations were done, and how many of them went wrong.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.points.load(Ordering::SeqCst), self.0.faults.load(Ordering::SeqCst))
    }

    fn mode(&self, process: u64, point: &Point) -> Option<Mode> {
        let Sky { chance, per_mille, .. } = self.0.as_ref();
        let mode =
            (!self.0.calm.load(Ordering::SeqCst) && chance.per_mille(per_mille.load(Ordering::SeqCst))).then(|| {
                match chance.below(12) {
                    0 => Mode::Before,
                    1 => Mode::AfterLostResponse,
                    2 => Mode::Torn,
                    3 => Mode::Pause,
                    4 | 5 => Mode::LostResponse,
                    6 => Mode::Fail,
                    7 => Mode::Exists,
                    8 => Mode::Conflict,
                    9 => Mode::Late(u32::try_from(chance.within(1, 60)).expect("few")),
                    _ => Mode::Slow(u32::try_from(chance.within(1, 400)).expect("few")),
                }
            });
        self.tell(|| format!("{process} {} {} {}: {mode:?}", point.index, point.operation, point.name));
        self.0.points.fetch_add(1, Ordering::SeqCst);
        self.0.faults.fetch_add(u64::from(mode.is_some()), Ordering::SeqCst);
        mode
    }

    /// Takes what happens into the trace.
    pub fn tell(&self, what: impl Fn() -> String) {
        let what = what();
        what.hash(&mut *self.0.trace.lock().unwrap_or_else(PoisonError::into_inner));
        if self.0.told {
            println!("{what}");
        }
    }
}

/// The clock of a machine, which shows another time of day than others do.
#[derive(Debug)]
struct Skewed {
    clock: ManualClock,
    minutes: i64,
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        let micros = self.clock.now().as_micros() + self.minutes * 60_000_000;
        Timestamp::from_micros(micros)
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(duration)
    }
}

impl Shape {
    fn drawn(seed: u64, chance: &Chance) -> Self {
        let into = DESTINATIONS[usize::try_from(seed % 5).expect("five")];
        let settings = Settings::default()
            .shards(u32::try_from(chance.within(1, 3)).expect("few"))
            .epoch_records(chance.within(3, 25))
            .kept_checkpoints(chance.within(1, 3))
            .handoff_segments(chance.within(1, 4))
            .parallel_partitions(usize::try_from(chance.within(1, 4)).expect("few"))
            .prune_landing(chance.per_mille(400));
        Self { into, settings, segment_bytes: chance.within(20, 300), compact_every: chance.below(4) }
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let chance = Chance::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let shape = Shape::drawn(seed, &chance);
        let clock = ManualClock::auto();
        let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(seed)));
        let api = Api::new(chance.within(1, 4), shape.into.decodes(), chance.below(u64::MAX));
        Self {
            shape,
            api,
            store: Store::new(MemoryStore::new(&env)),
            table: MemoryTable::new(),
            clock,
            weather: Weather::new(chance.below(u64::MAX)),
            epochs: Epochs::default(),
            children: Epochs::default(),
            chance,
            processes: AtomicU64::new(0),
        }
    }

    /// A machine of its own: its number, its clock and randomness, and the faults that it will meet.
    pub fn machine(&self) -> (u64, Env, Faults) {
        let number = self.processes.fetch_add(1, Ordering::SeqCst) + 1;
        let clock = Skewed { clock: self.clock.clone(), minutes: self.chance.pick(&[0, 0, 0, 60, -60, 1]) };
        let env = Env::deterministic(Arc::new(clock), Arc::new(SeededEntropy::new(self.chance.below(u64::MAX))));
        let weather = self.weather.clone();
        (number, env, Faults::drawn(move |point| weather.mode(number, point)))
    }

    /// The pipeline as a process deploys it now.
    pub fn pipeline(&self, env: &Env, faults: &Faults, change: Change) -> Pipeline {
        let mut settings = self.shape.settings.clone();
        if change == Change::Shards {
            settings.shards += 1;
        }
        let store = faults.store(&self.store);
        let builder = Pipeline::named("numbers")
            .source(Connected { api: self.api.clone(), faults: faults.clone() })
            .land(Landing::in_store(&store, "raw").expect("a name").segment_bytes(self.shape.segment_bytes))
            .quarantine(Quarantine::in_store(&store, "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&store, "state").expect("a name"))
            .settings(settings)
            .keys_stay_in_partition()
            .env(env.clone());
        let columns = Columns::new().int64("n").int64("id");
        let way = Way {
            into: self.shape.into,
            columns: if self.api.is_widened() { columns.utf8("extra") } else { columns },
            key: if change == Change::Key { "id" } else { "n" },
            record: "id",
            compact_every: self.shape.compact_every,
            store: &store,
            table: &self.table,
            epochs: &self.epochs,
            children: &self.children,
        };
        way.end(builder, faults).expect("complete")
    }
}
