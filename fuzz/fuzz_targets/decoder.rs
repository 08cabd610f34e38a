//! Fuzzes one decoder of the crate's own table: the one that `LANDFALL_FUZZ_DECODER` names. One binary for all of them, so that it
//! is linked once.

#![no_main]

use landfall::testkit::{Decoder, decoders};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static DECODER: LazyLock<Decoder> = LazyLock::new(|| {
    let name = std::env::var("LANDFALL_FUZZ_DECODER").unwrap_or_default();
    let found = decoders().iter().find(|decoder| decoder.name() == name);
    *found.unwrap_or_else(|| panic!("LANDFALL_FUZZ_DECODER names none of the decoders: `{name}`"))
});

fuzz_target!(|bytes: &[u8]| {
    DECODER.check(bytes);
});
