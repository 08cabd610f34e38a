//! What may be set of a table.

use super::table::DeltaTable;
use crate::columnar::Transform;
use crate::error::Result;
use crate::sink::{Disposition, Upsert};

impl DeltaTable {
    /// Splits files by the values of these columns, or by what a [`Transform`] makes of them, which readers use to skip files. None by
    /// default. Part of the table's identity: it cannot change later.
    ///
    /// A transform makes a column of the table, such as `created_at_day`: readers filter by it.
    ///
    /// # Errors
    /// `Config` if a name is empty or given twice.
    pub fn partition_by<T: Into<Transform>>(mut self, by: impl IntoIterator<Item = T>) -> Result<Self> {
        self.options.split_by(by.into_iter().map(Into::into).collect())?;
        Ok(self)
    }

    /// What becomes of rows that are in the table already. They are left alone by default.
    #[must_use]
    pub fn disposition(mut self, disposition: impl Into<Disposition>) -> Self {
        self.disposition = disposition.into();
        self
    }

    /// Adds rows, and looks at none that is there: the default.
    #[must_use]
    pub fn append(self) -> Self {
        self.disposition(Disposition::Append)
    }

    /// Keeps one row of these columns, the one that was landed last: [`Upsert::by`] with nothing more.
    #[must_use]
    pub fn upsert<C: Into<String>>(self, key: impl IntoIterator<Item = C>) -> Self {
        self.disposition(Upsert::by(key))
    }

    /// Adds to each row where its record was landed: `_landfall_segment` and `_landfall_record`.
    #[must_use]
    pub fn record_provenance(mut self) -> Self {
        self.records = true;
        self
    }

    /// Leaves the columns as they are: it is an error if the table is not there, or lacks a column of the rows.
    #[must_use]
    pub fn frozen(mut self) -> Self {
        self.frozen = true;
        self
    }

    /// Begins a new file when one has this many bytes. 128 MiB by default. An epoch always begins new files.
    #[must_use]
    pub fn target_file_bytes(mut self, bytes: u64) -> Self {
        self.options.target_file_bytes = bytes.max(1);
        self
    }

    /// Sorts the rows of a file by these columns, ascending and nulls first, so that readers that look for some of their values skip
    /// row groups: in runs of 64 MiB, each in row groups of its own. Not sorted by default; it may change at any time.
    ///
    /// Writing fails with `Config` if there is no such column, it is that of a partition, it is nested or a floating-point number.
    #[must_use]
    pub fn sort_by<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.options.sort_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Encodes on this many lanes side by side. As many as there are cores by default.
    #[must_use]
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.options.lanes = Some(lanes.max(1));
        self
    }

    /// Keeps at most this many files open, 128 by default. Matters for tables with many partitions, and for enumerations of very many keys,
    /// which are parted into so many at a time.
    #[must_use]
    pub fn open_files(mut self, files: usize) -> Self {
        self.options.open_files = files.max(1);
        self
    }
}
