use super::{Answered, Auth, AuthContext, Reaction, Secret, Signature};
use crate::error::Result;
use async_trait::async_trait;
use std::path::PathBuf;

/// A token in the `Authorization` header, after the word `Bearer`.
#[derive(Clone, Debug)]
pub struct Bearer(Secret);

impl Bearer {
    /// The given token.
    pub fn new(token: impl Into<Secret>) -> Self {
        Self(token.into())
    }

    /// The token in an environment variable.
    pub fn from_env(name: impl Into<String>) -> Self {
        Self(Secret::from_env(name))
    }

    /// The token in a file, read again for each attempt.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self(Secret::from_file(path))
    }
}

#[async_trait]
impl Auth for Bearer {
    fn check(&self) -> Result<()> {
        self.0.check()
    }

    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()> {
        let token = self.0.reveal(cx.env()).await?;
        signature.bearer(&token)
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
