//! Columns of every type, and rows that no JSON has, for the tests of sinks.

use landfall::columnar::Batch;
use landfall::columnar::arrow::array::ArrayRef;
use landfall::columnar::arrow::record_batch::RecordBatch;

/// A column of each type that every database has a place for.
pub const TYPES: [(&str, &str); 14] = [
    ("id", "int64"),
    ("b", "bool"),
    ("i8", "int8"),
    ("i32", "int32"),
    ("u64", "uint64"),
    ("f32", "float32"),
    ("f64", "float64"),
    ("d", "decimal(38,10)"),
    ("t", "utf8"),
    ("j", "json"),
    ("day", "date"),
    ("at", "timestamp(us)"),
    ("wall", "datetime(ms)"),
    ("tags", "list<utf8>"),
];

pub fn row(columns: Vec<(&str, ArrayRef)>) -> Batch {
    Batch::new(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).expect("fits"))
}
