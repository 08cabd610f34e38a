//! Which schedules are asked for, by the environment.

use landfall::testkit::Mode;

pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
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

/// So many pairs, of all modes; none where some modes are asked for.
pub fn pairs(n: u64) -> u64 {
    if std::env::var_os("LANDFALL_MODES").is_some() { 0 } else { n }
}
