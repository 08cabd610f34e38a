//! Paired defects: every scenario here holds, and fails with the defect that it is there for. A defect is a bug that this field has had
//! (`landfall::testkit::Defect`), switched on at the decision where it would occur. What no scenario notices fails the suite; a
//! defect without a scenario does not compile. Those of databases are in `tests/warehouses` and `tests/postgres`, by the same bargain. The numbers are those of the invariants in docs/semantics.md. With `LANDFALL_DEFECTS_ONLY=Name` only those whose names contain it are run.

#![allow(clippy::type_complexity, unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

mod chain;
mod halts;
mod harness;
#[path = "../worlds/hooked.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod hooked;
mod http;
mod lake;
#[path = "../pipeline/odd.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod odd;
#[allow(dead_code, reason = "shared with other test binaries")]
mod paired;
mod parents;
mod pipelines;
mod sinks;
#[path = "../crash/source.rs"]
mod source;
mod stops;
#[path = "../pipeline/support.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod support;
#[path = "../crash/watched.rs"]
mod watched;
#[path = "../crash/world.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod world;
#[path = "../worlds/mod.rs"]
#[allow(dead_code, reason = "shared with other test binaries")]
mod worlds;

use harness::{Pair, pairs};
use landfall::testkit::Defect;
use std::collections::BTreeSet;

const TESTING: &str = include_str!("../../docs/testing.md");

