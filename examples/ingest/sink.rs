//! `[sink]`: where the rows go, and what becomes of those that are there already.

use crate::value::{NEVER_HERE, Text};
use crate::with::With;
use landfall::columnar::Batch;
use landfall::connectors::parquet::ParquetDataset;
use landfall::pipeline::{Pipeline, PipelineBuilder};
use landfall::sink::{Disposition, InsertOnly, Replace, Scd2, Upsert};
use landfall::source::Source;
use landfall::store::Store;
use landfall::{Error, Result};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One of `parquet`, `delta`, `postgres` and `adbc`; and one of `upsert`, `insert_only`, `replace` and `scd2`, or none of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sink {
    /// A Parquet dataset: a folder, or a bucket (`s3://…`, `az://…`, `gs://…`).
    parquet: Option<String>,
    /// A Delta table, at such a place.
    delta: Option<String>,
    #[serde(default, deserialize_with = "table")]
    postgres: Option<Database>,
    #[serde(default, deserialize_with = "table")]
    adbc: Option<Driver>,
    /// Columns whose values become folders: of a dataset, and of a Delta table.
    #[serde(default)]
    partition_by: Vec<String>,
    upsert: Option<Upserted>,
    insert_only: Option<Keyed>,
    replace: Option<Replaced>,
    scd2: Option<Versioned>,
}

/// A table of PostgreSQL. The connection string holds a password.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Database {
    env: Option<String>,
    file: Option<PathBuf>,
    /// `table` or `schema.table`.
    table: String,
}

