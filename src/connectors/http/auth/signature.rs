use crate::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use reqwest::Url;
use reqwest::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::time::Duration;
use url::form_urlencoded;

/// The credentials of one attempt, and the secrets in them, which are then kept out of everything that is shown or kept.
#[derive(Clone, Default)]
pub struct Signature {
    headers: Vec<(HeaderName, HeaderValue)>,
    query: Vec<(String, SecretString)>,
    cookies: Vec<String>,
    secrets: Vec<SecretString>,
    wait: Option<Duration>,
    /// The query to send in place of the request's, where the signature is over a certain way of writing.
    rewritten: Option<String>,
    /// Which of a pool signed.
    pub(super) member: Option<usize>,
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

    /// Adds `token` as a bearer token (RFC 6750, 2.1).
    ///
    /// # Errors
    /// `Config` if a header cannot hold it.
    pub fn bearer(&mut self, token: &SecretString) -> Result<()> {
        self.hide(token);
        self.header("authorization", &format!("Bearer {}", token.expose_secret()).into())
    }

    /// Adds a header that is no secret, such as the time of a signature.
    ///
    /// # Errors
    /// `Config` if a header cannot hold the name or the value.
    pub fn plain_header(&mut self, name: &str, value: &str) -> Result<()> {
        let wrong = || Error::config("sign request", "a header cannot hold this").with("header", name);
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        self.headers.push((header, HeaderValue::from_str(value).map_err(|_| wrong())?));
        Ok(())
    }

    /// Adds a parameter of the query that is no secret. Like the others it is no part of the request that is kept.
    pub fn plain_query(&mut self, name: &str, value: &str) {
        self.query.push((name.to_owned(), value.to_owned().into()));
    }

    /// Adds a parameter of the query; its value is a secret.
    pub fn query(&mut self, name: &str, value: &SecretString) {
        self.query.push((name.to_owned(), value.clone()));
        self.hide(value);
    }

    /// Adds a cookie; its value is a secret.
    ///
    /// # Errors
    /// `Config` if a cookie cannot hold the name or the value (RFC 6265, 4.1.1).
    pub fn cookie(&mut self, name: &str, value: &SecretString) -> Result<()> {
        let is_text = |text: &str| !text.bytes().any(|b| b <= b' ' || b >= 0x7f || b",;\"\\".contains(&b));
        if name.is_empty() || name.contains('=') || !is_text(name) || !is_text(value.expose_secret()) {
            let what = "a cookie cannot hold the name or the characters of the secret";
            return Err(Error::config("sign request", what).with("cookie", name));
        }
        self.cookies.push(format!("{name}={}", value.expose_secret()));
        self.hide(value);
        Ok(())
    }

    /// There are no credentials to send now, but there will be after `wait`: the request is not sent, and tried again then,
    /// or put off if that is longer than the source may wait.
    pub fn not_before(&mut self, wait: Duration) {
        self.wait = Some(self.wait.map_or(wait, |other| other.max(wait)));
    }

    /// Sends `query`, which says the same as that of the request in another way of writing.
    pub(super) fn rewrite_query(&mut self, query: String) {
        self.rewritten = Some(query);
    }

    /// Keeps another secret out of what is shown: one that is only a part of a header, for example.
    pub fn hide(&mut self, secret: &SecretString) {
        if !secret.expose_secret().is_empty() {
            self.secrets.push(secret.clone());
            // One secret may hold another: the longer goes first.
            self.secrets.sort_by_key(|s| std::cmp::Reverse(s.expose_secret().len()));
        }
    }

    /// Whether `secret` is one of those that this request was signed with.
    pub fn holds(&self, secret: &SecretString) -> bool {
        self.secrets.iter().any(|own| own.expose_secret() == secret.expose_secret())
    }

    /// How long to wait before there are credentials.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// Puts the headers of the credentials on a request, in place of others of their names.
    pub(crate) fn put_on(&self, headers: &mut HeaderMap) -> Result<()> {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        if !self.cookies.is_empty() {
            let mut cookies = HeaderValue::from_str(&self.cookies.join("; "))
                .map_err(|_| Error::config("sign request", "a header cannot hold the cookies"))?;
            cookies.set_sensitive(true);
            headers.insert(COOKIE, cookies);
        }
        Ok(())
    }

