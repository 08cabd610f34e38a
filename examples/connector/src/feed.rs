//! The source: a folder with one log for each station, at whose end the station writes.

use landfall::env::Env;
use landfall::model::{Page, Partition, Position, Proof, StopReason, Validity};
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::{Error, Result, async_trait};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How far the log of a station was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BytesRead(pub u64);

impl Position for BytesRead {
    fn validity(&self) -> Validity {
        // A log only grows at its end: a byte keeps its place for ever.
        Validity::Durable
    }
}

/// The logs `<station>.log` in a folder: one reading per line, as `time,celsius`.
#[derive(Clone, Debug)]
pub struct StationLogs {
    folder: PathBuf,
    page_bytes: u64,
}

impl StationLogs {
    /// Those in `folder`, in pages of up to 64 KiB.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), page_bytes: 64 << 10 }
    }

    /// In pages of up to `bytes` bytes: no line may be longer.
    #[must_use]
    pub fn page_bytes(self, bytes: u64) -> Self {
        Self { page_bytes: bytes, ..self }
    }

    /// Whole lines of a log from a byte on, up to a page of them.
    fn lines(&self, path: &Path, from: u64) -> Result<Vec<u8>> {
        let failed = |e| read_failed("read log", path, e);
        let mut log = File::open(path).map_err(failed)?;
        log.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut page = Vec::new();
        let read = log.take(self.page_bytes).read_to_end(&mut page).map_err(failed)?;
        // The last line may still be on its way: it belongs to the next run.
        page.truncate(page.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        if page.is_empty() && read as u64 == self.page_bytes {
            return Err(Error::config("read log", "a line is longer than a page")
                .with("log", path.display())
                .with("at byte", from)
                .with_hint("raise page_bytes"));
        }
        Ok(page)
    }
}

#[async_trait]
impl Source for StationLogs {
    type Item = Page; // raw bytes, to be landed before anything looks into them
    type Position = BytesRead;

    fn config(&self) -> Result<ComponentConfig> {
        if self.page_bytes == 0 {
            return Err(Error::config("station logs", "pages of no bytes hold no line").with_hint("set page_bytes"));
        }
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<BytesRead>) -> Result<()> {
        let failed = |e| read_failed("list logs", &self.folder, e);
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                if let Some(station) = path.file_stem().and_then(|name| name.to_str()) {
                    out.add(Partition::new(station)).await?; // waits until a reader is free
                }
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<BytesRead>,
        out: &mut Emitter<Page, BytesRead>,
    ) -> Result<StopReason> {
        let path = self.folder.join(format!("{}.log", partition.id));
        let mut at = from.map_or(0, |position| position.0);
        loop {
            let lines = self.lines(&path, at)?;
            if lines.is_empty() {
                // Nothing behind this: the file says so itself.
                return Ok(StopReason::Exhausted(Proof::EndOfInput));
            }
            at += lines.len() as u64;
            let records = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
            let page = Page::new(partition.id.clone(), lines, records, env.now());
            // The position *after* the page becomes durable together with it.
            out.emit(page, &BytesRead(at)).await?;
        }
    }
}

fn read_failed(operation: &'static str, path: &Path, e: std::io::Error) -> Error {
    let error = match e.kind() {
        ErrorKind::NotFound => Error::config(operation, "it is not there").with_hint("check the folder"),
        _ => Error::unavailable(operation, "the file system refuses"),
    };
    error.with("path", path.display()).with_source(e)
}
