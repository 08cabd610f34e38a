//! The stage: lines to readings. A line that is none goes to the quarantine, with its bytes.

use landfall::model::{Page, Reject, Rows};
use landfall::source::ComponentConfig;
use landfall::stage::{Output, Stage, StageState};
use landfall::{Error, Result};

/// What a station measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Which station.
    pub station: String,
    /// When, as the station says it.
    pub time: String,
    /// Degrees Celsius.
    pub celsius: f64,
}

/// Makes readings of the lines of pages.
#[derive(Clone, Debug)]
pub struct Parse;

impl Stage for Parse {
    type In = Page;
    type Out = Rows<Reading>;

    fn name(&self) -> &str {
        "parse"
    }

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    fn fork(&self) -> Option<Self> {
        Some(Self) // no line depends on another one: copies may run side by side
    }

    fn state(&mut self) -> Option<&mut dyn StageState> {
        None
    }

    fn apply(&mut self, page: Page, out: &mut Output<Rows<Reading>>) -> Result<()> {
        let mut readings = Vec::new();
        let skip = usize::try_from(page.skip).map_err(|e| Error::bug("parse page", e.to_string()))?;
        for line in page.body.split(|byte| *byte == b'\n').take(page.records as usize).skip(skip) {
            match reading(&page.partition.0, line) {
                Some(reading) => readings.push(reading),
                None => out.reject(Reject::new("reading", "not `time,celsius`", line.to_vec())),
            }
        }
        out.emit(Rows(readings));
        Ok(())
    }
}

fn reading(station: &str, line: &[u8]) -> Option<Reading> {
    let (time, celsius) = std::str::from_utf8(line).ok()?.split_once(',')?;
    let celsius: f64 = celsius.parse().ok()?;
    celsius.is_finite().then(|| Reading { station: station.to_owned(), time: time.to_owned(), celsius })
}
