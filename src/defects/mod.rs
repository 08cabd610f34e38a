//! Defects that a test switches on: bugs that this field has had, each at the decision where it would occur here. A scenario
//! that passes with its defect as without proves nothing; `tests/defects` runs each of them both ways.
//!
//! The line at a decision says what is left out: `if limit > before && !on(Defect::DeletesBeforeBoundary)`. Without the feature
//! `testkit` each is `false` when it is compiled, and nothing of it is left.

#![allow(unreachable_pub, reason = "it is public through `testkit`")]

#[cfg(not(any(test, feature = "testkit")))]
mod off;
#[cfg(any(test, feature = "testkit"))]
mod switch;

#[cfg(not(any(test, feature = "testkit")))]
pub(crate) use off::{carried, on};
#[cfg(any(test, feature = "testkit"))]
pub use switch::SwitchedOn;
#[cfg(any(test, feature = "testkit"))]
pub(crate) use switch::{carried, on};

macro_rules! defects {
    ($($(#[$origin:meta])+ $name:ident,)+) => {
        /// A bug, and where it was: `project #number`, or the kind of system that has it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(not(any(test, feature = "testkit")), allow(dead_code, reason = "each feature has its own"))]
        pub enum Defect {
            $($(#[$origin])+ $name,)+
        }

        #[cfg(any(test, feature = "testkit"))]
        impl Defect {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

defects! {
    // The chain.
    /// An owner takes a chain over without a fence: who owned it before goes on beside it. Ownership by a lease or an election alone.
    OwnersWriteNoFence,
    /// A writer that slept through a take-over and a collection goes on: collection deleted the record that fenced it. SlateDB #352,
    /// #1622.
    FencesAreCollected,
    /// A new owner's fence lies at or below the boundary, where nobody looks for it. SlateDB #1682.
    FenceBelowBoundary,
    /// Records are deleted before the boundary that says so is durable. Vector #25570.
    DeletesBeforeBoundary,
    /// What a collection that died has left is not looked for again, and nothing frees it. Quickwit #4535.
    LeftoversStay,
    /// A record that comes late into a place that was collected is taken for damage, and needs a hand. Vector #16231, #17644, #18336,
    /// #19155.
    LeftoversAreDamage,
    /// Collection takes the newest data record, which may not be committed yet. RisingWave #21358, #25935.
    UncommittedIsCollected,
    /// "There is one already" is taken for an own earlier try, and not read back. arrow-rs-object-store #852.
    ExistsIsTakenForOwn,
    /// "There is one already" is taken for another's, and not read back: it is the own one, or nothing was stored.
    /// arrow-rs-object-store #852.
    ExistsIsTakenForLost,
    /// A write whose answer was lost is taken for one that failed. delta-rs #268, #2279.
    LostAnswerIsFailure,
    /// A writer appends after a newer owner's record: an election that is asked before, and not in the data path. iceberg #17551.
    NewerOwnerIsSteppedOver,
    /// A record that is missing in the middle is not looked for. Quickwit ingest: gaps are only warned of.
    HolesAreSteppedOver,
    /// A flipped bit is not noticed. nats-server #7549, #7556.
    ChecksumIsNotVerified,
    /// A newer format is read as if it were known.
    NewerFormatIsRead,
    /// A store that ignores the condition of a write is not refused. Many servers that speak S3.
    ConditionsAreNotProbed,
    // Epochs.
    /// The destination commits before the checkpoint exists: data in one step, state in another. dlt #4052.
    CommitsBeforeCheckpoint,
    /// An epoch that was prepared is dropped by who takes over. Flink's `signalFailedWithKnownReason`.
    PreparedEpochIsDropped,
    /// The next epoch is prepared while it is not known whether the one before is committed. Redpanda Connect #4477.
    TwoEpochsAreOpen,
    /// What was staged is cleaned up after a commit whose outcome is not known. iceberg #2317, #6778; ClickHouse #115580; duckdb-iceberg
    /// #1120.
    CleansUpInDoubt,
    /// A checkpoint has a position ahead of what was staged. SlateDB #1625, Redpanda Connect #4009.
    PositionIsAhead,
    /// What a stage has learned is kept in memory only when the checkpoint is written. Flink #28268.
    StateIsNotSaved,
    /// What a stage has learned from what is given up stays, and what is given again is dropped as repeated. nats-server #2921.
    RetriesAreRepeats,
    /// Part of a response that is not known to be whole is committed.
    PartsAreCommitted,
    /// The mark of the destination is not compared with the chain when a pipeline starts: a restored backup is skipped over in
    /// silence. iceberg #10892.
    MarkIsNotCompared,
    /// A change of the key, of the partitioning or of the source is taken up as if nothing had been.
    IdentityIsNotCompared,
    /// What a checkpoint says of the configuration is what the pipeline began with. State that does not say under which settings it was
    /// written, as a cursor file alone.
    ChangedSettingsAreForgotten,
    /// A stop waits for who never answers. Vector #24949.
    StopHasNoDeadline,
    /// What was read and fills no epoch is kept when a run stops. Vector #19600.
    TailIsKept,
    /// Records that no hop accounts for do not stop an epoch. Vector #12217: dropped is delivered.
    LedgerIsNotChecked,
    /// A destination that says that it lacks an epoch, or holds another one, is taken for one that has it. iceberg #10892.
    HaltsAreIgnored,
    /// A quarantine that cannot be written does not stop its epoch. Dead-letter queues of best effort.
    QuarantineMayFail,
    // Sinks.
    /// A table of a set that fails is left behind, and the others go on. Loaders with a job for each table.
    TablesAreLeftBehind,
    /// An epoch that is committed is committed again: a restart registers its files twice. iceberg #17340, materialize #38333, Redpanda
    /// Connect #4591.
    CommitsAgain,
    /// A recovery that finds an epoch committed takes that for an error, and never gets past it. Arroyo #1027.
    AlreadyDoneIsAnError,
    /// An owner of a lower generation commits. KAFKA-15059, iceberg #17551.
    OlderOwnersCommit,
    /// An epoch is committed without the one before it. iceberg #10892.
    GapsAreCommitted,
    /// The same epoch with other content is taken for the one that is there. delta #1410.
    ForksAreAccepted,
    /// A commit overwrites that of another writer: its lock and its truth are two objects. delta #1410.
    CommitsOverwrite,
    /// The mark goes with the history that it was derived from. iceberg #4137, #5846.
    MarkExpires,
    /// Staged files of two owners have one name. Estuary connectors #3872.
    OwnersShareNames,
    /// Files that are staged and not committed are cleaned up by age. RisingWave #21358.
    StagedIsVacuumed,
    /// What lies below a table where none of its files can be is deleted as an orphan. nats-server #4410, #5382, #6888, #7556.
    ForeignFilesAreVacuumed,
    /// A staged file that is gone is registered all the same. RisingWave #21358.
    StagedIsNotLookedFor,
    // Databases.
    /// The mark is set in another transaction than the one that changes the rows. dlt #4052: state in a table of its own.
    MarkIsApart,
    /// A `COMMIT` whose answer was lost is taken for one that failed, and the rows are applied again. delta-rs #2279.
    LostCommitIsFailure,
    /// A `COMMIT` whose answer was lost is taken for one that succeeded.
    LostCommitIsSuccess,
    /// Two owners read the mark at once, and both find that nothing is committed yet. iceberg #17551.
    MarkIsNotLocked,
    /// Two shards change the children of one parent at once, and each misses those of the other.
    ChildrenAreNotLocked,
    // Local disks.
    /// A sync that failed is taken for one that succeeded: what the system has dropped is relied upon. PostgreSQL, "fsyncgate".
    FailedSyncIsIgnored,
    // Landing and quarantine.
    /// Positions become durable before the pages that they stand behind. Vector and NATS #7564: an acknowledgement before the sync.
    PositionBeforePages,
    /// Retention follows the fastest load, not the slowest. iceberg #17551: offsets out of retention.
    RetentionForgetsTheSlow,
    /// Rejected records become visible in a step of their own, before their epoch has a checkpoint. kafka-delta-ingest.
    QuarantineIsApart,
    /// Rejected records go nowhere. kafka-delta-ingest: the default is no dead-letter queue.
    RejectsVanish,
    /// A read that failed makes an enumeration whole: what was there is replaced by a part. dlt, ingestr: tables wiped by a failed
    /// replace.
    FailedReadIsWhole,
    /// A parent moves on while its children are still read, or though they failed. Loaders with one cursor for parents and children.
    ParentsAreAhead,
    // Sources over HTTP.
    /// A link or a redirect leads to another origin, and credentials go with it. Azure/acr #895, erpl-web #101, #183, PowerNetbox #404.
    LinksLeadAnywhere,
    /// A listing that goes in circles is followed until it ends somewhere. nango #20.
    CirclesAreFollowed,
    /// A page that the API refuses is left out. Vector #10870, #18491.
    RefusedPagesAreLeftOut,
    /// A body of lines that broke off is taken for a whole one. raven #615.
    CutBodiesAreWhole,
    /// Rows that come after later ones are behind the cursor. dlt #2269.
    LateRowsAreMissed,
    /// Rows that share their cursor value with the last one that was read are behind the cursor. airbyte #14732, bkn-foundry #1354.
    TiesAreCut,
    /// The first read has a bound, although nothing was read yet: an API leaves rows without a cursor value out of it. PostHog #76090.
    NullsAreLeftOut,
    /// Rows move while offsets are counted, and nobody looks whether a page follows the one before. airbyte #21500.
    DriftIsNotNoticed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_is_on_while_its_guard_lives_and_on_the_threads_that_work_is_carried_to() {
        let env = crate::env::Env::system();
        let [one, other] = [Defect::CommitsAgain, Defect::MarkExpires];
        let seen =
            async || (on(one), env.cpu("look", move || on(one)).await, env.blocking("look", move || on(one)).await);
        assert!(matches!(seen().await, (false, Ok(false), Ok(false))));
        let guard = one.switch_on();
        assert!(matches!(seen().await, (true, Ok(true), Ok(true))));
        assert!(!on(other));
        drop(guard);
        assert!(matches!(seen().await, (false, Ok(false), Ok(false))));
    }
}
