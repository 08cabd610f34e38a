use super::partition::check_names;
use super::transform::Transform;
use crate::error::{Error, Result};
use crate::store::ObjectPath;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How the pages of Parquet files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// Snappy: fast, larger files, read by everything.
    Snappy,
    /// LZ4 (the raw format): fast, larger files.
    Lz4,
    /// Zstandard at this level, 1 to 22.
    Zstd(u8),
}

impl Compression {
    pub(crate) fn codec(self) -> Result<Codec> {
        Ok(match self {
            Self::None => Codec::UNCOMPRESSED,
            Self::Snappy => Codec::SNAPPY,
            Self::Lz4 => Codec::LZ4_RAW,
            Self::Zstd(level) => {
                Codec::ZSTD(ZstdLevel::try_new(level.into()).map_err(|e| {
                    Error::config("configure dataset", "Zstandard has the levels 1 to 22").with_source(e)
                })?)
            }
        })
    }
}

/// How files are made.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The columns that files are split by, some of which `transforms` make.
    pub(crate) partition_by: Vec<String>,
    pub(crate) transforms: Vec<Transform>,
    pub(crate) target_file_bytes: u64,
    pub(crate) row_group_bytes: u64,
    pub(crate) row_group_rows: usize,
    pub(crate) compression: Compression,
    pub(crate) lanes: Option<usize>,
    pub(crate) open_files: usize,
    /// Files of one epoch: each is named in the checkpoint, which is bounded.
    pub(crate) most_files: u64,
    pub(crate) without_dictionary: Vec<String>,
    pub(crate) sort_by: Vec<String>,
    /// Memory for rows that are sorted, of one lane.
    pub(crate) sort_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            partition_by: Vec::new(),
            transforms: Vec::new(),
            target_file_bytes: 128 << 20,
            row_group_bytes: 16 << 20,
            row_group_rows: 128 << 10,
            compression: Compression::Zstd(1),
            lanes: None,
            open_files: 128,
            most_files: 4096,
            without_dictionary: Vec::new(),
            sort_by: Vec::new(),
            sort_bytes: 64 << 20,
        }
    }
}

impl Options {
    /// Splits by the values that `transforms` make.
    pub(crate) fn split_by(&mut self, transforms: Vec<Transform>) -> Result<()> {
        transforms.iter().try_for_each(Transform::check)?;
        self.partition_by = transforms.iter().map(Transform::name).collect();
        self.transforms = transforms;
        check_names(&self.partition_by)
    }

    /// # Errors
    /// `Config` if a store could not move a file of this size.
    pub(crate) fn check(&self) -> Result<()> {
        // S3 copies an object of up to 5 GiB in one request.
        const LARGEST: u64 = 4 << 30;
        if (1..=LARGEST).contains(&self.target_file_bytes) {
            return Ok(());
        }
        Err(Error::config("configure files", "files must have from 1 byte to 4 GiB")
            .with("target_file_bytes", self.target_file_bytes))
    }

    pub(crate) fn writer_properties(&self) -> WriterProperties {
        let mut properties = WriterProperties::builder()
            .set_compression(self.compression.codec().unwrap_or(Codec::UNCOMPRESSED))
            .set_max_row_group_row_count(Some(self.row_group_rows))
            .set_max_row_group_bytes(Some(usize::try_from(self.row_group_bytes).unwrap_or(usize::MAX)));
        for column in &self.without_dictionary {
            let path = ColumnPath::new(column.split('.').map(str::to_owned).collect());
            properties = properties.set_column_dictionary_enabled(path, false);
        }
        properties.build()
    }

    pub(crate) fn settings(&self, prefix: &ObjectPath) -> serde_json::Value {
        json!({
            "dataset": prefix.as_str(),
            "target_file_bytes": self.target_file_bytes,
            "row_group_bytes": self.row_group_bytes,
            "row_group_rows": self.row_group_rows,
            "compression": self.compression,
            "without_dictionary": self.without_dictionary,
            "sort_by": self.sort_by,
        })
    }
}
