//! Rows that wait until an enumeration is whole, and a table that somebody changes meanwhile. What waits has the types that the table had
//! when the first of it came: into others it might go as other values, and without a word.

use super::PostgresTable;
use super::apply::{EPOCH, ROW};
use super::name::TableName;
use super::table;
use super::types::{ColumnType, TableColumn};
use crate::error::{Error, Result};
use crate::sink::Disposition;
use deadpool_postgres::Client;

impl PostgresTable {
    /// Checks that what waits can go into the table as it is now, together with rows of the columns `comes`, if any come.
    ///
    /// # Errors
    /// `Config`, naming the column: once an epoch is prepared, there is no way back.
    pub(super) async fn check_aside(
        &self,
        client: &Client,
        aside: &TableName,
        comes: Option<&[(String, ColumnType)]>,
    ) -> Result<()> {
        let waits = table::columns_in(client, aside).await?;
        let held = table::columns_in(client, &self.table).await?;
        if waits.is_empty() || held.is_empty() {
            return Ok(());
        }
        let refuse = |column: &TableColumn, message: &'static str, hint: &'static str| {
            let refused = Error::config("stage rows", message).with("table", &self.table).with("column", &column.name);
            Err(refused.with("aside", aside).with_hint(hint))
        };
        const BACK: &str = "change the table back, and change it again when the enumeration is whole";
        let keys_only = matches!(self.disposition, Disposition::Upsert(_) | Disposition::Scd2(_));
        for column in waits.iter().filter(|column| ![EPOCH, ROW].contains(&column.name.as_str())) {
            match held.iter().find(|held| held.name == column.name) {
                Some(now) if now.kind == column.kind => {}
                Some(_) => {
                    return refuse(column, "a column has another type since rows of the enumeration came", BACK);
                }
                None => {
                    return refuse(column, "a column of the table is gone, and rows of the enumeration have it", BACK);
                }
            }
        }
        let is_in = |some: &[TableColumn], name: &str| some.iter().any(|column| column.name == name);
        for column in held.iter().filter(|column| column.not_null && !keys_only && column.name != table::LOAD) {
            let waits = is_in(&waits, &column.name);
            let comes = comes.map_or(waits, |comes| comes.iter().any(|(name, _)| *name == column.name));
            if waits != comes || (!waits && column.given == table::Given::Never) {
                // Rows that do not have it would have a null.
                let message = "some rows of the enumeration lack a column that must not be null";
                return refuse(column, message, "declare the column in the schema");
            }
        }
        Ok(())
    }
}
