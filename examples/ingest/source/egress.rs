//! `[source.egress]`: ways out of the machine beside the origin of the URL.

use crate::value::SecretPlace;
use crate::with::With;
use landfall::connectors::http::{Proxy, RestBuilder, Tls};
use landfall::{Error, Result};
use serde::Deserialize;

/// Without any of these the source talks to the origin of its URL only, directly.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Egress {
    /// Origins that links may lead to, without credentials.
    allow_origins: Vec<String>,
    /// Origins that links may lead to, with the credentials of the source.
    allow_origins_with_credentials: Vec<String>,
    /// Links may lead to any public origin, without credentials.
    allow_public_origins: bool,
    proxy: Option<ProxyTable>,
    tls: Option<TlsTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProxyTable {
    url: String,
    user: Option<String>,
    password: Option<SecretPlace>,
}

/// PEM, each of it in a variable or a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsTable {
    /// The client's certificate with its chain, and its key; or both in one.
    certificates: Option<SecretPlace>,
    key: Option<SecretPlace>,
    client: Option<SecretPlace>,
    /// Authorities to trust.
    #[serde(default)]
    trust: Vec<SecretPlace>,
    /// And no others.
    #[serde(default)]
    only: bool,
}

impl Egress {
    pub(super) fn add(&self, source: RestBuilder) -> Result<RestBuilder> {
        let source = source
            .with_all(&self.allow_origins, |source, origin| source.allow_origin(origin))
            .with_all(&self.allow_origins_with_credentials, |s, origin| s.allow_origin_with_credentials(origin))
            .with_flag(self.allow_public_origins, RestBuilder::allow_public_origins);
        let proxy = self.proxy.as_ref().map(ProxyTable::build).transpose()?;
        let tls = self.tls.as_ref().map(TlsTable::build).transpose()?;
        Ok(source.with_some(proxy, RestBuilder::proxy).with_some(tls, RestBuilder::tls))
    }
}

impl ProxyTable {
    fn build(&self) -> Result<Proxy> {
        match (&self.user, &self.password) {
            (None, None) => Ok(Proxy::at(&self.url)),
            (Some(user), Some(password)) => Ok(Proxy::at(&self.url).credentials(user, password.secret())),
            _ => Err(Error::config("read spec", "a proxy asks for a user and a password, or for none of them")),
        }
    }
}

impl TlsTable {
    fn build(&self) -> Result<Tls> {
        let tls = match (&self.certificates, &self.key, &self.client) {
            (None, None, None) => Tls::new(),
            (Some(certificates), Some(key), None) => Tls::new().client(certificates.secret(), key.secret()),
            (None, None, Some(both)) => Tls::new().client_pem(both.secret()),
            _ => {
                return Err(Error::config("read spec", "a client certificate and its key belong together")
                    .with_hint("say `certificates` and `key`, or `client` for a file with both"));
            }
        };
        Ok(tls.with_all(&self.trust, |tls, pem| tls.trust(pem.secret())).with_flag(self.only, Tls::only))
    }
}
