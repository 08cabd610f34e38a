//! The body of a response: decompressed as it streams, never beyond its limits.

use super::archive::{Files, unpacked};
use super::client::failed;
use super::limits::Limits;
use super::status::quoted;
use crate::error::{Error, Result, Status};
use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{BoxStream, Stream, StreamExt};
use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, TRANSFER_ENCODING};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;

/// The pieces of a body, decompressed.
pub(super) struct Body {
    pieces: Pieces,
    growth: Growth,
    given: u64,
}

/// How much larger than on the wire a body may become.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    /// Bytes that have come on the wire.
    wire: Arc<AtomicU64>,
    ratio: u64,
}

impl Growth {
    pub(super) fn new(ratio: u64) -> Self {
        Self { wire: Arc::default(), ratio }
    }

    /// # Errors
    /// `Data` if what has come may not become so many bytes.
    pub(super) fn check(&self, bytes: u64) -> Result<()> {
        let wire = self.wire.load(Ordering::Relaxed).max(SMALL);
        if bytes / wire > self.ratio {
            return Err(too_large("the body grows too much when it is decompressed", self.ratio));
        }
        Ok(())
    }
}

enum Pieces {
    AsTheyCome(BoxStream<'static, io::Result<Bytes>>),
    Decoded(Box<dyn AsyncRead + Send + Unpin>),
}

impl Body {
    /// The body of `response`, of at most `wire` bytes on the wire; of an archive its `files`.
    ///
    /// # Errors
    /// `Data` for an encoding that is not known.
    pub(super) async fn open(response: Response, limits: &Limits, wire: u64, files: &Files) -> Result<Self> {
        let headers = response.headers().get_all(CONTENT_ENCODING).iter();
        let encodings: Vec<String> = headers.map(|h| h.to_str().unwrap_or("not text").to_owned()).collect();
        let pieces = response.bytes_stream().map(|piece| piece.map_err(|e| failed("read body", e)));
        Self::decoded(pieces, &encodings, limits, wire, files).await
    }

    /// The same of a body that comes in `pieces`, with these headers of its encoding.
    pub(super) async fn decoded<T: AsRef<str> + Sync>(
        pieces: impl Stream<Item = Result<Bytes>> + Send + 'static,
        encodings: &[T],
        limits: &Limits,
        wire: u64,
        files: &Files,
    ) -> Result<Self> {
        let mut codings = codings(encodings)?;
        let growth = Growth::new(limits.ratio);
        let counter = Arc::clone(&growth.wire);
        let mut stream = pieces
            .map(move |piece| {
                let piece = piece.map_err(io::Error::other)?;
                let total = counter.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
                metrics::counter!("landfall_http_body_bytes_total").increment(piece.len() as u64);
                if total > wire {
                    return Err(io::Error::other(too_large("the body is larger than its limit on the wire", wire)));
                }
                Ok(piece)
            })
            .boxed();

        let mut first = BytesMut::new();
        while first.len() < MARK {
            match stream.next().await {
                Some(piece) => first.extend_from_slice(&piece.map_err(from_io)?),
                None => break,
            }
        }
        let first = first.freeze();
        let mut outermost = next_coding(&mut codings, &first);
        let stream = futures::stream::iter([Ok(first)]).chain(stream).boxed();
        let pieces = if outermost.is_none() {
            Pieces::AsTheyCome(stream)
        } else {
            let mut reader: Box<dyn AsyncRead + Send + Unpin> = Box::new(StreamReader::new(stream));
            let mut times = 0;
            while let Some(coding) = outermost {
                times += 1;
                if times > MOST_CODINGS {
                    return Err(too_many(times));
                }
                reader = coding.decode(reader, files, &growth);
                let first = begin(&mut reader).await?;
                outermost = next_coding(&mut codings, &first);
                reader = Box::new(io::Cursor::new(first).chain(reader));
            }
            Pieces::Decoded(reader)
        };
        Ok(Self { pieces, growth, given: 0 })
    }

    /// Bytes that have come on the wire.
    pub(super) fn came(&self) -> u64 {
        self.growth.wire.load(Ordering::Relaxed)
    }

    /// The next piece, or `None` at the end. Not cancel-safe: a piece may be lost.
    ///
    /// # Errors
    /// `Unavailable`, transient, if the body breaks off; `Data` if it is larger than it may be.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>> {
        let piece = match &mut self.pieces {
            Pieces::AsTheyCome(stream) => stream.next().await.transpose().map_err(from_io)?,
            Pieces::Decoded(reader) => {
                let mut buffer = BytesMut::with_capacity(PIECE);
                let read = reader.read_buf(&mut buffer).await.map_err(from_io)?;
                (read > 0).then(|| buffer.freeze())
            }
        };
        self.given += piece.as_ref().map_or(0, |p| p.len() as u64);
        self.growth.check(self.given)?;
        Ok(piece)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("given", &self.given).finish_non_exhaustive()
    }
}

/// The first bytes of what `reader` gives: enough to tell a coding by.
async fn begin(reader: &mut (impl AsyncRead + Unpin)) -> Result<Bytes> {
    let mut first = BytesMut::with_capacity(MARK);
    while first.len() < MARK && reader.read_buf(&mut (&mut first).limit(MARK)).await.map_err(from_io)? > 0 {}
    Ok(first.freeze())
}

