mod check;
mod children;
mod keyed;
mod replaced;

pub use children::Children;
pub use keyed::{InsertOnly, Scd2, Upsert};
pub use replaced::{Replace, ReplacePartitions};

use super::Demand;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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
