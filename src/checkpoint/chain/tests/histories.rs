//! Random histories: owners that crash, are paused and run at the same time, over a store that loses, delays and
//! contradicts answers. One seed gives one history.

use super::*;
use std::pin::Pin;
use std::task::{Context, Waker};

/// The store's content, the faults to come, and what the outside has seen.
#[derive(Debug)]
struct World {
    random: u64,
    /// Faults per thousand calls; 0 when the world has healed.
    faults: u64,
    /// Creates whose answer was lost before they arrived: they arrive some time later, or never.
    in_flight: Vec<(ChainId, u64, Bytes)>,
    /// The first record that was removed under each number: later ones there are leftovers.
    removed: BTreeMap<u64, Bytes>,
    /// What owners were told is in the chain.
    acknowledged: Vec<(u64, Bytes)>,
    collected: u64,
    fenced: u64,
}

impl World {
    fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn fault(&mut self) -> Option<u64> {
        (self.below(1_000) < self.faults).then(|| self.below(6))
    }
}

#[derive(Clone, Debug)]
struct Stormy {
    inner: MemoryCheckpoints,
    world: Arc<Mutex<World>>,
}

impl Stormy {
    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().expect("no panic")
    }

    /// An operation that may be repeated: it may fail before or after it happens.
    async fn call<T>(&self, effect: impl Future<Output = Result<T>> + Send) -> Result<T> {
        Turn::default().await;
        let fault = self.world().fault();
        let failed = |kind| Err(Error::new(kind, "stormy", "fault"));
        let done = match fault {
            Some(0 | 1) => failed(ErrorKind::Unavailable),
            Some(2) => failed(ErrorKind::Ambiguous),
            Some(_) => effect.await.and_then(|_| failed(ErrorKind::Ambiguous)),
            None => effect.await,
        };
        Turn::default().await;
        done
    }

    async fn land(&self, (chain, number, record): (ChainId, u64, Bytes)) {
        self.inner.create(&chain, number, record).await.expect("memory");
    }
}

#[async_trait]
impl CheckpointStore for Stormy {
    async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
        Turn::default().await;
        let fault = self.world().fault();
        let doubt = Err(Error::new(ErrorKind::Ambiguous, "stormy", "fault"));
        let answer = match fault {
            None => self.inner.create(chain, number, record).await,
            Some(0) => Err(Error::unavailable("stormy", "fault")),
            Some(1) => Ok(Created::Exists),
            Some(2) => self.inner.create(chain, number, record).await.map(|_| Created::Exists),
            Some(3) => self.inner.create(chain, number, record).await.and(doubt),
            Some(_) => {
                self.world().in_flight.push((chain.clone(), number, record));
                doubt
            }
        };
        Turn::default().await;
        answer
    }
    async fn read(&self, chain: &ChainId, number: u64) -> Result<Option<Bytes>> {
        self.call(self.inner.read(chain, number)).await
    }
    async fn numbers(&self, chain: &ChainId) -> Result<Vec<u64>> {
        let mut numbers = self.call(self.inner.numbers(chain)).await?;
        let mut world = self.world();
        let misses = world.below(4);
        numbers.retain(|_| misses > 0 || world.below(2) > 0);
        Ok(numbers)
    }
    async fn boundary(&self, chain: &ChainId) -> Result<u64> {
        self.call(self.inner.boundary(chain)).await
    }
    async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()> {
        self.call(self.inner.advance_boundary(chain, to)).await
    }
    async fn remove(&self, chain: &ChainId, number: u64) -> Result<()> {
        self.call(async {
            if let Some(bytes) = self.inner.read(chain, number).await? {
                self.world().removed.entry(number).or_insert(bytes);
            }
            self.inner.remove(chain, number).await
        })
        .await
    }
    fn objects(&self) -> Option<(Store, ObjectPath)> {
        None
    }
}

/// Opens the chain, appends and collects until something goes wrong, and starts again.
async fn own(store: Stormy, id: ChainId, env: Env) {
    for _ in 0..3 {
        let opened = Chain::open(Arc::new(store.clone()), id.clone(), env.clone()).await;
        let mut chain = match opened {
            Ok(opened) => opened.chain,
            Err(e) => {
                assert_ne!(e.kind(), ErrorKind::Corrupt, "nothing was damaged: {e}");
                continue;
            }
        };
        let appends = store.world().below(8);
        for _ in 0..appends {
            let payload = Bytes::from(env.nonce());
            match chain.append(payload.clone()).await {
                Ok(number) => store.world().acknowledged.push((number, payload)),
                Err(e) => {
                    assert!(e.kind() != ErrorKind::Corrupt && e.kind() != ErrorKind::Bug, "nothing was damaged: {e}");
                    store.world().fenced += u64::from(e.kind() == ErrorKind::Fenced);
                    break;
                }
            }
            let back = store.world().below(6);
            if back < 3 {
                if let Ok(deleted) = chain.collect(chain.next_number() - back).await {
                    store.world().collected += deleted;
                }
            }
        }
    }
}

