//! Fuzzes one decoder of the crate's own table: the one that `LANDFALL_FUZZ_DECODER` names. One binary for all of them, so that it
//! is linked once.

#![no_main]

use landfall::testkit::{Decoder, decoders};
use libfuzzer_sys::fuzz_target;
use std::panic::{catch_unwind, set_hook};
use std::sync::{LazyLock, Mutex};

static DECODER: LazyLock<Decoder> = LazyLock::new(|| {
    let name = std::env::var("LANDFALL_FUZZ_DECODER").unwrap_or_default();
    let found = decoders().iter().find(|decoder| decoder.name() == name);
    *found.unwrap_or_else(|| panic!("LANDFALL_FUZZ_DECODER names none of the decoders: `{name}`"))
});

/// What the last panic said.
static SAID: Mutex<String> = Mutex::new(String::new());

// Panics of libraries that the crate catches are none of its own: only one that comes out is a crash.
fuzz_target!(
    init: {
        LazyLock::force(&DECODER);
        set_hook(Box::new(|panic| {
            if let Ok(mut said) = SAID.lock() {
                *said = panic.to_string();
            }
        }));
    },
    |bytes: &[u8]| {
        if catch_unwind(|| DECODER.check(bytes)).is_err() {
            eprintln!("{}", SAID.lock().map(|said| said.clone()).unwrap_or_default());
            std::process::abort();
        }
    }
);
