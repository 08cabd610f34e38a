use super::{Answered, Auth, AuthContext, Reaction, Secret, Signature};
use crate::error::Result;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

/// A user name and a password in the `Authorization` header (RFC 7617).
#[derive(Clone, Debug)]
pub struct Basic {
    user: User,
    password: Secret,
}

#[derive(Clone, Debug)]
enum User {
    Name(String),
    Key(Secret),
}

impl Basic {
    /// The given user, with a password or a place to find it.
    pub fn new(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self { user: User::Name(user.into()), password: password.into() }
    }

    /// A key in the place of the user, with an empty password, as some APIs take theirs.
    pub fn key(key: impl Into<Secret>) -> Self {
        Self { user: User::Key(key.into()), password: Secret::new("") }
    }
}

#[async_trait]
impl Auth for Basic {
    fn check(&self) -> Result<()> {
        match &self.user {
            User::Name(_) => self.password.check(),
            User::Key(key) => key.check(),
        }
    }

    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()> {
        let password = self.password.reveal(cx.env()).await?;
        signature.hide(&password);
        let user = match &self.user {
            User::Name(name) => name.clone().into(),
            User::Key(key) => {
                let key = key.reveal(cx.env()).await?;
                signature.hide(&key);
                key
            }
        };
        let encoded = STANDARD.encode(format!("{}:{}", user.expose_secret(), password.expose_secret()));
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
