//! Real servers, where the environment names a store on one: `LANDFALL_S3_URI`, `LANDFALL_AZURE_URI`, `LANDFALL_GCS_URI`, with
//! the credentials in the variables that `Store::from_uri` reads; and `LANDFALL_LYING_URI`, a store that ignores conditions.
//! `scripts/stores` starts such servers.

use crate::lifecycle::loads_exactly;
use crate::path;
use bytes::Bytes;
use landfall::ErrorKind;
use landfall::env::Env;
use landfall::store::{ObjectPath, Store, probe};

const S3: &str = "LANDFALL_S3_URI";
const AZURE: &str = "LANDFALL_AZURE_URI";
const GCS: &str = "LANDFALL_GCS_URI";
const LYING: &str = "LANDFALL_LYING_URI";

/// An empty folder of the store that `variable` names.
#[allow(clippy::print_stdout, clippy::disallowed_macros, reason = "whoever waits for it wants to know")]
fn opened(variable: &str) -> Option<Store> {
    match std::env::var(variable) {
        Ok(uri) => Some(Store::from_uri(&format!("{uri}/{}", Env::system().nonce())).expect("it can be opened")),
        Err(_) => {
            println!("skipped: {variable} names no store");
            None
        }
    }
}

/// An empty folder of the store that a variable names, or the end of the test.
macro_rules! opened {
    ($variable:expr) => {
        match $crate::real::opened($variable) {
            Some(store) => (store, ()),
            None => return,
        }
    };
}

mod s3 {
    landfall::store_conformance!(opened!(super::S3));
}

mod azure {
    landfall::store_conformance!(opened!(super::AZURE));
}

mod gcs {
    landfall::store_conformance!(opened!(super::GCS));
}

#[tokio::test]
async fn a_pipeline_loads_exactly_on_each() {
    for variable in [S3, AZURE, GCS] {
        if let Some(store) = opened(variable) {
            loads_exactly(&store).await;
        }
    }
}

#[tokio::test]
async fn a_large_object_is_whole_on_each() {
    for variable in [S3, AZURE, GCS] {
        let Some(store) = opened(variable) else { continue };
        let piece = |n: u8| Bytes::from(vec![n; 5 << 20]);
        let mut upload = store.upload(&path("large")).await.expect("upload");
        for n in 0..5 {
            upload.write(piece(n)).await.expect("write");
        }
        assert_eq!(upload.finish().await.expect("finish"), 25 << 20, "{variable}");
        assert!(store.rename(&path("large"), &path("moved")).await.expect("rename"), "{variable}");
        let found = store.get(&path("moved"), None).await.expect("get").expect("it is there");
        assert!((0..5).all(|n| found[usize::from(n) * (5 << 20)..][..5 << 20] == piece(n)), "{variable}");
        store.delete(&path("moved")).await.expect("delete");
        store.delete(&path("moved")).await.expect("there is none");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_a_wrong_configuration() {
    for variable in [S3, AZURE] {
        let Ok(uri) = std::env::var(variable) else { continue };
        let store = Store::from_uri(&format!("{uri}-missing")).expect("nothing is asked yet");
        let read = store.get(&path("x"), None).await.expect_err("no bucket");
        let written = store.create(&path("x"), "1".into()).await.expect_err("no bucket");
        let listed = store.list(&ObjectPath::root()).await.expect_err("no bucket");
        for error in [read, written, listed] {
            assert_eq!(error.kind(), ErrorKind::Config, "{variable}: {error}");
        }
    }
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused() {
    let Some(store) = opened(LYING) else { return };
    let error = probe(&store, &path("state"), &Env::system()).await.expect_err("it lies");
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("condition"), "{error}");
}
