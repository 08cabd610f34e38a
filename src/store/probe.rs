use super::{Created, ObjectPath, Store};
use crate::env::Env;
use crate::error::{Error, Result};
use bytes::Bytes;

const PROBE: &str = "probe store";

/// Proves that `store` honours the condition of a create-if-absent, which all of the protocol's safety rests on: a store
/// that ignores it would let two owners of a shard overwrite each other. Writes, reads and deletes two scratch objects of random
/// names in the folder `_probe` below `prefix`.
///
/// # Errors
/// `Config` if the store ignores the condition or does not answer what was written; whatever the store answers besides.
///
/// # Cancellation
/// Dropped, it may leave a scratch object, which does no harm.
pub async fn probe(store: &Store, prefix: &ObjectPath, env: &Env) -> Result<()> {
    let folder = prefix.join("_probe")?;
    let path = folder.join(&env.nonce())?;
    let outcome = in_turn(store, &path, env.nonce().into(), env.nonce().into()).await;
    clean(store, &path).await;
    outcome?;

    let path = folder.join(&env.nonce())?;
    let outcome = at_once(store, &path, env.nonce().into(), env.nonce().into()).await;
    clean(store, &path).await;
    outcome
}

/// The second of two creates has no effect, and says so.
async fn in_turn(store: &Store, path: &ObjectPath, first: Bytes, second: Bytes) -> Result<()> {
    // The name is random: `Exists` can only be an earlier try of this very request, and reading back tells.
    store.create(path, first.clone()).await?;
    if read_back(store, path).await? != first {
        return Err(Error::config(PROBE, "the store does not answer what was just written").with("name", path).with_hint(
            "reads must see completed writes: turn off caches and read replicas in front of the store, or use another one",
        ));
    }
    let again = store.create(path, second).await?;
    if again == Created::New || read_back(store, path).await? != first {
        return Err(ignored(path));
    }
    Ok(())
}

/// Of two creates at the same time one has an effect, and the other says so.
async fn at_once(store: &Store, path: &ObjectPath, one: Bytes, other: Bytes) -> Result<()> {
    let (by_one, by_other) =
        futures::future::join(store.create(path, one.clone()), store.create(path, other.clone())).await;
    let held = read_back(store, path).await?;
    let won = match (by_one?, by_other?) {
        (Created::New, Created::New) => false,
        (Created::New, Created::Exists) => held == one,
        (Created::Exists, Created::New) => held == other,
        (Created::Exists, Created::Exists) => held == one || held == other,
    };
    if won { Ok(()) } else { Err(ignored(path)) }
}

async fn read_back(store: &Store, path: &ObjectPath) -> Result<Bytes> {
    Ok(store.get(path, None).await?.unwrap_or_default())
}

fn ignored(path: &ObjectPath) -> Error {
    Error::config(PROBE, "the store ignores the condition of a create-if-absent, two owners could overwrite each other")
        .with("name", path)
        .with_hint(
            "turn on conditional puts where the store is built (for S3: `If-None-Match` on put), update the server, check that \
             no proxy strips the header, or use another store",
        )
}

async fn clean(store: &Store, path: &ObjectPath) {
    if let Err(error) = store.delete(path).await {
        tracing::warn!(%path, %error, "the scratch object of the start-up probe stays");
    }
}
