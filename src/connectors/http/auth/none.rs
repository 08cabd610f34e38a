use super::{Answered, Auth, AuthContext, Reaction, Signature};
use crate::error::Result;
use async_trait::async_trait;

/// No credentials.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct NoAuth;

#[async_trait]
impl Auth for NoAuth {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn sign(&self, _cx: &AuthContext<'_>, _signature: &mut Signature) -> Result<()> {
        Ok(())
    }

    async fn answered(
        &self,
        _cx: &AuthContext<'_>,
        _signature: &Signature,
        _answer: &Answered<'_>,
    ) -> Result<Reaction> {
        Ok(Reaction::Keep)
    }
}
