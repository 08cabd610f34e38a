use super::Pipeline;
use super::epoch::{ConfigRecord, QUARANTINE, SHARDS, SOURCE};
use super::erased::{AnySink, AnySource, AnyStage, TypedSink, TypedSource, TypedStage};
use super::landed::LandedPages;
use super::load::SINK;
use super::settings::Settings;
use crate::checkpoint::CheckpointStore;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::landing::Landing;
use crate::model::{Item, Page, PipelineName};
use crate::sink::{Demand, ExactlyOnce, Quarantine, Sink};
use crate::source::{ComponentConfig, IntoSource, Source};
use crate::stage::Stage;
use crate::store::{ObjectPath, Store};
use std::any::TypeId;
use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug};
use std::marker::PhantomData;
use std::sync::Arc;

/// In place of a source that is not given yet.
#[derive(Debug)]
#[non_exhaustive]
pub struct NoSource;

/// In place of a sink that is not given yet.
#[derive(Debug)]
#[non_exhaustive]
pub struct NoSink;

/// Composes a pipeline, step by step; the types say what fits.
///
/// `I` is what the last step gives: the next stage, or the sink, must take it. A pipeline needs a source, a sink and
/// checkpoints; a source of pages needs a landing, because an API cannot be read twice.
pub struct PipelineBuilder<S = NoSource, I = (), K = NoSink> {
    name: String,
    /// What is wrong with a description of a source is said by `build()`, with everything else.
    source: Option<Result<Arc<dyn AnySource>>>,
    sink: Option<Arc<dyn AnySink>>,
    stages: Vec<Box<dyn StageFactory>>,
    landing: Option<Landing>,
    landed_by: Option<String>,
    quarantine: Option<Quarantine>,
    checkpoints: Option<Arc<dyn CheckpointStore>>,
    state: Option<(Store, ObjectPath)>,
    settings: Settings,
    keys_stay_in_partition: bool,
    replayable: bool,
    from_the_beginning: bool,
    accept_quarantined: bool,
    env: Env,
    types: Types<S, I, K>,
}

/// The types of a pipeline are known to the compiler only.
type Types<S, I, K> = PhantomData<fn() -> (S, I, K)>;

/// Makes the stages of each shard and of each run: they begin without memory.
pub(super) trait StageFactory: Send + Sync {
    fn make(&self) -> Box<dyn AnyStage>;
}

struct MakeStage<F>(F);

impl<F, T> StageFactory for MakeStage<F>
where
    F: Fn() -> T + Send + Sync,
    T: Stage + Sync,
{
    fn make(&self) -> Box<dyn AnyStage> {
        Box::new(TypedStage((self.0)()))
    }
}

impl PipelineBuilder {
    pub(super) fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            source: None,
            sink: None,
            stages: Vec::new(),
            landing: None,
            landed_by: None,
            quarantine: None,
            checkpoints: None,
            state: None,
            settings: Settings::default(),
            keys_stay_in_partition: false,
            replayable: true,
            from_the_beginning: false,
            accept_quarantined: false,
            env: Env::system(),
            types: PhantomData,
        }
    }

    /// Where the data comes from: a source, or the description of one.
    pub fn source<S: IntoSource>(self, source: S) -> PipelineBuilder<S::Source, <S::Source as Source>::Item, NoSink> {
        let source = source.into_source().map(|source| Arc::new(TypedSource(source)) as Arc<dyn AnySource>);
        // Pages come from an API, which cannot be read twice unless somebody says so.
        let replayable = TypeId::of::<<S::Source as Source>::Item>() != TypeId::of::<Page>();
        Self { source: Some(source), replayable, ..self }.retyped()
    }
}

impl PipelineBuilder {
    /// Loads what pipeline `name` has landed in `landing`, instead of a source: a second load of the same pages, with
    /// progress of its own, and nothing is asked for again. A run loads up to where the landing stands, and never writes
    /// segments; what it has not loaded is kept by retention. It needs as many shards as the other pipeline.
    pub fn landing_of(self, name: impl Into<String>, landing: Landing) -> PipelineBuilder<LandedPages, Page, NoSink> {
        let by = name.into();
        Self { landed_by: Some(by.clone()), ..self }.source(LandedPages { by }).land(landing)
    }
}

