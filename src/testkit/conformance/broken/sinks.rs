use super::denied;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{PipelineName, Reject, Rows, ShardKey};
use crate::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, Enumeration, EpochContext, Mark, Sink, StagedOutput,
    Transactional, Writer, decide_commit,
};
use crate::source::ComponentConfig;
use crate::testkit::Faults;
use crate::testkit::conformance::{Destination, sink};
use async_trait::async_trait;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a sink does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    None,
    ShowsWhatIsStaged,
    ShowsAtFinish,
    CommitsWithoutMark,
    CommitsRowByRow,
    MarksApart,
    AppliesAgain,
    LooksThenCommits,
    LetsZombiesCommit,
    NamesWithoutGeneration,
    TakesGaps,
    TakesForks,
    TakesOtherLives,
    CountsEpochs,
    DeniesDoubt,
    PassesNoPoint,
    TakesDoubtForNothing,
    StagesInTheProcess,
    ForgetsFailedWrites,
    NamesWithoutAttempt,
    AddsToLeftovers,
    OneMarkForAllShards,
    ForgetsThePipeline,
    CollectsNothing,
    CollectsWhatIsKept,
    CollectsNewerOwners,
    CollectsOtherShards,
    CollectsAndPutsBack,
    CommitsNothing,
    SkipsEmptyEpochs,
    CountsWrongly,
    StagesRejects,
    CountsRejects,
    RejectsAll,
    FailsAtBadRows,
    ConfiguresByChance,
    KeepsWhatDidNotCome,
    ClearsAtTheBeginning,
    ClearsBeforeTheStep,
    KeepsUnfinishedOnes,
    ReplacesInTwoSteps,
    TakesGapsAtTheEnd,
    GathersInTheProcess,
    CollectsWhatIsGathered,
}

/// The number that the table cannot hold.
const BAD: u64 = u64::MAX;

type Name = (ShardKey, u64, u64, u32);

#[derive(Debug, Default)]
struct Content {
    rows: Vec<u64>,
    /// The number of the enumeration that is not whole yet, the process that began it, and its rows.
    gathered: (u64, u64, Vec<u64>),
    marks: BTreeMap<ShardKey, Mark>,
    staged: BTreeMap<Name, Vec<u64>>,
}

#[derive(Clone, Debug)]
pub(super) struct Table {
    defect: Defect,
    demand: Demand,
    content: Arc<Mutex<Content>>,
    processes: Arc<AtomicU64>,
}

impl Table {
    /// What its sink demands, and does wrong.
    pub(super) fn of(demand: Demand, defect: Defect) -> Self {
        Self { defect, demand, content: Arc::default(), processes: Arc::default() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().expect("no panic under the lock")
    }

    /// A shard as the sink knows it.
    fn known(&self, shard: &ShardKey) -> ShardKey {
        if self.defect == Defect::ForgetsThePipeline {
            let pipeline = PipelineName::new("any").expect("a valid name");
            return ShardKey { pipeline, ..*shard };
        }
        shard.clone()
    }
}

#[async_trait]
impl Destination for Table {
    type Sink = Broken;

    fn sink(&self) -> Broken {
        let process = self.processes.fetch_add(1, Ordering::SeqCst);
        Broken { table: self.clone(), process, faults: Faults::none() }
    }

    async fn reached_by(&self, faults: &Faults) -> Option<Broken> {
        let faults = if self.defect == Defect::PassesNoPoint { Faults::none() } else { faults.clone() };
        Some(Broken { faults, ..self.sink() })
    }

    fn item(&self, numbers: Range<u64>) -> Rows<u64> {
        Rows(numbers.collect())
    }

    fn bad_item(&self, numbers: Range<u64>) -> Option<Rows<u64>> {
        Some(Rows([BAD].into_iter().chain(numbers).collect()))
    }

    fn stages_outside(&self) -> bool {
        true
    }

    async fn read(&self) -> Vec<u64> {
        let mut rows = self.content().rows.clone();
        rows.sort_unstable();
        rows
    }
}

pub(super) struct Broken {
    table: Table,
    process: u64,
    faults: Faults,
}

/// What is staged: its name, and the process that knows it.
type Staged = (Name, u64);

#[async_trait]
impl Sink for Broken {
    type Item = Rows<u64>;
    type Staged = Staged;
    type Promise = Transactional;
    type Writer = Staging;