/// Whether the transport shows where the body ends. Without that, a cut stream looks like a whole one.
pub(super) fn end_is_known(response: &Response) -> bool {
    response.content_length().is_some()
        || response.version() >= reqwest::Version::HTTP_2
        || is_chunked(response.headers())
}

/// Whether the last transfer coding is `chunked`. After any other the body ends with the connection (RFC 9112, 6.3).
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let codings = last.and_then(|value| value.to_str().ok()).unwrap_or_default();
    codings.rsplit(',').next().is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

pub(super) fn too_large(what: &'static str, limit: u64) -> Error {
    Error::data("read body", what).with("limit", limit).with_hint("raise the limit if such responses are meant to be")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Zstd,
    Brotli,
    /// Never declared: an archive is told by its mark.
    Zip,
}

impl Coding {
    fn decode(
        self,
        inner: Box<dyn AsyncRead + Send + Unpin>,
        files: &Files,
        growth: &Growth,
    ) -> Box<dyn AsyncRead + Send + Unpin> {
        if self == Self::Zip {
            return Box::new(StreamReader::new(unpacked(inner, files.clone(), growth.clone())));
        }
        let inner = tokio::io::BufReader::with_capacity(PIECE, inner);
        match self {
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(inner);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
            Self::Deflate => Box::new(ZlibDecoder::new(inner)),
            Self::Zstd => {
                let mut decoder = ZstdDecoder::with_params(inner, &[DParameter::window_log_max(ZSTD_WINDOW_LOG)]);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
            Self::Brotli | Self::Zip => Box::new(BrotliDecoder::new(inner)),
        }
    }

    /// Whether a body can begin with `first`, which is shorter than a mark only if the body is.
    fn can_begin(self, first: &[u8]) -> bool {
        let marked = |mark: &[u8]| first.starts_with(mark) || mark.starts_with(first);
        match self {
            Self::Gzip => marked(&[0x1f, 0x8b]),
            // A frame, or one that a decoder must skip.
            Self::Zstd => marked(&[0x28, 0xb5, 0x2f, 0xfd]) || matches!(first, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]),
            Self::Deflate => match first {
                [method, flags, ..] => method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0,
                _ => true,
            },
            // It has no mark.
            Self::Brotli => true,
            Self::Zip => first.starts_with(b"PK\x03\x04"),
        }
    }
}

/// The declared codings, in the order in which they were put on.
fn codings(headers: &[impl AsRef<str>]) -> Result<Vec<Coding>> {
    let mut codings = Vec::new();
    for header in headers {
        for name in header.as_ref().split(',').map(str::trim).filter(|n| !n.is_empty()) {
            codings.push(match name.to_ascii_lowercase().as_str() {
                "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "zstd" => Coding::Zstd,
                "br" => Coding::Brotli,
                _ => {
                    let what = "the body has an encoding that is not known";
                    return Err(Error::data("read body", what).with("encoding", quoted(name)));
                }
            });
        }
    }
    if codings.len() > MOST_CODINGS {
        return Err(too_many(codings.len()));
    }
    Ok(codings)
}

/// The coding that a body really has which begins with `first`: the last of those declared, or one that shows by its mark.
/// Servers and proxies get the header wrong, and many put one coding more on it than they say.
fn next_coding(declared: &mut Vec<Coding>, first: &[u8]) -> Option<Coding> {
    if first.is_empty() {
        return None;
    }
    match declared.pop() {
        Some(coding) if coding.can_begin(first) => return Some(coding),
        // If this one is not there, neither are those below it.
        Some(_) => declared.clear(),
        None => {}
    }
    let marked = [Coding::Gzip, Coding::Zstd, Coding::Zip];
    marked.into_iter().find(|coding| first.len() > 1 && coding.can_begin(first))
}

fn too_many(times: usize) -> Error {
    Error::data("read body", "the body is encoded too many times").with("times", times)
}

/// An error of ours that came through a reader, or damage that a decoder found: the latter is what a cut body looks like.
fn from_io(e: io::Error) -> Error {
    e.downcast::<Error>().unwrap_or_else(|e| {
        Error::data("read body", "the compressed body is damaged or cut").with_status(Status::Transient).with_source(e)
    })
}

pub(super) const ACCEPTED: &str = "gzip, zstd, br, deflate";
const MOST_CODINGS: usize = 2;
/// Bytes that tell a coding.
const MARK: usize = 4;
const PIECE: usize = 64 << 10;
/// Below this many bytes on the wire the ratio says nothing.
const SMALL: u64 = 1 << 10;
/// 8 MiB, as RFC 9659 has it.
const ZSTD_WINDOW_LOG: u32 = 23;

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn only_chunks_as_the_last_coding_show_the_end() {
        for (codings, chunked) in [
            (&["chunked"][..], true),
            (&["gzip, Chunked "], true),
            (&["gzip", "chunked"], true),
            (&["gzip"], false),
            (&["identity"], false),
            (&["chunked, gzip"], false),
            (&["chunked", "gzip"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for coding in codings {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            assert_eq!(is_chunked(&headers), chunked, "{codings:?}");
        }
    }
}