    /// `url` with the parameters of the query.
    pub(crate) fn signed(&self, url: &Url) -> Url {
        let mut url = url.clone();
        if let Some(query) = &self.rewritten {
            url.set_query((!query.is_empty()).then_some(query));
        }
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

    /// `text` without the secrets, also where they are percent-encoded. `None` if one is in it in yet another way of writing.
    pub(crate) fn redacted(&self, text: &str) -> Option<String> {
        let redacted = self.secrets.iter().fold(text.to_owned(), |text, secret| {
            let secret = secret.expose_secret();
            let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            in_cases(secret).iter().fold(text, |text, secret| text.replace(secret, MASK)).replace(&encoded, MASK)
        });
        (!self.is_held(&redacted, 1)).then_some(redacted)
    }

    /// `error` without the secrets: what it quotes may be what the server says back. If one is in it that is long enough not to be
    /// there by chance, all that it says is in its message then.
    pub(crate) fn cleaned(&self, error: Error) -> Error {
        if !self.is_held(&format!("{error} {error:?}"), SHORT) {
            return error;
        }
        let text = error.to_string();
        let said = text.strip_prefix(error.operation()).and_then(|said| said.strip_prefix(": "));
        let said = said.and_then(|said| self.redacted(said));
        let nothing = "what the API says holds a secret of the request, and is not shown";
        let said = said.unwrap_or_else(|| nothing.to_owned());
        Error::new(error.kind(), error.operation(), said).with_status(error.status())
    }

    /// Whether `text` holds a secret that is long enough not to be there by chance.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.is_held(text, LONG)
    }

