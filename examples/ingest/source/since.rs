//! `[source.since]`: ask for what changed since the last run.

use crate::value::Duration;
use crate::with::With;
use landfall::connectors::http;
use serde::Deserialize;

/// Ask for what changed since the last run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Since {
    /// The field that tells when a record changed.
    pub(crate) field: String,
    /// The parameter that asks for records from a time on.
    query: String,
    /// How far to reach back, for records that come late: a time such as `5m`, or a number where the field is one.
    overlap: Option<Overlap>,
    /// What a number in the field counts, since 1970.
    unit: Option<Unit>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a time such as \"5m\", or a whole number")]
enum Overlap {
    Number(u64),
    Time(Duration),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
}

impl Since {
    pub(super) fn build(&self) -> http::Since {
        http::Since::field(&self.field)
            .query(&self.query)
            .with_some(self.overlap.as_ref(), |since, overlap| match overlap {
                Overlap::Time(time) => since.overlap(time.0),
                Overlap::Number(number) => since.overlap_number(*number),
            })
            .with_some(self.unit, |since, unit| {
                since.unit(match unit {
                    Unit::Seconds => http::Unit::Seconds,
                    Unit::Milliseconds => http::Unit::Milliseconds,
                    Unit::Microseconds => http::Unit::Microseconds,
                })
            })
    }
}
