//! The table of outcomes in the documentation of `connectors::object_store`, row by row.

use crate::server::{Fault, Operation, Server};
use crate::{gcs, path, s3};
use bytes::Bytes;
use landfall::store::{Created, ObjectPath, Store};
use landfall::{Error, ErrorKind};

const SLOW: Fault = Fault::Refused(503, "<Error><Code>SlowDown</Code></Error>");
const BROKEN: Fault = Fault::Refused(500, "<Error><Code>InternalError</Code></Error>");
const LOST: Fault = Fault::Lost(500, "<Error><Code>InternalError</Code></Error>");
const DENIED: Fault = Fault::Refused(403, "<Error><Code>AccessDenied</Code></Error>");
const SKEWED: Fault = Fault::Refused(403, "<Error><Code>RequestTimeTooSkewed</Code></Error>");
const EXPIRED: Fault = Fault::Refused(400, "<Error><Code>ExpiredToken</Code><Token-0>SECRET-KEY</Token-0></Error>");
const NO_BUCKET: Fault = Fault::Refused(404, "<Error><Code>NoSuchBucket</Code></Error>");
const CONFLICT: Fault = Fault::Refused(409, "<Error><Code>ConditionalRequestConflict</Code></Error>");
const TIMED_OUT: Fault = Fault::Refused(400, "<Error><Code>RequestTimeout</Code></Error>");
const INVALID: Fault = Fault::Refused(400, "<Error><Code>InvalidRequest</Code></Error>");
const REGION: Fault = Fault::Refused(400, "<Error><Code>AuthorizationHeaderMalformed</Code></Error>");
const MOVED: Fault = Fault::Refused(301, "<Error><Code>PermanentRedirect</Code></Error>");
const UNABLE: Fault = Fault::Refused(501, "<Error><Code>NotImplemented</Code></Error>");

async fn on_s3() -> (Server, Store) {
    let server = Server::start().await;
    let store = s3(&server);
    (server, store)
}

/// Checks kind and whether trying again may help, and that nothing secret is said.
#[track_caller]
fn is(error: &Error, kind: ErrorKind, transient: bool, case: &str) {
    assert_eq!((error.kind(), error.is_transient()), (kind, transient), "{case}: {error}");
    let said = format!("{error} {error:?}");
    assert!(!said.contains("SECRET-KEY"), "{case}: {said}");
}

/// The client tries a create again after a 500, and the second try finds what the first has written.
#[tokio::test]
async fn a_create_whose_answer_is_lost_finds_itself() {
    for store_of in [s3, gcs] {
        let server = Server::start().await;
        let store = store_of(&server);
        server.will(Operation::Create, [LOST]);
        assert_eq!(store.create(&path("chain/1"), "mine".into()).await.expect("an answer"), Created::Exists);
        assert_eq!(store.get(&path("chain/1"), None).await.expect("read back"), Some("mine".into()));
        assert_eq!(server.count(Operation::Create), 2);
    }
}

/// A conflict says only that another one was under way: it may fail yet.
#[tokio::test]
async fn a_create_in_conflict_is_read_back() {
    let (server, store) = on_s3().await;
    server.will(Operation::Create, [CONFLICT]);
    assert_eq!(store.create(&path("chain/1"), "mine".into()).await.expect("an answer"), Created::Exists);
    assert_eq!(store.get(&path("chain/1"), None).await.expect("read back"), None);
    assert_eq!(store.create(&path("chain/1"), "mine".into()).await.expect("again"), Created::New);
}

#[tokio::test]
async fn a_create_is_refused_or_open() {
    use ErrorKind::{Ambiguous, Auth, Config};
    let cases = [
        ("three times slow", vec![SLOW, SLOW, SLOW], Ambiguous),
        ("damaged on its way", vec![TIMED_OUT], Ambiguous),
        ("cut", vec![Fault::Cut; 3], Ambiguous),
        ("denied", vec![DENIED], Auth),
        ("denied after a try that may have worked", vec![BROKEN, DENIED], Ambiguous),
        ("wrong clock", vec![SKEWED], Auth),
        ("expired", vec![EXPIRED], Auth),
        ("no bucket", vec![NO_BUCKET], Config),
        ("invalid", vec![INVALID], Config),
        ("another region", vec![REGION], Config),
        ("moved", vec![MOVED], Config),
        ("not implemented", vec![UNABLE; 3], Config),
    ];
    for (case, faults, kind) in cases {
        let (server, store) = on_s3().await;
        server.will(Operation::Create, faults);
        let answer = store.create(&path("chain/1"), "mine".into()).await;
        match answer {
            // The connection was cut after the effect: a client that tries again finds itself.
            Ok(Created::Exists) if case == "cut" => {}
            answer => is(&answer.expect_err(case), kind, false, case),
        }
    }
}

