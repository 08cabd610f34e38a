//! Random simulation over a real connection: a scripted API with faults that a seed draws, processes that die at their stores, rows that
//! come and change in between. Then the faults end, and what the API holds must be there, once.
//!
//! `LANDFALL_SIMULATION_HTTP=n` runs that many seeds.

use crate::scripted::{NEVER, env, rest};
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::arrow::array::{AsArray, RecordBatch};
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::columnar::{Columns, Decode, Dedup};
use landfall::connectors::http::{Bearer, OAuth2, RestBuilder};
use landfall::connectors::parquet::{DatasetReader, ParquetDataset};
use landfall::env::{Entropy, Env};
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::Quarantine;
use landfall::store::Store;
use landfall::testkit::http::{Access, Fault, Paging, RetryAfter, ScriptedApi};
use landfall::testkit::{Faults, ManualClock, Mode, SeededEntropy, Verdict};
use landfall::{Error, ErrorKind, Result};
use serde_json::json;
use std::sync::Arc;

/// Runs that a recovery may need.
const RECOVERIES: usize = 3;

struct World {
    api: ScriptedApi,
    paging: Paging,
    access: Access,
    store: Store,
    chance: Arc<SeededEntropy>,
}

#[tokio::test]
async fn seeds_over_http_lose_and_double_nothing() {
    let seeds = std::env::var("LANDFALL_SIMULATION_HTTP").ok().and_then(|n| n.parse().ok()).unwrap_or(18);
    let (mut total, mut requests, mut faults, mut deaths, mut wrong) = (Verdict::default(), 0, 0, 0, Vec::new());
    for seed in 0..seeds {
        let world = World::new(seed).await;
        let (verdict, died) = world.days().await;
        let (asked, failed) = world.api.counts();
        requests += asked;
        faults += failed;
        deaths += died;
        if !verdict.is_right() {
            wrong.push(format!("seed {seed}, {:?}: {verdict}", world.paging));
        }
        total = total.and(verdict);
    }
    println!(
        "proof suite=simulation of=http seeds={seeds} requests={requests} faults={faults} deaths={deaths} {}",
        total.sums()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

impl World {
    async fn new(seed: u64) -> Self {
        let paging = Paging::ALL[usize::try_from(seed % 6).expect("six")];
        let client = Access::ClientCredentials { id: "me".into(), secret: "s".into(), requests: 7 };
        let access =
            [Access::Open, Access::Bearer("s".into()), client][usize::try_from(seed % 3).expect("three")].clone();
        let faults = Fault::TRANSIENT.into_iter().chain([Fault::Moved, Fault::Repeated]);
        let api = ScriptedApi::new(paging)
            .page_size(3)
            .access(access.clone())
            .busy_after(11, RetryAfter::Seconds(7))
            .faults_drawn(seed, 80, faults)
            .env(&env())
            .start()
            .await;
        (0..20).for_each(|id| api.put(id, json!({})));
        Self { api, paging, access, store: Store::memory(), chance: Arc::new(SeededEntropy::new(!seed)) }
    }

    fn below(&self, n: u64) -> u64 {
        self.chance.next_u64() % n
    }

    /// Processes that die, and one that recovers; gives what is wrong then, and how many died.
    async fn days(&self) -> (Verdict, u64) {
        let (mut wrong, mut deaths) = (Vec::new(), 0);
        for _ in 0..6 {
            let (chance, per_mille) =
                (Arc::clone(&self.chance), [0, 5, 20][usize::try_from(self.below(3)).expect("three")]);
            let faults = Faults::drawn(move |_| {
                let modes = [Mode::Before, Mode::AfterLostResponse, Mode::Torn, Mode::LostResponse, Mode::Fail];
                let mode = modes[usize::try_from(chance.next_u64() % 5).expect("five")];
                (chance.next_u64() % 1000 < per_mille).then_some(mode)
            });
            if let Err(error) = self.process(&faults).await {
                deaths += u64::from(faults.is_dead());
                // What moves, and what leads in circles, is refused as such.
                if matches!(error.kind(), ErrorKind::Bug | ErrorKind::Corrupt | ErrorKind::Config | ErrorKind::Auth) {
                    wrong.push(format!("a process ended with {error}"));
                }
            }
            for _ in 0..self.below(4) {
                self.api.put(self.below(40), json!({}));
            }
        }
        self.api.quiet();
        let mut ended = self.process(&Faults::none()).await;
        for _ in 1..RECOVERIES {
            if ended.is_err() {
                ended = self.process(&Faults::none()).await;
            }
        }
        if let Err(error) = ended {
            wrong.push(format!("no recovery ended well: {error}"));
        }
        let mut verdict = self.api.served().verdict(self.rows().await);
        verdict.wrong.extend(wrong);
        (verdict, deaths)
    }

    async fn process(&self, faults: &Faults) -> Result<()> {
        let store = faults.store(&self.store);
        let env = Env::deterministic(
            Arc::new(ManualClock::hasty(NEVER / 2)),
            Arc::new(SeededEntropy::new(self.chance.next_u64())),
        );
        let pipeline = Pipeline::named("rows")
            .source(self.rest().build()?)
            .land(Landing::in_store(&store, "raw")?.segment_bytes(200))
            .stage(Decode::pages().schema(Columns::new().int64("id").int64("version")))
            .stage(Dedup::by(["id", "version"]))
            .sink(ParquetDataset::in_store(&store, "rows")?.lanes(1))
            .quarantine(Quarantine::in_store(&store, "quarantine")?)
            .checkpoints(StoreCheckpoints::new(&store, "state")?)
            .settings(Settings::default().epoch_records(8).kept_checkpoints(1))
            .env(env)
            .build()?;
        pipeline.run().await.map_err(Error::from)?;
        Ok(())
    }

    fn rest(&self) -> RestBuilder {
        let rest = rest(&self.api, self.paging);
        match &self.access {
            Access::Bearer(token) => rest.auth(Bearer::new(token.clone())),
            Access::ClientCredentials { id, secret, .. } => {
                rest.auth(OAuth2::client_credentials(self.api.token_url(), id.clone(), secret.clone()))
            }
            _ => rest,
        }
    }

    async fn rows(&self) -> Vec<(u64, u64)> {
        let snapshot = DatasetReader::new(&self.store, "rows").expect("a name").snapshot().await.expect("readable");
        let batches = snapshot.read_batches().await.expect("readable");
        let column = |batch: &RecordBatch, name: &str| -> Vec<u64> {
            let values = batch.column_by_name(name).expect("the column").as_primitive::<Int64Type>();
            values.values().iter().map(|n| u64::try_from(*n).expect("positive")).collect()
        };
        batches.iter().flat_map(|batch| column(batch, "id").into_iter().zip(column(batch, "version"))).collect()
    }
}
