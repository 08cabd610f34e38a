//! The identity of a record in 128 bits.

use super::version::nanos;
use crate::columnar::Batch;
use crate::columnar::strings::Strings;
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit, UInt64Type};
use sha2::{Digest, Sha256};
use siphasher::sip128::SipHasher13;
use std::fmt;
use std::sync::Arc;

/// Makes fingerprints: SipHash-1-3 of 128 bits.
#[derive(Clone)]
pub(super) struct Hasher(SipHasher13);

impl Hasher {
    /// The key is the first half of SHA-256 over a name and the seed.
    pub(super) fn new(seed: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(b"landfall dedup 1\0").chain_update(seed).finalize();
        let mut key = [0; 16];
        key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(SipHasher13::new_with_key(&key))
    }

    fn print(&self, bytes: &[u8]) -> u128 {
        self.0.hash(bytes).as_u128()
    }

    /// Tells keys apart without giving them away.
    pub(super) fn identity(&self) -> String {
        format!("{:032x}", self.print(b"identity"))
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// The fingerprints of the rows of a batch.
pub(super) struct Fingerprints {
    /// A letter for the kind of each column of the key; none for whole records.
    pub(super) kinds: Vec<u8>,
    prints: Vec<u128>,
    /// Rows without a key are null.
    keys: Option<NullBuffer>,
}

impl Fingerprints {
    /// Of the values of some columns: type and value of each in turn, framed so that no two keys run together.
    pub(super) fn of_columns(batch: &Batch, columns: &[String], hasher: &Hasher) -> Result<Self> {
        if columns.is_empty() {
            return Err(Error::config("deduplicate", "no column is named to tell repeats by"));
        }
        let arrays = columns.iter().map(|name| batch.column(name)).collect::<Result<Vec<_>>>()?;
        let prepared =
            columns.iter().zip(&arrays).map(|(name, array)| prepare(array, name)).collect::<Result<Vec<_>>>()?;
        let parts = prepared.iter().map(Part::of).collect::<Option<Vec<_>>>();
        let parts = parts.ok_or_else(|| Error::bug("deduplicate", "a column is not of the type that it says"))?;
        let keys = arrays.iter().fold(None, |keys: Option<NullBuffer>, a| NullBuffer::union(keys.as_ref(), a.nulls()));
        let mut key = Vec::with_capacity(64);
        let print = |row| {
            if keys.as_ref().is_some_and(|keys| keys.is_null(row)) {
                return 0;
            }
            key.clear();
            parts.iter().for_each(|part| part.write(row, &mut key));
            hasher.print(&key)
        };
        let prints = (0..batch.num_rows()).map(print).collect();
        Ok(Self { kinds: parts.iter().map(Part::kind).collect(), prints, keys })
    }

    /// Of all bytes of the records.
    pub(super) fn of_content(batch: &Batch, hasher: &Hasher) -> Self {
        let prints = (0..batch.num_rows()).map(|row| hasher.print(&batch.raw(row))).collect();
        Self { kinds: Vec::new(), prints, keys: None }
    }

    pub(super) fn len(&self) -> usize {
        self.prints.len()
    }

    /// The fingerprint of a row; `None` if it has no key.
    pub(super) fn of(&self, row: usize) -> Option<u128> {
        match &self.keys {
            Some(keys) if keys.is_null(row) => None,
            _ => self.prints.get(row).copied(),
        }
    }

    /// The rows that have no key.
    pub(super) fn without_key(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).filter(|row| self.of(*row).is_none())
    }
}

/// A column in the one form in which values of its kind are compared.
fn prepare(column: &ArrayRef, name: &str) -> Result<ArrayRef> {
    let to = match column.data_type() {
        DataType::UInt64 | DataType::Boolean | DataType::Decimal128(..) | DataType::Date32 => {
            return Ok(Arc::clone(column));
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Timestamp(..) => {
            return Ok(Arc::clone(column));
        }
        kind if kind.is_integer() => DataType::Int64,
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        other => {
            return Err(Error::config("deduplicate", "a column of this type cannot be a key")
                .with("column", name)
                .with("type", other));
        }
    };
    cast(column, &to).map_err(|e| Error::bug("deduplicate", "a key cannot be converted").with_source(e))
}

/// One column of the key.
enum Part<'a> {
    Bool(&'a BooleanArray),
    Int(&'a [i64]),
    Uint(&'a [u64]),
    Float(&'a [f64]),
    Decimal(&'a [i128], i8),
    Date(&'a [i32]),
    Time(ArrayRef, TimeUnit),
    Text(Strings<'a>),
}

impl<'a> Part<'a> {
    fn of(column: &'a ArrayRef) -> Option<Self> {
        Some(match column.data_type() {
            DataType::Boolean => Self::Bool(column.as_boolean_opt()?),
            DataType::Int64 => Self::Int(column.as_primitive_opt::<Int64Type>()?.values()),
            DataType::UInt64 => Self::Uint(column.as_primitive_opt::<UInt64Type>()?.values()),
            DataType::Float64 => Self::Float(column.as_primitive_opt::<Float64Type>()?.values()),
            DataType::Decimal128(_, scale) => {
                Self::Decimal(column.as_primitive_opt::<Decimal128Type>()?.values(), *scale)
            }
            DataType::Date32 => Self::Date(column.as_primitive_opt::<Date32Type>()?.values()),
            DataType::Timestamp(unit, _) => Self::Time(cast(column, &DataType::Int64).ok()?, *unit),
            _ => Self::Text(Strings::of(column)?),
        })
    }

    /// The letter of what values are compared as: those of different kinds are never the same.
    fn kind(&self) -> u8 {
        match self {
            Self::Bool(_) => b'b',
            Self::Int(_) | Self::Uint(_) => b'i',
            Self::Float(_) => b'f',
            Self::Decimal(..) => b'n',
            Self::Date(_) => b'd',
            Self::Time(..) => b'z',
            Self::Text(_) => b't',
        }
    }

    /// Appends kind and value of a row, which is not null.
    fn write(&self, row: usize, key: &mut Vec<u8>) {
        key.push(self.kind());
        let mut number = |value: i128| key.extend_from_slice(&value.to_le_bytes());
        match self {
            Self::Text(strings) => {
                let text = strings.value(row);
                key.extend_from_slice(&(text.len() as u64).to_le_bytes());
                key.extend_from_slice(text.as_bytes());
            }
            Self::Int(values) => number(values.get(row).copied().unwrap_or(0).into()),
            Self::Uint(values) => number(values.get(row).copied().unwrap_or(0).into()),
            Self::Date(values) => number(values.get(row).copied().unwrap_or(0).into()),
            Self::Bool(values) => number(values.value(row).into()),
            // No negative zero.
            Self::Float(values) => {
                number((values.get(row).copied().unwrap_or(0.0) + 0.0).to_bits().into());
            }
            Self::Decimal(values, scale) => {
                let (value, scale) = shortest(values.get(row).copied().unwrap_or(0), *scale);
                number(value);
                key.extend_from_slice(&scale.to_le_bytes());
            }
            Self::Time(values, unit) => {
                let value = values.as_primitive_opt::<Int64Type>().map_or(0, |values| values.value(row));
                number(i128::from(value) * nanos(*unit));
            }
        }
    }
}

/// The same decimal without zeros at its end.
fn shortest(mut value: i128, mut scale: i8) -> (i128, i8) {
    if value == 0 {
        return (0, 0);
    }
    while value % 10 == 0 {
        value /= 10;
        scale = scale.saturating_sub(1);
    }
    (value, scale)
}