    /// Whether a secret of `least` bytes or more is in `text`, or appears when escapes are undone, also those of others.
    fn is_held(&self, text: &str, least: usize) -> bool {
        let secrets = self.secrets.iter().map(|secret| secret.expose_secret());
        let secrets: Vec<_> = secrets.filter(|secret| secret.len() >= least).collect();
        let encoded = secrets.iter().flat_map(|secret| in_base64(secret.as_bytes()));
        let encoded: Vec<_> = encoded.flat_map(|secret| in_cases(&secret)).collect();
        let secrets: Vec<_> = secrets.iter().flat_map(|secret| in_cases(secret)).collect();
        let found = |text: &str| {
            let standard = text.replace('-', "+").replace('_', "/");
            secrets.iter().any(|secret| text.contains(secret)) || encoded.iter().any(|secret| standard.contains(secret))
        };
        let layers = |text| {
            let undone = |text: &String| Some(unescaped(text)).filter(|plain| plain != text);
            std::iter::successors(Some(text), undone).take(MOST_LAYERS)
        };
        // A plus may mean a space or itself.
        layers(text.to_owned()).chain(layers(text.replace('+', " "))).any(|text| found(&text))
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

/// `secret` as it is and in small letters, as hosts and types are kept: one of a few letters may well be a word then.
fn in_cases(secret: &str) -> Vec<String> {
    let small = Some(secret.to_ascii_lowercase()).filter(|small| secret.len() >= SHORT && small != secret);
    std::iter::once(secret.to_owned()).chain(small).collect()
}

/// What base64 makes of `secret`, wherever in a longer text it stands: without the characters at the edges, in which its
/// neighbours have a part.
fn in_base64(secret: &[u8]) -> impl Iterator<Item = String> + '_ {
    let long_enough = secret.len() >= SHORT;
    (0..3).filter(move |_| long_enough).map(|before| {
        let encoded = STANDARD_NO_PAD.encode([&[0_u8; 2][..before], secret].concat());
        let whole = (before + secret.len()) * 8 / 6;
        encoded[(before * 8).div_ceil(6)..whole].to_owned()
    })
}

/// `text` with the escapes of URLs, of JSON and of HTML undone, once.
fn unescaped(text: &str) -> String {
    let hex = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = match (first, after) {
            (b'%', [a, b, after @ ..]) => hex(&[*a, *b]).and_then(|n| u8::try_from(n).ok()).map(|n| (vec![n], after)),
            (b'\\', [b'u', a, b, c, d, after @ ..]) => {
                let char = hex(&[*a, *b, *c, *d]).and_then(char::from_u32);
                char.map(|char| (char.to_string().into_bytes(), after))
            }
            (b'\\', [mark @ (b'/' | b'"' | b'\\'), after @ ..]) => Some((vec![*mark], after)),
            (b'&', after) => entity(after),
            _ => None,
        };
        let (bytes, after) = escape.unwrap_or_else(|| (vec![first], after));
        plain.extend(bytes);
        rest = after;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The character that `text` names as HTML does after an ampersand, and what follows.
fn entity(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let end = text.iter().take(LONGEST_ENTITY).position(|b| *b == b';')?;
    let (name, after) = (std::str::from_utf8(&text[..end]).ok()?, &text[end + 1..]);
    let code = match (name, name.strip_prefix('#')) {
        (_, Some(number)) => match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        },
        ("amp", _) => u32::from('&'),
        ("lt", _) => u32::from('<'),
        ("gt", _) => u32::from('>'),
        ("quot", _) => u32::from('"'),
        ("apos", _) => u32::from('\''),
        ("sol", _) => u32::from('/'),
        ("plus", _) => u32::from('+'),
        ("equals", _) => u32::from('='),
        _ => return None,
    };
    Some((char::from_u32(code)?.to_string().into_bytes(), after))
}

const MASK: &str = "***";
/// How often text is taken to be escaped.
const MOST_LAYERS: usize = 4;
/// A secret of this many bytes is found inside of other text only if it was put there.
const LONG: usize = 16;
/// A secret of fewer bytes, and its base64, may well be there by chance.
const SHORT: usize = 8;
const LONGEST_ENTITY: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, Status};

    #[test]
    fn hides_a_secret_that_holds_another_whole_and_encoded() {
        let mut signature = Signature::default();
        signature.hide(&"abc".to_owned().into());
        signature.hide(&"abc/xyz".to_owned().into());
        assert_eq!(signature.redacted("x abc/xyz abc%2Fxyz abc y").as_deref(), Some("x *** *** *** y"));
    }

    #[test]
    fn drops_text_that_holds_a_secret_in_another_way_of_writing() {
        let mut signature = Signature::default();
        signature.hide(&"s3cret/canary+7 é".to_owned().into());
        for text in [
            r"s3cret\/canary+7 é",
            r"s3cret/canary\u002B7 \u00e9",
            "s3cret%2fcanary%2b7%20%c3%a9",
            "s3cret%2fcanary%2b7+%c3%a9",
            "s3cret%252Fcanary%252B7%2520%25C3%25A9",
            r"s3cret\\/canary+7 é",
            "s3cret&#x2F;canary&#43;7&#32;&#233;",
            "s3cret&sol;canary&plus;7 é",
            "s3cret&amp;#x2f;canary+7 é",
            // By itself, and inside of other text at each of the three places.
            "czNjcmV0L2NhbmFyeSs3IMOp",
            "dTpzM2NyZXQvY2FuYXJ5Kzcgw6k=",
            "dXM6czNjcmV0L2NhbmFyeSs3IMOpIQ==",
            "dXNlOnMzY3JldC9jYW5hcnkrNyDDqQ",
            "czNjcmV0L2NhbmFyeSs3IMOp".replace('+', "-").replace('/', "_").as_str(),
        ] {
            assert_eq!(signature.redacted(&format!("key: {text}.")), None, "{text}");
            assert!(signature.is_in(text), "{text}");
        }
        let harmless = r"100 % of \u00 \x s3cret\/other";
        assert_eq!(signature.redacted(harmless).as_deref(), Some(harmless));
    }

    #[test]
    fn an_error_that_quotes_a_secret_says_the_rest() {
        let mut signature = Signature::default();
        signature.hide(&"S3cret/Canary+7".to_owned().into());
        let error = |text: &str| Error::data("read page", "a total").with("value", text).with_hint("look at it");
        let said = |error: Error| signature.cleaned(error).to_string();
        for text in ["S3cret/Canary+7", "text/s3cret/canary+7; q=1", "x.s3cret/canary+7.invalid"] {
            let cleaned = said(error(text).with_source(std::io::Error::other(text)));
            assert!(cleaned.starts_with("read page: a total, value=`") && cleaned.contains("look at it"), "{cleaned}");
            assert!(cleaned.contains(MASK) && !cleaned.to_lowercase().contains("canary"), "{cleaned}");
        }
        // In another way of writing, or only in the error behind it.
        for text in ["s3cret%2fcanary%2b7", "UzNjcmV0L0NhbmFyeSs3"] {
            assert!(said(error(text)).ends_with("and is not shown"));
            assert!(said(error("x").with_source(std::io::Error::other(text))).ends_with("and is not shown"));
        }
        let down = Error::unavailable("read page", "S3cret/Canary+7").with_status(Status::Exhausted);
        let down = signature.cleaned(down);
        assert_eq!((down.kind(), down.status()), (ErrorKind::Unavailable, Status::Exhausted));
        // One that holds none keeps what it is made of.
        assert_eq!(signature.cleaned(error("harmless")).context(), [("value", "harmless".to_owned())]);
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
