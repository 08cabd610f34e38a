//! Which addresses the source may talk to: only those of the origin it was configured with.

use crate::error::{Error, Result};
use reqwest::Url;

/// `link` as seen from `at`, if it leads to the origin of `at`.
///
/// # Errors
/// `Config` if it leads elsewhere or carries credentials. Nothing has been sent then.
pub(super) fn resolve(at: &Url, link: &str) -> Result<Url> {
    if link.len() > LONGEST_LINK {
        return Err(Error::data("follow link", "the link is too long").with("bytes", link.len()));
    }
    resolve_to(at, at, link)
}

/// `link` as seen from `at`, if it leads to `origin`.
///
/// # Errors
/// As [`resolve`].
pub(super) fn resolve_to(origin: &Url, at: &Url, link: &str) -> Result<Url> {
    let mut url = at.join(link).map_err(|e| Error::data("follow link", "the link is not a URL").with_source(e))?;
    url.set_fragment(None);
    check(origin, &url)?;
    Ok(url)
}

/// Whether `url` has the scheme, host and port of `origin`, and no credentials.
pub(super) fn check(origin: &Url, url: &Url) -> Result<()> {
    let refuse = |what| {
        Error::config("follow link", what).with("origin", name(origin)).with("link_to", name(url)).with_hint(
            "links and redirects are followed within the configured origin only, so that no credentials go elsewhere",
        )
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("the link carries a user or a password"));
    }
    if origin.scheme() != url.scheme()
        || origin.host() != url.host()
        || origin.port_or_known_default() != url.port_or_known_default()
    {
        return Err(refuse("the link leads to another origin"));
    }
    Ok(())
}

/// Path and query: the origin is that of the source.
pub(super) fn relative(url: &Url) -> String {
    // Two slashes at the start would name another host.
    let path = if url.path().starts_with("//") { format!("/.{}", url.path()) } else { url.path().to_owned() };
    match url.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

/// Scheme, host and port, without anything that may be a secret.
fn name(url: &Url) -> String {
    let host = url.host_str().unwrap_or("no host");
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{}://{host}{port}", url.scheme())
}

const LONGEST_LINK: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(at: &str, link: &str) -> Result<String> {
        resolve(&Url::parse(at).expect("a URL"), link).map(String::from)
    }

    #[test]
    fn keeps_port_and_percent_encoding_of_a_relative_link() {
        let next = follow("http://h:8080/api/r", "/api/r?page=2&query=%E3%81%82").expect("same origin");
        assert_eq!(next, "http://h:8080/api/r?page=2&query=%E3%81%82");
        assert_eq!(follow("http://h/r?page=1&limit=10", "?sort=asc#x").expect("same origin"), "http://h/r?sort=asc");
        assert_eq!(follow("https://h/r", "https://h:443/s").expect("same origin"), "https://h/s");
    }

    #[test]
    fn refuses_every_other_origin_and_tells_no_secret() {
        let links = [
            "https://api.test/next?token=s3cret",
            "http://evil.test/next?token=s3cret",
            "//evil.test/next",
            "/\\evil.test/next",
            "http://api.test:81/next",
            "http://api.test./next",
            "http://api.test@evil.test/next",
            "http://169.254.169.254/latest",
            "http://user:s3cret@api.test/next",
            "file:///etc/passwd",
        ];
        for link in links {
            let error = follow("http://api.test/r", link).expect_err(link).to_string();
            assert!(!error.contains("s3cret") && !error.contains("passwd"), "{error}");
        }
        assert!(follow("http://h/", &format!("/{}", "x".repeat(9_000))).is_err());
    }
}
