//! Everything that decodes bytes from outside or from disk, in one table: for fuzzing, and for tests over seeds.

#[cfg(test)]
mod tests;

use super::test_env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Page;
use crate::sink::Sink;
use crate::{checkpoint, landing, pipeline, retry, sink, store};
use futures::FutureExt;

/// A decoder of bytes from outside or from disk, and what holds of it whatever the bytes are.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    name: &'static str,
    decode: fn(&[u8]) -> Result<()>,
}

impl Decoder {
    const fn new(name: &'static str, decode: fn(&[u8]) -> Result<()>) -> Self {
        Self { name, decode }
    }

    /// Its name, and that of the folder in `fuzz/corpus` with its seeds.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Gives it `bytes`. It panics if it does anything but to read them, or to refuse them in one line that says so. Whether it has
    /// read them.
    pub fn check(&self, bytes: &[u8]) -> bool {
        let Err(error) = (self.decode)(bytes) else { return true };
        let text = error.to_string();
        assert_ne!(error.kind(), ErrorKind::Bug, "{text}");
        assert!(!text.contains(char::is_control), "an error has more than one line: {text:?}");
        assert!(text.len() <= LONGEST, "an error of {} bytes: {text:.200}", text.len());
        false
    }
}

/// Bytes that an error may have.
const LONGEST: usize = 32 << 10;

/// All decoders that this build has, each with what holds of it: no panic, no loop, no more memory than the bytes are worth; and
/// that what is written is read again, and what is damaged is not. A fuzzer of your own gives them what it likes:
///
/// ```
/// for decoder in landfall::testkit::decoders() {
///     println!("{}: read={}", decoder.name(), decoder.check(b"{}"));
/// }
/// ```
pub fn decoders() -> &'static [Decoder] {
    DECODERS
}

