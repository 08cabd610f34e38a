//! Where data goes: the contract of a sink, with two phases.
//!
//! ```
//! use landfall::model::Incarnation;
//! use landfall::sink::{CommitDecision, CommitOutcome, Mark, decide_commit};
//!
//! let mark = |epoch| Mark { incarnation: Incarnation("a".into()), generation: 1, epoch, digest: format!("of {epoch}") };
//!
//! // The rule of all sinks: an epoch is applied once, after the one before it, and never again.
//! assert_eq!(decide_commit(None, &mark(1), None), CommitDecision::Apply);
//! assert_eq!(decide_commit(Some(&mark(1)), &mark(2), Some(1)), CommitDecision::Apply);
//! let again = decide_commit(Some(&mark(2)), &mark(2), Some(1));
//! assert_eq!(again, CommitDecision::Answer(CommitOutcome::AlreadyCommitted));
//! ```

mod disposition;
mod from_fn;
mod memory;
mod promise;
mod quarantine;
mod tables;

pub use disposition::{Children, Disposition, InsertOnly, Replace, ReplacePartitions, Scd2, Upsert};
pub use from_fn::{FnSink, FnWriter, from_fn};
pub use memory::{MemorySink, MemoryStaged, MemoryTable, MemoryWriter};
pub use promise::{AtLeastOnce, ExactlyOnce, IdempotentApply, Promise, Transactional};
#[cfg(any(test, feature = "testkit"))]
pub(crate) use quarantine::fuzz;
pub use quarantine::{Quarantine, QuarantineRef, QuarantineWriter, QuarantinedRecord};
pub use tables::{TableSet, TableSetStaged, TableSetWriter, Tables};

use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::Result;
use crate::model::{EpochLedger, Incarnation, Item, Reject, ShardKey};
use crate::source::ComponentConfig;
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The highest epoch that a sink holds for a shard, kept as current state inside the destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The life of the chain that the epoch belongs to.
    pub incarnation: Incarnation,
    /// Generation of the owner that prepared the epoch (or of a newer owner that committed it).
    pub generation: u64,
    /// Number of the epoch's checkpoint.
    pub epoch: u64,
    /// SHA-256 of what was committed, in hexadecimal digits.
    pub digest: String,
}

/// What the sink is asked to make visible, in one atomic step with the mark.
#[derive(Clone, Debug)]
pub struct CommitRequest<S> {
    /// The shard that commits.
    pub shard: ShardKey,
    /// The mark to hold afterwards. Its generation is that of the owner that asks.
    pub mark: Mark,
    /// The epoch that must be the newest before, `None` for the first.
    pub previous: Option<u64>,
    /// The staged output.
    pub staged: S,
    /// The part that the epoch is of an enumeration, if the pipeline reads in [enumerations](Demand::Enumerations).
    pub enumeration: Option<Enumeration>,
    /// What the epoch accounts for, for a ledger of loads in the destination.
    pub load: LoadEntry,
}

impl<S> CommitRequest<S> {
    /// Asks for `staged` and `mark`, after epoch `previous`: of no enumeration, with nothing accounted for.
    pub fn new(shard: ShardKey, mark: Mark, previous: Option<u64>, staged: S) -> Self {
        Self { shard, mark, previous, staged, enumeration: None, load: LoadEntry::default() }
    }

    /// The same request for another form of what is staged.
    ///
    /// # Errors
    /// What `with` says.
    pub fn try_map<T>(self, with: impl FnOnce(S) -> Result<T>) -> Result<CommitRequest<T>> {
        let Self { shard, mark, previous, staged, enumeration, load } = self;
        Ok(CommitRequest { shard, mark, previous, staged: with(staged)?, enumeration, load })
    }
}

/// What a load is accounted for with: an epoch, as the ledger of loads in a destination tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadEntry {
    /// What became of its records at every hop.
    pub ledger: EpochLedger,
    /// Where its input ends, as JSON: the position in the landing, or the positions of the source.
    pub position: String,
}

/// The part that an epoch is of an enumeration: of one read of everything that the source has, from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enumeration {
    /// Its number: later ones have greater ones. An epoch holds rows of one enumeration only.
    pub number: u64,
    /// Whether it ends with this epoch: everything was read to a proven end, and nothing is known to be missing. Such an
    /// epoch has no rows.
    pub whole: bool,
    /// Records of it that went to the quarantine so far.
    #[serde(default)]
    pub quarantined: u64,
}

