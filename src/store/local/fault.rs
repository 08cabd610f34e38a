use crate::error::{Error, ErrorKind};
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// An error of the file system, met before anything happened.
pub(super) fn failed(operation: &'static str, path: &Path, e: io::Error) -> Error {
    let (kind, message, hint) = match Errno::from_io_error(&e) {
        Some(Errno::ACCESS | Errno::PERM) => {
            (ErrorKind::Config, "no permission", Some("let this process read and write all below the store's folder"))
        }
        Some(Errno::ROFS) => (
            ErrorKind::Config,
            "the file system is read-only",
            Some("mount it writable; a system that turned it read-only met a disk error: check the disk"),
        ),
        Some(Errno::NOTDIR | Errno::ISDIR | Errno::NOTEMPTY) => (
            ErrorKind::Config,
            "a name is used both for an object and for a folder",
            Some("move away what is not this store's"),
        ),
        Some(Errno::XDEV) => (
            ErrorKind::Config,
            "the store spans several file systems",
            Some("use a folder without mount points below it"),
        ),
        Some(Errno::NAMETOOLONG) => {
            (ErrorKind::Config, "the name is too long for the file system", Some("use a folder with a shorter path"))
        }
        Some(Errno::NOSPC | Errno::DQUOT) => {
            (ErrorKind::Unavailable, "no space left", Some("free space or raise the quota, then start again"))
        }
        Some(Errno::MFILE | Errno::NFILE) => {
            (ErrorKind::Unavailable, "too many open files", Some("raise the limit of open files"))
        }
        Some(Errno::IO) => {
            (ErrorKind::Unavailable, "the disk failed", Some("check the disk and the system's log, then start again"))
        }
        _ => (ErrorKind::Unavailable, "the file system failed", None),
    };
    let error = Error::new(kind, operation, message).with("path", path.display()).with_source(e);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// An error of a call that gives a name to a file, or takes it away.
pub(super) fn naming_failed(operation: &'static str, path: &Path, e: io::Error) -> Error {
    // Over a network a call may have had its effect although its answer is an error.
    match Errno::from_io_error(&e) {
        Some(Errno::IO | Errno::STALE | Errno::TIMEDOUT) => {
            Error::new(ErrorKind::Ambiguous, operation, "the disk failed while a name changed")
                .with("path", path.display())
                .with_hint("check the disk and the system's log, then start again")
                .with_source(e)
        }
        _ => failed(operation, path, e),
    }
}

/// What lies below the store's folder and is neither file nor folder.
pub(super) fn not_ours(operation: &'static str, path: &Path) -> Error {
    Error::config(operation, "a symbolic link or special file stands in the way of an object")
        .with("path", path.display())
        .with_hint("links could lead out of the store: put the file itself there, or open the folder that it leads to")
}
