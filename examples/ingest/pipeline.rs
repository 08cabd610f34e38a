//! From the spec to the typed pipeline.

use crate::spec::{Run, Spec};
use crate::stages::{decode, dedup, validate};
use landfall::Result;
use landfall::checkpoint::StoreCheckpoints;
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::Quarantine;
use landfall::store::Store;

/// The pipeline that `spec` describes.
///
/// # Errors
/// `Config`, saying what in the spec is wrong.
pub(crate) fn pipeline(spec: &Spec) -> Result<Pipeline> {
    let state = Store::from_uri(&spec.state)?;
    let quarantine = match &spec.quarantine {
        Some(place) => Quarantine::in_store(&Store::from_uri(&place.to)?, "")?,
        None => Quarantine::in_store(&state, "quarantine")?,
    };
    let mut builder = Pipeline::named(&spec.name)
        .source(spec.source.build()?)
        .land(Landing::in_store(&state, "raw")?)
        .stage(decode(spec)?)
        .stage(validate(&spec.validate)?);
    if let Some(dedup) = dedup(spec)? {
        builder = builder.stage(dedup);
    }
    let builder = builder
        .quarantine(quarantine)
        .checkpoints(StoreCheckpoints::new(&state, "checkpoints")?)
        .settings(settings(&spec.run));
    spec.sink.build(builder)
}

fn settings(run: &Run) -> Settings {
    let mut settings = Settings::default();
    if let Some(records) = run.epoch_records {
        settings.epoch_records = records;
    }
    if let Some(mib) = run.epoch_mib {
        settings.epoch_bytes = mib.saturating_mul(1 << 20);
    }
    if let Some(age) = run.epoch_age {
        settings.epoch_age = age.0;
    }
    if let Some(mib) = run.memory_mib {
        settings.memory_bytes = mib.saturating_mul(1 << 20);
    }
    settings
}
