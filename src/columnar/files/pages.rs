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
mod tests {
    use super::super::reading::Rows;
    use super::*;
    use arrow::array::{ArrayRef, ListArray, RecordBatch, StringArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::ZstdLevel;
    use parquet::file::properties::{WriterProperties, WriterVersion};

    #[test]
    fn a_header_of_a_page_that_says_more_than_it_has_is_not_decoded() {
        // A page of which nothing is said but how long it is, and that is there, before each.
        let page = [0x35, 4, 0, b'a', b'b'];
        let check = |header: &[u8]| headers(&[&page[..], header].concat());
        let data = [0x15, 0, 0x15, 4, 0x15, 4, 0x2c, 0x15, 2, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0, b'a', b'b'];
        let dictionary = [0x15, 4, 0x15, 4, 0x15, 4, 0x4c, 0x15, 2, 0x15, 0, 0x12, 0, 0, b'a', b'b'];
        for right in [&[][..], &data, &dictionary, &page[..4], &[0], &[0x95, 4, 0x18, 1, b'a', 0]] {
            check(right).expect("as it says");
        }
        let many = [0xff, 0xff, 0xff, 0xff, 7];
        // As a member that nobody knows: a list and a map of so many, and lists as deep as this; and lists where numbers are looked for.
        let unknown = [&[0x99, 0xf8][..], &[0x9b]].map(|kind| [kind, &many].concat());
        let deep = [vec![0x99], vec![0x19; 200]].concat();
        for wrong in [
            &unknown[0][..],
            &unknown[1],
            &deep,
            &[0x39, 0x01],
            &[0x5c, 0x19, 0x01, 0, 0],
            &[0x7c, 0x35, 2, 0, 0],
            &[0x15],
            // The length of a page, and how many values it has, in 34 bits; a page of an index.
            &[0x35, 0x84, 0x80, 0x80, 0x80, 0x20, 0],
            &[0x5c, 0x15, 0x84, 0x80, 0x80, 0x80, 0x20, 0, 0],
            &[0x15, 2, 0],
        ] {
            let error = check(wrong).expect_err("more than it has").to_string();
            assert!(error.contains("the header of a page says"), "{wrong:?}: {error}");
        }
        // Pages are added up: the dictionary and the largest of the others, and the values of these.
        let larger = [0x15, 0, 0x15, 80, 0x15, 4, 0x2c, 0x15, 6, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0, b'a', b'b'];
        let said = headers(&[&dictionary[..], &data, &larger, &data].concat()).expect("as they say");
        assert_eq!((said.values, said.dictionary, said.largest), (5, 2, 40));
        let mut whole = file(Arc::new(StringArray::from(vec!["a"])), false, WriterProperties::new()).to_vec();
        // The first header begins behind `PAR1`.
        whole[4] = 0x39;
        let error = Rows::whole(whole.into(), 1).expect_err("more than it has").to_string();
        assert!(error.contains("the header of a page says"), "{error}");
    }

    const ENCODINGS: [Encoding; 2] = [Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY];

    fn file(column: ArrayRef, nullable: bool, options: WriterProperties) -> Bytes {
        let schema = Arc::new(Schema::new(vec![Field::new("text", column.data_type().clone(), nullable)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).expect("fits");
        let mut file = ArrowWriter::try_new(Vec::new(), schema, Some(options)).expect("a file");
        file.write(&batch).expect("writes");
        file.into_inner().expect("closes").into()
    }

    fn options(encoding: Encoding, version: WriterVersion, compression: Compression) -> WriterProperties {
        WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_encoding(encoding)
            .set_writer_version(version)
            .set_compression(compression)
            .set_data_page_row_count_limit(400)
            .set_write_batch_size(100)
            .build()
    }

    fn text(n: usize) -> String {
        "number ".repeat(n % 9) + &n.to_string()
    }

    #[test]
    fn pages_that_have_their_lengths_are_read() {
        let texts = || StringArray::from_iter_values((0..1000).map(text));
        let some: StringArray = (0..1000).map(|n| (n % 3 > 0).then(|| text(n))).collect();
        let none: StringArray = (0..1000).map(|_| None::<&str>).collect();
        let element = Arc::new(Field::new("element", DataType::Utf8, true));
        let offsets = OffsetBuffer::from_lengths([5; 200]);
        let list = ListArray::new(element, offsets, Arc::new(some.clone()), None);
        let one = StringArray::from_iter_values(["only"]);
        let columns: [(ArrayRef, bool); 5] = [
            (Arc::new(texts()), false),
            (Arc::new(some), true),
            (Arc::new(none), true),
            (Arc::new(list), true),
            (Arc::new(one), false),
        ];
        for (column, nullable) in columns {
            for encoding in ENCODINGS {
                for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
                    for compression in [Compression::UNCOMPRESSED, Compression::ZSTD(ZstdLevel::default())] {
                        let file = file(Arc::clone(&column), nullable, options(encoding, version, compression));
                        let batches: Vec<_> =
                            Rows::whole(file, 1000).expect("opens").map(|b| b.expect("reads")).collect();
                        let read = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("fit");
                        assert_eq!(read.column(0), &column, "{encoding} {version:?} {compression}");
                    }
                }
            }
        }
    }

    /// The texts in a list each, in one that may be absent, or as they are.
    fn columns() -> [(ArrayRef, bool); 3] {
        let texts = StringArray::from_iter_values((0..77).map(text));
        let element = Arc::new(Field::new("element", DataType::Utf8, true));
        let lists = ListArray::new(element, OffsetBuffer::from_lengths([1; 77]), Arc::new(texts.clone()), None);
        [(Arc::new(texts.clone()), false), (Arc::new(texts), true), (Arc::new(lists), true)]
    }

    #[test]
    fn a_page_of_more_lengths_than_values_is_an_error() {
        // The numbers of a block, of its parts, and of lengths.
        const HEADER: [u8; 4] = [0x80, 1, 4, 77];
        for (column, nullable) in columns() {
            for (encoding, times) in ENCODINGS.into_iter().zip(1..) {
                for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
                    let options = options(encoding, version, Compression::UNCOMPRESSED);
                    let good = file(Arc::clone(&column), nullable, options);
                    let places: Vec<_> = good.windows(4).enumerate().filter(|(_, four)| *four == HEADER).collect();
                    assert_eq!(places.len(), times, "{encoding}");
                    for (place, _) in places {
                        let mut bad = good.to_vec();
                        bad[place + 3] = 78;
                        let error = Rows::whole(bad.into(), 77).expect_err("too many").to_string();
                        assert!(error.contains("it has 78 lengths, and can have 77 at most"), "{encoding}: {error}");
                    }
                }
            }
        }
    }

    /// A page of which the header is not written.
    fn page(encoding: Encoding, num_values: u32, bytes: &'static [u8]) -> Page {
        let (buf, num_nulls, num_rows) = (Bytes::from_static(bytes), 0, num_values);
        let (def_levels_byte_len, rep_levels_byte_len, is_compressed, statistics) = (0, 0, false, None);
        Page::DataPageV2 {
            buf,
            num_values,
            encoding,
            num_nulls,
            num_rows,
            def_levels_byte_len,
            rep_levels_byte_len,
            is_compressed,
            statistics,
        }
    }

    fn chunk(physical: Type, rows: u64) -> Chunk {
        let leaf =
            parquet::schema::types::Type::primitive_type_builder("c", physical).with_length(3).build().expect("a type");
        let column = Arc::new(ColumnDescriptor::new(Arc::new(leaf), 0, 0, vec!["c".into()].into()));
        Chunk { column, compression: Compression::UNCOMPRESSED, rows, values: rows }
    }

    #[test]
    fn lengths_are_no_more_than_rows_and_than_bytes_can_stand_for() {
        // 2^31 - 1 of them, which the page says too.
        let lengths =
            page(Encoding::DELTA_LENGTH_BYTE_ARRAY, i32::MAX as u32, &[0x80, 1, 4, 0xff, 0xff, 0xff, 0xff, 7, 0]);
        let most = |rows| can_be_decoded(&lengths, &chunk(Type::BYTE_ARRAY, rows)).expect_err("too many").to_string();
        assert!(most(12).contains("can have 12 at most"), "{}", most(12));
        assert!(most(u64::MAX).contains("can have 73728 at most"), "{}", most(u64::MAX));
    }

    #[test]
    fn a_dictionary_of_more_values_than_bytes_is_an_error() {
        let of = |num_values| Page::DictionaryPage {
            buf: Bytes::from_static(&[0; 24]),
            num_values,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let most = [
            (Type::INT32, 6),
            (Type::FLOAT, 6),
            (Type::INT64, 3),
            (Type::DOUBLE, 3),
            (Type::INT96, 2),
            (Type::BYTE_ARRAY, 6),
            (Type::FIXED_LEN_BYTE_ARRAY, 8),
            (Type::BOOLEAN, 192),
        ];
        for (physical, most) in most {
            assert!(can_be_decoded(&of(most), &chunk(physical, 1)).is_ok(), "{physical}");
            assert!(can_be_decoded(&of(most + 1), &chunk(physical, 1)).is_err(), "{physical}");
        }
    }

    #[test]
    fn pages_are_counted_as_they_are_decompressed() {
        let texts = StringArray::from_iter_values((0..1000).map(text));
        for compression in [Compression::UNCOMPRESSED, Compression::ZSTD(ZstdLevel::default())] {
            let file =
                file(Arc::new(texts.clone()), false, options(ENCODINGS[0], WriterVersion::PARQUET_2_0, compression));
            let bytes = file.slice(place_of(&Pages::of(&footer_of(&file)).expect("one column")));
            let chunk = Chunk { compression, ..chunk(Type::BYTE_ARRAY, 10) };
            let error = chunk.check(&bytes).expect_err("as many lengths as there are rows").to_string();
            assert!(error.contains("can have 10 at most"), "{error}");
        }
    }

    /// Where the only column of a file is.
    fn place_of(pages: &Pages) -> Range<usize> {
        let place = &pages.groups[0][0];
        usize::try_from(place.start).expect("small")..usize::try_from(place.end).expect("small")
    }

    fn footer_of(file: &Bytes) -> ParquetMetaData {
        parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(file).expect("a footer")
    }

    #[test]
    fn what_is_no_column_or_not_there_is_not_decoded() {
        let options = options(Encoding::PLAIN, WriterVersion::PARQUET_1_0, Compression::UNCOMPRESSED);
        let file = file(Arc::new(StringArray::from_iter_values(["only"])), false, options);
        let pages = Pages::of(&footer_of(&file)).expect("one column");
        pages.check_all(&file).expect("all there");
        let Range { start, end } = place_of(&pages);
        assert!(pages.check_all(&file.slice(..end - 1)).is_err());
        let check = |start: usize| {
            let place = start as u64..end as u64;
            pages.check(std::slice::from_ref(&place), &[file.slice(start..end)])
        };
        assert!(check(start).is_ok());
        assert!(check(start + 1).is_err());
    }

    #[test]
    fn columns_that_share_bytes_are_refused() {
        let check = |one: &[[u64; 2]], other: &[[u64; 2]]| {
            let group = |places: &[[u64; 2]]| places.iter().map(|[start, end]| *start..*end).collect::<Vec<_>>();
            apart(&[group(one), group(other)])
        };
        check(&[[4, 9], [12, 20]], &[[9, 12]]).expect("nothing is shared");
        check(&[[4, 9], [4, 4], [6, 6]], &[[6, 6], [9, 9]]).expect("nothing is nowhere");
        let wrong = [
            check(&[[4, 9], [4, 9]], &[]),
            check(&[[4, 9]], &[[4, 9]]),
            check(&[[4, 9]], &[[12, 20], [8, 12]]),
            check(&[[4, 20]], &[[6, 7]]),
        ];
        for checked in wrong {
            let error = checked.expect_err("something is shared").to_string();
            assert!(error.contains("two columns of the file share a place"), "{error}");
        }
    }
}
