use crate::error::{Error, Result};
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use url::form_urlencoded;

/// The credentials of one attempt, and the secrets in them, which are then kept out of everything that is shown or kept.
#[derive(Default)]
pub struct Signature {
    headers: Vec<(HeaderName, HeaderValue)>,
    query: Vec<(String, SecretString)>,
    secrets: Vec<SecretString>,
}

impl Signature {
    /// Adds a header; its whole value is a secret.
    ///
    /// # Errors
    /// `Config` if a header cannot hold the name or the value.
    pub fn header(&mut self, name: &str, value: &SecretString) -> Result<()> {
        let wrong = |what| Error::config("sign request", what).with("header", name);
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("not a name of a header"))?;
        let mut content = HeaderValue::from_str(value.expose_secret())
            .map_err(|_| wrong("the secret has characters that a header cannot hold"))?;
        content.set_sensitive(true);
        self.headers.push((header, content));
        self.hide(value);
        Ok(())
    }

    /// Adds a parameter of the query; its value is a secret.
    pub fn query(&mut self, name: &str, value: &SecretString) {
        self.query.push((name.to_owned(), value.clone()));
        self.hide(value);
    }

    /// Keeps another secret out of what is shown: one that is only a part of a header, for example.
    pub fn hide(&mut self, secret: &SecretString) {
        if !secret.expose_secret().is_empty() {
            self.secrets.push(secret.clone());
            // One secret may hold another: the longer goes first.
            self.secrets.sort_by_key(|s| std::cmp::Reverse(s.expose_secret().len()));
        }
    }

    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// `url` with the parameters of the query.
    pub(crate) fn signed(&self, url: &Url) -> Url {
        let mut url = url.clone();
        if !self.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &self.query {
                pairs.append_pair(name, value.expose_secret());
            }
        }
        url
    }

    /// `url` without parameters that are a secret, or hold a long one: servers repeat them in links. A short one, such as the
    /// password `test`, may well be a part of `dataset=latest`.
    pub(crate) fn stripped(&self, mut url: Url) -> Url {
        let Some(query) = url.query() else { return url };
        let kept: Vec<_> = query.split('&').filter(|pair| !self.is_secret(pair)).collect();
        if kept.len() < query.split('&').count() {
            let kept = kept.join("&");
            url.set_query((!kept.is_empty()).then_some(kept.as_str()));
        }
        url
    }

    fn is_secret(&self, pair: &str) -> bool {
        // A plus may mean a space or itself, by who wrote the link.
        [pair.to_owned(), pair.replace('+', "%2B")].iter().any(|pair| {
            form_urlencoded::parse(pair.as_bytes()).any(|(name, value)| {
                self.query.iter().any(|(secret, _)| *secret == name)
                    || self.secrets.iter().any(|secret| {
                        let secret = secret.expose_secret();
                        value == secret || (secret.len() >= LONG && value.contains(secret))
                    })
            })
        })
    }

    /// `text` without the secrets, also where they are percent-encoded.
    pub(crate) fn redacted(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| {
            let secret = secret.expose_secret();
            let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            text.replace(secret, MASK).replace(&encoded, MASK)
        })
    }

    /// The length of the longest secret, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.secrets.first().map_or(0, |s| s.expose_secret().len())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        let query: Vec<_> = self.query.iter().map(|(name, _)| name).collect();
        f.debug_struct("Signature").field("headers", &headers).field("query", &query).finish_non_exhaustive()
    }
}

const MASK: &str = "***";
/// A secret of this many bytes is found inside of other text only if it was put there.
const LONG: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_a_secret_that_holds_another_whole_and_encoded() {
        let mut signature = Signature::default();
        signature.hide(&"abc".to_owned().into());
        signature.hide(&"abc/xyz".to_owned().into());
        assert_eq!(signature.redacted("x abc/xyz abc%2Fxyz abc y"), "x *** *** *** y");
    }

    #[test]
    fn strips_secrets_from_links_and_leaves_the_rest_as_it_is() {
        let mut signature = Signature::default();
        signature.query("key", &"s3cret".to_owned().into());
        signature.hide(&"0123456789abcdef".to_owned().into());
        let strip = |link: &str| signature.stripped(Url::parse(link).expect("a URL")).to_string();
        assert_eq!(strip("http://h/p?key=other&page=%E3%81%82+b&t=s3cret"), "http://h/p?page=%E3%81%82+b");
        assert_eq!(strip("http://h/p?key=s3cret"), "http://h/p");
        assert_eq!(strip("http://h/p?a=1&&b"), "http://h/p?a=1&&b");
        assert_eq!(strip("http://h/p?t=is-s3cret-s"), "http://h/p?t=is-s3cret-s");
        assert!(!format!("{signature:?}").contains("s3cret"));
        assert_eq!(strip("http://h/p?t=Bearer+0123456789abcdef&page=2"), "http://h/p?page=2");
    }

    #[test]
    fn a_short_secret_leaves_parameters_that_contain_it() {
        let mut signature = Signature::default();
        signature.hide(&"test".to_owned().into());
        let link = Url::parse("http://h/p?dataset=latest&page=2").expect("a URL");
        assert_eq!(signature.stripped(link.clone()), link);
    }
}
