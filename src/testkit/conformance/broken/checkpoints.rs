use super::denied;
use crate::checkpoint::{ChainId, CheckpointStore};
use crate::error::Result;
use crate::store::{Created, ObjectPath, Store};
use crate::testkit::Faults;
use crate::testkit::conformance::checkpoints;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::task::yield_now;

/// What a checkpoint store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    LooksThenCreates,
    Replaces,
    OneChain,
    ReadsBehind,
    KeepsText,
    KeepsThirtyTwoMebibytes,
    JoinsPartsByName,
    BoundaryGoesBack,
    BoundaryOfRecords,
    NamesTheNextOne,
    NamesInAnyOrder,
    RemovesNothing,
    CreatesInParts,
    KnowsItsOwnRecords,
    RemembersWhatWasThere,
    RemembersWhatWasNotThere,
    RemembersTheBoundary,
    AdvancesItsOwnBoundary,
    DeniesDoubt,
    PromisesWhatFailed,
    TakesAFailureForNothing,
    TakesAFailureForZero,
    AdvancesUnheard,
    RemovesUnheard,
}

#[derive(Debug, Default)]
struct Kept {
    records: BTreeMap<u64, Bytes>,
    boundary: u64,
    newest: u64,
}

/// What one process has seen last, or done itself.
#[derive(Debug, Default)]
struct Seen {
    records: BTreeMap<(ChainId, u64), Option<Bytes>>,
    boundaries: BTreeMap<ChainId, u64>,
}

#[derive(Debug)]
struct Broken {
    defect: Defect,
    chains: Arc<Mutex<BTreeMap<ChainId, Kept>>>,
    seen: Mutex<Seen>,
    faults: Faults,
}

impl Broken {
    fn with(defect: Defect) -> Arc<dyn CheckpointStore> {
        Self::reached_by(defect, &Arc::default(), &Faults::none())
    }

    /// Those of `chains` as a process reaches them.
    fn reached_by(
        defect: Defect,
        chains: &Arc<Mutex<BTreeMap<ChainId, Kept>>>,
        faults: &Faults,
    ) -> Arc<dyn CheckpointStore> {
        Arc::new(Self { defect, chains: Arc::clone(chains), seen: Mutex::default(), faults: faults.clone() })
    }

    fn chains(&self) -> MutexGuard<'_, BTreeMap<ChainId, Kept>> {
        self.chains.lock().expect("no panic under the lock")
    }

    fn chain<T>(&self, chain: &ChainId, with: impl FnOnce(&mut Kept) -> T) -> T {
        let one = ChainId::named("one").expect("a name");
        let chain = if self.defect == Defect::OneChain { one } else { chain.clone() };
        with(self.chains().entry(chain).or_default())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic under the lock")
    }

    fn has(&self, chain: &ChainId, number: u64) -> bool {
        if self.defect == Defect::KnowsItsOwnRecords {
            return self.seen().records.get(&(chain.clone(), number)).is_some_and(Option::is_some);
        }
        self.chain(chain, |kept| kept.records.contains_key(&number))
    }

    async fn write(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
        if self.defect == Defect::LooksThenCreates {
            if self.has(chain, number) {
                return Ok(Created::Exists);
            }
            yield_now().await;
        } else if self.has(chain, number) && self.defect != Defect::Replaces {
            return Ok(Created::Exists);
        }
        let kept = match self.defect {
            Defect::KeepsText => String::from_utf8_lossy(&record).into_owned().into(),
            Defect::KeepsThirtyTwoMebibytes => record.slice(..record.len().min(32 << 20)),
            Defect::JoinsPartsByName => joined_by_name(&record),
            _ => record,
        };
        if self.defect == Defect::CreatesInParts {
            self.chain(chain, |chain| chain.records.insert(number, kept.slice(..kept.len() / 2)));
            yield_now().await;
        }
        self.seen().records.insert((chain.clone(), number), Some(kept.clone()));
        self.chain(chain, |chain| {
            chain.newest = number;
            chain.records.insert(number, kept);
        });
        Ok(Created::New)
    }

    fn look(&self, chain: &ChainId, number: u64) -> Option<Bytes> {
        let behind = self.defect == Defect::ReadsBehind;
        let now = self.chain(chain, |kept| {
            // Seen by the one after.
            let unseen = behind && std::mem::take(&mut kept.newest) == number;
            kept.records.get(&number).filter(|_| !unseen).cloned()
        });
        let before = self.seen().records.insert((chain.clone(), number), now.clone());
        match (self.defect, before) {
            (Defect::RemembersWhatWasThere, Some(Some(before))) => Some(before),
            (Defect::RemembersWhatWasNotThere, Some(None)) => None,
            _ => now,
        }
    }

    fn look_at_boundary(&self, chain: &ChainId) -> u64 {
        let of_records = self.defect == Defect::BoundaryOfRecords;
        let now = self.chain(chain, |kept| if of_records && kept.records.is_empty() { 0 } else { kept.boundary });
        let before = self.seen().boundaries.insert(chain.clone(), now);
        before.filter(|_| self.defect == Defect::RemembersTheBoundary).unwrap_or(now)
    }

    fn advance(&self, chain: &ChainId, to: u64) {
        let own = self.seen().boundaries.get(chain).copied().unwrap_or_default();
        let boundary = self.chain(chain, |kept| {
            kept.boundary = match self.defect {
                Defect::BoundaryGoesBack => to,
                Defect::AdvancesItsOwnBoundary => own.max(to),
                _ => kept.boundary.max(to),
            };
            kept.boundary
        });
        self.seen().boundaries.insert(chain.clone(), boundary);
    }

    fn take_away(&self, chain: &ChainId, number: u64) {
        if self.defect != Defect::RemovesNothing {
            self.chain(chain, |kept| kept.records.remove(&number));
            self.seen().records.insert((chain.clone(), number), None);
        }
    }
}

