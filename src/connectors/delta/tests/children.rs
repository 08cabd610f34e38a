//! Rows that come and go with their parent.

use super::*;
use crate::sink::Children;
use arrow::array::{ArrayRef, UInt32Array};

/// Rows of parent, version of the parent, index (-1: a marker), and name; and whether the parent is deleted. Rows with the same
/// number come from one record.
fn items(given: &[(u32, i64, i64, i64, &str, bool)]) -> Batch {
    let index: Int64Array = given.iter().map(|r| (r.3 >= 0).then_some(r.3)).collect();
    let deleted: BooleanArray = given.iter().map(|r| Some(r.5)).collect();
    let columns: [(&str, ArrayRef); 5] = [
        ("order_id", Arc::new(Int64Array::from_iter_values(given.iter().map(|r| r.1)))),
        ("at", Arc::new(Int64Array::from_iter_values(given.iter().map(|r| r.2)))),
        ("_index", Arc::new(index)),
        ("name", Arc::new(StringArray::from_iter_values(given.iter().map(|r| r.4)))),
        ("gone", Arc::new(deleted)),
    ];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).expect("fits");
    let records: UInt32Array = given.iter().map(|r| Some(r.0)).collect();
    // Taken from a batch of that many records.
    let last = given.iter().map(|r| r.0).max().unwrap_or(0);
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..=i64::from(last)));
    let all = Batch::new(RecordBatch::try_from_iter([("n", numbers)]).expect("fits"));
    all.take(records.values()).expect("fits").with_rows(rows).expect("fits")
}

struct Load {
    store: Store,
    table: DeltaTable,
}

impl Load {
    fn new(children: Children) -> Self {
        let store = Store::memory();
        Self { table: table(&store).disposition(children), store }
    }

    async fn load(&self, batches: &[Batch]) {
        self.table.config().expect("known");
        let previous = self.table.mark(&shard()).await.expect("reads").map(|m| m.epoch);
        let epoch = previous.unwrap_or(0) + 1;
        let mut writer = self.table.open(context(1, epoch)).await.expect("opens");
        for batch in batches {
            assert_eq!(writer.write(batch.clone()).await.expect("writes").len(), 0);
        }
        let staged = writer.finish().await.expect("stages").expect("there are rows").staged;
        assert_eq!(commit(&self.table, 1, epoch, previous, &staged).await.expect("commits"), CommitOutcome::Done);
    }

    async fn seen(&self) -> Vec<String> {
        let mut all = Vec::new();
        for batch in self.table.read_batches().await.expect("reads") {
            assert!(batch.column_by_name("_landfall_group").is_none());
            let number = |name: &str| batch.column_by_name(name).expect("there").as_primitive::<Int64Type>().clone();
            let (parents, indices) = (number("order_id"), number("_index"));
            let names = batch.column_by_name("name").expect("there").as_string::<i32>().clone();
            all.extend(
                (0..batch.num_rows())
                    .map(|row| format!("{}|{}|{}", parents.value(row), indices.value(row), names.value(row))),
            );
        }
        all.sort();
        all
    }
}

#[tokio::test]
async fn children_are_those_of_the_record_that_wins() {
    let load = Load::new(Children::of(["order_id"]));
    let row = |record, parent, index, name| (record, parent, 0, index, name, false);
    // One parent twice in a batch, with three children each; and once more in the next batch.
    load.load(&[items(&[
        row(0, 1, 0, "a"),
        row(0, 1, 1, "b"),
        row(0, 1, 2, "c"),
        row(1, 1, 0, "d"),
        row(1, 1, 1, "e"),
        row(1, 1, 2, "f"),
        row(1, 2, 0, "x"),
    ])])
    .await;
    assert_eq!(load.seen().await, ["1|0|d", "1|1|e", "1|2|f", "2|0|x"]);
    load.load(&[items(&[row(0, 1, 0, "g")]), items(&[row(0, 1, 0, "h"), row(0, 3, 0, "z")])]).await;
    assert_eq!(load.seen().await, ["1|0|h", "2|0|x", "3|0|z"], "a record of another batch is another one");
    load.load(&[items(&[row(0, 1, -1, ""), row(1, 9, -1, "")])]).await;
    assert_eq!(load.seen().await, ["2|0|x", "3|0|z"], "a parent without children has none");
}

#[tokio::test]
async fn children_go_with_a_parent_that_is_deleted_and_older_ones_change_nothing() {
    let load = Load::new(Children::of(["order_id"]).newest("at").deleted_when("gone"));
    load.load(&[items(&[
        (0, 1, 5, 0, "new", false),
        (0, 1, 5, 1, "new too", false),
        (1, 1, 3, 0, "old", false),
        (2, 2, 1, 0, "x", false),
    ])])
    .await;
    assert_eq!(load.seen().await, ["1|0|new", "1|1|new too", "2|0|x"], "by the column, not by the order");
    load.load(&[items(&[(0, 1, 4, -1, "", true), (1, 2, 1, 0, "same age, later", false)])]).await;
    assert_eq!(load.seen().await, ["1|0|new", "1|1|new too", "2|0|same age, later"]);
    load.load(&[items(&[(0, 1, 6, 0, "", true), (1, 2, 2, 0, "bye", false), (2, 2, 3, -1, "", true)])]).await;
    assert_eq!(load.seen().await, Vec::<String>::new());
    load.load(&[items(&[(0, 1, 2, 0, "back", false)])]).await;
    assert_eq!(load.seen().await, ["1|0|back"], "what is emptied leaves nothing behind");
}

#[tokio::test]
async fn children_of_one_parent_in_several_files_go_together_and_no_other_file_is_touched() {
    let load = Load::new(Children::of(["order_id"]).newest("at"));
    load.load(&[items(&[(0, 1, 1, 0, "a", false)])]).await;
    load.load(&[items(&[(0, 7, 1, 0, "other", false)])]).await;
    // Another writer puts a newer row of the parent into a file of its own.
    let appends = table(&load.store);
    let more = items(&[(0, 1, 5, 1, "b", false)]).rows().clone();
    let staged = stage(&appends, 1, 3, more).await;
    commit(&appends, 1, 3, Some(2), &staged).await.expect("commits");
    let before: Vec<_> = files(&load.store).await.into_iter().map(|f| f.path).collect();
    load.load(&[items(&[(0, 1, 4, 0, "late", false)])]).await;
    assert_eq!(load.seen().await, ["1|0|a", "1|1|b", "7|0|other"], "one of them is newer");
    assert_eq!(files(&load.store).await.into_iter().map(|f| f.path).collect::<Vec<_>>(), before);
    load.load(&[items(&[(0, 1, 5, 0, "c", false)])]).await;
    assert_eq!(load.seen().await, ["1|0|c", "7|0|other"]);
    assert!(files(&load.store).await.iter().any(|file| before.contains(&file.path)));
}

#[tokio::test]
async fn a_child_without_a_parent_goes_to_the_quarantine() {
    let load = Load::new(Children::of(["order_id"]));
    let rows = items(&[(0, 1, 0, 0, "a", false), (1, 2, 0, 0, "b", false)]);
    let mut columns = rows.rows().columns().to_vec();
    columns[0] = Arc::new(Int64Array::from(vec![None, Some(2)]));
    let rows = rows.with_rows(RecordBatch::try_new(rows.rows().schema(), columns).expect("fits")).expect("fits");
    let mut writer = load.table.open(context(1, 1)).await.expect("opens");
    assert_eq!(writer.write(rows).await.expect("writes")[0].code, "null_key");
}
