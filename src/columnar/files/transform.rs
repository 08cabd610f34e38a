//! Columns that are made of others, to split by: the partition transforms of Apache Iceberg (format/spec.md, "Partition Transforms"
//! and Appendix B).

use super::schema::column_of;
use crate::columnar::Batch;
use crate::error::{Error, Result};
use crate::model::Reject;
use crate::store::ObjectPath;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Date32Array, Int32Array, RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, not};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Int32Type, Int64Type, Schema, TimeUnit, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use std::sync::Arc;

/// How the value of a column becomes the name of a partition: the value itself, or what Iceberg's transform makes of it.
///
/// A column that is transformed stays in the files; the partition has a column of its own, named after both, as Iceberg's Spark
/// extensions name it. Rows of a null are together, in a partition of null. Times are taken in UTC, those without a zone as if
/// they were.
///
/// | transform | of | column | value |
/// |---|---|---|---|
/// | [`identity`](Self::identity) | text, whole numbers, booleans, dates | `country` (which is not in the files then) | `NL` |
/// | [`year`](Self::year), [`month`](Self::month), [`day`](Self::day) | dates, timestamps | `at_year`, `at_month`, `at_day` | `2026`, `2026-01`, `2026-01-31` |
/// | [`hour`](Self::hour) | timestamps | `at_hour` | `2026-01-31-09` |
/// | [`bucket`](Self::bucket) | whole numbers (but `uint64`), decimals, dates, times, timestamps, text, binary | `id_bucket_16` | `0` to `15` |
/// | [`truncate`](Self::truncate) | text, whole numbers | `zip_trunc_3` | `101`, of text so many characters; `30` of 37 with a width of 10 |
///
/// ```
/// use landfall::columnar::Transform;
/// use landfall::connectors::parquet::ParquetDataset;
/// use landfall::store::Store;
///
/// let orders = ParquetDataset::in_store(&Store::memory(), "orders")?
///     .partition_by([Transform::identity("country"), Transform::day("created_at"), Transform::bucket(16, "customer_id")])?;
/// # drop(orders);
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    column: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Identity,
    Year,
    Month,
    Day,
    Hour,
    Bucket(u32),
    Truncate(u32),
}

impl Transform {
    /// The value itself.
    pub fn identity(column: impl Into<String>) -> Self {
        Self { column: column.into(), kind: Kind::Identity }
    }

    /// Its year.
    pub fn year(column: impl Into<String>) -> Self {
        Self { column: column.into(), kind: Kind::Year }
    }

    /// Its year and month.
    pub fn month(column: impl Into<String>) -> Self {
        Self { column: column.into(), kind: Kind::Month }
    }

    /// Its day.
    pub fn day(column: impl Into<String>) -> Self {
        Self { column: column.into(), kind: Kind::Day }
    }

    /// Its day and hour.
    pub fn hour(column: impl Into<String>) -> Self {
        Self { column: column.into(), kind: Kind::Hour }
    }

    /// One of `count` buckets, by a hash: the 32-bit Murmur3 of Iceberg, so that other engines find the same. `count` is at least 1.
    pub fn bucket(count: u32, column: impl Into<String>) -> Self {
        Self { column: column.into(), kind: Kind::Bucket(count) }
    }

    /// The first `width` characters of a text, or a number rounded down to a multiple of `width`, which is at least 1.
    pub fn truncate(width: u32, column: impl Into<String>) -> Self {
        Self { column: column.into(), kind: Kind::Truncate(width) }
    }

    /// The column whose values are taken.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The name of the partition's column.
    pub fn name(&self) -> String {
        let column = &self.column;
        match self.kind {
            Kind::Identity => column.clone(),
            Kind::Year => format!("{column}_year"),
            Kind::Month => format!("{column}_month"),
            Kind::Day => format!("{column}_day"),
            Kind::Hour => format!("{column}_hour"),
            Kind::Bucket(count) => format!("{column}_bucket_{count}"),
            Kind::Truncate(width) => format!("{column}_trunc_{width}"),
        }
    }

    /// Whether the column is one that rows do not have before.
    pub(crate) fn is_derived(&self) -> bool {
        self.kind != Kind::Identity
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.kind {
            Kind::Bucket(0) | Kind::Truncate(0) => {
                Err(Error::config("partition dataset", "buckets and widths begin at 1").with("column", &self.column))
            }
            Kind::Bucket(count) if i32::try_from(count).is_err() => {
                Err(Error::config("partition dataset", "there are too many buckets").with("column", &self.column))
            }
            _ => Ok(()),
        }
    }

