use super::origin;
use crate::error::{Error, Result};
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;
use std::fmt;
use url::form_urlencoded;

/// A request on its way to be sent, without credentials.
#[derive(Clone)]
pub struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    content: Content,
    /// What is shown in place of method and path, where these may be a secret.
    shown: Option<String>,
}

/// What a request carries.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Content {
    #[default]
    None,
    Json(Value),
    Form(Vec<(String, String)>),
    /// The query goes out as it is: its braces are not places for values.
    Graphql {
        query: String,
        variables: Value,
    },
}

impl Content {
    /// The same with these variables.
    ///
    /// # Errors
    /// `Config` if it has none, or they are not an object.
    pub(super) fn with_variables(self, variables: Value) -> Result<Self> {
        match self {
            Self::Graphql { query, .. } if variables.is_object() => Ok(Self::Graphql { query, variables }),
            Self::Graphql { .. } => Err(Error::config("build source", "the variables of a query are not an object")),
            _ => Err(Error::config("build source", "variables belong to a GraphQL query")
                .with_hint("begin with Rest::graphql(…)")),
        }
    }

    /// The same with each text in it filled in. Names stay as they are.
    pub(super) fn filled(&self, fill: &dyn Fn(&str) -> Result<String>) -> Result<Self> {
        fn value(json: &Value, fill: &dyn Fn(&str) -> Result<String>) -> Result<Value> {
            Ok(match json {
                Value::String(text) => Value::String(fill(text)?),
                Value::Array(items) => Value::Array(items.iter().map(|item| value(item, fill)).collect::<Result<_>>()?),
                Value::Object(fields) => {
                    let filled = fields.iter().map(|(name, inner)| Ok((name.clone(), value(inner, fill)?)));
                    Value::Object(filled.collect::<Result<_>>()?)
                }
                other => other.clone(),
            })
        }
        Ok(match self {
            Self::None => Self::None,
            Self::Json(json) => Self::Json(value(json, fill)?),
            Self::Form(fields) => {
                let filled = fields.iter().map(|(name, text)| Ok((name.clone(), fill(text)?)));
                Self::Form(filled.collect::<Result<_>>()?)
            }
            Self::Graphql { query, variables } => {
                Self::Graphql { query: query.clone(), variables: value(variables, fill)? }
            }
        })
    }

    /// Sets `value` at `path`, as [`Request::set_body`] has it.
    pub(super) fn set(&mut self, path: &str, value: Value) -> Result<()> {
        let wrong = |what| Error::config("make request", what).with("path", path);
        let mut way = path.strip_prefix("$.").unwrap_or(path);
        if let Self::Graphql { .. } = self {
            way =
                way.strip_prefix("variables.").ok_or_else(|| wrong("only variables of a GraphQL query can be set"))?;
        }
        match self {
            Self::None => {
                Err(wrong("the request has no body to set a value in")
                    .with_hint("give it one with .json(…) or .form(…)"))
            }
            Self::Form(fields) => {
                fields.retain(|(name, _)| name != path);
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                fields.push((path.to_owned(), text));
                Ok(())
            }
            Self::Json(body) | Self::Graphql { variables: body, .. } => {
                let mut place = body;
                for name in way.split('.') {
                    if place.is_null() {
                        *place = Value::Object(serde_json::Map::new());
                    }
                    let object = place.as_object_mut();
                    let object = object.ok_or_else(|| wrong("what stands on the way in the body is not an object"))?;
                    place = object.entry(name).or_insert(Value::Null);
                }
                *place = value;
                Ok(())
            }
        }
    }

    /// For the record of the configuration.
    pub(super) fn recorded(&self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Json(json) => json.clone(),
            Self::Form(fields) => serde_json::json!(fields),
            Self::Graphql { query, variables } => serde_json::json!({"query": query, "variables": variables}),
        }
    }

    /// The texts in it that may have places for values.
    pub(super) fn texts(&self) -> Vec<&str> {
        fn below<'a>(json: &'a Value, texts: &mut Vec<&'a str>) {
            match json {
                Value::String(text) => texts.push(text),
                Value::Array(items) => items.iter().for_each(|item| below(item, texts)),
                Value::Object(fields) => fields.values().for_each(|value| below(value, texts)),
                _ => {}
            }
        }
        let mut texts = Vec::new();
        match self {
            Self::None => {}
            Self::Json(json) | Self::Graphql { variables: json, .. } => below(json, &mut texts),
            Self::Form(fields) => texts.extend(fields.iter().map(|(_, text)| text.as_str())),
        }
        texts
    }
}

