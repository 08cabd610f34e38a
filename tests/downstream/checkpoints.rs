use bytes::Bytes;
use landfall::checkpoint::{ChainId, CheckpointStore};
use landfall::store::{Created, ObjectPath, Store};
use landfall::{Error, Result, async_trait};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One file for each record, made by a hard link, which fails if the name is taken.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    fn path(&self, chain: &ChainId, name: &str) -> Result<PathBuf> {
        let folder = self.0.join(chain.as_str());
        fs::create_dir_all(&folder).map_err(|e| failed("make folder", e))?;
        Ok(folder.join(name))
    }
}

fn failed(operation: &'static str, e: std::io::Error) -> Error {
    Error::unavailable(operation, "the file system refuses").with_source(e)
}

#[async_trait]
impl CheckpointStore for Folder {
    async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
        let path = self.path(chain, &number.to_string())?;
        let mut temporary = tempfile::NamedTempFile::new_in(&self.0).map_err(|e| failed("create record", e))?;
        temporary.write_all(&record).map_err(|e| failed("create record", e))?;
        temporary.as_file().sync_all().map_err(|e| failed("create record", e))?;
        match fs::hard_link(temporary.path(), &path) {
            Ok(()) => Ok(Created::New),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(Created::Exists),
            Err(e) => Err(failed("create record", e)),
        }
    }

    async fn read(&self, chain: &ChainId, number: u64) -> Result<Option<Bytes>> {
        match fs::read(self.path(chain, &number.to_string())?) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("read record", e)),
        }
    }

    async fn numbers(&self, _chain: &ChainId) -> Result<Vec<u64>> {
        // A hint may miss everything: the protocol walks.
        Ok(Vec::new())
    }

    async fn boundary(&self, chain: &ChainId) -> Result<u64> {
        let text = fs::read_to_string(self.path(chain, "boundary")?).unwrap_or_default();
        Ok(text.parse().unwrap_or(0))
    }

    async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()> {
        if to > self.boundary(chain).await? {
            fs::write(self.path(chain, "boundary")?, to.to_string()).map_err(|e| failed("advance boundary", e))?;
        }
        Ok(())
    }

    async fn remove(&self, chain: &ChainId, number: u64) -> Result<()> {
        drop(fs::remove_file(self.path(chain, &number.to_string())?));
        Ok(())
    }

    fn objects(&self) -> Option<(Store, ObjectPath)> {
        None
    }
}

/// What the contract of a checkpoint store says, proven with one line.
#[cfg(feature = "testkit")]
mod conformance {
    use super::Folder;
    use std::sync::Arc;

    landfall::checkpoint_conformance!({
        let folder = tempfile::tempdir().expect("a folder");
        (Arc::new(Folder::new(folder.path())), folder)
    });
}
