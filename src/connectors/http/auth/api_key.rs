use super::{Answered, Auth, AuthContext, Reaction, Secret, Signature};
use crate::error::{Error, Result};
use async_trait::async_trait;

/// A key in a header, in the query or in a cookie.
#[derive(Clone, Debug)]
pub struct ApiKey {
    place: Place,
    name: String,
    key: Secret,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Header,
    Query,
    Cookie,
}

impl ApiKey {
    /// The key in the header `name`.
    pub fn header(name: impl Into<String>, key: impl Into<Secret>) -> Self {
        Self { place: Place::Header, name: name.into(), key: key.into() }
    }

    /// The key in the parameter `name` of the query. Prefer a header: servers log queries.
    pub fn query(name: impl Into<String>, key: impl Into<Secret>) -> Self {
        Self { place: Place::Query, name: name.into(), key: key.into() }
    }

    /// The key in the cookie `name`.
    pub fn cookie(name: impl Into<String>, key: impl Into<Secret>) -> Self {
        Self { place: Place::Cookie, name: name.into(), key: key.into() }
    }
}

#[async_trait]
impl Auth for ApiKey {
    fn check(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(Error::config("build source", "the API key has no name"));
        }
        self.key.check()
    }

    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()> {
        let key = self.key.reveal(cx.env()).await?;
        match self.place {
            Place::Header => signature.header(&self.name, &key),
            Place::Query => {
                signature.query(&self.name, &key);
                Ok(())
            }
            Place::Cookie => signature.cookie(&self.name, &key),
        }
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
