use super::dropped::until_the_end_of;
use super::told::given;
use crate::error::{ErrorKind, Result};
use crate::testkit::{Faults, Mode, Plan};

/// Lets each access of an operation fail in turn, and lose its answer: each time `tried` makes the operation by the process of these faults,
/// and is told in words when that is.
pub(super) async fn each_failure(operation: &'static str, tried: impl AsyncFn(&Faults, &str)) {
    for mode in [Mode::Fail, Mode::LostResponse] {
        for at in until_the_end_of(operation, 0) {
            let faults = Faults::of([Plan { at, mode }]);
            tried(&faults, &format!("{operation}, {mode:?} at {at}")).await;
            tried_something(&faults, operation);
            if faults.count() <= at {
                break;
            }
        }
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
