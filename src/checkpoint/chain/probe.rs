use crate::checkpoint::{ChainId, CheckpointStore};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Created;
use bytes::Bytes;
use std::time::Duration;

/// Checks that a store keeps conditions (rule 7): creates record 1 of the scratch chain `landfall-probe` twice, and expects
/// the second to be refused and the first to be kept. One small record stays, so nothing is ever deleted.
///
/// # Errors
/// `Config` if the store ignores them: no guarantee would hold on it. Else the store's.
pub async fn probe(store: &dyn CheckpointStore, env: &Env) -> Result<()> {
    if on(Defect::ConditionsAreNotProbed) {
        return Ok(());
    }
    let id = ChainId::named("landfall-probe")?;
    let scratch = |which: &str| Bytes::from(format!("landfall-probe {which} {}\n", env.nonce()));
    let (first, second) = (scratch("first"), scratch("second"));
    let refuse = |message: &'static str| {
        Err(Error::config("probe store", message).with("chain", &id).with_hint(
            "use a store that keeps conditional writes (create if absent): nothing is exactly once without them",
        ))
    };
    let mut kept = None;
    for pause in [25, 100, 400, 0] {
        let answer = store.create(&id, 1, first.clone()).await;
        if matches!(answer, Ok(Created::New)) {
            kept = Some(first.clone());
        } else {
            // An earlier probe's, or a try of this one whose answer was lost.
            kept = store.read(&id, 1).await?;
        }
        match answer {
            _ if kept.is_some() => break,
            Err(e) if pause == 0 || !(e.is_transient() || e.kind() == ErrorKind::Ambiguous) => return Err(e),
            _ => env.sleep(Duration::from_millis(pause)).await,
        }
    }
    let Some(kept) = kept else { return refuse("the store refuses to create a record that does not exist") };
    let answer = store.create(&id, 1, second).await;
    let now = store.read(&id, 1).await?;
    if now != Some(kept) {
        return refuse("the store does not keep a record: a conditional write replaced it, or it cannot be read back");
    }
    match answer? {
        Created::Exists => Ok(()),
        Created::New => refuse("the store says that it created a record which exists"),
    }
}
