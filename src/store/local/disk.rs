use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// The calls by which [`LocalStore`](super::LocalStore) changes the disk, so that a test can record them, fail any, and lose power
/// after any.
pub(crate) trait Disk: Send + Sync + Debug + 'static {
    /// Makes a folder; `false` if something of that name is there.
    fn create_folder(&self, path: &Path) -> io::Result<bool>;
    /// Makes a file that is not there yet.
    fn create_file(&self, path: &Path) -> io::Result<File>;
    /// Adds bytes at the end of a file.
    fn write(&self, path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    /// Forces the content of a file to the medium.
    fn sync_file(&self, path: &Path, file: &File) -> io::Result<()>;
    /// Forces the names in an opened folder to the medium.
    fn sync_folder(&self, path: &Path, folder: &File) -> io::Result<()>;
    /// Gives a file another name; `false` if something of that name is there.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<bool>;
    /// Gives a file another name, replacing a file of that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a file its name.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's file system.
#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create_folder(&self, path: &Path) -> io::Result<bool> {
        unless_there(fs::create_dir(path))
    }

    fn create_file(&self, path: &Path) -> io::Result<File> {
        File::create_new(path)
    }

    fn write(&self, _path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync_file(&self, _path: &Path, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_folder(&self, _path: &Path, folder: &File) -> io::Result<()> {
        folder.sync_all()
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<bool> {
        match rename_without_replacing(from, to) {
            Some(result) => unless_there(result),
            None => link_new(from, to),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

fn unless_there(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

/// `None` where the system or the file system cannot do it.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_without_replacing(from: &Path, to: &Path) -> Option<io::Result<()>> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => None,
        result => Some(result.map_err(io::Error::from)),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_without_replacing(_from: &Path, _to: &Path) -> Option<io::Result<()>> {
    None
}

/// Renames by a second name, which the system refuses to make where there is one.
fn link_new(from: &Path, to: &Path) -> io::Result<bool> {
    if !unless_there(fs::hard_link(from, to))? {
        return Ok(false);
    }
    if let Err(error) = fs::remove_file(from) {
        // The object is there; its other name goes with the old temporary files.
        tracing::debug!(%error, "temporary file stays");
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_rename_refuse_to_replace() {
        type Rename = fn(&Path, &Path) -> io::Result<bool>;
        let ways: [Rename; 2] = [|from, to| RealDisk.rename_new(from, to), link_new];
        for rename in ways {
            let folder = tempfile::tempdir().expect("a folder");
            let (a, b, to) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("to"));
            fs::write(&a, "a").expect("written");
            fs::write(&b, "b").expect("written");
            assert!(rename(&a, &to).expect("renamed"));
            assert!(!rename(&b, &to).expect("refused"));
            assert_eq!(fs::read(&to).expect("read"), b"a");
            assert!(!a.exists() && b.exists());
        }
    }
}
