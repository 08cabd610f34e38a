use super::Pipeline;
use super::beside::Beside;
use super::handle::{RunControl, RunFailure, RunHandle};
use super::report::RunReport;
use crate::error::{Error, Result};
use crate::model::PipelineName;
use crate::sink::Demand;
use std::collections::BTreeMap;

/// Pipelines that run together: one that lands, and others that load what it lands ([`landing_of`]) while it comes.
///
/// 1. *Own chains*: each has its stages, sink, quarantine, checkpoints and report. What fails in one stops no other; the next run goes on
///    where each stands.
/// 2. *Following*: a load follows the tail of the landing, and ends at its end, also if what lands has failed.
/// 3. *Kept*: before anything is landed, each load is known to the landing: retention keeps what it has not committed. One that
///    is new begins at the beginning of the landing; if retention has removed that, it fails, and says so.
/// 4. *Independent sinks*: the run that lands needs its own sink to begin. Give it none ([`land_only`]), and no sink can keep
///    pages from being landed.
///
/// Each pipeline has the memory of its settings.
///
/// ```
/// use landfall::checkpoint::StoreCheckpoints;
/// use landfall::landing::Landing;
/// use landfall::model::{Item, Page, Rows};
/// use landfall::pipeline::{Pipeline, Pipelines};
/// use landfall::sink::{MemorySink, MemoryTable};
/// use landfall::source::Source;
/// use landfall::stage::{Output, from_fn};
/// use landfall::store::Store;
///
/// async fn load<S: Source<Item = Page>>(api: S, store: &Store) -> landfall::Result<()> {
///     let landing = Landing::in_store(store, "raw")?;
///     let checkpoints = || StoreCheckpoints::new(store, "state");
///     let extract = Pipeline::named("orders").source(api).land(landing.clone()).land_only().checkpoints(checkpoints()?);
///     let pages = MemoryTable::new();
///     let history = Pipeline::named("history")
///         .landing_of("orders", landing.clone())
///         .sink(MemorySink::new(&pages))
///         .checkpoints(checkpoints()?);
///     let counts = MemoryTable::new();
///     let counted = Pipeline::named("counts")
///         .landing_of("orders", landing)
///         .stage(from_fn("count", |page: Page, out: &mut Output<Rows<u64>>| {
///             out.filtered(page.records());
///             out.fanned_out(1);
///             out.emit(Rows(vec![page.records()]));
///             Ok(())
///         }))
///         .sink(MemorySink::new(&counts))
///         .checkpoints(checkpoints()?);
///     let group = Pipelines::of([extract.build()?, history.build()?, counted.build()?])?;
///     for (name, ended) in group.run().await {
///         println!("{name}: {}", ended?);
///     }
///     Ok(())
/// }
/// ```
///
/// [`landing_of`]: crate::pipeline::PipelineBuilder::landing_of
/// [`land_only`]: crate::pipeline::PipelineBuilder::land_only
#[derive(Clone, Debug)]
pub struct Pipelines {
    members: Vec<Pipeline>,
}

/// How each pipeline of a group has ended, by name.
pub type Ended = BTreeMap<PipelineName, Result<RunReport, RunFailure>>;

impl Pipelines {
    /// Those that run together. One that loads from the landing of another one follows it if that is among them; else it loads
    /// up to where the landing stands.
    ///
    /// # Errors
    /// `Config` if two have one name, or a load does not fit the pipeline that it follows.
    pub fn of(pipelines: impl IntoIterator<Item = Pipeline>) -> Result<Self> {
        let members: Vec<Pipeline> = pipelines.into_iter().collect();
        let mut names = BTreeMap::new();
        for member in &members {
            if names.insert(&member.name, member).is_some() {
                return Err(Error::config("group pipelines", "two pipelines have the same name")
                    .with("pipeline", &member.name)
                    .with_hint("they would fence each other: name each by what it loads"));
            }
        }
        for member in &members {
            if let Some(lands) = member.landed_by.as_ref().and_then(|name| names.get(name)) {
                member.check_follows(lands).map_err(|e| e.with("pipeline", &member.name).with("lands", &lands.name))?;
            }
        }
        Ok(Self { members })
    }

    /// Runs all to their ends.
    ///
    /// # Cancellation
    /// Dropping the future is as safe as a crash: the next run recovers.
    pub async fn run(&self) -> Ended {
        self.start().wait().await
    }

    /// Starts all in the background. Must be called within a tokio runtime.
    pub fn start(&self) -> PipelinesHandle {
        let mut beside: BTreeMap<&PipelineName, Beside> = BTreeMap::new();
        for lands in self.members.iter().filter(|member| member.landed_by.is_none()) {
            let loads = self.members.iter().filter(|member| member.landed_by.as_ref() == Some(&lands.name));
            let names: Vec<_> = loads.clone().map(|load| load.name.clone()).collect();
            let (leading, following) = Beside::group(lands.settings.shards, names);
            beside.insert(&lands.name, leading);
            beside.extend(loads.map(|load| &load.name).zip(following));
        }
        let start = |member: &Pipeline| {
            (member.name.clone(), member.start_beside(beside.remove(&member.name).unwrap_or_default()))
        };
        PipelinesHandle { runs: self.members.iter().map(start).collect() }
    }
}

impl Pipeline {
    /// Checks that it can load what `lands` lands while it comes.
    fn check_follows(&self, lands: &Self) -> Result<()> {
        let refuse =
            |message: &'static str, hint: &'static str| Err(Error::config("group pipelines", message).with_hint(hint));
        let place = |pipeline: &Self| pipeline.landing.as_ref().map(|landing| landing.prefix.clone());
        if lands.landed_by.is_some() || place(lands).is_none() {
            return refuse("the pipeline that it loads from lands nothing itself", "load from the one that lands");
        }
        if place(lands) != place(self) {
            return refuse("it loads from another place than the pipeline lands in", "give both the same `Landing`");
        }
        if lands.settings.shards != self.settings.shards {
            return refuse("it has not as many shards as the pipeline that lands", "give both the same number");
        }
        if self.sink.demand() == Demand::Enumerations && !lands.from_the_beginning {
            return refuse(
                "its sink needs whole enumerations, and what lands goes on from run to run",
                "let it read everything each time, with `from_the_beginning()`",
            );
        }
        Ok(())
    }
}

/// Runs that go on in the background. Dropping it aborts them, which is as safe as a crash.
#[derive(Debug)]
pub struct PipelinesHandle {
    runs: Vec<(PipelineName, RunHandle)>,
}

impl PipelinesHandle {
    /// What watches and stops each run, to keep while another task waits for their ends.
    pub fn controls(&self) -> BTreeMap<PipelineName, RunControl> {
        self.runs.iter().map(|(name, run)| (name.clone(), run.control())).collect()
    }

    /// As [`RunControl::drain`], for all: reading ends, and the loads go on to the end of what was landed.
    pub fn drain(&self) {
        self.runs.iter().for_each(|(_, run)| run.drain());
    }

    /// As [`RunControl::abort`], for all.
    pub fn abort(&self) {
        self.runs.iter().for_each(|(_, run)| run.abort());
    }

    /// Waits for all ends.
    pub async fn wait(self) -> Ended {
        let ends = self.runs.into_iter().map(|(name, run)| async { (name, run.wait().await) });
        futures::future::join_all(ends).await.into_iter().collect()
    }
}