    /// The partition's value of each row; null also where there is none (a time far out of range).
    fn apply(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let values = match values.data_type() {
            DataType::Dictionary(_, plain) => &cast(values, plain).map_err(failed)?,
            _ => values,
        };
        match self.kind {
            Kind::Identity => Some(Arc::clone(values)),
            Kind::Year => periods(values, DAY)?.map(|days| {
                let years = days.into_iter().map(|day| Some(i32::from(civil(day?)?.year())));
                Arc::new(years.collect::<Int32Array>()) as ArrayRef
            }),
            Kind::Month => periods(values, DAY)?.map(|days| {
                text(days, |day| {
                    let date = civil(day)?;
                    Some(format!("{:04}-{:02}", date.year(), date.month()))
                })
            }),
            Kind::Day => periods(values, DAY)?.map(|days| {
                let days = days.into_iter().map(|day| i32::try_from(day.filter(|day| civil(*day).is_some())?).ok());
                Arc::new(days.collect::<Date32Array>()) as ArrayRef
            }),
            Kind::Hour if matches!(values.data_type(), DataType::Timestamp(..)) => {
                periods(values, HOUR)?.map(|hours| {
                    text(hours, |hour| {
                        let (date, hour) = (civil(hour.div_euclid(24))?, hour.rem_euclid(24));
                        Some(format!("{:04}-{:02}-{:02}-{hour:02}", date.year(), date.month(), date.day()))
                    })
                })
            }
            Kind::Hour => None,
            Kind::Bucket(count) => hashes(values)?.map(|hashes| {
                let count = i32::try_from(count).unwrap_or(i32::MAX);
                let buckets = hashes.into_iter().map(|hash| Some((hash? & i32::MAX) % count));
                Arc::new(buckets.collect::<Int32Array>()) as ArrayRef
            }),
            Kind::Truncate(width) => truncated(values, width)?,
        }
        .ok_or_else(|| {
            Error::config("partition dataset", "a column of this type cannot be transformed so")
                .with("column", &self.column)
                .with("partition", self.name())
                .with("type", column_of(&Field::new("", values.data_type().clone(), true)).kind)
                .with_hint("declare the column as a time or a number, or partition by another one")
        })
    }
}

impl From<&str> for Transform {
    fn from(column: &str) -> Self {
        Self::identity(column)
    }
}

impl From<String> for Transform {
    fn from(column: String) -> Self {
        Self::identity(column)
    }
}

impl From<&String> for Transform {
    fn from(column: &String) -> Self {
        Self::identity(column)
    }
}

/// Rows with the columns that `transforms` make of theirs, at the end. Refused are those whose partition cannot be named.
///
/// # Errors
/// `Config` if a column is not there, is of a type that cannot be transformed, or has the name of a partition's.
pub(crate) fn derive(batch: Batch, transforms: &[Transform], rejects: &mut Vec<Reject>) -> Result<Batch> {
    let mut batch = batch;
    for transform in transforms.iter().filter(|transform| transform.is_derived()) {
        let (rows, name) = (batch.rows(), transform.name());
        let schema = rows.schema();
        let refuse = |message: &'static str, column: &str| {
            Err(Error::config("partition dataset", message).with("column", column))
        };
        let Some((index, field)) = schema.column_with_name(&transform.column) else {
            return refuse("there is no such column to partition by", &transform.column);
        };
        if schema.column_with_name(&name).is_some() {
            return refuse("a column has the name that the partition is to have; rename it", &name);
        }
        let values = rows.column(index);
        let made = transform.apply(values)?;
        let field = Field::new(&name, made.data_type().clone(), field.is_nullable() || made.null_count() > 0);
        // Nullable whatever the batch has: all batches of an epoch have one schema.
        let field = field.with_nullable(true);
        // Nulls among the values of a dictionary are nulls too.
        let nulls = values.logical_nulls();
        let was_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let lost = (made.null_count() > nulls.as_ref().map_or(0, NullBuffer::null_count))
            .then(|| (0..made.len()).map(|row| Some(made.is_null(row) && !was_null(row))).collect());
        let fields: Vec<_> = schema.fields().iter().cloned().chain([Arc::new(field)]).collect();
        let columns = rows.columns().iter().cloned().chain([made]).collect();
        let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
        batch = batch.with_rows(RecordBatch::try_new(Arc::new(schema), columns).map_err(failed)?)?;
        if let Some(lost) = lost {
            let why = format!("{}: a time out of the years 1 to 9999", transform.column);
            batch = refuse_rows(batch, &lost, rejects, &why)?;
        }
    }
    Ok(batch)
}

