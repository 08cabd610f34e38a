//! A history of versions (SCD type 2) by copy-on-write: what a key had in the table ends where the next version begins, and the
//! files that hold such a row are written again. Decided while the epoch is committed, as in [`merge`](super::merge).

use super::actions::{Add, Line};
use super::commit::Change;
use super::file;
use super::keys::{Keyed, is_set};
use super::log::Snapshot;
use super::own::HASH;
use super::ranges::Ranges;
use super::rewrite::{failed, rewrite, with_column};
use super::schema;
use super::staged::DeltaStaged;
use super::table::DeltaTable;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::sink::{CommitRequest, Scd2};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch, UInt64Array};
use arrow::compute::{cast, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use futures::TryStreamExt;
use std::collections::HashMap;
use std::sync::Arc;

/// The type of the columns of time.
pub(super) fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// What was found out while a commit was tried; files never change.
#[derive(Debug, Default)]
pub(super) struct Memo {
    incoming: Option<Incoming>,
    /// What a file of the table holds of the keys that come.
    met: HashMap<String, Vec<Met>>,
    /// What was made of a file.
    edited: HashMap<String, (Edits, Vec<Add>)>,
    inserted: Option<(Vec<Inserts>, Vec<Add>)>,
}

/// The versions that an epoch brings, by key.
#[derive(Debug, Default)]
struct Incoming {
    numbers: HashMap<Box<[u8]>, usize>,
    versions: Vec<Vec<Version>>,
    ranges: Ranges,
}

/// A version that came: from when it holds, in microseconds, the hash of its values (none if it says that the key is gone), and
/// where its row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    at: i64,
    hash: Option<u128>,
    file: usize,
    row: usize,
}

/// What a file holds of a key: the last time that it tells of, and the rows that are current.
#[derive(Clone, Debug, Default)]
struct Met {
    key: usize,
    floor: Option<i64>,
    current: Vec<Current>,
}

/// A row that is current: from when it holds, the time that it came with, which may be earlier, and its hash.
#[derive(Clone, Copy, Debug)]
struct Current {
    row: usize,
    from: i64,
    since: i64,
    hash: Option<u128>,
}

/// What a table holds of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// The last time that it tells of.
    floor: Option<i64>,
    /// The hash of what is current, and the time that it came with.
    hash: Option<u128>,
    since: Option<i64>,
}

/// Rows of a table's file that change: they end at a time, or go.
type Edits = Vec<(usize, Option<i64>)>;
/// Rows of a staged file that are versions, from when, and until when if that is known.
type Inserts = Vec<(usize, i64, Option<i64>)>;

/// How times are given to versions.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// By a column of theirs.
    since: bool,
    sweep: bool,
}

