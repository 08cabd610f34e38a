use super::Defect;
use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    static ON: Cell<Option<Defect>> = const { Cell::new(None) };
}

impl Defect {
    /// Switches it on for this thread, in the place of any other, until the guard is dropped. Tasks of a runtime with one thread are on
    /// it; CPU and blocking work of an [`Env`](crate::env::Env) takes it along.
    pub fn switch_on(self) -> SwitchedOn {
        SwitchedOn { before: ON.replace(Some(self)), thread: PhantomData }
    }
}

/// A defect is on while it lives.
#[derive(Debug)]
#[must_use = "dropped, it switches the defect off"]
pub struct SwitchedOn {
    before: Option<Defect>,
    /// It stays on its thread.
    thread: PhantomData<*const ()>,
}

impl Drop for SwitchedOn {
    fn drop(&mut self) {
        ON.set(self.before);
    }
}

/// Whether a test has switched `defect` on.
pub(crate) fn on(defect: Defect) -> bool {
    ON.get() == Some(defect)
}

/// Work that goes to another thread, with the defect that is on here.
pub(crate) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let defect = ON.get();
    move || {
        let _on = defect.map(Defect::switch_on);
        work()
    }
}