impl Enumeration {
    /// An enumeration that has begun.
    pub fn begun(number: u64) -> Self {
        Self { number, whole: false, quarantined: 0 }
    }
}

/// What a sink must be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Demand {
    /// What is new: each run goes on where the one before stood.
    #[default]
    Increments,
    /// Everything, from the beginning, in each run: an [`Enumeration`]. For sinks that put it in the place of what was there.
    Enumerations,
}

/// What came of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitOutcome {
    /// Committed now.
    Done,
    /// It was committed before; nothing changed.
    AlreadyCommitted,
    /// A newer owner has committed: the one that asks must stop.
    Fenced {
        /// The generation found.
        generation: u64,
    },
    /// The sink does not hold the epoch that must come before. Halt: state was lost or restored from a backup.
    Gap {
        /// What the sink holds.
        found: Option<Mark>,
    },
    /// The sink holds the same epoch with other content. Halt.
    Fork {
        /// What the sink holds.
        found: Mark,
    },
}

/// Who writes an epoch: known before its first record.
#[derive(Clone, Debug)]
pub struct EpochContext {
    /// The shard that writes.
    pub shard: ShardKey,
    /// The owner's generation; part of the name of staged files, so that a zombie never overwrites a newer owner's.
    pub generation: u64,
    /// The number that the epoch's checkpoint will have.
    pub epoch: u64,
    /// How often this owner has given up what it had staged and begun again. Part of the name of staged files too: what
    /// was given up may still be on its way, and must not get under the name of what is staged in its place.
    pub attempt: u32,
    /// The enumeration that its rows belong to, if the pipeline reads in [enumerations](Demand::Enumerations).
    pub enumeration: Option<Enumeration>,
    /// Whether it is committed in any case: [`finish`](Writer::finish) then gives what to commit also if nothing was written. So
    /// it is with an epoch that makes an [enumeration whole](Enumeration::whole), with those of tables that keep one mark, and with
    /// one that takes the place of an epoch that is abandoned (`Pipeline::abandon_refused`).
    pub must_commit: bool,
    /// Time, randomness, CPU.
    pub env: Env,
}

impl EpochContext {
    /// Epoch `epoch` of `shard`, written by the owner of generation `generation`: its first attempt, of no enumeration, and
    /// committed only if something is written.
    pub fn new(shard: ShardKey, generation: u64, epoch: u64, env: Env) -> Self {
        Self { shard, generation, epoch, attempt: 0, enumeration: None, must_commit: false, env }
    }
}

/// What a writer staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedOutput<S> {
    /// What `commit` needs: goes into the checkpoint, so small (names, sizes, hashes).
    pub staged: S,
    /// Records in it, counted by the sink itself.
    pub records: u64,
    /// Bytes in it.
    pub bytes: u64,
}

/// Where data goes. Output is staged invisibly first, then made visible in one atomic step.
///
/// # Guarantees (of an implementation)
/// 1. *Invisible*: nothing that a writer stages is seen by readers before `commit`, whatever happens.
/// 2. *Atomic*: `commit` shows all of an epoch together with its mark, or nothing.
/// 3. *Idempotent*: the same request again gives `AlreadyCommitted`, also much later, from another process, and after
///    the destination's history was compacted: the mark is current state.
/// 4. *Fenced*: a request of a lower generation than the mark's never changes anything.
/// 5. *No gap, no fork*: see [`decide_commit`], which every sink asks before it applies.
/// 6. *Honest doubt*: if the outcome is not known, `commit` fails with kind `Ambiguous`, and deletes nothing. The runtime
///    repeats the request, and the mark decides.
/// 7. *Durable*: what `finish` returned, and what `commit` answered, survives a power loss.
///
/// A sink that promises [`AtLeastOnce`] need not keep guarantees 1 to 5: it may show rows before they are committed, and again.
///
/// # Requires
/// At most one uncommitted epoch for a shard. Epoch numbers of a shard grow but may skip.
///
/// # Errors
/// `commit` is repeated after an error that is transient or `Ambiguous`: up to five times in all, with short pauses. Then,
/// and after any other error, the run ends; the next one repeats the commit before anything else. No other method is
/// repeated: an implementation retries transient faults itself, within a budget of its own.
///
/// # Cancellation
/// Every method may be dropped at any await; the call may then have happened or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the sink here",
    label = "it does not implement `Sink`",
    note = "implement `landfall::sink::Sink` for it, or use a built-in sink such as `ParquetDataset` or `MemorySink`"
)]
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// What it takes.
    type Item: Item;
    /// What names the staged output; goes into the checkpoint.
    type Staged: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    /// What it can promise.
    type Promise: Promise;
    /// Stages one epoch.
    type Writer: Writer<Item = Self::Item, Staged = Self::Staged>;

    /// What it is configured to do. Checks everything that needs no I/O: `build()` asks, so that what is wrong is known
    /// before anything runs.
    ///
    /// # Errors
    /// `Config`, saying what is wrong and what to do.
    fn config(&self) -> Result<ComponentConfig>;

    /// What it must be given. With [`Demand::Enumerations`], nothing that is there may be taken away before the commit
    /// whose [`Enumeration::whole`] is set, and nothing for an enumeration that never becomes whole.
    fn demand(&self) -> Demand;

    /// Starts to stage an epoch. Of one that makes an [enumeration whole](Enumeration::whole), all epochs before are committed.
    async fn open(&self, epoch: EpochContext) -> Result<Self::Writer>;

    /// Makes a staged epoch visible.
    async fn commit(&self, env: &Env, request: CommitRequest<Self::Staged>) -> Result<CommitOutcome>;

    /// The mark that the destination holds for a shard. One that cannot be read is an error, and not `None`.
    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>>;

    /// Deletes staged output of `shard` that no epoch will ever commit: of generations below `below_generation` and
    /// not named in `keep`. Called only after the boundary has been advanced. Returns how many objects were deleted.
    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[Self::Staged]) -> Result<u64>;
}

