//! Rows of a parent, which come and go together, by copy-on-write: the files that hold rows of a parent whose rows come anew are written
//! again without them. Decided while the epoch is committed, as in [`merge`](super::merge).

use super::actions::{Add, Line};
use super::commit::Change;
use super::file;
use super::keys::{Keyed, Rule, is_set};
use super::log::Snapshot;
use super::own::GROUP;
use super::ranges::Ranges;
use super::rewrite::{failed, kept, rewrite};
use super::staged::DeltaStaged;
use super::table::DeltaTable;
use super::{schema, stats};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::sink::{Children, CommitRequest};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use futures::TryStreamExt;
use std::collections::HashMap;

/// What was found out while a commit was tried; files never change.
#[derive(Debug, Default)]
pub(super) struct Memo {
    incoming: Option<Incoming>,
    /// Of the parents that come, by their numbers: the greatest version that a file holds of each.
    met: HashMap<String, HashMap<usize, Box<[u8]>>>,
    /// What was made of a file without the rows of these parents.
    edited: HashMap<String, (Vec<usize>, Vec<Add>)>,
    inserted: Option<(Vec<bool>, Vec<Add>)>,
}

/// The parents that an epoch brings rows of.
#[derive(Debug, Default)]
struct Incoming {
    numbers: HashMap<Box<[u8]>, usize>,
    /// By parent and number.
    groups: HashMap<(usize, i64), Group>,
    winners: Vec<Group>,
    ranges: Ranges,
    /// Of each file and row the parent, and the group if it is no marker.
    rows: Vec<Vec<(usize, Option<i64>)>>,
}

/// The rows of one record that have one parent.
#[derive(Clone, Debug)]
struct Group {
    number: i64,
    version: Box<[u8]>,
    deleted: bool,
}

/// The change of an epoch whose rows take the place of those of their parents.
pub(super) async fn children(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    held: Option<&Snapshot>,
    children: &Children,
    memo: &mut Memo,
) -> Result<Change> {
    let (Some(staged), false) = (&request.staged.schema, request.staged.files.is_empty()) else {
        return Ok(Change { schema: request.staged.schema.clone(), ..Change::default() });
    };
    let columns = schema::merged(held.map(|held| held.metadata.schema_string.as_str()), staged)?;
    let Children { parent, newest, deleted, .. } = children;
    let rule = Rule { key: parent.clone(), newest: newest.clone(), deleted: deleted.clone(), first_stays: false };
    let keyed = Keyed::new(&rule, &columns)?;
    if memo.incoming.is_none() {
        memo.incoming = Some(Incoming::read(table, &request.staged, children, &keyed, &columns).await?);
    }
    let Memo { incoming: Some(incoming), met, edited, inserted } = memo else {
        return Err(Error::bug("merge delta", "no parents"));
    };
    let files = held.iter().flat_map(|held| held.files.values());
    let files: Vec<&Add> = files.filter(|file| incoming.ranges.may_be_in(file, parent)).collect();
    for file in &files {
        if !met.contains_key(&file.path) {
            let found = incoming.meet(table, file, &keyed).await?;
            met.insert(file.path.clone(), found);
        }
    }
    // A parent of which the table has something newer stays as it is.
    let mut applies = vec![true; incoming.winners.len()];
    for (number, version) in files.iter().filter_map(|file| met.get(&file.path)).flatten() {
        let older = incoming.winners.get(*number).is_some_and(|winner| winner.version < *version);
        applies.get_mut(*number).into_iter().for_each(|applies| *applies &= !older);
    }
    let mut change = Change { rewrites: true, schema: Some(staged.clone()), ..Change::default() };
    for file in files {
        let found = met.get(&file.path).into_iter().flatten().map(|(number, _)| *number);
        let mut going: Vec<usize> = found.filter(|number| applies.get(*number) == Some(&true)).collect();
        if going.is_empty() {
            continue;
        }
        going.sort_unstable();
        if edited.get(&file.path).is_none_or(|(known, _)| *known != going) {
            let edit = |_: usize, _: usize, rows: RecordBatch| incoming.without(&keyed, &applies, rows);
            let adds = rewrite(table, env, request, std::slice::from_ref(file), &columns, &edit, true).await?;
            edited.insert(file.path.clone(), (going, adds));
        }
        let adds = edited.get(&file.path).map(|(_, adds)| adds.as_slice()).unwrap_or_default();
        let rows = |file: &Add| stats::rows(file.stats.as_deref()).unwrap_or_default();
        change.counts.deleted += rows(file).saturating_sub(adds.iter().map(rows).sum());
        change.lines.push(file.removed(true).into());
        change.lines.extend(adds.iter().cloned().map(Line::from));
    }
    if inserted.as_ref().is_none_or(|(known, _)| *known != applies) {
        let masks = incoming.masks(&applies);
        let staged: Vec<Add> = request.staged.files.iter().map(|file| file.add(0)).collect();
        let some = masks.iter().any(|mask| mask.true_count() > 0);
        let adds = if some {
            rewrite(table, env, request, &staged, &columns, &kept(&masks), false).await?
        } else {
            Vec::new()
        };
        *inserted = Some((applies, adds));
    }
    let adds = inserted.iter().flat_map(|(_, adds)| adds);
    change.counts.inserted = adds.clone().filter_map(|add| stats::rows(add.stats.as_deref())).sum();
    change.lines.extend(adds.cloned().map(Line::from));
    Ok(change)
}

