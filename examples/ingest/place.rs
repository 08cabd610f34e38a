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
    /// `Config` if there is no such kind of store, or it cannot be opened.
    pub(crate) fn open(uri: &str) -> Result<Self> {
        let Some(rest) = uri.strip_prefix("s3://") else {
            return Ok(Self { store: Store::from_uri(uri)?, prefix: String::new() });
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self { store: bucket_store(bucket)?, prefix: prefix.trim_matches('/').to_owned() })
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
