//! A disk that loses its power.

mod medium;
#[cfg(test)]
mod tests;

use self::medium::{Call, Medium};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::store::local::disk::{Disk, RealDisk};
use crate::store::{LocalStore, Store};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A local disk behind a write-back cache, as far as a [`LocalStore`] uses one: what was not synced may be gone after a power loss, in part
/// or in another order.
///
/// 1. *Files*: what was written before the last sync of the file is there. Of what came after, each sector of 512 bytes is there or is
///    zeros, and the file may end anywhere in between.
/// 2. *Names*: what changed in a folder before its last sync is there. Of what came after, each change is there or not, whatever the others
///    are: a file may be without its name, under an old one, under two, or have a name before it has its bytes. To sync a file does
///    not sync its name. A name is replaced as a whole.
/// 3. *Seeded*: the calls, the moment and the seed decide what is there.
///
/// Processes see all that was written, as on a real disk: files lie in a real folder, which need not be on a real disk; nothing is really
/// synced.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> landfall::Result<()> {
/// # let (folder, after) = (std::env::temp_dir().join("landfall-a"), std::env::temp_dir().join("landfall-b"));
/// use landfall::store::ObjectPath;
/// use landfall::testkit::{SimDisk, test_env};
///
/// let disk = SimDisk::in_folder(&folder)?;
/// let (store, name) = (disk.store(&test_env(1))?, ObjectPath::parse("a/b")?);
/// store.put(&name, "acknowledged".into()).await?;
///
/// let after = disk.power_loss(disk.calls(), 42, &after)?;
/// assert_eq!(after.store(&test_env(2))?.get(&name, None).await?, Some("acknowledged".into()));
/// # for disk in [disk, after] { std::fs::remove_dir_all(disk.folder()).ok(); }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// What was there at first, all of it synced.
    medium: Medium,
    log: Mutex<Vec<Call>>,
    lie: Option<Lie>,
}

/// What a disk says that it has done, and has not: for showing that a check notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lie {
    /// Files are not synced.
    Files,
    /// Folders are not synced.
    Folders,
}

impl SimDisk {
    /// A disk whose files lie in `folder`, which is made if it is not there; what is in it counts as synced.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be made or read.
    pub fn in_folder(folder: impl AsRef<Path>) -> Result<Self> {
        Self::open(folder.as_ref(), None)
    }

    /// The same, of a disk that lies.
    ///
    /// # Errors
    /// As [`in_folder`](Self::in_folder).
    pub fn lying(folder: impl AsRef<Path>, lie: Lie) -> Result<Self> {
        Self::open(folder.as_ref(), Some(lie))
    }

    fn open(folder: &Path, lie: Option<Lie>) -> Result<Self> {
        let failed = |e| failed("open disk", folder, e);
        fs::create_dir_all(folder).map_err(failed)?;
        let root = folder.canonicalize().map_err(failed)?;
        let medium = Medium::read(&root).map_err(failed)?;
        Ok(Self(Arc::new(Inner { root, medium, log: Mutex::default(), lie })))
    }

    /// The files of a process, with all of the disk for themselves or shared with others.
    ///
    /// # Errors
    /// As [`LocalStore::open_with`].
    pub fn store(&self, env: &Env) -> Result<Store> {
        Ok(Store::new(LocalStore::open_on(Arc::new(self.clone()), &self.0.root, env)?))
    }

    /// Where the files lie.
    pub fn folder(&self) -> &Path {
        &self.0.root
    }

    /// How many calls have changed or synced something.
    pub fn calls(&self) -> u64 {
        self.log().len() as u64
    }

    /// What is there if the power was lost after the first `after` calls, one of the possibilities, chosen by `seed`: another disk, in
    /// `folder`, which must be empty or not be there. This one goes on.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be written.
    pub fn power_loss(&self, after: u64, seed: u64, folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let failed = |e| failed("lose power", folder, e);
        let mut medium = self.0.medium.clone();
        for call in self.log().iter().take(usize::try_from(after).unwrap_or(usize::MAX)) {
            medium.apply(call, self.0.lie);
        }
        medium.lose_power(seed);
        fs::create_dir_all(folder).map_err(failed)?;
        let root = folder.canonicalize().map_err(failed)?;
        medium.write(&root).map_err(failed)?;
        Ok(Self(Arc::new(Inner { root, medium, log: Mutex::default(), lie: self.0.lie })))
    }

    fn log(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.0.root).unwrap_or(path).to_owned()
    }

    /// Does a call, and keeps that it was done.
    fn call<T>(&self, call: Call, done: io::Result<T>) -> io::Result<T> {
        if done.is_ok() {
            self.log().push(call);
        }
        done
    }
}

fn failed(operation: &'static str, folder: &Path, e: io::Error) -> Error {
    Error::unavailable(operation, "the file system failed").with("folder", folder.display()).with_source(e)
}

impl Disk for SimDisk {
    fn create_folder(&self, path: &Path) -> io::Result<bool> {
        let made = RealDisk.create_folder(path)?;
        if made { self.call(Call::CreateFolder(self.below(path)), Ok(true)) } else { Ok(false) }
    }

    fn create_file(&self, path: &Path) -> io::Result<File> {
        self.call(Call::CreateFile(self.below(path)), RealDisk.create_file(path))
    }

    fn write(&self, path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.call(Call::Write(self.below(path), bytes.to_vec()), RealDisk.write(path, file, bytes))
    }

    fn sync_file(&self, path: &Path, _file: &File) -> io::Result<()> {
        self.call(Call::SyncFile(self.below(path)), Ok(()))
    }

    fn sync_folder(&self, path: &Path, _folder: &File) -> io::Result<()> {
        self.call(Call::SyncFolder(self.below(path)), Ok(()))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let renamed = RealDisk.rename_new(from, to)?;
        if renamed { self.call(Call::Rename(self.below(from), self.below(to)), Ok(true)) } else { Ok(false) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Rename(self.below(from), self.below(to)), RealDisk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Remove(self.below(path)), RealDisk.remove(path))
    }
}
