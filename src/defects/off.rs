use super::Defect;

/// Whether a test has switched `defect` on: never.
pub(crate) const fn on(_: Defect) -> bool {
    false
}

/// Work that goes to another thread, as it is.
pub(crate) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    work
}
