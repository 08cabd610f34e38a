use crate::env::Env;
use crate::error::{Error, Result};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

/// Where secrets are kept: a vault, or the secret manager of a cloud.
///
/// # Guarantees (of an implementation)
/// 1. `Debug` and errors show no secret.
///
/// # Requires
/// 1. `secret` is asked for each attempt of a request: keep what is expensive to get for as long as it is valid.
///
/// # Errors
/// `Unavailable` where trying again may help.
///
/// # Cancellation
/// `secret` may be dropped at any await.
#[async_trait]
pub trait SecretProvider: Debug + Send + Sync + 'static {
    /// The secret as it is now.
    async fn secret(&self, env: &Env) -> Result<SecretString>;
}

/// A secret: a value, or where to find it. Never shown.
#[derive(Clone, Debug)]
pub struct Secret(Place);

#[derive(Clone, Debug)]
enum Place {
    Value(SecretString),
    Variable(String),
    File(PathBuf),
    Provider(Arc<dyn SecretProvider>),
}

impl Secret {
    /// The secret itself.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Place::Value(value.into().into()))
    }

    /// The value of an environment variable.
    pub fn from_env(name: impl Into<String>) -> Self {
        Self(Place::Variable(name.into()))
    }

    /// The content of a file without the line end, read again for each attempt: it may be renewed meanwhile.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(path.into()))
    }

    /// What a provider says, asked again for each attempt.
    pub fn from_provider(provider: impl SecretProvider) -> Self {
        Self(Place::Provider(Arc::new(provider)))
    }

    /// Says at once if it is not there. A provider is not asked.
    ///
    /// # Errors
    /// `Config` if it is not there or empty.
    pub fn check(&self) -> Result<()> {
        if matches!(self.0, Place::Provider(_)) { Ok(()) } else { self.read().map(|_| ()) }
    }

    /// The secret as it is now.
    ///
    /// # Errors
    /// `Config` if it is not there or empty; that of the provider.
    pub async fn reveal(&self, env: &Env) -> Result<SecretString> {
        match &self.0 {
            Place::File(_) => {
                let secret = self.clone();
                env.blocking("read secret", move || secret.read()).await?
            }
            Place::Provider(provider) => {
                let secret = provider.secret(env).await?;
                if secret.expose_secret().is_empty() { Err(empty()) } else { Ok(secret) }
            }
            _ => self.read(),
        }
    }

    /// The secret, for what is set up before anything runs.
    ///
    /// # Errors
    /// `Config` if it is not there or empty, or must be asked for.
    pub(in super::super) fn read(&self) -> Result<SecretString> {
        let value = match &self.0 {
            Place::Value(value) => return Ok(value.clone()),
            Place::Provider(_) => {
                return Err(Error::config("read secret", "a provider cannot be asked before the source runs")
                    .with_hint("take this secret from the environment or from a file"));
            }
            Place::Variable(name) => std::env::var(name).map_err(|_| {
                Error::config("read secret", "the environment variable is not set, or not text").with("name", name)
            })?,
            Place::File(path) => std::fs::read_to_string(path).map_err(|e| {
                Error::config("read secret", "the file cannot be read").with("path", path.display()).with_source(e)
            })?,
        };
        let value = value.trim_end_matches(['\r', '\n']);
        if value.is_empty() {
            return Err(match &self.0 {
                Place::Variable(name) => empty().with("name", name),
                Place::File(path) => empty().with("path", path.display()),
                _ => empty(),
            });
        }
        Ok(value.to_owned().into())
    }
}

fn empty() -> Error {
    Error::config("read secret", "the secret is empty")
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<SecretString> for Secret {
    fn from(value: SecretString) -> Self {
        Self(Place::Value(value))
    }
}
