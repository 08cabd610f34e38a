use super::shared::{Grant, SharedRates};
use super::window::{Kind, Moment, Rate, Taken, Window, micros};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Created, ObjectPath, Store};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Accounts for rates in a [`Store`] that processes share.
///
/// Each take is a numbered record with what is taken by then, written by create-if-absent after the one before: of many
/// who take at the same time, one gets the number, and the others look at what it took.
///
/// An instance that takes often takes a batch: up to a tenth of the strictest rate, for a twentieth of its window. It counts
/// as used at the end of that time, so the rates hold whenever its calls are made, and a process that dies loses that
/// much for one window at most. Rates below 10 calls are taken call by call, with one to a few requests to the store each.
///
/// Records that are an hour old are deleted. An instance that was paused for longer than a minute in the middle of a take
/// takes nothing by it.
#[derive(Debug)]
pub struct StoreRates {
    store: Store,
    root: ObjectPath,
    known: Mutex<BTreeMap<String, Known>>,
    leases: Mutex<BTreeMap<String, Lease>>,
}

/// A batch that was taken, as far as it is not used.
#[derive(Clone, Copy, Debug)]
struct Lease {
    size: u64,
    left: u64,
    /// Until when it may be used, on both clocks: one of them stands still while the machine sleeps, the other may be set back.
    until: Duration,
    until_utc: Duration,
}

impl Lease {
    fn is_valid(&self, env: &Env) -> bool {
        env.monotonic() < self.until && Moment::shared(env).utc < self.until_utc
    }

    /// How much to take next: more if it was used up in time, less if not.
    fn next(&self) -> u64 {
        let used = self.size - self.left;
        if self.left * 2 < self.size { self.size * 2 } else { used.max(1) }
    }
}

/// The newest record that this instance has seen.
#[derive(Clone, Debug)]
struct Known {
    number: u64,
    record: Record,
    /// When it was known to be the newest, on the monotonic clock.
    seen_at: Duration,
}

/// What is taken by then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: String,
    /// Random: tells a record of one's own from one that another has written under its number.
    nonce: String,
    /// When it was written, since 1970.
    #[serde(with = "micros")]
    at: Duration,
    windows: Vec<Kept>,
}

/// What is taken of one rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    #[serde(with = "micros")]
    per: Duration,
    kind: Kind,
    taken: VecDeque<Taken>,
}

impl StoreRates {
    /// Accounts below the folder `prefix` of `store`.
    ///
    /// # Errors
    /// `Config` if `prefix` is not a name that objects may have.
    pub fn in_store(store: &Store, prefix: &str) -> Result<Self> {
        Ok(Self {
            store: store.clone(),
            root: ObjectPath::parse(prefix)?,
            known: Mutex::default(),
            leases: Mutex::default(),
        })
    }

    fn folder(&self, name: &str) -> Result<ObjectPath> {
        self.root.join(&ObjectPath::encode(name))
    }

