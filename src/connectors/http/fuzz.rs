//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::WaitFrom;
use super::archive::Files;
use super::auth::KeptRecord;
use super::body::Body;
use super::detect::{Detected, more};
use super::limits::Limits;
use super::origin::{Access, Origins};
use super::pagination::{Answer, At, Cursor, Keyset, LinkHeader, NextUrl, Offset, PageNumber, Paginate, Place, target};
use super::position::RestPosition;
use super::rules::{Rules, Told};
use super::status;
use super::template::{changes_path, path_segment};
use crate::error::{Error, Result};
use crate::json::{ValuePath, field};
use crate::model::Timestamp;
use crate::records::RecordsPath;
use bytes::Bytes;
use futures::stream;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

const OWN: &str = "https://api.example.com/v1/orders?page=1";

/// A link leads to an origin that is allowed, or nowhere; and what is kept of it leads to the same place.
pub(crate) fn link(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let own = Url::parse(OWN).map_err(|e| Error::bug("fuzz", "a URL").with_source(e))?;
    let allowed = [("https://files.example.com".to_owned(), Access::Named)];
    let origins = Origins::new(own.clone(), &allowed, false)?;
    let follow = |link: &str| {
        let url = origins.resolve(&own, link)?;
        assert!(matches!(url.host_str(), Some("api.example.com" | "files.example.com")), "{url}");
        assert!(url.scheme() == "https" && url.port().is_none() && url.username().is_empty(), "{url}");
        assert_eq!(origins.access(&url)? == Access::Credentials, url.host_str() == own.host_str());
        assert_eq!(origins.resolve(&own, &origins.kept(&url))?, url, "it is kept as another one");
        Ok(())
    };
    let header = target(&[&text], "next").and_then(|target| target.map_or(Ok(()), follow));
    follow(&text).or(header)
}

/// A value never leaves its segment of a path.
pub(crate) fn template(bytes: &[u8]) -> Result<()> {
    let value = String::from_utf8_lossy(bytes);
    let segment = path_segment(&value);
    let url = |value: &str| format!("https://api.example.com/a/{value}/b?c");
    let filled = url(&segment);
    let at = Url::parse(&filled).map_err(|e| Error::bug("fuzz", "a URL").with_source(e))?;
    assert_eq!((at.host_str(), at.query()), (Some("api.example.com"), Some("c")));
    if !changes_path(&filled, &url("x")) {
        assert_eq!(at.path(), format!("/a/{segment}/b"));
    }
    Ok(())
}

/// A wait is at most a day, wherever it is said: in a header, or in what follows its line.
pub(crate) fn wait(bytes: &[u8]) -> Result<()> {
    let (header, body) = bytes.split_at(bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len()));
    let mut headers = HeaderMap::new();
    for name in [RETRY_AFTER, DATE] {
        if let Ok(value) = HeaderValue::from_bytes(header) {
            headers.insert(name, value);
        }
    }
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let waits = [
        WaitFrom::header("retry-after").epoch(),
        WaitFrom::header("retry-after").millis().regex("[0-9]+"),
        WaitFrom::body("$.wait"),
        WaitFrom::header("retry-after"),
    ];
    for from in 0..waits.len() {
        let rules = Rules::compile(&[], waits.get(from..).unwrap_or_default())?;
        let wait = rules.wait(&Told::new(429, &headers, body), now);
        assert!(wait.is_none_or(|wait| wait <= Duration::from_secs(24 * 3_600)), "{wait:?}");
    }
    Ok(())
}

/// A kept token is read as it was kept. What cannot be read is not shown.
pub(crate) fn token(bytes: &[u8]) -> Result<()> {
    let text: SecretString = String::from_utf8_lossy(bytes).into_owned().into();
    let again = KeptRecord::parse(&text)?.to_text();
    assert_eq!(KeptRecord::parse(&again)?.to_text().expose_secret(), again.expose_secret());
    Ok(())
}

/// What an API says of its export jobs.
pub(crate) fn export(bytes: &[u8]) -> Result<()> {
    super::export::fuzzed(bytes)
}

/// What a token endpoint or a login answers.
pub(crate) fn credentials(bytes: &[u8]) -> Result<()> {
    super::auth::fuzzed(bytes)
}

/// The values of a cursor field.
pub(crate) fn cursor(bytes: &[u8]) -> Result<()> {
    super::incremental::fuzzed(bytes)
}

/// What the key file of a service account says.
pub(crate) fn key_file(bytes: &[u8]) -> Result<()> {
    super::auth::key_file(bytes)
}

