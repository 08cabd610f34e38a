use super::dialect::AdbcDialect;
use super::open::Open;
use super::session::Session;
use crate::env::Env;
use crate::error::{Error, Result};
use adbc_core::options::{OptionConnection, OptionDatabase, OptionValue};
use arrow::array::RecordBatch;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Debug};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// Times that work is tried while the database is busy, or two transactions are in each other's way. The pause doubles from the first
/// to the longest one: ten seconds in all.
const TRIES: u32 = 12;
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A database, by an ADBC driver. Cheap to clone; all that are configured alike share one connection, which does one thing at a time.
///
/// The driver is loaded when it is needed, into this process: load only what you trust. It is a file, or the name of a library or of a
/// driver manifest that is installed. It stays loaded until the process ends.
///
/// ```
/// use landfall::connectors::adbc::Adbc;
///
/// let warehouse = Adbc::driver("/usr/lib/libduckdb.so").entrypoint("duckdb_adbc_init").option("path", "warehouse.duckdb");
/// let other = Adbc::driver("adbc_driver_snowflake")
///     .option("adbc.snowflake.sql.account", "acme")
///     .secret("password", "not in a log");
/// assert!(!format!("{other:?}").contains("not in a log"));
/// # drop(warehouse);
/// ```
#[derive(Clone)]
pub struct Adbc {
    config: Config,
    owner: OnceLock<Arc<Owner>>,
}

/// How a database is reached.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Config {
    pub driver: String,
    pub entrypoint: Option<String>,
    pub options: Vec<(String, String)>,
    /// What must never be shown.
    secrets: Vec<String>,
    pub dialect: Option<AdbcDialect>,
}

impl Adbc {
    /// The driver `driver`: the path of a library, or the name of one or of a driver manifest where the system looks for them.
    pub fn driver(driver: impl Into<String>) -> Self {
        let driver = driver.into();
        let config = Config { driver, entrypoint: None, options: Vec::new(), secrets: Vec::new(), dialect: None };
        Self { config, owner: OnceLock::new() }
    }

    /// The function of the library that begins the driver. By default what its name suggests, or `AdbcDriverInit`.
    #[must_use]
    pub fn entrypoint(self, name: impl Into<String>) -> Self {
        self.with(|config| config.entrypoint = Some(name.into()))
    }

    /// An option of the driver, such as `uri` or `path`; those that begin with `adbc.connection.` are of the connection. A password in a
    /// URI, and the value of an option whose name says that it is secret, are never shown.
    #[must_use]
    pub fn option(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let (key, value) = (key.into(), value.into());
        self.with(|config| {
            config.secrets.extend(secrets_in(&key, &value));
            config.options.push((key, value));
        })
    }

    /// An option whose value is never shown.
    #[must_use]
    pub fn secret(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let (key, value) = (key.into(), value.into());
        self.with(|config| {
            config.secrets.push(value.clone());
            config.options.push((key, value));
        })
    }

    /// An option whose value is in the environment variable `variable`, and is never shown.
    ///
    /// # Errors
    /// `Config` if it is not set.
    pub fn secret_from_env(self, key: impl Into<String>, variable: &str) -> Result<Self> {
        let value = std::env::var(variable).map_err(|_| {
            Error::config("connect to database", "the environment variable is not set").with("variable", variable)
        })?;
        Ok(self.secret(key, value))
    }

