//! Where things are kept: a folder, or a bucket.

use landfall::store::Store;
use landfall::{Error, Result};

/// A folder within a store.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) store: Store,
    pub(crate) prefix: String,
}

impl Place {
    /// Opens what `uri` names: the path of a folder, `file:///…` or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// `Config` if there is no such kind of store, it cannot be opened, or `uri` names no folder within it.
    pub(crate) fn open(uri: &str) -> Result<Self> {
        let no_folder = || Error::config("open place", "this names no folder").with("place", uri);
        if let Some(rest) = uri.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').ok_or_else(no_folder)?;
            let prefix = prefix.trim_matches('/').to_owned();
            return if prefix.is_empty() {
                Err(no_folder())
            } else {
                Ok(Self { store: bucket_store(bucket)?, prefix })
            };
        }
        // The store is the folder around it, so that a name within the store is left for it.
        let (around, name) = match uri.trim_end_matches('/').rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((around, name)) => (around, name),
            None => (".", uri),
        };
        if matches!(name, "" | "." | "..") || around.ends_with(":/") {
            return Err(no_folder());
        }
        Ok(Self { store: Store::from_uri(around)?, prefix: name.to_owned() })
    }

    /// The name of a folder below this one.
    pub(crate) fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }
}

/// Endpoint, region and keys come from the environment: `AWS_ENDPOINT`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, …
#[cfg(feature = "s3")]
fn bucket_store(bucket: &str) -> Result<Store> {
    let store = object_store::aws::AmazonS3Builder::from_env().with_bucket_name(bucket).build().map_err(|e| {
        Error::config("open bucket", "the bucket cannot be opened").with("bucket", bucket).with_source(e)
    })?;
    Ok(Store::from_object_store(std::sync::Arc::new(store)))
}

#[cfg(not(feature = "s3"))]
fn bucket_store(bucket: &str) -> Result<Store> {
    Err(Error::config("open bucket", "this build has no S3 client")
        .with("bucket", bucket)
        .with_hint("build with `--features s3`"))
}