    fn config(&self) -> Result<ComponentConfig> {
        let by_chance = if self.table.defect == Defect::ConfiguresByChance { self.process } else { 0 };
        Ok(ComponentConfig::none().with_identity(json!({ "by_chance": by_chance })))
    }

    fn demand(&self) -> Demand {
        self.table.demand
    }

    async fn open(&self, epoch: EpochContext) -> Result<Staging> {
        let defect = self.table.defect;
        if defect == Defect::ClearsBeforeTheStep && epoch.enumeration.is_some_and(|e| e.whole) {
            self.table.content().rows.clear();
        }
        let EpochContext { shard, mut generation, epoch, mut attempt, must_commit, .. } = epoch;
        match defect {
            Defect::NamesWithoutGeneration => generation = 0,
            Defect::NamesWithoutAttempt | Defect::AddsToLeftovers => attempt = 0,
            _ => {}
        }
        let name = (self.table.known(&shard), generation, epoch, attempt);
        let clear = async {
            if defect != Defect::AddsToLeftovers {
                self.table.content().staged.remove(&name);
            }
            Ok(())
        };
        self.faults.point("open", epoch, clear).await?;
        let (table, faults) = (self.table.clone(), self.faults.clone());
        Ok(Staging { table, name, process: self.process, faults, records: 0, must_commit })
    }

