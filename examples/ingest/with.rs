//! Setters for what a spec may leave out.

/// Calls a setter only where the spec says something.
pub(crate) trait With: Sized {
    /// `set` with the value, if there is one.
    fn with_some<V>(self, value: Option<V>, set: impl FnOnce(Self, V) -> Self) -> Self {
        match value {
            Some(value) => set(self, value),
            None => self,
        }
    }

    /// `set` for each of the values.
    fn with_all<V>(self, values: impl IntoIterator<Item = V>, set: impl Fn(Self, V) -> Self) -> Self {
        values.into_iter().fold(self, set)
    }

    /// `set`, if the flag is.
    fn with_flag(self, flag: bool, set: impl FnOnce(Self) -> Self) -> Self {
        if flag { set(self) } else { self }
    }
}

impl<T> With for T {}
