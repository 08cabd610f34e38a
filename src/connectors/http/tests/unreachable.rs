//! APIs that cannot be reached, that never answer, or that take their time.

use super::authority::{Authority, server_with};
use super::*;
use crate::error::Status;
use crate::retry::Policy;
use std::sync::atomic::AtomicBool;

const CANARY: &str = "s3cret-canary-7";

/// A source of `origin` with secrets at every place of its requests.
fn secretive(origin: &str) -> RestBuilder {
    let url = format!("{origin}/r?key={CANARY}");
    Rest::get(url).header("x-key", CANARY).auth(Bearer::new(CANARY)).limits(patient())
}

/// The error tells where it was to go and what to do, and no secret.
fn tells(error: &Error, origin: &str, hint: &str) {
    let (_, host) = origin.split_once("://").expect("a scheme");
    let text = error.to_string();
    assert!(text.contains(host) && text.contains("GET /r"), "{text}");
    assert!(error.hint().is_some_and(|told| told.contains(hint)), "{hint}: {text}");
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(e) = cause {
        assert!(!format!("{e} {e:?}").contains("canary"), "{e:?}");
        cause = e.source();
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_accepted_is_told_by_its_fault_and_not_tried_again() {
    let (ours, other) = (Authority::named("ours"), Authority::named("another"));
    for (certificate, hint) in [
        (ours.certify_for_years("127.0.0.1", 2_019, 2_020), "has expired"),
        (ours.certify_for_years("127.0.0.1", 3_000, 3_001), "not valid yet"),
        (ours.certify("api.example"), "other names"),
        (other.certify("127.0.0.1"), "Tls::trust"),
    ] {
        let (server, connections) = server_with(certificate, None).await;
        // By the library's own verifier, and by that of the system.
        for tls in [Tls::new().trust(ours.pem()).only(), Tls::new().trust(ours.pem())] {
            let before = connections.load(Ordering::SeqCst);
            let brought = read(&secretive(&server.url("")).tls(tls).build().expect("a source"), None).await;
            let error = brought.error();
            assert_eq!((error.kind(), error.status()), (ErrorKind::Unavailable, Status::Permanent), "{error}");
            tells(error, &server.url(""), hint);
            assert_eq!(connections.load(Ordering::SeqCst) - before, 1, "{hint}: once");
            assert!(server.seen().is_empty(), "nothing is sent");
        }
    }
    let (server, _) = server_with(ours.certify("127.0.0.1"), None).await;
    let rest = Rest::get(server.url("/r")).limits(patient()).tls(Tls::new().trust(ours.pem()).only());
    assert_eq!(read(&rest.build().expect("a source"), None).await.records(), ["1"]);
}

#[tokio::test]
async fn a_host_that_nobody_knows_is_named_and_asked_for_again() {
    // RFC 6761, 6.4: there is no such host.
    let origin = "https://no-such-host.invalid";
    let rest = secretive(origin).retry(Policy::default().with_attempts(2)).build().expect("a source");
    let brought = read(&rest, None).await;
    let error = brought.error();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Unavailable, Status::Exhausted), "{error}");
    tells(error, origin, "DNS");
}

/// A clock whose limits of time pass once something has happened.
#[derive(Debug)]
struct PassesOnce(Arc<AtomicBool>);

impl Clock for PassesOnce {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(START)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        let has_happened = Arc::clone(&self.0);
        async move {
            while !has_happened.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_server_that_takes_a_request_and_never_answers_is_given_up() {
    let asked = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&asked);
    let server = Server::start(move |_| {
        heard.store(true, Ordering::SeqCst);
        page([1], "null").cut_head_at(0).silent()
    })
    .await;
    let rest = secretive(&server.url("")).retry(Policy::default().with_attempts(2)).build().expect("a source");
    let env = Env::deterministic(Arc::new(PassesOnce(asked)), Arc::new(Dice::default()));
    let (emitted, end) = read_in(&env, &rest, &listed(&rest).await[0].clone(), None).await;
    let error = end.expect_err("there is no answer");
    assert_eq!((error.kind(), error.status()), (ErrorKind::Unavailable, Status::Exhausted), "{error}");
    assert!(error.to_string().contains("no answer in time"), "{error}");
    tells(&error, &server.url(""), "limit `idle`");
    assert!(emitted.is_empty() && !server.seen().is_empty());
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_handed_on_while_it_comes() {
    const PART: usize = 2_000;
    let lines: String = (0..3_000).map(|n| format!("{{\"id\":{n},\"pad\":\"xxxx\"}}\n")).collect();
    let (all, sent) = (lines.len(), lines.len() - 500);
    // It never comes to its end.
    for reply in
        [Reply::json(lines.clone()).silent_at(sent), Reply::json(lines).one_by_one().slowly().silent_at(sent * 6)]
    {
        let server = Server::start(move |_| reply.clone()).await;
        let rest = Rest::get(server.url("/r")).records("ndjson").limits(patient().with_part(PART as u64));
        let rest = rest.build().expect("a source");
        let (queue, mut emissions) = mpsc::channel(1);
        let (_stop, stopped) = watch::channel(false);
        let all_of_it = Partition::new("all");
        // Room for no more than a few parts.
        let room = Arc::new(Semaphore::new(6 * PART));
        let mut out = Emitter::new(all_of_it.clone(), room, 6 * PART as u64, queue, stopped);
        let env = Env::deterministic(Arc::new(SlowestClock), Arc::new(Dice::default()));
        let reading = rest.read(&env, &all_of_it, None, &mut out);
        let taking = async {
            let mut came = 0;
            // What is held back is a part and what has begun of the next one.
            while came < sent - 2 * PART {
                let emission: Emission<Page> = emissions.recv().await.expect("the read goes on");
                let page = emission.item.expect("a part");
                assert!(page.body.len() <= PART + 1_000, "{}", page.body.len());
                came += page.body.len();
            }
            came
        };
        tokio::select! {
            end = reading => panic!("it has no end: {end:?}"),
            came = taking => assert!(came < all),
        }
    }
}

/// A clock on which no time passes.
#[derive(Debug)]
struct SlowestClock;

impl Clock for SlowestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(START)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        futures::future::pending().boxed()
    }
}
