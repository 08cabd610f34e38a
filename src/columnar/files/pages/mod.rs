//! Pages that begin with the lengths of texts, or with a dictionary. The library makes room for as many of them as such a page says before it looks
//! whether they are there, and a process that cannot have the memory ends at once: no panic, which could be caught. So they are counted before.
//! And it goes through as many members of a list as a header of a page says, though the bytes have ended. So headers are looked through before.
//! The pages of all columns of a row group are in memory together, and of a row as many values of a list as they say: so they are added up.

use super::compact::{Compact, FALSE, I32, STRUCT, TRUE};
use super::varint;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Lengths that a byte of a page may stand for: writers put some hundred of those that are all alike into one.
const MOST_PER_BYTE: u64 = 1 << 13;
/// Bytes of pages, and values in lists, that a byte of a row group may stand for; and those that any process has room for, whatever gives them:
/// what is all alike compresses without a bound.
const MOST_TIMES: u64 = 1_000;
const ANYHOW: u64 = 64 << 20;
const ANYHOW_LISTED: u64 = 16 << 20;
const MOST_I32: u64 = (1 << 31) - 1;

/// The columns of the row groups of a file, by their places.
#[derive(Debug)]
pub(super) struct Pages {
    columns: HashMap<Range<u64>, Chunk>,
    groups: Vec<Vec<Range<u64>>>,
}

#[derive(Debug)]
struct Chunk {
    column: ColumnDescPtr,
    compression: Compression,
    /// Of the row group, and of the column with its nulls and empty lists, as the footer says.
    rows: u64,
    values: u64,
}

impl Pages {
    /// The columns that a footer tells of.
    ///
    /// # Errors
    /// If two of them share a place.
    pub(super) fn of(footer: &ParquetMetaData) -> Result<Self, ParquetError> {
        let (mut columns, mut groups) = (HashMap::new(), Vec::new());
        for group in footer.row_groups() {
            let mut places = Vec::new();
            for chunk in group.columns() {
                let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
                let end = start.saturating_add(chunk.compressed_size());
                // Nothing can be read from others.
                if let (Ok(start), Ok(end), Ok(rows)) =
                    (u64::try_from(start), u64::try_from(end), u64::try_from(group.num_rows()))
                {
                    let (column, compression) = (chunk.column_descr_ptr(), chunk.compression());
                    let values = u64::try_from(chunk.num_values()).unwrap_or_default();
                    columns.insert(start..end, Chunk { column, compression, rows, values });
                    places.push(start..end);
                }
            }
            groups.push(places);
        }
        apart(&groups)?;
        Ok(Self { columns, groups })
    }

    /// Whether the columns of a whole file can be decoded.
    ///
    /// # Errors
    /// As [`check`](Self::check); if one reaches beyond the file.
    pub(super) fn check_all(&self, file: &Bytes) -> Result<(), ParquetError> {
        let place = |at: u64| usize::try_from(at).ok().filter(|at| *at <= file.len());
        let column = |range: &Range<u64>| match (place(range.start), place(range.end)) {
            (Some(start), Some(end)) if start <= end => Ok(file.slice(start..end)),
            _ => Err(ParquetError::EOF("a column reaches beyond the file".to_owned())),
        };
        self.groups.iter().try_for_each(|places| {
            let bytes = places.iter().map(column).collect::<Result<Vec<_>, _>>()?;
            self.check(places, &bytes)
        })
    }

    /// Whether the columns at these places of a row group, of which these are the bytes, can be decoded together.
    ///
    /// # Errors
    /// If a page says that it has more lengths, or a dictionary more values, than it can have, if the header of a page says that it has more than it
    /// has, if pages say that they have more values than the footer, or together more bytes, or values in lists, than they can have, or if one of the
    /// places is that of no column.
    pub(super) fn check(&self, places: &[Range<u64>], bytes: &[Bytes]) -> Result<(), ParquetError> {
        let none = || ParquetError::General("no column is there".to_owned());
        let chunk = |place: &Range<u64>| self.columns.get(place).ok_or_else(none);
        let (mut stored, mut held, mut listed) = (0_u64, 0_u64, 0_u64);
        for (place, bytes) in places.iter().zip(bytes) {
            let (column, said) = (chunk(place)?, headers(bytes)?);
            within("a column", "values", said.values, column.most_values())?;
            stored += bytes.len() as u64;
            held += said.dictionary + said.largest;
            // Few rows are decoded at a time, but all values of a row. Wide ones count as several.
            let more = said.values.saturating_sub(column.rows);
            listed = listed.saturating_add(more.saturating_mul(bits(&column.column).div_ceil(64)));
        }
        let most = |anyhow: u64| stored.saturating_mul(MOST_TIMES).saturating_add(anyhow);
        within("a row group", "bytes in its pages", held, most(ANYHOW))?;
        within("a row group", "values in its lists", listed, most(ANYHOW_LISTED))?;
        places.iter().zip(bytes).try_for_each(|(place, bytes)| chunk(place)?.check(bytes))
    }
}

