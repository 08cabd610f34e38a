//! Keeps requests to origins that only data names away from private addresses: names are resolved here, and what is connected to
//! is what was checked.

use super::connect::lookup;
use super::is_denied;
use crate::error::Error;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::fmt;
use std::net::IpAddr;
use url::Host;

/// Resolves names to public addresses only.
#[derive(Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let mut public = lookup(&name).await?;
            public.retain(|address| !is_denied(address.ip()));
            if public.is_empty() {
                return Err(Denied.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Refuses addresses: they are not resolved. Names are checked when they are.
pub(super) fn check(url: &Url) -> Result<(), Error> {
    let ip: Option<IpAddr> = match url.host() {
        Some(Host::Ipv4(ip)) => Some(ip.into()),
        Some(Host::Ipv6(ip)) => Some(ip.into()),
        _ => None,
    };
    if ip.is_some_and(is_denied) { Err(refused()) } else { Ok(()) }
}

/// The error of a request that did not go out because its host has private addresses only.
pub(super) fn denied(error: &reqwest::Error) -> Option<Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if e.is::<Denied>() {
            return Some(refused());
        }
        cause = e.source();
    }
    None
}

fn refused() -> Error {
    Error::config("follow link", "a link leads to a private address")
        .with_hint("if it is meant to, allow its origin by name with .allow_origin(…)")
}

#[derive(Debug)]
struct Denied;

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host has private addresses only")
    }
}

impl std::error::Error for Denied {}
