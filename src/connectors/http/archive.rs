//! Zip archives, unpacked as they stream: the files of one, one after the other.

use super::body::Growth;
use crate::error::Error;
use async_zip::base::read::WithEntry;
use async_zip::base::read::stream::{Reading, ZipFileReader};
use async_zip::error::ZipError;
use async_zip::tokio::read::stream::Ready;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::io::AsyncReadExt;
use futures::stream::{BoxStream, StreamExt, try_unfold};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::io::{AsyncRead, BufReader};
use tokio_util::compat::Compat;

/// What to take of an archive.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// The file of this name only.
    pub(super) named: Option<Arc<str>>,
    /// Whether there may be several, which are put together, each on a line of its own.
    pub(super) several: bool,
}

type Source = BufReader<Box<dyn AsyncRead + Send + Unpin>>;

#[expect(clippy::large_enum_variant, reason = "there is one for each response")]
enum At {
    /// Between two files.
    Between(ZipFileReader<Ready<Source>>),
    /// In a file: taken, or gone over.
    In(ZipFileReader<Reading<'static, Compat<Source>, WithEntry<'static>>>, bool),
}

struct Archive {
    at: At,
    files: Files,
    growth: Growth,
    taken: u64,
    /// Bytes of headers, and of files that are not wanted.
    passed: u64,
    /// How often there was nothing to give.
    rounds: u64,
    /// Whether what has been given ends with a line end.
    ends_line: bool,
}

/// The text of the files in the archive that `inner` reads.
///
/// The list of files at its end is not needed: each file says itself how long it is, or ends by its compression. A cut
/// archive is noticed, since the list does not follow. What is gone over may be no larger than `growth` allows either.
pub(super) fn unpacked(
    inner: Box<dyn AsyncRead + Send + Unpin>,
    files: Files,
    growth: Growth,
) -> BoxStream<'static, io::Result<Bytes>> {
    let at = At::Between(ZipFileReader::with_tokio(BufReader::with_capacity(PIECE, inner)));
    let archive = Archive { at, files, growth, taken: 0, passed: 0, rounds: 0, ends_line: true };
    try_unfold(archive, Archive::guarded).boxed()
}

impl Archive {
    /// The next piece. On some archives that are not well-formed the library panics: they are damaged then as any other.
    async fn guarded(self) -> io::Result<Option<(Bytes, Self)>> {
        let next = AssertUnwindSafe(self.next()).catch_unwind().await;
        next.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a header of the archive is not well-formed"))
        })
    }

    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            match self.at {
                At::Between(reader) => {
                    let Some(file) = reader.next_with_entry().await.map_err(damaged)? else {
                        return if self.taken == 0 { Err(self.files.absent()) } else { Ok(None) };
                    };
                    let entry = file.reader().entry();
                    let name = entry.filename().as_str().map_err(damaged)?;
                    let is_wanted = !name.ends_with('/') && self.files.named.as_deref().is_none_or(|n| n == name);
                    if is_wanted && self.taken > 0 && !self.files.several {
                        return Err(refuse("the archive has several files, of which one is to be named"));
                    }
                    self.taken += u64::from(is_wanted);
                    self.passed += HEADER + name.len() as u64;
                    self.at = At::In(file, is_wanted);
                    if is_wanted && !self.ends_line {
                        self.ends_line = true;
                        return Ok(Some((Bytes::from_static(b"\n"), self)));
                    }
                }
                At::In(mut file, is_wanted) => {
                    let mut buffer = BytesMut::zeroed(PIECE);
                    let read = file.reader_mut().read(&mut buffer).await?;
                    if read == 0 {
                        let expected = file.reader().entry().crc32();
                        // It is not said before the file where it follows the file.
                        if expected != 0 && file.reader_mut().compute_hash() != expected {
                            return Err(damaged(ZipError::CRC32CheckError));
                        }
                        self.at = At::Between(file.done().await.map_err(damaged)?);
                    } else {
                        self.at = At::In(file, is_wanted);
                        buffer.truncate(read);
                        if is_wanted {
                            self.ends_line = buffer.last() == Some(&b'\n');
                            return Ok(Some((buffer.freeze(), self)));
                        }
                        self.passed += read as u64;
                    }
                }
            }
            self.growth.check(self.passed).map_err(io::Error::other)?;
            self.rounds += 1;
            if self.rounds % ROUNDS == 0 {
                // Nobody sees that it goes on: limits of time and a stop of the pipeline have their turn here.
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Files {
    fn absent(&self) -> io::Error {
        match &self.named {
            Some(name) => io::Error::other(
                Error::data("read body", "the archive has no file of the name that is asked for").with("file", name),
            ),
            None => refuse("the archive has no file"),
        }
    }
}

fn refuse(what: &'static str) -> io::Error {
    io::Error::other(Error::data("read body", what).with_hint("name the file with .zip_file(…)"))
}

/// What a cut archive looks like too, but for what is known to be something else.
fn damaged(error: ZipError) -> io::Error {
    match error {
        ZipError::UpstreamReadError(error) => error,
        ZipError::FeatureNotSupported(_) | ZipError::CompressionNotSupported(_) => io::Error::other(
            Error::data("read body", "the archive is of a kind that cannot be read").with_source(error),
        ),
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

const PIECE: usize = 64 << 10;
/// Bytes of the header of a file, without its name.
const HEADER: u64 = 30;
/// Some milliseconds of work.
const ROUNDS: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use async_zip::base::write::ZipFileWriter;
    use async_zip::{Compression, ZipEntryBuilder};

    #[tokio::test]
    async fn who_goes_over_many_files_lets_others_work_meanwhile() {
        let mut archive = ZipFileWriter::new(futures::io::Cursor::new(Vec::new()));
        for n in 0..200 {
            let folder = ZipEntryBuilder::new(format!("{n}/").into(), Compression::Stored);
            archive.write_entry_whole(folder, b"").await.expect("in memory");
        }
        let file = ZipEntryBuilder::new("a".into(), Compression::Stored);
        archive.write_entry_whole(file, b"text").await.expect("in memory");
        let archive = archive.close().await.expect("in memory").into_inner();
        let growth = Growth::new(1_000);
        let mut pieces = unpacked(Box::new(io::Cursor::new(archive)), Files::default(), growth);
        assert!(pieces.next().now_or_never().is_none(), "all in one go");
        let piece = pieces.next().await.expect("a file").expect("whole");
        assert_eq!(piece, "text");
    }
}
