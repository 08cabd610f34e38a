use super::tokens::{Grant, Issued, Tokens};
use super::{Answered, Auth, AuthContext, Endpoints, Exchange, Exchanged, Reaction, Secret, Signature};
use crate::error::{Error, ErrorKind, Result};
use crate::json::json_path;
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json_path::JsonPath;
use std::time::Duration;

/// A login whose answer holds a token, which then goes with each request until it expires or is refused: then comes the next login.
///
/// ```
/// use landfall::connectors::http::{Secret, Session, TokenAt, TokenTo};
/// use std::time::Duration;
///
/// let session = Session::login("https://api.example.com/login")
///     .field("user", "landfall")
///     .field("password", Secret::from_env("PASSWORD"))
///     .token(TokenAt::body("$.session.token"))
///     .send_as(TokenTo::header("x-session"))
///     .valid_for(Duration::from_secs(1_800));
/// # drop(session);
/// ```
#[derive(Debug)]
#[must_use]
pub struct Session {
    login: Login,
    to: TokenTo,
    tokens: Tokens,
}

#[derive(Clone, Debug)]
struct Login {
    url: String,
    basic: Option<(String, Secret)>,
    fields: Vec<(String, Secret)>,
    headers: Vec<(String, Secret)>,
    form: bool,
    at: TokenAt,
    valid_for: Option<Duration>,
    expires_in: Option<String>,
}

/// Where the answer of a login holds the token.
#[derive(Clone, Debug)]
pub struct TokenAt(Holder);

#[derive(Clone, Debug)]
enum Holder {
    Body(String),
    Header(String),
    Cookie(String),
}

impl TokenAt {
    /// At this RFC 9535 path of the body, which is JSON.
    pub fn body(path: impl Into<String>) -> Self {
        Self(Holder::Body(path.into()))
    }

    /// In this header.
    pub fn header(name: impl Into<String>) -> Self {
        Self(Holder::Header(name.into()))
    }

    /// In this cookie, which is then sent back as a cookie unless [`Session::send_as`] says otherwise.
    pub fn cookie(name: impl Into<String>) -> Self {
        Self(Holder::Cookie(name.into()))
    }

    pub(super) fn of(&self, answer: &Exchanged) -> Result<String> {
        let nothing = || answer.wrong(ErrorKind::Data, "the answer of the login has no token");
        match &self.0 {
            Holder::Body(path) => answer.at(&parse(path)?),
            Holder::Header(name) => {
                answer.header(name).map(str::to_owned).ok_or_else(|| nothing().with("header", name))
            }
            Holder::Cookie(name) => {
                answer.cookie(name).map(str::to_owned).ok_or_else(|| nothing().with("cookie", name))
            }
        }
    }
}

/// How a token goes with each request.
#[derive(Clone, Debug)]
pub struct TokenTo(Carrier);

#[derive(Clone, Debug)]
enum Carrier {
    /// A header, with this before the token.
    Header(String, String),
    Query(String),
    Cookie(String),
}

impl TokenTo {
    /// In the `Authorization` header, after the word `Bearer`.
    pub fn bearer() -> Self {
        Self::header_after("authorization", "Bearer ")
    }

    /// In the header `name`.
    pub fn header(name: impl Into<String>) -> Self {
        Self::header_after(name, "")
    }

    /// In the header `name`, right after the text `before`.
    pub fn header_after(name: impl Into<String>, before: impl Into<String>) -> Self {
        Self(Carrier::Header(name.into(), before.into()))
    }

    /// In the parameter `name` of the query.
    pub fn query(name: impl Into<String>) -> Self {
        Self(Carrier::Query(name.into()))
    }

    /// In the cookie `name`.
    pub fn cookie(name: impl Into<String>) -> Self {
        Self(Carrier::Cookie(name.into()))
    }

    fn put(&self, token: &SecretString, signature: &mut Signature) -> Result<()> {
        signature.hide(token);
        match &self.0 {
            Carrier::Header(name, before) => {
                signature.header(name, &format!("{before}{}", token.expose_secret()).into())
            }
            Carrier::Query(name) => {
                signature.query(name, token);
                Ok(())
            }
            Carrier::Cookie(name) => signature.cookie(name, token),
        }
    }
}

