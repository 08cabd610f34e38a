use super::disk::Disk;
use super::fault::{failed, naming_failed, not_ours};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result, Status};
use crate::model::Timestamp;
use crate::store::{Created, ObjectInfo, ObjectPath};
use bytes::Bytes;
use rustix::fs::OFlags;
use std::collections::HashSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Where files are written before they get their names. No object's name starts with it.
pub(super) const TEMP: &str = ".landfall-tmp";
const TEMP_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Names of folders that are remembered as synced; beyond that they are forgotten and synced again.
const REMEMBERED: usize = 4096;

/// The blocking work of a [`LocalStore`](super::LocalStore).
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    /// Folders whose own names are known to be durable.
    synced: Mutex<HashSet<PathBuf>>,
    /// The folder that could not be synced. The system may have dropped what it could not write and may call the next
    /// sync a success, so nothing that this process sees is known to be on the disk.
    broken: OnceLock<PathBuf>,
}

impl Files {
    pub(super) fn open(folder: &Path, disk: Arc<dyn Disk>, env: &Env) -> Result<Self> {
        const OPEN: &str = "open local store";
        let folder = std::path::absolute(folder).map_err(|e| failed(OPEN, folder, e))?;
        for missing in ancestors_first(&folder).filter(|path| !path.is_dir()) {
            let parent = missing.parent().unwrap_or(missing);
            let opened = File::open(parent).map_err(|e| failed(OPEN, parent, e))?;
            disk.create_folder(missing).map_err(|e| failed(OPEN, missing, e))?;
            disk.sync_folder(parent, &opened).map_err(|e| failed(OPEN, parent, e))?;
        }
        // Links above and at the root are the operator's choice; below it they are refused.
        let root = folder.canonicalize().map_err(|e| failed(OPEN, &folder, e))?;
        let files = Self { root, disk, synced: Mutex::default(), broken: OnceLock::new() };
        let temp = files.root.join(TEMP);
        files.disk.create_folder(&temp).map_err(|e| failed(OPEN, &temp, e))?;
        files.remove_old_temps(&temp, env.now());
        drop(files.create_temp(OPEN, &env.nonce())?);
        let opened = File::open(&files.root).map_err(|e| failed(OPEN, &files.root, e))?;
        files.disk.sync_folder(&files.root, &opened).map_err(|e| {
            Error::config(OPEN, "the file system cannot sync folders, so nothing on it is durable")
                .with("path", files.root.display())
                .with_hint("use a local file system, such as ext4, xfs or apfs")
                .with_source(e)
        })?;
        Ok(files)
    }

    fn remove_old_temps(&self, temp: &Path, now: Timestamp) {
        let Ok(entries) = fs::read_dir(temp) else { return };
        for entry in entries.flatten() {
            let old = entry
                .metadata()
                .and_then(|m| m.modified())
                .is_ok_and(|modified| now.saturating_since(Timestamp::from_system(modified)) > TEMP_AGE);
            if old {
                discard(self.disk.as_ref(), &entry.path());
            }
        }
    }

    fn usable(&self, operation: &'static str) -> Result<()> {
        if let Some(folder) = self.broken.get() {
            return Err(Error::unavailable(
                operation,
                "an earlier sync of a folder failed, the disk's state is unknown",
            )
            .with_status(Status::Permanent)
            .with("path", folder.display())
            .with_hint("check the disk and the system's log, then start again"));
        }
        Ok(())
    }

    /// The file of an object.
    pub(super) fn object(&self, operation: &'static str, path: &ObjectPath) -> Result<PathBuf> {
        self.usable(operation)?;
        if path.as_str().split('/').next().is_none_or(|first| first.is_empty() || first == TEMP) {
            return Err(Error::config(operation, "not a name for an object").with("name", path));
        }
        Ok(self.root.join(path.as_str()))
    }

    pub(super) fn create_temp(&self, operation: &'static str, name: &str) -> Result<TempFile> {
        let path = self.root.join(TEMP).join(name);
        let file = self.disk.create_file(&path).map_err(|e| failed(operation, &path, e))?;
        Ok(TempFile { disk: Arc::clone(&self.disk), path, file, keep: false })
    }

    /// A synced file with `bytes`, to become the object `path`.
    pub(super) fn write_temp(
        &self,
        operation: &'static str,
        path: &ObjectPath,
        name: &str,
        bytes: &[u8],
    ) -> Result<TempFile> {
        self.object(operation, path)?;
        let mut temp = self.create_temp(operation, name)?;
        temp.write(operation, bytes)?;
        temp.sync(operation)?;
        Ok(temp)
    }

