use crate::connectors::http::auth::Secret;
use crate::error::{Error, Result};
use reqwest::{Certificate, ClientBuilder, Identity};
use secrecy::ExposeSecret;

/// Certificates: which client this is (mutual TLS), and which authorities it trusts beside those of the system.
///
/// The client's certificate is shown to the configured origin, to others that take credentials, and to token endpoints; to no
/// other. Files are read when the source is built.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Tls {
    identity: Vec<Secret>,
    authorities: Vec<Secret>,
    only: bool,
}

impl Tls {
    /// The certificates of the system, and no client certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the client's certificate with the chain up to its authority, and its private key: PEM in two places.
    pub fn client(mut self, certificates: impl Into<Secret>, key: impl Into<Secret>) -> Self {
        self.identity = vec![certificates.into(), key.into()];
        self
    }

    /// Sets the client's certificate and key: PEM in one place.
    pub fn client_pem(mut self, certificates_and_key: impl Into<Secret>) -> Self {
        self.identity = vec![certificates_and_key.into()];
        self
    }

    /// Trusts the authorities in `pem` too.
    pub fn trust(mut self, pem: impl Into<Secret>) -> Self {
        self.authorities.push(pem.into());
        self
    }

    /// Trusts only the authorities given with [`trust`](Self::trust), not those of the system.
    pub fn only(mut self) -> Self {
        self.only = true;
        self
    }

    /// `builder` with what to trust.
    pub(super) fn trusting(&self, builder: ClientBuilder) -> Result<ClientBuilder> {
        if self.only && self.authorities.is_empty() {
            return Err(
                Error::config("build source", "TLS trusts no authority").with_hint("name one with Tls::trust(…)")
            );
        }
        let mut certificates = Vec::new();
        for pem in &self.authorities {
            let found = Certificate::from_pem_bundle(pem.read()?.expose_secret().as_bytes());
            let found = found.map_err(|e| not_pem("the authorities to trust are not PEM", e))?;
            if found.is_empty() {
                return Err(Error::config("build source", "the authorities to trust are not PEM"));
            }
            certificates.extend(found);
        }
        Ok(match (self.only, certificates.is_empty()) {
            (true, _) => builder.tls_certs_only(certificates),
            (false, false) => builder.tls_certs_merge(certificates),
            (false, true) => builder,
        })
    }

    /// `builder` with who this is.
    pub(super) fn identified(&self, builder: ClientBuilder) -> Result<ClientBuilder> {
        if self.identity.is_empty() {
            return Ok(builder);
        }
        let mut pem = String::new();
        for part in &self.identity {
            pem.push_str(part.read()?.expose_secret());
            pem.push('\n');
        }
        let identity = Identity::from_pem(pem.as_bytes());
        Ok(builder.identity(identity.map_err(|e| not_pem("the client certificate or its key is not PEM", e))?))
    }
}

fn not_pem(what: &'static str, e: reqwest::Error) -> Error {
    Error::config("build source", what).with_source(e)
}