/// The change of an epoch whose rows are versions.
pub(super) async fn versions(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    held: Option<&Snapshot>,
    scd2: &Scd2,
    memo: &mut Memo,
) -> Result<Change> {
    let (Some(staged), false) = (&request.staged.schema, request.staged.files.is_empty()) else {
        return Ok(Change { schema: request.staged.schema.clone(), ..Change::default() });
    };
    let columns = schema::merged(held.map(|held| held.metadata.schema_string.as_str()), staged)?;
    let keyed = Keyed::by(&scd2.key, &columns)?;
    if memo.incoming.is_none() {
        memo.incoming = Some(Incoming::read(table, &request.staged, scd2, &keyed, &columns).await?);
    }
    let Memo { incoming: Some(incoming), met, edited, inserted } = memo else {
        return Err(Error::bug("merge delta", "no versions"));
    };
    let files = held.iter().flat_map(|held| held.files.values());
    let files: Vec<&Add> = files.filter(|file| incoming.ranges.may_be_in(file, &scd2.key)).collect();
    for file in &files {
        if !met.contains_key(&file.path) {
            let found = incoming.meet(table, file, scd2, &keyed, &columns).await?;
            met.insert(file.path.clone(), found);
        }
    }
    let mut of_keys: Vec<Vec<(usize, &Met)>> = vec![Vec::new(); incoming.versions.len()];
    for (number, file) in files.iter().enumerate() {
        for found in met.get(&file.path).into_iter().flatten() {
            of_keys.get_mut(found.key).into_iter().for_each(|of| of.push((number, found)));
        }
    }
    let mut change = Change { rewrites: true, schema: Some(staged.clone()), ..Change::default() };
    let mut edits: Vec<Edits> = vec![Vec::new(); files.len()];
    let mut inserts: Vec<Inserts> = vec![Vec::new(); request.staged.files.len()];
    let rule = Rule { since: scd2.since.is_some(), sweep: scd2.sweep.is_some() };
    for (versions, found) in incoming.versions.iter().zip(of_keys) {
        let current = || found.iter().flat_map(|(file, met)| met.current.iter().map(move |row| (*file, *row)));
        let held = Held {
            floor: found.iter().filter_map(|(_, met)| met.floor).max(),
            hash: current().filter_map(|(_, row)| row.hash).max(),
            since: current().map(|(_, row)| row.since).max(),
        };
        let (begins, decided) = decide(versions, held, rule);
        if let Some(begins) = begins {
            for (file, Current { row, from, .. }) in current() {
                // A version that held for no time at all was a mistake of the same moment.
                let end = (from < begins).then_some(begins);
                *(if end.is_some() { &mut change.counts.updated } else { &mut change.counts.deleted }) += 1;
                edits.get_mut(file).into_iter().for_each(|edits| edits.push((row, end)));
            }
        }
        for (version, from, until) in decided {
            change.counts.inserted += 1;
            inserts.get_mut(version.file).into_iter().for_each(|of| of.push((version.row, from, until)));
        }
    }
    inserts.iter_mut().for_each(|of| of.sort_unstable());
    for (file, mut edits) in files.into_iter().zip(edits) {
        if edits.is_empty() {
            continue;
        }
        edits.sort_unstable();
        if edited.get(&file.path).is_none_or(|(known, _)| *known != edits) {
            let edit = |_: usize, first: usize, rows: RecordBatch| end(rows, first, &edits, scd2);
            let adds = rewrite(table, env, request, std::slice::from_ref(file), &columns, &edit, true).await?;
            edited.insert(file.path.clone(), (edits, adds));
        }
        change.lines.push(file.removed(true).into());
        let adds = edited.get(&file.path).into_iter().flat_map(|(_, adds)| adds);
        change.lines.extend(adds.cloned().map(Line::from));
    }
    if inserted.as_ref().is_none_or(|(known, _)| *known != inserts) {
        let staged: Vec<Add> = request.staged.files.iter().map(|file| file.add(0)).collect();
        let edit = |file: usize, first: usize, rows: RecordBatch| {
            begin(rows, first, inserts.get(file).map(Vec::as_slice).unwrap_or_default(), scd2)
        };
        let some = inserts.iter().any(|of| !of.is_empty());
        let adds = if some { rewrite(table, env, request, &staged, &columns, &edit, false).await? } else { Vec::new() };
        *inserted = Some((inserts, adds));
    }
    change.lines.extend(inserted.iter().flat_map(|(_, adds)| adds).cloned().map(Line::from));
    Ok(change)
}

/// Which of the versions of a key that come are new ones: from when to when each holds. And the time at which what is current in
/// the table ends, if it does.
fn decide(incoming: &[Version], held: Held, rule: Rule) -> (Option<i64>, Vec<(Version, i64, Option<i64>)>) {
    // A sweep ends versions at a time of its own: a key that comes again has been away until then, and what follows goes by the time
    // that it came with.
    let lifted = rule.since && rule.sweep;
    let from = |version: &Version| match held.floor {
        // Without a time of their own, versions follow each other even if a clock goes back.
        Some(floor) if !rule.since && floor >= version.at => floor.saturating_add(1),
        Some(floor) if lifted => version.at.max(floor),
        _ => version.at,
    };
    let oldest = if lifted { held.since } else { held.floor };
    let mut later: Vec<(i64, Version)> = Vec::new();
    for version in incoming {
        let from = from(version);
        let time = if lifted { version.at } else { from };
        if oldest.is_some_and(|oldest| time < oldest) {
            continue;
        }
        // Of those that begin together, the last one counts.
        if later.last().is_some_and(|(before, _)| *before == from) {
            later.pop();
        }
        later.push((from, *version));
    }
    let mut before = held.hash;
    later.retain(|(_, version)| std::mem::replace(&mut before, version.hash) != version.hash);
    let begins = later.first().map(|(from, _)| *from);
    let untils = later.iter().skip(1).map(|(from, _)| Some(*from)).chain([None]).collect::<Vec<_>>();
    let versions = later.iter().zip(untils).map(|((from, version), until)| (*version, *from, until));
    (begins, versions.filter(|(version, ..)| version.hash.is_some()).collect())
}

