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
    BoundaryGoesBack,
    BoundaryOfRecords,
    NamesTheNextOne,
    NamesInAnyOrder,
    RemovesNothing,
    CreatesInParts,
    DeniesDoubt,
    PromisesWhatFailed,
}

#[derive(Debug, Default)]
struct Kept {
    records: BTreeMap<u64, Bytes>,
    boundary: u64,
    newest: u64,
}

#[derive(Debug)]
struct Broken {
    defect: Defect,
    chains: Arc<Mutex<BTreeMap<ChainId, Kept>>>,
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
        Arc::new(Self { defect, chains: Arc::clone(chains), faults: faults.clone() })
    }

    fn chains(&self) -> MutexGuard<'_, BTreeMap<ChainId, Kept>> {
        self.chains.lock().expect("no panic under the lock")
    }

    fn chain<T>(&self, chain: &ChainId, with: impl FnOnce(&mut Kept) -> T) -> T {
        let one = ChainId::named("one").expect("a name");
        let chain = if self.defect == Defect::OneChain { one } else { chain.clone() };
        with(self.chains().entry(chain).or_default())
    }

    fn has(&self, chain: &ChainId, number: u64) -> bool {
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
            _ => record,
        };
        if self.defect == Defect::CreatesInParts {
            self.chain(chain, |chain| chain.records.insert(number, kept.slice(..kept.len() / 2)));
            yield_now().await;
        }
        self.chain(chain, |chain| {
            chain.newest = number;
            chain.records.insert(number, kept);
        });
        Ok(Created::New)
    }
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
        let behind = self.defect == Defect::ReadsBehind;
        Ok(self.chain(chain, |kept| {
            // Seen by the one after.
            let unseen = behind && std::mem::take(&mut kept.newest) == number;
            kept.records.get(&number).filter(|_| !unseen).cloned()
        }))
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
        let of_records = self.defect == Defect::BoundaryOfRecords;
        Ok(self.chain(chain, |kept| if of_records && kept.records.is_empty() { 0 } else { kept.boundary }))
    }

    async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()> {
        let back = self.defect == Defect::BoundaryGoesBack;
        self.chain(chain, |kept| kept.boundary = if back { to } else { kept.boundary.max(to) });
        Ok(())
    }

    async fn remove(&self, chain: &ChainId, number: u64) -> Result<()> {
        if self.defect != Defect::RemovesNothing {
            self.chain(chain, |kept| kept.records.remove(&number));
        }
        Ok(())
    }

    fn objects(&self) -> Option<(Store, ObjectPath)> {
        None
    }
}

macro_rules! run {
    (doubt_is_told, $defect:expr) => {
        async {
            let chains = Arc::default();
            let reached = async |faults: &Faults| (Broken::reached_by($defect, &chains, faults), ());
            checkpoints::doubt_is_told(Broken::reached_by($defect, &chains, &Faults::none()), reached).await
        }
    };
    ($check:ident, $defect:expr) => {
        checkpoints::$check(Broken::with($defect))
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
    a_call_that_is_dropped_has_happened_or_not by CreatesInParts;
    doubt_is_told by DeniesDoubt, PromisesWhatFailed;
    a_new_owner_shuts_the_old_one_out by Replaces;
    the_probe_accepts_it by Replaces;
}