/// Takes out the rows whose value of a partition column cannot be the name of a folder: a text that is too long, as a cut one would be
/// another value, or a date that no reader knows, whose year has other than four digits.
pub(crate) fn refuse_unnameable(batch: Batch, columns: &[String], rejects: &mut Vec<Reject>) -> Result<Batch> {
    let mut batch = batch;
    for column in columns {
        let Some(values) = batch.rows().column_by_name(column) else { continue };
        let kind = match values.data_type() {
            DataType::Dictionary(_, values) => values,
            plain => plain,
        };
        if *kind == DataType::Date32 {
            let days = cast(values, &DataType::Date32).map_err(failed)?;
            let days = days.as_primitive::<Date32Type>().iter();
            let bad: BooleanArray = days.map(|day| Some(day.is_some_and(|day| civil(day.into()).is_none()))).collect();
            if bad.true_count() > 0 {
                batch = refuse_rows(batch, &bad, rejects, &format!("{column}: a date out of the years 1 to 9999"))?;
            }
            continue;
        }
        // Only text can be too long.
        if !kind.is_string() {
            continue;
        }
        let text = cast(values, &DataType::Utf8).map_err(failed)?;
        let room = 255_usize.saturating_sub(ObjectPath::escape(column).len() + 1);
        let long = |text: &str| text.len() * 3 > room && ObjectPath::escape(text).len() > room;
        let bad: BooleanArray = text.as_string::<i32>().iter().map(|value| Some(value.is_some_and(long))).collect();
        if bad.true_count() > 0 {
            let why = format!("{column}: too long for the name of a partition's folder");
            batch = refuse_rows(batch, &bad, rejects, &why)?;
        }
    }
    Ok(batch)
}

fn refuse_rows(batch: Batch, bad: &BooleanArray, rejects: &mut Vec<Reject>, why: &str) -> Result<Batch> {
    let numbers = bad.iter().enumerate().filter(|(_, bad)| *bad == Some(true));
    rejects.extend(numbers.map(|(row, _)| batch.reject(row, "partition", why)));
    batch.filter(&not(bad).map_err(failed)?)
}

fn failed(error: ArrowError) -> Error {
    Error::data("partition dataset", "the values cannot be transformed").with_source(error)
}

/// Seconds.
const DAY: i64 = 24 * 3600;
const HOUR: i64 = 3600;

/// Whole periods of so many seconds since 1970, rounded down: of a date or timestamp.
fn periods(values: &ArrayRef, seconds: i64) -> Result<Option<Vec<Option<i64>>>> {
    let per_second = match values.data_type() {
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>().iter();
            return Ok(Some(days.map(|day| Some(i64::from(day?) * (DAY / seconds))).collect()));
        }
        DataType::Timestamp(TimeUnit::Second, _) => 1,
        DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000_000,
        _ => return Ok(None),
    };
    let values = cast(values, &DataType::Int64).map_err(failed)?;
    let period = per_second * seconds;
    Ok(Some(values.as_primitive::<Int64Type>().iter().map(|at| Some(at?.div_euclid(period))).collect()))
}

/// The date of a day since 1970, if its year has four digits.
fn civil(day: i64) -> Option<jiff::civil::Date> {
    let span = jiff::Span::new().try_days(day).ok()?;
    let date = jiff::civil::date(1970, 1, 1).checked_add(span).ok()?;
    (1..=9999).contains(&date.year()).then_some(date)
}

/// Neighbours are often of one period: its text is made once.
fn text(periods: Vec<Option<i64>>, name: impl Fn(i64) -> Option<String>) -> ArrayRef {
    let mut last = (0, name(0));
    let texts = periods.into_iter().map(|period| {
        let period = period?;
        if period != last.0 {
            last = (period, name(period));
        }
        last.1.clone()
    });
    Arc::new(texts.collect::<StringArray>())
}

