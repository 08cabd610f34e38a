use super::*;
use crate::env::Env;
use crate::error::{ErrorKind, Result};
use crate::model::{Incarnation, PipelineName, Rows, ShardKey};
use crate::sink::{
    CommitOutcome, CommitRequest, Demand, EpochContext, Mark, MemorySink, MemoryTable, Sink, StagedOutput, Writer,
};
use crate::testkit::conformance::logged::logged;
use crate::testkit::{FaultSink, Faults, Mode, Target};
use async_trait::async_trait;

type Memory = MemorySink<Rows<u64>>;

#[derive(Clone, Default)]
struct World {
    items: MemoryTable<Rows<u64>>,
    orders: MemoryTable<Rows<u64>>,
}

impl World {
    /// As another process would make it.
    fn set(&self) -> TableSet<Rows<u64>> {
        self.over(&Faults::none())
    }

    /// With faults of the second table.
    fn over(&self, faults: &Faults) -> TableSet<Rows<u64>> {
        let orders = FaultSink::new(Memory::new(&self.orders), faults);
        TableSet::new().table("items", Memory::new(&self.items)).table("orders", orders)
    }

    fn rows(&self) -> (Vec<u64>, Vec<u64>) {
        (self.items.rows(), self.orders.rows())
    }

    async fn epochs(&self) -> [Option<u64>; 2] {
        let epoch = |mark: Option<Mark>| mark.map(|mark| mark.epoch);
        let of = async |table| epoch(MemorySink::new(table).mark(&shard()).await.expect("reads"));
        [of(&self.items).await, of(&self.orders).await]
    }
}

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("p").expect("valid"), shard: 0 }
}

fn request(epoch: u64, previous: Option<u64>, staged: TableSetStaged) -> CommitRequest<TableSetStaged> {
    let digest = format!("{epoch:064x}");
    CommitRequest::new(
        shard(),
        Mark { incarnation: Incarnation("a".into()), generation: 1, epoch, digest },
        previous,
        staged,
    )
}

async fn stage(set: &TableSet<Rows<u64>>, epoch: u64, item: Tables<Rows<u64>>) -> StagedOutput<TableSetStaged> {
    let mut writer = set.open(EpochContext::new(shard(), 1, epoch, Env::system())).await.expect("opens");
    assert!(writer.write(item).await.expect("writes").is_empty());
    writer.finish().await.expect("finishes").expect("there are rows")
}

async fn commit(
    set: &TableSet<Rows<u64>>,
    epoch: u64,
    previous: Option<u64>,
    staged: &TableSetStaged,
) -> Result<CommitOutcome> {
    // By the name in a checkpoint.
    let text = serde_json::to_string(staged).expect("plain data");
    let staged = serde_json::from_str(&text).expect("own text");
    set.commit(&Env::system(), request(epoch, previous, staged)).await
}

#[tokio::test]
async fn all_tables_hold_each_epoch_also_without_rows_for_it() {
    let world = World::default();
    let output =
        stage(&world.set(), 1, Tables::new().with("orders", Rows(vec![1])).with("items", Rows(vec![11, 12]))).await;
    assert_eq!(output.records, 3);
    assert_eq!(commit(&world.set(), 1, None, &output.staged).await.expect("commits"), CommitOutcome::Done);
    let second = stage(&world.set(), 3, Tables::new().with("orders", Rows(vec![2]))).await;
    assert_eq!(commit(&world.set(), 3, Some(1), &second.staged).await.expect("commits"), CommitOutcome::Done);
    let again = commit(&world.set(), 3, Some(1), &second.staged).await.expect("answers");
    assert_eq!(again, CommitOutcome::AlreadyCommitted);
    assert_eq!((world.rows(), world.epochs().await), ((vec![11, 12], vec![1, 2]), [Some(3); 2]));
    assert_eq!(world.set().mark(&shard()).await.expect("reads").map(|m| m.epoch), Some(3));
}

