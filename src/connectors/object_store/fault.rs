use crate::error::{Error, ErrorKind, Status};
use crate::store::ObjectPath;
use object_store::Error as Refusal;

/// An error of an operation without effects.
pub(super) fn failed_read(operation: &'static str, path: &ObjectPath, e: Refusal) -> Error {
    let (said, cause) = (Said::of(&e), scrubbed(&e.to_string()));
    let error = match verdict(&e, &said) {
        Some(verdict) => verdict.error(operation),
        None => Error::unavailable(operation, "the store did not answer"),
    };
    error.with("name", path).with_source(cause)
}

/// An error of an operation that may have had its effect: after a timeout, or a try of which only the answer was lost.
pub(super) fn failed_write(operation: &'static str, path: &ObjectPath, e: Refusal) -> Error {
    let (said, cause) = (Said::of(&e), scrubbed(&e.to_string()));
    let error = match verdict(&e, &said) {
        // The answer is that of the last try; but what the server cannot do it could not do before.
        Some(verdict) if said.tried_again && said.status != Some(501) => Error::new(
            ErrorKind::Ambiguous,
            operation,
            "refused at last, but an earlier try of the request may have had its effect",
        )
        .with_hint(verdict.hint),
        Some(verdict) => verdict.error(operation),
        None => Error::new(ErrorKind::Ambiguous, operation, "the store did not confirm"),
    };
    error.with("name", path).with_source(cause)
}

/// That a store cannot be opened; nothing was asked of it.
#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
pub(super) fn cannot_open(address: &str, e: &Refusal) -> Error {
    Error::config("open store", "the environment lacks or garbles what the client of the store needs")
        .with("store", address)
        .with_hint("set the variables that `docs/stores.md` lists")
        .with_source(without_quotes(&scrubbed(&e.to_string())))
}

/// Whether this says that there is no object, in a store that is there.
pub(super) fn is_missing(e: &Refusal) -> bool {
    matches!(e, Refusal::NotFound { .. }) && !Said::of(e).is_one_of(NO_STORE)
}

/// Whether this may say that a range from `start` on begins behind the end of the object: from 0 on, that of an empty one does. A store that is
/// out of reach or busy is asked nothing more.
pub(super) fn may_be_behind(e: &Refusal, start: u64) -> bool {
    let said = Said::of(e);
    let is_of_the_range = said.status.map_or(!said.tried_again, |status| status == 416);
    !matches!(e, Refusal::NotFound { .. }) && (start > 0 || is_of_the_range)
}

/// What the server said, as far as the client passes it on: in words.
struct Said {
    status: Option<u16>,
    code: String,
    text: String,
    /// The client sent the request more than once.
    tried_again: bool,
}

impl Said {
    fn of(e: &Refusal) -> Self {
        let text = e.to_string();
        let between = |start: &str, end: char| {
            let rest = text.split_once(start)?.1;
            Some(rest.split(end).next().unwrap_or_default())
        };
        let code = between("<Code>", '<').or_else(|| between("(code: ", ')')).unwrap_or_default().to_owned();
        // Azure answers for each object of a batch, with the status in the place of a code.
        let status = between("status code: ", ' ').and_then(|status| status.parse().ok()).or_else(|| code.parse().ok());
        Self { status, code, tried_again: text.contains(" retries, max_retries: "), text }
    }

    fn is_one_of(&self, codes: &[&str]) -> bool {
        codes.contains(&self.code.as_str())
    }
}

/// What an answer means that says that the request was refused.
struct Verdict {
    kind: ErrorKind,
    message: &'static str,
    hint: &'static str,
    transient: bool,
}

impl Verdict {
    const fn new(kind: ErrorKind, message: &'static str, hint: &'static str) -> Self {
        Self { kind, message, hint, transient: matches!(kind, ErrorKind::Unavailable) }
    }

    fn error(&self, operation: &'static str) -> Error {
        let status = if self.transient { Status::Transient } else { Status::Permanent };
        Error::new(self.kind, operation, self.message).with_status(status).with_hint(self.hint)
    }
}