    /// The SQL that the database speaks, where the name that it gives itself does not tell.
    #[must_use]
    pub fn dialect(self, dialect: AdbcDialect) -> Self {
        self.with(|config| config.dialect = Some(dialect))
    }

    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config;
        change(&mut config);
        Self { config, owner: OnceLock::new() }
    }

    #[cfg(test)]
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// What tells this database from others, without a secret.
    pub(super) fn place(&self) -> String {
        let Config { driver, options, .. } = &self.config;
        let name = Path::new(driver).file_stem().map_or(driver.as_str().into(), |stem| stem.to_string_lossy());
        let options = options.iter().map(|(key, value)| format!("{key}={value}"));
        self.config.without_secrets(&std::iter::once(name.into_owned()).chain(options).collect::<Vec<_>>().join(" "))
    }

    /// What is wrong with it and can be known without connecting.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |message: &'static str| Err(Error::config("connect to database", message));
        let Config { driver, options, entrypoint, .. } = &self.config;
        if driver.is_empty() {
            return refuse("the driver has no name");
        }
        let texts = options.iter().flat_map(|(key, value)| [key, value]).chain([driver]).chain(entrypoint);
        if texts.into_iter().any(|text| text.contains('\0')) {
            return refuse("a name or an option has a zero byte");
        }
        let mut seen = HashSet::new();
        match options.iter().find(|(key, _)| !seen.insert(key)) {
            Some((key, _)) => refuse("an option is given twice").map_err(|e: Error| e.with("option", key)),
            None => Ok(()),
        }
    }

    /// Runs a query, and gives its answer: to look at what was loaded, also where no second process may open the database meanwhile.
    /// It is held in memory as a whole.
    ///
    /// # Errors
    /// What the database says. A query that fails for a reason that passes is asked again.
    pub async fn query(&self, query: &str) -> Result<Vec<RecordBatch>> {
        let query = query.to_owned();
        self.run(&Env::system(), "query database", move |session| session.batches("query database", &query)).await
    }

    /// Does `work` on the connection, on a thread that may block. It is done again, on a new connection, if it fails for a reason that
    /// passes; what it has begun in a transaction is undone then.
    ///
    /// Cancellation: if the future is dropped, work that has begun still runs to its end.
    pub(super) async fn run<T, W>(&self, env: &Env, operation: &'static str, mut work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnMut(&mut Session) -> Result<T> + Send + 'static,
    {
        let owner = Arc::clone(self.owner.get_or_init(|| Owner::of(&self.config)));
        let (mut tried, mut pause) = (0, PAUSE);
        loop {
            let mut open = Arc::clone(&owner.open).lock_owned().await;
            let config = Arc::clone(&owner.config);
            let running = env.blocking(operation, move || {
                let result = open.work(&config, &mut work);
                (work, result)
            });
            let (again, result) = running.await?;
            (work, tried) = (again, tried + 1);
            match result {
                Err(e) if e.is_transient() && tried < TRIES => {
                    tracing::debug!(operation, error = %e, tried, "the database is asked again");
                    env.sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                result => return result,
            }
        }
    }
}

impl Debug for Adbc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adbc").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl Config {
    /// A text without anything that is secret.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        let mut secrets: Vec<&String> = self.secrets.iter().filter(|secret| !secret.is_empty()).collect();
        // A secret may be a part of another one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }

    pub(super) fn database_options(&self) -> impl Iterator<Item = (OptionDatabase, OptionValue)> + '_ {
        self.options.iter().filter(|(key, _)| !is_of_connection(key)).map(|(key, value)| {
            let key = match key.as_str() {
                "uri" => OptionDatabase::Uri,
                "username" => OptionDatabase::Username,
                "password" => OptionDatabase::Password,
                other => OptionDatabase::Other(other.to_owned()),
            };
            (key, value.as_str().into())
        })
    }

    pub(super) fn connection_options(&self) -> impl Iterator<Item = (OptionConnection, OptionValue)> + '_ {
        let of_connection = self.options.iter().filter(|(key, _)| is_of_connection(key));
        of_connection.map(|(key, value)| (OptionConnection::Other(key.clone()), value.as_str().into()))
    }
}

fn is_of_connection(key: &str) -> bool {
    key.starts_with("adbc.connection.")
}

/// Whether something of this name is secret.
fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 16] = [
        "password",
        "passphrase",
        "passwd",
        "pwd",
        "secret",
        "token",
        "credential",
        "private_key",
        "api_key",
        "api-key",
        "apikey",
        "access_key",
        "account_key",
        "accountkey",
        "authorization",
        "signature",
    ];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) || ["key", "sig", "jwt", "auth"].contains(&name.as_str())
}

