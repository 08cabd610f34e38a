//! What is open in this process: drivers, databases, and the files of DuckDB.

use super::database::Config;
use super::dialect::AdbcDialect;
use super::session::Session;
use crate::error::{Error, Result};
use adbc_core::error::Status;
use adbc_core::options::AdbcVersion;
use adbc_core::{Driver, LOAD_FLAG_DEFAULT};
use adbc_driver_manager::{ManagedDatabase, ManagedDriver};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Drivers are never unloaded: few of them can be.
static DRIVERS: LazyLock<Mutex<HashMap<(String, Option<String>), ManagedDriver>>> = LazyLock::new(Mutex::default);
/// Files of DuckDB that are open.
static FILES: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// The connection to a database, and the database. Dropped from top to bottom.
#[derive(Default)]
pub(super) struct Open {
    session: Option<Session>,
    database: Option<ManagedDatabase>,
    file: Option<OpenFile>,
}

impl Open {
    pub(super) fn work<T>(&mut self, config: &Arc<Config>, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.connect(config)?,
        };
        let result = work(&mut session);
        match &result {
            Ok(_) => self.session = Some(session).filter(|session| !session.spent),
            // What a connection does after an error differs from driver to driver: another one takes its place.
            Err(e) => {
                drop(session);
                if e.to_string().contains("database has been invalidated") {
                    self.database = None;
                }
            }
        }
        result
    }

    fn connect(&mut self, config: &Arc<Config>) -> Result<Session> {
        let database = match &self.database {
            Some(database) => database,
            None => {
                if self.file.is_none() {
                    self.file = config.duckdb_file().map(OpenFile::claim).transpose()?;
                }
                let mut driver = driver(config)?;
                if let Some(OpenFile(file)) = self.file.as_ref().filter(|OpenFile(file)| !file.exists()) {
                    make(config, &mut driver, file)?;
                }
                let database = driver.new_database_with_opts(config.database_options());
                let database = database
                    .map_err(|e| config.failed("open database", config.dialect, e).with("driver", &config.driver));
                match database {
                    Ok(database) => self.database.insert(database),
                    Err(e) => {
                        self.file = None;
                        return Err(e);
                    }
                }
            }
        };
        let session = Session::connect(config, database)?;
        if session.dialect == AdbcDialect::DuckDb && self.file.is_none() {
            return Err(Error::config("open database", "it is not known which file this is")
                .with("driver", &config.driver)
                .with_hint("name the file with the option `path`, and the entry point `duckdb_adbc_init`"));
        }
        Ok(session)
    }
}

/// A file that is open.
struct OpenFile(PathBuf);

impl OpenFile {
    fn claim(file: PathBuf) -> Result<Self> {
        if FILES.lock().unwrap_or_else(PoisonError::into_inner).insert(file.clone()) {
            return Ok(Self(file));
        }
        Err(Error::unavailable("open database", "this process has the file open with other options")
            .with("file", file.display())
            .with_hint("DuckDB would lose what one of the two writes: clone one `Adbc`, or configure both alike"))
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        FILES.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// Makes a file of DuckDB that is not there. DuckDB writes it piece by piece, and a process that is killed meanwhile leaves a file that
/// cannot be opened any more: so it is made beside its place, and gets its name when it is whole.
fn make(config: &Config, driver: &mut ManagedDriver, file: &Path) -> Result<()> {
    const OPERATION: &str = "create database";
    let failed = |e: std::io::Error| {
        Error::unavailable(OPERATION, "the file cannot be made").with("file", file.display()).with_source(e)
    };
    let mut beside = file.to_path_buf().into_os_string();
    beside.push(format!(".new-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut made = config.clone();
    for (_, value) in made.options.iter_mut().filter(|(key, _)| is_path(key)) {
        *value = beside.display().to_string();
    }
    if beside.exists() {
        // Of a process that had our number.
        std::fs::remove_file(&beside).map_err(failed)?;
    }
    let database = driver.new_database_with_opts(made.database_options());
    drop(database.map_err(|e| config.failed(OPERATION, config.dialect, e).with("file", file.display()))?);
    let linked = std::fs::hard_link(&beside, file);
    std::fs::remove_file(&beside).map_err(failed)?;
    match linked {
        Ok(()) => {
            let folder = file.parent().unwrap_or(Path::new("."));
            std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
        }
        // Somebody else was faster; or the file system has no links, and DuckDB makes the file in its own way.
        Err(e) => {
            tracing::debug!(file = %file.display(), error = %e, "the file was not linked");
            Ok(())
        }
    }
}

fn driver(config: &Config) -> Result<ManagedDriver> {
    let Config { driver, entrypoint, .. } = config;
    let mut drivers = DRIVERS.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (driver.clone(), entrypoint.clone());
    if let Some(driver) = drivers.get(&key) {
        return Ok(driver.clone());
    }
    let load = |version| {
        let entrypoint = entrypoint.as_deref().map(str::as_bytes);
        ManagedDriver::load_from_name(driver, entrypoint, version, LOAD_FLAG_DEFAULT, None)
    };
    let loaded = match load(AdbcVersion::V110) {
        Err(e) if e.status == Status::NotImplemented => load(AdbcVersion::V100),
        loaded => loaded,
    };
    let loaded = loaded.map_err(|e| {
        Error::config("load driver", "the ADBC driver cannot be loaded")
            .with("driver", driver)
            .with_hint("name the library by its whole path; some need `entrypoint`, as DuckDB's `duckdb_adbc_init`")
            .with_source(config.failed("load driver", None, e))
    })?;
    drivers.insert(key, loaded.clone());
    Ok(loaded)
}

impl Config {
    /// The file of a DuckDB database: opened twice in one process, it would lose what one of the two writes.
    pub(super) fn duckdb_file(&self) -> Option<PathBuf> {
        let is_duckdb = |name: &String| name.to_ascii_lowercase().contains("duckdb");
        let duckdb = self.dialect == Some(AdbcDialect::DuckDb) || is_duckdb(&self.driver);
        if !duckdb && !self.entrypoint.as_ref().is_some_and(is_duckdb) {
            return None;
        }
        let (_, path) = self.options.iter().find(|(key, _)| is_path(key))?;
        let path = path.strip_prefix("file:").unwrap_or(path);
        if path.is_empty() || path == ":memory:" || path.contains("://") {
            return None;
        }
        let path = Path::new(path);
        let whole = |path: &Path| path.canonicalize().ok();
        whole(path).or_else(|| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Some(whole(folder)?.join(path.file_name()?))
        })
    }
}

/// Whether an option names the file of a database.
fn is_path(key: &str) -> bool {
    key == "path" || key == "uri"
}

#[cfg(test)]
mod tests {
    use super::super::database::Adbc;
    use super::*;

    #[test]
    fn one_file_is_one_file_however_it_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |path: &Path| {
            Adbc::driver("libduckdb.so")
                .option("path", path.display().to_string())
                .config()
                .duckdb_file()
                .expect("a file")
        };
        let plain = folder.path().join("a.duckdb");
        let roundabout = folder.path().join("..").join(folder.path().file_name().expect("a name")).join("a.duckdb");
        assert_eq!(at(&plain), at(&roundabout));
        let claim = OpenFile::claim(at(&plain)).expect("free");
        assert!(OpenFile::claim(at(&roundabout)).err().expect("taken").is_transient());
        drop(claim);
        OpenFile::claim(at(&plain)).map(drop).expect("free again");
    }
}
