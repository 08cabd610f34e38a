//! What outlives the processes of a seed.

use crate::api::{Api, Connected};
use crate::chance::Chance;
use crate::worlds::{Destination, Epochs, Way};
use futures::future::BoxFuture;
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::Columns;
use landfall::env::{Clock, Env};
use landfall::landing::Landing;
use landfall::model::{Page, Rows, Timestamp};
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::{MemoryTable, Quarantine};
use landfall::stage::{Output, from_fn};
use landfall::store::{MemoryStore, Store};
use landfall::testkit::{Damage, DamagedStore, Faults, ManualClock, Mode, Point, SeededEntropy, Target};
use landfall::{Error, ErrorKind};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
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
    /// The same, whose listings lack all that was written through it.
    behind: Store,
    pub table: MemoryTable<Rows<u64>>,
    pub clock: ManualClock,
    pub weather: Weather,
    pub epochs: Epochs,
    /// Those of the children.
    pub children: Epochs,
    chance: Chance,
    processes: AtomicU64,
}

/// How operations are refused for good.
const REFUSALS: &[ErrorKind] = &[ErrorKind::Auth, ErrorKind::Config];

/// A machine of its own, and what happens to it.
pub struct Machine {
    pub number: u64,
    pub env: Env,
    pub faults: Faults,
    /// The store as it is reached from here.
    pub store: Store,
    pub poison: Poison,
}

/// The page at which a stage of a process panics, after so many others, and at each that comes after it.
#[derive(Clone, Debug)]
pub struct Poison(Arc<AtomicI64>);

/// The faults of all processes, and what they have done.
#[derive(Clone, Debug)]
pub struct Weather(Arc<Sky>);

#[derive(Debug)]
struct Sky {
    chance: Chance,
    per_mille: AtomicU64,
    trace: Mutex<DefaultHasher>,
    /// How many operations were refused for good, how many machines have a store whose listings are behind, and how many clocks were set under a
    /// process that went on.
    denied: AtomicU64,
    behind: AtomicU64,
    set: AtomicU64,
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
            denied: AtomicU64::new(0),
            behind: AtomicU64::new(0),
            set: AtomicU64::new(0),
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

    fn is_calm(&self) -> bool {
        self.0.calm.load(Ordering::SeqCst)
    }

    /// A hash of everything that any process did, in its order.
    pub fn trace(&self) -> u64 {
        self.0.trace.lock().unwrap_or_else(PoisonError::into_inner).finish()
    }

    /// How many operations were done, how many of them went wrong, and how many were refused; machines on which listings were behind, and clocks
    /// that were set.
    pub fn counts(&self) -> [u64; 5] {
        let Sky { points, faults, denied, behind, set, .. } = self.0.as_ref();
        [points, faults, denied, behind, set].map(|number| number.load(Ordering::SeqCst))
    }

