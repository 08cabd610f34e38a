use super::told::given;
use super::walk::{Walk, until_the_end_of};
use crate::error::{ErrorKind, Result};
use crate::testkit::{Faults, Mode, Plan};

/// Processes that an operation is tried by, and in words what happens to each: one access of it fails, or loses its answer, each in turn, until
/// the operation has come to its end.
pub(super) struct Failures {
    operation: &'static str,
    /// What has not come to the end. The last one is tried.
    walks: Vec<(Mode, Walk)>,
    /// Where the last process was to fail.
    tried: Option<(u64, Faults)>,
}

impl Failures {
    pub(super) fn of(operation: &'static str) -> Self {
        let walks = [Mode::LostResponse, Mode::Fail].map(|mode| (mode, until_the_end_of(operation, 0)));
        Self { operation, walks: walks.into(), tried: None }
    }

    /// How many accesses the whole operation has had this time: see [`Walk::was`].
    pub(super) fn was(&mut self, length: u64) {
        if let Some((_, walk)) = self.walks.last_mut() {
            walk.was(length);
        }
    }
}

impl Iterator for Failures {
    type Item = (Faults, String);

    fn next(&mut self) -> Option<Self::Item> {
        if self.tried.take().is_some_and(|(at, faults)| faults.count() <= at) {
            self.walks.pop();
        }
        let (mode, walk) = self.walks.last_mut()?;
        let (at, mode) = (walk.next()?, *mode);
        let faults = Faults::of([Plan { at, mode }]);
        self.tried = Some((at, faults.clone()));
        Some((faults, format!("{}, {mode:?} at {at}", self.operation)))
    }
}

/// Lets each access of an operation fail in turn, and lose its answer: each time `tried` makes the operation by the process of these faults,
/// and is told in words when that is.
pub(super) async fn each_failure(operation: &'static str, tried: impl AsyncFn(&Faults, &str)) {
    for (faults, when) in Failures::of(operation) {
        tried(&faults, &when).await;
        tried_something(&faults, operation);
    }
}

/// As [`each_failure`], of an operation that may have happened or not: `tried` gives what it answered (whether that says that it has happened)
/// and whether it has.
#[allow(clippy::future_not_send, reason = "it is awaited where it is made")]
pub(super) async fn each_doubt(operation: &'static str, tried: impl AsyncFn(&Faults) -> (Result<bool>, bool)) {
    let told = async |faults: &Faults, when: &str| {
        let (answer, happened) = tried(faults).await;
        match answer {
            Ok(said) => assert!(happened || !said, "{when}: said to have happened, and has not"),
            Err(e) if e.kind() == ErrorKind::Ambiguous => {}
            Err(e) => assert!(!happened, "{when}: \"{e}\" says that nothing has happened"),
        }
    };
    each_failure(operation, told).await;
}

/// What passes no I/O point cannot fail, and to let it pass would say that it had.
pub(super) fn tried_something(faults: &Faults, operation: &str) {
    let words = "nothing of it can fail, so nothing was tried: let each access of what `reached_by` gives be an I/O point of its faults";
    given(faults.count() > 0, format_args!("{operation}: {words}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_access_fails_and_then_each_loses_its_answer() {
        let mut tried = Vec::new();
        for (faults, when) in Failures::of("twice") {
            let put = async || faults.point("put", "x", async { Ok(()) }).await.is_ok();
            tried.push((when, [put().await, put().await]));
        }
        let tried: Vec<_> = tried.iter().map(|(when, went_well)| (when.as_str(), *went_well)).collect();
        assert_eq!(
            tried,
            [
                ("twice, Fail at 0", [false, true]),
                ("twice, Fail at 1", [true, false]),
                ("twice, Fail at 2", [true, true]),
                ("twice, LostResponse at 0", [false, true]),
                ("twice, LostResponse at 1", [true, false]),
                ("twice, LostResponse at 2", [true, true]),
            ]
        );
    }
}
