use super::{Created, ObjectPath, Store};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures::future::join;
use std::time::Duration;

const PROBE: &str = "probe store";

/// Proves that `store` honours the condition of a create-if-absent, which all of the protocol's safety rests on: a store
/// that ignores it would let two owners of a shard overwrite each other. Writes, reads and deletes two scratch objects of random
/// names in the folder `_probe` below `prefix`: without the right to delete nothing could be moved to its place.
///
/// # Errors
/// `Config` if the store ignores the condition or does not answer what was written; whatever the store answers besides.
///
/// # Cancellation
/// Dropped, it may leave a scratch object, which does no harm.
pub async fn probe(store: &Store, prefix: &ObjectPath, env: &Env) -> Result<()> {
    if on(Defect::ConditionsAreNotProbed) {
        return Ok(());
    }
    let folder = prefix.join("_probe")?;
    let path = folder.join(&env.nonce())?;
    let outcome = in_turn(store, &path, env).await;
    let cleaned = clean(store, &path).await;
    outcome.and(cleaned)?;

    let path = folder.join(&env.nonce())?;
    let outcome = at_once(store, &path, env).await;
    let cleaned = clean(store, &path).await;
    outcome.and(cleaned)
}

/// Pauses before another try of a create that was answered with `Exists` although there is nothing: the server was busy with
/// another write of the name.
const PAUSES: [Duration; 3] = [Duration::from_millis(25), Duration::from_millis(100), Duration::from_millis(400)];

