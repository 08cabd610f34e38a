//! What each request is: its method and what it carries.

use crate::value::{Json, Several, Text};
use crate::with::With;
use landfall::connectors::http::{Rest, RestBuilder};
use landfall::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Names and texts, in the order of the names.
pub(crate) type Texts = BTreeMap<String, Text>;

/// Parameters: names, each with a text, or with several for a parameter that is sent several times.
pub(crate) type Parameters = BTreeMap<String, Several>;

/// Refuses parameters and headers whose names say that their values are secrets.
///
/// # Errors
/// `Config`, without the value.
pub(super) fn without_secrets<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<()> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_'], "");
    let is_secret = |name: &&String| {
        let name = plain(name);
        SECRET.contains(&name.as_str()) || SECRET_ENDS.iter().any(|end| name.ends_with(end))
    };
    match names.into_iter().find(is_secret) {
        None => Ok(()),
        Some(name) => {
            Err(Error::config("read spec", "by its name this is a secret, and a secret never stands in the spec")
                .with("name", name)
                .with_hint("send it with `auth = { by = \"header\", name = …, env = … }`, or by \"query\""))
        }
    }
}

/// Names of secrets, and what such names end with; without lines in them, in small letters.
const SECRET: &[&str] = &["token", "privatetoken", "sig", "pwd"];
const SECRET_ENDS: &[&str] =
    &["apikey", "accesstoken", "authtoken", "apitoken", "secret", "password", "secretkey", "accesskey"];

/// Each name with each of its texts.
pub(crate) fn pairs(parameters: &Parameters) -> impl Iterator<Item = (&str, &str)> {
    parameters.iter().flat_map(|(name, texts)| texts.0.iter().map(|text| (name.as_str(), text.0.as_str())))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    Get,
    Post,
}

/// What a request carries: nothing, or one of these.
pub(super) struct Carries<'a> {
    pub(super) json: Option<&'a Json>,
    pub(super) form: Option<&'a Parameters>,
    pub(super) graphql: Option<&'a Graphql>,
}

/// A GraphQL query, sent by POST.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Graphql {
    query: String,
    variables: Option<Json>,
}

impl Carries<'_> {
    /// Begins to describe the source.
    pub(super) fn begin(&self, url: &str, method: Option<Method>) -> Result<RestBuilder> {
        let wrong = |what| Err(Error::config("read spec", what));
        if [self.json.is_some(), self.form.is_some(), self.graphql.is_some()].into_iter().filter(|is| *is).count() > 1 {
            return wrong("a request carries one of `json`, `form` and `graphql`");
        }
        if let Some(Graphql { query, variables }) = self.graphql {
            if method == Some(Method::Get) {
                return wrong("a GraphQL query is sent by POST");
            }
            let source = Rest::graphql(url, query);
            return Ok(source.with_some(variables.as_ref(), |source, json| source.variables(json.0.clone())));
        }
        let posts = method == Some(Method::Post) || (method.is_none() && (self.json.is_some() || self.form.is_some()));
        let source = if posts { Rest::post(url) } else { Rest::get(url) };
        let source = source.with_some(self.json, |source, json| source.json(json.0.clone()));
        Ok(source.with_some(self.form, |source, form| source.form(pairs(form))))
    }
}