/// A table of a database that an ADBC driver reaches.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Driver {
    /// Its name or path.
    driver: String,
    #[serde(default)]
    options: BTreeMap<String, Text>,
    /// Options whose values are secrets, by the variables that hold them.
    #[serde(default)]
    options_from_env: BTreeMap<String, String>,
    table: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Upserted {
    key: Vec<String>,
    newest: Option<String>,
    deleted: Option<String>,
    #[serde(default)]
    keep_deleted: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keyed {
    key: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replaced {
    #[serde(default)]
    key: Vec<String>,
    newest: Option<String>,
    may_shrink_by: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Versioned {
    key: Vec<String>,
    since: Option<String>,
    deleted: Option<String>,
}

impl Sink {
    /// Whether the table itself tells rows apart, so that no stage needs to.
    pub(crate) fn tells_rows_apart(&self) -> bool {
        self.upsert.is_some() || self.insert_only.is_some() || self.replace.is_some() || self.scd2.is_some()
    }

    /// The pipeline that ends here.
    ///
    /// # Errors
    /// `Config`, saying what is wrong.
    pub(crate) fn build<S: Source>(&self, builder: PipelineBuilder<S, Batch>) -> Result<Pipeline> {
        let Self { parquet, delta, postgres, adbc, partition_by, .. } = self;
        let disposition = self.disposition()?;
        if !partition_by.is_empty() && parquet.is_none() && delta.is_none() {
            return Err(
                wrong("only a dataset and a Delta table have partitions").with("partition_by", partition_by.join(", "))
            );
        }
        match (parquet, delta, postgres, adbc) {
            (Some(uri), None, None, None) => {
                if disposition != Disposition::Append {
                    return Err(wrong("a Parquet dataset only grows").with("sink", disposition.as_str()).with_hint(
                        "use `delta`, `postgres` or `adbc`; or [dedup], which loads each version of a row once",
                    ));
                }
                let dataset = ParquetDataset::in_store(&Store::from_uri(uri)?, "")?.partition_by(partition_by)?;
                builder.sink(dataset).build()
            }
            (None, Some(uri), None, None) => delta::build(builder, uri, partition_by, disposition),
            (None, None, Some(database), None) => postgres::build(builder, database, disposition),
            (None, None, None, Some(driver)) => adbc::build(builder, driver, disposition),
            _ => Err(wrong("rows go to one place").with_hint("write one of `parquet`, `delta`, `postgres` and `adbc`")),
        }
    }

    fn disposition(&self) -> Result<Disposition> {
        let Self { upsert, insert_only, replace, scd2, .. } = self;
        Ok(match (upsert, insert_only, replace, scd2) {
            (None, None, None, None) => Disposition::Append,
            (Some(said), None, None, None) => Upsert::by(&said.key)
                .with_some(said.newest.as_ref(), Upsert::newest)
                .with_some(said.deleted.as_ref(), Upsert::deleted_when)
                .with_flag(said.keep_deleted, Upsert::keep_deleted)
                .into(),
            (None, Some(said), None, None) => InsertOnly::by(&said.key).into(),
            (None, None, Some(said), None) => Replace::table()
                .key(&said.key)
                .with_some(said.newest.as_ref(), Replace::newest)
                .with_some(said.may_shrink_by, Replace::may_shrink_by)
                .into(),
            (None, None, None, Some(said)) => Scd2::by(&said.key)
                .with_some(said.since.as_ref(), Scd2::since)
                .with_some(said.deleted.as_ref(), Scd2::deleted_when)
                .into(),
            _ => {
                return Err(wrong("a table is written in one way")
                    .with_hint("write one of `upsert`, `insert_only`, `replace` and `scd2`, or none"));
            }
        })
    }
}

/// A table, and no text: what stands there instead may be a connection string with its password, which no error may repeat.
fn table<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        table @ toml::Value::Table(_) => table.try_into().map(Some).map_err(|e| D::Error::custom(e.message())),
        _ => Err(D::Error::custom(NEVER_HERE)),
    }
}

fn wrong(what: &'static str) -> Error {
    Error::config("read spec", what)
}

/// What this program was built without.
#[cfg(not(all(feature = "delta", feature = "postgres", feature = "adbc")))]
fn not_built(feature: &'static str) -> Error {
    wrong("this program was built without that sink").with("feature", feature).with_hint("build it with the feature")
}

#[cfg(feature = "delta")]
mod delta {
    use super::*;
    use landfall::connectors::delta::DeltaTable;

    pub(super) fn build<S: Source>(
        builder: PipelineBuilder<S, Batch>,
        uri: &str,
        partition_by: &[String],
        disposition: Disposition,
    ) -> Result<Pipeline> {
        builder.sink(DeltaTable::at(uri)?.partition_by(partition_by)?.disposition(disposition)).build()
    }
}

#[cfg(not(feature = "delta"))]
mod delta {
    use super::*;

    pub(super) fn build<S: Source>(
        _builder: PipelineBuilder<S, Batch>,
        _uri: &str,
        _partition_by: &[String],
        _disposition: Disposition,
    ) -> Result<Pipeline> {
        Err(not_built("delta"))
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use landfall::connectors::postgres::{Postgres, PostgresTable};

    pub(super) fn build<S: Source>(
        builder: PipelineBuilder<S, Batch>,
        Database { env, file, table }: &Database,
        disposition: Disposition,
    ) -> Result<Pipeline> {
        let database = match (env, file) {
            (Some(variable), None) => Postgres::from_env(variable)?,
            (None, Some(file)) => {
                let url = std::fs::read_to_string(file).map_err(|e| {
                    wrong("the file of the connection string cannot be read")
                        .with("secret", file.display())
                        .with_source(e)
                })?;
                Postgres::connect(url.trim())?
            }
            _ => return Err(wrong("a secret is in one place").with_hint(NEVER_HERE)),
        };
        builder.sink(PostgresTable::at(&database, table)?.disposition(disposition)).build()
    }
}

#[cfg(not(feature = "postgres"))]
mod postgres {
    use super::*;

    pub(super) fn build<S: Source>(
        _builder: PipelineBuilder<S, Batch>,
        Database { env: _env, file: _file, table: _table }: &Database,
        _disposition: Disposition,
    ) -> Result<Pipeline> {
        Err(not_built("postgres"))
    }
}

#[cfg(feature = "adbc")]
mod adbc {
    use super::*;
    use landfall::connectors::adbc::{Adbc, AdbcTable};

    pub(super) fn build<S: Source>(
        builder: PipelineBuilder<S, Batch>,
        Driver { driver, options, options_from_env, table }: &Driver,
        disposition: Disposition,
    ) -> Result<Pipeline> {
        let mut database = Adbc::driver(driver);
        for (key, Text(value)) in options {
            database = database.option(key, value);
        }
        for (key, variable) in options_from_env {
            database = database.secret_from_env(key, variable)?;
        }
        builder.sink(AdbcTable::at(&database, table)?.disposition(disposition)).build()
    }
}

#[cfg(not(feature = "adbc"))]
mod adbc {
    use super::*;

    pub(super) fn build<S: Source>(
        _builder: PipelineBuilder<S, Batch>,
        Driver { driver: _driver, options: _options, options_from_env: _from_env, table: _table }: &Driver,
        _disposition: Disposition,
    ) -> Result<Pipeline> {
        Err(not_built("adbc"))
    }
}