    /// Takes `weight` of the batch, if it is there.
    fn take_leased(&self, env: &Env, name: &str, weight: u64) -> bool {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lease) = leases.get_mut(name).filter(|lease| lease.left >= weight && lease.is_valid(env)) else {
            return false;
        };
        lease.left -= weight;
        true
    }

    /// How much to take at once.
    fn batch(&self, name: &str, rates: &[Rate], weight: u64) -> u64 {
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let strictest = rates.iter().map(|rate| u64::from(rate.limit)).min().unwrap_or_default();
        let wanted = leases.get(name).map_or(1, Lease::next);
        wanted.min(strictest / SHARE).max(weight)
    }

    fn known(&self, env: &Env, name: &str) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).filter(|known| env.monotonic().saturating_sub(known.seen_at) <= FRESH).cloned()
    }

    fn remember(&self, name: &str, newest: &Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get_mut(name) {
            Some(known) if known.number > newest.number => {}
            Some(known) => *known = newest.clone(),
            None => {
                known.insert(name.to_owned(), newest.clone());
            }
        }
    }

    /// The newest record that the store lists, or that was seen lately. There may be newer ones.
    async fn newest(&self, env: &Env, name: &str, folder: &ObjectPath) -> Result<Known> {
        if let Some(known) = self.known(env, name) {
            return Ok(known);
        }
        for _ in 0..TRIES {
            let seen_at = env.monotonic();
            let listed = self.store.list(folder).await?;
            let Some(number) = listed.iter().filter_map(|object| number(&object.path)).max() else {
                return Ok(Known { number: 0, record: Record::default(), seen_at });
            };
            // It may have been deleted if the listing is old.
            if let Some(record) = self.read(folder, number).await? {
                return Ok(Known { number, record, seen_at });
            }
        }
        Err(unreachable(name))
    }

    async fn read(&self, folder: &ObjectPath, number: u64) -> Result<Option<Record>> {
        let path = folder.join(&file(number))?;
        let Some(bytes) = self.store.get_small("take rate", &path, MOST_BYTES).await? else { return Ok(None) };
        let damaged = |what: &'static str| Error::corrupt("take rate", what).with("object", &path);
        #[derive(Deserialize)]
        struct Head {
            format: String,
        }
        let unread = |e| damaged("a record cannot be read").with_source(e);
        let Head { format } = serde_json::from_slice(&bytes).map_err(unread)?;
        if format != FORMAT {
            return Err(Error::config("take rate", "a record has a format that this version does not know")
                .with("object", &path)
                .with("format", format)
                .with_hint("use a newer version of landfall, or another folder"));
        }
        let record: Record = serde_json::from_slice(&bytes).map_err(unread)?;
        if !record.windows.iter().all(|kept| Taken::can_follow(&kept.taken)) {
            return Err(damaged("a record contradicts itself"));
        }
        Ok(Some(record))
    }

    /// Creates the record after `newest`. `None` if it is there now, and the record of another if that has the number.
    async fn create(&self, folder: &ObjectPath, number: u64, record: &Record) -> Result<Option<Record>> {
        let bytes = serde_json::to_vec(record).map_err(|e| Error::bug("take rate", "not JSON").with_source(e))?;
        match self.store.create(&folder.join(&file(number))?, Bytes::from(bytes)).await {
            Ok(Created::New) => Ok(None),
            Err(error) if error.kind() != ErrorKind::Ambiguous => Err(error),
            // Perhaps an earlier try of this very request: the nonce tells.
            answer => match self.read(folder, number).await? {
                Some(found) if found.nonce == record.nonce => Ok(None),
                Some(found) => Ok(Some(found)),
                None => Err(answer.err().unwrap_or_else(|| unreachable("record"))),
            },
        }
    }

    /// Deletes what nobody can go on from any more, the oldest first.
    async fn clean_up(&self, env: &Env, folder: &ObjectPath, newest: u64) -> Result<()> {
        let listed = self.store.list(folder).await?;
        let mut old: Vec<_> = listed
            .into_iter()
            .filter(|object| env.now().saturating_since(object.modified) > KEPT)
            .filter_map(|object| Some((number(&object.path)?, object.path)))
            .filter(|(number, _)| *number < newest)
            .collect();
        old.sort();
        for (_, path) in old {
            self.store.delete(&path).await?;
        }
        Ok(())
    }
}

impl Record {
    /// The windows of `rates` as they are at this record.
    fn windows(&self, rates: &[Rate]) -> Vec<Window> {
        let window = |rate: &Rate| {
            let kept = self.windows.iter().find(|kept| (kept.per, kept.kind) == (rate.per, rate.kind));
            Window::with(*rate, kept.map(|kept| kept.taken.clone()).unwrap_or_default(), ENTRIES)
        };
        rates.iter().map(window).collect()
    }
}

