use super::told::given;
use crate::env::Env;
use crate::error::{ErrorKind, Result};
use crate::model::{Incarnation, Item, PipelineName, ShardKey};
use crate::sink::{
    AtLeastOnce, CommitOutcome, CommitRequest, Demand, Enumeration, EpochContext, Mark, Promise, Sink, Writer,
};
use crate::testkit::{Faults, test_env};
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// A destination that a sink is checked on, and a reader of it that is independent of the sink.
#[async_trait]
pub trait Destination: Send + Sync {
    /// The sink that is checked.
    type Sink: Sink;

    /// The sink as another process makes it: nothing but the destination is shared with the ones before.
    fn sink(&self) -> Self::Sink;

    /// The sink as a process reaches it of which every access to the destination is an I/O point of `faults`: what staging, a commit, the
    /// reading of a mark or a collection does fails, or loses its answer, access by access. `None` if nothing of it can fail by itself, or
    /// nobody can make it fail from here: what is said of failures is not checked then, such as guarantee 6. Say why.
    async fn reached_by(&self, faults: &Faults) -> Option<Self::Sink>;

    /// An item of as many rows as there are `numbers`, each with one of them. No two rows have the same key.
    fn item(&self, numbers: Range<u64>) -> <Self::Sink as Sink>::Item;

    /// The same with one row more, in between, that the destination cannot hold: a null key, a character that it has no place for. `None`
    /// only of a destination that holds every row there is: that rejects are not staged is not checked then.
    fn bad_item(&self, numbers: Range<u64>) -> Option<<Self::Sink as Sink>::Item>;

    /// Whether what is staged lies in the destination, as rows or files that are collected if nobody commits them. `false` of a sink whose
    /// [`Staged`](Sink::Staged) holds the rows themselves: all of it lies in the checkpoint, and nothing is collected.
    fn stages_outside(&self) -> bool;

    /// The numbers of the rows that a reader sees now, in ascending order: one for each row. Empty where no sink has made the place of the
    /// rows yet.
    async fn read(&self) -> Vec<u64>;
}

/// Looks at what a test gives, for a sink of this demand, before anything is checked: a mistake there looks like a broken guarantee.
pub async fn is_fit<D: Destination>(destination: &D, demand: Demand) {
    let one = Shard::new(destination, 0);
    let promises_less = <<D::Sink as Sink>::Promise as Promise>::NAME == AtLeastOnce::NAME;
    given(!promises_less, "the sink promises at least once: the suites are for sinks that promise exactly once");
    let words = match demand {
        Demand::Increments => "the sink demands whole enumerations: use `enumeration_conformance!`",
        Demand::Enumerations => "the sink takes what is new: use `sink_conformance!`",
    };
    given(one.sink.demand() == demand, words);
    for numbers in [0..1, 3..10] {
        let rows = numbers.end - numbers.start;
        let items = [
            ("item", Some(destination.item(numbers.clone())), rows),
            ("bad_item", destination.bad_item(numbers.clone()), rows + 1),
        ];
        for (name, item, rows) in items {
            let records = item.map_or(rows, |item| item.records());
            given(records == rows, format_args!("`{name}({numbers:?})` must give {rows} rows, and gives {records}"));
        }
    }
    const EMPTY: &str = "give each test an empty destination of its own";
    // An enumeration is of one shard.
    let others = (demand == Demand::Increments).then(|| Shard::others(destination));
    for shard in std::iter::once(&one).chain(others.iter().flatten()) {
        let held = shard.held().await;
        given(held.is_none(), format_args!("the destination holds a mark, {held:?}: {EMPTY}"));
    }
    let rows = one.rows().await;
    given(rows.is_empty(), format_args!("the destination holds rows, {rows:?}: {EMPTY}"));
}

/// What a reader sees.
pub(super) async fn read<D: Destination>(destination: &D) -> Vec<u64> {
    let rows = destination.read().await;
    given(rows.is_sorted(), format_args!("`read` must give the numbers in ascending order, and gives {rows:?}"));
    rows
}