pairs! {
    here {
        // I1: prepare, then commit.
        CommitsBeforeCheckpoint: 1 => pipelines::every_operation_may_fail says "records are lost",
        PreparedEpochIsDropped: 1 => pipelines::every_operation_may_fail says "records are lost",
        TwoEpochsAreOpen: 1 => pipelines::every_operation_may_fail says "records are lost",
        // I2: the mark is state.
        CommitsAgain: 2 => sinks::the_contract_of_a_sink_holds says "g3_the_same_commit_again_changes_nothing",
        AlreadyDoneIsAnError: 2 => pipelines::every_operation_may_fail says "the destination holds the epoch already",
        OlderOwnersCommit: 2 => sinks::the_contract_of_a_sink_holds says "an older owner commits",
        GapsAreCommitted: 2 => sinks::the_contract_of_a_sink_holds says "g5_a_gap_changes_nothing",
        ForksAreAccepted: 2 => sinks::the_contract_of_a_sink_holds says "g5_a_fork_changes_nothing",
        HaltsAreIgnored: 2 => halts::a_destination_that_lacks_an_epoch_halts says "it goes on over an epoch that is not there",
        MarkExpires: 2 => lake::the_mark_outlives_the_history_of_the_table says "goes on after the history is gone",
        // I3: the fence lies in the data path.
        OwnersWriteNoFence: 3 => chain::who_is_overtaken_stops_at_its_next_append says "an owner that was overtaken goes on",
        NewerOwnerIsSteppedOver: 3 => chain::of_two_that_take_over_at_once_one_is_fenced says "two owners have one generation",
        // I4: collection cannot un-fence.
        FencesAreCollected: 4 => chain::a_writer_that_sleeps_through_take_over_and_collection_is_fenced says "a writer whose place was collected goes on",
        FenceBelowBoundary: 4 => chain::an_owner_whose_fence_comes_too_late_is_fenced says "was collected",
        DeletesBeforeBoundary: 4 => chain::a_collection_that_dies_anywhere_leaves_a_chain says "the chain has a hole",
        LeftoversStay: 4 => chain::a_collection_that_dies_anywhere_leaves_a_chain says "what a collection has left stays",
        UncommittedIsCollected: 4 => chain::the_newest_data_record_is_never_collected says "nothing is left above the boundary",
        // I5: doubt is resolved by reading back.
        ExistsIsTakenForOwn: 5 => chain::who_is_overtaken_stops_at_its_next_append says "an owner that was overtaken goes on",
        ExistsIsTakenForLost: 5 => chain::an_append_that_meets_itself_or_nobody_is_an_append says "that there is one already ends it",
        LostAnswerIsFailure: 5 => chain::an_append_whose_answer_is_lost_is_an_append says "one lost answer ends it",
        CommitsOverwrite: 5 => lake::one_that_sleeps_in_its_commit_overwrites_nobody says "a commit is overwritten",
        // I6: nothing is deleted on an error path.
        StagedIsVacuumed: 6 => lake::a_vacuum_between_crash_and_recovery_takes_nothing_that_is_prepared says "records are lost",
        CleansUpInDoubt: 6 => pipelines::every_operation_may_fail says "records are lost",
        ForeignFilesAreVacuumed: 6 => lake::a_vacuum_leaves_what_is_not_of_the_table says "a file of somebody else is deleted",
        // I7: a store that ignores conditions is refused.
        ConditionsAreNotProbed: 7 => pipelines::a_store_that_ignores_conditions_is_refused says "a store on which nothing is safe is used",
        // I8: damage halts.
        HolesAreSteppedOver: 8 => chain::a_hole_in_a_chain_halts says "a chain with a hole is opened",
        ChecksumIsNotVerified: 8 => chain::a_flipped_bit_halts says "a damaged boundary is believed",
        NewerFormatIsRead: 8 => chain::a_newer_format_is_refused says "a format of the future is read",
        LeftoversAreDamage: 8 => chain::a_leftover_in_a_collected_place_stops_nobody says "a leftover is taken for damage",
        MarkIsNotCompared: 8 => pipelines::a_destination_that_lost_epochs_halts says "what is lost is not missed",
        StagedIsNotLookedFor: 8 => lake::a_staged_file_that_is_gone_is_not_registered says "a file that is gone is registered",
        // I9: a stop is a crash with a deadline, and what gives identity does not change.
        IdentityIsNotCompared: 9 => pipelines::a_change_of_the_key_is_refused says "another key is taken up",
        ChangedSettingsAreForgotten: 9 => pipelines::changed_settings_are_recorded says "a change that was recorded is told again",
        StopHasNoDeadline: 9 => stops::a_stop_ends_at_its_deadline says "a stop hangs beyond its deadline",
        TailIsKept: 9 => stops::a_stop_commits_what_was_read says "a stop keeps what was read",
        // I10: the ledger balances, or the epoch does not commit.
        LedgerIsNotChecked: 10 => pipelines::a_stage_that_loses_a_record_stops_the_run says "a record is missing, and nobody says so",
        RejectsVanish: 10 => pipelines::every_operation_may_fail says "records are not accounted for",
        // I11: data before cursor.
        PositionIsAhead: 11 => pipelines::every_operation_may_fail says "records are lost",
        PositionBeforePages: 11 => pipelines::every_operation_may_fail says "records are lost",
        // I12: a response is a unit.
        PartsAreCommitted: 12 => pipelines::a_response_in_parts_is_loaded_whole says "records are there twice",
        CutBodiesAreWhole: 12 => http::lines_of_which_the_end_is_not_known_are_no_page says "a body that may be cut is taken for a whole one",
        // I13: replay gives the same.
        StateIsNotSaved: 13 => pipelines::every_operation_may_fail says "doubled=2",
        RetriesAreRepeats: 13 => pipelines::a_response_in_parts_is_loaded_whole says "records are lost",
        // I14: the quarantine is output.
        QuarantineIsApart: 14 => pipelines::every_operation_may_fail says "records are there twice",
        QuarantineMayFail: 14 => pipelines::every_answer_may_be_lost says "records are lost",
        // I15: names are functions of state.
        OwnersShareNames: 15 => sinks::the_contract_of_a_sink_holds says "g4_staged_output_of_two_owners_does_not_mix",
        // I16: an end needs proof.
        FailedReadIsWhole: 16 => pipelines::a_replacement_that_failed_takes_nothing_away says "a part has taken the place of what was there",
        LateRowsAreMissed: 16 => http::rows_that_come_late_are_read_by_the_overlap says "rows that came late are missing",
        TiesAreCut: 16 => http::rows_at_the_bound_are_read_again says "rows that share the value of the last one are missing",
        NullsAreLeftOut: 16 => http::rows_without_a_cursor_value_are_read says "rows without a value are missing",
        DriftIsNotNoticed: 16 => http::rows_that_move_under_the_offset_are_found says "rows that moved up are missing",
        CirclesAreFollowed: 16 => http::a_listing_that_goes_in_circles_is_an_error says "goes in circles is taken for a whole one",
        RefusedPagesAreLeftOut: 16 => http::a_page_that_is_refused_is_not_left_out says "a page is missing, and nobody says so",
        // I18: secrets stay out.
        LinksLeadAnywhere: 18 => http::nothing_is_asked_of_another_origin says "requests of another origin",
        // I19: parents behind their children.
        ParentsAreAhead: 19 => parents::a_parent_stays_behind_a_child_that_fails says "nobody asks for the child any more",
        // I20: tables of a set hold one epoch.
        TablesAreLeftBehind: 20 => pipelines::tables_of_a_set_hold_one_epoch says "a table is left behind",
        // I21: loads of one landing are independent.
        RetentionForgetsTheSlow: 21 => pipelines::what_the_slowest_load_needs_is_kept says "the landing has everything from its beginning on",
    }
    elsewhere {
        MarkIsApart: 2 => "rows_and_mark_change_together" in ["../warehouses/defects.rs"],
        MarkIsNotLocked: 2 => "two_owners_that_commit_one_epoch_at_once_commit_it_once" in ["../postgres/defects.rs"],
        LostCommitIsFailure: 5 => "a_commit_whose_answer_is_lost_is_there_once" in ["../warehouses/defects.rs"],
        LostCommitIsSuccess: 5 => "a_commit_whose_answer_is_lost_is_there_once" in ["../warehouses/defects.rs"],
        FailedSyncIsIgnored: 11 => "believed" in ["../../scripts/checks/process_defects.py"],
        ChildrenAreNotLocked: 20 => "children_of_one_parent_are_those_of_one_shard" in ["../postgres/defects.rs"],
    }
}

