use super::Demand;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashSet;

/// What a sink does with the rows that its table holds already.
///
/// Rows that one epoch, or one enumeration, brings several times are collapsed by the same rule as those in the table.
///
/// ```
/// use landfall::sink::{Disposition, Replace, Upsert};
///
/// let current: Disposition = Upsert::by(["id"]).newest("updated_at").deleted_when("deleted").into();
/// current.check()?;
/// let snapshot: Disposition = Replace::table().key(["id"]).may_shrink_by(0.1).into();
/// snapshot.check()?;
/// assert!(Disposition::from(Upsert::by::<&str>([])).check().is_err());
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Disposition {
    /// Adds rows, and looks at none that is there.
    #[default]
    Append,
    /// Keeps one row of a key: the newest.
    Upsert(Upsert),
    /// Adds rows whose key is not there, and never changes one.
    InsertOnly(InsertOnly),
    /// Keeps every version of a key, with the time for which it was the current one (a slowly changing dimension of type 2).
    Scd2(Scd2),
    /// Holds what the newest whole enumeration has given.
    Replace(Replace),
    /// Replaces the partitions of which the newest whole enumeration has given rows; leaves others alone.
    ReplacePartitions(ReplacePartitions),
    /// Holds the rows that come from the newest record of a parent: they come and go together.
    Children(Children),
}

/// One row of a key: see [`Disposition::Upsert`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upsert {
    /// The columns that tell rows apart. None of them may be null.
    pub key: Vec<String>,
    /// The column whose greatest value makes a row the newest; null is before everything. `None`: what was landed last.
    pub newest: Option<String>,
    /// The column that says that the row is to be deleted: by `true`, or by any value if it is no bool.
    pub deleted: Option<String>,
    /// Whether rows that a whole enumeration did not give are deleted: the part of the rows that may go in one sweep.
    pub sweep: Option<f64>,
    /// Whether a deleted row stays, and says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_deleted: bool,
}

impl Upsert {
    /// Rows are told apart by these columns.
    pub fn by<C: Into<String>>(key: impl IntoIterator<Item = C>) -> Self {
        Self { key: names(key), newest: None, deleted: None, sweep: None, keep_deleted: false }
    }

    /// Of several rows of a key, the one with the greatest value here is kept, and of equal ones the one that was landed last; a
    /// row older than the one in the table changes nothing. Without it, what was landed last is the newest.
    #[must_use]
    pub fn newest(self, column: impl Into<String>) -> Self {
        Self { newest: Some(column.into()), ..self }
    }

    /// Deletes the row of the key where this column of the newest one is `true`, or, if it is no bool, not null. A deleted row leaves
    /// nothing behind: an older version that comes in a later epoch is a row again.
    #[must_use]
    pub fn deleted_when(self, column: impl Into<String>) -> Self {
        Self { deleted: Some(column.into()), ..self }
    }

    /// Keeps a deleted row and marks it: the column of [`deleted_when`](Self::deleted_when), and that of [`newest`](Self::newest), become what
    /// the deletion says, and the others stay as they were. So an older version that comes in a later epoch changes nothing, and a newer one
    /// is a row as any other again. A deletion of a row that is not there is kept too. Not every sink can do it.
    #[must_use]
    pub fn keep_deleted(self) -> Self {
        Self { keep_deleted: true, ..self }
    }

    /// Deletes rows of this pipeline that an enumeration did not give, once it is whole; refuses to if these are more than the part
    /// `at_most` (from 0 to 1) of its rows. Each run then reads everything from the beginning.
    #[must_use]
    pub fn sweep(self, at_most: f64) -> Self {
        Self { sweep: Some(at_most), ..self }
    }
}

/// The first row of a key stays: see [`Disposition::InsertOnly`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InsertOnly {
    /// The columns that tell rows apart. None of them may be null.
    pub key: Vec<String>,
}

impl InsertOnly {
    /// Rows are told apart by these columns.
    pub fn by<C: Into<String>>(key: impl IntoIterator<Item = C>) -> Self {
        Self { key: names(key) }
    }
}

/// All versions of a key: see [`Disposition::Scd2`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scd2 {
    /// The columns that tell rows apart. None of them may be null.
    pub key: Vec<String>,
    /// The column of time from which a version holds; null is refused. `None`: the time at which its epoch was staged.
    pub since: Option<String>,
    /// The column that says that the key exists no more: by `true`, or by any value if it is no bool.
    pub deleted: Option<String>,
    /// Whether keys that a whole enumeration did not give are closed: the part of the current versions that may be in one sweep.
    pub sweep: Option<f64>,
    /// The column of the time from which a version holds.
    pub valid_from: String,
    /// The column of the time at which it stopped to hold; null in the current version.
    pub valid_to: String,
}

