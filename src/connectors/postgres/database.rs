use super::fault;
use super::name::literal;
use super::plain::Watched;
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, Result};
use deadpool_postgres::{Client, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Transaction};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, GenericClient, IsolationLevel, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Set in every session, whatever the defaults of the role are: what is committed survives a power loss; an epoch takes as long as it
/// takes; a policy that would hide rows is an error; text means one thing. Nobody waits for ever for a process that is gone, or that stands
/// still: the server notices the first, and after a minute takes the transaction of the second, unless it has a limit already.
const SESSION: &str = "\
    SET synchronous_commit = on; \
    SET default_transaction_isolation = 'read committed'; \
    SET statement_timeout = 0; \
    SET row_security = off; \
    SET TimeZone = 'UTC'; \
    SET DateStyle = 'ISO'; \
    SET standard_conforming_strings = on; \
    SET client_min_messages = warning; \
    SET lock_timeout = '30s'; \
    SET tcp_keepalives_idle = 30; \
    SET tcp_keepalives_interval = 10; \
    SET tcp_keepalives_count = 3; \
    SET tcp_user_timeout = '60s'; \
    SELECT pg_catalog.set_config('idle_in_transaction_session_timeout', '60s', false) \
    WHERE pg_catalog.current_setting('idle_in_transaction_session_timeout') = '0'";

/// A parameter of a statement, and the type that the statement has for it.
pub(super) type Parameter<'p> = (&'p (dyn ToSql + Sync), Type);

/// What statements are sent to. Each goes in one message with its parameters, by the methods named `typed`: to prepare it first would take another
/// round trip, and a pooler that remembers it.
pub(super) trait Session: Sync {
    fn session(&self) -> &(impl GenericClient + Sync);
}

impl Session for Client {
    fn session(&self) -> &(impl GenericClient + Sync) {
        &***self
    }
}

impl Session for Transaction<'_> {
    fn session(&self) -> &(impl GenericClient + Sync) {
        &**self
    }
}

/// Begins a transaction whose commit must survive a power loss, also where a pooler gives each transaction another session.
pub(super) async fn begin(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let transaction = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
    transaction.batch_execute("SET LOCAL synchronous_commit = on").await?;
    Ok(transaction)
}

/// Commits a transaction.
///
/// # Errors
/// `Ambiguous` if it is not known whether it was committed.
pub(super) async fn commit(operation: &'static str, transaction: Transaction<'_>) -> Result<()> {
    match transaction.commit().await {
        Err(_) if on(Defect::LostCommitIsSuccess) => Ok(()),
        done => done.map_err(|e| fault::commit(operation, e)),
    }
}

/// A database, and a pool of connections to it. Cheap to clone: clones share the pool. Connections are opened when they are needed.
///
/// TLS is spoken as `sslmode` in the URL says: `disable`, `prefer` (the default, as that of libpq) or `require`. Where it is spoken, the
/// certificate and the name in it are verified, also with `prefer`: by the certificates that the platform trusts, or by those in the file
/// that `sslrootcert` names. `verify-ca` and `verify-full` are the same as `require`, `allow` is the same as `prefer`.
///
/// With `prefer`, whoever sits between may say in the name of the server that it has no TLS, see and change all that is sent, and ask for
/// the password as it is: write `sslmode=require` for a server on another machine. A connection to one that came up without TLS is warned
/// of once.
///
/// Of several hosts, the first that takes writes is used, unless `target_session_attrs` says otherwise: a standby may not know yet what
/// was committed. What a session is told, whatever the defaults of the role are: `docs/warehouses.md`, "PostgreSQL".
///
/// ```
/// use landfall::connectors::postgres::Postgres;
///
/// let database = Postgres::connect("postgresql://etl@db.example.com/warehouse?sslmode=require")?.pool_size(8)?;
/// # drop(database);
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone)]
pub struct Postgres {
    config: Config,
    roots: Option<Arc<RootCertStore>>,
    pool: Pool,
    patience: Duration,
    /// Whether it has ever answered.
    answered: Arc<AtomicBool>,
    env: Env,
}

/// How long a server may be away, unless something else is said: a restart takes seconds, a failover up to a minute.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same for one that has not answered yet: perhaps it is not there at all.
const FIRST_PATIENCE: Duration = Duration::from_secs(15);