impl<S: Source> PipelineBuilder<S, S::Item, NoSink> {
    /// Lands the source's pages before anything else touches them. Only a source of [`Page`]s can be landed.
    #[must_use]
    pub fn land(mut self, landing: Landing) -> Self
    where
        S::Item: Landable,
    {
        self.landing = Some(landing);
        self
    }

    /// Declares that the source gives the same pages again whenever it is asked from the same position on (files, a
    /// log): such a pipeline is exactly-once without a landing too. An API does not.
    #[must_use]
    pub fn source_is_replayable(mut self) -> Self {
        self.replayable = true;
        self
    }
}

impl<S, I, K> PipelineBuilder<S, I, K> {
    fn retyped<S2, I2, K2>(self) -> PipelineBuilder<S2, I2, K2> {
        PipelineBuilder {
            name: self.name,
            source: self.source,
            sink: self.sink,
            stages: self.stages,
            landing: self.landing,
            landed_by: self.landed_by,
            quarantine: self.quarantine,
            checkpoints: self.checkpoints,
            state: self.state,
            settings: self.settings,
            keys_stay_in_partition: self.keys_stay_in_partition,
            replayable: self.replayable,
            from_the_beginning: self.from_the_beginning,
            accept_quarantined: self.accept_quarantined,
            env: self.env,
            types: PhantomData,
        }
    }

    /// Where rejected records go, in the same commit. Without one, a rejected record stops the pipeline.
    #[must_use]
    pub fn quarantine(mut self, quarantine: Quarantine) -> Self {
        self.quarantine = Some(quarantine);
        self
    }

    /// Where the checkpoints are kept; the states of stages go beside them if the store has a place for objects.
    #[must_use]
    pub fn checkpoints(mut self, checkpoints: impl CheckpointStore) -> Self {
        self.state = self.state.or_else(|| checkpoints.objects());
        self.checkpoints = Some(Arc::new(checkpoints));
        self
    }

    /// Keeps the states of stages in folder `prefix` of `store`, for checkpoint stores that have no place for objects.
    ///
    /// # Errors
    /// `Config` if `prefix` is not a valid object name.
    pub fn state_in(mut self, store: &Store, prefix: &str) -> Result<Self> {
        self.state = Some((store.clone(), ObjectPath::parse(prefix)?));
        Ok(self)
    }

    /// How it runs.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Reads everything that the source has in each run, from the beginning, whatever runs before have read (a full refresh). A sink
    /// that [demands](Sink::demand) it need not be told; a landing that such a sink loads from [elsewhere](Self::landing_of)
    /// must be.
    #[must_use]
    pub fn from_the_beginning(mut self) -> Self {
        self.from_the_beginning = true;
        self
    }

    /// Declares that an enumeration is whole although records of it are in the quarantine. Without it, a sink that replaces or sweeps
    /// takes nothing away then: a row of which only a refused version came would be lost.
    #[must_use]
    pub fn accept_quarantined(mut self) -> Self {
        self.accept_quarantined = true;
        self
    }

    /// Declares that a key never occurs in two partitions. Stages that compare records (dedup) are exact within one
    /// shard only, so a pipeline with several shards and such a stage does not build without this.
    #[must_use]
    pub fn keys_stay_in_partition(mut self) -> Self {
        self.keys_stay_in_partition = true;
        self
    }

    /// Time, randomness and CPU: for tests.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }
}

impl<S: Source, I: Item> PipelineBuilder<S, I, NoSink> {
    /// A step: takes what the step before gives. Each shard, and each run, works on a clone without memory.
    pub fn stage<T>(mut self, stage: T) -> PipelineBuilder<S, T::Out, NoSink>
    where
        T: StageFor<I> + Clone + Sync,
    {
        self.stages.push(Box::new(MakeStage(move || stage.clone())));
        self.retyped()
    }

    /// Where the data goes.
    pub fn sink<K>(self, sink: K) -> PipelineBuilder<S, I, K>
    where
        K: SinkFor<I>,
    {
        let sink: Arc<dyn AnySink> = Arc::new(TypedSink(sink));
        Self { sink: Some(sink), ..self }.retyped()
    }
}

/// A stage that takes `I`: every [`Stage`] whose `In` is `I`.
pub trait StageFor<I>: Stage {}

impl<T: Stage, I: FitsStage<T::In>> StageFor<I> for T {}