#[async_trait]
impl SharedRates for StoreRates {
    async fn take(&self, env: &Env, name: &str, rates: &[Rate], weight: u32) -> Result<Grant> {
        let weight = u64::from(weight);
        if self.take_leased(env, name, weight) {
            return Ok(Grant::Taken);
        }
        let folder = self.folder(name)?;
        let wanted = self.batch(name, rates, weight);
        let mut newest = self.newest(env, name, &folder).await?;
        for _ in 0..TRIES {
            let mut now = Moment::shared(env);
            // Where clocks differ, the one that is ahead counts; one that is far ahead would stop all others.
            if newest.record.at.saturating_sub(now.at) > KEPT {
                return Err(Error::config(
                    "take rate",
                    "a record is of the future: the clock of this process is behind, or that of another one was ahead",
                )
                .with("object", folder.join(&file(newest.number))?)
                .with("seconds", newest.record.at.saturating_sub(now.at).as_secs())
                .with_hint("set the clocks; if the record is wrong, delete the folder while nobody takes"));
            }
            now.at = now.at.max(newest.record.at);
            let (mono, utc) = (env.monotonic(), now.utc);
            let mut windows = newest.record.windows(rates);
            let mut wait = |total| windows.iter_mut().map(|window| window.wait(now, total)).max().unwrap_or_default();
            let one = wait(weight);
            if !one.is_zero() {
                self.remember(name, &newest);
                return Ok(Grant::Wait(one));
            }
            // A batch only where there is room for it now: the last calls of a window are anybody's.
            let batch = if wait(wanted).is_zero() { wanted } else { weight };
            let lasts = windows.iter_mut().map(|window| window.longest_lease(now)).min().unwrap_or_default();
            let lasts = if batch > weight { lasts } else { Duration::ZERO };
            windows.iter_mut().for_each(|window| window.lease(now, lasts, batch));
            let kept = |window: &Window| Kept {
                per: window.rate().per,
                kind: window.rate().kind,
                taken: window.taken().clone(),
            };
            let record = Record {
                format: FORMAT.to_owned(),
                nonce: env.nonce(),
                at: now.at,
                windows: windows.iter().map(kept).collect(),
            };
            let (number, began) = (newest.number + 1, newest.seen_at);
            let seen_at = env.monotonic();
            let other = self.create(&folder, number, &record).await?;
            let is_mine = other.is_none();
            newest = Known { number, record: other.unwrap_or(record), seen_at };
            if env.monotonic().saturating_sub(began) > PAUSED {
                // What came after `began` may be deleted by now, and the number free again without being the next.
                newest = self.newest(env, name, &folder).await?;
                continue;
            }
            self.remember(name, &newest);
            if is_mine {
                let (until, until_utc) = (mono.saturating_add(lasts), utc.saturating_add(lasts));
                let lease = Lease { size: batch, left: batch - weight, until, until_utc };
                self.leases.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), lease);
                if number % CLEANED_EACH == 0 {
                    if let Err(error) = self.clean_up(env, &folder, number).await {
                        tracing::debug!(%error, "old records of rates stay for now");
                    }
                }
                return Ok(Grant::Taken);
            }
        }
        Err(unreachable(name))
    }
}

fn unreachable(name: &str) -> Error {
    Error::unavailable("take rate", "others were faster each time").with("name", name)
}

fn file(number: u64) -> String {
    format!("{number:020}")
}

fn number(path: &ObjectPath) -> Option<u64> {
    path.to_string().rsplit('/').next()?.parse().ok()
}

