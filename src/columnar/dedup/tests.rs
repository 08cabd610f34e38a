use super::*;
use crate::columnar::{Columns, Decode};
use crate::error::ErrorKind;
use crate::model::{Page, PartitionId, Reject, Timestamp};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, LargeStringArray, RecordBatch, StringArray};
use arrow::array::{TimestampMillisecondArray, TimestampSecondArray, UInt16Array};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// Records with a key, a version and their number.
fn batch(rows: &[(Option<&str>, Option<i64>)], from: i64) -> Batch {
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(rows.iter().map(|(id, _)| *id).collect::<StringArray>())),
        ("version", Arc::new(rows.iter().map(|(_, version)| *version).collect::<Int64Array>())),
        ("n", Arc::new(Int64Array::from_iter_values(from..from + rows.len() as i64))),
    ];
    Batch::new(RecordBatch::try_from_iter(columns).expect("columns"))
}

fn column(array: impl Array + 'static) -> Batch {
    let array: ArrayRef = Arc::new(array);
    Batch::new(RecordBatch::try_from_iter([("v", array)]).expect("one column"))
}

struct Given {
    numbers: Vec<i64>,
    rejects: Vec<Reject>,
    repeated: u64,
}

fn apply(dedup: &mut Dedup, batch: Batch) -> Given {
    let before = batch.num_rows() as u64;
    let mut out = Output::new();
    dedup.apply(batch, &mut out).expect("deduplicates");
    let (batches, rejects, [filtered, repeated, fanned_out]) = out.into_parts();
    let number = |b: &Batch| b.column("n").map_or(vec![], |c| c.as_primitive::<Int64Type>().values().to_vec());
    let passed: u64 = batches.iter().map(|b| b.num_rows() as u64).sum();
    assert_eq!((before, filtered, fanned_out), (passed + repeated + rejects.len() as u64, 0, 0));
    Given { numbers: batches.iter().flat_map(number).collect(), rejects, repeated }
}

/// How many rows pass.
fn passing(dedup: &mut Dedup, batch: Batch) -> u64 {
    let rows = batch.num_rows() as u64;
    let given = apply(dedup, batch);
    rows - given.repeated - given.rejects.len() as u64
}

