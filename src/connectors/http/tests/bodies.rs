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
async fn what_is_no_page_is_an_error_and_not_an_empty_page() {
    for (reply, says) in [
        (Reply::json("<html>log in</html>").header("content-type", "text/html; charset=utf-8"), "text/html"),
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
