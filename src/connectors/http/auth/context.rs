use super::endpoint::Endpoints;
use crate::env::Env;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use std::fmt;

/// What credentials may see of a request and of the world: the request as it will be sent, without credentials.
pub struct AuthContext<'a> {
    pub(in super::super) method: &'a Method,
    pub(in super::super) url: &'a Url,
    pub(in super::super) headers: &'a HeaderMap,
    pub(in super::super) body: &'a Bytes,
    pub(in super::super) endpoints: &'a Endpoints,
}

impl<'a> AuthContext<'a> {
    /// `GET`, for example.
    pub fn method(&self) -> &'a str {
        self.method.as_str()
    }

    /// The whole URL.
    pub fn url(&self) -> &'a str {
        self.url.as_str()
    }

    /// Host and, if it is not that of the scheme, port: what the header `host` will say.
    pub fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The path, percent-encoded.
    pub fn path(&self) -> &'a str {
        self.url.path()
    }

    /// The query, percent-encoded, without `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.url.query()
    }

    /// The value of a header, the type of the body included.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The bytes of the body; none for a request without one.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Time and randomness.
    pub fn env(&self) -> &'a Env {
        self.endpoints.env()
    }

    /// The way to other endpoints, such as the one that gives tokens. Cheap to clone, for tasks.
    pub fn endpoints(&self) -> &'a Endpoints {
        self.endpoints
    }
}

impl fmt::Debug for AuthContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthContext")
            .field("method", self.method)
            .field("path", &self.url.path())
            .finish_non_exhaustive()
    }
}

/// The head of an answer to a signed request.
#[derive(Clone, Copy)]
pub struct Answered<'a> {
    pub(in super::super) status: u16,
    pub(in super::super) headers: &'a HeaderMap,
    pub(in super::super) refused: bool,
}

impl<'a> Answered<'a> {
    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the API refuses the credentials: status 401, or what a rule of the source takes for that. Its headers are not known
    /// then any more.
    pub fn is_refused(&self) -> bool {
        self.refused
    }
}

impl fmt::Debug for Answered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").field("status", &self.status).field("refused", &self.refused).finish_non_exhaustive()
    }
}
