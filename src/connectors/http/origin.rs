//! Which addresses the source may talk to: those of the origin it was configured with, and of others that were allowed.

use crate::defects::{Defect, on};
use crate::error::{Error, Result};
use reqwest::Url;

/// What a request to an origin may carry, and where it may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The credentials of the source.
    Credentials,
    /// None; the configuration names the origin.
    Named,
    /// None; only data names the origin, so it must have a public address.
    Public,
}

/// The origins that a source may talk to.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    own: Url,
    allowed: Vec<(Url, Access)>,
    public: bool,
}

impl Origins {
    /// `own` takes credentials; `public` lets data name others.
    ///
    /// # Errors
    /// `Config` for what is not an origin, or less safe than `own`.
    pub(super) fn new(own: Url, allowed: &[(String, Access)], public: bool) -> Result<Self> {
        let parse = |(text, access): &(String, Access)| {
            let wrong = |what| Error::config("build source", what).with("own", name(&own));
            let url = Url::parse(text).map_err(|e| wrong("an allowed origin cannot be read").with_source(e))?;
            let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_bare || has_user(&url) {
                return Err(wrong("an allowed origin is not scheme, host and port of http or https"));
            }
            if own.scheme() == "https" && url.scheme() != "https" {
                return Err(wrong("an allowed origin is less safe than the source's own").with("allowed", name(&url)));
            }
            Ok((url, *access))
        };
        let allowed = allowed.iter().map(parse).collect::<Result<_>>()?;
        Ok(Self { own, allowed, public })
    }

    /// Scheme, host and port of the source's own origin.
    pub(super) fn own(&self) -> String {
        self.own.origin().ascii_serialization()
    }

    /// `link` as seen from `at`, if it leads to an origin that the source may talk to.
    ///
    /// # Errors
    /// `Config` if it does not, or if it carries credentials. Nothing has been sent then.
    pub(super) fn resolve(&self, at: &Url, link: &str) -> Result<Url> {
        let url = join(at, link)?;
        self.access(&url)?;
        Ok(url)
    }

    /// What a request to `url` may carry.
    ///
    /// # Errors
    /// `Config` if nothing may be sent there.
    pub(super) fn access(&self, url: &Url) -> Result<Access> {
        let refuse = |what| {
            Error::config("follow link", what).with("origin", name(&self.own)).with("link_to", name(url)).with_hint(
                "links and redirects are followed within the configured origin only, so that no credentials go elsewhere; \
                 others can be allowed with .allow_origin(…)",
            )
        };
        if has_user(url) {
            return Err(refuse("the link carries a user or a password"));
        }
        if is_same(&self.own, url) {
            return Ok(Access::Credentials);
        }
        if let Some((_, access)) = self.allowed.iter().find(|(allowed, _)| is_same(allowed, url)) {
            return Ok(*access);
        }
        if on(Defect::LinksLeadAnywhere) {
            return Ok(Access::Credentials);
        }
        if self.public && url.scheme() == "https" {
            return Ok(Access::Public);
        }
        Err(refuse("the link leads to another origin"))
    }

    /// How a link is kept: path and query within the source's own origin, which may be reached by another name later.
    pub(super) fn kept(&self, url: &Url) -> String {
        if !is_same(&self.own, url) {
            return url.as_str().to_owned();
        }
        // Two slashes at the start would name another host.
        let path = if url.path().starts_with("//") { format!("/.{}", url.path()) } else { url.path().to_owned() };
        match url.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        }
    }
}

/// `link` as seen from `at`, wherever it leads.
///
/// # Errors
/// `Data` if it is not a URL.
pub(super) fn join(at: &Url, link: &str) -> Result<Url> {
    if link.len() > LONGEST_LINK {
        return Err(Error::data("follow link", "the link is too long").with("bytes", link.len()));
    }
    let mut url = at.join(link).map_err(|e| Error::data("follow link", "the link is not a URL").with_source(e))?;
    url.set_fragment(None);
    Ok(url)
}

fn is_same(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
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
        let at = Url::parse(at).expect("a URL");
        Origins::new(at.clone(), &[], false).expect("an origin").resolve(&at, link).map(String::from)
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
        for link in ["http://h/r?page=2", "https://h:444/r"] {
            assert_eq!(follow("https://h/r", link).expect_err("refused").kind(), crate::ErrorKind::Config);
        }
        assert!(follow("http://h/", &format!("/{}", "x".repeat(9_000))).is_err());
    }

    #[test]
    fn what_is_allowed_is_no_less_safe_and_an_origin_only() {
        let own = Url::parse("https://h/r").expect("a URL");
        for wrong in ["http://h", "https://h/path", "https://u@h", "ftp://h", "h", "https://h?q"] {
            let error = Origins::new(own.clone(), &[(wrong.to_owned(), Access::Named)], false).expect_err(wrong);
            assert_eq!(error.kind(), crate::ErrorKind::Config);
        }
        let allowed = [("https://files".to_owned(), Access::Named), ("https://eu:444".to_owned(), Access::Credentials)];
        let origins = Origins::new(own.clone(), &allowed, false).expect("origins");
        let access = |link: &str| origins.access(&Url::parse(link).expect("a URL"));
        assert_eq!(access("https://h:443/x").ok(), Some(Access::Credentials));
        assert_eq!(access("https://files/x?y").ok(), Some(Access::Named));
        assert_eq!(access("https://eu:444/x").ok(), Some(Access::Credentials));
        for refused in
            ["http://files/x", "https://files:8443/x", "https://u@files/x", "https://eu/x", "https://other/x"]
        {
            assert!(access(refused).is_err(), "{refused}");
        }
        let origins = Origins::new(own, &allowed, true).expect("origins");
        let access = |link: &str| origins.access(&Url::parse(link).expect("a URL"));
        assert_eq!(access("https://other/x").ok(), Some(Access::Public));
        assert!(access("http://other/x").is_err());
    }

    #[test]
    fn a_link_is_kept_so_that_it_leads_to_the_same_place() {
        let own = Url::parse("https://h/r").expect("a URL");
        let origins =
            Origins::new(own.clone(), &[("https://files".to_owned(), Access::Named)], false).expect("origins");
        for (link, kept) in [
            ("/a?b=c", "/a?b=c"),
            ("https://h:443/a", "/a"),
            ("/.//evil/x", "/.//evil/x"),
            ("https://files/a?b", "https://files/a?b"),
        ] {
            let url = origins.resolve(&own, link).expect("allowed");
            assert_eq!(origins.kept(&url), kept);
            assert_eq!(origins.resolve(&own, kept).expect("allowed"), url);
        }
    }
}
