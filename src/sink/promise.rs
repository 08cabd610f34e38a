//! What a sink can promise, as types: the builder refuses to call a pipeline exactly-once when it is not.

mod sealed {
    pub trait Sealed {}
}

/// What a sink can promise; one of [`Transactional`], [`IdempotentApply`], [`AtLeastOnce`].
pub trait Promise: sealed::Sealed + Send + Sync + 'static {
    /// The promise as a word, for reports.
    const NAME: &'static str;
}

/// A promise strong enough for exactly-once.
#[diagnostic::on_unimplemented(
    message = "this pipeline is not exactly-once: its sink only promises `{Self}`",
    label = "the sink may repeat records after a failure",
    note = "finish with `build_at_least_once()` to accept repeats, or use a sink that is `Transactional` or `IdempotentApply`"
)]
pub trait ExactlyOnce: Promise {}

/// Data and mark change in one transaction of the destination.
#[derive(Debug)]
#[non_exhaustive]
pub struct Transactional;

/// The same commit applied again changes nothing, by the names of what it applies.
#[derive(Debug)]
#[non_exhaustive]
pub struct IdempotentApply;

/// A failure may repeat records.
#[derive(Debug)]
#[non_exhaustive]
pub struct AtLeastOnce;

impl sealed::Sealed for Transactional {}
impl sealed::Sealed for IdempotentApply {}
impl sealed::Sealed for AtLeastOnce {}

impl Promise for Transactional {
    const NAME: &'static str = "transactional";
}
impl Promise for IdempotentApply {
    const NAME: &'static str = "idempotent apply";
}
impl Promise for AtLeastOnce {
    const NAME: &'static str = "at least once";
}

impl ExactlyOnce for Transactional {}
impl ExactlyOnce for IdempotentApply {}
