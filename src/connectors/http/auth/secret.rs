use crate::env::Env;
use crate::error::{Error, Result};
use secrecy::SecretString;
use std::path::PathBuf;

/// A secret: a value, or where to find it. Never shown.
#[derive(Clone, Debug)]
pub struct Secret(Place);

#[derive(Clone, Debug)]
enum Place {
    Value(SecretString),
    Variable(String),
    File(PathBuf),
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

    /// Says at once if it is not there.
    ///
    /// # Errors
    /// `Config` if it is not there or empty.
    pub fn check(&self) -> Result<()> {
        self.read().map(|_| ())
    }

    /// The secret as it is now.
    ///
    /// # Errors
    /// `Config` if it is not there or empty.
    pub async fn reveal(&self, env: &Env) -> Result<SecretString> {
        match self.0 {
            Place::File(_) => {
                let secret = self.clone();
                env.blocking("read secret", move || secret.read()).await?
            }
            _ => self.read(),
        }
    }

    fn read(&self) -> Result<SecretString> {
        let value = match &self.0 {
            Place::Value(value) => return Ok(value.clone()),
            Place::Variable(name) => std::env::var(name).map_err(|_| {
                Error::config("read secret", "the environment variable is not set, or not text").with("name", name)
            })?,
            Place::File(path) => std::fs::read_to_string(path).map_err(|e| {
                Error::config("read secret", "the file cannot be read").with("path", path.display()).with_source(e)
            })?,
        };
        let value = value.trim_end_matches(['\r', '\n']);
        if value.is_empty() {
            return Err(Error::config("read secret", "the secret is empty"));
        }
        Ok(value.to_owned().into())
    }
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
