use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::{Arc, OnceLock};

/// Private keys, which are secrets by themselves: each is made once for the process.
pub struct Keys {
    /// The client's certificate and its key, PEM.
    pub client: String,
    pub client_key: String,
    /// The key of a service account, PEM.
    pub account_key: String,
    /// Whom the client trusts.
    pub authority: String,
    server: (CertificateDer<'static>, Vec<u8>),
    roots: CertificateDer<'static>,
}

impl Keys {
    pub fn all() -> &'static Self {
        static KEYS: OnceLock<Keys> = OnceLock::new();
        KEYS.get_or_init(Self::new)
    }

    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let certify = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("valid");
            (params.signed_by(&key, &authority).expect("signed"), key)
        };
        let (server, server_key) = certify("127.0.0.1");
        let (client, client_key) = certify("client");
        let account = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
        Self {
            client: client.pem(),
            client_key: client_key.serialize_pem(),
            account_key: account.serialize_pem(),
            authority: authority.pem(),
            server: (server.der().clone(), server_key.serialize_der()),
            roots: CertificateDer::from(authority.der().to_vec()),
        }
    }

    /// A server that lets in whom the authority has certified.
    pub fn server(&self) -> rustls::ServerConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.roots.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (certificate, key) = &self.server;
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("roots"))
            .with_single_cert(vec![certificate.clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone())))
            .expect("a certificate and its key")
    }

    /// The file of a service account that gets its tokens at `token_url`.
    pub fn account_file(&self, token_url: &str) -> String {
        serde_json::json!({
            "type": "service_account",
            "client_email": "loader@example.com",
            "private_key_id": "k1",
            "private_key": self.account_key,
            "token_uri": token_url,
        })
        .to_string()
    }
}