impl Incoming {
    async fn read(
        table: &DeltaTable,
        staged: &DeltaStaged,
        scd2: &Scd2,
        keyed: &Keyed,
        columns: &SchemaRef,
    ) -> Result<Self> {
        let named = scd2.key.iter().chain(&scd2.since).chain(&scd2.deleted).map(String::as_str).chain([HASH]);
        let wanted = schema::pick(columns, named)?;
        let mut incoming = Self::default();
        for (number, staged_file) in staged.files.iter().enumerate() {
            let mut rows = file::rows(&table.log, &staged_file.add(0), &wanted).await?;
            let mut first = 0;
            while let Some(batch) = rows.try_next().await? {
                incoming.add(keyed, scd2, staged.staged_at.as_micros(), (number, first), &batch)?;
                first += batch.num_rows();
            }
        }
        for versions in &mut incoming.versions {
            // Of those of one time the last one counts.
            versions.sort_by_key(|version| version.at);
            versions.reverse();
            versions.dedup_by_key(|version| version.at);
            versions.reverse();
            versions.shrink_to_fit();
        }
        Ok(incoming)
    }

    fn add(
        &mut self,
        keyed: &Keyed,
        scd2: &Scd2,
        staged_at: i64,
        (file, first): (usize, usize),
        batch: &RecordBatch,
    ) -> Result<()> {
        let (keys, columns) = keyed.keys_of(batch)?;
        self.ranges.note(&scd2.key, &columns);
        let times = scd2.since.as_ref().map(|since| times_of(batch, since)).transpose()?;
        let deleted = scd2.deleted.as_ref().map(|deleted| column(batch, deleted)).transpose()?;
        let hashes = hashes(batch)?;
        for (row, key) in keys.iter().enumerate() {
            let gone = deleted.is_some_and(|column| is_set(column, row));
            let version = Version {
                at: times.as_ref().map_or(staged_at, |times| times.value(row)),
                hash: hashes.get(row).copied().flatten().filter(|_| !gone),
                file,
                row: first + row,
            };
            let next = self.versions.len();
            let number = *self.numbers.entry(key.as_ref().into()).or_insert(next);
            match self.versions.get_mut(number) {
                Some(versions) => versions.push(version),
                None => self.versions.push(vec![version]),
            }
        }
        Ok(())
    }

    /// What a file of the table holds of the keys that come.
    async fn meet(
        &self,
        table: &DeltaTable,
        file: &Add,
        scd2: &Scd2,
        keyed: &Keyed,
        columns: &SchemaRef,
    ) -> Result<Vec<Met>> {
        let named = scd2.key.iter().map(String::as_str).chain([scd2.valid_from.as_str(), scd2.valid_to.as_str(), HASH]);
        let named = named.chain(scd2.since.as_deref());
        let wanted = schema::pick(columns, named)?;
        let mut found: HashMap<usize, Met> = HashMap::new();
        let mut rows = file::rows(&table.log, file, &wanted).await?;
        let mut first = 0;
        while let Some(batch) = rows.try_next().await? {
            let (keys, _) = keyed.keys_of(&batch)?;
            let (from, to) = (times_of(&batch, &scd2.valid_from)?, times_of(&batch, &scd2.valid_to)?);
            let since = scd2.since.as_ref().map(|since| times_of(&batch, since)).transpose()?;
            let hashes = hashes(&batch)?;
            for (row, key) in keys.iter().enumerate() {
                let Some(number) = self.numbers.get(key.as_ref()) else { continue };
                let met = found.entry(*number).or_insert_with(|| Met { key: *number, ..Met::default() });
                let begins = from.is_valid(row).then(|| from.value(row));
                let ends = to.is_valid(row).then(|| to.value(row));
                met.floor = met.floor.max(ends.or(begins));
                if ends.is_none() {
                    let from = begins.unwrap_or(i64::MIN);
                    met.current.push(Current {
                        row: first + row,
                        from,
                        since: since
                            .as_ref()
                            .filter(|since| since.is_valid(row))
                            .map_or(from, |since| since.value(row)),
                        hash: hashes.get(row).copied().flatten(),
                    });
                }
            }
            first += batch.num_rows();
        }
        Ok(found.into_values().collect())
    }
}

/// Rows of a table's file, some of which end or go.
fn end(rows: RecordBatch, first: usize, edits: &Edits, scd2: &Scd2) -> Result<RecordBatch> {
    let edits = within(edits, first, rows.num_rows(), |(row, _)| *row);
    if edits.is_empty() {
        return Ok(rows);
    }
    let held = times_of(&rows, &scd2.valid_to)?;
    let mut ends: Vec<Option<i64>> = held.iter().collect();
    let mut stays = vec![true; rows.num_rows()];
    for (row, end) in edits {
        stays.get_mut(row - first).into_iter().for_each(|stays| *stays = end.is_some());
        ends.get_mut(row - first).into_iter().for_each(|held| *held = *end);
    }
    let rows = with_times(&rows, &scd2.valid_to, ends.into_iter())?;
    filter_record_batch(&rows, &BooleanArray::from(stays)).map_err(failed)
}

