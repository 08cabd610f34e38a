use super::*;
use crate::error::Status;
use crate::retry::Policy;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use tokio::io::AsyncWriteExt;

const BODY: &str = "{\"data\":[{\"id\":1},{\"id\":2}]}";

macro_rules! encoded {
    ($encoder:ident, $body:expr) => {{
        let mut encoder = $encoder::new(Vec::new());
        encoder.write_all($body).await.expect("in memory");
        encoder.shutdown().await.expect("in memory");
        encoder.into_inner()
    }};
}

async fn read_one(limits: Limits, reply: Reply) -> Brought {
    let server = Server::start(move |_| reply.clone()).await;
    let rest = Rest::get(server.url("/r")).records("$.data[*]").limits(limits);
    read(&rest.retry(Policy::default().with_attempts(2)).build().expect("a source"), None).await
}

#[tokio::test]
async fn lands_the_decompressed_body() {
    for (coding, body) in [
        ("gzip", encoded!(GzipEncoder, BODY.as_bytes())),
        ("x-gzip", encoded!(GzipEncoder, BODY.as_bytes())),
        ("deflate", encoded!(ZlibEncoder, BODY.as_bytes())),
        ("zstd", encoded!(ZstdEncoder, BODY.as_bytes())),
        ("br", encoded!(BrotliEncoder, BODY.as_bytes())),
        ("zstd, gzip", encoded!(GzipEncoder, &encoded!(ZstdEncoder, BODY.as_bytes()))),
        ("identity", BODY.as_bytes().to_vec()),
        // The header is wrong about it.
        ("gzip, gzip", encoded!(GzipEncoder, BODY.as_bytes())),
        ("zstd, gzip", encoded!(GzipEncoder, BODY.as_bytes())),
        ("gzip, gzip", BODY.as_bytes().to_vec()),
        ("gzip", BODY.as_bytes().to_vec()),
        ("deflate", BODY.as_bytes().to_vec()),
        ("zstd", BODY.as_bytes().to_vec()),
        ("identity", encoded!(GzipEncoder, BODY.as_bytes())),
    ] {
        for reply in
            [Reply::json(body.clone()), Reply::json(body.clone()).chunked(true), Reply::json(body).until_close()]
        {
            let brought = read_one(patient(), reply.header("content-encoding", coding)).await;
            assert_eq!(brought.stopped(), &StopReason::Exhausted(crate::model::Proof::WholeResponse));
            assert_eq!(brought.pages()[0].body, BODY, "{coding}");
        }
    }
}

#[tokio::test]
async fn puts_a_large_body_together_again() {
    let records: Vec<String> = (0..100_000).map(|n| format!("{{\"id\":{n},\"é\":\"{n:x}\"}}")).collect();
    let body = format!("{{\"data\":[{}]}}", records.join(","));
    let zipped = encoded!(GzipEncoder, body.as_bytes());
    for reply in [Reply::json(body.clone()).chunked(true), Reply::json(zipped).header("content-encoding", "gzip")] {
        let brought = read_one(patient(), reply).await;
        assert!(brought.pages()[0].body == body);
        assert!(brought.records() == records);
    }
}

#[tokio::test]
async fn a_cut_body_is_a_fault_wherever_it_is_cut() {
    let zipped = encoded!(GzipEncoder, BODY.as_bytes());
    let mut replies = Vec::new();
    for end in 1..BODY.len() {
        replies.extend([
            Reply::json(BODY).cut_at(end),
            Reply::json(&BODY[..end]).chunked(false),
            Reply::json(&BODY[..end]).until_close(),
            Reply::json(&BODY[..end]),
            Reply::json(&zipped[..end.min(zipped.len() - 1)]).header("content-encoding", "gzip"),
        ]);
    }
    let count = replies.len();
    let server = Server::start(move |got| replies[got.path()[1..].parse::<usize>().expect("a number")].clone()).await;
    let rest = Rest::get(server.url("/{n}")).records("$.data[*]").limits(patient());
    let rest = (0..count).fold(rest, |rest, n| rest.partition(n.to_string(), [("n", n.to_string())]));
    let rest = rest.retry(Policy::default().with_attempts(1)).build().expect("a source");
    for partition in list_partitions(&rest, &Env::system()).await.expect("listed") {
        let brought = read_partition(&rest, &partition, None).await;
        assert!(brought.emitted.is_empty());
        assert_eq!(brought.error().status(), Status::Exhausted, "{}: {}", partition.id, brought.error());
    }
}

