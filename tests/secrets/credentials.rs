use crate::search::SECRET;
use landfall::connectors::http::{ApiKey, Basic, Bearer, RestBuilder, Secret};
use std::path::Path;

/// A kind of credentials, and how a source gets them.
pub struct Kind {
    pub name: &'static str,
    pub give: fn(RestBuilder, &Path) -> RestBuilder,
}

/// Every kind. The path is that of a file with the secret.
pub const KINDS: &[Kind] = &[
    Kind { name: "bearer", give: |rest, _| rest.auth(Bearer::new(SECRET)) },
    Kind { name: "bearer from a file", give: |rest, file| rest.auth(Bearer::from_file(file)) },
    Kind { name: "basic", give: |rest, _| rest.auth(Basic::new("a user", SECRET)) },
    Kind { name: "key in a header", give: |rest, _| rest.auth(ApiKey::header("x-key", SECRET)) },
    Kind { name: "key in the query", give: |rest, file| rest.auth(ApiKey::query("key", Secret::from_file(file))) },
];