const NO_STORE: &[&str] = &["NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "AccountIsDisabled"];
const CLOCK: &[&str] = &["RequestTimeTooSkewed", "RequestExpired"];
const EXPIRED: &[&str] = &["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"];
/// Of Ceph and others, with 403; of MinIO.
const FULL: &[&str] = &["QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"];
/// Answers with 400 to requests that were cut or damaged on their way.
const DAMAGED: &[&str] = &[
    "RequestTimeout",
    "IncompleteBody",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "InternalError",
    "SlowDown",
    "Md5Mismatch",
];
const REGION: &[&str] = &["AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"];

/// What `e` means, if it says that the request was refused: `None` if it leaves open what happened.
fn verdict(e: &Refusal, said: &Said) -> Option<Verdict> {
    use ErrorKind::{Auth, Config, Unavailable};
    if said.is_one_of(CLOCK) {
        return Some(Verdict::new(
            Auth,
            "the clocks differ too much",
            "set the clock of this machine: it is signed with requests",
        ));
    }
    if said.is_one_of(EXPIRED) {
        return Some(Verdict::new(Auth, "the credentials have expired", "renew the credentials of the store"));
    }
    if said.is_one_of(FULL) || said.status == Some(507) {
        let hint = "make room, or raise the quota of the bucket or of its owner; nothing is lost, the next run goes on";
        return Some(Verdict::new(Unavailable, "the store is full", hint));
    }
    if said.is_one_of(REGION) || said.text.contains("incorrectly configured region") {
        return Some(Verdict::new(Config, "the bucket is in another region", "set the region of the bucket"));
    }
    if said.text.contains("//169.254.") || said.text.contains("//metadata.google.internal") {
        let hint =
            "set them in the environment, see `docs/stores.md`: profiles are not read; or give this machine a role";
        let verdict = Verdict::new(Auth, "no credentials, and the machine's service gives none", hint);
        return Some(Verdict { transient: true, ..verdict });
    }
    let verdict = match e {
        Refusal::PermissionDenied { .. } => PERMISSION,
        Refusal::Unauthenticated { .. } => CREDENTIALS,
        Refusal::NotFound { .. } if said.code == "NoSuchUpload" => Verdict::new(
            Unavailable,
            "the upload was ended by somebody else",
            "try again; rules should leave uploads a day",
        ),
        Refusal::NotFound { .. } => NO_SUCH_STORE,
        Refusal::NotSupported { .. } | Refusal::NotImplemented { .. } => UNABLE,
        Refusal::InvalidPath { .. } => {
            Verdict::new(Config, "the store does not take this name", "use names of the characters that it takes")
        }
        Refusal::UnknownConfigurationKey { .. } => {
            Verdict::new(Config, "the store does not know a setting", "correct the settings of the store")
        }
        Refusal::AlreadyExists { .. } | Refusal::Precondition { .. } | Refusal::NotModified { .. } => {
            Verdict::new(Unavailable, "another request is under way", "try again")
        }
        _ if said.code == "AccessDenied" => PERMISSION,
        // Where the client has no word of its own for an answer.
        _ => match said.status? {
            401 => CREDENTIALS,
            403 => PERMISSION,
            404 => NO_SUCH_STORE,
            408 | 429 => return None,
            400 if said.is_one_of(DAMAGED) => return None,
            400..=499 => Verdict::new(Config, "the store refused the request", "see what it said"),
            501 => UNABLE,
            _ => return None,
        },
    };
    Some(verdict)
}

const PERMISSION: Verdict = Verdict::new(
    ErrorKind::Auth,
    "no permission",
    "allow reading, writing, listing and deleting below the prefix; see `docs/stores.md`",
);
const CREDENTIALS: Verdict =
    Verdict::new(ErrorKind::Auth, "the credentials were refused", "renew the credentials of the store");
const NO_SUCH_STORE: Verdict = Verdict::new(
    ErrorKind::Config,
    "the store is not there",
    "check the name of the bucket or container, and its region",
);
const UNABLE: Verdict = Verdict::new(ErrorKind::Config, "the store cannot do this", "use another store");

/// A text in which every XML element of this name is empty; one that does not end is cut off.
fn without_content(text: &str, element: &str) -> String {
    let (start, end) = (format!("<{element}>"), format!("</{element}>"));
    let mut parts = text.split(&start);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let after = part.split_once(&end).map(|(_, after)| after).unwrap_or_default();
        kept.extend([&start, "…", &end, after]);
    }
    kept
}

/// A text with every URL cut after its host: what follows may be signed. What a token was refused with may be said in full by the
/// server, so that is left out.
fn scrubbed(text: &str) -> String {
    // The same in hexadecimal bytes, too.
    const TOLD: [&str; 7] = [
        "StringToSign",
        "StringToSignBytes",
        "CanonicalRequest",
        "CanonicalRequestBytes",
        "SignatureProvided",
        "Token-0",
        "AuthenticationErrorDetail",
    ];
    let mut text = text.to_owned();
    for element in TOLD {
        text = without_content(&text, element);
    }
    text.split(' ').map(without_path).collect::<Vec<_>>().join(" ")
}

fn without_path(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/…")
}

