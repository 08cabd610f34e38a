//! Paired defects: every scenario here holds, and fails with the defect that it is there for. A defect is a bug that this field has had
//! (`landfall::testkit::Defect`), switched on at the decision where it would occur. What no scenario notices fails the suite; a
//! defect without a scenario does not compile. With `LANDFALL_DEFECTS_ONLY=Name` only those whose names contain it are run.

#![allow(clippy::type_complexity, unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

mod chain;
mod harness;
mod lake;
#[path = "../pipeline/odd.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod odd;
mod pipelines;
mod sinks;
#[path = "../crash/source.rs"]
mod source;
#[path = "../pipeline/support.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod support;
#[path = "../crash/world.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod world;

use harness::{Pair, pairs};
use landfall::testkit::Defect;

pairs! {
    // Rule 1: prepare, then commit.
    CommitsBeforeCheckpoint: 1 => pipelines::every_operation_may_fail,
    PreparedEpochIsDropped: 1 => pipelines::every_operation_may_fail,
    TwoEpochsAreOpen: 1 => pipelines::every_operation_may_fail,
    // Rule 2: the sink holds a monotone mark as current state.
    CommitsAgain: 2 => sinks::the_contract_of_a_sink_holds,
    OlderOwnersCommit: 2 => sinks::the_contract_of_a_sink_holds,
    GapsAreCommitted: 2 => sinks::the_contract_of_a_sink_holds,
    ForksAreAccepted: 2 => sinks::the_contract_of_a_sink_holds,
    MarkExpires: 2 => lake::the_mark_outlives_the_history_of_the_table,
    // Rule 3: fencing is in the data path.
    NewerOwnerIsSteppedOver: 3 => chain::of_two_that_take_over_at_once_one_is_fenced,
    OwnersShareNames: 3 => sinks::the_contract_of_a_sink_holds,
    // Rule 4: collection cannot un-fence.
    FencesAreCollected: 4 => chain::a_writer_that_sleeps_through_take_over_and_collection_is_fenced,
    FenceBelowBoundary: 4 => chain::an_owner_whose_fence_comes_too_late_is_fenced,
    DeletesBeforeBoundary: 4 => chain::a_collection_that_dies_anywhere_leaves_a_chain,
    UncommittedIsCollected: 4 => chain::the_newest_data_record_is_never_collected,
    RetentionForgetsTheSlow: 4 => pipelines::what_the_slowest_load_needs_is_kept,
    StagedIsVacuumed: 4 => lake::a_vacuum_between_crash_and_recovery_takes_nothing_that_is_prepared,
    // Rule 5: every conditional put can be ambiguous.
    ExistsIsTakenForOwn: 5 => chain::who_is_overtaken_stops_at_its_next_append,
    LostAnswerIsFailure: 5 => chain::an_append_whose_answer_is_lost_is_an_append,
    CommitsOverwrite: 5 => lake::one_that_sleeps_in_its_commit_overwrites_nobody,
    // Rule 6: no deletion on any error path.
    CleansUpInDoubt: 6 => pipelines::every_operation_may_fail,
    // Rule 7: a store that ignores conditions is refused.
    ConditionsAreNotProbed: 7 => pipelines::a_store_that_ignores_conditions_is_refused,
    // Rule 8: damage halts loudly.
    HolesAreSteppedOver: 8 => chain::a_hole_in_a_chain_halts,
    ChecksumIsNotVerified: 8 => chain::a_flipped_bit_halts,
    NewerFormatIsRead: 8 => chain::a_newer_format_is_refused,
    MarkIsNotCompared: 8 => pipelines::a_destination_that_lost_epochs_halts,
    // Rule 9: a stop is a crash with a deadline, and what gives identity does not change.
    IdentityIsNotCompared: 9 => pipelines::a_change_of_the_key_is_refused,
    // Rule 10: the ledger balances, or the epoch does not commit.
    LedgerIsNotChecked: 10 => pipelines::a_stage_that_loses_a_record_stops_the_run,
    RejectsVanish: 10 => pipelines::every_operation_may_fail,
    // Beside the rules: position, state, quarantine, parts and enumerations are of one step with the data.
    PositionIsAhead: 0 => pipelines::every_operation_may_fail,
    PositionBeforePages: 0 => pipelines::every_operation_may_fail,
    StateIsNotSaved: 0 => pipelines::every_operation_may_fail,
    QuarantineIsApart: 0 => pipelines::every_operation_may_fail,
    PartsAreCommitted: 0 => pipelines::a_response_in_parts_is_loaded_whole,
    FailedReadIsWhole: 0 => pipelines::a_replacement_that_failed_takes_nothing_away,
}

#[test]
fn every_defect_is_caught() {
    harness::run(Defect::ALL.iter().filter_map(|defect| pair(*defect)).collect());
}
