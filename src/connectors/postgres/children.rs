//! What a commit does to the rows of children: those that came from the newest record of a parent take the place of all that it has.

use super::apply::{Apply, ROW, scratch};
use super::control::Counts;
use super::database::schema_lock;
use super::name::{TableName, literal, quoted};
use super::table::LOAD;
use crate::defects::{Defect, on};
use crate::error::Result;
use crate::sink::Children;

/// The record, within its epoch, that a staged row comes from: the rows of a record that have one parent are a group.
pub(super) const GROUP: &str = "_landfall_group";

/// The groups of the rows of a batch, of which the first may be `next`. A record has rows in one batch only, and they need not lie side by
/// side.
pub(super) fn groups(records: &[u32], next: &mut i64) -> Vec<i64> {
    let first = *next;
    *next += records.iter().max().map_or(0, |last| i64::from(*last) + 1);
    records.iter().map(|record| first + i64::from(*record)).collect()
}

impl Apply<'_> {
    pub(super) async fn children(&self, children: &Children, staging: &TableName, counts: Counts) -> Result<Counts> {
        let (table, from, group, index) = (self.table.sql(), staging.sql(), quoted(GROUP), quoted(&children.index));
        // The row that is the newest of its parent says which group is.
        let newest = self.winners(&from, &self.newest_first(&format!("{group} DESC, {} DESC", quoted(ROW))));
        let newer_held = children.newest.as_ref().map(|column| {
            let column = quoted(column);
            format!(
                " WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE {} AND (t.{column} > w.{column} OR (w.{column} IS NULL AND t.{column} IS NOT NULL)))",
                self.same_key("t", "w")
            )
        });
        let gone = children.deleted.as_ref().map_or_else(
            || "false".to_owned(),
            |column| {
                format!(
                    "EXISTS (SELECT 1 FROM {from} g WHERE g.{group} = w.{group} AND {} AND {})",
                    self.same_key("g", "w"),
                    self.says_gone("g", column)
                )
            },
        );
        // No key of the table makes shards wait for each other that bring children of one parent.
        if !on(Defect::ChildrenAreNotLocked) {
            self.execute(&schema_lock(&format!("children in {}", self.table))).await?;
        }
        let chosen = scratch(staging)?;
        let parents = format!(
            "CREATE UNLOGGED TABLE {chosen} AS SELECT {key}, {group}, {gone} AS _lf_gone FROM {newest} w{}",
            newer_held.unwrap_or_default(),
            key = self.key(),
        );
        self.execute(&parents).await?;
        let delete = format!("DELETE FROM {table} t USING {chosen} p WHERE {}", self.same_key("t", "p"));
        let deleted = self.execute(&delete).await?;
        let columns: Vec<String> = self.columns().map(quoted).collect();
        let insert = format!(
            "INSERT INTO {table} ({}, {}) SELECT {}, {} FROM {from} s JOIN {chosen} p ON p.{group} = s.{group} AND {} \
             WHERE NOT p._lf_gone AND s.{index} IS NOT NULL ORDER BY s.{}",
            columns.join(", "),
            quoted(LOAD),
            columns.iter().map(|column| format!("s.{column}")).collect::<Vec<_>>().join(", "),
            literal(self.load),
            self.same_key("s", "p"),
            quoted(ROW),
        );
        let inserted = self.execute(&insert).await?;
        self.execute(&format!("DROP TABLE {chosen}")).await?;
        Ok(Counts { inserted, deleted, ..counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_record_are_a_group_wherever_they_lie() {
        let mut next = 0;
        assert_eq!(groups(&[0, 1, 0, 3], &mut next), [0, 1, 0, 3]);
        assert_eq!(groups(&[0, 2], &mut next), [4, 6], "the same number in another batch is another record");
        assert_eq!(groups(&[], &mut next), [0_i64; 0]);
        assert_eq!(next, 7);
    }
}
