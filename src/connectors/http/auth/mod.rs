//! Credentials: put on each attempt of a request, and only on its way to the configured origins.

mod api_key;
mod basic;
mod bearer;
mod context;
mod endpoint;
#[cfg(any(test, feature = "testkit"))]
mod fuzz;
mod hmac;
mod jwt;
mod jwt_bearer;
mod none;
mod oauth2;
mod pool;
mod secret;
mod session;
mod signature;
mod sigv4;
mod tokens;

pub use api_key::ApiKey;
pub use basic::Basic;
pub use bearer::Bearer;
pub use context::{Answered, AuthContext};
pub use endpoint::{Endpoints, Exchange, Exchanged};
#[cfg(any(test, feature = "testkit"))]
pub(super) use fuzz::{answer as fuzzed, key_file};
pub use hmac::{Hmac, HmacEncoding, HmacTime};
pub use jwt::Jwt;
pub use jwt_bearer::JwtBearer;
pub(super) use none::NoAuth;
#[cfg(any(test, feature = "testkit"))]
pub(super) use oauth2::KeptRecord;
pub use oauth2::{KeptToken, OAuth2, TokenStore};
pub use pool::TokenPool;
pub use secret::{Secret, SecretProvider};
pub use session::{Session, TokenAt, TokenTo};
pub use signature::Signature;
pub use sigv4::{Credentials, SigV4};

use crate::error::Result;
use async_trait::async_trait;
use std::fmt::Debug;
use std::sync::Arc;

/// Puts credentials on requests, and hears what the API made of them.
///
/// An instance serves all partitions of a source at the same time; in an [`Arc`] it serves several sources, which then share one
/// token and one refresh.
///
/// # Guarantees (of an implementation)
/// 1. *Secret.* `Debug` shows no secret. Every secret of a request, also one that an endpoint gave, goes through [`Signature`],
///    which keeps it out of errors, logs, pages and positions.
/// 2. *Anew for each attempt.* `sign` leaves no trace in the request: the next attempt is signed from scratch, with what is valid
///    then.
/// 3. *Once for all.* While credentials are renewed, others that need them wait for the same renewal.
/// 4. *Kept before used.* What an endpoint gives only once, such as a refresh token that takes the place of the last one, is
///    durable before anything is signed with what came with it.
/// 5. *Honest.* `answered` says [`Reaction::Renewed`] or [`Reaction::Another`] only if the next `sign` brings other credentials
///    than the answered request had.
///
/// # Requires
/// 1. `sign` is called for each attempt to a configured origin that takes credentials, and for no other.
/// 2. `answered` is called for each response to a signed request, before its body is read; and once more, with
///    [`Answered::is_refused`], if its status or a rule of the source says that the credentials are refused. Other requests may
///    have been signed and answered meanwhile.
/// 3. Whatever leaves the machine goes through [`AuthContext::endpoints`].
///
/// # Errors
/// An error of `sign` or `answered` is the error of the attempt: a transient one is tried again, an `Auth` one ends the read.
///
/// # Cancellation
/// `sign` and `answered` may be dropped at any await. A renewal that must not be lost goes on in a task of its own.
#[async_trait]
pub trait Auth: Debug + Send + Sync + 'static {
    /// Says at once what cannot work, such as an environment variable that is not set. Sends nothing.
    fn check(&self) -> Result<()>;

    /// Puts the credentials of one attempt on `signature`.
    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()>;

    /// The API answered a request that had `signature`.
    async fn answered(&self, cx: &AuthContext<'_>, signature: &Signature, answer: &Answered<'_>) -> Result<Reaction>;
}

/// What credentials make of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reaction {
    /// Nothing: the answer is what it is.
    Keep,
    /// The refused credentials are, or will be, replaced: the same request is sent again, once.
    Renewed,
    /// These credentials cannot be used now, but others can: the same request is sent again with them.
    Another,
}

/// One instance for several sources.
#[async_trait]
impl<A: Auth + ?Sized> Auth for Arc<A> {
    fn check(&self) -> Result<()> {
        (**self).check()
    }

    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()> {
        (**self).sign(cx, signature).await
    }

    async fn answered(&self, cx: &AuthContext<'_>, signature: &Signature, answer: &Answered<'_>) -> Result<Reaction> {
        (**self).answered(cx, signature, answer).await
    }
}

/// Both, for APIs that want two credentials on each request; the second sees nothing of the first.
#[async_trait]
impl<A: Auth, B: Auth> Auth for (A, B) {
    fn check(&self) -> Result<()> {
        self.0.check().and_then(|()| self.1.check())
    }

    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()> {
        self.0.sign(cx, signature).await?;
        self.1.sign(cx, signature).await
    }

    async fn answered(&self, cx: &AuthContext<'_>, signature: &Signature, answer: &Answered<'_>) -> Result<Reaction> {
        // Both must hear of it.
        let (first, second) =
            (self.0.answered(cx, signature, answer).await?, self.1.answered(cx, signature, answer).await?);
        Ok(if first == Reaction::Keep { second } else { first })
    }
}
