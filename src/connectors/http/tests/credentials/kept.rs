//! Refresh tokens that change with each use.

use super::*;
use crate::store::Store;

/// A token endpoint that gives a new refresh token for each one, and takes each once. It forgives a client that lost an answer: the last
/// used one is taken again as long as the new one was not.
async fn rotating() -> Server {
    let newest = AtomicU64::new(0);
    Server::start(move |got| {
        if got.path() != "/token" {
            return page([1], "null");
        }
        let n = newest.load(Ordering::SeqCst);
        let used = form(got).get("refresh_token").cloned().unwrap_or_default();
        if used != format!("r{n}") && (n == 0 || used != format!("r{}", n - 1)) {
            return Reply::status(400, r#"{"error":"invalid_grant"}"#);
        }
        let next = if used == format!("r{n}") { n + 1 } else { n };
        newest.store(next, Ordering::SeqCst);
        Reply::json(format!(r#"{{"access_token":"a{next}","refresh_token":"r{next}"}}"#))
    })
    .await
}

/// A store that fails when it is told to, before or after it has kept.
#[derive(Debug)]
struct Shaky {
    inner: KeptToken,
    fail: AtomicU64,
}

const BEFORE: u64 = 1;
const AFTER: u64 = 2;

#[async_trait::async_trait]
impl TokenStore for Shaky {
    async fn load(&self) -> Result<Option<SecretString>> {
        self.inner.load().await
    }

    async fn keep(&self, text: &SecretString) -> Result<()> {
        let fail = self.fail.load(Ordering::SeqCst);
        if fail == BEFORE {
            return Err(
                Error::new(ErrorKind::Unavailable, "keep token", "crash").with_status(crate::error::Status::Permanent)
            );
        }
        self.inner.keep(text).await?;
        if fail == AFTER {
            return Err(Error::new(ErrorKind::Ambiguous, "keep token", "crash"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_rotated_refresh_token_is_kept_before_what_came_with_it_is_used() {
    for fail in [BEFORE, AFTER] {
        let server = rotating().await;
        let store = Store::memory();
        let kept = || KeptToken::in_store(&store, "tokens/api").expect("a name");
        let auth = |shaky: u64| {
            let shaky = Shaky { inner: kept(), fail: AtomicU64::new(shaky) };
            OAuth2::refresh_token(server.url("/token"), "me", "r0").kept_in(shaky)
        };
        let run = async |shaky| read(&by_cursor(&server).auth(auth(shaky)).build().expect("a source"), None).await;
        // It crashes while the token is being kept: nothing was signed with what came.
        let brought = run(fail).await;
        assert!(brought.end.is_err());
        assert_eq!(server.targets(), ["/token"], "{fail}");
        // The next run goes on with what is there, and so does the one after.
        for _ in 0..2 {
            assert_eq!(run(0).await.records(), ids([1]));
        }
        let used: Vec<_> = server
            .seen()
            .iter()
            .filter(|got| got.path() == "/token")
            .map(|got| form(got)["refresh_token"].clone())
            .collect();
        match fail {
            BEFORE => assert_eq!(used, ["r0", "r0", "r1"]),
            _ => assert_eq!(used, ["r0", "r1", "r2"]),
        }
    }
}

#[tokio::test]
async fn what_could_not_be_kept_is_kept_before_the_next_use() {
    let server = rotating().await;
    let store = Store::memory();
    let kept = KeptToken::in_store(&store, "tokens/api").expect("a name");
    let shaky = Arc::new(Shaky { inner: kept.clone(), fail: AtomicU64::new(BEFORE) });
    #[derive(Debug)]
    struct Shared(Arc<Shaky>);
    #[async_trait::async_trait]
    impl TokenStore for Shared {
        async fn load(&self) -> Result<Option<SecretString>> {
            self.0.load().await
        }
        async fn keep(&self, text: &SecretString) -> Result<()> {
            self.0.keep(text).await
        }
    }
    let auth = OAuth2::refresh_token(server.url("/token"), "me", "r0").kept_in(Shared(Arc::clone(&shaky)));
    let rest = by_cursor(&server).auth(auth).build().expect("a source");
    assert!(read(&rest, None).await.end.is_err());
    shaky.fail.store(0, Ordering::SeqCst);
    assert_eq!(read(&rest, None).await.records(), ids([1]));
    let used: Vec<_> = server
        .seen()
        .iter()
        .filter(|got| got.path() == "/token")
        .map(|got| form(got)["refresh_token"].clone())
        .collect();
    assert_eq!(used, ["r0", "r1"]);
}

#[tokio::test]
async fn another_process_may_have_used_the_refresh_token() {
    let server = rotating().await;
    let folder = tempfile::tempdir().expect("a folder");
    let new = || {
        let auth = OAuth2::refresh_token(server.url("/token"), "me", "r0")
            .kept_in(KeptToken::in_file(folder.path().join("token")));
        by_cursor(&server).auth(auth).build().expect("a source")
    };
    let (one, other) = (new(), new());
    for rest in [&one, &other, &other, &one] {
        assert_eq!(read(rest, None).await.records(), ids([1]));
    }
    // A new consent takes the place of what is kept.
    let auth = OAuth2::refresh_token(server.url("/token"), "me", "of another consent")
        .kept_in(KeptToken::in_file(folder.path().join("token")));
    let brought = read(&by_cursor(&server).auth(auth).build().expect("a source"), None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Auth);
    assert_eq!(form(server.seen().last().expect("asked"))["refresh_token"], "of another consent");
}
