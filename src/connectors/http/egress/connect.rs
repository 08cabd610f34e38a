//! Why there is no connection: nobody knows the host, or its certificate is not accepted.

use crate::connectors::http::client::failed;
use crate::error::{Error, Status};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::{CertificateError, Error as TlsError};
use std::error::Error as Cause;
use std::net::SocketAddr;
use std::{fmt, io};

/// Resolves names as the system does, and says if it cannot.
#[derive(Debug)]
pub(super) struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move { Ok(Box::new(lookup(&name).await?.into_iter()) as Addrs) })
    }
}

/// The addresses of a host.
pub(super) async fn lookup(name: &Name) -> Result<Vec<SocketAddr>, Unknown> {
    Ok(tokio::net::lookup_host((name.as_str(), 0)).await.map_err(Unknown)?.collect())
}

/// The error of a request to `url` that has no response. A certificate that is not accepted now is not accepted the next time.
pub(super) fn unanswered(error: reqwest::Error, url: &Url) -> Error {
    let certificate = causes(&error).find_map(|cause| match cause.downcast_ref() {
        Some(TlsError::InvalidCertificate(why)) => Some(to_do(why)),
        _ => None,
    });
    let (is_unknown, is_late) = (causes(&error).any(|cause| cause.is::<Unknown>()), error.is_timeout());
    let error = at(failed("send request", error), url);
    match certificate {
        Some(hint) => error.with_status(Status::Permanent).with_hint(hint),
        None if is_unknown => error.with_hint("check the host in the URL, and the DNS of this machine"),
        None if is_late => error.with_hint("check the host in the URL, and what lies between: a firewall, a proxy"),
        None => error,
    }
}

/// `error` with where the request was to go. No more of the URL is told: the rest may hold secrets.
pub(super) fn at(error: Error, url: &Url) -> Error {
    let host = url.host_str().unwrap_or_default();
    error.with("host", url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn to_do(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate of the server has expired: it has to be renewed there, or the clock of this machine is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate of the server is not valid yet: the clock of this machine may be wrong"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate of the server is for other names: check the host in the URL, and what lies between"
        }
        CertificateError::UnknownIssuer => {
            "the certificate of the server is of an authority that is not trusted: trust it with Tls::trust(…), if it may be"
        }
        _ => "the certificate of the server is not accepted",
    }
}

/// An error and what caused it; also what an I/O error only wraps.
fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Cause + 'static)> {
    let first: &'a (dyn Cause + 'static) = error;
    std::iter::successors(Some(first), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped as &(dyn Cause + 'static)),
        None => error.source(),
    })
}

/// The system knows no address of a host.
#[derive(Debug)]
pub(super) struct Unknown(io::Error);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host is not known: {}", self.0)
    }
}

impl Cause for Unknown {}