/// A text without what it quotes: parsers quote what they could not read, which may be a key.
#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
fn without_quotes(text: &str) -> String {
    let parts = text.split(['"', '`']);
    parts.enumerate().map(|(n, part)| if n % 2 == 0 { part } else { "…" }).collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::path::Path;

    fn path() -> ObjectPath {
        ObjectPath::parse("a/x").expect("a valid name")
    }

    fn refusal(make: impl FnOnce(String, Box<dyn std::error::Error + Send + Sync>) -> Refusal) -> Refusal {
        make("a/x".into(), "the server's words".into())
    }

    #[test]
    fn an_unknown_outcome_is_ambiguous_for_writes_only() {
        let unknown = || Refusal::Generic { store: "S3", source: "timed out".into() };
        assert_eq!(failed_write("put", &path(), unknown()).kind(), ErrorKind::Ambiguous);
        let read = failed_read("get", &path(), unknown());
        assert!(read.kind() == ErrorKind::Unavailable && read.is_transient() && read.to_string().contains("timed out"));
    }

    #[test]
    fn only_of_what_may_be_behind_the_end_is_more_asked() {
        let said = |text: &str| Refusal::Generic { store: "S3", source: text.to_owned().into() };
        let status = |status: u16| said(&format!("Server returned non-2xx status code: {status} of them: x"));
        for (refusal, from_0) in [
            (status(416), true),
            (said("wanted range starting at 0, but object was only 0 bytes long"), true),
            (status(503), false),
            (status(403), false),
            (said("after 10 retries, max_retries: 10, timed out"), false),
        ] {
            assert_eq!((may_be_behind(&refusal, 0), may_be_behind(&refusal, 1)), (from_0, true), "{refusal}");
        }
        assert!(!may_be_behind(&refusal(|path, source| Refusal::NotFound { path, source }), 1));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let cases = [
            (refusal(|path, source| Refusal::PermissionDenied { path, source }), ErrorKind::Auth),
            (refusal(|path, source| Refusal::Unauthenticated { path, source }), ErrorKind::Auth),
            (refusal(|path, source| Refusal::NotFound { path, source }), ErrorKind::Config),
            (refusal(|_, source| Refusal::NotSupported { source }), ErrorKind::Config),
            (Path::parse("a/../b").expect_err("invalid").into(), ErrorKind::Config),
            (refusal(|path, source| Refusal::Precondition { path, source }), ErrorKind::Unavailable),
        ];
        for (refusal, kind) in cases {
            let said = refusal.to_string();
            let error = failed_write("put", &path(), refusal);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.hint().is_some() && error.to_string().contains(&said), "{error}");
        }
    }

    #[test]
    fn a_store_without_room_says_so() {
        let quota = "status code: 403 Forbidden: <Error><Code>QuotaExceeded</Code></Error>";
        let full = "status code: 507 Insufficient Storage: x";
        for refusal in [
            Refusal::PermissionDenied { path: "a/x".into(), source: quota.into() },
            Refusal::Generic { store: "S3", source: full.into() },
        ] {
            let error = failed_write("put", &path(), refusal);
            assert!(
                error.kind() == ErrorKind::Unavailable && error.to_string().contains("the store is full"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_error_holds_no_signed_url() {
        let text =
            "Error performing PUT https://me:pw@x.example/c/a?sig=SECRET&se=1 in 2s: https://y.example?sig=SECRET.";
        let error = failed_write("put", &path(), Refusal::Generic { store: "Azure", source: text.into() }).to_string();
        assert!(!error.contains("SECRET") && !error.contains("pw"), "{error}");
        assert!(error.contains("PUT https://x.example/… in 2s"), "{error}");
    }

    #[test]
    fn an_error_holds_nothing_that_was_signed() {
        let text = "403: <Code>ExpiredToken</Code><Token-0>SECRET</Token-0><StringToSign>a SECRET\nb</StringToSign><a>b</a>\
                    <CanonicalRequestBytes>SECRET</CanonicalRequestBytes><CanonicalRequestBytes>SECRET";
        let error = failed_read("get", &path(), Refusal::Generic { store: "S3", source: text.into() });
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(!error.to_string().contains("SECRET") && error.to_string().contains("<a>b</a>"), "{error}");
    }

    #[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
    #[test]
    fn a_store_that_cannot_be_opened_keeps_its_keys() {
        let text = "invalid type: string \"SECRET\", expected struct at `SECRET`, line 1";
        let error = cannot_open("gs://lake", &Refusal::Generic { store: "GCS", source: text.into() }).to_string();
        assert!(
            !error.contains("SECRET") && error.contains("expected struct") && error.contains("gs://lake"),
            "{error}"
        );
    }
}