    async fn commit(&self, _env: &Env, request: CommitRequest<Staged>) -> Result<CommitOutcome> {
        let answer = self.faults.point("commit", request.mark.epoch, self.answer(request)).await;
        if self.table.defect == Defect::DeniesDoubt { denied(answer) } else { answer }
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        let read = async { Ok(self.table.content().marks.get(&self.table.known(shard)).cloned()) };
        let answer = self.faults.read_point("mark", shard, read).await;
        if self.table.defect == Defect::TakesDoubtForNothing { Ok(answer.unwrap_or_default()) } else { answer }
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[Staged]) -> Result<u64> {
        let (defect, shard) = (self.table.defect, self.table.known(shard));
        let puts_back = defect == Defect::CollectsAndPutsBack;
        let taken = puts_back.then(|| std::mem::take(&mut self.table.content().staged));
        let list = async {
            tokio::task::yield_now().await;
            Ok(())
        };
        self.faults.read_point("list", &shard, list).await?;
        let mut content = self.table.content();
        if let Some(taken) = taken {
            content.staged = taken;
        }
        if defect == Defect::CollectsWhatIsGathered {
            content.gathered.2.clear();
        }
        let before = content.staged.len();
        content.staged.retain(|name, _| {
            defect == Defect::CollectsNothing
                || (name.0 != shard && defect != Defect::CollectsOtherShards)
                || (name.1 >= below_generation && defect != Defect::CollectsNewerOwners)
                || (keep.iter().any(|(kept, _)| kept == name) && defect != Defect::CollectsWhatIsKept)
        });
        Ok((before - content.staged.len()) as u64)
    }
}

impl Broken {
    async fn answer(&self, request: CommitRequest<Staged>) -> Result<CommitOutcome> {
        let defect = self.table.defect;
        let CommitRequest { shard, mark, previous, staged: (name, process), enumeration, .. } = request;
        let shard = self.table.known(&shard);
        let key = if defect == Defect::OneMarkForAllShards { ShardKey { shard: 0, ..shard } } else { shard };
        let held = self.table.content().marks.get(&key).cloned();
        if defect == Defect::LooksThenCommits {
            tokio::task::yield_now().await;
        }
        let decision = match (decide_commit(held.as_ref(), &mark, previous), defect) {
            (CommitDecision::Answer(CommitOutcome::AlreadyCommitted), Defect::AppliesAgain)
            | (CommitDecision::Answer(CommitOutcome::Fenced { .. }), Defect::LetsZombiesCommit)
            | (CommitDecision::Answer(CommitOutcome::Gap { .. }), Defect::TakesGaps) => CommitDecision::Apply,
            (CommitDecision::Answer(CommitOutcome::Gap { .. }), Defect::TakesGapsAtTheEnd)
                if enumeration.is_some_and(|e| e.whole) =>
            {
                CommitDecision::Apply
            }
            (CommitDecision::Answer(CommitOutcome::Fork { found }), Defect::TakesForks)
                if found.incarnation == mark.incarnation =>
            {
                CommitDecision::Apply
            }
            (CommitDecision::Answer(CommitOutcome::Fork { found }), Defect::TakesOtherLives)
                if found.incarnation != mark.incarnation =>
            {
                CommitDecision::Apply
            }
            (CommitDecision::Apply, Defect::CountsEpochs) if mark.epoch != held.as_ref().map_or(0, |m| m.epoch) + 1 => {
                CommitDecision::Answer(CommitOutcome::Gap { found: held })
            }
            (decision, _) => decision,
        };
        if let CommitDecision::Answer(outcome) = decision {
            return Ok(outcome);
        }
        if defect == Defect::StagesInTheProcess && process != self.process {
            return Err(Error::corrupt("commit", "nothing is staged here"));
        }
        let rows = self.table.content().staged.get(&name).cloned();
        let rows = rows.ok_or_else(|| Error::corrupt("commit", "the staged rows are gone"))?;
        let shown = matches!(defect, Defect::ShowsWhatIsStaged | Defect::ShowsAtFinish | Defect::CommitsNothing);
        if let Some(enumeration) = enumeration {
            self.begin(enumeration.number);
        }
        for row in rows.into_iter().filter(|_| !shown) {
            self.table.content().add(enumeration, row);
            if defect == Defect::CommitsRowByRow {
                tokio::task::yield_now().await;
            }
        }
        if enumeration.is_some_and(|e| e.whole) {
            self.replace().await;
        }
        if defect == Defect::MarksApart {
            tokio::task::yield_now().await;
        }
        let mut content = self.table.content();
        if defect != Defect::AppliesAgain {
            content.staged.remove(&name);
        }
        if defect != Defect::CommitsWithoutMark {
            content.marks.insert(key, mark);
        }
        Ok(CommitOutcome::Done)
    }
}

impl Content {
    /// Shows a row, or lets it wait with the others of its enumeration.
    fn add(&mut self, enumeration: Option<Enumeration>, row: u64) {
        let Self { rows, gathered: (_, _, gathered), .. } = self;
        if enumeration.is_some() { gathered.push(row) } else { rows.push(row) }
    }
}

impl Broken {
    /// Forgets what an enumeration before has left.
    fn begin(&self, number: u64) {
        let defect = self.table.defect;
        let mut content = self.table.content();
        let Content { rows, gathered: (known, began, gathered), .. } = &mut *content;
        let is_lost = defect == Defect::GathersInTheProcess && *began != self.process;
        if (*known != number && defect != Defect::KeepsUnfinishedOnes) || is_lost {
            gathered.clear();
        }
        if *known != number && defect == Defect::ClearsAtTheBeginning {
            rows.clear();
        }
        (*known, *began) = (number, self.process);
    }

    /// What was gathered takes the place of what was there.
    async fn replace(&self) {
        let defect = self.table.defect;
        let gathered = std::mem::take(&mut self.table.content().gathered.2);
        if defect != Defect::KeepsWhatDidNotCome {
            self.table.content().rows.clear();
        }
        if defect == Defect::ReplacesInTwoSteps {
            tokio::task::yield_now().await;
        }
        self.table.content().rows.extend(gathered);
    }
}

pub(super) struct Staging {
    table: Table,
    name: Name,
    process: u64,
    faults: Faults,
    records: u64,
    must_commit: bool,
}

#[async_trait]
impl Writer for Staging {
    type Item = Rows<u64>;
    type Staged = Staged;