impl Scd2 {
    /// Rows are told apart by these columns. A row that differs from the current version of its key in no other column is no
    /// new version.
    pub fn by<C: Into<String>>(key: impl IntoIterator<Item = C>) -> Self {
        let (valid_from, valid_to) = ("_landfall_valid_from".to_owned(), "_landfall_valid_to".to_owned());
        Self { key: names(key), since: None, deleted: None, sweep: None, valid_from, valid_to }
    }

    /// A version holds from the time in this column on; one that is older than the current version changes nothing. Without it,
    /// it holds from when its epoch was staged.
    #[must_use]
    pub fn since(self, column: impl Into<String>) -> Self {
        Self { since: Some(column.into()), ..self }
    }

    /// Closes the current version of the key where this column is `true`, or, if it is no bool, not null. Of a key that has no current
    /// version it leaves no trace: an older version that comes later is current then.
    #[must_use]
    pub fn deleted_when(self, column: impl Into<String>) -> Self {
        Self { deleted: Some(column.into()), ..self }
    }

    /// Closes versions of this pipeline whose key an enumeration did not give, once it is whole; refuses to if these are more than
    /// the part `at_most` (from 0 to 1) of its current versions. Each run then reads everything from the beginning.
    #[must_use]
    pub fn sweep(self, at_most: f64) -> Self {
        Self { sweep: Some(at_most), ..self }
    }

    /// Names the columns of the time for which a version holds. `_landfall_valid_from` and `_landfall_valid_to` by default.
    #[must_use]
    pub fn columns(self, valid_from: impl Into<String>, valid_to: impl Into<String>) -> Self {
        Self { valid_from: valid_from.into(), valid_to: valid_to.into(), ..self }
    }
}

/// The table holds one whole enumeration: see [`Disposition::Replace`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replace {
    /// The columns that tell rows apart; empty if no row is collapsed.
    pub key: Vec<String>,
    /// As [`Upsert::newest`].
    pub newest: Option<String>,
    /// The part of its rows that the table may lose in one replacement, from 0 to 1.
    pub may_shrink_by: f64,
}

impl Replace {
    /// The rows of a whole enumeration take the place of all rows in one step. It is refused, and nothing changes, if it would
    /// cost the table more than half of its rows.
    pub fn table() -> Self {
        Self { key: Vec::new(), newest: None, may_shrink_by: 0.5 }
    }

    /// Keeps one row of these columns: an enumeration may give a row twice, where it went on after something moved.
    #[must_use]
    pub fn key<C: Into<String>>(self, key: impl IntoIterator<Item = C>) -> Self {
        Self { key: names(key), ..self }
    }

    /// As [`Upsert::newest`], within one enumeration.
    #[must_use]
    pub fn newest(self, column: impl Into<String>) -> Self {
        Self { newest: Some(column.into()), ..self }
    }

    /// The part of its rows that the table may lose in one replacement: 1.0 lets it become empty, 0.0 never lets it shrink. 0.5
    /// by default.
    #[must_use]
    pub fn may_shrink_by(self, part: f64) -> Self {
        Self { may_shrink_by: part, ..self }
    }
}

/// Partitions are replaced whole: see [`Disposition::ReplacePartitions`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplacePartitions {
    /// The columns whose values make a partition.
    pub by: Vec<String>,
    /// The columns that tell rows apart; empty if no row is collapsed.
    pub key: Vec<String>,
    /// As [`Upsert::newest`].
    pub newest: Option<String>,
}

impl ReplacePartitions {
    /// Rows with equal values in these columns are a partition; null is a value too.
    pub fn by<C: Into<String>>(columns: impl IntoIterator<Item = C>) -> Self {
        Self { by: names(columns), key: Vec::new(), newest: None }
    }

    /// As [`Replace::key`].
    #[must_use]
    pub fn key<C: Into<String>>(self, key: impl IntoIterator<Item = C>) -> Self {
        Self { key: names(key), ..self }
    }

    /// As [`Upsert::newest`], within one enumeration.
    #[must_use]
    pub fn newest(self, column: impl Into<String>) -> Self {
        Self { newest: Some(column.into()), ..self }
    }
}