const FORMAT: &str = "landfall-rates/1";
/// Parts of a window that are told apart in a record.
const ENTRIES: u32 = 100;
/// How long the newest record that was seen is gone on from.
const FRESH: Duration = Duration::from_secs(30);
/// A take that lasts longer than this from what it goes on from counts for nothing.
const PAUSED: Duration = Duration::from_secs(60);
/// How long records are kept: far longer than a take lasts, and than the clocks of machines differ.
const KEPT: Duration = Duration::from_secs(3_600);
/// A batch is this part of the strictest rate at most.
const SHARE: u64 = 10;
const CLEANED_EACH: u64 = 64;
const TRIES: u32 = 100;
/// Bytes that a record may have: 100 for each part of a window, and so for more than a thousand rates under one name.
const MOST_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use crate::testkit::test_env;

    fn memory(env: &Env) -> Store {
        Store::new(MemoryStore::new(env))
    }

    const FROZEN: &[u8] = include_bytes!("../../../tests/fixtures/rates-1.json");

    #[test]
    fn the_format_is_frozen() {
        let record: Record = serde_json::from_slice(FROZEN).expect("it can be read");
        let minute = Rate::new(10, Duration::from_secs(60));
        let mut window = Window::with(minute, VecDeque::new(), ENTRIES);
        let at = Duration::from_secs(1_704_067_200);
        window.take(Moment { at, utc: at }, 3);
        assert_eq!(record.windows(&[minute])[0].taken(), window.taken());
        assert_eq!(serde_json::to_vec(&record).expect("JSON"), FROZEN.trim_ascii_end());
    }

    #[tokio::test]
    async fn a_newer_record_asks_for_a_newer_version_and_a_damaged_one_is_damage() {
        let env = test_env(1);
        let newer = br#"{"format":"landfall-rates/2","more":[]}"#;
        let odd = String::from_utf8_lossy(FROZEN).replacen("1704067260000000", "1704067260000001", 1);
        let huge = String::from_utf8_lossy(FROZEN).replace("\"weight\":3", "\"weight\":18446744073709551615");
        let mut long = FROZEN.to_vec();
        long.resize(MOST_BYTES as usize + 1, b' ');
        let cases = [
            (&long[..], ErrorKind::Corrupt),
            (&newer[..], ErrorKind::Config),
            (&FROZEN[..80], ErrorKind::Corrupt),
            (&b"{}"[..], ErrorKind::Corrupt),
            (odd.as_bytes(), ErrorKind::Corrupt),
            (huge.as_bytes(), ErrorKind::Corrupt),
        ];
        for (bytes, kind) in cases {
            let store = memory(&env);
            let name = ObjectPath::parse(&format!("rates/a/{}", file(1))).expect("a name");
            store.put(&name, Bytes::copy_from_slice(bytes)).await.expect("puts");
            let rates = StoreRates::in_store(&store, "rates").expect("a name");
            let error = rates.take(&env, "a", &[Rate::new(1, KEPT)], 1).await.expect_err("not understood");
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(name.as_str()), "{error}");
        }
    }

    /// How many records there are.
    async fn records(store: &Store) -> usize {
        store.list(&ObjectPath::parse("rates").expect("a name")).await.expect("listed").len()
    }

    #[tokio::test]
    async fn who_takes_often_takes_in_batches_and_all_stay_within_the_rates() {
        let env = test_env(1);
        let store = memory(&env);
        let rates = [Rate::new(1_000, Duration::from_secs(60)), Rate::new(200, Duration::from_secs(10))];
        let instances = [(); 3].map(|()| StoreRates::in_store(&store, "rates").expect("a name"));
        let mut made: Vec<Duration> = Vec::new();
        while made.len() < 3_000 {
            // One is quicker than the others.
            let who = if made.len() % 7 == 0 { made.len() % 3 } else { 0 };
            match instances[who].take(&env, "a", &rates, 1).await.expect("reached") {
                Grant::Taken => made.push(env.monotonic()),
                Grant::Wait(wait) => env.sleep(wait).await,
            }
            env.sleep(Duration::from_millis(if made.len() % 500 == 0 { 700 } else { 3 })).await;
        }
        for rate in rates {
            for (n, began) in made.iter().enumerate() {
                let within = made[n..].iter().take_while(|at| **at < *began + rate.per).count();
                assert!(within <= rate.limit as usize, "{within} of {rate:?}");
            }
        }
        let (took, records) = (env.monotonic(), records(&store).await);
        // A minute gives 1,000, of which a twentieth may go to waste, and ends of batches.
        assert!(took <= Duration::from_secs(210), "{took:?}");
        assert!(records <= made.len() / 5, "{records} records for {} calls", made.len());
    }

    #[tokio::test]
    async fn a_process_that_dies_loses_a_batch_for_one_window_and_what_is_left_of_it_ends_in_time() {
        let env = test_env(1);
        let store = memory(&env);
        let minute = [Rate::new(100, Duration::from_secs(60))];
        let taken = async |instance: &StoreRates| {
            let mut taken = 0;
            while instance.take(&env, "a", &minute, 1).await.expect("reached") == Grant::Taken {
                taken += 1;
            }
            taken
        };
        let dies = StoreRates::in_store(&store, "rates").expect("a name");
        for _ in 0..30 {
            assert_eq!(dies.take(&env, "a", &minute, 1).await.expect("reached"), Grant::Taken);
        }
        let other = StoreRates::in_store(&store, "rates").expect("a name");
        let left = taken(&other).await;
        assert!((60..=70).contains(&left), "{left}");
        // What it held is not usable any more when it comes back, and is there again for all.
        env.sleep(Duration::from_secs(30)).await;
        assert!(matches!(dies.take(&env, "a", &minute, 1).await.expect("reached"), Grant::Wait(_)));
        env.sleep(Duration::from_secs(34)).await;
        let all = taken(&other).await + taken(&dies).await;
        assert!((90..=100).contains(&all), "{all}");
    }

    #[tokio::test]
    async fn a_clock_that_is_far_ahead_stops_nobody_without_a_word() {
        let (env, ahead) = (test_env(1), test_env(2));
        let store = memory(&env);
        let minute = [Rate::new(1, Duration::from_secs(60))];
        let take =
            async |env: &Env| StoreRates::in_store(&store, "rates").expect("a name").take(env, "a", &minute, 1).await;
        ahead.sleep(KEPT).await;
        assert_eq!(take(&ahead).await.expect("reached"), Grant::Taken);
        assert!(matches!(take(&env).await.expect("an hour may be"), Grant::Wait(_)));
        ahead.sleep(KEPT).await;
        assert_eq!(take(&ahead).await.expect("reached"), Grant::Taken);
        let error = take(&env).await.expect_err("two hours ahead");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("rates/a/"), "{error}");
    }

    #[tokio::test]
    async fn a_take_that_was_paused_takes_nothing_by_it() {
        let env = test_env(1);
        let store = memory(&env);
        let rates = StoreRates::in_store(&store, "rates").expect("a name");
        let minute = Duration::from_secs(60);
        let hour = [Rate::new(2, 60 * minute)];
        assert_eq!(rates.take(&env, "a", &hour, 1).await.expect("reached"), Grant::Taken);
        // What it knows is old: it looks again, and sees what another took meanwhile.
        let other = StoreRates::in_store(&store, "rates").expect("a name");
        assert_eq!(other.take(&env, "a", &hour, 1).await.expect("reached"), Grant::Taken);
        env.sleep(10 * minute).await;
        assert_eq!(rates.take(&env, "a", &hour, 1).await.expect("reached"), Grant::Wait(50 * minute));
    }

    #[tokio::test]
    async fn old_records_are_deleted_and_the_newest_stays() {
        let env = test_env(1);
        let store = memory(&env);
        let rates = StoreRates::in_store(&store, "rates").expect("a name");
        let often = [Rate::new(1, Duration::from_secs(120))];
        for _ in 0..200 {
            assert_eq!(rates.take(&env, "a b", &often, 1).await.expect("reached"), Grant::Taken);
            env.sleep(Duration::from_secs(120)).await;
        }
        let left = store.list(&ObjectPath::parse("rates").expect("a name")).await.expect("listed");
        assert!(left.len() < 110, "{}", left.len());
        let again = StoreRates::in_store(&store, "rates").expect("a name");
        assert_eq!(again.take(&env, "a b", &often, 1).await.expect("reached"), Grant::Taken);
        assert!(matches!(again.take(&env, "a b", &often, 1).await.expect("reached"), Grant::Wait(_)));
    }
}
