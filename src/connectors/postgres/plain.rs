//! Tells of a connection that came up without TLS although TLS was preferred: whoever sits between may decline it in the name of the
//! server, and see what is sent.

use deadpool_postgres::{ConfigConnectImpl, Connect};
use futures::future::BoxFuture;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Connects as the configuration says, and warns of the first connection to another machine that came up without TLS.
pub(super) struct Watched {
    tls: MakeRustlsConnect,
    warned: AtomicBool,
}

impl Watched {
    pub(super) fn new(tls: MakeRustlsConnect) -> Self {
        Self { tls, warned: AtomicBool::new(false) }
    }
}

impl Connect for Watched {
    fn connect(&self, config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        let plain: Arc<Mutex<Option<String>>> = Arc::default();
        let connect = ConfigConnectImpl { tls: Noted { tls: self.tls.clone(), plain: Arc::clone(&plain) } };
        let config = config.clone();
        Box::pin(async move {
            let connected = connect.connect(&config).await?;
            let host = plain.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(host) = host.filter(|host| !is_local(host)) {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        %host,
                        "the connection to the database is not encrypted, because TLS was declined: write `sslmode=require`"
                    );
                }
            }
            Ok(connected)
        })
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What makes TLS, with a note of the host that was reached last, which goes when TLS begins.
#[derive(Clone)]
struct Noted<T> {
    tls: T,
    plain: Arc<Mutex<Option<String>>>,
}

impl<T> Noted<T> {
    fn note(&self, host: Option<String>) {
        *self.plain.lock().unwrap_or_else(PoisonError::into_inner) = host;
    }
}

impl<S, T: MakeTlsConnect<S>> MakeTlsConnect<S> for Noted<T> {
    type Stream = T::Stream;
    type TlsConnect = Noted<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let tls = self.tls.make_tls_connect(host)?;
        self.note(Some(host.to_owned()));
        Ok(Noted { tls, plain: Arc::clone(&self.plain) })
    }
}

impl<S, T: TlsConnect<S>> TlsConnect<S> for Noted<T> {
    type Stream = T::Stream;
    type Error = T::Error;
    type Future = T::Future;

    fn connect(self, stream: S) -> Self::Future {
        self.note(None);
        self.tls.connect(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::conformance::logged::logged;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_postgres::NoTls;

    fn watched() -> Watched {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_root_certificates(RootCertStore::empty());
        Watched::new(MakeRustlsConnect::new(config.with_no_client_auth()))
    }

    /// A server that declines TLS and lets everybody in. Its port.
    async fn without_tls() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.expect("somebody connects");
                socket.read_exact(&mut [0; 8]).await.expect("asks for TLS");
                socket.write_all(b"N").await.expect("is declined");
                let length = socket.read_u32().await.expect("begins all the same");
                socket.read_exact(&mut vec![0_u8; length as usize - 4]).await.expect("says who it is");
                socket.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.expect("is let in");
            }
        });
        port
    }

    #[tokio::test]
    async fn a_connection_to_another_machine_without_tls_is_warned_of_once() {
        let port = without_tls().await;
        for (host, warnings) in [("db.example.com", 1), ("192.0.2.7", 1), ("localhost", 0), ("127.0.0.1", 0)] {
            let watched = watched();
            let text = format!("host={host} hostaddr=127.0.0.1 port={port} user=etl password=hunter2 sslmode=prefer");
            let config: Config = text.parse().expect("pairs");
            let ((), log) = logged(async {
                for _ in 0..2 {
                    watched.connect(&config).await.expect("everybody is let in");
                }
            })
            .await;
            assert_eq!(log.matches("is not encrypted").count(), warnings, "{host}: {log}");
            assert_eq!(log.contains(&format!("host={host}")), warnings > 0, "{log}");
            assert!(!log.contains("hunter2"), "{log}");
        }
    }

    #[test]
    fn a_connection_on_which_tls_begins_is_not_taken_for_a_plain_one() {
        let plain: Arc<Mutex<Option<String>>> = Arc::default();
        let mut noted = Noted { tls: NoTls, plain: Arc::clone(&plain) };
        for begins in [false, true] {
            let tls = MakeTlsConnect::<()>::make_tls_connect(&mut noted, "db.example.com").expect("is made");
            if begins {
                let _handshake = TlsConnect::<()>::connect(tls, ());
            }
            assert_eq!(plain.lock().expect("no panic").is_none(), begins);
        }
    }
}
