use bytes::Bytes;
use landfall::checkpoint::{ChainId, CheckpointStore};
use landfall::error::Status;
use landfall::store::{Created, ObjectPath, Store};
use landfall::{Error, ErrorKind, Result, async_trait};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// One file for each record, made by a hard link, which fails if the name is taken; and an empty one for each boundary that was reached.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Whether a sync of it has failed. The system may call the next one a success: what is seen then need not be on the disk.
    unsynced: AtomicBool,
}

const RECORD: &str = "record";
const BOUNDARY: &str = "boundary";

impl Folder {
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.to_owned(), unsynced: AtomicBool::new(false) }
    }

    /// What the names of such files of a chain begin with; a number follows.
    fn named(&self, chain: &ChainId, what: &str) -> Result<String> {
        if self.unsynced.load(Ordering::Relaxed) {
            return Err(Error::unavailable("use folder", "a sync of it has failed, what the disk holds is not known")
                .with_status(Status::Permanent)
                .with_hint("look at the disk, then start again"));
        }
        Ok(format!("{}.{what}.", ObjectPath::encode(chain.as_str())))
    }

    fn file(&self, chain: &ChainId, what: &str, number: u64) -> Result<PathBuf> {
        Ok(self.path.join(format!("{}{number}", self.named(chain, what)?)))
    }

    /// Makes a file, whole and durable, if there is none.
    fn make(&self, operation: &'static str, file: &Path, content: &[u8]) -> Result<Created> {
        let failed = |e| failed(operation, e);
        let mut temporary = tempfile::NamedTempFile::new_in(&self.path).map_err(failed)?;
        temporary.write_all(content).map_err(failed)?;
        temporary.as_file().sync_all().map_err(failed)?;
        let created = match fs::hard_link(temporary.path(), file) {
            Ok(()) => Created::New,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Created::Exists,
            Err(e) => return Err(failed(e)),
        };
        // Whoever hears that it is there relies on it, whoever made it.
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(|e| {
            self.unsynced.store(true, Ordering::Relaxed);
            Error::new(ErrorKind::Ambiguous, operation, "the folder cannot be synced").with_source(e)
        })?;
        Ok(created)
    }
}

fn failed(operation: &'static str, e: io::Error) -> Error {
    Error::unavailable(operation, "the file system refuses").with_source(e)
}

#[async_trait]
impl CheckpointStore for Folder {
    async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
        self.make("create record", &self.file(chain, RECORD, number)?, &record)
    }

    async fn read(&self, chain: &ChainId, number: u64) -> Result<Option<Bytes>> {
        match fs::read(self.file(chain, RECORD, number)?) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("read record", e)),
        }
    }

    async fn numbers(&self, _chain: &ChainId) -> Result<Vec<u64>> {
        // A hint may miss everything: the protocol walks.
        Ok(Vec::new())
    }

    async fn boundary(&self, chain: &ChainId) -> Result<u64> {
        let (named, failed) = (self.named(chain, BOUNDARY)?, |e| failed("read boundary", e));
        let mut highest = 0_u64;
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(&named)?.parse().ok());
            highest = highest.max(number.unwrap_or(0));
        }
        Ok(highest)
    }

    async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()> {
        // The lower ones stay: who looks while one comes and another one goes could miss both.
        self.make("advance boundary", &self.file(chain, BOUNDARY, to)?, b"").map(drop)
    }

    async fn remove(&self, chain: &ChainId, number: u64) -> Result<()> {
        match fs::remove_file(self.file(chain, RECORD, number)?) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove record", e)),
            _ => Ok(()),
        }
    }

    fn objects(&self) -> Option<(Store, ObjectPath)> {
        None
    }
}

/// What the contract of a checkpoint store says, proven with one call.
#[cfg(feature = "testkit")]
mod conformance {
    use super::Folder;
    use landfall::testkit::{FaultCheckpoints, Faults};
    use std::sync::Arc;
    use tempfile::TempDir;

    landfall::checkpoint_conformance!(
        {
            let folder = tempfile::tempdir().expect("a folder");
            (Arc::new(Folder::new(folder.path())), folder)
        },
        reached_by: async |folder: &TempDir, faults: &Faults| {
            (Arc::new(FaultCheckpoints::new(Folder::new(folder.path()), faults)), ())
        }
    );
}
