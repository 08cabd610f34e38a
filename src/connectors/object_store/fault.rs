use crate::error::{Error, ErrorKind};
use crate::store::ObjectPath;
use object_store::Error as Refusal;

/// An error of an operation without effects.
pub(super) fn failed_read(operation: &'static str, path: &ObjectPath, e: Refusal) -> Error {
    match refused(operation, path, e) {
        Ok(error) => error,
        Err(e) => {
            Error::unavailable(operation, "the store did not answer").with("name", path).with_source(scrubbed(&e))
        }
    }
}

/// An error of an operation that may have had its effect: after a timeout, or a try of which only the answer was lost.
pub(super) fn failed_write(operation: &'static str, path: &ObjectPath, e: Refusal) -> Error {
    match refused(operation, path, e) {
        Ok(error) => error,
        Err(e) => Error::new(ErrorKind::Ambiguous, operation, "the store did not confirm")
            .with("name", path)
            .with_source(scrubbed(&e)),
    }
}

/// An error that says that the request was refused; any other error is given back.
fn refused(operation: &'static str, path: &ObjectPath, e: Refusal) -> Result<Error, Refusal> {
    let (kind, message, hint) = match &e {
        Refusal::PermissionDenied { .. } => {
            (ErrorKind::Auth, "no permission", "allow reading, writing, listing and deleting below the prefix")
        }
        Refusal::Unauthenticated { .. } => {
            (ErrorKind::Auth, "the credentials were refused", "renew the credentials of the store")
        }
        Refusal::NotFound { .. } => {
            (ErrorKind::Config, "the store is not there", "check the name of the bucket or container, and its region")
        }
        Refusal::NotSupported { .. } | Refusal::NotImplemented { .. } => {
            (ErrorKind::Config, "the store cannot do this", "use another store")
        }
        Refusal::InvalidPath { .. } => {
            (ErrorKind::Config, "the store does not take this name", "use names of the characters that it takes")
        }
        Refusal::UnknownConfigurationKey { .. } => {
            (ErrorKind::Config, "the store does not know a setting", "correct the settings of the store")
        }
        Refusal::AlreadyExists { .. } | Refusal::Precondition { .. } | Refusal::NotModified { .. } => {
            (ErrorKind::Unavailable, "another request is under way", "try again")
        }
        _ => return Err(e),
    };
    Ok(Error::new(kind, operation, message).with("name", path).with_hint(hint).with_source(scrubbed(&e)))
}

/// The text of an error and its causes, with every URL cut after its host: what follows may be signed.
fn scrubbed(e: &Refusal) -> String {
    e.to_string().split(' ').map(without_path).collect::<Vec<_>>().join(" ")
}

fn without_path(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/…")
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
    fn an_error_holds_no_signed_url() {
        let text =
            "Error performing PUT https://me:pw@x.example/c/a?sig=SECRET&se=1 in 2s: https://y.example?sig=SECRET.";
        let error = failed_write("put", &path(), Refusal::Generic { store: "Azure", source: text.into() }).to_string();
        assert!(!error.contains("SECRET") && !error.contains("pw"), "{error}");
        assert!(error.contains("PUT https://x.example/… in 2s"), "{error}");
    }
}