/// The load of one shard, as the runtime drives a sink: epoch after epoch, what is staged goes through a checkpoint. If the sink demands
/// enumerations, the epochs are parts of one.
pub(super) struct Shard<'a, D: Destination> {
    destination: &'a D,
    sink: D::Sink,
    key: ShardKey,
    pub(super) life: &'static str,
    pub(super) generation: u64,
    pub(super) epoch: u64,
    pub(super) previous: Option<u64>,
    pub(super) enumeration: Option<Enumeration>,
    env: Env,
}

/// As the digest of a mark.
pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is staged, as a checkpoint holds it.
pub(super) type Held = Option<serde_json::Value>;

impl<'a, D: Destination> Shard<'a, D> {
    pub(super) fn new(destination: &'a D, shard: u32) -> Self {
        Self::of("conformance", destination, shard)
    }

    /// Shards beside the first one: another of its pipeline, and the first of another pipeline, whose name begins alike.
    pub(super) fn others(destination: &'a D) -> [Self; 2] {
        [Self::new(destination, 1), Self::of("conformance-0", destination, 0)]
    }

    fn of(pipeline: &str, destination: &'a D, shard: u32) -> Self {
        let key = ShardKey { pipeline: PipelineName::new(pipeline).expect("a valid name"), shard };
        let (life, env) = ("first", test_env(1));
        let sink = destination.sink();
        let enumeration = (sink.demand() == Demand::Enumerations).then(|| Enumeration::begun(1));
        Self { destination, sink, key, life, generation: 1, epoch: 1, previous: None, enumeration, env }
    }

    /// The same shard in a new process, at the same place.
    pub(super) fn restarted(&self) -> Self {
        Self {
            sink: self.destination.sink(),
            key: self.key.clone(),
            env: test_env(self.generation + 1),
            enumeration: self.enumeration,
            ..*self
        }
    }

    /// The same shard in a process that has these faults, if it can be had.
    pub(super) async fn reached_by(&self, faults: &Faults) -> Option<Self> {
        Some(Self { sink: self.destination.reached_by(faults).await?, ..self.restarted() })
    }

    /// The same shard in the hands of its next owner.
    pub(super) fn taken_over(&self) -> Self {
        Self { generation: self.generation + 1, ..self.restarted() }
    }

    pub(super) fn context(&self) -> EpochContext {
        let context = EpochContext::new(self.key.clone(), self.generation, self.epoch, self.env.clone());
        let must_commit = self.enumeration.is_some_and(|e| e.whole);
        EpochContext { enumeration: self.enumeration, must_commit, ..context }
    }

    /// Stages rows; checks that as many are counted.
    pub(super) async fn stage(&self, numbers: Range<u64>) -> Held {
        self.stage_as(self.context(), numbers).await
    }

    pub(super) async fn stage_as(&self, context: EpochContext, numbers: Range<u64>) -> Held {
        self.try_stage(context, numbers).await.expect("rows are staged")
    }

    pub(super) async fn try_stage(&self, context: EpochContext, numbers: Range<u64>) -> Result<Held> {
        let rows = numbers.end.saturating_sub(numbers.start);
        let mut writer = self.sink.open(context).await?;
        // In two items: an epoch is more than one.
        let middle = numbers.start + rows / 2;
        for part in [numbers.start..middle, middle..numbers.end] {
            if !part.is_empty() {
                let rejects = writer.write(self.destination.item(part)).await?;
                assert!(rejects.is_empty(), "rows of the check are refused");
            }
        }
        let Some(output) = writer.finish().await? else { return Ok(None) };
        assert_eq!(output.records, rows, "the sink counts other rows than it was given");
        Ok(Some(serde_json::to_value(&output.staged).expect("what is staged goes into a checkpoint")))
    }

    pub(super) fn mark(&self, staged: &Held) -> Mark {
        let digest = digest(&format!("{staged:?}"));
        Mark { incarnation: Incarnation(self.life.into()), generation: self.generation, epoch: self.epoch, digest }
    }

