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
                    let batches: Vec<_> = Rows::whole(file, 1000).expect("opens").map(|b| b.expect("reads")).collect();
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
    let lengths = page(Encoding::DELTA_LENGTH_BYTE_ARRAY, i32::MAX as u32, &[0x80, 1, 4, 0xff, 0xff, 0xff, 0xff, 7, 0]);
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
        let file = file(Arc::new(texts.clone()), false, options(ENCODINGS[0], WriterVersion::PARQUET_2_0, compression));
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
