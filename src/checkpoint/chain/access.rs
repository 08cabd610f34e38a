use super::decide::{self, Answer, Missing, Outcome, ReadBack, Standing};
use crate::checkpoint::record::WAY_OUT;
use crate::checkpoint::{ChainId, CheckpointStore, Record};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result, Status};
use crate::store::Created;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// One chain in its store, with patience: every answer is verified, and a passing failure is tried again.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) store: Arc<dyn CheckpointStore>,
    pub(super) id: ChainId,
    /// Without it nothing is tried again, and records are verified where they are read.
    pub(super) env: Option<Env>,
}

/// A create-if-absent that is decided.
#[derive(Debug)]
pub(super) enum Settled {
    /// The record is there, and is this writer's.
    Mine,
    /// The number holds these other bytes.
    Lost(Bytes),
}

/// What was looked at, or that it was collected meanwhile.
#[derive(Debug)]
pub(super) enum Look<T> {
    Found(T),
    Collected,
}

impl Access {
    /// Creates record `number`; every doubt is resolved by reading back.
    ///
    /// Errors: `Ambiguous` if it stays open what happened; else as the store's, and nothing happened.
    pub(super) async fn create(&self, number: u64, bytes: &Bytes) -> Result<Settled> {
        let mut doubted = false;
        for (left, pause) in self.tries() {
            let (answer, failure) = match self.store.create(&self.id, number, bytes.clone()).await {
                Ok(Created::New) => return Ok(Settled::Mine),
                Ok(Created::Exists) => (Answer::Exists, None),
                Err(e) => match e.kind() {
                    ErrorKind::Unavailable | ErrorKind::Auth | ErrorKind::Config => {
                        (Answer::Refused { transient: e.is_transient() }, Some(e))
                    }
                    _ => (Answer::Doubt, Some(e)),
                },
            };
            let (read_back, theirs, failure) = match self.store.read(&self.id, number).await {
                Ok(None) => (ReadBack::Absent, None, failure),
                Ok(Some(found)) if found == *bytes => (ReadBack::Same, None, failure),
                Ok(Some(found)) => (ReadBack::Other, Some(found), failure),
                Err(e) => (ReadBack::Failed, None, failure.or(Some(e))),
            };
            let outcome = decide::settle(answer, read_back, doubted, left);
            doubted |= decide::may_have_happened(answer);
            match (outcome, theirs) {
                (Outcome::Mine, _) => return Ok(Settled::Mine),
                (Outcome::Lost, Some(theirs)) => return Ok(Settled::Lost(theirs)),
                (Outcome::Retry, _) => self.pause(pause).await,
                (Outcome::Refused, _) => {
                    let e = failure.unwrap_or_else(|| Error::unavailable(CREATE, "the store refused the record"));
                    return Err(self.spent(e).with("chain", &self.id).with("record", number));
                }
                (Outcome::Unknown | Outcome::Lost, _) => return Err(self.unknown(number, failure)),
            }
        }
        Err(self.unknown(number, None))
    }

    /// That it is open whether record `number` counts.
    pub(super) fn unknown(&self, number: u64, cause: Option<Error>) -> Error {
        let e = Error::new(
            ErrorKind::Ambiguous,
            CREATE,
            "the store's answers leave it open whether the record was written",
        )
        .with("chain", &self.id)
        .with("record", number)
        .with_hint("start again: recovery reads the chain and decides; delete nothing by hand");
        match cause {
            Some(cause) => e.with_source(cause),
            None => e,
        }
    }

    /// The stored bytes of record `number`.
    pub(super) async fn read_raw(&self, number: u64) -> Result<Option<Bytes>> {
        self.patiently(|| self.store.read(&self.id, number)).await
    }

    /// Verifies stored bytes, and gives the record with its digest.
    pub(super) async fn verify(&self, number: u64, bytes: Bytes) -> Result<(Record, String)> {
        let id = self.id.clone();
        let work = move || Ok((Record::decode(&id, number, &bytes)?, Record::digest(&bytes)));
        match &self.env {
            Some(env) => env.cpu("read chain record", work).await?,
            None => work(),
        }
    }

    /// Record `number`, if it is there and not a leftover: a record at or below the boundary does not count.
    pub(super) async fn read(&self, number: u64) -> Result<Option<Record>> {
        let found = self.read_raw(number).await?;
        // After the record, never before: what is collected later was genuine when it was read.
        if decide::standing(number, self.boundary().await?) == Standing::Lost {
            return Err(self.corrupt(number, "the record was collected").with_hint("begin after the chain's boundary"));
        }
        match found {
            None => Ok(None),
            Some(bytes) => {
                let id = self.id.clone();
                let work = move || Record::decode(&id, number, &bytes);
                match &self.env {
                    Some(env) => env.cpu("read chain record", work).await?,
                    None => work(),
                }
                .map(Some)
            }
        }
    }

    /// The boundary as it is now.
    pub(super) async fn boundary(&self) -> Result<u64> {
        self.patiently(|| self.store.boundary(&self.id)).await
    }

    /// Why record `number` is not there: collected meanwhile, or an error that says `message`.
    pub(super) async fn missing<T>(&self, number: u64, message: &'static str) -> Result<Look<T>> {
        self.look(decide::missing(number, self.boundary().await?), number, message)
    }

    pub(super) fn look<T>(&self, missing: Missing, number: u64, message: &'static str) -> Result<Look<T>> {
        match missing {
            Missing::Collected => Ok(Look::Collected),
            Missing::Hole => Err(self.corrupt(number, message).with_hint(WAY_OUT)),
        }
    }

    pub(super) fn corrupt(&self, number: u64, message: &'static str) -> Error {
        Error::corrupt("walk chain", message).with("chain", &self.id).with("record", number)
    }

    /// Repeats an operation that may be repeated, while its failure may pass.
    pub(super) async fn patiently<T, F: Future<Output = Result<T>>>(&self, operation: impl Fn() -> F) -> Result<T> {
        for (left, pause) in self.tries() {
            match operation().await {
                Err(e) if left > 0 && (e.is_transient() || e.kind() == ErrorKind::Ambiguous) => self.pause(pause).await,
                Err(e) => return Err(self.spent(e)),
                done => return done,
            }
        }
        operation().await
    }

    /// How many tries are left after each, and how long to wait before the next: the first comes soon, since most
    /// failures are single.
    fn tries(&self) -> impl Iterator<Item = (u32, Duration)> + use<> {
        let retries = if self.env.is_some() { RETRIES } else { 0 };
        (0..=retries).map(move |done| (retries - done, FIRST_PAUSE * 2_u32.pow(done)))
    }

    async fn pause(&self, pause: Duration) {
        if let Some(env) = &self.env {
            env.sleep(pause).await;
        }
    }

    fn spent(&self, e: Error) -> Error {
        if self.env.is_some() && e.is_transient() { e.with_status(Status::Exhausted) } else { e }
    }
}

const CREATE: &str = "write chain record";
const RETRIES: u32 = 7;
/// Doubled seven times this makes about three seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