/// What a page says of the listing is understood or refused, by each way to the next page; and what a first response shows is told. Headers are in
/// the first line.
pub(crate) fn page(bytes: &[u8]) -> Result<()> {
    let (header, body) = bytes.split_at(bytes.iter().position(|b| *b == b'\n').unwrap_or(0));
    let mut headers = HeaderMap::new();
    for name in ["link", "x-next", "x-total"] {
        if let Ok(value) = HeaderValue::from_bytes(header) {
            headers.insert(name, value);
        }
    }
    let ways: [Box<dyn Paginate>; 8] = [
        Box::new(Cursor::at("$.next").query("cursor").has_more("$.more")),
        Box::new(Cursor::at("$.next").body("$.cursor").stop_when("$.last == true")),
        Box::new(Cursor::in_header("x-next").query("cursor")),
        Box::new(NextUrl::at("$.next")),
        Box::new(LinkHeader::new()),
        Box::new(Offset::query("offset").total(Place::header("x-total"))),
        Box::new(PageNumber::query("page").total_pages("$.pages")),
        Box::new(Keyset::of("id").query("after")),
    ];
    let mut read = Err(Error::data("read page", "nothing leads on"));
    for way in &ways {
        let places = way.values();
        let value = |place: &Place| match place {
            Place::Body(path) => Some(ValuePath::parse(path).and_then(|path| field(body, &path))),
            Place::Header(_) => None,
        };
        let values: Result<Vec<Option<&[u8]>>> = places.iter().filter_map(value).collect();
        let values = match values {
            Ok(values) => values.into_iter().map(|raw| raw.map(|raw| String::from_utf8_lossy(raw).into_owned())),
            Err(error) => {
                read = read.or(Err(error));
                continue;
            }
        };
        for (is_first, records) in [(true, 2), (false, 2), (false, 0)] {
            let answer = Answer {
                places: &places,
                values: &values.clone().collect::<Vec<_>>(),
                around: body,
                last: (records > 0).then_some(body),
                headers: &headers,
                is_first,
                records,
                again: 0,
                largest: 2,
                so_far: 4,
            };
            read = read.or(way.claims(&answer).and_then(|_| way.next(&At::First, &answer)).map(drop));
        }
    }
    let shown = String::from_utf8_lossy(header);
    let detected = Detected::from_response([("link", &*shown), ("x-total-count", &*shown)], body);
    let more = more(&headers, body, 2);
    assert!(more.is_none_or(|more| more.len() <= body.len() + 64));
    read.or(detected.map(|detected| assert!(!detected.to_string().is_empty())))
}

/// A position is the same when it is kept and read again.
pub(crate) fn position(bytes: &[u8]) -> Result<()> {
    let read = |text: &[u8]| {
        serde_json::from_slice::<RestPosition>(text)
            .map_err(|e| Error::corrupt("read position", "it does not parse").with_source(e))
    };
    let position = read(bytes)?;
    let text = serde_json::to_vec(&position).map_err(|e| Error::bug("fuzz", "JSON").with_source(e))?;
    assert_eq!(read(&text)?, position);
    Ok(())
}

/// What is not what it should be is told, by its type or its beginning.
pub(crate) fn response(bytes: &[u8]) -> Result<()> {
    let (kind, body) = bytes.split_at(bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len()));
    let mut read = Err(Error::data("read page", "nothing is read"));
    for path in ["$[*]", "ndjson", "csv", "/r/i"] {
        let path = RecordsPath::parse(path)?;
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(kind) {
            headers.insert(CONTENT_TYPE, value);
        }
        let looked = status::check_type(&headers, &path).and(status::check_begin(body, &path));
        read = read.or(looked.and(status::check_first_line(body)).and(status::check_last_line(body)));
    }
    read
}

/// A body is read to its end within its limits, whatever it is said to be encoded with and however it comes.
pub(crate) async fn body(bytes: &[u8]) -> Result<()> {
    const CODINGS: &[&str] = &["", "gzip", "zstd", "br", "deflate", "gzip, gzip", "br, zstd", "identity, x-gzip"];
    let [coding, size, wire @ ..] = bytes else { return Ok(()) };
    let coding = CODINGS.get(usize::from(*coding) % CODINGS.len()).copied().unwrap_or_default();
    let limits = Limits::default().with_ratio(20);
    let pieces: Vec<_> = wire.chunks(usize::from(*size) + 1).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let files = Files { named: None, several: true };
    let mut body = Body::decoded(stream::iter(pieces), &[coding], &limits, 1 << 16, &files).await?;
    let mut given = 0;
    while let Some(piece) = body.piece().await? {
        given += piece.len();
        assert!(given <= wire.len().max(1 << 10) * 21 + (64 << 10), "{given} bytes of {}", wire.len());
    }
    Ok(())
}