impl Session {
    /// Logs in with a POST to `url`. The token is at `$.token` of the answer and is sent as a bearer token, unless set otherwise.
    pub fn login(url: impl Into<String>) -> Self {
        let login = Login {
            url: url.into(),
            basic: None,
            fields: Vec::new(),
            headers: Vec::new(),
            form: false,
            at: TokenAt::body("$.token"),
            valid_for: None,
            expires_in: None,
        };
        Self { login, to: TokenTo::bearer(), tokens: Tokens::default() }
    }

    /// Adds a field to the body of the login, which is JSON; a name such as `user.name` stands for an object in it.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.login.fields.push((name.into(), value.into()));
        self
    }

    /// Sends the fields as a form.
    pub fn as_form(mut self) -> Self {
        self.login.form = true;
        self
    }

    /// Adds a header to the login.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.login.headers.push((name.into(), value.into()));
        self
    }

    /// Logs in with HTTP basic authentication.
    pub fn basic(mut self, user: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.login.basic = Some((user.into(), password.into()));
        self
    }

    /// Sets where the answer holds the token.
    pub fn token(mut self, at: TokenAt) -> Self {
        if let Holder::Cookie(name) = &at.0 {
            self.to = TokenTo::cookie(name);
        }
        self.login.at = at;
        self
    }

    /// Sets how the token goes with each request.
    pub fn send_as(mut self, to: TokenTo) -> Self {
        self.to = to;
        self
    }

    /// Sets how long a token is valid. Without this it is used until it is refused.
    pub fn valid_for(mut self, lifetime: Duration) -> Self {
        self.login.valid_for = Some(lifetime);
        self
    }

    /// The answer says at this RFC 9535 path for how many seconds the token is valid.
    pub fn expires_in(mut self, path: impl Into<String>) -> Self {
        self.login.expires_in = Some(path.into());
        self
    }

    /// Sets how long before it expires a token is replaced, a quarter of its life at most. 60 s.
    pub fn refresh_ahead(mut self, ahead: Duration) -> Self {
        self.tokens.ahead = ahead;
        self
    }
}

#[async_trait]
impl Grant for Login {
    async fn obtain(&self, endpoints: &Endpoints) -> Result<Issued> {
        let env = endpoints.env();
        let mut exchange = Exchange::post(&self.url);
        if !self.form {
            exchange = exchange.as_json();
        }
        for (name, value) in &self.fields {
            exchange = exchange.field(name, value.reveal(env).await?);
        }
        for (name, value) in &self.headers {
            exchange = exchange.header(name, value.reveal(env).await?);
        }
        if let Some((user, password)) = &self.basic {
            exchange = exchange.basic(user, &password.reveal(env).await?);
        }
        let answer = endpoints.exchange(&exchange).await?;
        if !(200..300).contains(&answer.status()) {
            let kind = if matches!(answer.status(), 400..=403 | 422) { ErrorKind::Auth } else { ErrorKind::Config };
            return Err(answer.wrong(kind, "the login is refused"));
        }
        let token = self.at.of(&answer)?.into();
        let lifetime = match &self.expires_in {
            Some(path) => {
                let seconds: Option<f64> = answer.at(&parse(path)?)?.trim().parse().ok();
                let lifetime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                let wrong = || answer.wrong(ErrorKind::Data, "the lifetime of the token is not a number of seconds");
                Some(lifetime.ok_or_else(|| wrong().with("path", path))?)
            }
            None => self.valid_for,
        };
        Ok(Issued { token, lifetime })
    }
}

#[async_trait]
impl Auth for Session {
    fn check(&self) -> Result<()> {
        let login = &self.login;
        Exchange::check(&login.url)?;
        if let Holder::Body(path) = &login.at.0 {
            parse(path)?;
        }
        login.expires_in.as_deref().map(parse).transpose()?;
        let mut secrets = login.fields.iter().chain(&login.headers).chain(&login.basic).map(|(_, secret)| secret);
        secrets.try_for_each(Secret::check)
    }

    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()> {
        let token = self.tokens.token(&self.login, cx.endpoints()).await?;
        self.to.put(&token, signature)
    }

    async fn answered(&self, cx: &AuthContext<'_>, signature: &Signature, answer: &Answered<'_>) -> Result<Reaction> {
        self.tokens.answered(cx.env(), signature, answer).await
    }
}

fn parse(path: &str) -> Result<JsonPath> {
    json_path(path).map_err(|e| Error::config("build source", "not an RFC 9535 path").with("path", path).with_source(e))
}