#[test]
fn every_defect_is_caught() {
    harness::run(Defect::ALL.iter().filter_map(|defect| pair(*defect)).collect());
}

/// docs/testing.md says of each what notices it.
#[test]
fn the_table_of_the_documents_is_true() {
    let rows = TESTING.lines().filter(|line| line.starts_with("| I"));
    let mut told: Vec<(u8, String, String)> = rows
        .filter_map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let rule = cells.get(1)?.strip_prefix('I')?.split_whitespace().next()?.parse().ok()?;
            Some((rule, cells.get(2)?.trim_matches('`').to_owned(), cells.get(4)?.trim_matches('`').to_owned()))
        })
        .collect();
    let pairs = Defect::ALL.iter().filter_map(|defect| pair(*defect));
    let mut made: Vec<_> =
        pairs.map(|pair| (pair.rule, format!("{:?}", pair.defect), pair.scenario.to_owned())).collect();
    made.extend(ELSEWHERE.iter().map(|(defect, rule, what, _)| (*rule, format!("{defect:?}"), (*what).to_owned())));
    told.sort_unstable();
    made.sort_unstable();
    assert_eq!(told, made);
    for (defect, _, what, files) in ELSEWHERE {
        let name = format!("{defect:?}");
        assert!(files.iter().all(|file| file.contains(&name) && file.contains(what)), "{name} is noticed elsewhere");
    }
    assert!((1..=10).all(|rule| told.iter().any(|(of, ..)| *of == rule)), "each rule of the protocol is taken out");
    let parts = part_by_part();
    for name in &parts {
        assert!(Defect::ALL.iter().any(|defect| format!("{defect:?}") == *name), "no defect: {name}");
    }
    for (_, name, _) in made.iter().filter(|(rule, ..)| *rule <= 10) {
        assert!(parts.contains(name.as_str()), "{name} takes out no part of its rule");
    }
}

/// The defects that its table names part by part. The model compares the mutations there with its own.
fn part_by_part() -> BTreeSet<&'static str> {
    let (_, table) = TESTING.split_once("### Part by part").expect("it is there");
    let rows = table.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.skip(2).filter_map(|row| row.split('|').nth(3)).flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}