/// What is secret in an option.
fn secrets_in(key: &str, value: &str) -> Vec<String> {
    let authorises = key.to_ascii_lowercase().contains("auth");
    if is_secret(key) || authorises {
        // A header says how it authorises before it does: `Bearer …`.
        let credentials = value.split_once(' ').filter(|_| authorises).map(|(_, credentials)| credentials);
        return credentials.into_iter().chain([value]).map(ToOwned::to_owned).collect();
    }
    let mut found = Vec::new();
    // Data source names have no scheme: `user:password@account/database`.
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    // A password may hold what ends an authority: the last `@` of all counts, too.
    for part in [authority, rest] {
        if let Some((_, password)) = part.rsplit_once('@').and_then(|(user, _)| user.split_once(':')) {
            found.push(password.to_owned());
        }
    }
    for (at, _) in value.match_indices('=') {
        let (before, after) = value.split_at(at);
        let ends = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-');
        if before.trim_end().rsplit(ends).next().is_some_and(is_secret) {
            let rest = after.get(1..).unwrap_or_default().trim_start();
            let quoted = rest.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
            let plain = || rest.split(['&', ' ', ';']).next().unwrap_or_default();
            found.push(quoted.map_or_else(plain, |(secret, _)| secret).to_owned());
        }
    }
    found
}

/// Who has the connection to a database.
struct Owner {
    config: Arc<Config>,
    open: Arc<tokio::sync::Mutex<Open>>,
}

/// One owner for each configuration, while somebody uses it.
static OWNERS: LazyLock<Mutex<HashMap<Config, Weak<Owner>>>> = LazyLock::new(Mutex::default);

impl Owner {
    fn of(config: &Config) -> Arc<Self> {
        let mut owners = OWNERS.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|_, owner| owner.strong_count() > 0);
        if let Some(owner) = owners.get(config).and_then(Weak::upgrade) {
            return owner;
        }
        let owner = Arc::new(Self { config: Arc::new(config.clone()), open: Arc::default() });
        owners.insert(config.clone(), Arc::downgrade(&owner));
        owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_secret_is_shown() {
        let databases = [
            Adbc::driver("x").option("uri", "postgresql://etl:hunter2@db.example.com/w?sslmode=require"),
            Adbc::driver("x").option("uri", "postgresql://etl:hun/ter2@db/w").option("a", "b"),
            Adbc::driver("x").option("uri", "host=db password=hunter2 user=etl"),
            Adbc::driver("x").option("uri", "host=db password='hun ter2' user=etl"),
            Adbc::driver("x").option("uri", "grpc://h:1?TOKEN=hunter2&x=1"),
            Adbc::driver("x").option("uri", "host=db password = hunter2 user=etl"),
            Adbc::driver("x").option("uri", "grpc://h:1?api_key=hunter2"),
            Adbc::driver("x").option("uri", "https://h/w?x=1&sig=hunter2"),
            Adbc::driver("x").option("uri", "Endpoint=https://h;AccountKey=hunter2"),
            Adbc::driver("x").option("uri", "etl:hunter2@org-account/db"),
            Adbc::driver("x").option("adbc.some.auth_token", "hunter2"),
            Adbc::driver("x").option("adbc.flight.sql.authorization_header", "Bearer hunter2"),
            Adbc::driver("x").option("adbc.flight.sql.rpc.call_header.x-api-key", "hunter2"),
            Adbc::driver("x").secret("anything", "hunter2"),
        ];
        for database in databases {
            let shown = format!("{database:?} {}", database.place());
            assert!(!shown.contains("ter2"), "{shown}");
            assert!(shown.contains("***"), "{shown}");
            let said = database.config.without_secrets("no such: hunter2, hun/ter2, hun ter2");
            assert!(said.contains("***"), "{said}");
        }
    }

    #[test]
    fn what_is_wrong_is_known_before_anything_is_loaded() {
        Adbc::driver("").check().expect_err("no name");
        Adbc::driver("x").option("a", "1").option("a", "2").check().expect_err("twice");
        Adbc::driver("x").option("a", "1\0").check().expect_err("a zero byte");
    }
}