/// Those rows of a staged file that are versions, with their times.
fn begin(rows: RecordBatch, first: usize, inserts: &[(usize, i64, Option<i64>)], scd2: &Scd2) -> Result<RecordBatch> {
    let inserts = within(inserts, first, rows.num_rows(), |(row, ..)| *row);
    let numbers: UInt64Array = inserts.iter().map(|(row, ..)| Some((row - first) as u64)).collect();
    let rows = take_record_batch(&rows, &numbers).map_err(failed)?;
    let rows = with_times(&rows, &scd2.valid_from, inserts.iter().map(|(_, from, _)| Some(*from)))?;
    with_times(&rows, &scd2.valid_to, inserts.iter().map(|(_, _, until)| *until))
}

/// Of what is sorted by rows, that of `count` rows from `first` on.
fn within<T>(sorted: &[T], first: usize, count: usize, row: impl Fn(&T) -> usize) -> &[T] {
    let from = sorted.partition_point(|one| row(one) < first);
    let until = sorted.partition_point(|one| row(one) < first + count);
    sorted.get(from..until).unwrap_or_default()
}

fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    let values: PrimitiveArray<TimestampMicrosecondType> = values.into_iter().collect();
    Arc::new(values.with_data_type(time()))
}

/// The times in a column, in microseconds.
pub(super) fn times_of(rows: &RecordBatch, name: &str) -> Result<PrimitiveArray<TimestampMicrosecondType>> {
    micros(column(rows, name)?)
}

/// The rows with other times in a column.
pub(super) fn with_times(
    rows: &RecordBatch,
    name: &str,
    values: impl Iterator<Item = Option<i64>>,
) -> Result<RecordBatch> {
    with_column(rows, name, times(values))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::bug("merge delta", "a column was not read").with("column", name))
}

/// Times in microseconds; those without a zone are of UTC, and a day begins there.
fn micros(column: &ArrayRef) -> Result<PrimitiveArray<TimestampMicrosecondType>> {
    let plain = match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => Arc::clone(column),
        _ => cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None)).map_err(failed)?,
    };
    Ok(plain.as_primitive::<TimestampMicrosecondType>().clone())
}

/// The hashes that rows have.
fn hashes(batch: &RecordBatch) -> Result<Vec<Option<u128>>> {
    let texts = column(batch, HASH)?;
    let texts = texts.as_string_opt::<i32>().ok_or_else(|| Error::bug("merge delta", "the hashes are no text"))?;
    Ok(texts.iter().map(|text| text.and_then(|text| u128::from_str_radix(text, 16).ok())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Rule = Rule { since: true, sweep: false };

    fn version(at: i64, hash: Option<u128>) -> Version {
        Version { at, hash, file: 0, row: 0 }
    }

    fn decided(
        incoming: &[(i64, Option<u128>)],
        floor: Option<i64>,
        held: Option<u128>,
        rule: Rule,
    ) -> (Option<i64>, Vec<(u128, i64, Option<i64>)>) {
        let incoming: Vec<_> = incoming.iter().map(|(at, hash)| version(*at, *hash)).collect();
        let held = Held { floor, hash: held, since: held.and(floor) };
        let (begins, versions) = decide(&incoming, held, rule);
        let told = versions.into_iter().filter_map(|(version, from, until)| Some((version.hash?, from, until)));
        (begins, told.collect())
    }

    #[test]
    fn a_version_ends_where_the_next_one_begins() {
        let told = decided(&[(1, Some(1)), (5, Some(2)), (7, Some(2)), (9, None)], None, None, SINCE);
        assert_eq!(told, (Some(1), vec![(1, 1, Some(5)), (2, 5, Some(9))]));
        assert_eq!(decided(&[(9, Some(3))], Some(5), Some(3), SINCE), (None, vec![]), "the same values are none");
        assert_eq!(decided(&[(3, Some(4)), (6, None)], Some(5), Some(3), SINCE), (Some(6), vec![]), "too old");
        assert_eq!(decided(&[(9, None)], Some(5), None, SINCE), (None, vec![]), "it is gone already");
    }

    #[test]
    fn a_clock_that_goes_back_and_a_key_that_was_away_begin_after_what_is_there() {
        let clock = Rule { since: false, sweep: false };
        assert_eq!(decided(&[(4, Some(2))], Some(5), Some(1), clock), (Some(6), vec![(2, 6, None)]));
        let swept = Rule { since: true, sweep: true };
        assert_eq!(decided(&[(1, Some(1)), (2, Some(2))], Some(5), None, swept), (Some(5), vec![(2, 5, None)]));
        assert_eq!(decided(&[(1, Some(1))], Some(5), Some(1), swept), (None, vec![]), "it was not away");
        let gone = decided(&[(1, Some(1)), (2, None)], Some(5), None, swept);
        assert_eq!(gone, (None, vec![]), "it came again, and went");
    }
}