    pub(super) fn request(&self, staged: &Held) -> CommitRequest<<D::Sink as Sink>::Staged> {
        let held = staged.clone().expect("something is staged");
        let held = serde_json::from_value(held).expect("what a checkpoint holds is read again");
        let request = CommitRequest::new(self.key.clone(), self.mark(staged), self.previous, held);
        CommitRequest { enumeration: self.enumeration, ..request }
    }

    /// Asks for a commit once.
    pub(super) async fn try_commit(&self, staged: &Held) -> Result<CommitOutcome> {
        self.sink.commit(&self.env, self.request(staged)).await
    }

    /// Asks for a commit as the runtime does: again after an error that is transient or leaves doubt.
    pub(super) async fn commit(&self, staged: &Held) -> CommitOutcome {
        let mut tries = 1;
        loop {
            match self.try_commit(staged).await {
                Ok(outcome) => return outcome,
                Err(e) if tries < 5 && (e.is_transient() || e.kind() == ErrorKind::Ambiguous) => tries += 1,
                Err(e) => panic!("commit: {e}"),
            }
        }
    }

    /// Goes on to the next epoch.
    pub(super) fn next(&mut self) {
        self.previous = Some(self.epoch);
        self.epoch += 1;
    }

    /// Loads rows as one epoch.
    pub(super) async fn load(&mut self, numbers: Range<u64>) {
        let staged = self.stage(numbers).await;
        assert_eq!(self.commit(&staged).await, CommitOutcome::Done);
        self.next();
    }

    /// The next epoch is of this enumeration.
    pub(super) fn begin(&mut self, number: u64) {
        self.enumeration = Some(Enumeration::begun(number));
    }

    /// The next epoch makes the enumeration whole: it has no rows.
    pub(super) fn end(&mut self) {
        self.enumeration = self.enumeration.map(|e| Enumeration { whole: true, ..e });
    }

    /// Makes the enumeration whole, and begins the next.
    pub(super) async fn make_whole(&mut self) -> Mark {
        self.end();
        let staged = self.stage(0..0).await;
        assert!(staged.is_some(), "the step that makes an enumeration whole must be committed");
        assert_eq!(self.commit(&staged).await, CommitOutcome::Done);
        let mark = self.mark(&staged);
        self.next();
        self.enumeration = self.enumeration.map(|e| Enumeration::begun(e.number + 1));
        mark
    }

    pub(super) async fn held(&self) -> Option<Mark> {
        self.sink.mark(&self.key).await.expect("mark")
    }

    pub(super) async fn collect(&self, below: u64, keep: &[&Held]) -> u64 {
        let keep: Vec<_> = keep.iter().map(|staged| self.request(staged).staged).collect();
        self.sink.collect(&self.key, below, &keep).await.expect("collect")
    }

    pub(super) async fn rows(&self) -> Vec<u64> {
        read(self.destination).await
    }

    /// Checks what a reader sees of these rows, when they are committed and nothing else ever was. Of an enumeration that is not whole, a
    /// sink shows as much as it likes.
    pub(super) async fn sees(&self, numbers: Range<u64>, when: &str) {
        let rows = self.rows().await;
        let holds = match self.enumeration {
            None => rows.iter().copied().eq(numbers.clone()),
            Some(_) => rows.is_sorted_by(|one, next| one < next) && rows.iter().all(|row| numbers.contains(row)),
        };
        assert!(holds, "{when}: a reader sees {rows:?} of {numbers:?}");
    }

    /// Checks that a reader sees these rows in the end, once each, and nothing else: an enumeration is made whole before.
    pub(super) async fn ends_with(mut self, numbers: Range<u64>) {
        if self.enumeration.is_some() {
            self.make_whole().await;
        }
        assert_eq!(self.rows().await, Vec::from_iter(numbers), "in the end");
    }

    pub(super) fn key(&self) -> &ShardKey {
        &self.key
    }

    pub(super) fn sink(&self) -> &D::Sink {
        &self.sink
    }
}