/// Rows of a parent: see [`Disposition::Children`].
///
/// 1. *Group*: the rows that come from one record of the landing and have one parent key. All of them come in one batch;
///    `Batch::records` tells the rows of one record from those of the next.
/// 2. *Winner*: of several groups of a parent key, the one whose greatest value of [`newest`](Self::newest) is the greatest, and of
///    equal ones the one that was landed last. Without `newest`, the one that was landed last.
/// 3. *Replacement*: the rows of the winner take the place of all rows that the table has for the parent key. If one of these has a
///    greater `newest` than the winner, nothing changes.
/// 4. *Markers*: a row whose [`index`](Self::index) is null says that the parent is there, and is never written into the table. A
///    group of a marker alone empties the parent. It counts as a record that was staged.
/// 5. *Deletion*: a group with a row whose [`deleted`](Self::deleted) is `true` (or, if it is no bool, not null) empties the parent.
/// 6. *No trace*: a parent that was emptied leaves nothing behind: an older group that comes in a later epoch has rows again.
/// 7. *Refused*: a row whose parent key is null goes to the quarantine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Children {
    /// The columns that hold the parent's key. None of them may be null.
    pub parent: Vec<String>,
    /// The column that says how new the parent is, by which groups are compared; null is before everything.
    pub newest: Option<String>,
    /// The column that says that the parent is deleted.
    pub deleted: Option<String>,
    /// The column of the row's place among its siblings; null in a marker.
    pub index: String,
}

impl Children {
    /// The name of the column [`index`](Self::index), unless another one is given.
    pub const INDEX: &str = "_index";

    /// Rows belong to the parent whose key is in these columns.
    pub fn of<C: Into<String>>(parent: impl IntoIterator<Item = C>) -> Self {
        Self { parent: names(parent), newest: None, deleted: None, index: Self::INDEX.to_owned() }
    }

    /// Compares groups by the greatest value of their rows in this column; older ones than the rows in the table change nothing.
    #[must_use]
    pub fn newest(self, column: impl Into<String>) -> Self {
        Self { newest: Some(column.into()), ..self }
    }

    /// Empties the parent where this column of a row of the winner is `true`, or, if it is no bool, not null.
    #[must_use]
    pub fn deleted_when(self, column: impl Into<String>) -> Self {
        Self { deleted: Some(column.into()), ..self }
    }

    /// Names the column of the row's place among its siblings, null in a row that only says that the parent is there. `_index` by
    /// default.
    #[must_use]
    pub fn index(self, column: impl Into<String>) -> Self {
        Self { index: column.into(), ..self }
    }
}

impl Disposition {
    /// What a sink that does this must be given.
    pub fn demand(&self) -> Demand {
        match self {
            Self::Append | Self::InsertOnly(_) | Self::Children(_) => Demand::Increments,
            Self::Upsert(Upsert { sweep, .. }) | Self::Scd2(Scd2 { sweep, .. }) if sweep.is_none() => {
                Demand::Increments
            }
            Self::Upsert(_) | Self::Scd2(_) | Self::Replace(_) | Self::ReplacePartitions(_) => Demand::Enumerations,
        }
    }

    /// Refuses to take rows away, `after` of `before` being left, if that is more than may go at once.
    ///
    /// # Errors
    /// `Data`, saying how to allow it.
    pub fn guard(&self, before: u64, after: u64) -> Result<()> {
        let Some(part) = self.may_go() else { return Ok(()) };
        if after as f64 >= before as f64 * (1.0 - part) {
            return Ok(());
        }
        let hint = "look at what the source gave; if it is right, allow it: `Replace::may_shrink_by`, or the part that `sweep` takes";
        Err(Error::data("take rows away", "more of the table's rows would go than is allowed; nothing was changed")
            .with("disposition", self.as_str())
            .with("rows", before)
            .with("would_be", after)
            .with("may_go", part)
            .with_hint(hint))
    }

    /// The part of the rows that may go at once, if there is a limit.
    fn may_go(&self) -> Option<f64> {
        match self {
            Self::Replace(replace) => Some(replace.may_shrink_by),
            Self::Upsert(Upsert { sweep, .. }) | Self::Scd2(Scd2 { sweep, .. }) => *sweep,
            _ => None,
        }
    }

