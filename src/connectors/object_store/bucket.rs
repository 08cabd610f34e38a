use super::fault::cannot_open;
use crate::error::Result;
use crate::store::{Bucket, Cloud, Store};
use object_store::{ObjectStore, path::Path, prefix::PrefixStore};
use std::sync::Arc;

impl Store {
    /// The store in `bucket`; the rest of what it takes to open it comes from the environment.
    pub(crate) fn in_bucket(bucket: &Bucket) -> Result<Self> {
        match bucket.cloud {
            #[cfg(feature = "s3")]
            Cloud::S3 => {
                use object_store::aws::AmazonS3Builder;
                below(bucket, AmazonS3Builder::from_env().with_url(&bucket.address).build())
            }
            #[cfg(feature = "azure")]
            Cloud::Azure => {
                use object_store::azure::MicrosoftAzureBuilder;
                below(bucket, MicrosoftAzureBuilder::from_env().with_url(&bucket.address).build())
            }
            #[cfg(feature = "gcs")]
            Cloud::Gcs => {
                use object_store::gcp::GoogleCloudStorageBuilder;
                below(bucket, GoogleCloudStorageBuilder::from_env().with_url(&bucket.address).build())
            }
            #[cfg(not(all(feature = "azure", feature = "gcs", feature = "s3")))]
            _ => Err(bucket.not_built_in()),
        }
    }
}

/// `opened`, seen from the folder of `bucket`.
fn below<T: ObjectStore>(bucket: &Bucket, opened: object_store::Result<T>) -> Result<Store> {
    let objects = opened.map_err(|e| cannot_open(&bucket.address, &e))?;
    if bucket.prefix.as_str().is_empty() {
        return Ok(Store::from_object_store(Arc::new(objects)));
    }
    // Taken as it is: `Path::from` would encode `%` again.
    let prefix = Path::parse(bucket.prefix.as_str()).map_err(|e| cannot_open(&bucket.address, &e.into()))?;
    Ok(Store::from_object_store(Arc::new(PrefixStore::new(objects, prefix))))
}
