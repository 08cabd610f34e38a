//! What the environment asks for: how much is run, and which of it. What cannot be read ends the test, which would quietly run
//! less.

use landfall::testkit::Mode;

/// The number that a variable has, if it is there.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, and not `{text}`")))
}

/// Each so-many-th operation is taken: as `LANDFALL_SCHEDULES_EVERY` says.
pub fn every(otherwise: u64) -> u64 {
    number("LANDFALL_SCHEDULES_EVERY").unwrap_or(otherwise)
}

/// Which pairs are drawn, and which operations where not all are taken: those of `LANDFALL_SCHEDULES_SEED`.
pub fn seed() -> u64 {
    number("LANDFALL_SCHEDULES_SEED").unwrap_or(0)
}

/// Of these modes: the crashes with `LANDFALL_MODES=crashes`, the others with `answers`, all without it.
pub fn modes(of: &[Mode]) -> Vec<Mode> {
    let crashes = match std::env::var("LANDFALL_MODES").as_deref() {
        Ok("crashes") => true,
        Ok("answers") => false,
        Ok(other) => panic!("LANDFALL_MODES is `crashes` or `answers`, and not `{other}`"),
        Err(_) => return of.to_vec(),
    };
    of.iter().copied().filter(|mode| Mode::CRASHES.contains(mode) == crashes).collect()
}

/// So many pairs, of all modes: as `LANDFALL_SCHEDULES_PAIRS` says, and none where some modes are asked for.
pub fn pairs(otherwise: u64) -> u64 {
    if std::env::var_os("LANDFALL_MODES").is_some() {
        return 0;
    }
    number("LANDFALL_SCHEDULES_PAIRS").unwrap_or(otherwise)
}