/// An error if columns share bytes. No writer makes such; they would be looked through, and decoded, as often as they are named.
fn apart(groups: &[Vec<Range<u64>>]) -> Result<(), ParquetError> {
    let mut places: Vec<_> = groups.iter().flatten().filter(|place| !place.is_empty()).collect();
    places.sort_unstable_by_key(|place| place.start);
    if places.windows(2).any(|two| matches!(two, [one, next] if next.start < one.end)) {
        return Err(ParquetError::General("two columns of the file share a place".to_owned()));
    }
    Ok(())
}

impl Chunk {
    /// Values that its pages may have together.
    fn most_values(&self) -> u64 {
        if self.column.max_rep_level() == 0 { self.values.min(self.rows) } else { self.values }
    }

    /// Whether its pages have the lengths and values that they say.
    fn check(&self, bytes: &Bytes) -> Result<(), ParquetError> {
        // What is compressed is not decompressed twice without need: dictionaries are small, and most pages have no lengths.
        let counted = |page: &Page| page.is_dictionary_page() || has_lengths(page.encoding());
        let last = pages(bytes, self, Compression::UNCOMPRESSED)?.enumerate().filter(|(_, page)| counted(page)).last();
        let upto = last.map_or(0, |(number, _)| number + 1);
        pages(bytes, self, self.compression)?.take(upto).try_for_each(|page| can_be_decoded(&page, self))
    }
}

/// The pages of a column, up to the first that cannot be read: who decodes them comes no further either.
fn pages(
    bytes: &Bytes,
    chunk: &Chunk,
    compression: Compression,
) -> Result<impl Iterator<Item = Page> + use<>, ParquetError> {
    let chunk = ColumnChunkMetaData::builder(Arc::clone(&chunk.column))
        .set_compression(compression)
        .set_data_page_offset(0)
        .set_total_compressed_size(bytes.len().try_into()?)
        .build()?;
    let mut reader = SerializedPageReader::new(Arc::new(bytes.clone()), &chunk, 0, None)?;
    Ok(std::iter::from_fn(move || reader.get_next_page().ok().flatten()))
}

/// What the headers of the pages of a column say, up to the first page that is not there.
#[derive(Debug, Default)]
struct Said {
    /// Values of all pages, with nulls and empty lists.
    values: u64,
    /// Bytes of the dictionary, and of the largest of the other pages, without compression: these are in memory together.
    dictionary: u64,
    largest: u64,
}

/// Looks through the headers of a column.
///
/// # Errors
/// If one cannot be decoded.
fn headers(mut bytes: &[u8]) -> Result<Said, ParquetError> {
    let broken = || ParquetError::General("the header of a page says that it has more than it has".to_owned());
    let mut said = Said::default();
    while !bytes.is_empty() {
        let mut rest = Compact(bytes);
        let header = header(&mut rest).ok_or_else(broken)?;
        let behind = |length: u64| rest.0.get(usize::try_from(length).ok()?..);
        let Some(rest) = header.length.and_then(behind) else { break };
        let held = if header.kind == DICTIONARY_PAGE { &mut said.dictionary } else { &mut said.largest };
        *held = header.whole.max(*held);
        said.values += header.values;
        bytes = rest;
    }
    Ok(said)
}

const INDEX_PAGE: u64 = 1;
const DICTIONARY_PAGE: u64 = 2;

/// Of what kinds the members of headers are, from the first one on: of `DataPageHeader`, `DictionaryPageHeader` and `DataPageHeaderV2`. The first
/// is a number of values.
const DATA_PAGE: &[u8] = &[I32, I32, I32, I32, STRUCT];
const DICTIONARY: &[u8] = &[I32, I32, TRUE];
const DATA_PAGE_V2: &[u8] = &[I32, I32, I32, I32, I32, I32, TRUE, STRUCT];

/// What the header of a page says: its kind, how long it is without compression and with it, and how many values it has.
#[derive(Default)]
struct Header {
    kind: u64,
    whole: u64,
    length: Option<u64>,
    values: u64,
}

/// Reads a header. The library looks at the numbers of members alone, and takes the last 32 bits of each: one that is of another kind or longer is
/// refused. So is a page of an index, which has never been in any file: some parts of the library pass over it, and others look for the next
/// header within.
fn header(bytes: &mut Compact<'_>) -> Option<Header> {
    let mut header = Header::default();
    // `PageHeader`.
    bytes.members(0, &mut |bytes, number, kind| {
        match (number, kind) {
            (1, I32) => header.kind = int(bytes).filter(|kind| *kind != INDEX_PAGE)?,
            (2, I32) => header.whole = int(bytes)?,
            (3, I32) => header.length = Some(int(bytes)?),
            (4, I32) | (6, STRUCT) | (9.., _) => bytes.skip(kind, 1)?,
            (5, STRUCT) => header.values += of_kinds(bytes, DATA_PAGE)?,
            (7, STRUCT) => {
                of_kinds(bytes, DICTIONARY)?;
            }
            (8, STRUCT) => header.values += of_kinds(bytes, DATA_PAGE_V2)?,
            _ => return None,
        }
        Some(())
    })?;
    Some(header)
}