    fn mode(&self, process: u64, point: &Point) -> Option<Mode> {
        let Sky { chance, per_mille, .. } = self.0.as_ref();
        let mode =
            (!self.is_calm() && chance.per_mille(per_mille.load(Ordering::SeqCst))).then(|| match chance.below(13) {
                0 => Mode::Before,
                1 => Mode::AfterLostResponse,
                2 => Mode::Torn,
                3 => Mode::Pause,
                4 | 5 => Mode::LostResponse,
                6 => Mode::Fail,
                7 => Mode::Exists,
                8 => Mode::Conflict,
                9 => Mode::Late(u32::try_from(chance.within(1, 60)).expect("few")),
                10 => Mode::Refuse(chance.pick(REFUSALS)),
                _ => Mode::Slow(u32::try_from(chance.within(1, 400)).expect("few")),
            });
        self.0.denied.fetch_add(u64::from(matches!(mode, Some(Mode::Refuse(_)))), Ordering::SeqCst);
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

impl Machine {
    /// One to which nothing happens.
    pub fn undisturbed(number: u64, env: Env, store: &Store) -> Self {
        Self { number, env, faults: Faults::none(), store: store.clone(), poison: Poison::after(i64::MAX) }
    }
}

impl Poison {
    fn after(pages: i64) -> Self {
        Self(Arc::new(AtomicI64::new(pages)))
    }

    fn taste(&self) {
        let left = self.0.fetch_sub(1, Ordering::SeqCst);
        assert!(left > 0, "this page is poison");
    }

    /// Whether the stage has panicked.
    pub fn was_met(&self) -> bool {
        self.0.load(Ordering::SeqCst) < 0
    }

    /// Whether `error` says that it has.
    pub fn is_named_by(&self, error: &Error) -> bool {
        self.was_met() && error.kind() == ErrorKind::Bug && says(error, "this page is poison")
    }
}

/// Whether `error` says that an operation was refused for good, which ends its process.
pub fn is_refusal(error: &Error) -> bool {
    REFUSALS.contains(&error.kind()) && says(error, "injected refusal")
}

/// Whether an error or one of its causes has these words.
fn says(error: &Error, words: &str) -> bool {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| error.source()).any(|error| error.to_string().contains(words))
}

/// The clock of a machine, which shows another time of day than others do, and is set while a process runs.
#[derive(Debug)]
struct Skewed {
    clock: ManualClock,
    weather: Weather,
    minutes: i64,
    /// From when on it shows another time of day, and by how many minutes.
    set: (Duration, i64),
    is_set: AtomicBool,
}

impl Skewed {
    fn drawn(world: &World) -> Self {
        let (clock, chance) = (world.clock.clone(), &world.chance);
        let minutes = chance.pick(&[0, 0, 0, 60, -60, 1]);
        let set = (
            clock.monotonic() + Duration::from_secs(chance.below(600)),
            chance.pick(&[minutes, minutes, 0, 60, -60, -1]),
        );
        Self { clock, weather: world.weather.clone(), minutes, set, is_set: AtomicBool::new(false) }
    }
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        let mut minutes = self.minutes;
        if self.monotonic() >= self.set.0 {
            minutes = self.set.1;
            let first = minutes != self.minutes && !self.is_set.swap(true, Ordering::SeqCst);
            self.weather.0.set.fetch_add(u64::from(first), Ordering::SeqCst);
        }
        Timestamp::from_micros(self.clock.now().as_micros() + minutes * 60_000_000)
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
        let store = Store::new(MemoryStore::new(&env));
        Self {
            shape,
            api,
            behind: Store::new(DamagedStore::new(&store, Damage::LateListing, Target::all())),
            store,
            table: MemoryTable::new(),
            clock,
            weather: Weather::new(chance.below(u64::MAX)),
            epochs: Epochs::default(),
            children: Epochs::default(),
            chance,
            processes: AtomicU64::new(0),
        }
    }

    /// A machine with its clock, its randomness, and the faults that it will meet.
    pub fn machine(&self) -> Machine {
        let number = self.processes.fetch_add(1, Ordering::SeqCst) + 1;
        let env = Env::deterministic(
            Arc::new(Skewed::drawn(self)),
            Arc::new(SeededEntropy::new(self.chance.below(u64::MAX))),
        );
        let weather = self.weather.clone();
        let faults = Faults::drawn(move |point| weather.mode(number, point));
        let behind = self.chance.per_mille(150);
        self.weather.0.behind.fetch_add(u64::from(behind), Ordering::SeqCst);
        let store = faults.store(if behind { &self.behind } else { &self.store });
        let pages = i64::try_from(self.chance.below(6)).expect("few");
        let poisoned = self.chance.per_mille(100) && !self.weather.is_calm();
        Machine { number, env, faults, store, poison: Poison::after(if poisoned { pages } else { i64::MAX }) }
    }

    /// The pipeline as a process on this machine deploys it now.
    pub fn pipeline(&self, machine: &Machine, change: Change) -> Pipeline {
        let Machine { env, faults, store, poison, .. } = machine;
        let mut settings = self.shape.settings.clone();
        if change == Change::Shards {
            settings.shards += 1;
        }
        let poison = poison.clone();
        let tasted = from_fn("taste", move |page: Page, out: &mut Output<Page>| {
            poison.taste();
            out.emit(page);
            Ok(())
        });
        let builder = Pipeline::named("numbers")
            .source(Connected { api: self.api.clone(), faults: faults.clone() })
            .land(Landing::in_store(store, "raw").expect("a name").segment_bytes(self.shape.segment_bytes))
            .stage(tasted)
            .quarantine(Quarantine::in_store(store, "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(store, "state").expect("a name"))
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
            store,
            table: &self.table,
            epochs: &self.epochs,
            children: &self.children,
        };
        way.end(builder, faults).expect("complete")
    }
}
