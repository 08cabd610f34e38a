use std::fmt;
use std::sync::Arc;

/// What is known of a call before it is made. No part of it is a secret.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Call<'a> {
    /// `GET`, `POST` …
    pub method: &'a str,
    /// The host that it goes to.
    pub host: &'a str,
    /// Its path, as it is sent.
    pub path: &'a str,
    /// Its query, as it is sent and without the `?`.
    pub query: &'a str,
}

impl<'a> Call<'a> {
    /// A call of `method` on `path`.
    pub fn new(method: &'a str, path: &'a str) -> Self {
        Self { method, path, host: "", query: "" }
    }

    /// Sets the host.
    #[must_use]
    pub fn with_host(mut self, host: &'a str) -> Self {
        self.host = host;
        self
    }

    /// Sets the query.
    #[must_use]
    pub fn with_query(mut self, query: &'a str) -> Self {
        self.query = query;
        self
    }
}

/// Which calls a [`Quota`](super::Quota) counts, and how much each weighs: all conditions must hold.
#[derive(Clone)]
pub struct Calls {
    methods: Vec<String>,
    host: Option<String>,
    path: Option<String>,
    when: Option<Arc<dyn Fn(&Call<'_>) -> bool + Send + Sync>>,
    pub(super) weight: u32,
}

impl Calls {
    /// All calls, with a weight of 1.
    pub fn all() -> Self {
        Self { methods: Vec::new(), host: None, path: None, when: None, weight: 1 }
    }

    /// Calls whose path fits `pattern`: `*` or `{name}` stands for one segment, `**` at the end for any number of them.
    pub fn path(pattern: impl Into<String>) -> Self {
        Self { path: Some(pattern.into()), ..Self::all() }
    }

    /// Only calls of this method; several may be named.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.methods.push(method.into());
        self
    }

    /// Only calls to this host.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Only calls for which `when` says so.
    #[must_use]
    pub fn when(mut self, when: impl Fn(&Call<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.when = Some(Arc::new(when));
        self
    }

    /// How much each of them takes out of the budget. 1 by default.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    pub(super) fn fits(&self, call: &Call<'_>) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|m| m.eq_ignore_ascii_case(call.method)))
            && self.host.as_ref().is_none_or(|host| host.eq_ignore_ascii_case(call.host))
            && self.path.as_ref().is_none_or(|pattern| path_fits(pattern, call.path))
            && self.when.as_ref().is_none_or(|when| when(call))
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("methods", &self.methods)
            .field("host", &self.host)
            .field("path", &self.path)
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}

fn path_fits(pattern: &str, path: &str) -> bool {
    let mut segments = path.trim_matches('/').split('/');
    for wanted in pattern.trim_matches('/').split('/') {
        let place = wanted == "*" || (wanted.starts_with('{') && wanted.ends_with('}'));
        match segments.next() {
            _ if wanted == "**" => return true,
            Some(segment) if place || segment == wanted => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_fits_segment_by_segment() {
        for (pattern, path, fits) in [
            ("/orders", "/orders", true),
            ("/orders", "/orders/", true),
            ("/orders", "/orders/1", false),
            ("/orders/*", "/orders/1", true),
            ("/orders/{id}/items", "/orders/1/items", true),
            ("/orders/{id}/items", "/orders/1/refunds", false),
            ("/orders/*", "/orders", false),
            ("/orders/**", "/orders", true),
            ("/orders/**", "/orders/1/items", true),
            ("/orders/**", "/ordersets", false),
            ("**", "/anything/at/all", true),
        ] {
            assert_eq!(Calls::path(pattern).fits(&Call::new("GET", path)), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let calls = Calls::path("/search").method("POST").host("api.example.com").when(|call| call.query == "bulk=1");
        let call = Call::new("post", "/search").with_host("API.example.com").with_query("bulk=1");
        assert!(calls.fits(&call));
        assert!(!calls.fits(&Call { method: "GET", ..call }));
        assert!(!calls.fits(&call.with_host("other.example.com")));
        assert!(!calls.fits(&call.with_query("")));
    }
}