/// A record that was kept in parts of 1 MiB, joined in the order of their names.
fn joined_by_name(record: &Bytes) -> Bytes {
    let parts = record.chunks(1 << 20).enumerate().map(|(number, part)| (number.to_string(), part));
    parts.collect::<BTreeMap<_, _>>().into_values().collect::<Vec<_>>().concat().into()
}

#[async_trait]
impl CheckpointStore for Broken {
    async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
        let answer = self.faults.point("create record", number, self.write(chain, number, record)).await;
        match self.defect {
            Defect::DeniesDoubt => denied(answer),
            Defect::PromisesWhatFailed => answer.or(Ok(Created::New)),
            _ => answer,
        }
    }

    async fn read(&self, chain: &ChainId, number: u64) -> Result<Option<Bytes>> {
        let answer = self.faults.read_point("read record", number, async { Ok(self.look(chain, number)) }).await;
        if self.defect == Defect::TakesAFailureForNothing { answer.or(Ok(None)) } else { answer }
    }

    async fn numbers(&self, chain: &ChainId) -> Result<Vec<u64>> {
        let mut numbers: Vec<u64> = self.chain(chain, |kept| kept.records.keys().copied().collect());
        match self.defect {
            Defect::NamesTheNextOne => numbers.extend(numbers.last().map(|last| last + 1)),
            Defect::NamesInAnyOrder => numbers.reverse(),
            _ => {}
        }
        Ok(numbers)
    }

    async fn boundary(&self, chain: &ChainId) -> Result<u64> {
        let answer = self.faults.read_point("read boundary", chain, async { Ok(self.look_at_boundary(chain)) }).await;
        if self.defect == Defect::TakesAFailureForZero { answer.or(Ok(0)) } else { answer }
    }

    async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()> {
        let advance = async {
            self.advance(chain, to);
            Ok(())
        };
        let answer = self.faults.point("advance boundary", to, advance).await;
        if self.defect == Defect::AdvancesUnheard { Ok(()) } else { answer }
    }

    async fn remove(&self, chain: &ChainId, number: u64) -> Result<()> {
        let take_away = async {
            self.take_away(chain, number);
            Ok(())
        };
        let answer = self.faults.point("remove record", number, take_away).await;
        if self.defect == Defect::RemovesUnheard { Ok(()) } else { answer }
    }

    fn objects(&self) -> Option<(Store, ObjectPath)> {
        None
    }
}

macro_rules! run {
    ($check:ident, $defect:expr) => {
        checkpoints::$check(Broken::with($defect))
    };
}

/// A check of several processes, or of one that fails.
macro_rules! run_reached {
    ($check:ident, $defect:expr) => {
        async {
            let chains = Arc::default();
            let reached = async |faults: &Faults| (Broken::reached_by($defect, &chains, faults), ());
            checkpoints::$check(Broken::reached_by($defect, &chains, &Faults::none()), reached).await
        }
    };
}

caught! { run:
    g1_one_of_sixteen_concurrent_creates_wins by LooksThenCreates, Replaces;
    g1_a_record_is_never_replaced by Replaces;
    g1_chains_do_not_touch_each_other by OneChain;
    g3_a_completed_write_is_seen by ReadsBehind;
    g3_every_byte_comes_back by KeepsText;
    g4_the_boundary_never_goes_back by BoundaryGoesBack;
    g4_the_boundary_outlives_the_records by BoundaryOfRecords;
    g5_numbers_name_what_there_is_in_ascending_order by NamesTheNextOne, NamesInAnyOrder;
    what_is_removed_is_gone_and_may_be_removed_again by RemovesNothing;
    the_largest_record_comes_back by KeepsThirtyTwoMebibytes, JoinsPartsByName;
    a_call_that_is_dropped_has_happened_or_not by CreatesInParts;
    a_new_owner_shuts_the_old_one_out by Replaces;
    the_probe_accepts_it by Replaces;
}

caught! { run_reached:
    g1_a_record_of_another_process_is_never_replaced by KnowsItsOwnRecords;
    g3_what_another_process_has_done_is_seen by RemembersWhatWasThere, RemembersWhatWasNotThere;
    g4_the_boundary_of_another_process_is_seen_and_never_goes_back by RemembersTheBoundary, AdvancesItsOwnBoundary;
    doubt_is_told by DeniesDoubt, PromisesWhatFailed;
    a_failure_is_no_answer by TakesAFailureForNothing, TakesAFailureForZero, AdvancesUnheard, RemovesUnheard;
}