/// Stages one epoch.
///
/// # Errors
/// Nothing is repeated: an error stops the shard before its epoch has a checkpoint. What was staged stays invisible, and the
/// next run stages the epoch again. An implementation retries transient faults itself.
///
/// # Cancellation
/// May be dropped at any time: what it staged stays invisible, and is collected later.
#[async_trait]
pub trait Writer: Send + 'static {
    /// What it takes.
    type Item: Item;
    /// What names the staged output.
    type Staged: Send;

    /// Stages an item. Waits while the destination is slower than the source. Gives the records of it that the destination
    /// cannot hold: they are not staged, and go to the quarantine.
    async fn write(&mut self, item: Self::Item) -> Result<Vec<Reject>>;

    /// Bytes staged so far, for cutting epochs; an estimate is enough.
    fn staged_bytes(&self) -> u64;

    /// Makes the staged output durable. `None` if nothing was written; never if the epoch
    /// [must be committed](EpochContext::must_commit).
    async fn finish(self) -> Result<Option<StagedOutput<Self::Staged>>>;
}

/// What a sink must do with a commit request, given the mark that it holds: the rule of all sinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitDecision {
    /// Apply the data and set the mark, in one atomic step that fails if the mark changed meanwhile.
    Apply,
    /// Answer this; change nothing.
    Answer(CommitOutcome),
}

/// Decides what a sink must do with `wanted`, which must follow epoch `previous`, given the mark that it `held`.
///
/// A pure function: the same code decides in every sink, in simulation and in a model checker.
pub fn decide_commit(held: Option<&Mark>, wanted: &Mark, previous: Option<u64>) -> CommitDecision {
    use CommitDecision::{Answer, Apply};
    let Some(held) = held.filter(|_| !on(Defect::CommitsAgain)) else {
        return if previous.is_none() || on(Defect::CommitsAgain) {
            Apply
        } else {
            Answer(CommitOutcome::Gap { found: None })
        };
    };
    if held.incarnation != wanted.incarnation {
        // Another life of the pipeline wrote here: its epochs are not comparable with ours.
        return Answer(CommitOutcome::Fork { found: held.clone() });
    }
    if held.epoch == wanted.epoch {
        return Answer(if held.digest == wanted.digest || on(Defect::ForksAreAccepted) {
            CommitOutcome::AlreadyCommitted
        } else {
            CommitOutcome::Fork { found: held.clone() }
        });
    }
    if held.generation > wanted.generation && !on(Defect::OlderOwnersCommit) {
        return Answer(CommitOutcome::Fenced { generation: held.generation });
    }
    if held.epoch > wanted.epoch {
        return Answer(CommitOutcome::AlreadyCommitted);
    }
    if previous == Some(held.epoch) || on(Defect::GapsAreCommitted) {
        Apply
    } else {
        Answer(CommitOutcome::Gap { found: Some(held.clone()) })
    }
}

