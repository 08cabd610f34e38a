use crate::error::{Error, Result};
use crate::store::{ObjectPath, Store};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where a refresh token is kept that takes the place of the last one.
///
/// # Guarantees (of an implementation)
/// 1. *Durable*: what `keep` has answered survives a crash.
/// 2. *Whole*: `load` gives what one call of `keep` was given, all of it.
/// 3. *Secret*: nobody reads it who may not know the token; `Debug` and errors do not show it.
///
/// # Errors
/// `Unavailable` where trying again may help. What `keep` could not keep is given to it again before it is used.
///
/// # Cancellation
/// Neither is dropped while the runtime lives.
#[async_trait]
pub trait TokenStore: Debug + Send + Sync + 'static {
    /// The text that was kept last; `None` if none was.
    async fn load(&self) -> Result<Option<SecretString>>;

    /// Keeps `text`, in place of what was kept before.
    async fn keep(&self, text: &SecretString) -> Result<()>;
}

/// A [`TokenStore`] in a [`Store`] or in a file. Layout: docs/formats.md.
#[derive(Clone, Debug)]
pub struct KeptToken(Place);

#[derive(Clone, Debug)]
enum Place {
    Object(Store, ObjectPath),
    File(PathBuf),
}

impl KeptToken {
    /// In the object `name` of `store`. Whoever can read the store can read the token.
    ///
    /// # Errors
    /// `Config` if it cannot be the name of an object.
    pub fn in_store(store: &Store, name: &str) -> Result<Self> {
        Ok(Self(Place::Object(store.clone(), ObjectPath::parse(name)?)))
    }

    /// In the file `path`, which only its owner can read. It is replaced whole; its folder must be there.
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(path.into()))
    }
}

#[async_trait]
impl TokenStore for KeptToken {
    async fn load(&self) -> Result<Option<SecretString>> {
        match &self.0 {
            Place::Object(store, name) => {
                let bytes = store.get(name, Some(0..MOST_BYTES + 1)).await?;
                bytes.map(|bytes| text(bytes.to_vec())).transpose()
            }
            Place::File(path) => {
                let path = path.clone();
                off_thread("read kept token", move || {
                    let mut bytes = Vec::new();
                    match File::open(&path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes)) {
                        Ok(_) => text(bytes).map(Some),
                        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                        Err(e) => Err(unusable("read kept token", &path, e)),
                    }
                })
                .await
            }
        }
    }

    async fn keep(&self, text: &SecretString) -> Result<()> {
        match &self.0 {
            Place::Object(store, name) => store.put(name, text.expose_secret().to_owned().into()).await,
            Place::File(path) => {
                let (path, text) = (path.clone(), text.clone());
                off_thread("keep token", move || {
                    replace(&path, text.expose_secret()).map_err(|e| unusable("keep token", &path, e))
                })
                .await
            }
        }
    }
}

/// What is kept: a token, and of which configured one it took the place. Another one that is configured since then counts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::connectors::http) struct Record {
    version: u32,
    /// SHA-256 of the configured token, in hexadecimal.
    configured: String,
    token: String,
}

impl Record {
    pub(super) fn new(configured: &SecretString, token: &SecretString) -> Self {
        Self { version: VERSION, configured: fingerprint(configured), token: token.expose_secret().to_owned() }
    }

    /// # Errors
    /// `Corrupt` for what is no record; `Config` for one of a later version.
    pub(in crate::connectors::http) fn parse(text: &SecretString) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_str(text.expose_secret()).map_err(|_| damaged())?;
        if version != VERSION {
            return Err(Error::config("read kept token", "it was kept by another version of this library")
                .with("version", version)
                .with_hint("use a newer version of landfall"));
        }
        serde_json::from_str(text.expose_secret()).map_err(|_| damaged())
    }

    pub(in crate::connectors::http) fn to_text(&self) -> SecretString {
        serde_json::to_string(self).expect("numbers and text are JSON").into()
    }

    /// The token, if it took the place of `configured`.
    pub(super) fn of(self, configured: &SecretString) -> Option<SecretString> {
        (self.configured == fingerprint(configured)).then(|| self.token.into())
    }
}

fn fingerprint(secret: &SecretString) -> String {
    format!("{:x}", Sha256::digest(secret.expose_secret()))
}

/// What was kept, of which a byte more was read than it can have.
fn text(bytes: Vec<u8>) -> Result<SecretString> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(damaged());
    }
    String::from_utf8(bytes).map(SecretString::from).map_err(|_| damaged())
}

fn damaged() -> Error {
    Error::corrupt("read kept token", "the kept token is damaged")
        .with_hint("remove it, and configure a refresh token of a new consent")
}

fn unusable(operation: &'static str, path: &Path, e: io::Error) -> Error {
    Error::config(operation, "the file cannot be used").with("path", path.display()).with_source(e)
}

async fn off_thread<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| crate::env::not_joined(operation, e))?
}

/// Writes beside, syncs, renames, and syncs the folder: a crash leaves the old content or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.to_owned().into_os_string();
    beside.push(".new");
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

const VERSION: u32 = 1;
/// Bytes of what is kept: the answer with the token has 1 MiB at most.
const MOST_BYTES: u64 = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Frozen: what was kept by a released version must be read by every later one.
    const FIXTURE: &str = include_str!("../../../../../tests/fixtures/kept-token-v1.json");

    #[test]
    fn reads_what_version_1_kept() {
        let record = Record::parse(&FIXTURE.to_owned().into()).expect("a record");
        assert_eq!(record.to_text().expose_secret(), FIXTURE.trim_end());
        let configured: SecretString = "configured".to_owned().into();
        assert_eq!(record.of(&configured).expect("of this one").expose_secret(), "rotated");
        let record = Record::parse(&FIXTURE.to_owned().into()).expect("a record");
        assert!(record.of(&"another consent".to_owned().into()).is_none());
    }

    #[test]
    fn damage_and_later_versions_are_told_without_the_token() {
        for (text, kind) in [
            (r#"{"version":1,"token":"s3cret"}"#, crate::ErrorKind::Corrupt),
            (r#"{"version":2,"token":"s3cret"}"#, crate::ErrorKind::Config),
            ("s3cret", crate::ErrorKind::Corrupt),
        ] {
            let error = Record::parse(&text.to_owned().into()).err().expect("refused");
            assert_eq!(error.kind(), kind);
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
    }

    #[tokio::test]
    async fn a_file_is_replaced_whole_and_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let store = KeptToken::in_file(&path);
        assert!(store.load().await.expect("no file").is_none());
        for text in ["one", "two"] {
            // A crash has left something beside.
            fs::write(folder.path().join("token.new"), "half").expect("written");
            store.keep(&text.to_owned().into()).await.expect("kept");
            assert_eq!(store.load().await.expect("read").expect("there").expose_secret(), text);
        }
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1);
    }

    #[tokio::test]
    async fn what_is_larger_than_any_token_is_damage_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        File::create(&path).expect("a file").set_len(1 << 40).expect("with a hole");
        let store = Store::local(folder.path()).expect("opens");
        for kept in [KeptToken::in_file(&path), KeptToken::in_store(&store, "token").expect("a name")] {
            let error = kept.load().await.expect_err("a terabyte is no token");
            assert_eq!(error.kind(), crate::ErrorKind::Corrupt, "{error}");
        }
    }
}