impl Postgres {
    /// The database at `url`: `postgresql://user:password@host:port/database?parameters`, or `key=value` pairs, as libpq takes
    /// them. Nothing is connected yet.
    ///
    /// # Errors
    /// `Config` if it cannot be read; its text is not repeated, because it may hold a password.
    pub fn connect(url: &str) -> Result<Self> {
        let (url, parameters) = take_parameters(url);
        let mut config: Config = url.parse().map_err(|e: tokio_postgres::Error| {
            // What it quotes of the text may be a part of the password.
            let why = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
            let why = why.split('`').next().unwrap_or_default().trim_end().to_owned();
            Error::config("connect to database", "the connection string cannot be read")
                .with("why", why)
                .with_hint("write `postgresql://user:password@host:port/database`")
        })?;
        let mut roots = None;
        for (key, value) in parameters {
            match (key.as_str(), value.as_str()) {
                // The certificate is verified in any case.
                ("sslmode", "verify-ca" | "verify-full" | "require") => _ = config.ssl_mode(SslMode::Require),
                ("sslmode", "prefer" | "allow") => _ = config.ssl_mode(SslMode::Prefer),
                ("sslmode", "disable") => _ = config.ssl_mode(SslMode::Disable),
                ("sslmode", other) => {
                    return Err(Error::config("connect to database", "there is no such `sslmode`")
                        .with("sslmode", other)
                        .with_hint("use disable, prefer, require or verify-full"));
                }
                (_, file) => roots = Some(Arc::new(read_roots(file)?)),
            }
        }
        if config.get_application_name().is_none() {
            config.application_name("landfall");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        // Of several servers, the one that takes writes: another one may not know yet what was committed.
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        // A server that is gone without a word is noticed.
        config.keepalives(true).keepalives_idle(Duration::from_secs(30)).keepalives_interval(Duration::from_secs(10));
        config.keepalives_retries(3).tcp_user_timeout(Duration::from_secs(60));
        Self::with(config, roots, 8)
    }

    /// The database whose connection string is in the environment variable `name`.
    ///
    /// # Errors
    /// `Config` if it is not set, or cannot be read.
    pub fn from_env(name: &str) -> Result<Self> {
        let url = std::env::var(name).map_err(|_| {
            Error::config("connect to database", "the environment variable is not set").with("variable", name)
        })?;
        Self::connect(&url).map_err(|e| e.with("variable", name))
    }

    /// Holds at most this many connections. 8 by default. A shard uses up to 3 of them.
    ///
    /// # Errors
    /// `Config` if there would be none.
    pub fn pool_size(self, connections: usize) -> Result<Self> {
        if connections == 0 {
            return Err(Error::config("connect to database", "a pool without connections"));
        }
        let Self { config, roots, patience, env, .. } = self;
        Ok(Self { patience, env, ..Self::with(config, roots, connections)? })
    }

    /// How long the server may be away in the middle of a run: what it fails to answer meanwhile is asked again, the first time
    /// within 50 ms, where that cannot do anything twice. 2 minutes by default; zero never asks again. One that has not answered yet is given 15 s at
    /// most: perhaps its address is wrong.
    #[must_use]
    pub fn retry_for(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Time and randomness for waits between tries that belong to no run: for tests.
    #[must_use]
    pub fn env(self, env: Env) -> Self {
        Self { env, ..self }
    }

    pub(super) fn patience(&self) -> Duration {
        if self.answered.load(Ordering::Relaxed) { self.patience } else { self.patience.min(FIRST_PATIENCE) }
    }

    /// Notes that there is a server.
    pub(super) fn has_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// By which to wait where nobody gives an environment.
    pub(super) fn own_env(&self) -> &Env {
        &self.env
    }

    fn with(config: Config, roots: Option<Arc<RootCertStore>>, connections: usize) -> Result<Self> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Verified };
        let manager = match config.get_ssl_mode() {
            SslMode::Disable => Manager::from_config(config.clone(), NoTls, recycling),
            _ => {
                let tls = MakeRustlsConnect::new(tls(roots.as_deref())?);
                Manager::from_connect(config.clone(), Watched::new(tls), recycling)
            }
        };
        let prepare = Hook::async_fn(|client, _| {
            Box::pin(async move {
                client.batch_execute(SESSION).await.map_err(HookError::Backend)?;
                Ok(())
            })
        });
        // Each address is given its time.
        let addresses = config.get_hosts().len().max(config.get_hostaddrs().len()).max(1);
        let address = config.get_connect_timeout().copied().unwrap_or_default() + Duration::from_secs(5);
        let create = address * u32::try_from(addresses).unwrap_or(u32::MAX);
        let pool = Pool::builder(manager)
            .max_size(connections)
            .post_create(prepare)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(Duration::from_secs(30)))
            .create_timeout(Some(create))
            .recycle_timeout(Some(Duration::from_secs(15)))
            .build()
            .map_err(|e| Error::config("connect to database", "the pool cannot be made").with_source(e))?;
        Ok(Self { config, roots, pool, patience: PATIENCE, answered: Arc::default(), env: Env::system() })
    }

    pub(super) async fn client(&self) -> Result<Client> {
        let client = self.pool.get().await.map_err(|e| fault::pool(e).with("host", self.place()))?;
        self.has_answered();
        Ok(client)
    }

    /// What tells this database from others, without a secret.
    pub(super) fn place(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            tokio_postgres::config::Host::Tcp(host) => host.clone(),
            #[cfg(unix)]
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        });
        let ports: Vec<_> = self.config.get_ports().iter().map(ToString::to_string).collect();
        let (hosts, database) = (hosts.collect::<Vec<_>>().join(","), self.config.get_dbname().unwrap_or_default());
        format!("{hosts}:{}/{database}", if ports.is_empty() { "5432".to_owned() } else { ports.join(",") })
    }
}