/// How the mark that a destination holds fits the newest checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkFit {
    /// The newest epoch is committed, or it can be.
    Fits,
    /// The mark is of another life of the chain, or of one that is gone.
    OtherLife,
    /// The mark is of an epoch that the chain does not have.
    Ahead,
    /// An epoch that was committed is not there.
    Behind,
}

/// Rule 8: whether the destination holds what the chain says, no more and no less. `newest` is the newest checkpoint with the life
/// of its chain, `fitting` the epochs of which the destination may hold one, or none.
pub(crate) fn mark_fit(held: Option<&Mark>, newest: Option<(&Incarnation, u64)>, fitting: &[Option<u64>]) -> MarkFit {
    let epoch = held.map(|mark| mark.epoch);
    match (held, newest) {
        (None, None) => MarkFit::Fits,
        (Some(_), None) => MarkFit::OtherLife,
        (Some(mark), Some((incarnation, _))) if mark.incarnation != *incarnation => MarkFit::OtherLife,
        (_, Some((_, number))) if epoch > Some(number) => MarkFit::Ahead,
        (_, Some(_)) if fitting.contains(&epoch) => MarkFit::Fits,
        (_, Some(_)) => MarkFit::Behind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(generation: u64, epoch: u64, digest: &str) -> Mark {
        Mark { incarnation: Incarnation("a".into()), generation, epoch, digest: digest.into() }
    }

    #[test]
    fn decides_by_the_mark_alone() {
        use CommitDecision::{Answer, Apply};
        let held = mark(2, 5, "x");
        let cases = [
            (None, mark(1, 3, "y"), None, Apply),
            (None, mark(1, 3, "y"), Some(2), Answer(CommitOutcome::Gap { found: None })),
            (Some(&held), mark(2, 7, "y"), Some(5), Apply),
            (Some(&held), mark(3, 7, "y"), Some(5), Apply),
            (Some(&held), mark(2, 7, "y"), Some(4), Answer(CommitOutcome::Gap { found: Some(held.clone()) })),
            (Some(&held), mark(2, 7, "y"), None, Answer(CommitOutcome::Gap { found: Some(held.clone()) })),
            (Some(&held), mark(1, 7, "y"), Some(5), Answer(CommitOutcome::Fenced { generation: 2 })),
            (Some(&held), mark(1, 5, "x"), Some(4), Answer(CommitOutcome::AlreadyCommitted)),
            (Some(&held), mark(3, 5, "x"), Some(4), Answer(CommitOutcome::AlreadyCommitted)),
            (Some(&held), mark(2, 5, "y"), Some(4), Answer(CommitOutcome::Fork { found: held.clone() })),
            (Some(&held), mark(2, 4, "y"), Some(3), Answer(CommitOutcome::AlreadyCommitted)),
        ];
        for (held, wanted, previous, expected) in cases {
            assert_eq!(decide_commit(held, &wanted, previous), expected, "{wanted:?} after {previous:?}");
        }
        let other = Mark { incarnation: Incarnation("b".into()), ..mark(9, 9, "x") };
        assert!(matches!(decide_commit(Some(&held), &other, Some(5)), Answer(CommitOutcome::Fork { .. })));
    }

    #[test]
    fn the_mark_is_what_the_chain_says() {
        let (held, life, other) = (mark(2, 5, "x"), Incarnation("a".into()), Incarnation("b".into()));
        for (held, newest, fitting, expected) in [
            (None, None, [None, None], MarkFit::Fits),
            (None, Some((&life, 5)), [Some(5), None], MarkFit::Fits),
            (None, Some((&life, 5)), [Some(5), Some(3)], MarkFit::Behind),
            (Some(&held), None, [None, None], MarkFit::OtherLife),
            (Some(&held), Some((&other, 5)), [Some(5), None], MarkFit::OtherLife),
            (Some(&held), Some((&life, 4)), [Some(4), Some(5)], MarkFit::Ahead),
            (Some(&held), Some((&life, 5)), [Some(5), None], MarkFit::Fits),
            (Some(&held), Some((&life, 7)), [Some(7), Some(5)], MarkFit::Fits),
            (Some(&held), Some((&life, 7)), [Some(7), Some(6)], MarkFit::Behind),
        ] {
            assert_eq!(mark_fit(held, newest, &fitting), expected, "{held:?} {newest:?} {fitting:?}");
        }
    }
}
