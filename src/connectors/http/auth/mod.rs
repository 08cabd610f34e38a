//! Credentials: put on each attempt of a request, and only on its way to the configured origin.

mod api_key;
mod basic;
mod bearer;
mod secret;
mod signature;

pub use api_key::ApiKey;
pub use basic::Basic;
pub use bearer::Bearer;
pub use secret::Secret;
pub use signature::Signature;

use crate::env::Env;
use crate::error::Result;
use async_trait::async_trait;
use std::fmt::Debug;

/// Puts credentials on a request.
///
/// # Guarantees (of an implementation)
/// 1. `Debug` shows no secret.
/// 2. Every secret goes through [`Signature`], which keeps it out of errors, logs, pages and positions.
///
/// # Cancellation
/// `sign` may be dropped at any await.
#[async_trait]
pub trait Auth: Debug + Send + Sync + 'static {
    /// Says at once what cannot work, such as an environment variable that is not set.
    fn check(&self) -> Result<()>;

    /// Puts the credentials of one attempt on `signature`. Called again for each attempt.
    async fn sign(&self, env: &Env, signature: &mut Signature) -> Result<()>;
}

/// No credentials.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoAuth;

#[async_trait]
impl Auth for NoAuth {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn sign(&self, _env: &Env, _signature: &mut Signature) -> Result<()> {
        Ok(())
    }
}