/// What the step before gives is what the stage takes. Holds for equal types only; it is there to say in words what does not
/// fit, which the compiler would not do for two types that differ.
#[diagnostic::on_unimplemented(
    message = "this stage does not fit here: it takes `{In}`, and the step before it gives `{Self}`",
    label = "takes `{In}`, not `{Self}`",
    note = "put a stage between them that turns one into the other (for example `Decode::pages()` after a source of pages)"
)]
pub trait FitsStage<In> {}

impl<I> FitsStage<I> for I {}

/// A sink that takes `I`: every [`Sink`] whose `Item` is `I`.
pub trait SinkFor<I>: Sink {}

impl<K: Sink, I: FitsSink<K::Item>> SinkFor<I> for K {}

/// What the last step gives is what the sink takes; see [`FitsStage`].
#[diagnostic::on_unimplemented(
    message = "this sink does not fit here: it takes `{Taken}`, and the last step gives `{Self}`",
    label = "takes `{Taken}`, not `{Self}`",
    note = "put a stage before it that turns `{Self}` into what the sink takes"
)]
pub trait FitsSink<Taken> {}

impl<I> FitsSink<I> for I {}

/// What can be landed: [`Page`]s, and nothing else.
#[diagnostic::on_unimplemented(
    message = "only pages are landed, and this source gives `{Self}`",
    label = "the source gives no pages",
    note = "a source that can be read again needs no landing: leave `.land(…)` out, or let the source give `Page`s"
)]
pub trait Landable: Item {}

impl Landable for Page {}

impl<S, I, K> PipelineBuilder<S, I, K> {
    /// Checks everything that types cannot say and that needs no I/O, the configuration of every component among it, and
    /// gives the pipeline. It is exactly-once: the sink must promise enough.
    ///
    /// # Errors
    /// `Config`, saying what is missing or unsafe and what to do.
    pub fn build(self) -> Result<Pipeline>
    where
        K: Sink,
        K::Promise: ExactlyOnce,
    {
        if self.landing.is_none() && !self.replayable {
            return Err(Error::config("build pipeline", "pages without a landing cannot be loaded exactly once")
                .with_hint("add `.land(…)`; or declare `.source_is_replayable()` if the source is no API; or `.build_at_least_once()`"));
        }
        self.assemble()
    }

    /// Like [`build`](Self::build), for a sink that may repeat records after a failure, or pages that are not landed.
    ///
    /// # Errors
    /// `Config`, saying what is missing or unsafe and what to do.
    pub fn build_at_least_once(self) -> Result<Pipeline>
    where
        K: Sink,
    {
        self.assemble()
    }

    fn assemble(self) -> Result<Pipeline> {
        let missing = |what: &'static str, hint: &'static str| Error::config("build pipeline", what).with_hint(hint);
        let name = PipelineName::new(self.name)?;
        let source = self.source.ok_or_else(|| missing("there is no source", "begin with `.source(…)`"))??;
        let sink = self.sink.ok_or_else(|| missing("there is no sink", "end with `.sink(…)`"))?;
        let checkpoints = self.checkpoints.ok_or_else(|| {
            missing("there is no checkpoint store", "add `.checkpoints(StoreCheckpoints::new(&store, \"state\")?)`")
        })?;
        let mut stages: Vec<_> = self.stages.iter().map(|s| s.make()).collect();
        check_stages(&mut stages, &self.settings, self.keys_stay_in_partition, self.state.is_some())?;
        check_settings(&self.settings)?;
        let from_the_beginning = match sink.demand() {
            Demand::Increments => self.from_the_beginning,
            Demand::Enumerations => {
                check_enumerations(&mut stages, &self.settings, self.landing.is_some())?;
                true
            }
        };
        let config = config_record(source.as_ref(), &stages, sink.as_ref(), self.quarantine.as_ref(), &self.settings)?;
        let landed_by = self.landed_by.map(PipelineName::new).transpose()?;
        Ok(Pipeline {
            name,
            source,
            sink,
            stages: self.stages.into(),
            landing: self.landing,
            landed_by,
            quarantine: self.quarantine,
            checkpoints,
            state: self.state,
            from_the_beginning,
            accept_quarantined: self.accept_quarantined,
            settings: self.settings,
            env: self.env,
            config,
        })
    }
}