/// The second of two creates has no effect, and says so.
async fn in_turn(store: &Store, path: &ObjectPath, env: &Env) -> Result<()> {
    let (first, second) = (Bytes::from(env.nonce()), Bytes::from(env.nonce()));
    // The name is random: `Exists` can only be an earlier try of this very request, and reading back tells.
    let mut created = store.create(path, first.clone()).await?;
    let mut held = read_back(store, path).await?;
    for pause in PAUSES {
        if created == Created::New || !held.is_empty() {
            break;
        }
        env.sleep(pause).await;
        created = store.create(path, first.clone()).await?;
        held = read_back(store, path).await?;
    }
    if held != first {
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
async fn at_once(store: &Store, path: &ObjectPath, env: &Env) -> Result<()> {
    let (one, other) = (Bytes::from(env.nonce()), Bytes::from(env.nonce()));
    let race = async || join(store.create(path, one.clone()), store.create(path, other.clone())).await;
    let (mut by_one, mut by_other) = race().await;
    let mut held = read_back(store, path).await?;
    for pause in PAUSES {
        // Each may have been in the way of the other.
        let nobody = matches!((&by_one, &by_other), (Ok(Created::Exists), Ok(Created::Exists)));
        if !nobody || !held.is_empty() {
            break;
        }
        env.sleep(pause).await;
        (by_one, by_other) = race().await;
        held = read_back(store, path).await?;
    }
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

async fn clean(store: &Store, path: &ObjectPath) -> Result<()> {
    match store.delete(path).await {
        // It would refuse later, too, when what is committed is moved to its place.
        Err(error) if matches!(error.kind(), ErrorKind::Auth | ErrorKind::Config) => Err(error),
        Err(error) => {
            tracing::warn!(%path, %error, "the scratch object of the start-up probe stays");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ObjectAccess, ObjectInfo, Upload};
    use crate::testkit::test_env;
    use async_trait::async_trait;
    use std::ops::Range;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// How a store breaks the contract of a create.
    #[derive(Clone, Copy, Debug)]
    enum Flaw {
        /// It does not.
        None,
        /// It looks whether there is one, and then writes.
        LooksFirst,
        /// It says that there is one, and overwrites it.
        Overwrites,
        /// It answers from a cache that knows nothing new.
        Stale,
        /// It tells everybody that there was one, and keeps the first: this is allowed.
        SaysExists,
        /// So does this one, and of two at once it keeps the other.
        SaysExistsToo,
        /// It says at first that there was one, and has written nothing: another write was under way. This is allowed.
        Busy,
        /// Nothing may be deleted.
        Keeps,
        /// Nothing can be deleted for now. This is allowed.
        KeepsForNow,
    }

    /// A store, its flaw, and how often something was to be created.
    #[derive(Clone, Debug)]
    struct Flawed(Store, Flaw, Arc<AtomicU64>);

    #[async_trait]
    impl ObjectAccess for Flawed {
        async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
            let (there, before) = (self.0.get(path, None).await?.is_some(), self.2.fetch_add(1, Ordering::SeqCst));
            match self.1 {
                Flaw::LooksFirst if there => Ok(Created::Exists),
                Flaw::LooksFirst => {
                    tokio::task::yield_now().await;
                    self.0.put(path, bytes).await?;
                    Ok(Created::New)
                }
                Flaw::Overwrites => {
                    self.0.put(path, bytes).await?;
                    Ok(if there { Created::Exists } else { Created::New })
                }
                // Two of those in turn, and two of those at once.
                Flaw::Busy if [0, 1, 4, 5].contains(&before) => Ok(Created::Exists),
                Flaw::SaysExistsToo => {
                    if before == 2 {
                        tokio::task::yield_now().await;
                    }
                    self.0.create(path, bytes).await.map(|_| Created::Exists)
                }
                Flaw::None | Flaw::KeepsForNow | Flaw::Stale | Flaw::Busy | Flaw::Keeps => {
                    self.0.create(path, bytes).await
                }
                Flaw::SaysExists => self.0.create(path, bytes).await.map(|_| Created::Exists),
            }
        }
        async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
            self.0.put(path, bytes).await
        }
        async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
            self.0.upload(path).await
        }
        async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
            if matches!(self.1, Flaw::Stale) { Ok(None) } else { self.0.get(path, range).await }
        }
        async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
            self.0.list(prefix).await
        }
        async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
            self.0.rename(from, to).await
        }
        async fn delete(&self, path: &ObjectPath) -> Result<()> {
            match self.1 {
                Flaw::Keeps => Err(Error::new(ErrorKind::Auth, "delete object", "no permission")),
                Flaw::KeepsForNow => Err(Error::unavailable("delete object", "the server is busy")),
                _ => self.0.delete(path).await,
            }
        }
    }

    fn flawed(flaw: Flaw) -> Store {
        counted(flaw).0
    }

    fn counted(flaw: Flaw) -> (Store, Arc<AtomicU64>) {
        let count = Arc::<AtomicU64>::default();
        (Store::new(Flawed(Store::memory(), flaw, Arc::clone(&count))), count)
    }

    /// Only a store that may be busy is asked again, and a start waits for nothing else.
    #[tokio::test]
    async fn asks_no_more_often_than_it_must() {
        for (flaw, creates) in [(Flaw::None, 4), (Flaw::SaysExists, 4), (Flaw::Busy, 8), (Flaw::Stale, 1)] {
            let (store, count) = counted(flaw);
            let accepted = probe(&store, &ObjectPath::root(), &test_env(1)).await.is_ok();
            assert_eq!((accepted, count.load(Ordering::SeqCst)), (creates > 1, creates), "{flaw:?}");
        }
    }

    #[tokio::test]
    async fn refuses_stores_that_would_let_two_owners_overwrite_each_other() {
        for (flaw, said) in [
            (Flaw::LooksFirst, "ignores the condition"),
            (Flaw::Overwrites, "ignores the condition"),
            (Flaw::Stale, "what was just written"),
        ] {
            let store = flawed(flaw);
            let prefix = ObjectPath::parse("state").expect("a valid name");
            let error = probe(&store, &prefix, &test_env(1)).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Config, "{flaw:?}: {error}");
            assert!(error.to_string().contains(said) && error.hint().is_some(), "{flaw:?}: {error}");
            let left = store.list(&ObjectPath::root()).await.expect("list");
            assert!(left.is_empty(), "{flaw:?}: the scratch object stays");
        }
    }

    #[tokio::test]
    async fn forgives_a_store_that_meets_its_own_tries_or_is_busy() {
        for flaw in [Flaw::SaysExists, Flaw::SaysExistsToo, Flaw::Busy, Flaw::KeepsForNow] {
            probe(&flawed(flaw), &ObjectPath::root(), &test_env(1)).await.expect("accepted");
        }
    }

    #[tokio::test]
    async fn refuses_a_store_that_will_not_move_what_is_committed() {
        let error =
            probe(&flawed(Flaw::Keeps), &ObjectPath::root(), &test_env(1)).await.expect_err("nothing is deleted");
        assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    }
}
