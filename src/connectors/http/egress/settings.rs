use super::{Proxy, Tls};
use crate::connectors::http::config::RestBuilder;
use crate::connectors::http::origin::Access;

/// Which ways out of the machine a source has, beside its own origin.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct EgressSettings {
    pub(in super::super) allowed: Vec<(String, Access)>,
    /// Whether links may lead to origins that nobody named.
    pub(in super::super) public: bool,
    pub(super) proxy: Option<Proxy>,
    pub(super) tls: Tls,
}

/// Ways out of the machine. Without any of these a source talks to the origin of its URL only, directly.
impl RestBuilder {
    /// Lets links and redirects lead to `origin`, such as `https://files.example.com`, too. Requests to it carry no credentials,
    /// no client certificate, and of the headers only those that ask for a representation; only a GET is sent there.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.egress.allowed.push((origin.into(), Access::Named));
        self
    }

    /// Lets links and redirects lead to `origin` too, with the credentials of this source.
    pub fn allow_origin_with_credentials(mut self, origin: impl Into<String>) -> Self {
        self.egress.allowed.push((origin.into(), Access::Credentials));
        self
    }

    /// Lets links and redirects lead to any `https` origin with a public address, by GET and without credentials: for downloads from
    /// where only the data says. Private, loopback, link-local and metadata addresses are refused, however their names resolve.
    pub fn allow_public_origins(mut self) -> Self {
        self.egress.public = true;
        self
    }

    /// Sends all requests through `proxy`.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.egress.proxy = Some(proxy);
        self
    }

    /// Sets the client certificate and the authorities to trust.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.egress.tls = tls;
        self
    }
}
