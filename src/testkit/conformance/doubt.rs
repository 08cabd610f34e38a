use super::dropped::AWAITS;
use crate::error::{ErrorKind, Result};
use crate::testkit::{Faults, Mode, Plan};

/// Lets each access of an operation fail in turn, and lose its answer: each time `tried` makes the operation by the process of these faults,
/// and gives what it answered (whether that says that it has happened) and whether it has.
pub(super) async fn each_doubt(operation: &str, tried: impl AsyncFn(&Faults) -> (Result<bool>, bool)) {
    for mode in [Mode::Fail, Mode::LostResponse] {
        for at in 0..AWAITS {
            let faults = Faults::of([Plan { at, mode }]);
            let (answer, happened) = tried(&faults).await;
            match answer {
                Ok(said) => {
                    assert!(happened || !said, "{operation}, {mode:?} at {at}: said to have happened, and has not")
                }
                Err(e) if e.kind() == ErrorKind::Ambiguous => {}
                Err(e) => assert!(!happened, "{operation}, {mode:?} at {at}: \"{e}\" says that nothing has happened"),
            }
            assert!(faults.count() > 0, "{operation}: nothing of it can fail, so nothing was tried");
            if faults.count() <= at {
                break;
            }
        }
    }
}
