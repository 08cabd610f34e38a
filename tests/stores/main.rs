//! Object stores over HTTP: what each answer of a server means, over a server that answers as told; and real servers, where
//! the environment names one. Whole pipelines on them, and on local files.

#![allow(clippy::type_complexity, unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::print_stdout, clippy::disallowed_macros, reason = "an enumeration says its figures")]

#[path = "../worlds/counted.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod counted;
#[path = "../worlds/environment.rs"]
mod environment;
mod histories;
mod lifecycle;
mod outcomes;
mod real;
mod server;
#[allow(dead_code, reason = "only its script is used")]
#[path = "../pipeline/support.rs"]
mod support;

use landfall::ErrorKind;
use landfall::connectors::object_store::object_store::{
    ClientOptions, RetryConfig, StaticCredentialProvider,
    aws::AmazonS3Builder,
    gcp::{GcpCredential, GoogleCloudStorageBuilder},
};
use landfall::store::{ObjectPath, Store};
use server::Server;
use std::sync::Arc;
use std::time::Duration;

fn path(name: &str) -> ObjectPath {
    ObjectPath::parse(name).expect("a valid name")
}

/// Few retries, and soon.
fn retries() -> RetryConfig {
    let mut retries = RetryConfig { max_retries: 2, ..RetryConfig::default() };
    retries.backoff.init_backoff = Duration::from_millis(1);
    retries.backoff.max_backoff = Duration::from_millis(2);
    retries
}

fn s3(server: &Server) -> Store {
    s3_at(&server.url)
}

fn s3_at(url: &str) -> Store {
    let client = AmazonS3Builder::new()
        .with_endpoint(url)
        .with_allow_http(true)
        .with_bucket_name("lake")
        .with_region("eu-west-1")
        .with_access_key_id("KEY")
        .with_secret_access_key("SECRET-KEY")
        .with_retry(retries())
        .build();
    Store::from_object_store(Arc::new(client.expect("a client")))
}

/// The client of Google Cloud Storage, with a token that asks nobody.
fn gcs(server: &Server) -> Store {
    let client = GoogleCloudStorageBuilder::new()
        .with_base_url(&server.url)
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_bucket_name("lake")
        .with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: "SECRET-KEY".into() })))
        .with_retry(retries())
        .build();
    Store::from_object_store(Arc::new(client.expect("a client")))
}

#[tokio::test]
async fn a_store_does_not_show_its_keys() {
    let server = Server::start().await;
    for store in [s3(&server), gcs(&server)] {
        let shown = format!("{store:?}");
        assert!(shown.contains("lake") && !shown.contains("SECRET-KEY"), "{shown}");
    }
}

#[test]
fn a_store_that_cannot_be_opened_says_where_to_look() {
    if std::env::var_os("AZURE_STORAGE_USE_EMULATOR").is_some()
        || std::env::var_os("AZURE_STORAGE_ACCOUNT_NAME").is_some()
    {
        return;
    }
    let error = Store::from_uri("az://lake/raw").expect_err("no account");
    let said = error.to_string();
    assert!(
        error.kind() == ErrorKind::Config && said.contains("docs/stores.md") && said.contains("az://lake"),
        "{said}"
    );
}

/// What any store promises, over the client of S3 and this server.
mod on_s3 {
    use super::*;
    use landfall::testkit::{Effect, FaultProxy, Faults};

    /// The store as a process reaches it of which each message to the server may go wrong.
    async fn reached_by(server: &Server, faults: &Faults) -> (Store, FaultProxy) {
        let upstream = server.url.trim_start_matches("http://").parse().expect("an address");
        let proxy = FaultProxy::start(upstream, faults, |_, _| Some(Effect::Whole)).expect("a free port");
        (s3_at(&format!("http://{}", proxy.address())), proxy)
    }

    landfall::store_conformance!(
        {
            let server = Server::start().await;
            (s3(&server), server)
        },
        reached_by: reached_by
    );
}

/// No emulator of Google Cloud Storage works with the client: this shows only that what it asks has the right shape.
mod on_gcs {
    landfall::store_conformance!({
        let server = super::Server::start().await;
        (super::gcs(&server), server)
    });
}