    async fn write(&mut self, item: Rows<u64>) -> Result<Vec<Reject>> {
        let defect = self.table.defect;
        let all = item.0.len() as u64;
        let is_bad = item.0.contains(&BAD);
        if is_bad && defect == Defect::FailsAtBadRows {
            return Err(Error::data("write", "the table cannot hold a row"));
        }
        let refuses = |row: &u64| *row == BAD || (is_bad && defect == Defect::RejectsAll);
        let (refused, good): (Vec<u64>, Vec<u64>) = item.0.into_iter().partition(refuses);
        self.records += if defect == Defect::CountsRejects { all } else { good.len() as u64 };
        let write = async {
            tokio::task::yield_now().await;
            let mut content = self.table.content();
            if defect == Defect::ShowsWhatIsStaged {
                content.rows.extend(&good);
            }
            let staged = content.staged.entry(self.name.clone()).or_default();
            staged.extend(&good);
            if defect == Defect::StagesRejects {
                staged.extend(&refused);
            }
            Ok(())
        };
        let written = self.faults.point("write", self.name.2, write).await;
        if defect != Defect::ForgetsFailedWrites {
            written?;
        }
        Ok(refused.iter().map(|row| Reject::new("bad", "the table cannot hold it", row.to_string())).collect())
    }

    fn staged_bytes(&self) -> u64 {
        8 * self.records
    }

    async fn finish(self) -> Result<Option<StagedOutput<Staged>>> {
        let Self { table, name, process, faults, records, must_commit } = self;
        if records == 0
            && (!must_commit || table.defect == Defect::SkipsEmptyEpochs)
            && table.defect != Defect::CommitsNothing
        {
            return Ok(None);
        }
        let finish = async {
            let mut content = table.content();
            let rows = content.staged.entry(name.clone()).or_default().clone();
            if table.defect == Defect::ShowsAtFinish {
                content.rows.extend(rows);
            }
            Ok(())
        };
        faults.point("finish", name.2, finish).await?;
        let records = if table.defect == Defect::CountsWrongly { records + 1 } else { records };
        Ok(Some(StagedOutput { staged: (name, process), records, bytes: 8 * records }))
    }
}

macro_rules! run {
    ($check:ident, $defect:expr) => {
        async { sink::$check(&Table::of(Demand::Increments, $defect)).await }
    };
}

caught! { run:
    g1_what_is_staged_is_not_seen by ShowsWhatIsStaged, ShowsAtFinish;
    g2_an_epoch_is_seen_with_its_mark by CommitsWithoutMark, CommitsNothing;
    g2_a_reader_sees_whole_epochs_in_order by CommitsRowByRow;
    g2_a_commit_that_is_dropped_is_whole_or_nothing by CommitsRowByRow, MarksApart;
    g3_the_same_commit_again_changes_nothing by AppliesAgain;
    g3_one_epoch_committed_twice_at_once_is_there_once by LooksThenCommits;
    g3_a_mark_is_told_as_it_is_or_not_at_all by TakesDoubtForNothing, PassesNoPoint;
    g4_an_older_owner_changes_nothing by LetsZombiesCommit;
    g4_staged_output_of_two_owners_does_not_mix by NamesWithoutGeneration;
    g5_a_gap_changes_nothing by TakesGaps;
    g5_a_fork_changes_nothing by TakesForks;
    g5_another_life_changes_nothing by TakesOtherLives;
    g5_numbers_of_epochs_may_skip by CountsEpochs;
    g6_doubt_is_told by DeniesDoubt, PassesNoPoint;
    g7_another_process_commits_what_was_staged by StagesInTheProcess, CountsWrongly;
    g7_what_is_said_to_be_staged_is_there by ForgetsFailedWrites, PassesNoPoint;
    attempts_do_not_mix by NamesWithoutAttempt, AddsToLeftovers;
    a_writer_that_is_dropped_is_in_nobodys_way by AddsToLeftovers, ShowsWhatIsStaged;
    collection_that_is_dropped_may_be_done_again by CollectsAndPutsBack;
    collection_that_fails_may_be_done_again by CollectsAndPutsBack, PassesNoPoint;
    shards_do_not_touch_each_other by OneMarkForAllShards, ForgetsThePipeline;
    collection_takes_only_what_nobody_commits by CollectsNothing, CollectsWhatIsKept, CollectsNewerOwners, CollectsOtherShards, ForgetsThePipeline;
    nothing_written_is_nothing_staged by CommitsNothing;
    rejects_are_not_staged by StagesRejects, CountsRejects, RejectsAll, FailsAtBadRows;
    an_epoch_that_must_be_committed_moves_the_mark by SkipsEmptyEpochs;
    its_configuration_is_stable by ConfiguresByChance;
}
