use crate::model::Timestamp;
use std::time::Duration;

/// The wait that a `Retry-After` header asks for: seconds, or a date. `None` if it says nothing that can be followed.
///
/// A wait beyond a day counts as a day: no budget lasts that long, and a mistaken header does not block for years.
pub(super) fn parse(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse::<f64>() {
        Ok(seconds) if seconds < 0.0 || seconds.is_nan() => return None,
        Ok(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST),
        Err(_) => date(value)?.saturating_since(now),
    };
    Some(wait.min(LONGEST))
}

/// A date as HTTP writes it (RFC 9110, 5.6.7).
pub(super) fn date(value: &str) -> Option<Timestamp> {
    let date = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(value.trim()).ok()?;
    Some(Timestamp::from_micros(date.as_microsecond()))
}

const LONGEST: Duration = Duration::from_secs(24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_seconds_and_dates_and_ignores_the_rest() {
        let now = Timestamp::parse("1994-11-06T08:49:00Z").expect("a time");
        let seconds = |value| parse(value, now).map(|wait| wait.as_secs_f64());
        assert_eq!(seconds("4"), Some(4.0));
        assert_eq!(seconds(" 1.5 "), Some(1.5));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37.0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0.0));
        for absurd in ["1e300", "inf", "99999999999", "Sun, 06 Nov 2094 08:49:37 GMT"] {
            assert_eq!(seconds(absurd), Some(86_400.0), "{absurd}");
        }
        for nothing in ["-5", "61,60", "soon", "", "NaN"] {
            assert_eq!(seconds(nothing), None, "{nothing}");
        }
    }
}