fn check_stages(
    stages: &mut [Box<dyn AnyStage>],
    settings: &Settings,
    keys_stay_in_partition: bool,
    has_state: bool,
) -> Result<()> {
    let mut names = HashSet::from([SINK.to_owned()]);
    for stage in stages {
        let name = stage.name().to_owned();
        let remembers = stage.state().is_some();
        if remembers && !has_state {
            return Err(Error::config("build pipeline", "a stage has state, and there is no place for it")
                .with("stage", name)
                .with_hint(
                    "use a checkpoint store with objects (`StoreCheckpoints`), or add `.state_in(&store, \"…\")`",
                ));
        }
        if remembers && stage.fork().is_none() && settings.shards > 1 && !keys_stay_in_partition {
            return Err(Error::config("build pipeline", "a stage compares records, and there are several shards")
                .with("stage", name)
                .with("shards", settings.shards)
                .with_hint(
                    "use one shard, or declare `.keys_stay_in_partition()` if no key occurs in two partitions",
                ));
        }
        if !names.insert(name.clone()) {
            return Err(Error::config("build pipeline", "two stages have the same name")
                .with("stage", name)
                .with_hint("stages are told apart by name in ledger and state: name them"));
        }
    }
    Ok(())
}

/// What a sink needs that puts whole enumerations in the place of what was there.
fn check_enumerations(stages: &mut [Box<dyn AnyStage>], settings: &Settings, lands: bool) -> Result<()> {
    let refuse =
        |message: &'static str, hint: &'static str| Err(Error::config("build pipeline", message).with_hint(hint));
    if !lands {
        return refuse("the sink needs whole enumerations, and there is no landing", "add `.land(…)`");
    }
    if settings.shards > 1 {
        return refuse("the sink needs whole enumerations, and there are several shards", "use one shard");
    }
    let compares = |stage: &mut Box<dyn AnyStage>| stage.state().is_some() && stage.fork().is_none();
    match stages.iter_mut().find_map(|stage| compares(stage).then(|| stage.name().to_owned())) {
        None => Ok(()),
        // It would take away what it knows from the enumeration before.
        Some(stage) => Err(Error::config(
            "build pipeline",
            "the sink needs whole enumerations, and a stage remembers earlier ones",
        )
        .with("stage", stage)
        .with_hint("leave the stage out, and give the sink's disposition a key instead")),
    }
}

fn check_settings(settings: &Settings) -> Result<()> {
    let zero = [
        ("shards", u64::from(settings.shards)),
        ("parallel_partitions", settings.parallel_partitions as u64),
        ("epoch_bytes", settings.epoch_bytes),
        ("epoch_records", settings.epoch_records),
    ];
    if let Some((name, _)) = zero.iter().find(|(_, value)| *value == 0) {
        return Err(Error::config("build pipeline", "a setting must be at least 1").with("setting", name));
    }
    if !(1 << 20..=u64::from(u32::MAX)).contains(&settings.memory_bytes) {
        return Err(Error::config("build pipeline", "memory_bytes must be from 1 MiB to 4 GiB")
            .with("memory_bytes", settings.memory_bytes));
    }
    Ok(())
}

fn config_record(
    source: &dyn AnySource,
    stages: &[Box<dyn AnyStage>],
    sink: &dyn AnySink,
    quarantine: Option<&Quarantine>,
    settings: &Settings,
) -> Result<ConfigRecord> {
    let mut record = ConfigRecord { identity: BTreeMap::new(), settings: BTreeMap::new() };
    let mut note = |name: String, config: ComponentConfig| {
        if !config.identity.is_null() {
            record.identity.insert(name.clone(), config.identity);
        }
        record.settings.insert(name, config.settings);
    };
    note(SOURCE.to_owned(), source.config()?);
    for stage in stages {
        note(format!("stage {}", stage.name()), stage.config().map_err(|e| e.with("stage", stage.name()))?);
    }
    note("sink".to_owned(), sink.config()?);
    if let Some(quarantine) = quarantine {
        note(QUARANTINE.to_owned(), quarantine.config());
    }
    note(SHARDS.to_owned(), ComponentConfig::none().with_identity(settings.shards.into()));
    Ok(record)
}

impl<S, I, K> Debug for PipelineBuilder<S, I, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineBuilder")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