    /// Its name, as in [`identity`](Self::identity).
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Upsert(_) => "upsert",
            Self::InsertOnly(_) => "insert_only",
            Self::Scd2(_) => "scd2",
            Self::Replace(_) => "replace",
            Self::ReplacePartitions(_) => "replace_partitions",
            Self::Children(_) => "children",
        }
    }

    /// The columns that tell rows apart, or for [`Children`] their parents; empty if none do.
    pub fn key(&self) -> &[String] {
        match self {
            Self::Append => &[],
            Self::Upsert(Upsert { key, .. })
            | Self::InsertOnly(InsertOnly { key })
            | Self::Scd2(Scd2 { key, .. })
            | Self::Replace(Replace { key, .. })
            | Self::ReplacePartitions(ReplacePartitions { key, .. }) => key,
            Self::Children(Children { parent, .. }) => parent,
        }
    }

    /// The column whose greatest value makes a row the newest.
    pub fn newest(&self) -> Option<&str> {
        match self {
            Self::Append | Self::InsertOnly(_) => None,
            Self::Scd2(Scd2 { since, .. }) => since.as_deref(),
            Self::Upsert(Upsert { newest, .. })
            | Self::Replace(Replace { newest, .. })
            | Self::ReplacePartitions(ReplacePartitions { newest, .. })
            | Self::Children(Children { newest, .. }) => newest.as_deref(),
        }
    }

    /// The column that says that a row is to be deleted.
    pub fn deleted(&self) -> Option<&str> {
        match self {
            Self::Upsert(Upsert { deleted, .. })
            | Self::Scd2(Scd2 { deleted, .. })
            | Self::Children(Children { deleted, .. }) => deleted.as_deref(),
            _ => None,
        }
    }

    /// Whether rows that are deleted stay, and say so.
    pub fn keeps_deleted(&self) -> bool {
        matches!(self, Self::Upsert(Upsert { keep_deleted: true, .. }))
    }

    /// All columns that it names: rows must have them.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let by = match self {
            Self::ReplacePartitions(ReplacePartitions { by, .. }) => by.as_slice(),
            Self::Children(Children { index, .. }) => std::slice::from_ref(index),
            _ => &[],
        };
        self.key().iter().chain(by).map(String::as_str).chain(self.newest()).chain(self.deleted())
    }

    /// What of it cannot change from one run to the next: the rows of the table were made by it.
    pub fn identity(&self) -> Value {
        let mut identity = json!({ "disposition": self.as_str() });
        if let Value::Object(fields) = &mut identity {
            if !self.key().is_empty() {
                fields.insert("key".to_owned(), json!(self.key()));
            }
            match self {
                Self::ReplacePartitions(ReplacePartitions { by, .. }) => {
                    fields.insert("by".to_owned(), json!(by));
                }
                Self::Scd2(Scd2 { valid_from, valid_to, .. }) => {
                    fields.insert("valid".to_owned(), json!([valid_from, valid_to]));
                }
                Self::Children(Children { index, .. }) => {
                    fields.insert("index".to_owned(), json!(index));
                }
                _ => {}
            }
        }
        identity
    }

    /// Checks that it can be carried out.
    ///
    /// # Errors
    /// `Config`: a key without columns, a column twice or without a name, a part that is none.
    pub fn check(&self) -> Result<()> {
        let refuse = |message, hint| {
            Err(Error::config("check disposition", message).with("disposition", self.as_str()).with_hint(hint))
        };
        let needs_key = matches!(self, Self::Upsert(_) | Self::InsertOnly(_) | Self::Scd2(_) | Self::Children(_));
        if needs_key && self.key().is_empty() {
            return refuse("there is no key", "name the columns that tell rows apart, as in `.by([\"id\"])`");
        }
        if self.newest().is_some() && self.key().is_empty() {
            return refuse("the newest row of what? there is no key", "name the columns that tell rows apart");
        }
        if self.keeps_deleted() && self.deleted().is_none() {
            return refuse("deleted rows are to be kept, and nothing says which ones are", "add `.deleted_when(…)`");
        }
        if self.keeps_deleted() && self.may_go().is_some() {
            return refuse(
                "a sweep deletes rows, and they are to be kept",
                "leave `.sweep(…)` or `.keep_deleted()` out",
            );
        }
        if let Self::ReplacePartitions(ReplacePartitions { by, .. }) = self {
            if by.is_empty() {
                return refuse("no column makes a partition", "name them, or replace the whole table with `Replace`");
            }
            distinct(self, by)?;
        }
        if self.may_go().is_some_and(|part| !(0.0..=1.0).contains(&part)) {
            return refuse("what may go at once is a part of the rows, from 0 to 1", "for 20 percent write 0.2");
        }
        if let Self::Scd2(Scd2 { valid_from, valid_to, .. }) = self {
            distinct(self, [valid_from, valid_to].into_iter().chain(self.key()))?;
        }
        if let Self::Children(Children { index, newest, deleted, .. }) = self {
            distinct(self, [index].into_iter().chain(newest).chain(deleted).chain(self.key()))?;
        }
        distinct(self, self.key())
    }
}