const DECODERS: &[Decoder] = &[
    Decoder::new("accounts-and-coverage", landing::fuzz::values),
    Decoder::new("block", landing::fuzz::block),
    Decoder::new("boundary", |bytes| at_once(checkpoint::fuzz::boundary(bytes))),
    Decoder::new("chain-record", checkpoint::fuzz::record),
    Decoder::new("checkpoint", pipeline::fuzz::checkpoint),
    Decoder::new("load-progress", |bytes| at_once(landing::fuzz::loads(&test_env(1), bytes))),
    Decoder::new("object-path", store::fuzz::object_path),
    Decoder::new("quarantine", |bytes| at_once(sink::fuzz::quarantine(bytes))),
    Decoder::new("rate-headers", retry::rate::fuzz::headers),
    Decoder::new("rates", |bytes| at_once(retry::rate::fuzz::record(&test_env(1), bytes))),
    Decoder::new("rows-base", landing::fuzz::base),
    Decoder::new("rows-run", |bytes| at_once(landing::fuzz::rows(bytes))),
    Decoder::new("segment", |bytes| at_once(landing::fuzz::segment(&test_env(1), bytes))),
    Decoder::new("staged-tables", staged::<sink::TableSet<Page>>),
    Decoder::new("store-uri", store::fuzz::uri),
    #[cfg(feature = "adbc")]
    Decoder::new("adbc-control", crate::connectors::adbc::fuzz::control),
    #[cfg(feature = "adbc")]
    Decoder::new("adbc-names", crate::connectors::adbc::fuzz::names),
    #[cfg(feature = "adbc")]
    Decoder::new("adbc-types", crate::connectors::adbc::fuzz::types),
    #[cfg(feature = "adbc")]
    Decoder::new("staged-adbc", staged::<crate::connectors::adbc::AdbcTable>),
    #[cfg(any(feature = "http", feature = "arrow"))]
    Decoder::new("record-paths", crate::records::fuzz::paths),
    #[cfg(any(feature = "http", feature = "arrow"))]
    Decoder::new("records", crate::records::fuzz::records),
    #[cfg(feature = "arrow")]
    Decoder::new("columns", crate::columnar::fuzz::columns),
    #[cfg(feature = "arrow")]
    Decoder::new("decode", crate::columnar::fuzz::decode),
    #[cfg(feature = "arrow")]
    Decoder::new("dedup-run", crate::columnar::fuzz::dedup),
    #[cfg(feature = "parquet")]
    Decoder::new("partition", crate::columnar::fuzz::partition),
    #[cfg(feature = "parquet")]
    Decoder::new("dataset-commit", |bytes| at_once(crate::connectors::parquet::fuzz::commit(bytes))),
    #[cfg(feature = "parquet")]
    Decoder::new("dataset-compaction", crate::connectors::parquet::fuzz::compaction),
    #[cfg(feature = "parquet")]
    Decoder::new("dataset-file", |bytes| at_once(crate::connectors::parquet::fuzz::file(bytes))),
    #[cfg(feature = "parquet")]
    Decoder::new("staged-parquet", staged::<crate::connectors::parquet::ParquetDataset>),
    #[cfg(feature = "delta")]
    Decoder::new("delta-checkpoint", crate::connectors::delta::fuzz::checkpoint_file),
    #[cfg(feature = "delta")]
    Decoder::new("delta-file", |bytes| at_once(crate::connectors::delta::fuzz::data_file(bytes))),
    #[cfg(feature = "delta")]
    Decoder::new("delta-log", |bytes| at_once(crate::connectors::delta::fuzz::log_file(bytes))),
    #[cfg(feature = "delta")]
    Decoder::new("delta-mark", crate::connectors::delta::fuzz::mark),
    #[cfg(feature = "delta")]
    Decoder::new("delta-path", crate::connectors::delta::fuzz::path),
    #[cfg(feature = "delta")]
    Decoder::new("delta-pending", |bytes| at_once(crate::connectors::delta::fuzz::pending(bytes))),
    #[cfg(feature = "delta")]
    Decoder::new("delta-schema", crate::connectors::delta::fuzz::schema),
    #[cfg(feature = "delta")]
    Decoder::new("delta-stats", crate::connectors::delta::fuzz::statistics),
    #[cfg(feature = "delta")]
    Decoder::new("staged-delta", staged::<crate::connectors::delta::DeltaTable>),
    #[cfg(feature = "http")]
    Decoder::new("http-body", |bytes| at_once(crate::connectors::http::fuzz::body(bytes))),
    #[cfg(feature = "http")]
    Decoder::new("http-credentials", crate::connectors::http::fuzz::credentials),
    #[cfg(feature = "http")]
    Decoder::new("http-cursor", crate::connectors::http::fuzz::cursor),
    #[cfg(feature = "http")]
    Decoder::new("http-export", crate::connectors::http::fuzz::export),
    #[cfg(feature = "http")]
    Decoder::new("http-page", crate::connectors::http::fuzz::page),
    #[cfg(feature = "http")]
    Decoder::new("http-link", crate::connectors::http::fuzz::link),
    #[cfg(feature = "http")]
    Decoder::new("http-position", crate::connectors::http::fuzz::position),
    #[cfg(feature = "http")]
    Decoder::new("http-response", crate::connectors::http::fuzz::response),
    #[cfg(feature = "http")]
    Decoder::new("http-template", crate::connectors::http::fuzz::template),
    #[cfg(feature = "http")]
    Decoder::new("http-wait", crate::connectors::http::fuzz::wait),
    #[cfg(feature = "http")]
    Decoder::new("kept-token", crate::connectors::http::fuzz::token),
    #[cfg(feature = "http")]
    Decoder::new("key-file", crate::connectors::http::fuzz::key_file),
    #[cfg(feature = "postgres")]
    Decoder::new("postgres-control", crate::connectors::postgres::fuzz::control),
    #[cfg(feature = "postgres")]
    Decoder::new("postgres-names", crate::connectors::postgres::fuzz::names),
    #[cfg(feature = "postgres")]
    Decoder::new("postgres-types", crate::connectors::postgres::fuzz::types),
    #[cfg(feature = "postgres")]
    Decoder::new("postgres-url", crate::connectors::postgres::fuzz::url),
    #[cfg(feature = "postgres")]
    Decoder::new("staged-postgres", staged::<crate::connectors::postgres::PostgresTable>),
    #[cfg(feature = "postgres")]
    Decoder::new("staged-postgres-tables", staged::<crate::connectors::postgres::PostgresTables>),
];

/// What a sink has staged is the same when it is kept and read again.
fn staged<S: Sink>(bytes: &[u8]) -> Result<()> {
    let read = |text: &[u8]| {
        serde_json::from_slice::<S::Staged>(text)
            .map_err(|e| Error::corrupt("read staged output", "it does not parse").with_source(e))
    };
    let kept =
        |staged| serde_json::to_vec(&staged).map_err(|e| Error::bug("keep staged output", "JSON").with_source(e));
    let once = kept(read(bytes)?)?;
    assert_eq!(kept(read(&once)?)?, once, "it is kept as another one");
    Ok(())
}

/// What `work` comes to. Nothing in it waits: stores are in memory, and the environment does its work at once.
fn at_once(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut work = Box::pin(work);
    // Where many futures are joined they let others go first now and then.
    let result = (0..POLLS).find_map(|_| work.as_mut().now_or_never());
    result.expect("nothing to wait for")
}

const POLLS: usize = 10_000;
