use std::sync::atomic::{AtomicU64, Ordering};

/// Which operations something happens to: by what they do, what they do it to, and their place among those. For what it cannot say, ask it
/// within [`Faults::drawn`](super::Faults::drawn):
///
/// ```
/// use landfall::testkit::{Faults, Mode, Target};
///
/// // The second put under `state/` fails, unless it is that of the log.
/// let second = Target::operation("put").on("state/").after(1).times(1);
/// let faults = Faults::drawn(move |point| {
///     let hit = second.takes(point.operation, &point.name) && !point.name.ends_with("log");
///     hit.then_some(Mode::Fail)
/// });
/// ```
#[derive(Debug)]
#[must_use]
pub struct Target {
    operation: Option<&'static str>,
    name: String,
    after: u64,
    times: u64,
    /// How many were met.
    met: AtomicU64,
}

impl Target {
    /// All of them.
    pub fn all() -> Self {
        Self { operation: None, name: String::new(), after: 0, times: u64::MAX, met: AtomicU64::new(0) }
    }

    /// Those that do this, as a [`Point`](super::Point) says it: `create`, `get`, `commit` …
    pub fn operation(operation: &'static str) -> Self {
        Self { operation: Some(operation), ..Self::all() }
    }

    /// Of these, those on something in whose name this text occurs.
    pub fn on(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Of these, not the first so many.
    pub fn after(mut self, operations: u64) -> Self {
        self.after = operations;
        self
    }

    /// Of these, so many.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Whether it is about something of that name. Counts nothing.
    pub(super) fn is_on(&self, name: &str) -> bool {
        name.contains(&self.name)
    }

    /// Whether it is this operation, which is counted: ask once for each, as within [`Faults::drawn`](super::Faults::drawn).
    pub fn takes(&self, operation: &str, name: &str) -> bool {
        if self.operation.is_some_and(|own| own != operation) || !self.is_on(name) {
            return false;
        }
        let number = self.met.fetch_add(1, Ordering::SeqCst);
        number >= self.after && number - self.after < self.times
    }
}