/// Reads members of which the first ones are of these kinds, and gives the first.
fn of_kinds(bytes: &mut Compact<'_>, kinds: &[u8]) -> Option<u64> {
    let mut first = 0;
    bytes.members(1, &mut |bytes, number, kind| {
        let taken_for = usize::try_from(number).ok()?.checked_sub(1).and_then(|n| kinds.get(n));
        let is_it = taken_for.is_none_or(|k| *k == kind || (*k == TRUE && kind == FALSE));
        match number {
            _ if !is_it => None,
            1 => {
                first = int(bytes)?;
                Some(())
            }
            _ => bytes.skip(kind, 2),
        }
    })?;
    Some(first)
}

/// A number of 32 bits that is not negative.
fn int(bytes: &mut Compact<'_>) -> Option<u64> {
    bytes.int().filter(|number| *number <= MOST_I32)
}

fn has_lengths(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY)
}

/// An error if a page has more lengths or values than it has room for.
fn can_be_decoded(page: &Page, chunk: &Chunk) -> Result<(), ParquetError> {
    let (bytes, values_of_page) = (page.buffer().len() as u64, u64::from(page.num_values()));
    // How many times lengths stand there: of what texts have in common with those before them, and of the rest.
    let times = match page.encoding() {
        _ if page.is_dictionary_page() => {
            return within("a page", "values", values_of_page, bytes.saturating_mul(8) / bits(&chunk.column));
        }
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
        Encoding::DELTA_BYTE_ARRAY => 2,
        _ => 0,
    };
    let most = values_of_page.min(bytes.saturating_mul(MOST_PER_BYTE)).min(chunk.most_values());
    let mut rest = values(page, &chunk.column);
    for _ in 0..times {
        let Some(lengths) = rest.and_then(Lengths::read) else { break };
        within("a page", "lengths", lengths.count, most)?;
        rest = lengths.skip();
    }
    Ok(())
}

fn within(whose: &str, what: &str, number: u64, most: u64) -> Result<(), ParquetError> {
    if number <= most {
        return Ok(());
    }
    Err(ParquetError::General(format!("{whose} says that it has {number} {what}, and can have {most} at most")))
}

/// What a value of a dictionary needs at least.
fn bits(column: &ColumnDescriptor) -> u64 {
    match column.physical_type() {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 32,
        Type::INT64 | Type::DOUBLE => 64,
        Type::INT96 => 96,
        Type::FIXED_LEN_BYTE_ARRAY => 8 * u64::try_from(column.type_length()).unwrap_or_default().max(1),
    }
}

/// What follows the levels in a page, if they end within it. See "Data Pages" in the format of Parquet.
fn values<'a>(page: &'a Page, column: &ColumnDescriptor) -> Option<&'a [u8]> {
    let bytes: &[u8] = page.buffer();
    match page {
        Page::DataPage { num_values, def_level_encoding, rep_level_encoding, .. } => {
            let levels = [(column.max_rep_level(), rep_level_encoding), (column.max_def_level(), def_level_encoding)];
            levels.into_iter().filter(|(most, _)| *most > 0).try_fold(bytes, |bytes, (most, encoding)| {
                if *encoding == Encoding::RLE {
                    let (length, rest) = bytes.split_first_chunk()?;
                    rest.get(usize::try_from(u32::from_le_bytes(*length)).ok()?..)
                } else {
                    // Packed bits, as once.
                    let bits = u64::from(i16::BITS - most.leading_zeros()) * u64::from(*num_values);
                    bytes.get(usize::try_from(bits.div_ceil(8)).ok()?..)
                }
            })
        }
        Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
            bytes.get(usize::try_from(u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len)).ok()?..)
        }
        Page::DictionaryPage { .. } => None,
    }
}

/// Numbers in packed differences. See "Delta Encoding (DELTA_BINARY_PACKED)" in the format of Parquet.
struct Lengths<'a> {
    count: u64,
    /// Numbers of a block, and how many parts it has.
    block: u64,
    parts: usize,
    blocks: &'a [u8],
}

impl<'a> Lengths<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (block, bytes) = varint(bytes)?;
        let (parts, bytes) = varint(bytes)?;
        let (count, bytes) = varint(bytes)?;
        let (_first, blocks) = varint(bytes)?;
        let parts = usize::try_from(parts).ok().filter(|parts| *parts > 0)?;
        Some(Self { count, block, parts, blocks })
    }

    /// What follows them, if they are all there.
    fn skip(self) -> Option<&'a [u8]> {
        let of_part = self.block / self.parts as u64;
        // One is in the header.
        let mut left = self.count.saturating_sub(1);
        let mut bytes = self.blocks;
        while left > 0 {
            let (_least, rest) = varint(bytes)?;
            let (widths, rest) = rest.split_at_checked(self.parts)?;
            let mut length = 0_u64;
            for width in widths {
                // Parts behind the last number are not there.
                if left > 0 {
                    length = length.checked_add(u64::from(*width).checked_mul(of_part)? / 8)?;
                }
                left = left.saturating_sub(of_part);
            }
            bytes = rest.get(usize::try_from(length).ok()?..)?;
            if of_part == 0 {
                return None;
            }
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests;