#[tokio::test]
async fn json_may_be_called_html_but_lines_may_not() {
    let reply = Reply::json(BODY).header("content-type", "text/html; charset=utf-8");
    assert!(read_one(patient(), reply).await.end.is_ok());
    let server = Server::start(|_| Reply::json("{\"id\":1}\n").header("content-type", "text/html")).await;
    let lines = Rest::get(server.url("/r")).records("ndjson").limits(patient()).build().expect("a source");
    assert_eq!(read(&lines, None).await.error().kind(), ErrorKind::Data);
}

#[tokio::test]
async fn what_is_no_page_is_an_error_and_not_an_empty_page() {
    for (reply, says) in [
        (Reply::json("<html>log in</html>").header("content-type", "text/html; charset=utf-8"), "HTML"),
        (Reply::json("Please log in").header("content-type", "text/html"), "at"),
        (Reply::json("  <!doctype html>"), "HTML"),
        (Reply::json("id,name\n1,a").header("content-type", "text/csv"), "text/csv"),
        (Reply::json(r#"{"error":"quota"}"#), "error"),
        (Reply::json(r#"{"data":"gone"}"#), "a string"),
        (Reply::json(""), "no body"),
        (Reply::json(" \n"), "no body"),
        (Reply::json(format!("{BODY} {BODY}")), "follows"),
        (Reply::json(BODY).header("content-encoding", "compress"), "compress"),
        (Reply::json(BODY).header("content-encoding", "gzip, gzip, gzip"), "too many"),
        (Reply::json(b"{\"data\":[\"\xff\"]}".as_slice()), "UTF-8"),
        (Reply::json(format!("{{\"data\":{}", "[".repeat(200_000))), "too deep"),
    ] {
        let brought = read_one(patient(), reply).await;
        assert!(brought.emitted.is_empty());
        assert!(brought.error().to_string().contains(says), "{says}: {}", brought.error());
        assert!(matches!(brought.error().kind(), ErrorKind::Data | ErrorKind::Unavailable));
    }
}

#[tokio::test]
async fn types_of_json_and_general_types_are_looked_at() {
    for kind in
        ["application/json; charset=utf-8", "application/vnd.api+json", "text/plain", "application/octet-stream", ""]
    {
        assert_eq!(read_one(patient(), Reply::json(BODY).header("content-type", kind)).await.records(), ids(1..=2));
    }
}

#[tokio::test]
async fn a_null_in_the_place_of_the_records_is_an_empty_page() {
    let brought = read_one(patient(), Reply::json(r#"{"data":null}"#)).await;
    assert!(brought.stopped().is_complete());
    assert_eq!((brought.pages().len(), brought.records().len()), (1, 0));
}

#[tokio::test]
async fn stops_a_body_that_is_larger_than_its_limits() {
    let large = format!("{{\"data\":[\"{}\"]}}", "x".repeat(3 << 20));
    let bomb = encoded!(GzipEncoder, large.as_bytes());
    let double = encoded!(GzipEncoder, &bomb);
    assert!(bomb.len() < 10_000);
    for (limits, reply) in [
        (patient().with_body(1 << 20, 4 << 20), Reply::json(large.clone())),
        (patient().with_body(1 << 20, 4 << 20), Reply::json(large.clone()).chunked(true)),
        (patient().with_body(4 << 20, 1 << 20), Reply::json(large.clone())),
        (patient().with_body(4 << 20, 1 << 20), Reply::json(bomb.clone()).header("content-encoding", "gzip")),
        // Within the limit of the body, but far beyond the ratio.
        (patient(), Reply::json(double).header("content-encoding", "gzip, gzip")),
    ] {
        let brought = read_one(limits, reply).await;
        assert!(brought.emitted.is_empty());
        assert_eq!((brought.error().kind(), brought.error().status()), (ErrorKind::Data, Status::Permanent));
        assert!(brought.error().to_string().contains("limit"), "{}", brought.error());
    }
}

/// The same records in each format, and what to call it.
const FORMATS: [(&str, &str); 3] =
    [("$.data[*]", BODY), ("ndjson", "{\"id\":1}\n{\"id\":2}\n"), ("csv", "id,name\n1,\"a\nb\"\n2,\u{e9}\n")];

/// Whatever the header says of a body and whatever it really is, the text that was meant is landed.
#[tokio::test]
async fn bodies_are_what_they_are_whatever_their_header_says() {
    for (records, text) in FORMATS {
        let gzip = encoded!(GzipEncoder, text.as_bytes());
        let twice = encoded!(GzipEncoder, &gzip);
        let zstd = encoded!(ZstdEncoder, text.as_bytes());
        let members =
            [encoded!(GzipEncoder, &text.as_bytes()[..5]), encoded!(GzipEncoder, &text.as_bytes()[5..])].concat();
        for (declared, body) in [
            ("gzip", gzip.clone()),
            ("gzip, gzip", twice.clone()),
            // A proxy has put on one more, or taken one off.
            ("gzip", twice.clone()),
            ("", twice),
            ("gzip, gzip", gzip.clone()),
            ("", gzip.clone()),
            ("identity", gzip.clone()),
            ("gzip", text.as_bytes().to_vec()),
            ("gzip, gzip", text.as_bytes().to_vec()),
            ("zstd", gzip.clone()),
            ("gzip", zstd.clone()),
            ("", zstd.clone()),
            ("gzip", members),
            ("zstd", zstd),
            ("deflate", encoded!(ZlibEncoder, text.as_bytes())),
            ("br", encoded!(BrotliEncoder, text.as_bytes())),
            ("br, gzip", encoded!(GzipEncoder, &encoded!(BrotliEncoder, text.as_bytes()))),
            ("", zip(&[("a.txt", text, true)]).await),
            ("gzip", encoded!(GzipEncoder, &zip(&[("a.txt", text, false)]).await)),
        ] {
            // Pieces of one byte, and in one.
            for reply in [Reply::json(body.clone()), Reply::json(body).one_by_one()] {
                let reply = if declared.is_empty() { reply } else { reply.header("content-encoding", declared) };
                let server = Server::start(move |_| reply.clone().header("content-type", "text/plain")).await;
                let rest = Rest::get(server.url("/r")).records(records).limits(patient());
                let rest = rest.retry(Policy::default().with_attempts(1)).build().expect("a source");
                let brought = read(&rest, None).await;
                assert!(brought.end.is_ok(), "{records} {declared}: {:?}", brought.end);
                assert_eq!(brought.pages()[0].body, text, "{records} {declared}");
                assert_eq!(brought.pages()[0].records, 2, "{records} {declared}");
            }
        }
        // Nothing is nothing, however it is declared.
        for declared in ["gzip", "zstd", "br", "deflate", "identity"] {
            let reply = Reply::json("").header("content-encoding", declared).header("content-type", "text/plain");
            let server = Server::start(move |_| reply.clone()).await;
            let rest = Rest::get(server.url("/r")).records(records).limits(patient());
            let rest = rest.retry(Policy::default().with_attempts(1)).build().expect("a source");
            let brought = read(&rest, None).await;
            assert!(brought.error().to_string().contains("no body"), "{declared}: {}", brought.error());
        }
    }
}

/// A zip archive of files, compressed or not, with a folder before them.
async fn zip(files: &[(&str, &str, bool)]) -> Vec<u8> {
    use async_zip::base::write::ZipFileWriter;
    use async_zip::{Compression, ZipEntryBuilder};
    let mut archive = ZipFileWriter::new(futures::io::Cursor::new(Vec::new()));
    let folder = ZipEntryBuilder::new("folder/".into(), Compression::Stored);
    archive.write_entry_whole(folder, b"").await.expect("in memory");
    for (name, text, compressed) in files {
        let compression = if *compressed { Compression::Deflate } else { Compression::Stored };
        let entry = ZipEntryBuilder::new((*name).into(), compression);
        archive.write_entry_whole(entry, text.as_bytes()).await.expect("in memory");
    }
    archive.close().await.expect("in memory").into_inner()
}

#[tokio::test]
async fn files_of_an_archive_are_taken_one_after_the_other_or_by_name() {
    let read = |records: &str, named: Option<&str>, body: Vec<u8>| {
        let (records, named) = (records.to_owned(), named.map(str::to_owned));
        async move {
            let server =
                Server::start(move |_| Reply::json(body.clone()).header("content-type", "application/zip")).await;
            let rest = Rest::get(server.url("/r")).records(records).limits(patient());
            let rest = if let Some(name) = named { rest.zip_file(name) } else { rest };
            read(&rest.retry(Policy::default().with_attempts(1)).build().expect("a source"), None).await
        }
    };
    let lines = zip(&[("a", "{\"id\":1}", true), ("b", "{\"id\":2}\n", false), ("c", "{\"id\":3}\n", true)]).await;
    assert_eq!(read("ndjson", None, lines.clone()).await.records(), ids(1..=3));
    assert_eq!(read("ndjson", Some("b"), lines.clone()).await.records(), ids(2..=2));
    let documents = zip(&[("a", "[{\"id\":1}]", true), ("b", "[{\"id\":2}]", true)]).await;
    assert_eq!(read("$[*]", Some("b"), documents.clone()).await.records(), ids(2..=2));
    for (records, named, body, says) in [
        ("$[*]", None, documents.clone(), "several files"),
        ("csv", None, documents, "several files"),
        ("ndjson", Some("x"), lines, "no file of the name"),
        ("ndjson", None, zip(&[]).await, "no file"),
    ] {
        let brought = read(records, named, body).await;
        assert!(brought.error().to_string().contains(says), "{says}: {}", brought.error());
    }
    // Cut anywhere, or changed, it is never whole.
    let whole = zip(&[("a", "[{\"id\":1},{\"id\":2},{\"id\":3}]", true), ("b/", "", false)]).await;
    let list = whole.windows(4).position(|w| w == b"PK\x01\x02").expect("a list of files");
    for end in (6..list + 4).step_by(7) {
        let brought = read("$[*]", None, whole[..end].to_vec()).await;
        assert!(brought.end.is_err() && brought.emitted.is_empty(), "{end}");
    }
    let mut changed = zip(&[("a", "[{\"id\":1},{\"id\":2}]", false)]).await;
    let at = changed.windows(7).position(|w| w == b"{\"id\":2").expect("stored") + 6;
    changed[at] = b'9';
    assert!(read("$[*]", None, changed).await.end.is_err(), "the checksum is another one");
}

/// Bombs are refused by ratio, by size and by how often they are encoded, in every format and at flat memory.
#[tokio::test]
async fn bombs_are_refused_whatever_they_are_wrapped_in() {
    for (records, begin, line) in
        [("$.data[*]", "{\"data\":[", "{\"id\":1},"), ("ndjson", "", "{\"id\":1}\n"), ("csv", "id\n", "1\n")]
    {
        let text = format!("{begin}{}", line.repeat((2 << 20) / line.len()));
        let gzip = encoded!(GzipEncoder, text.as_bytes());
        let limits = patient().with_part(100_000).with_ratio(50);
        for (body, says) in [
            (gzip.clone(), "limit=`50`"),
            (encoded!(GzipEncoder, &gzip), "limit=`50`"),
            (zip(&[("a", &text, true)]).await, "limit=`50`"),
            // What nobody asked for, before what is given.
            (encoded!(GzipEncoder, &zip(&[("a/", &text, true), ("b", line, false)]).await), "limit=`50`"),
            (encoded!(GzipEncoder, &encoded!(GzipEncoder, &encoded!(GzipEncoder, b"x"))), "too many times"),
        ] {
            let server = Server::start(move |_| Reply::json(body.clone()).header("content-type", "text/plain")).await;
            let rest = Rest::get(server.url("/r")).records(records).limits(limits);
            let brought = read(&rest.build().expect("a source"), None).await;
            assert_eq!((brought.error().kind(), brought.error().status()), (ErrorKind::Data, Status::Permanent));
            assert!(brought.error().to_string().contains(says), "{says}: {}", brought.error());
            assert!(brought.emitted.iter().all(|e| e.position.is_none()));
        }
    }
}

/// `null` in the place of the records on the last page is no records, and a clean end.
#[tokio::test]
async fn a_last_page_with_null_for_records_ends_without_error() {
    for last in [r#"{"data":null,"next":null}"#, r#"{"data":null}"#, "{\"next\":null,\"data\":\n null }"] {
        let server = Server::start(move |got| match got.parameter("cursor") {
            None => page([1, 2], "\"a\""),
            Some(_) => Reply::json(last),
        })
        .await;
        let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
        assert_eq!(brought.stopped(), &StopReason::Exhausted(crate::model::Proof::NoNextPage));
        assert_eq!((brought.records(), brought.pages().len()), (ids(1..=2), 2));
    }
}
