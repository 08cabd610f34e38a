//! The same sink, where it puts whole enumerations in the place of what was there.

use super::sinks::{Defect, Table};
use crate::sink::Demand;
use crate::testkit::conformance::sink;

macro_rules! run {
    ($check:ident, $defect:expr) => {
        async { sink::$check(&Table::of(Demand::Enumerations, $defect)).await }
    };
}

caught! { run:
    g1_what_is_staged_is_not_seen by ShowsWhatIsStaged, ShowsAtFinish;
    g1_a_step_that_is_staged_takes_nothing_away by ClearsBeforeTheStep;
    g2_an_epoch_is_seen_with_its_mark by CommitsWithoutMark, CommitsNothing;
    g2_a_commit_that_is_dropped_is_whole_or_nothing by CommitsRowByRow, MarksApart;
    g2_the_step_that_makes_whole_is_whole_or_nothing_when_it_is_dropped by ReplacesInTwoSteps;
    g3_the_same_commit_again_changes_nothing by AppliesAgain;
    g3_one_epoch_committed_twice_at_once_is_there_once by LooksThenCommits;
    g3_a_mark_is_told_as_it_is_or_not_at_all by TakesDoubtForNothing, PassesNoPoint;
    g3_the_step_that_makes_whole_again_changes_nothing by AppliesAgain;
    g4_an_older_owner_changes_nothing by LetsZombiesCommit;
    g4_staged_output_of_two_owners_does_not_mix by NamesWithoutGeneration;
    g4_an_older_owner_makes_nothing_whole by LetsZombiesCommit;
    g5_a_gap_changes_nothing by TakesGaps;
    g5_a_fork_changes_nothing by TakesForks;
    g5_another_life_changes_nothing by TakesOtherLives;
    g5_numbers_of_epochs_may_skip by CountsEpochs;
    g5_a_gap_or_a_fork_makes_nothing_whole by TakesGapsAtTheEnd, TakesForks, TakesOtherLives;
    g6_doubt_is_told by DeniesDoubt, PassesNoPoint;
    g6_doubt_about_the_step_that_makes_whole_is_told by DeniesDoubt, PassesNoPoint;
    g7_another_process_commits_what_was_staged by StagesInTheProcess, CountsWrongly;
    g7_another_process_makes_whole_what_was_gathered by GathersInTheProcess, StagesInTheProcess;
    g7_what_is_said_to_be_staged_is_there by ForgetsFailedWrites, PassesNoPoint;
    attempts_do_not_mix by NamesWithoutAttempt, AddsToLeftovers;
    a_writer_that_is_dropped_is_in_nobodys_way by AddsToLeftovers, ShowsWhatIsStaged;
    collection_that_is_dropped_may_be_done_again by CollectsAndPutsBack;
    collection_that_fails_may_be_done_again by CollectsAndPutsBack, PassesNoPoint;
    collection_takes_only_what_nobody_commits by CollectsNothing, CollectsWhatIsKept, CollectsNewerOwners, CollectsWhatIsGathered;
    nothing_written_is_nothing_staged by CommitsNothing;
    rejects_are_not_staged by StagesRejects, CountsRejects, RejectsAll, FailsAtBadRows;
    an_epoch_that_must_be_committed_moves_the_mark by SkipsEmptyEpochs;
    a_whole_enumeration_takes_the_place_of_what_was_there by KeepsWhatDidNotCome;
    nothing_goes_before_an_enumeration_is_whole by ClearsAtTheBeginning;
    one_that_never_became_whole_takes_nothing_away by KeepsUnfinishedOnes;
    its_configuration_is_stable by ConfiguresByChance;
}