impl Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("place", &self.place()).finish_non_exhaustive()
    }
}

/// Takes the parameters of TLS out of a URL: the client does not know all of libpq's.
fn take_parameters(url: &str) -> (String, Vec<(String, String)>) {
    let ours = |key: &str| key == "sslmode" || key == "sslrootcert";
    let mut taken = Vec::new();
    let mut take = |pair: &str| match pair.split_once('=') {
        Some((key, value)) if ours(key) => {
            taken.push((key.to_owned(), value.trim_matches('\'').to_owned()));
            false
        }
        _ => true,
    };
    let rest = match url.split_once('?') {
        Some((base, query)) if url.contains("://") => {
            let rest: Vec<&str> = query.split('&').filter(|pair| take(pair)).collect();
            if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) }
        }
        _ if url.contains("://") => url.to_owned(),
        _ => url.split(' ').filter(|pair| take(pair)).collect::<Vec<_>>().join(" "),
    };
    (rest, taken)
}

fn read_roots(file: &str) -> Result<RootCertStore> {
    let failed = |message: &'static str| Error::config("read certificates", message).with("sslrootcert", file);
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|e| failed("the file cannot be read").with_source(e))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|e| failed("this is no certificate").with_source(e))?;
        roots.add(certificate).map_err(|e| failed("the certificate cannot be used").with_source(e))?;
    }
    if roots.is_empty() {
        return Err(failed("there is no certificate in the file"));
    }
    Ok(roots)
}

fn tls(roots: Option<&RootCertStore>) -> Result<ClientConfig> {
    let failed = |e: rustls::Error| Error::config("connect to database", "TLS cannot be set up").with_source(e);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(failed)?;
    Ok(match roots {
        Some(roots) => builder.with_root_certificates(roots.clone()).with_no_client_auth(),
        None => builder.with_platform_verifier().map_err(failed)?.with_no_client_auth(),
    })
}

/// A statement that holds an advisory lock until the end of its transaction: for changes of the schema, which several writers
/// may make at the same time.
pub(super) fn schema_lock(of: &str) -> String {
    let of = literal(&format!("landfall {of}"));
    format!("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended({of}::text, 0::bigint))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_servers_one_that_takes_writes_is_used_and_each_has_its_time() {
        let database = Postgres::connect("host=a,b,c connect_timeout=20 sslmode=disable").expect("pairs");
        assert_eq!(database.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(database.pool.timeouts().create, Some(Duration::from_secs(75)));
        let any = Postgres::connect("host=a target_session_attrs=read-only sslmode=disable").expect("pairs");
        assert_eq!(any.config.get_target_session_attrs(), TargetSessionAttrs::ReadOnly, "what is asked for is kept to");
    }

    #[test]
    fn connection_strings_never_show_their_password() {
        let database = Postgres::connect("postgresql://etl:hunter2@db.example.com:5433/warehouse?sslmode=verify-full")
            .expect("a URL");
        assert_eq!(database.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(format!("{database:?}"), "Postgres { place: \"db.example.com:5433/warehouse\", .. }");
        let error = Postgres::connect("postgresql://etl:hunter2@db:port/x").expect_err("no port");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        Postgres::connect("host=localhost sslmode=sometimes").expect_err("no such mode");
        Postgres::connect("postgresql://localhost/x?sslrootcert=/not/there").expect_err("no such file");
        Postgres::connect("host=/run/postgresql dbname=x sslmode=disable").expect("pairs");
    }
}
