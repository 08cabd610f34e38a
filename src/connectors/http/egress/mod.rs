//! The one place where a socket may open. Nothing here knows of credentials: who comes here has checked where the request goes.

mod connect;
mod denied;
mod guard;
mod proxy;
mod settings;
mod tls;

pub(super) use denied::is_denied;
pub use proxy::Proxy;
pub(super) use settings::EgressSettings;
pub use tls::Tls;

use super::auth::Signature;
use super::client::in_time;
use super::limits::Limits;
use super::origin::Access;
use crate::env::Env;
use crate::error::{Error, Result};
use guard::PublicOnly;
use reqwest::header::HeaderMap;
use reqwest::{Request, Response};
use secrecy::SecretString;
use std::fmt;
use std::sync::Arc;

/// The HTTP clients of a source: one for each kind of origin.
pub(super) struct Egress {
    /// For origins that take credentials: has the client certificate.
    trusted: reqwest::Client,
    /// For origins that the configuration names, without credentials.
    named: Option<reqwest::Client>,
    /// For origins that only data names: never connects to a private address.
    public: Option<reqwest::Client>,
    /// Secrets that go with each request, beside those that it is signed with.
    secrets: Vec<SecretString>,
    limits: Limits,
}

impl Egress {
    pub(super) fn new(settings: &EgressSettings, limits: &Limits) -> Result<Self> {
        let trusted = settings.tls.identified(client(settings, limits)?)?;
        let named = (!settings.allowed.is_empty()).then(|| client(settings, limits)).transpose()?;
        let public = settings.public.then(|| client(settings, limits)).transpose()?;
        let public = public.map(|builder| builder.dns_resolver(Arc::new(PublicOnly)));
        Ok(Self {
            trusted: built(trusted)?,
            named: named.map(built).transpose()?,
            public: public.map(built).transpose()?,
            secrets: settings.proxy.as_ref().map(Proxy::secrets).transpose()?.unwrap_or_default(),
            limits: *limits,
        })
    }

    /// Keeps what goes with each request out of everything that is shown of it.
    pub(super) fn hide(&self, signature: &mut Signature) {
        self.secrets.iter().for_each(|secret| signature.hide(secret));
    }

    /// Sends `request` to an origin with `access`, and gives the head of the response. Redirects are not followed.
    ///
    /// Cancel-safe: the connection is closed.
    ///
    /// # Errors
    /// `Unavailable` if there is no response in time, transient unless the server's certificate is not accepted; `Data` if its head is too large; `Config` if it would go to a
    /// private address that only data names.
    pub(super) async fn send(&self, env: &Env, access: Access, request: Request) -> Result<Response> {
        let client = match access {
            Access::Credentials => Some(&self.trusted),
            Access::Named => self.named.as_ref(),
            Access::Public => {
                guard::check(request.url())?;
                self.public.as_ref()
            }
        };
        let client = client.ok_or_else(|| Error::bug("send request", "no client for this kind of origin"))?;
        let url = request.url().clone();
        let response = in_time(env, self.limits.idle, "send request", client.execute(request)).await;
        let response = response
            .map_err(|e| connect::at(e, &url).with_hint("if the API may take longer, raise the limit `idle`"))?;
        let response = response.map_err(|e| guard::denied(&e).unwrap_or_else(|| connect::unanswered(e, &url)))?;
        check_head(response.headers(), &self.limits)?;
        Ok(response)
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn client(settings: &EgressSettings, limits: &Limits) -> Result<reqwest::ClientBuilder> {
    let builder = reqwest::Client::builder()
        .dns_resolver(Arc::new(connect::System))
        .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(limits.connect)
        .http1_max_headers(limits.headers as usize)
        .http2_max_header_list_size(limits.head);
    let builder = match &settings.proxy {
        Some(proxy) => builder.proxy(proxy.open()?),
        None => builder.no_proxy(),
    };
    settings.tls.trusting(builder)
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client> {
    let wrong = |e: reqwest::Error| {
        Error::config("build source", "the HTTP client cannot be made").with_source(e.without_url())
    };
    builder.build().map_err(wrong)
}

/// The transport has limits of its own, of which this is the sum.
fn check_head(headers: &HeaderMap, limits: &Limits) -> Result<()> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes as u64 > u64::from(limits.head) || headers.len() as u64 > u64::from(limits.headers) {
        return Err(Error::data("send request", "the head of the response is too large")
            .with("bytes", bytes)
            .with("headers", headers.len())
            .with_hint("raise the limit if such responses are meant to be"));
    }
    Ok(())
}
