use super::{Reply, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use std::sync::Mutex;
use url::form_urlencoded;

/// Who may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// `Authorization: Bearer …`.
    Bearer(String),
    /// `Authorization: Basic …` of a user and a password.
    Basic(String, String),
    /// A header and its value.
    Header(String, String),
    /// A parameter of the query and its value.
    Query(String, String),
    /// Tokens by OAuth 2.0 client credentials (RFC 6749, 4.4), from [`token_url`](super::ScriptedApi::token_url). Each is good for so many
    /// requests, whatever is said of its time: afterwards it is refused with 401.
    ClientCredentials {
        /// The client.
        id: String,
        /// Its secret, as `Basic` or in the body.
        secret: String,
        /// Requests that a token is good for.
        requests: u64,
    },
}

/// Who is let in, and the tokens that were given.
#[derive(Debug)]
pub(super) struct Door {
    access: Access,
    /// The number of the token, and the requests that are left of it.
    token: Mutex<(u64, u64)>,
}

impl Door {
    pub(super) fn new(access: Access) -> Self {
        Self { access, token: Mutex::new((0, 0)) }
    }

    /// The refusal, if it is one.
    pub(super) fn refuse(&self, request: &Request) -> Option<Reply> {
        let authorization = request.headers.get("authorization").map(String::as_str);
        let let_in = match &self.access {
            Access::Open => true,
            Access::Bearer(token) => authorization == Some(&format!("Bearer {token}")),
            Access::Basic(user, password) => authorization == Some(&basic(user, password)),
            Access::Header(name, value) => request.headers.get(&name.to_lowercase()) == Some(value),
            Access::Query(name, value) => request.parameter(name).as_ref() == Some(value),
            Access::ClientCredentials { .. } => {
                let mut token = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let good = authorization == Some(&format!("Bearer token-{}", token.0)) && token.1 > 0;
                token.1 = token.1.saturating_sub(u64::from(good));
                good
            }
        };
        let refusal = || Reply::status(401, r#"{"error":"who are you?"}"#).header("www-authenticate", "Bearer");
        (!let_in).then(refusal)
    }

    /// The answer to a request for a token: the one before is not good any more.
    pub(super) fn token(&self, request: &Request) -> Reply {
        let Access::ClientCredentials { id, secret, requests } = &self.access else {
            return Reply::status(404, "");
        };
        let form: Vec<(String, String)> = form_urlencoded::parse(&request.body).into_owned().collect();
        let said = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let by_header = request.headers.get("authorization") == Some(&basic(id, secret));
        let by_body = said("client_id") == Some(id) && said("client_secret") == Some(secret);
        if request.method != "POST" || said("grant_type") != Some("client_credentials") || !(by_header || by_body) {
            return Reply::status(400, r#"{"error":"invalid_client"}"#).header("content-type", "application/json");
        }
        let mut token = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *token = (token.0 + 1, *requests);
        let given = json!({ "access_token": format!("token-{}", token.0), "token_type": "Bearer", "expires_in": 3600 });
        Reply::json(given.to_string())
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}
