use std::thread;

/// Says which guarantee is broken, if the check that it stands in panics.
#[derive(Debug)]
pub struct Told {
    contract: &'static str,
    check: &'static str,
}

/// For the check of this name, of the contract that this trait is.
pub fn told(contract: &'static str, check: &'static str) -> Told {
    Told { contract, check }
}

impl Told {
    fn words(&self) -> String {
        let Self { contract, check } = self;
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