#[test]
fn the_first_of_a_key_passes() {
    let mut dedup = Dedup::by(["id"]);
    let rows = [(Some("a"), None), (Some("b"), None), (Some("a"), Some(1)), (None, None), (Some(""), None)];
    let given = apply(&mut dedup, batch(&rows, 0));
    assert_eq!((given.numbers, given.repeated), (vec![0, 1, 4], 1));
    let [reject] = given.rejects.as_slice() else { panic!("one refusal") };
    assert_eq!((reject.code, reject.reason.as_str()), ("key_null", "id: no key to tell repeats by"));
    assert_eq!(reject.raw, r#"{"id":null,"version":null,"n":"3"}"#);
    assert_eq!(apply(&mut dedup, batch(&rows, 10)).numbers, [0; 0]);
    assert_eq!(dedup.keys(), 3);
    let mut passes = Dedup::by(["id", "version"]).nulls_pass();
    assert_eq!(apply(&mut passes, batch(&rows, 0)).numbers, [0, 1, 2, 3, 4]);
    assert_eq!(apply(&mut passes, batch(&rows, 10)).numbers, [10, 11, 13, 14]);
}

#[test]
fn a_record_passes_if_it_is_strictly_newer() {
    let mut dedup = Dedup::by(["id"]).keep(Latest::of("version"));
    let rows =
        [(Some("a"), Some(5)), (Some("a"), Some(5)), (Some("a"), Some(4)), (Some("a"), Some(6)), (Some("b"), None)];
    assert_eq!(apply(&mut dedup, batch(&rows, 0)).numbers, [0, 3, 4]);
    let rows = [(Some("a"), None), (Some("b"), None), (Some("b"), Some(i64::MIN)), (Some("a"), Some(7))];
    assert_eq!(apply(&mut dedup, batch(&rows, 10)).numbers, [12, 13]);
}

#[test]
fn versions_are_ordered_by_their_type() {
    let orders: [(ArrayRef, ArrayRef); 4] = [
        (Arc::new(StringArray::from(vec!["10", "9"])), Arc::new(StringArray::from(vec!["9\0", "9"]))),
        (
            Arc::new(arrow::array::Float64Array::from(vec![-1.5, -0.0])),
            Arc::new(arrow::array::Float64Array::from(vec![0.0, 0.5])),
        ),
        (Arc::new(TimestampSecondArray::from(vec![1, 2])), Arc::new(TimestampMillisecondArray::from(vec![1999, 2001]))),
        (Arc::new(UInt16Array::from(vec![1, 2])), Arc::new(Int64Array::from(vec![2, 3]))),
    ];
    // The second of the first batch is newer than its first; of the second batch one is newer.
    for (first, second) in orders {
        let mut dedup = Dedup::by(["id"]).keep(Latest::of("v"));
        let mut total = 0;
        for versions in [first, second] {
            let ids: ArrayRef = Arc::new(StringArray::from(vec!["a", "a"]));
            let rows = RecordBatch::try_from_iter([("id", ids), ("v", versions)]).expect("columns");
            total += passing(&mut dedup, Batch::new(rows));
        }
        assert_eq!(total, 3);
    }
    let mut dedup = Dedup::by(["id"]).keep(Latest::of("version"));
    apply(&mut dedup, batch(&[(Some("a"), Some(1))], 0));
    let mut by_text = Dedup::by(["version"]).keep(Latest::of("id"));
    by_text.restore(vec![dedup.base().expect("writes")]).expect("restores");
    let error = by_text.apply(batch(&[(Some("a"), Some(1))], 0), &mut Output::new()).expect_err("another type");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn keys_are_the_same_by_value() {
    let decimals = |values: Vec<i128>, scale| {
        column(arrow::array::Decimal128Array::from(values).with_precision_and_scale(10, scale).expect("fits"))
    };
    let cases = [
        vec![(column(Int64Array::from(vec![7])), 1), (column(UInt16Array::from(vec![7])), 0)],
        vec![(column(StringArray::from(vec!["7"])), 1), (column(LargeStringArray::from(vec!["7"])), 0)],
        vec![
            (column(TimestampSecondArray::from(vec![7])), 1),
            (column(TimestampMillisecondArray::from(vec![7000])), 0),
        ],
        vec![(column(arrow::array::Float64Array::from(vec![7.0, 0.0, -0.0])), 2)],
        vec![(column(BooleanArray::from(vec![true, false, true])), 2)],
        vec![(decimals(vec![700, 0, 1], 2), 3), (decimals(vec![7000, 0, 10, 11], 3), 1)],
    ];
    for batches in cases {
        let mut dedup = Dedup::by(["v"]);
        for (batch, new) in batches {
            assert_eq!(passing(&mut dedup, batch), new);
        }
    }
    let null = column(arrow::array::NullArray::new(1));
    let error = Dedup::by(["v"]).apply(null, &mut Output::new()).expect_err("no key");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn keys_that_become_of_another_type_are_refused_rather_than_all_new() {
    let numbers = || column(Int64Array::from(vec![7, 8]));
    let texts = || column(StringArray::from(vec!["7", "8"]));
    let refused = |dedup: &mut Dedup| {
        let error = dedup.apply(texts(), &mut Output::new()).expect_err("another type");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("column=`v`"), "{error}");
        assert_eq!(passing(dedup, numbers()), 0, "what is known stays");
    };
    for stage in [Dedup::by(["v"]), Dedup::by(["v"]).keep(Latest::of("v"))] {
        let mut dedup = stage.clone();
        assert_eq!(passing(&mut dedup, numbers()), 2);
        let delta = dedup.delta().expect("writes").expect("has news");
        let base = dedup.base().expect("writes");
        refused(&mut dedup);
        for parts in [vec![delta.clone()], vec![base, delta]] {
            let mut again = stage.clone();
            again.restore(parts).expect("restores");
            refused(&mut again);
        }
    }
}

#[test]
fn columns_of_a_key_do_not_run_together() {
    let keys = |a: &str, b: &str| {
        let columns: [(&str, ArrayRef); 2] =
            [("a", Arc::new(StringArray::from(vec![a]))), ("b", Arc::new(StringArray::from(vec![b])))];
        Batch::new(RecordBatch::try_from_iter(columns).expect("columns"))
    };
    let mut dedup = Dedup::by(["a", "b"]);
    assert_eq!(passing(&mut dedup, keys("ab", "c")), 1);
    assert_eq!(passing(&mut dedup, keys("a", "bc")), 1);
    assert_eq!(passing(&mut dedup, keys("ab", "c")), 0);
}

#[test]
fn whole_records_are_compared_by_their_bytes() {
    let body = r#"[{"id":1},{"id":1},{"id": 1},{"id":1,"x":2}]"#;
    let page = || Page::new(PartitionId::from("p"), body, 4, Timestamp::from_micros(0));
    let mut decode = Decode::pages().schema(Columns::new().int64("id"));
    let mut batch = || {
        let mut out = Output::new();
        decode.apply(page(), &mut out).expect("decodes");
        out.into_parts().0.pop().expect("a batch")
    };
    let mut dedup = Dedup::by_content();
    assert_eq!(passing(&mut dedup, batch()), 3);
    assert_eq!(passing(&mut dedup, batch()), 0);
}

#[test]
fn the_persisted_run_is_fixed() {
    let mut first = Dedup::by(["id"]);
    apply(&mut first, batch(&[(Some("a"), None), (Some("b"), None), (Some("c"), None)], 0));
    let mut newest = Dedup::by(["id"]).keep(Latest::of("version"));
    apply(&mut newest, batch(&[(Some("a"), Some(-1)), (Some("b"), None)], 0));
    let mut text = Dedup::by(["version"]).keep(Latest::of("id"));
    apply(&mut text, batch(&[(Some("v2"), Some(1)), (None, Some(2))], 0));
    let runs: [(&mut Dedup, &[u8]); 3] = [
        (&mut first, include_bytes!("../../../tests/fixtures/dedup-first-v2.bin")),
        (&mut newest, include_bytes!("../../../tests/fixtures/dedup-latest-v2.bin")),
        (&mut text, include_bytes!("../../../tests/fixtures/dedup-latest-text-v2.bin")),
    ];
    for (dedup, fixture) in runs {
        assert_eq!(dedup.delta().expect("writes").expect("has news").as_ref(), fixture);
        assert_eq!(dedup.delta().expect("writes"), None);
        assert_eq!(dedup.base().expect("writes").as_ref(), fixture);
    }
    let mut other = Dedup::by(["id"]).seed("another");
    apply(&mut other, batch(&[(Some("a"), None)], 0));
    assert!(!first.base().expect("writes").ends_with(&other.base().expect("writes")[19..]));
    assert_ne!(first.config().expect("valid").identity, other.config().expect("valid").identity);
}

#[test]
fn runs_of_the_first_format_are_read() {
    let latest = |key: &str, version: &str| Dedup::by([key]).keep(Latest::of(version));
    let runs: [(Dedup, &'static [u8]); 3] = [
        (Dedup::by(["id"]), include_bytes!("../../../tests/fixtures/dedup-first-v1.bin")),
        (latest("id", "version"), include_bytes!("../../../tests/fixtures/dedup-latest-v1.bin")),
        (latest("version", "id"), include_bytes!("../../../tests/fixtures/dedup-latest-text-v1.bin")),
    ];
    for (mut dedup, run) in runs {
        dedup.restore(vec![Bytes::from_static(run)]).expect("restores");
        assert!(dedup.keys() > 1);
        // Of which kind keys are is learnt from the next ones, and kept from then on.
        let rows = [(Some("a"), Some(-1)), (Some("b"), Some(1)), (Some("b"), Some(2))];
        let known = dedup.keys();
        apply(&mut dedup, batch(&rows, 0));
        assert!(dedup.keys() < known + rows.len(), "some of them are known");
        assert_eq!(dedup.base().expect("writes")[4], 2);
    }
}

#[test]
fn damaged_runs_are_refused() {
    let mut dedup = Dedup::by(["id"]);
    apply(&mut dedup, batch(&[(Some("a"), None), (Some("b"), None)], 0));
    let run = dedup.base().expect("writes").to_vec();
    let changed = |at: usize, to: u8| {
        let mut run = run.clone();
        run[at] = to;
        run
    };
    let mut swapped = run.clone();
    swapped[19..].rotate_left(16);
    let mut long = run.clone();
    long.push(0);
    let wrong = [
        Vec::new(),
        run[..15].to_vec(),
        run[..17].to_vec(),
        run[..50].to_vec(),
        long,
        swapped,
        changed(0, b'X'),
        changed(4, 0),
        changed(5, 1),
        changed(6, 9),
        changed(8, 3),
        changed(15, 0x80),
        changed(16, 2),
        changed(17, 0x80),
    ];
    for run in wrong {
        let error = dedup.restore(vec![run.clone().into()]).expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{run:?}");
    }
    let newer = dedup.restore(vec![changed(4, 3).into()]).expect_err("newer");
    assert_eq!(newer.kind(), ErrorKind::Config);
    assert!(newer.to_string().contains("newer version of landfall"), "{newer}");
    let mut newest = Dedup::by(["id"]).keep(Latest::of("version"));
    assert_eq!(newest.restore(vec![run.into()]).expect_err("another rule").kind(), ErrorKind::Corrupt);
}

/// The plain way: every key and its newest version.
#[derive(Default)]
struct Model(HashMap<u8, Option<i64>>);

impl Model {
    fn passes(&mut self, latest: bool, key: u8, version: Option<i64>) -> bool {
        match self.0.get(&key) {
            Some(known) if !latest || version <= *known => false,
            _ => {
                self.0.insert(key, version);
                true
            }
        }
    }
}

/// What happens between two batches.
#[derive(Clone, Debug)]
enum Step {
    Rows(Vec<(u8, Option<i64>)>),
    Delta,
    Base,
    /// A crash: what came after the last delta or base is given again.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (0u8..40, prop::option::weighted(0.9, -5i64..20));
    let step = prop_oneof![
        6 => prop::collection::vec(row, 0..30).prop_map(Step::Rows),
        2 => Just(Step::Delta),
        1 => Just(Step::Base),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..30)
}

proptest! {
    #[test]
    fn agrees_with_a_model_over_any_batching_and_restart(steps in steps(), latest: bool, as_text: bool) {
        let stage = || {
            let stage = Dedup::by(["id"]);
            if latest { stage.keep(Latest::of("version")) } else { stage }
        };
        let give = |dedup: &mut Dedup, rows: &[(u8, Option<i64>)]| {
            let ids = Int64Array::from_iter_values(rows.iter().map(|(id, _)| i64::from(*id)));
            let numbers = rows.iter().map(|(_, version)| *version);
            // As text of one length, which is ordered as the numbers are.
            let texts = rows.iter().map(|(_, version)| version.map(|v| format!("{:03}", v + 5)));
            let versions: ArrayRef =
                if as_text { Arc::new(texts.collect::<StringArray>()) } else { Arc::new(numbers.collect::<Int64Array>()) };
            let columns: [(&str, ArrayRef); 3] = [
                ("id", Arc::new(ids)),
                ("version", versions),
                ("n", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64))),
            ];
            apply(dedup, Batch::new(RecordBatch::try_from_iter(columns).expect("columns"))).numbers
        };
        let (mut dedup, mut model) = (stage(), Model::default());
        let (mut parts, mut since): (Vec<Bytes>, Vec<Vec<(u8, Option<i64>)>>) = (Vec::new(), Vec::new());
        // The same history in one row at a time gives the same deltas.
        let mut single = stage();
        for step in steps {
            match step {
                Step::Rows(rows) => {
                    let expected: Vec<i64> = (0i64..)
                        .zip(&rows)
                        .filter(|(_, (id, version))| model.passes(latest, *id, *version))
                        .map(|(n, _)| n)
                        .collect();
                    prop_assert_eq!(give(&mut dedup, &rows), expected);
                    for row in &rows {
                        give(&mut single, std::slice::from_ref(row));
                    }
                    since.push(rows);
                }
                Step::Delta => {
                    let delta = dedup.delta().expect("writes");
                    prop_assert_eq!(&delta, &single.delta().expect("writes"));
                    parts.extend(delta);
                    since.clear();
                }
                Step::Base => {
                    parts = vec![dedup.base().expect("writes")];
                    prop_assert_eq!(&parts[0], &single.base().expect("writes"));
                    since.clear();
                }
                Step::Crash => {
                    for dedup in [&mut dedup, &mut single] {
                        *dedup = stage();
                        dedup.restore(parts.clone()).expect("restores");
                        since.iter().for_each(|rows| drop(give(dedup, rows)));
                    }
                }
            }
        }
        prop_assert_eq!(dedup.keys(), model.0.len());
    }
}