#[tokio::test]
async fn what_the_errors_say_helps() {
    let (server, store) = on_s3().await;
    for (fault, word) in [(SKEWED, "clock"), (EXPIRED, "renew"), (MOVED, "region"), (NO_BUCKET, "bucket")] {
        server.will(Operation::Put, [fault]);
        let error = store.put(&path("x"), "1".into()).await.expect_err("refused").to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[tokio::test]
async fn a_put_is_tried_again_and_open_if_that_does_not_help() {
    let (server, store) = on_s3().await;
    server.will(Operation::Put, [SLOW, LOST]);
    store.put(&path("x"), "1".into()).await.expect("the third try");
    server.will(Operation::Put, [SLOW, SLOW, SLOW]);
    is(&store.put(&path("x"), "2".into()).await.expect_err("slow"), ErrorKind::Ambiguous, false, "slow");
    server.will(Operation::Put, [CONFLICT]);
    is(&store.put(&path("x"), "2".into()).await.expect_err("conflict"), ErrorKind::Unavailable, true, "conflict");
}

#[tokio::test]
async fn a_read_has_no_doubts() {
    use ErrorKind::{Auth, Config, Unavailable};
    let cases = [
        ("slow", vec![SLOW, SLOW, SLOW], Unavailable),
        ("damaged on its way", vec![TIMED_OUT], Unavailable),
        ("denied after a retry", vec![SLOW, DENIED], Auth),
        ("expired", vec![EXPIRED], Auth),
        ("no bucket", vec![NO_BUCKET], Config),
        ("another region", vec![REGION], Config),
    ];
    for (case, faults, kind) in cases {
        let (server, store) = on_s3().await;
        server.holds("x", b"1");
        server.will(Operation::Get, faults.clone());
        let error = store.get(&path("x"), None).await.expect_err(case);
        is(&error, kind, kind == Unavailable, case);
        server.will(Operation::List, faults);
        let error = store.list(&ObjectPath::root()).await.expect_err(case);
        is(&error, kind, kind == Unavailable, case);
    }
}

/// A store that is gone is not an empty store: a chain would begin anew.
#[tokio::test]
async fn a_missing_bucket_is_not_a_missing_object() {
    let (server, store) = on_s3().await;
    assert_eq!(store.get(&path("x"), None).await.expect("no object"), None);
    server.will(Operation::Get, [NO_BUCKET]);
    is(&store.get(&path("x"), None).await.expect_err("no bucket"), ErrorKind::Config, false, "get");
    server.will(Operation::Delete, [NO_BUCKET]);
    is(&store.delete(&path("x")).await.expect_err("no bucket"), ErrorKind::Config, false, "delete");
}

#[tokio::test]
async fn a_body_that_ends_early_is_never_taken_for_the_object() {
    let (server, store) = on_s3().await;
    let content = vec![7; 100_000];
    server.holds("x", &content);
    server.will(Operation::Get, vec![Fault::Half; 12]);
    match store.get(&path("x"), None).await {
        Ok(found) => assert_eq!(found.expect("it is there"), content),
        Err(error) => is(&error, ErrorKind::Unavailable, true, "half"),
    }
}

#[tokio::test]
async fn a_listing_of_many_pages_is_whole() {
    let (server, store) = on_s3().await;
    for n in 0..23 {
        server.holds(&format!("a/{n:02}"), b"1");
    }
    server.will(Operation::List, [SLOW]);
    let listed = store.list(&path("a")).await.expect("list");
    assert_eq!(listed.len(), 23);
}

async fn large(store: &Store) -> Result<u64, Error> {
    let mut upload = store.upload(&path("large")).await?;
    upload.write(Bytes::from(vec![7; 9 << 20])).await?;
    upload.finish().await
}

/// S3 answers 200 before an upload is put together, and says in the body if that fails.
#[tokio::test]
async fn a_finish_looks_into_the_body() {
    let (server, store) = on_s3().await;
    server.will(Operation::Complete, [Fault::Refused(200, "<Error><Code>InternalError</Code></Error>")]);
    assert_eq!(large(&store).await.expect("the second try"), 9 << 20);
    server.will(Operation::Complete, [Fault::Refused(200, "<Error><Code>Odd</Code></Error>")]);
    is(&large(&store).await.expect_err("it failed"), ErrorKind::Ambiguous, false, "an odd error");
}

/// The second try of a finish that has worked is told that there is no such upload.
#[tokio::test]
async fn a_finish_whose_answer_is_lost_is_open() {
    for store_of in [s3, gcs] {
        let server = Server::start().await;
        let store = store_of(&server);
        server.will(Operation::Complete, [LOST]);
        is(&large(&store).await.expect_err("open"), ErrorKind::Ambiguous, false, "finish");
        assert_eq!(server.object("large").expect("it is there").len(), 9 << 20);
    }
}

#[tokio::test]
async fn a_part_of_an_upload_that_was_ended_is_tried_with_another_upload() {
    let (server, store) = on_s3().await;
    server.will(Operation::Part, [Fault::Refused(404, "<Error><Code>NoSuchUpload</Code></Error>")]);
    is(&large(&store).await.expect_err("ended"), ErrorKind::Unavailable, true, "part");
    assert_eq!(server.object("large"), None);
    large(&store).await.expect("another upload");
}

/// What an upload leaves that fails, or is given up, is cleared away.
#[tokio::test]
async fn an_upload_that_is_given_up_leaves_no_parts() {
    for store_of in [s3, gcs] {
        let server = Server::start().await;
        let store = store_of(&server);
        server.will(Operation::Part, [DENIED]);
        is(&large(&store).await.expect_err("denied"), ErrorKind::Auth, false, "part");
        server.no_uploads().await;
        let mut upload = store.upload(&path("large")).await.expect("upload");
        upload.write(Bytes::from(vec![7; 9 << 20])).await.expect("write");
        drop(upload);
        server.no_uploads().await;
        assert_eq!(server.count(Operation::Abort), 2);
    }
}

/// S3 answers 200 to a copy, too, before it is done; and the client takes errors that it does not know for success.
#[tokio::test]
async fn a_rename_deletes_nothing_that_was_not_copied() {
    let (server, store) = on_s3().await;
    server.holds("from", b"new");
    server.holds("to", b"old");
    server.will(Operation::Copy, [Fault::Refused(200, "<Error><Code>AccessDenied</Code></Error>")]);
    let error = store.rename(&path("from"), &path("to")).await.expect_err("nothing was copied");
    is(&error, ErrorKind::Unavailable, true, "copy");
    assert_eq!((server.object("from"), server.object("to")), (Some(b"new".to_vec()), Some(b"old".to_vec())));
    server.will(Operation::Copy, [Fault::Refused(200, "<Error><Code>AccessDenied</Code></Error>")]);
    let error = store.rename(&path("from"), &path("fresh")).await.expect_err("nothing was copied");
    is(&error, ErrorKind::Unavailable, true, "copy to a new name");
    assert_eq!((server.object("from"), server.object("fresh")), (Some(b"new".to_vec()), None));

    server.will(Operation::Copy, [Fault::Refused(200, "<Error><Code>InternalError</Code></Error>"), LOST]);
    assert!(store.rename(&path("from"), &path("to")).await.expect("the third try"));
    assert_eq!((server.object("from"), server.object("to")), (None, Some(b"new".to_vec())));
}

/// A crash between copy and delete: the copy is there, with the tag of the source.
#[tokio::test]
async fn a_rename_is_done_again_after_a_crash() {
    let (server, store) = on_s3().await;
    server.holds("from", b"new");
    server.holds("to", b"new");
    server.will(Operation::Copy, [Fault::Lost(200, "<CopyObjectResult></CopyObjectResult>")]);
    assert!(store.rename(&path("from"), &path("to")).await.expect("rename"));
    assert!(!store.rename(&path("from"), &path("to")).await.expect("it was moved"));
}

#[tokio::test]
async fn a_delete_looks_into_the_body() {
    let (server, store) = on_s3().await;
    let said = |body| Fault::Refused(200, body);
    let denied =
        "<DeleteResult><Error><Key>x</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>";
    server.will(Operation::Delete, [said(denied)]);
    is(&store.delete(&path("x")).await.expect_err("denied"), ErrorKind::Auth, false, "denied");
    let broken =
        "<DeleteResult><Error><Key>x</Key><Code>InternalError</Code><Message>-</Message></Error></DeleteResult>";
    server.will(Operation::Delete, [said(broken)]);
    is(&store.delete(&path("x")).await.expect_err("broken"), ErrorKind::Ambiguous, false, "broken");
    store.delete(&path("x")).await.expect("it is no error if there is none");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let (server, store) = on_s3().await;
    drop(server);
    let error = store.get(&path("x"), None).await.expect_err("nobody listens");
    is(&error, ErrorKind::Unavailable, true, "get");
}
