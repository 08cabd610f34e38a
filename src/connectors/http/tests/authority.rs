//! Certificates, and servers that show them.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority, and what it has certified.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed"))
    }

    /// A certificate for `name` and its key.
    pub(super) fn certify(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        self.certify_for_years(name, 2_000, 4_000)
    }

    /// The same, valid from the beginning of a year to that of another.
    pub(super) fn certify_for_years(&self, name: &str, from: i32, to: i32) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("valid");
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
        (params.signed_by(&key, &self.0).expect("signed"), key)
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(super) fn roots(&self) -> Arc<rustls::RootCertStore> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(self.0.der().to_vec())).expect("a certificate");
        Arc::new(roots)
    }
}

/// A server with this certificate, which asks for one of `clients` if it is said. Also how many connections were made to it.
pub(super) async fn server_with(
    (certificate, key): (rcgen::Certificate, KeyPair),
    clients: Option<&Authority>,
) -> (Server, Arc<AtomicU64>) {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let config = match clients {
        Some(clients) => {
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(clients.roots(), provider);
            config.with_client_cert_verifier(verifier.build().expect("roots"))
        }
        None => config.with_no_client_auth(),
    };
    let config = config.with_single_cert(vec![certificate.der().clone()], key).expect("a certificate and its key");
    let (acceptor, connections) = (tokio_rustls::TlsAcceptor::from(Arc::new(config)), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&connections);
    let accept = move |connection| {
        count.fetch_add(1, Ordering::SeqCst);
        let acceptor = acceptor.clone();
        async move { acceptor.accept(connection).await.ok() }
    };
    (Server::start_over("https", accept, |_| Reply::json("[1]")).await, connections)
}
