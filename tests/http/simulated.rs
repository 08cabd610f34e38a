//! Random simulation over a real connection: a scripted API with faults that a seed draws, processes that die at their stores, rows that
//! come and change in between. Then the faults end, and what the API holds must be there, once.
//!
//! `LANDFALL_SIMULATION_HTTP=n` runs that many seeds, from `LANDFALL_SIMULATION_FIRST` on.

use crate::environment::number;
use crate::scripted::{NEVER, accesses, env, rest};
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::arrow::array::AsArray;
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::columnar::{Columns, Decode, Dedup};
use landfall::connectors::parquet::{DatasetReader, ParquetDataset};
use landfall::env::{Entropy, Env};
use landfall::landing::{Landing, LandingReader};
use landfall::model::{PipelineName, ShardKey};
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::Quarantine;
use landfall::store::Store;
use landfall::testkit::http::{Access, Fault, Paging, ScriptedApi, Wait};
use landfall::testkit::{Faults, ManualClock, Mode, SeededEntropy, Verdict};
use landfall::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Seeds that went wrong once. They always run.
const REGRESSIONS: [u64; 2] = [21, 181];
/// Runs that a recovery may need.
const RECOVERIES: usize = 3;

struct World {
    api: ScriptedApi,
    /// What the seed has drawn.
    drawn: String,
    store: Store,
    chance: Arc<SeededEntropy>,
}

#[tokio::test]
async fn seeds_over_http_lose_and_double_nothing() {
    let first = number("LANDFALL_SIMULATION_FIRST").unwrap_or(0);
    let seeds = number("LANDFALL_SIMULATION_HTTP").unwrap_or(18);
    let seeds: BTreeSet<u64> = (first..first + seeds).chain(REGRESSIONS).collect();
    let (mut total, mut requests, mut faults, mut deaths, mut wrong) = (Verdict::default(), 0, 0, 0, Vec::new());
    for &seed in &seeds {
        let world = World::new(seed).await;
        let (verdict, died) = world.days().await;
        let (asked, failed) = world.api.counts();
        requests += asked;
        faults += failed;
        deaths += died;
        if !verdict.is_right() {
            wrong.push(format!("seed {seed}, {}: {verdict}", world.drawn));
        }
        total = total.and(verdict);
    }
    println!(
        "proof suite=simulation of=http seeds={} requests={requests} faults={faults} deaths={deaths} {}",
        seeds.len(),
        total.sums()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(faults > 0 && deaths > 0, "of {requests} requests and {} seeds, nothing went wrong", seeds.len());
}

impl World {
    async fn new(seed: u64) -> Self {
        let chance = Arc::new(SeededEntropy::new(!seed));
        let paging = one_of(&chance, &Paging::ALL);
        let accesses: Vec<Access> = accesses().into_iter().filter(outlives_a_process).collect();
        let access = one_of(&chance, &accesses);
        let access = if paging == Paging::Children { lasting(access) } else { access };
        let wait = one_of(&chance, &[Wait::Unsaid, Wait::Seconds(7), Wait::Date(9)]);
        // Who asks for a window and is given the rows of the one before cannot tell that from a window with few rows.
        let again = (paging != Paging::Windows).then_some(Fault::Again);
        let astray = [Fault::Moved, Fault::Repeated, Fault::Circle, Fault::Empty].into_iter().chain(again);
        let api = ScriptedApi::new(paging)
            .page_size(3)
            .access(access.clone())
            .busy_after(11, one_of(&chance, &[429, 503]), wait)
            .faults_drawn(seed, 80, Fault::TRANSIENT.into_iter().chain(Fault::HARMLESS).chain(astray))
            .env(&env())
            .start()
            .await;
        let drawn = format!("{paging:?}, {access:?}, {wait:?}");
        let world = Self { api, drawn, store: Store::memory(), chance };
        (0..20).for_each(|id| world.put(id));
        world
    }

    /// The record comes, or changes.
    fn put(&self, id: u64) {
        self.api.put(id, json!({ "name": format!("name {}", self.below(1_000)) }));
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
                self.put(self.below(40));
            }
        }
        self.api.quiet();
        let mut ended = self.process(&Faults::none()).await;
        for _ in 1..RECOVERIES {
            if ended.is_err() {
                ended = self.process(&Faults::none()).await;
            }
        }
        // An export that was resumed has what there was when it began.
        if ended.is_ok() {
            ended = self.process(&Faults::none()).await;
        }
        if let Err(error) = ended {
            wrong.push(format!("no recovery ended well: {error}"));
        }
        let mut verdict = self.api.served().with_landed(self.landed().await).verdict(self.rows().await);
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
            .source(rest(&self.api).build()?)
            .land(Landing::in_store(&store, "raw")?.segment_bytes(200))
            .stage(Decode::pages().schema(Columns::new().int64("id").int64("version").utf8("name")))
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

    /// What lies in the landing, by id and version.
    async fn landed(&self) -> Vec<(u64, u64)> {
        let landing = Landing::in_store(&self.store, "raw").expect("a name");
        let shard = ShardKey { pipeline: PipelineName::new("rows").expect("a name"), shard: 0 };
        let reader = LandingReader::new(&landing, &shard, &env());
        let (mut rows, mut number) = (Vec::new(), 1);
        while let Some(segment) = reader.read(number).await.expect("readable") {
            for page in segment.pages {
                let values = serde_json::Deserializer::from_slice(&page.body).into_iter::<Value>();
                let values = values.map(|value| value.expect("JSON"));
                // An object with a list, a list, or a row in each line.
                let listed =
                    values.flat_map(|mut value| match value.get_mut("records").map(Value::take).unwrap_or(value) {
                        Value::Array(rows) => rows,
                        row => vec![row],
                    });
                let row = |row: Value| row["id"].as_u64().zip(row["version"].as_u64()).expect("numbers");
                rows.extend(listed.map(row));
            }
            number += 1;
        }
        rows
    }

    async fn rows(&self) -> Vec<Value> {
        let snapshot = DatasetReader::new(&self.store, "rows").expect("a name").snapshot().await.expect("readable");
        let mut rows = Vec::new();
        for batch in snapshot.read_batches().await.expect("readable") {
            let column = |name: &str| batch.column_by_name(name).expect("the column");
            let number = |name: &str| column(name).as_primitive::<Int64Type>();
            let (ids, versions, names) = (number("id"), number("version"), column("name").as_string::<i32>());
            let all = ids.values().iter().zip(versions.values()).zip(names);
            rows.extend(all.map(|((id, version), name)| json!({ "id": id, "version": version, "name": name })));
        }
        rows
    }
}

fn one_of<T: Clone>(chance: &SeededEntropy, of: &[T]) -> T {
    of[usize::try_from(chance.next_u64() % of.len() as u64).expect("few")].clone()
}

/// Parents and children are read side by side: of tokens for two requests, one read would use up what another one has just asked for.
fn lasting(mut access: Access) -> Access {
    if let Access::ClientCredentials { requests, .. }
    | Access::RefreshToken { requests, .. }
    | Access::JwtBearer { requests, .. }
    | Access::Session { requests, .. } = &mut access
    {
        *requests = 20;
    }
    access
}

/// What the API keeps of a client would have to be kept by the client too, or waited for on one clock.
fn outlives_a_process(access: &Access) -> bool {
    !matches!(access, Access::Keys(..) | Access::RefreshToken { rotates: true, .. })
}