fn distinct<'a>(of: &Disposition, columns: impl IntoIterator<Item = &'a String>) -> Result<()> {
    let mut seen = HashSet::new();
    for column in columns {
        if column.is_empty() || !seen.insert(column) {
            return Err(Error::config("check disposition", "a column has no name, or is named twice")
                .with("disposition", of.as_str())
                .with("column", column)
                .with_hint("name each column once"));
        }
    }
    Ok(())
}

fn names<C: Into<String>>(columns: impl IntoIterator<Item = C>) -> Vec<String> {
    columns.into_iter().map(Into::into).collect()
}

impl From<Upsert> for Disposition {
    fn from(upsert: Upsert) -> Self {
        Self::Upsert(upsert)
    }
}

impl From<InsertOnly> for Disposition {
    fn from(insert_only: InsertOnly) -> Self {
        Self::InsertOnly(insert_only)
    }
}

impl From<Scd2> for Disposition {
    fn from(scd2: Scd2) -> Self {
        Self::Scd2(scd2)
    }
}

impl From<Replace> for Disposition {
    fn from(replace: Replace) -> Self {
        Self::Replace(replace)
    }
}

impl From<Children> for Disposition {
    fn from(children: Children) -> Self {
        Self::Children(children)
    }
}

impl From<ReplacePartitions> for Disposition {
    fn from(partitions: ReplacePartitions) -> Self {
        Self::ReplacePartitions(partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_cannot_be_carried_out_is_refused() {
        let refused: [Disposition; 14] = [
            Upsert::by(["id"]).keep_deleted().into(),
            Upsert::by(["id"]).deleted_when("gone").keep_deleted().sweep(0.5).into(),
            Children::of::<&str>([]).into(),
            Children::of(["id"]).index("id").into(),
            Children::of(["id"]).newest("at").deleted_when("at").into(),
            Upsert::by::<&str>([]).into(),
            InsertOnly::by([""]).into(),
            Upsert::by(["id", "id"]).into(),
            Scd2::by(["id"]).columns("id", "to").into(),
            Scd2::by(["id"]).columns("at", "at").into(),
            Replace::table().newest("at").into(),
            Replace::table().may_shrink_by(20.0).into(),
            Replace::table().may_shrink_by(f64::NAN).into(),
            ReplacePartitions::by::<&str>([]).into(),
        ];
        for disposition in refused {
            let error = disposition.check().expect_err(disposition.as_str());
            assert_eq!(error.kind(), ErrorKind::Config, "{disposition:?}");
        }
    }

    #[test]
    fn only_what_takes_rows_away_that_did_not_come_needs_everything() {
        let demand = |d: Disposition| d.demand();
        assert_eq!(demand(Disposition::Append), Demand::Increments);
        assert_eq!(demand(Upsert::by(["id"]).deleted_when("gone").into()), Demand::Increments);
        assert_eq!(demand(InsertOnly::by(["id"]).into()), Demand::Increments);
        assert_eq!(demand(Scd2::by(["id"]).into()), Demand::Increments);
        assert_eq!(demand(Children::of(["id"]).newest("at").into()), Demand::Increments);
        assert_eq!(demand(Upsert::by(["id"]).sweep(0.5).into()), Demand::Enumerations);
        assert_eq!(demand(Scd2::by(["id"]).sweep(0.5).into()), Demand::Enumerations);
        assert_eq!(demand(Replace::table().into()), Demand::Enumerations);
        assert_eq!(demand(ReplacePartitions::by(["day"]).into()), Demand::Enumerations);
    }

    #[test]
    fn a_table_never_shrinks_by_more_than_is_allowed() {
        let guard =
            |part, before, after| Disposition::from(Replace::table().may_shrink_by(part)).guard(before, after).is_ok();
        assert!(guard(0.5, 100, 50) && !guard(0.5, 100, 49));
        assert!(guard(0.0, 100, 100) && !guard(0.0, 100, 99));
        assert!(guard(1.0, 100, 0) && guard(0.0, 0, 0) && !guard(0.5, 1, 0));
        let swept = |d: Disposition| d.guard(100, 79).is_ok();
        assert!(!swept(Upsert::by(["id"]).sweep(0.2).into()) && swept(Upsert::by(["id"]).sweep(0.25).into()));
        assert!(!swept(Scd2::by(["id"]).sweep(0.2).into()) && swept(Scd2::by(["id"]).sweep(0.25).into()));
        assert!(swept(Upsert::by(["id"]).into()) && swept(ReplacePartitions::by(["day"]).into()));
        let refused = Disposition::from(Replace::table()).guard(10, 1).expect_err("too many");
        assert_eq!(refused.kind(), ErrorKind::Data);
        assert!(refused.to_string().contains("would_be=`1`"), "{refused}");
    }

    /// One of each, with everything set.
    fn all() -> [Disposition; 7] {
        [
            Disposition::Append,
            Upsert::by(["id"]).newest("at").deleted_when("gone").keep_deleted().into(),
            InsertOnly::by(["id", "day"]).into(),
            Scd2::by(["id"]).since("at").deleted_when("gone").columns("from", "to").sweep(0.2).into(),
            Replace::table().key(["id"]).newest("at").may_shrink_by(0.1).into(),
            ReplacePartitions::by(["day"]).key(["id"]).newest("at").into(),
            Children::of(["id"]).newest("at").deleted_when("gone").index("n").into(),
        ]
    }

    #[test]
    fn what_each_is_told_is_what_sinks_are_told() {
        let named: [(_, &[&str], _, _, &[&str]); 7] = [
            ("append", &[], None, None, &[]),
            ("upsert", &["id"], Some("at"), Some("gone"), &["id", "at", "gone"]),
            ("insert_only", &["id", "day"], None, None, &["id", "day"]),
            ("scd2", &["id"], Some("at"), Some("gone"), &["id", "at", "gone"]),
            ("replace", &["id"], Some("at"), None, &["id", "at"]),
            ("replace_partitions", &["id"], Some("at"), None, &["id", "day", "at"]),
            ("children", &["id"], Some("at"), Some("gone"), &["id", "n", "at", "gone"]),
        ];
        for (disposition, (name, key, newest, deleted, columns)) in all().iter().zip(named) {
            disposition.check().expect(name);
            assert_eq!(disposition.as_str(), name);
            assert_eq!(disposition.key(), key, "{name}");
            assert_eq!((disposition.newest(), disposition.deleted()), (newest, deleted), "{name}");
            assert_eq!(disposition.columns().collect::<Vec<_>>(), columns, "{name}");
            assert_eq!(disposition.keeps_deleted(), name == "upsert");
        }
        assert!(!Disposition::from(Upsert::by(["id"]).deleted_when("gone")).keeps_deleted());
        let parts = all().map(|disposition| disposition.may_go());
        assert_eq!(parts, [None, None, None, Some(0.2), Some(0.1), None, None]);
        assert_eq!(Disposition::from(Upsert::by(["id"]).sweep(0.3)).may_go(), Some(0.3));
    }

    #[test]
    fn the_identity_is_what_rows_were_made_by() {
        let identities = all().map(|disposition| disposition.identity());
        assert_eq!(
            identities,
            [
                json!({ "disposition": "append" }),
                json!({ "disposition": "upsert", "key": ["id"] }),
                json!({ "disposition": "insert_only", "key": ["id", "day"] }),
                json!({ "disposition": "scd2", "key": ["id"], "valid": ["from", "to"] }),
                json!({ "disposition": "replace", "key": ["id"] }),
                json!({ "disposition": "replace_partitions", "key": ["id"], "by": ["day"] }),
                json!({ "disposition": "children", "key": ["id"], "index": "n" }),
            ]
        );
        assert_eq!(Disposition::from(Replace::table()).identity(), json!({ "disposition": "replace" }));
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        assert_eq!(Disposition::from(Replace::table()).may_go(), Some(0.5));
        assert_eq!(Children::of(["id"]).index, "_index");
        let Scd2 { valid_from, valid_to, .. } = Scd2::by(["id"]);
        assert_eq!([valid_from, valid_to], ["_landfall_valid_from", "_landfall_valid_to"]);
        let plain: [Disposition; 4] = [
            Disposition::Append,
            Replace::table().into(),
            ReplacePartitions::by(["day"]).into(),
            Upsert::by(["id"]).deleted_when("gone").sweep(1.0).into(),
        ];
        for disposition in plain {
            disposition.check().expect("can be carried out");
        }
    }
}
