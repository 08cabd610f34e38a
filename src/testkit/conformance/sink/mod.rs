//! What [`Sink`](crate::sink::Sink) and its writers promise. [`sink_conformance!`](crate::sink_conformance) makes a test of each check for a sink that takes what
//! is new, [`enumeration_conformance!`](crate::enumeration_conformance) for one that demands whole enumerations.
//!
//! Both are for sinks that promise exactly once: one that promises [`AtLeastOnce`](crate::sink::AtLeastOnce) need not keep guarantees 1 to 5, and is
//! refused.
//!
//! Left to tests of the implementation:
//! - Guarantee 3, after the history of the destination was compacted: how that is done, only the implementation knows.
//! - Guarantee 7, a loss of power: a living process does not show it. [`SimDisk`](crate::testkit::SimDisk) does, of what lies in a
//!   [`Store`](crate::store::Store); what to do about files and servers besides is in `docs/testkit.md`.
//!
//! Not asked of a sink that demands whole enumerations:
//! - `g2_a_reader_sees_whole_epochs_in_order`: of an enumeration that is not whole, it shows as much as it likes. What it must not take away
//!   meanwhile is in `nothing_goes_before_an_enumeration_is_whole`, and the step that makes whole has a check of its own.
//! - `shards_do_not_touch_each_other`: an enumeration is of one shard, and a pipeline of several is refused.

mod commits;
mod enumerations;
mod staging;
mod visibility;

#[doc(hidden)]
pub use super::destination::is_fit;
pub use commits::*;
pub use enumerations::*;
pub use staging::*;
pub use visibility::*;

/// Makes a `#[tokio::test]` of every check of a sink that takes what is new, and promises exactly once: guarantees 1 to 5 do not hold of one that
/// promises [`AtLeastOnce`](crate::sink::AtLeastOnce). The expression gives an empty
/// [`Destination`](crate::testkit::conformance::Destination); it may await, and it may `return` to skip the check.
/// The crate needs `tokio` with `macros` and `rt`, and a second call a module of its own.
///
/// ```
/// use landfall::async_trait;
/// use landfall::model::Rows;
/// use landfall::sink::{MemorySink, MemoryTable};
/// use landfall::testkit::Faults;
/// use landfall::testkit::conformance::Destination;
/// use std::ops::Range;
///
/// struct Table(MemoryTable<Rows<u64>>);
///
/// #[async_trait]
/// impl Destination for Table {
///     type Sink = MemorySink<Rows<u64>>;
///     fn sink(&self) -> Self::Sink {
///         MemorySink::new(&self.0)
///     }
///     async fn reached_by(&self, _faults: &Faults) -> Option<Self::Sink> {
///         None // each call is one step in memory: nothing of it fails by itself
///     }
///     fn item(&self, numbers: Range<u64>) -> Rows<u64> {
///         Rows(numbers.collect())
///     }
///     fn bad_item(&self, _numbers: Range<u64>) -> Option<Rows<u64>> {
///         None // it holds every number
///     }
///     fn stages_outside(&self) -> bool {
///         true // what is staged waits in the table, and not in the checkpoint
///     }
///     async fn read(&self) -> Vec<u64> {
///         let mut rows = self.0.rows();
///         rows.sort_unstable();
///         rows
///     }
/// }
///
/// landfall::sink_conformance!(Table(MemoryTable::new()));
/// ```
#[macro_export]
macro_rules! sink_conformance {
    ($open:expr) => {
        $crate::sink_conformance! { $open, Increments;
            g1_what_is_staged_is_not_seen
            g2_an_epoch_is_seen_with_its_mark
            g2_a_reader_sees_whole_epochs_in_order
            g2_a_commit_that_is_dropped_is_whole_or_nothing
            g3_the_same_commit_again_changes_nothing
            g3_one_epoch_committed_twice_at_once_is_there_once
            g3_a_mark_is_told_as_it_is_or_not_at_all
            g4_an_older_owner_changes_nothing
            g4_staged_output_of_two_owners_does_not_mix
            g5_a_gap_changes_nothing
            g5_a_fork_changes_nothing
            g5_another_life_changes_nothing
            g5_numbers_of_epochs_may_skip
            g6_doubt_is_told
            g7_another_process_commits_what_was_staged
            g7_what_is_said_to_be_staged_is_there
            attempts_do_not_mix
            a_writer_that_is_dropped_is_in_nobodys_way
            collection_that_is_dropped_may_be_done_again
            collection_that_fails_may_be_done_again
            shards_do_not_touch_each_other
            collection_takes_only_what_nobody_commits
            nothing_written_is_nothing_staged
            rejects_are_not_staged
            an_epoch_that_must_be_committed_moves_the_mark
            its_configuration_is_stable
        }
    };
    ($open:expr, $demand:ident; $($check:ident)+) => {
        $(
            #[tokio::test]
            async fn $check() {
                let destination = $open;
                $crate::testkit::conformance::sink::is_fit(&destination, $crate::sink::Demand::$demand).await;
                let _told = $crate::testkit::conformance::told("Sink", stringify!($check));
                $crate::testkit::conformance::sink::$check(&destination).await;
            }
        )+
    };
}

/// Makes a `#[tokio::test]` of every check of a sink that [demands](crate::sink::Demand) whole enumerations: one that replaces, or that sweeps
/// what did not come. It must allow that half of the rows go at once. The expression is that of
/// [`sink_conformance!`](crate::sink_conformance).
#[macro_export]
macro_rules! enumeration_conformance {
    ($open:expr) => {
        $crate::sink_conformance! { $open, Enumerations;
            g1_what_is_staged_is_not_seen
            g1_a_step_that_is_staged_takes_nothing_away
            g2_an_epoch_is_seen_with_its_mark
            g2_a_commit_that_is_dropped_is_whole_or_nothing
            g2_the_step_that_makes_whole_is_whole_or_nothing_when_it_is_dropped
            g3_the_same_commit_again_changes_nothing
            g3_one_epoch_committed_twice_at_once_is_there_once
            g3_a_mark_is_told_as_it_is_or_not_at_all
            g3_the_step_that_makes_whole_again_changes_nothing
            g4_an_older_owner_changes_nothing
            g4_staged_output_of_two_owners_does_not_mix
            g4_an_older_owner_makes_nothing_whole
            g5_a_gap_changes_nothing
            g5_a_fork_changes_nothing
            g5_another_life_changes_nothing
            g5_numbers_of_epochs_may_skip
            g5_a_gap_or_a_fork_makes_nothing_whole
            g6_doubt_is_told
            g6_doubt_about_the_step_that_makes_whole_is_told
            g7_another_process_commits_what_was_staged
            g7_what_is_said_to_be_staged_is_there
            g7_another_process_makes_whole_what_was_gathered
            attempts_do_not_mix
            a_writer_that_is_dropped_is_in_nobodys_way
            collection_that_is_dropped_may_be_done_again
            collection_that_fails_may_be_done_again
            collection_takes_only_what_nobody_commits
            nothing_written_is_nothing_staged
            rejects_are_not_staged
            an_epoch_that_must_be_committed_moves_the_mark
            a_whole_enumeration_takes_the_place_of_what_was_there
            nothing_goes_before_an_enumeration_is_whole
            one_that_never_became_whole_takes_nothing_away
            its_configuration_is_stable
        }
    };
}
