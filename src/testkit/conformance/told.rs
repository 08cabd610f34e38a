use std::cell::Cell;
use std::fmt::Display;
use std::thread;

thread_local! {
    /// Whether the check of this thread was given what it cannot check anything with.
    static MISTAKEN: Cell<bool> = const { Cell::new(false) };
}

/// Says which guarantee is broken, if the check that it stands in panics.
#[derive(Debug)]
pub struct Told {
    contract: &'static str,
    check: &'static str,
}

/// For the check of this name, of the contract that this trait is.
pub fn told(contract: &'static str, check: &'static str) -> Told {
    // One thread may run many tests.
    MISTAKEN.set(false);
    Told { contract, check }
}

/// Panics with these words unless the test has given the check what it needs. That is the author's mistake, and no guarantee is broken.
#[track_caller]
pub(super) fn given(holds: bool, words: impl Display) {
    if !holds {
        MISTAKEN.set(true);
        panic!("{words}");
    }
}

impl Told {
    pub(super) fn words(&self) -> String {
        let Self { contract, check } = self;
        if MISTAKEN.get() {
            return format!("nothing is known of `{contract}`: what the check was given is wrong");
        }
        let number: Option<u32> = check.strip_prefix('g').and_then(|rest| rest.split('_').next()?.parse().ok());
        match number {
            Some(number) => format!("guarantee {number} of `{contract}` is broken: see \"Guarantees\" in its docs"),
            None => format!("what `{contract}` says in its docs does not hold"),
        }
    }
}

impl Drop for Told {
    #[allow(clippy::print_stderr, clippy::disallowed_macros, reason = "a test is what prints it")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}: {}", self.check, self.words());
        }
    }
}