    /// Gives a synced file its name, unless there is an object of that name.
    pub(super) fn publish_new(&self, operation: &'static str, temp: TempFile, path: &ObjectPath) -> Result<Created> {
        let to = self.object(operation, path)?;
        let folder = self.folder_of(operation, &to)?;
        let new = self.disk.rename_new(&temp.path, &to).map_err(|e| naming_failed(operation, &to, e))?;
        if new {
            temp.keep();
        } else if lstat(operation, &to)?.is_some_and(|m| !m.is_file()) {
            return Err(failed(operation, &to, rustix::io::Errno::ISDIR.into()));
        }
        // Whoever learns that an object is there may act upon it: its name must stay too.
        self.sync(operation, &folder)?;
        Ok(if new { Created::New } else { Created::Exists })
    }

    /// Gives a synced file its name.
    pub(super) fn publish(&self, operation: &'static str, temp: TempFile, path: &ObjectPath) -> Result<()> {
        let to = self.object(operation, path)?;
        let folder = self.folder_of(operation, &to)?;
        self.disk.rename(&temp.path, &to).map_err(|e| naming_failed(operation, &to, e))?;
        temp.keep();
        self.sync(operation, &folder)
    }

    pub(super) fn read(
        &self,
        operation: &'static str,
        path: &ObjectPath,
        range: Option<Range<u64>>,
    ) -> Result<Option<Bytes>> {
        let file = self.object(operation, path)?;
        if !self.is_object(operation, path)? {
            return Ok(None);
        }
        match read_range(&file, range) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(operation, &file, e)),
        }
    }

    pub(super) fn list(&self, operation: &'static str, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        self.usable(operation)?;
        let mut found = Vec::new();
        let mut folders = vec![prefix.clone()];
        if *prefix != ObjectPath::root() {
            self.object(operation, prefix)?;
            if !self.walk(operation, prefix)?.is_some_and(|m| m.is_dir()) {
                return Ok(found);
            }
        }
        while let Some(folder) = folders.pop() {
            let at = self.root.join(folder.as_str());
            let entries = match fs::read_dir(&at) {
                Ok(entries) => entries,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(operation, &at, e)),
            };
            for entry in entries {
                let entry = entry.map_err(|e| failed(operation, &at, e))?;
                // What has another name than an object can have is not an object.
                let Some(path) = entry.file_name().to_str().and_then(|name| folder.join(name).ok()) else { continue };
                if path.as_str() == TEMP {
                    continue;
                }
                let Some(metadata) = lstat(operation, &entry.path())? else { continue };
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_file() {
                    let modified = metadata.modified().map_err(|e| failed(operation, &at, e))?;
                    found.push(ObjectInfo { path, size: metadata.len(), modified: Timestamp::from_system(modified) });
                }
            }
        }
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    pub(super) fn rename(&self, operation: &'static str, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        let (old, new) = (self.object(operation, from)?, self.object(operation, to)?);
        if !self.is_object(operation, from)? {
            return Ok(false);
        }
        let (left, entered) = (self.folder_of(operation, &old)?, self.folder_of(operation, &new)?);
        match self.disk.rename(&old, &new) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(naming_failed(operation, &new, e)),
        }
        self.sync(operation, &entered)?;
        if left.path != entered.path {
            self.sync(operation, &left)?;
        }
        Ok(true)
    }

    pub(super) fn remove(&self, operation: &'static str, path: &ObjectPath) -> Result<()> {
        let file = self.object(operation, path)?;
        if !self.is_object(operation, path)? {
            return Ok(());
        }
        match self.disk.remove(&file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(naming_failed(operation, &file, e)),
            _ => Ok(()),
        }
    }

    /// The folder that `file` lies in, opened. It is made if it is not there, and its name and those above it are durable.
    fn folder_of(&self, operation: &'static str, file: &Path) -> Result<Folder> {
        let folder = file.parent().unwrap_or(&self.root);
        for path in ancestors_first(folder).filter(|path| path.starts_with(&self.root) && *path != self.root) {
            let above = path.parent().unwrap_or(&self.root);
            let made = self.disk.create_folder(path).map_err(|e| failed(operation, path, e))?;
            if !made && !lstat(operation, path)?.is_some_and(|m| m.is_dir()) {
                return Err(failed(operation, path, rustix::io::Errno::NOTDIR.into()));
            }
            // Another process may have made it and not have synced it yet.
            let known = !made && self.synced().contains(path);
            if !known {
                self.sync(operation, &open_folder(operation, above)?)?;
                let mut synced = self.synced();
                if synced.len() >= REMEMBERED {
                    synced.clear();
                }
                synced.insert(path.to_owned());
            }
        }
        open_folder(operation, folder)
    }

    fn synced(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the names in a folder durable. The folder was opened before they changed, so that nothing but the sync can fail.
    fn sync(&self, operation: &'static str, folder: &Folder) -> Result<()> {
        if self.broken.get().is_none() {
            match self.disk.sync_folder(&folder.path, &folder.opened) {
                Ok(()) => return Ok(()),
                Err(_) if on(Defect::FailedSyncIsIgnored) => return Ok(()),
                Err(e) => {
                    let broken = self.broken.get_or_init(|| folder.path.clone());
                    tracing::error!(path = %broken.display(), error = %e, "a folder could not be synced");
                }
            }
        }
        Err(Error::new(ErrorKind::Ambiguous, operation, "a folder could not be synced, the disk's state is unknown")
            .with("path", folder.path.display())
            .with_hint("check the disk and the system's log, then start again"))
    }

    fn is_object(&self, operation: &'static str, path: &ObjectPath) -> Result<bool> {
        Ok(self.walk(operation, path)?.is_some_and(|m| m.is_file()))
    }

    /// What is at `path`, if no link leads there.
    fn walk(&self, operation: &'static str, path: &ObjectPath) -> Result<Option<Metadata>> {
        let mut at = self.root.clone();
        let mut segments = path.as_str().split('/').peekable();
        while let Some(segment) = segments.next() {
            at.push(segment);
            match lstat(operation, &at)? {
                Some(metadata) if segments.peek().is_none() => return Ok(Some(metadata)),
                Some(metadata) if metadata.is_dir() => {}
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    opened: File,
}

/// A file without a name of its own yet; dropped without one, it is removed.
#[derive(Debug)]
pub(super) struct TempFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: File,
    keep: bool,
}

impl TempFile {
    pub(super) fn write(&mut self, operation: &'static str, bytes: &[u8]) -> Result<()> {
        self.disk.write(&self.path, &mut self.file, bytes).map_err(|e| failed(operation, &self.path, e))
    }

    /// After a failed sync the file never gets a name: the system may call the next sync of it a success.
    pub(super) fn sync(&mut self, operation: &'static str) -> Result<()> {
        match self.disk.sync_file(&self.path, &self.file) {
            Err(e) if !on(Defect::FailedSyncIsIgnored) => {
                self.keep = true; // for whoever looks into it; it goes with the old temporary files
                Err(failed(operation, &self.path, e))
            }
            _ => Ok(()),
        }
    }

    fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.keep {
            discard(self.disk.as_ref(), &self.path);
        }
    }
}

fn discard(disk: &dyn Disk, temp: &Path) {
    if let Err(error) = disk.remove(temp) {
        tracing::debug!(path = %temp.display(), %error, "temporary file stays");
    }
}

fn open_folder(operation: &'static str, path: &Path) -> Result<Folder> {
    let opened = File::open(path).map_err(|e| failed(operation, path, e))?;
    Ok(Folder { path: path.to_owned(), opened })
}

fn lstat(operation: &'static str, path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() || metadata.is_file() => Ok(Some(metadata)),
        Ok(_) => Err(not_ours(operation, path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(operation, path, e)),
    }
}

fn read_range(path: &Path, range: Option<Range<u64>>) -> io::Result<Vec<u8>> {
    let mut file = open_itself(path)?;
    let size = file.metadata()?.len();
    let range = range.map_or(0..size, |r| r.start.min(size)..r.end.min(size));
    let length = range.end.saturating_sub(range.start);
    let mut bytes = Vec::new();
    // A file may say that it is larger than memory: that is an error of this read, and not the end of the process.
    bytes.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX)).map_err(|_| io::ErrorKind::OutOfMemory)?;
    file.seek(SeekFrom::Start(range.start))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file, not what a link under its name leads to: one may have been put there since it was looked at.
fn open_itself(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits() as i32;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// `path` and the folders above it, the highest first.
fn ancestors_first(path: &Path) -> impl Iterator<Item = &Path> {
    let mut all: Vec<&Path> = path.ancestors().collect();
    all.reverse();
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_came_after_the_look_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (secret, name) = (folder.path().join("secret"), folder.path().join("name"));
        fs::write(&secret, "x").expect("written");
        std::os::unix::fs::symlink(&secret, &name).expect("linked");
        assert_eq!(read_range(&secret, None).expect("a file"), b"x");
        assert_eq!(
            read_range(&name, None).expect_err("a link").raw_os_error(),
            Some(rustix::io::Errno::LOOP.raw_os_error())
        );
    }
}