#[tokio::test]
async fn a_crash_between_two_tables_is_rolled_forward_and_nothing_doubled() {
    let world = World::default();
    let first = stage(&world.set(), 1, Tables::new().with("items", Rows(vec![11])).with("orders", Rows(vec![1]))).await;
    for (epoch, previous, staged) in [
        (1, None, first),
        (2, Some(1), {
            let tables = Tables::new().with("orders", Rows(vec![2])).with("items", Rows(vec![21, 22]));
            stage(&world.set(), 2, tables).await
        }),
    ] {
        let down = world.over(&Faults::at(Target::operation("commit"), Mode::Fail));
        let error = commit(&down, epoch, previous, &staged.staged).await.expect_err("the second table is down");
        assert!(error.is_transient() && error.to_string().contains("orders"), "{error}");
        assert_eq!(world.epochs().await, [Some(epoch), previous]);
        // What is held by all of them.
        assert_eq!(world.set().mark(&shard()).await.expect("reads").map(|m| m.epoch), previous);
        assert_eq!(commit(&world.set(), epoch, previous, &staged.staged).await.expect("commits"), CommitOutcome::Done);
        assert_eq!(world.epochs().await, [Some(epoch); 2]);
    }
    assert_eq!(world.rows(), (vec![11, 21, 22], vec![1, 2]));
}

#[tokio::test]
async fn nothing_changes_anywhere_if_one_table_does_not_fit() {
    let world = World::default();
    let first = stage(&world.set(), 1, Tables::new().with("items", Rows(vec![11])).with("orders", Rows(vec![1]))).await;
    commit(&world.set(), 1, None, &first.staged).await.expect("commits");
    let second = stage(&world.set(), 2, Tables::new().with("items", Rows(vec![21]))).await;
    // The last table was lost; or is new in the set.
    let lost = World { orders: MemoryTable::new(), ..world.clone() };
    let outcome = commit(&lost.set(), 2, Some(1), &second.staged).await.expect("answers");
    assert_eq!((outcome, lost.rows()), (CommitOutcome::Gap { found: None }, (vec![11], vec![])));
    assert_eq!(lost.set().mark(&shard()).await.expect("reads"), None);
    // It is of another history: beyond the epoch that the others wait for.
    let alone = TableSet::new().table("orders", MemorySink::new(&world.orders));
    let beyond = stage(&alone, 9, Tables::new().with("orders", Rows(vec![9]))).await;
    commit(&alone, 9, Some(1), &beyond.staged).await.expect("commits");
    let outcome = commit(&world.set(), 2, Some(1), &second.staged).await.expect("answers");
    assert!(matches!(outcome, CommitOutcome::Fork { .. }), "{outcome:?}");
    assert_eq!(world.items.rows(), [11]);
}

#[tokio::test]
async fn two_entries_that_are_one_table_are_found_out() {
    let table = MemoryTable::new();
    let set = TableSet::new().table("a", Memory::new(&table)).table("b", Memory::new(&table));
    let staged = stage(&set, 1, Tables::new().with("a", Rows(vec![1])).with("b", Rows(vec![2]))).await;
    let committed = commit(&set, 1, None, &staged.staged).await;
    assert!(!matches!(committed, Ok(CommitOutcome::Done | CommitOutcome::AlreadyCommitted)), "{committed:?}");
}

#[tokio::test]
async fn rows_for_a_table_that_is_not_in_the_set_are_never_dropped() {
    let world = World::default();
    let mut writer = world.set().open(EpochContext::new(shard(), 1, 1, Env::system())).await.expect("opens");
    let item = Tables::new().with("orders", Rows(vec![1])).with("taxes", Rows(vec![7]));
    let error = writer.write(item).await.expect_err("there is no such table");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("taxes"), "{error}");
    assert_eq!(writer.finish().await.expect("finishes"), None, "nothing of it is staged");
}

