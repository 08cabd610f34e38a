use crate::connectors::http::auth::Secret;
use crate::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;

/// A proxy that all requests of a source go through, those for tokens included. The environment names none: what is not
/// configured is not used.
///
/// Names are resolved by the proxy: which private addresses a link from data may lead to is then its decision.
#[derive(Clone)]
#[must_use]
pub struct Proxy {
    url: String,
    user: Option<(String, Secret)>,
}

impl Proxy {
    /// The HTTP proxy at `url`, without credentials in it: requests to `https` origins go through a tunnel (`CONNECT`).
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), user: None }
    }

    /// Sets what the proxy asks for. It is sent to the proxy only, never to an origin.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.user = Some((user.into(), password.into()));
        self
    }

    /// What goes to the proxy with each request, and may come back in what it answers itself.
    pub(super) fn secrets(&self) -> Result<Vec<SecretString>> {
        let Some((user, password)) = &self.user else { return Ok(Vec::new()) };
        let password = password.read()?;
        let both = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        Ok(vec![password, both.into()])
    }

    pub(super) fn open(&self) -> Result<reqwest::Proxy> {
        let wrong = |what| Error::config("build source", what);
        let url = Url::parse(&self.url).map_err(|e| wrong("the URL of the proxy cannot be read").with_source(e))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("the proxy is not one of http or https").with("scheme", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("the URL of the proxy carries a user or a password")
                .with_hint("set them with Proxy::credentials(…)"));
        }
        let proxy =
            reqwest::Proxy::all(url).map_err(|e| wrong("the proxy cannot be used").with_source(e.without_url()))?;
        Ok(match &self.user {
            Some((user, password)) => proxy.basic_auth(user, password.read()?.expose_secret()),
            None => proxy,
        })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A user or a password in the URL is refused, but only later.
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}