type Process = Pin<Box<dyn Future<Output = ()>>>;

/// Runs one history and checks it; returns how much of each kind has happened: acknowledged, collected, fenced.
fn run(seed: u64) -> [u64; 3] {
    let world = World {
        random: seed,
        faults: [20, 100, 250][usize::try_from(seed % 3).expect("small")],
        in_flight: Vec::new(),
        removed: BTreeMap::new(),
        acknowledged: Vec::new(),
        collected: 0,
        fenced: 0,
    };
    let store = Stormy { inner: MemoryCheckpoints::default(), world: Arc::new(Mutex::new(world)) };
    let id = ChainId::named("random/history").expect("a name");
    let env = still_env();
    let mut context = Context::from_waker(Waker::noop());
    let start = || -> Process { Box::pin(own(store.clone(), id.clone(), env.clone())) };
    let mut processes: Vec<Process> = (0..2 + seed % 2).map(|_| start()).collect();
    let mut poll = |process: &mut Process| process.as_mut().poll(&mut context).is_ready();
    for _ in 0..120 {
        let (which, steps, event) = {
            let mut world = store.world();
            let which = usize::try_from(world.below(processes.len() as u64)).expect("small");
            (which, world.below(40), world.below(20))
        };
        // The others are paused meanwhile: at any of their operations, for any time.
        for _ in 0..steps {
            if poll(&mut processes[which]) {
                processes[which] = start();
            }
        }
        if event == 0 {
            // Killed, and started again.
            processes[which] = start();
        }
        if event < 8 {
            let late = store.world().in_flight.pop();
            if let Some(late) = late {
                store.land(late).now_or_never().expect("memory does not wait");
            }
        }
    }
    drop(processes);
    let late = std::mem::take(&mut store.world().in_flight);
    for late in late {
        store.land(late).now_or_never().expect("memory does not wait");
    }
    store.world().faults = 0;
    let mut checking: Process = Box::pin(check(store.clone(), id, env));
    while !poll(&mut checking) {}
    let world = store.world();
    [world.acknowledged.len() as u64, world.collected, world.fenced]
}

/// The outside view: one linear history from record 1, with everything that was acknowledged, once, in its place.
async fn check(store: Stormy, id: ChainId, env: Env) {
    let opened = Chain::open(Arc::new(store.clone()), id.clone(), env).await.expect("the chain is sound");
    let head = opened.chain.next_number() - 1;
    let boundary = store.boundary(&id).await.expect("healed");
    let newest = opened.newest_data.map(|r| r.number);
    assert!(newest.map_or(boundary == 0, |n| boundary < n), "boundary {boundary} has passed {newest:?}");
    let mut before: Option<(Record, String)> = None;
    let mut data = BTreeMap::new();
    for number in 1..=head {
        let removed = store.world().removed.get(&number).cloned();
        let bytes = match removed {
            Some(bytes) => {
                assert!(number <= boundary, "record {number} was deleted above boundary {boundary}");
                bytes
            }
            // At or below the boundary it was not removed yet, or it is gone in a way that only a crash could explain.
            None => store.inner.read(&id, number).await.expect("memory").expect("every record was there"),
        };
        let record = Record::decode(&id, number, &bytes).expect("sound");
        let follows = decide::follows(before.as_ref().map(|(r, digest)| (r, digest.as_str())), &record);
        assert_eq!(follows, Ok(()), "record {number} of one linear history");
        if record.kind == RecordKind::Data {
            data.insert(number, record.payload.clone());
        }
        before = Some((record, Record::digest(&bytes)));
    }
    let acknowledged = std::mem::take(&mut store.world().acknowledged);
    let distinct: BTreeMap<_, _> = acknowledged.iter().cloned().collect();
    assert_eq!(distinct.len(), acknowledged.len(), "no number was given to two");
    for (number, payload) in &acknowledged {
        assert_eq!(data.get(number), Some(payload), "what was acknowledged as {number} is there");
    }
    store.world().acknowledged = acknowledged;
}

#[test]
fn every_history_is_linear_and_holds_what_was_acknowledged() {
    let mut sums = [0; 3];
    for seed in 0..100 {
        let happened = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| panic!("seed {seed}"));
        for (sum, n) in sums.iter_mut().zip(happened) {
            *sum += n;
        }
    }
    let [acknowledged, collected, fenced] = sums;
    assert!(acknowledged > 1_000 && collected > 500 && fenced > 100, "the histories reach everything: {sums:?}");
}

#[test]
fn one_seed_gives_one_history() {
    assert_eq!(run(7), run(7));
}