#[tokio::test]
async fn what_is_prepared_is_committed_by_the_tables_that_staged_it() {
    let world = World::default();
    let staged = stage(&world.set(), 1, Tables::new().with("items", Rows(vec![1]))).await.staged;
    let fewer = TableSet::new().table("items", MemorySink::new(&world.items));
    let more = world.set().table("taxes", Memory::new(&MemoryTable::new()));
    for set in [fewer, more] {
        let error = commit(&set, 1, None, &staged).await.expect_err("another set");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
    assert_eq!(world.epochs().await, [None, None]);
}

#[tokio::test]
async fn a_whole_enumeration_is_committed_to_every_table() {
    let world = World::default();
    let replace = |table: &MemoryTable<Rows<u64>>| MemorySink::new(table).replace();
    let set = TableSet::new().table("items", replace(&world.items)).table("orders", replace(&world.orders));
    assert_eq!((set.demand(), set.config().is_ok()), (Demand::Enumerations, true));
    let context = EpochContext { must_commit: true, ..EpochContext::new(shard(), 1, 1, Env::system()) };
    let output = set.open(context).await.expect("opens").finish().await.expect("finishes").expect("must be committed");
    assert_eq!(commit(&set, 1, None, &output.staged).await.expect("commits"), CommitOutcome::Done);
    assert_eq!(world.epochs().await, [Some(1); 2]);
}

#[test]
fn a_set_that_makes_no_sense_is_refused() {
    let table = MemoryTable::new();
    let sink = || Memory::new(&table);
    let refused = [
        TableSet::new(),
        TableSet::new().table("", sink()),
        TableSet::new().table("a", sink()).table("a", sink()),
        TableSet::new().table("a", sink()).table("b", sink().replace()),
    ];
    for set in refused {
        assert_eq!(set.config().expect_err("makes no sense").kind(), ErrorKind::Config, "{set:?}");
    }
    let identity = |set: TableSet<Rows<u64>>| set.config().expect("makes sense").identity;
    let set = || TableSet::new().table("a", sink());
    assert_ne!(identity(set()), identity(set().table("b", sink())));
    assert_eq!(identity(set().table("b", sink())), identity(TableSet::new().table("b", sink()).table("a", sink())));
}

#[tokio::test]
async fn collection_goes_through_all_tables_and_keeps_what_is_prepared() {
    let world = World::default();
    let kept = stage(&world.set(), 1, Tables::new().with("items", Rows(vec![1]))).await.staged;
    stage(&world.set(), 2, Tables::new().with("items", Rows(vec![2]))).await;
    let deleted = world.set().collect(&shard(), 2, std::slice::from_ref(&kept)).await.expect("collects");
    assert_eq!((deleted, world.items.staged_epochs(), world.orders.staged_epochs()), (2, 1, 1));
    assert_eq!(commit(&world.set(), 1, None, &kept).await.expect("commits"), CommitOutcome::Done);
}

/// Numbers by threes: the tables of an epoch differ in their rows.
struct Sorts {
    tables: [MemoryTable<Rows<u64>>; 2],
    replaces: bool,
}

impl Sorts {
    fn new(replaces: bool) -> Self {
        Self { tables: Default::default(), replaces }
    }

    /// What a set does to one of its tables may fail.
    fn over(&self, faults: &Faults) -> TableSet<Rows<u64>> {
        let sink = |table| if self.replaces { MemorySink::new(table).replace() } else { MemorySink::new(table) };
        let sink = |table| FaultSink::new(sink(table), faults);
        TableSet::new().table("threes", sink(&self.tables[0])).table("others", sink(&self.tables[1]))
    }
}

#[async_trait]
impl crate::testkit::conformance::Destination for Sorts {
    type Sink = TableSet<Rows<u64>>;

    fn sink(&self) -> Self::Sink {
        self.over(&Faults::none())
    }

    async fn reached_by(&self, faults: &Faults) -> Option<Self::Sink> {
        Some(self.over(faults))
    }

    fn item(&self, numbers: std::ops::Range<u64>) -> Tables<Rows<u64>> {
        let (threes, others) = numbers.partition(|n| n % 3 == 0);
        Tables::new().with("others", Rows(others)).with("threes", Rows(threes))
    }

    /// The tables hold every number.
    fn bad_item(&self, _numbers: std::ops::Range<u64>) -> Option<Tables<Rows<u64>>> {
        None
    }

    fn stages_outside(&self) -> bool {
        true
    }

    async fn read(&self) -> Vec<u64> {
        let mut rows: Vec<u64> = self.tables.iter().flat_map(MemoryTable::rows).collect();
        rows.sort_unstable();
        rows
    }
}

mod conforms {
    use super::Sorts;
    crate::sink_conformance!(Sorts::new(false));
}

mod conforms_where_it_replaces {
    use super::Sorts;
    crate::enumeration_conformance!(Sorts::new(true));
}

#[tokio::test]
async fn the_bytes_of_a_set_are_those_of_all_of_its_tables() {
    let tables = Tables::new().with("orders", Rows(vec![1_u64, 2])).with("items", Rows(vec![11]));
    assert_eq!(tables.bytes(), 24);
    let world = World::default();
    let mut writer = world.set().open(EpochContext::new(shard(), 1, 1, Env::system())).await.expect("opens");
    assert_eq!(writer.staged_bytes(), 0);
    writer.write(tables).await.expect("writes");
    assert_eq!(writer.staged_bytes(), 24);
    let output = writer.finish().await.expect("finishes").expect("there are rows");
    assert_eq!((output.records, output.bytes), (3, 24));
}

#[tokio::test]
async fn a_set_and_its_writer_are_shown_by_the_names_of_the_tables() {
    let set = World::default().set();
    assert_eq!(format!("{set:?}"), r#"["items", "orders"]"#);
    let writer = set.open(EpochContext::new(shard(), 1, 7, Env::system())).await.expect("opens");
    assert_eq!(format!("{writer:?}"), r#"TableSetWriter { set: ["items", "orders"], epoch: 7, .. }"#);
}

#[tokio::test]
async fn a_fork_is_told_before_a_gap_and_a_gap_before_a_newer_owner() {
    let of = |life: &str, generation: u64, epoch: u64| {
        let digest = format!("{epoch:064x}");
        Mark { incarnation: Incarnation(life.into()), generation, epoch, digest }
    };
    let (other_life, behind, newer) = (of("b", 1, 1), of("a", 1, 2), of("a", 2, 2));
    let fork = CommitOutcome::Fork { found: other_life.clone() };
    let gap = CommitOutcome::Gap { found: Some(behind.clone()) };
    for (items, orders, expected) in [
        (&newer, &behind, &gap),
        (&behind, &newer, &gap),
        (&behind, &other_life, &fork),
        (&other_life, &behind, &fork),
        (&newer, &other_life, &fork),
        (&other_life, &newer, &fork),
    ] {
        let world = World::default();
        for (name, table, held) in [("items", &world.items, items), ("orders", &world.orders, orders)] {
            let alone = TableSet::new().table(name, Memory::new(table));
            let staged = stage(&alone, held.epoch, Tables::new().with(name, Rows(vec![0]))).await.staged;
            let request = CommitRequest::new(shard(), held.clone(), None, staged);
            assert_eq!(alone.commit(&Env::system(), request).await.expect("commits"), CommitOutcome::Done);
        }
        let staged = stage(&world.set(), 3, Tables::new().with("items", Rows(vec![31]))).await.staged;
        let outcome = commit(&world.set(), 3, Some(1), &staged).await.expect("answers");
        assert_eq!(outcome, *expected, "{items:?} {orders:?}");
        assert_eq!(world.rows(), (vec![0], vec![0]), "nothing changes");
    }
}

#[tokio::test]
async fn tables_that_hold_different_epochs_are_told_of_and_no_others() {
    let world = World::default();
    let staged = stage(&world.set(), 1, Tables::new().with("items", Rows(vec![1]))).await.staged;
    let down = world.over(&Faults::at(Target::operation("commit"), Mode::Fail));
    commit(&down, 1, None, &staged).await.expect_err("the second table is down");
    let told = "the tables of a set hold different epochs";
    let (held, log) = logged(world.set().mark(&shard())).await;
    assert!(held.expect("reads").is_none() && log.contains(told), "{log}");
    commit(&world.set(), 1, None, &staged).await.expect("commits");
    let (held, log) = logged(world.set().mark(&shard())).await;
    assert!(held.expect("reads").is_some() && !log.contains(told), "{log}");
}

#[test]
fn a_set_is_configured_as_its_tables_are() {
    let table = MemoryTable::new();
    let set = || TableSet::new().table("a", Memory::new(&table));
    // A set is a sink too.
    let around = |inner: TableSet<Rows<u64>>| TableSet::new().table("inner", inner).config();
    let (one, two) = (around(set()), around(set().table("b", Memory::new(&table))));
    assert_ne!(one.expect("makes sense").identity, two.expect("makes sense").identity);
    let error = around(TableSet::new()).expect_err("it has no tables");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("inner"), "{error}");
}
