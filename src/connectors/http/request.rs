use super::origin;
use crate::error::{Error, Result};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use url::form_urlencoded;

/// A request on its way to be sent, without credentials.
#[derive(Clone)]
pub struct Request {
    url: Url,
    headers: HeaderMap,
}

impl Request {
    pub(super) fn new(url: Url, headers: HeaderMap) -> Self {
        Self { url, headers }
    }

    /// Sets a parameter of the query, in place of others of that name.
    pub fn set_query(&mut self, name: &str, value: &str) {
        let same = |pair: &&str| form_urlencoded::parse(pair.as_bytes()).any(|(n, _)| n == name);
        if let Some(query) = self.url.query() {
            if query.split('&').any(|pair| same(&pair)) {
                let kept: Vec<_> = query.split('&').filter(|pair| !same(pair)).collect();
                let kept = kept.join("&");
                self.url.set_query((!kept.is_empty()).then_some(kept.as_str()));
            }
        }
        self.url.query_pairs_mut().append_pair(name, value);
    }

    /// Sets a header.
    ///
    /// # Errors
    /// `Data` if a header cannot hold the name or the value.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<()> {
        let wrong = || Error::data("make request", "a header cannot hold this").with("header", name);
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        self.headers.insert(header, HeaderValue::from_str(value).map_err(|_| wrong())?);
        Ok(())
    }

    /// Goes to `link`, relative or absolute: only the link's own parameters are sent then.
    ///
    /// # Errors
    /// `Config` if it leads to another origin.
    pub fn go_to(&mut self, link: &str) -> Result<()> {
        self.url = origin::resolve(&self.url, link)?;
        Ok(())
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What makes this request another one than the ones before it.
    pub(super) fn identity(&self) -> String {
        self.headers.iter().fold(self.url.to_string(), |mut text, (name, value)| {
            text.push_str(&format!("\n{name}:{value:?}"));
            text
        })
    }

    /// Method, path and query, for provenance. The credentials are not a part of it.
    pub(super) fn described(&self) -> String {
        match self.url.query() {
            Some(query) => format!("GET {}?{query}", self.url.path()),
            None => format!("GET {}", self.url.path()),
        }
    }

    /// Method and path, for errors and logs.
    pub(super) fn name(&self) -> String {
        format!("GET {}", self.url.path())
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Request").field(&self.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Request {
        Request::new(Url::parse(url).expect("a URL"), HeaderMap::new())
    }

    #[test]
    fn a_parameter_takes_the_place_of_others_of_its_name() {
        let mut request = at("http://h/r?page=1&limit=10&page=2");
        request.set_query("page", "3 & 4");
        assert_eq!(request.described(), "GET /r?limit=10&page=3+%26+4");
        let mut request = at("http://h/r?q=%E3%81%82&page=1");
        request.set_query("size", "5");
        assert_eq!(request.described(), "GET /r?q=%E3%81%82&page=1&size=5");
    }

    #[test]
    fn a_link_brings_its_own_parameters_only() {
        let mut request = at("http://h/r?page=1&limit=10");
        request.go_to("?sort=asc").expect("same origin");
        assert_eq!(request.described(), "GET /r?sort=asc");
    }
}
