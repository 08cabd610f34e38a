//! Whether a disposition can be carried out, and whether so many rows may go.

use super::{Children, Disposition, ReplacePartitions, Scd2, Upsert};
use crate::error::{Error, Result};
use std::collections::HashSet;

impl Disposition {
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
    pub(super) fn may_go(&self) -> Option<f64> {
        match self {
            Self::Replace(replace) => Some(replace.may_shrink_by),
            Self::Upsert(Upsert { sweep, .. }) | Self::Scd2(Scd2 { sweep, .. }) => *sweep,
            _ => None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::sink::{InsertOnly, Replace};

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
}