impl Request {
    pub(super) fn new(method: Method, url: Url, headers: HeaderMap, content: Content) -> Self {
        Self { method, url, headers, content, shown: None }
    }

    /// Shows `text` in logs, errors and pages, and hides all that is in the URL.
    pub(super) fn shown_as(mut self, text: String) -> Self {
        self.shown = Some(text);
        self
    }

    /// Whether its URL is a secret by itself.
    pub(super) fn is_hidden(&self) -> bool {
        self.shown.is_some()
    }

    #[cfg(test)]
    pub(super) fn get(url: Url, headers: HeaderMap) -> Self {
        Self::new(Method::GET, url, headers, Content::None)
    }

    /// Sets what the request carries at `path`: of a JSON body a place such as `$.page.after` or `page.after` (objects on the
    /// way are made), of a form the field of that name.
    ///
    /// # Errors
    /// `Config` if the request carries nothing, or something that is not an object stands on the way.
    pub fn set_body(&mut self, path: &str, value: Value) -> Result<()> {
        self.content.set(path, value)
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

    /// Goes to `link`, relative or absolute: only the link's own parameters are sent then. A request to an origin that the source
    /// may not talk to is refused before anything is sent.
    ///
    /// # Errors
    /// `Data` if it is not a URL.
    pub fn go_to(&mut self, link: &str) -> Result<()> {
        self.url = origin::join(&self.url, link)?;
        Ok(())
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// The body and its type, if there is one.
    pub(super) fn body(&self) -> Option<(&'static str, Bytes)> {
        match &self.content {
            Content::None => None,
            Content::Json(value) => Some(("application/json", value.to_string().into())),
            Content::Graphql { .. } => Some(("application/json", self.content.recorded().to_string().into())),
            Content::Form(fields) => {
                let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                Some(("application/x-www-form-urlencoded", text.into()))
            }
        }
    }

    /// What makes this request another one than the ones before it.
    pub(super) fn identity(&self) -> String {
        let mut text = format!("{} {}", self.method, self.url);
        for (name, value) in &self.headers {
            text.push_str(&format!("\n{name}:{value:?}"));
        }
        if let Some((_, body)) = self.body() {
            text.push_str("\n\n");
            text.push_str(&String::from_utf8_lossy(&body));
        }
        text
    }

    /// Method, path and query, for provenance. The credentials are not a part of it.
    pub(super) fn described(&self) -> String {
        match (&self.shown, self.url.query()) {
            (None, Some(query)) => format!("{} {}?{query}", self.method, self.url.path()),
            _ => self.name(),
        }
    }

    /// Method and path, for errors and logs.
    pub(super) fn name(&self) -> String {
        self.name_at(&self.url)
    }

    /// The same after redirects to `url`.
    pub(super) fn name_at(&self, url: &Url) -> String {
        self.shown.clone().unwrap_or_else(|| format!("{} {}", self.method, url.path()))
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
        Request::get(Url::parse(url).expect("a URL"), HeaderMap::new())
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
    fn a_value_is_set_in_the_body() {
        let json = serde_json::json!({"q": "x", "page": {"size": 5}});
        let url = Url::parse("http://h/r").expect("a URL");
        let mut request = Request::new(Method::POST, url.clone(), HeaderMap::new(), Content::Json(json));
        request.set_body("$.page.after", "c3e8".into()).expect("an object");
        request.set_body("from.n", 7.into()).expect("made");
        let (kind, body) = request.body().expect("there");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(kind, "application/json");
        assert_eq!(body, serde_json::json!({"q": "x", "page": {"size": 5, "after": "c3e8"}, "from": {"n": 7}}));
        assert!(request.set_body("q.deeper", 1.into()).is_err());
        assert!(at("http://h/r").set_body("page", 1.into()).is_err());

        let fields = vec![("page".to_owned(), "1".to_owned()), ("q".to_owned(), "a b".to_owned())];
        let mut request = Request::new(Method::POST, url, HeaderMap::new(), Content::Form(fields));
        request.set_body("page", 2.into()).expect("a field");
        assert_eq!(request.body().expect("there").1, "q=a+b&page=2");
    }

    #[test]
    fn a_link_brings_its_own_parameters_only() {
        let mut request = at("http://h/r?page=1&limit=10");
        request.go_to("?sort=asc").expect("same origin");
        assert_eq!(request.described(), "GET /r?sort=asc");
    }
}