/// Iceberg's hash of each value; `None` for a type that has none.
fn hashes(values: &ArrayRef) -> Result<Option<Int32Array>> {
    let long = |value: i64| murmur3(&value.to_le_bytes());
    let longs = |values: &ArrayRef, divisor: i64, factor: i64| -> Result<Option<Int32Array>> {
        let values = cast(values, &DataType::Int64).map_err(failed)?;
        // What does not fit as microseconds has a hash that no other engine knows: they cannot hold it.
        let micros = |value: i64| value.div_euclid(divisor).wrapping_mul(factor);
        let hashes = values.as_primitive::<Int64Type>().iter().map(|value| Some(long(micros(value?))));
        Ok(Some(hashes.collect()))
    };
    let by_unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => (1, 1_000_000),
        TimeUnit::Millisecond => (1, 1_000),
        TimeUnit::Microsecond => (1, 1),
        TimeUnit::Nanosecond => (1_000, 1),
    };
    match values.data_type() {
        DataType::UInt64 => Ok(None),
        kind if kind.is_integer() => longs(values, 1, 1),
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>().iter();
            Ok(Some(days.map(|day| Some(long(day?.into()))).collect()))
        }
        DataType::Timestamp(unit, _) | DataType::Time64(unit) => {
            let (divisor, factor) = by_unit(unit);
            longs(values, divisor, factor)
        }
        DataType::Time32(unit) => {
            let (divisor, factor) = by_unit(unit);
            longs(&cast(values, &DataType::Int32).map_err(failed)?, divisor, factor)
        }
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale) => {
            let values = cast(values, &DataType::Decimal128(*digits, *scale)).map_err(failed)?;
            let hash = |value: i128| murmur3(shortest(&value.to_be_bytes()));
            Ok(Some(values.as_primitive::<Decimal128Type>().iter().map(|value| Some(hash(value?))).collect()))
        }
        kind if kind.is_string() || kind.is_binary() => {
            let values = cast(values, &DataType::LargeBinary).map_err(failed)?;
            Ok(Some(values.as_binary::<i64>().iter().map(|value| Some(murmur3(value?))).collect()))
        }
        DataType::FixedSizeBinary(_) => {
            Ok(Some(values.as_fixed_size_binary().iter().map(|value| Some(murmur3(value?))).collect()))
        }
        _ => Ok(None),
    }
}

/// A number in two's complement, big endian, without the bytes that its sign tells.
fn shortest(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let Some(next) = tail.first() else { break };
        let sign = if next & 0x80 == 0 { 0x00 } else { 0xff };
        if *first != sign {
            break;
        }
        rest = tail;
    }
    rest
}

/// 32-bit Murmur3 of the x86 variant, seed 0.
fn murmur3(bytes: &[u8]) -> i32 {
    let mix = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let words = bytes.chunks_exact(4);
    let rest = words.remainder();
    let mut hash = 0_u32;
    for word in words {
        let word = word.try_into().map_or(0, u32::from_le_bytes);
        hash = (hash ^ mix(word)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let last = rest.iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    hash ^= if rest.is_empty() { 0 } else { mix(last) };
    // The standard hashes the length as 32 bits.
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    (hash ^ hash >> 16) as i32
}

fn truncated(values: &ArrayRef, width: u32) -> Result<Option<ArrayRef>> {
    fn numbers<T: ArrowPrimitiveType>(values: &ArrayRef, cut: impl Fn(T::Native) -> T::Native) -> Option<ArrayRef> {
        Some(Arc::new(values.as_primitive::<T>().unary::<_, T>(cut)))
    }
    let wide = i64::from(width);
    // Below the smallest number of its type there is none: it wraps, as Iceberg has it.
    let signed = |value: i64| value.wrapping_sub(value.rem_euclid(wide));
    let unsigned = |value: u64| value - value % u64::from(width);
    Ok(match values.data_type() {
        // In Iceberg they are of 32 bits: the number below them is one.
        DataType::Int8 | DataType::Int16 => return truncated(&cast(values, &DataType::Int32).map_err(failed)?, width),
        DataType::Int32 => numbers::<Int32Type>(values, |v| signed(v.into()) as i32),
        DataType::Int64 => numbers::<Int64Type>(values, signed),
        DataType::UInt8 => numbers::<UInt8Type>(values, |v| unsigned(v.into()) as u8),
        DataType::UInt16 => numbers::<UInt16Type>(values, |v| unsigned(v.into()) as u16),
        DataType::UInt32 => numbers::<UInt32Type>(values, |v| unsigned(v.into()) as u32),
        DataType::UInt64 => numbers::<UInt64Type>(values, unsigned),
        kind if kind.is_string() => {
            let values = cast(values, &DataType::Utf8).map_err(failed)?;
            let width = usize::try_from(width).unwrap_or(usize::MAX);
            let cut = |text: &str| text.char_indices().nth(width).map_or(text.len(), |(at, _)| at);
            let texts =
                values.as_string::<i32>().iter().map(|text| text.map(|text| text.get(..cut(text)).unwrap_or(text)));
            Some(Arc::new(texts.collect::<StringArray>()))
        }
        _ => None,
    })
}
