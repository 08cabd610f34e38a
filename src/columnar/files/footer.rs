//! Footers of Parquet files. The library makes room for as many row groups and members as a footer says before it looks whether they are there, and goes
//! down into groups of groups as deep as they are. A process that cannot have the memory, or has no stack left, ends at once: no panic, which
//! could be caught. So they are looked through before.

use super::compact::{BINARY, Compact, DEEPEST, I32, LIST, STRUCT};
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::FooterTail;

/// Row groups are numbered by 16 bits.
const MOST_ROW_GROUPS: u64 = 1 << 15;
/// Bytes of a value that has as many as all others of its column: thousands of values are read at once.
const MOST_BYTES: u64 = 1 << 16;

/// The end of a file, that says how long its footer is.
pub(super) const TAIL: usize = FOOTER_SIZE;

/// How long the footer is, of a file that ends with this.
///
/// # Errors
/// If it is no Parquet, or encrypted.
pub(super) fn length(tail: &[u8]) -> Result<usize, ParquetError> {
    let tail: [u8; TAIL] = tail.try_into().map_err(|_| ParquetError::EOF("the file is too short".to_owned()))?;
    let tail = FooterTail::try_from(tail)?;
    if tail.is_encrypted_footer() {
        return Err(ParquetError::General("the file is encrypted".to_owned()));
    }
    Ok(tail.metadata_length())
}

/// Whether the footer of a file can be decoded.
///
/// # Errors
/// As [`check`]; if there is none.
pub(super) fn check_file(file: &Bytes) -> Result<(), ParquetError> {
    let short = || ParquetError::EOF("the file is too short".to_owned());
    let (rest, tail) = file.split_last_chunk::<TAIL>().ok_or_else(short)?;
    let start = rest.len().checked_sub(length(tail)?).ok_or_else(short)?;
    check(rest.get(start..).unwrap_or_default())
}

/// Whether a footer can be decoded. The library looks at the numbers of members alone: one that is of another kind than it takes it for is refused.
///
/// # Errors
/// If it is cut short, says that it has more of something than it has, or if its groups are too deep.
pub(super) fn check(footer: &[u8]) -> Result<(), ParquetError> {
    let broken = || ParquetError::General("the footer says that it has more than it has".to_owned());
    let mut members = Vec::new();
    // `FileMetaData`.
    let all = Compact(footer).members(0, &mut |footer, number, kind| match (number, kind) {
        (2, LIST) => footer.list(0, u64::MAX, &mut |footer, _| {
            members.push(element(footer)?);
            Some(())
        }),
        (4, LIST) => footer.list(0, MOST_ROW_GROUPS, &mut |footer, kind| footer.element(kind, 1)),
        (2 | 4, _) => None,
        _ => footer.skip(kind, 1),
    });
    all.ok_or_else(broken)?;
    nested(&members)
}

/// How many members an element of the schema has.
fn element(footer: &mut Compact<'_>) -> Option<u64> {
    let mut members = 0;
    // `SchemaElement`.
    footer.members(1, &mut |footer, number, kind| match (number, kind) {
        (2, I32) => (footer.int()? <= MOST_BYTES).then_some(()),
        (5, I32) => {
            members = footer.int()?;
            Some(())
        }
        (1 | 3 | 6..=9, I32) | (4, BINARY) | (10, STRUCT) | (11.., _) => footer.skip(kind, 2),
        _ => None,
    })?;
    Some(members)
}

