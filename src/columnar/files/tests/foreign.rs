//! Files that ask for more than a process has, and those of writers that look like them. Each is read in both ways: as a file of a dataset, and as
//! one of a table.

use crate::columnar::files::fetching::fetch;
use crate::columnar::files::pages::Pages;
use crate::columnar::files::reading::{AT_ONCE, Rows};
use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use bytes::Bytes;
use futures::TryStreamExt;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{
    ARROW_SCHEMA_META_KEY, ArrowWriter, ParquetRecordBatchStreamBuilder, ProjectionMask, encode_arrow_schema,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    KeyValue, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::properties::WriterProperties;
use std::io::Cursor;
use std::iter::repeat_n;
use std::sync::Arc;

const MOST: u64 = u64::MAX;

/// The rows of each batch, or why there are none.
type Read = Result<Vec<usize>, ParquetError>;

async fn read(file: &Bytes) -> [Read; 2] {
    [whole(file), fetched(file).await]
}

fn whole(file: &Bytes) -> Read {
    Rows::whole(file.clone(), MOST)?.map(|batch| batch.map(|batch| batch.num_rows())).collect()
}

async fn fetched(file: &Bytes) -> Read {
    let plan = |footer, reader| Ok(ParquetRecordBatchStreamBuilder::new_with_metadata(reader, footer));
    let batches = fetch(Cursor::new(file.clone()), MOST, plan).await?;
    batches.map_ok(|batch| batch.num_rows()).try_collect().await
}

async fn is_read(file: &Bytes, rows: usize) {
    for batches in read(file).await {
        assert_eq!(batches.expect("reads").iter().sum::<usize>(), rows);
    }
}

async fn is_refused(file: &Bytes, why: &str) {
    for batches in read(file).await {
        let error = batches.expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// Whether the file would be decoded, without doing it.
fn check(file: &Bytes) -> Result<(), ParquetError> {
    Pages::of(&footer(file))?.check_all(file)
}

fn footer(file: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new().parse_and_finish(file).expect("a footer")
}

fn file(columns: Vec<ArrayRef>, properties: WriterProperties) -> Bytes {
    let named = columns.into_iter().enumerate().map(|(number, column)| (format!("c{number}"), column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(named).expect("fits");
    let mut file = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a file");
    file.write(&batch).expect("writes");
    file.into_inner().expect("closes").into()
}

fn plain() -> WriterProperties {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    WriterProperties::builder().set_dictionary_enabled(false).set_compression(zstd).build()
}

/// Other bytes, and behind them the footer of a file with other row groups.
fn with_groups(mut bytes: Vec<u8>, file: &Bytes, change: impl FnOnce(&mut Vec<RowGroupMetaData>)) -> Bytes {
    let mut footer = footer(file).into_builder();
    let mut groups = footer.take_row_groups();
    change(&mut groups);
    let footer = footer.set_row_groups(groups).build();
    ParquetMetaDataWriter::new(&mut bytes, &footer).finish().expect("writes");
    bytes.into()
}

fn numbers() -> ArrayRef {
    Arc::new(Int64Array::from(vec![1, 2, 3]))
}

fn element() -> FieldRef {
    Arc::new(Field::new("element", DataType::Int64, true))
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A page of the first version, that says how long it is without compression and how many values it has.
fn page(whole: u64, values: u64, body: &[u8]) -> Vec<u8> {
    // The last bit of a number is its sign.
    let number = |number: u64| varint(number << 1);
    let mut page = vec![0x15, 0, 0x15];
    page.extend(number(whole));
    page.push(0x15);
    page.extend(number(body.len() as u64));
    page.extend_from_slice(&[0x2c, 0x15]);
    page.extend(number(values));
    page.extend_from_slice(&[0x15, 0, 0x15, 6, 0x15, 6, 0, 0]);
    page.extend_from_slice(body);
    page
}

/// So many times the same level after each other.
fn levels(runs: &[(u64, u8)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (count, level) in runs {
        bytes.extend(varint(*count << 1));
        bytes.push(*level);
    }
    let length = u32::try_from(bytes.len()).expect("short").to_le_bytes();
    [length.to_vec(), bytes].concat()
}

/// A file of so many lists, with a page of these levels and no number in it, of which the footer says how many values it has.
fn of_lists(rows: u64, said: u64, repetition: &[(u64, u8)], definition: &[(u64, u8)]) -> Bytes {
    let values: u64 = definition.iter().map(|(count, _)| count).sum();
    let body = [levels(repetition), levels(definition)].concat();
    let page = page(body.len() as u64, values, &body);
    let list: ArrayRef = Arc::new(ListArray::new_null(element(), 1));
    let like = file(vec![list], WriterProperties::new());
    with_groups([b"PAR1".to_vec(), page.clone()].concat(), &like, |groups| {
        let mut group = groups[0].clone().into_builder();
        let columns = group.take_columns().into_iter().map(|column| {
            let column = column.into_builder().set_data_page_offset(4).set_dictionary_page_offset(None);
            let column = column.set_total_compressed_size(page.len() as i64).set_num_values(said as i64);
            column.build().expect("a column")
        });
        let columns = columns.collect();
        groups[0] = group.set_column_metadata(columns).set_num_rows(rows as i64).build().expect("a row group");
    })
}

/// Lists that are all null, of which the writer says that each has so many numbers.
fn of_fixed_size(length: i32, rows: usize) -> Bytes {
    let field = Field::new("list", DataType::FixedSizeList(element(), length), true);
    let said = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&Schema::new(vec![field])));
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![said])).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let list: ArrayRef = Arc::new(ListArray::new_null(element(), rows));
    let batch = RecordBatch::try_from_iter_with_nullable([("list", list, true)]).expect("fits");
    let mut file = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options).expect("a file");
    file.write(&batch).expect("writes");
    file.into_inner().expect("closes").into()
}

#[tokio::test]
async fn a_type_of_the_writer_for_which_there_is_no_memory_is_refused_or_not_looked_at() {
    let file = of_fixed_size(i32::MAX, 3);
    let error = whole(&file).expect_err("16 GiB in each row").to_string();
    let why = "a value of the column \"list\" has 17179869176 bytes, and can have 67108864 at most";
    assert!(error.contains(why), "{error}");
    assert_eq!(fetched(&file).await.expect("lists of any size"), [3]);
    let rows = Rows::open(file, MOST, AT_ONCE, |_| ProjectionMask::all()).expect("lists of any size");
    assert!(matches!(rows.schema().field(0).data_type(), DataType::List(_)), "{:?}", rows.schema());
}

#[test]
fn lists_of_a_fixed_size_are_read_as_such() {
    let rows = Rows::whole(of_fixed_size(2, 3), MOST).expect("opens");
    let batches: Vec<_> = rows.collect::<Result<_, _>>().expect("reads");
    let [batch] = &batches[..] else { panic!("one batch") };
    assert!(matches!(batch.column(0).data_type(), DataType::FixedSizeList(_, 2)));
    assert_eq!((batch.num_rows(), batch.column(0).null_count()), (3, 3));
}

#[tokio::test]
async fn few_of_wide_rows_are_decoded_at_a_time() {
    // 8 MiB each, and 64 KiB.
    assert_eq!(whole(&of_fixed_size(1 << 20, 10)).expect("reads"), [8, 2]);
    let texts: ArrayRef = Arc::new(FixedSizeBinaryArray::new_null(1 << 16, 1025));
    for batches in read(&file(vec![texts], WriterProperties::new())).await {
        assert_eq!(batches.expect("reads"), [1024, 1]);
    }
}

#[tokio::test]
async fn a_list_of_more_values_than_its_bytes_can_stand_for_is_refused() {
    const MEBI: u64 = 1 << 20;
    let of_nulls = |count: u64, said: u64| of_lists(1, said, &[(1, 0), (count - 1, 1)], &[(count, 2)]);
    is_read(&of_nulls(MEBI, MEBI), 1).await;
    is_refused(&of_nulls(20 * MEBI, 20 * MEBI), "a row group says that it has 20971519 values in its lists").await;
    is_refused(&of_nulls(9, 8), "a column says that it has 9 values, and can have 8 at most").await;
}

#[tokio::test]
async fn a_column_without_lists_has_no_more_values_than_rows() {
    let good = file(vec![numbers()], WriterProperties::new());
    let fewer = with_groups(good.to_vec(), &good, |groups| {
        groups[0] = groups[0].clone().into_builder().set_num_rows(2).build().expect("a row group");
    });
    is_refused(&fewer, "a column says that it has 3 values, and can have 2 at most").await;
}

#[tokio::test]
async fn long_runs_of_nulls_and_of_lists_that_are_empty_or_alike_are_read() {
    const ROWS: usize = 20_000;
    const MANY: u64 = 20 << 20;
    let of = |length: usize| -> ArrayRef {
        let values = Int64Array::from_iter_values(repeat_n(7, ROWS * length));
        let offsets = OffsetBuffer::from_lengths(repeat_n(length, ROWS));
        Arc::new(ListArray::new(element(), offsets, Arc::new(values), None))
    };
    let nulls: ArrayRef = Arc::new(ListArray::new_null(element(), ROWS));
    for properties in [WriterProperties::new(), plain()] {
        is_read(&file(vec![Arc::clone(&nulls), of(0), of(50)], properties), ROWS).await;
    }
    // More than any list may have, and one in each row.
    for level in [0, 1] {
        check(&of_lists(MANY, MANY, &[(MANY, 0)], &[(MANY, level)])).expect("nulls or empty lists");
    }
}

#[tokio::test]
async fn a_place_that_is_named_twice_is_refused() {
    let good = file(vec![numbers(), numbers()], WriterProperties::new());
    is_read(&good, 3).await;
    let group_twice = with_groups(good.to_vec(), &good, |groups| groups.extend_from_within(..));
    let column_twice = with_groups(good.to_vec(), &good, |groups| {
        let columns = groups[0].columns_mut();
        columns[1] = columns[0].clone();
    });
    for bad in [group_twice, column_twice] {
        is_refused(&bad, "two columns of the file share a place").await;
    }
}

#[tokio::test]
async fn pages_that_are_decoded_together_with_more_bytes_than_theirs_can_give_are_refused() {
    // Each page says that it has 1 MiB, out of some bytes.
    let page = page(1 << 20, 3, &[0; 8]);
    let of_columns = |count: usize| {
        let like = file(repeat_n(numbers(), count).collect(), plain());
        with_groups([b"PAR1".to_vec(), page.repeat(count)].concat(), &like, |groups| {
            let length = page.len() as i64;
            for (column, number) in groups[0].columns_mut().iter_mut().zip(0..) {
                let changed = column.clone().into_builder().set_data_page_offset(4 + number * length);
                let changed = changed.set_dictionary_page_offset(None).set_total_compressed_size(length);
                *column = changed.build().expect("a column");
            }
        })
    };
    check(&of_columns(60)).expect("any process has room for that");
    is_refused(&of_columns(100), "a row group says that it has 104857600 bytes in its pages").await;
}

#[tokio::test]
async fn pages_and_columns_that_are_all_alike_are_read() {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(repeat_n("nothing changes here, ever", 20_000)));
    let alike = file(vec![texts], plain());
    let footer = footer(&alike);
    let column = footer.row_group(0).column(0);
    assert!(column.compressed_size() * 1_000 < column.uncompressed_size(), "{column:?}");
    is_read(&alike, 20_000).await;
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(repeat_n(7, 2_000)));
    is_read(&file(repeat_n(numbers, 1_000).collect(), plain()), 2_000).await;
}
