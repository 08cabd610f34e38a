use super::{Answered, Auth, AuthContext, Reaction, Secret, Signature};
use crate::error::Result;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

/// A user name and a password in the `Authorization` header.
#[derive(Clone, Debug)]
pub struct Basic {
    user: String,
    password: Secret,
}

impl Basic {
    /// The given user, with a password or a place to find it.
    pub fn new(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self { user: user.into(), password: password.into() }
    }
}

#[async_trait]
impl Auth for Basic {
    fn check(&self) -> Result<()> {
        self.password.check()
    }

    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()> {
        let password = self.password.reveal(cx.env()).await?;
        let encoded = STANDARD.encode(format!("{}:{}", self.user, password.expose_secret()));
        signature.hide(&password);
        signature.hide(&encoded.clone().into());
        signature.header("authorization", &format!("Basic {encoded}").into())
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