/// Whether groups, each with as many members, come one in the other as deep as they may.
fn nested(members: &[u64]) -> Result<(), ParquetError> {
    // How many members are still to come, of each group that is open.
    let mut open = Vec::new();
    for &of_this in members {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        open.push(of_this);
        if of_this > members.len() as u64 || open.len() > DEEPEST {
            let why = format!("a group of the schema has {of_this} members, and is {} deep", open.len());
            return Err(ParquetError::General(why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::reading::Rows;
    use super::*;
    use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
    use arrow::datatypes::Field;
    use parquet::arrow::ArrowWriter;
    use std::sync::Arc;

    fn file(column: ArrayRef) -> Bytes {
        let batch = RecordBatch::try_from_iter([("of", column)]).expect("fits");
        let mut file = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a file");
        file.write(&batch).expect("writes");
        file.into_inner().expect("closes").into()
    }

    /// A column within so many structs.
    fn deep(groups: usize) -> ArrayRef {
        let inner: ArrayRef = Arc::new(Int64Array::from_iter_values([1]));
        (0..groups).fold(inner, |column, _| {
            let field = Arc::new(Field::new("in", column.data_type().clone(), true));
            Arc::new(StructArray::from(vec![(field, column)]))
        })
    }

    fn with_footer(footer: &[u8]) -> Bytes {
        let length = u32::try_from(footer.len()).expect("short").to_le_bytes();
        Bytes::from([b"PAR1", footer, &length, b"PAR1"].concat())
    }

    /// A footer of version 1 with this schema, and without rows.
    fn footer(schema: &[u8], groups: &[u8]) -> Vec<u8> {
        [&[0x15, 2], schema, &[0x16, 0], groups, &[0]].concat()
    }

    /// The schema of a message of one column.
    const ONE: [u8; 15] = [0x19, 0x2c, 0x48, 1, b'm', 0x15, 2, 0, 0x15, 4, 0x25, 0, 0x18, 1, b'c'];

    fn one() -> Vec<u8> {
        [&ONE[..], &[0]].concat()
    }

    #[test]
    fn footers_of_files_are_taken() {
        for column in [deep(0), deep(40), Arc::new(StringArray::from(vec![Some("a"), None])) as ArrayRef] {
            let file = file(column);
            check_file(&file).expect("a footer");
            assert!(Rows::whole(file, 2).expect("opens").all(|batch| batch.is_ok()));
        }
        let empty = with_footer(&footer(&one(), &[0x19, 0x0c]));
        assert_eq!(Rows::whole(empty, 0).expect("opens").count(), 0);
    }

    #[test]
    fn a_footer_of_more_row_groups_than_bytes_is_not_decoded() {
        let many = [0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 7];
        let error = Rows::whole(with_footer(&footer(&one(), &many)), 1).expect_err("two milliards").to_string();
        assert!(error.contains("has more than it has"), "{error}");
    }

    #[test]
    fn a_group_of_more_members_than_there_are_is_not_decoded() {
        let mut schema = one();
        schema.splice(6..7, [0xfe, 0xff, 0xff, 0xff, 0x0f]);
        let error =
            Rows::whole(with_footer(&footer(&schema, &[0x19, 0x0c])), 1).expect_err("two milliards").to_string();
        assert!(error.contains("has 2147483647 members"), "{error}");
    }

    #[test]
    fn groups_that_are_too_deep_are_not_decoded() {
        assert!(check_file(&file(deep(DEEPEST - 2))).is_ok());
        let error = Rows::whole(file(deep(DEEPEST - 1)), 1).expect_err("too deep").to_string();
        assert!(error.contains("is 101 deep"), "{error}");
        // Groups that end are not deep.
        assert!(nested(&[1_000; 1]).is_err() && nested(&[&[999][..], &[0; 999]].concat()).is_ok());
    }

    #[test]
    fn what_is_cut_short_is_not_decoded() {
        let whole = file(deep(3));
        let (rest, tail) = whole.split_last_chunk::<TAIL>().expect("a tail");
        let footer = &rest[rest.len() - length(tail).expect("a length")..];
        for end in 0..footer.len() {
            assert!(check(&footer[..end]).is_err(), "{end}");
        }
        for end in 0..TAIL {
            assert!(check_file(&whole.slice(..end)).is_err(), "{end}");
        }
    }

    #[test]
    fn values_of_all_kinds_are_skipped_and_nothing_is_too_deep() {
        // Members from the twentieth on, of which the first is in words, and the end.
        let kinds: &[&[u8]] = &[
            &[1, 40],
            &[0x12],
            &[0x13, 9],
            &[0x14, 0x80, 1],
            &[0x17, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x18, 2, b'h', b'i'],
            &[0x19, 0x23, 1, 2],
            &[0x1a, 0x15, 8],
            &[0x1b, 1, 0x85, 1, b'k', 7],
            &[0x1b, 0],
            &[0x1c, 0x11, 0],
            &[0x1d, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            &[0],
        ];
        let footer = kinds.concat();
        check(&footer).expect("all of them");
        for end in 0..footer.len() {
            assert!(check(&footer[..end]).is_err(), "{end}");
        }
        for nested in [0x1c, 0x19] {
            assert!(check(&vec![nested; 1 << 20]).is_err());
        }
        for refused in [&[0x1e, 0][..], &[0x19, 0x11, 1, 0], &[0x1b, 1, 0x15, 1, 2, 0]] {
            assert!(check(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn members_of_another_kind_than_they_are_taken_for_are_refused() {
        let good = footer(&one(), &[0x19, 0x0c]);
        check(&good).expect("all as it is taken for");
        // The schema as a set; row groups as a truth value; a number that is negative; one of 17 bits.
        let place = |what: &[u8]| good.windows(what.len()).position(|these| these == what).expect("there");
        let (schema, groups) = (place(&[0x19, 0x2c]), place(&[0x19, 0x0c]));
        for (at, with) in [(schema, &[0x1a][..]), (groups, &[0x11]), (schema, &[9, 1]), (schema, &[9, 0x84, 0x80, 8])] {
            let mut bad = good.clone();
            bad.splice(at..=at, with.iter().copied());
            assert!(check(&bad).is_err(), "{with:?}");
        }
        // How many members there are, in 64 bits; and values of a size that no memory has.
        for (at, with) in [(5, &[0x16][..]), (2, &[0x25, 0x82, 0x80, 8, 0x28])] {
            let mut schema = one();
            schema.splice(at..=at, with.iter().copied());
            assert!(check(&footer(&schema, &[0x19, 0x0c])).is_err(), "{with:?}");
        }
        let mut schema = one();
        schema.splice(2..=2, [0x25, 0x80, 0x80, 8, 0x28]);
        check(&footer(&schema, &[0x19, 0x0c])).expect("as large as it may be");
    }
}