impl Incoming {
    async fn read(
        table: &DeltaTable,
        staged: &DeltaStaged,
        children: &Children,
        keyed: &Keyed,
        columns: &SchemaRef,
    ) -> Result<Self> {
        let index = columns.field_with_name(&children.index).ok().map(|field| field.as_ref().clone());
        let index = index.ok_or_else(|| {
            Error::config("merge delta", "the table has no column that the disposition names")
                .with("column", &children.index)
        })?;
        let group = Field::new(GROUP, DataType::Int64, true);
        let read: Vec<Field> = keyed.columns.fields().iter().map(|field| field.as_ref().clone()).collect();
        let wanted = std::sync::Arc::new(Schema::new([read, vec![index, group]].concat()));
        let mut incoming = Self::default();
        for staged_file in &staged.files {
            incoming.rows.push(Vec::new());
            let mut rows = file::rows(&table.log, &staged_file.add(0), &wanted).await?;
            while let Some(batch) = rows.try_next().await? {
                incoming.add(keyed, children, &batch)?;
            }
        }
        incoming.seal();
        Ok(incoming)
    }

    /// Lets the greatest version of each parent win, and of equal ones what was landed last.
    fn seal(&mut self) {
        let mut winners: Vec<Option<Group>> = vec![None; self.numbers.len()];
        for ((parent, _), group) in self.groups.drain() {
            let Some(held) = winners.get_mut(parent) else { continue };
            if held.as_ref().is_none_or(|held| (&held.version, held.number) < (&group.version, group.number)) {
                *held = Some(group);
            }
        }
        self.groups = HashMap::new();
        // Each parent has a group.
        self.winners = winners.into_iter().flatten().collect();
    }

    /// Adds rows of the epoch, in the order in which they were landed.
    fn add(&mut self, keyed: &Keyed, children: &Children, batch: &RecordBatch) -> Result<()> {
        let column = |name: &str| {
            let column = batch.column_by_name(name);
            column.ok_or_else(|| Error::bug("merge delta", "a column was not read").with("column", name))
        };
        let (keys, columns) = keyed.keys_of(batch)?;
        self.ranges.note(&children.parent, &columns);
        let versions = keyed.versions_of(batch)?;
        let (indices, groups) = (column(&children.index)?, column(GROUP)?.as_primitive::<Int64Type>());
        let deleted = children.deleted.as_ref().map(|deleted| column(deleted)).transpose()?;
        for (row, key) in keys.iter().enumerate() {
            let group = Group {
                number: groups.value(row),
                version: versions.as_ref().map_or_else(Box::default, |versions| versions.row(row).as_ref().into()),
                deleted: deleted.is_some_and(|column| is_set(column, row)),
            };
            let next = self.numbers.len();
            let parent = *self.numbers.entry(key.as_ref().into()).or_insert(next);
            let number = group.number;
            self.groups.entry((parent, number)).and_modify(|held| held.join(&group)).or_insert(group);
            let of_row = (parent, indices.is_valid(row).then_some(number));
            self.rows.last_mut().into_iter().for_each(|rows| rows.push(of_row));
        }
        Ok(())
    }

    /// The greatest version that a file of the table holds of each parent that comes.
    async fn meet(&self, table: &DeltaTable, file: &Add, keyed: &Keyed) -> Result<HashMap<usize, Box<[u8]>>> {
        let mut found: HashMap<usize, Box<[u8]>> = HashMap::new();
        let mut rows = file::rows(&table.log, file, &keyed.columns).await?;
        while let Some(batch) = rows.try_next().await? {
            let (keys, _) = keyed.keys_of(&batch)?;
            let versions = keyed.versions_of(&batch)?;
            for (row, key) in keys.iter().enumerate() {
                let Some(number) = self.numbers.get(key.as_ref()) else { continue };
                let version = versions.as_ref().map(|versions| versions.row(row));
                let version = version.as_ref().map_or(&[][..], |version| version.as_ref());
                match found.get_mut(number) {
                    Some(held) if **held >= *version => {}
                    Some(held) => *held = version.into(),
                    None => {
                        found.insert(*number, version.into());
                    }
                }
            }
        }
        Ok(found)
    }

    /// Rows of the table but for those whose parent has new ones.
    fn without(&self, keyed: &Keyed, applies: &[bool], rows: RecordBatch) -> Result<RecordBatch> {
        let (keys, _) = keyed.keys_of(&rows)?;
        let goes = |key: &[u8]| self.numbers.get(key).is_some_and(|number| applies.get(*number) == Some(&true));
        let stays: BooleanArray = keys.iter().map(|key| Some(!goes(key.as_ref()))).collect();
        filter_record_batch(&rows, &stays).map_err(failed)
    }

    /// The rows of each file of the epoch that go into the table.
    fn masks(&self, applies: &[bool]) -> Vec<BooleanArray> {
        let goes_in = |(parent, group): &(usize, Option<i64>)| {
            let winner =
                self.winners.get(*parent).filter(|winner| !winner.deleted && applies.get(*parent) == Some(&true));
            Some(winner.is_some_and(|winner| *group == Some(winner.number)))
        };
        self.rows.iter().map(|rows| rows.iter().map(goes_in).collect()).collect()
    }
}

impl Group {
    /// With another row of the group.
    fn join(&mut self, row: &Self) {
        self.deleted |= row.deleted;
        if row.version > self.version {
            self.version.clone_from(&row.version);
        }
    }
}
