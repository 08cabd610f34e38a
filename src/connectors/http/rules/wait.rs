use super::on::regex;
use super::verdict::Told;
use crate::error::{Error, Result};
use crate::json::{self, ValuePath};
use crate::model::Timestamp;
use regex::Regex;
use reqwest::header::HeaderName;
use std::time::Duration;

/// Where a response says how long to wait before the next request: in a header, or in the body.
///
/// It may say it as seconds, as an HTTP date (RFC 9110, 5.6.7) or as a time of RFC 3339. A time is compared with the `Date` of the
/// response, if it has one, so that a clock that is wrong does not matter. What cannot be read is no wait: the next place is looked
/// at, and `Retry-After` last; then back-off decides. A wait beyond a day counts as a day.
///
/// ```
/// use landfall::connectors::http::{Rest, WaitFrom};
/// use std::time::Duration;
///
/// let orders = Rest::get("https://api.example.com/v1/orders")
///     // "61,60": the first number.
///     .wait(WaitFrom::header("x-retry").regex("[0-9]+"))
///     .wait(WaitFrom::header("x-ratelimit-reset").epoch().at_least(Duration::from_secs(1)))
///     .wait(WaitFrom::body("$.error.retry_in_ms").millis())
///     .build()?;
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct WaitFrom {
    place: Place,
    regex: Option<String>,
    form: Form,
    at_least: Duration,
}

#[derive(Clone, Debug)]
enum Place {
    Header(String),
    Body(String),
}

/// How the wait is written.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Seconds, or a date.
    Usual,
    Millis,
    Epoch,
}

impl WaitFrom {
    /// In the header of this name.
    pub fn header(name: impl Into<String>) -> Self {
        Self::at(Place::Header(name.into()))
    }

    /// In the JSON body, at this path of names and indices.
    pub fn body(path: impl Into<String>) -> Self {
        Self::at(Place::Body(path.into()))
    }

    fn at(place: Place) -> Self {
        Self { place, regex: None, form: Form::Usual, at_least: Duration::ZERO }
    }

    /// Takes what this regular expression matches: its first group, if it has one.
    pub fn regex(mut self, regex: impl Into<String>) -> Self {
        self.regex = Some(regex.into());
        self
    }

    /// It is a number of milliseconds.
    pub fn millis(mut self) -> Self {
        self.form = Form::Millis;
        self
    }

    /// It is the time to come back at, in seconds since 1970. Milliseconds and microseconds are told by their size.
    pub fn epoch(mut self) -> Self {
        self.form = Form::Epoch;
        self
    }

    /// Waits at least this long where a wait is said, one that has passed too.
    pub fn at_least(mut self, wait: Duration) -> Self {
        self.at_least = wait;
        self
    }

    /// For the record of the configuration.
    pub(in super::super) fn recorded(&self) -> String {
        format!("{self:?}")
    }

    pub(super) fn compile(&self) -> Result<Compiled> {
        let place = match &self.place {
            Place::Header(name) => Found::Header(HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                Error::config("build source", "a wait is in a header that cannot be").with("header", name)
            })?),
            Place::Body(path) => Found::Body(ValuePath::parse(path)?),
        };
        let regex = self.regex.as_deref().map(regex).transpose()?;
        Ok(Compiled { place, regex, form: self.form, at_least: self.at_least })
    }
}

/// A place that can be looked at.
#[derive(Debug)]
pub(super) struct Compiled {
    place: Found,
    regex: Option<Regex>,
    form: Form,
    at_least: Duration,
}

#[derive(Debug)]
enum Found {
    Header(HeaderName),
    Body(ValuePath),
}

impl Compiled {
    /// The wait that is said here. `now` is the time by our clock.
    pub(super) fn of(&self, told: &Told<'_>, now: Timestamp) -> Option<Duration> {
        let said = match &self.place {
            Found::Header(name) => told.headers.get(name)?.to_str().ok()?.to_owned(),
            Found::Body(path) => {
                let raw = std::str::from_utf8(json::field(told.body(), path).ok()??).ok()?;
                // A string, or a number as it is written.
                serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned())
            }
        };
        let said = match &self.regex {
            None => said.as_str(),
            Some(regex) => {
                let found = regex.captures(&said)?;
                found.get(1).or_else(|| found.get(0))?.as_str()
            }
        };
        let wait = self.form.read(said.trim(), told.server_now().unwrap_or(now))?;
        Some(wait.max(self.at_least).min(LONGEST))
    }
}

impl Form {
    fn read(self, said: &str, now: Timestamp) -> Option<Duration> {
        let number = said.parse::<f64>().ok();
        match self {
            Self::Millis => duration(number? / 1_000.0),
            Self::Epoch => {
                let number = number.filter(|number| number.is_finite() && *number >= 0.0)?;
                let seconds = match number {
                    small if small < 1e11 => small,
                    millis if millis < 1e14 => millis / 1e3,
                    micros => micros / 1e6,
                };
                let at = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                Some(Timestamp::from_micros(0).saturating_add(at).saturating_since(now))
            }
            Self::Usual => match number {
                Some(seconds) => duration(seconds),
                None => {
                    let at = http_date(said).or_else(|| Timestamp::parse(said).ok())?;
                    Some(at.saturating_since(now))
                }
            },
        }
    }
}

fn duration(seconds: f64) -> Option<Duration> {
    // A number that is none, and a time that has passed, say nothing that can be followed.
    (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST))
}

/// Reads a date of HTTP.
pub(in super::super) fn http_date(text: &str) -> Option<Timestamp> {
    let date = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()?;
    Some(Timestamp::from_micros(date.as_microsecond()))
}

/// No budget lasts longer, and a mistaken header does not block for years.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;

    fn wait(from: &WaitFrom, headers: &[(&'static str, &str)], body: &str) -> Option<f64> {
        let now = Timestamp::parse("1994-11-06T08:49:00Z").expect("a time");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        let told = Told::new(429, &map, body.as_bytes());
        from.compile().expect("sound").of(&told, now).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn reads_seconds_and_dates_and_ignores_the_rest() {
        let seconds = |value| wait(&WaitFrom::header("retry-after"), &[("retry-after", value)], "");
        assert_eq!(seconds("4"), Some(4.0));
        assert_eq!(seconds(" 1.5 "), Some(1.5));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37.0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0.0));
        assert_eq!(seconds("1994-11-06T08:49:37Z"), Some(37.0));
        for absurd in ["1e300", "inf", "99999999999", "Sun, 06 Nov 2094 08:49:37 GMT"] {
            assert_eq!(seconds(absurd), Some(86_400.0), "{absurd}");
        }
        for nothing in ["-5", "61,60", "soon", "", "NaN"] {
            assert_eq!(seconds(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn reads_the_time_to_come_back_at_whatever_it_counts() {
        let reset = |value| wait(&WaitFrom::header("x-reset").epoch(), &[("x-reset", value)], "");
        for same in ["784111777", "784111777.0", "784111777000", "784111777000000"] {
            assert_eq!(reset(same), Some(37.0), "{same}");
        }
        assert_eq!(reset("784111740"), Some(0.0));
        assert_eq!(reset("-1"), None);
        assert_eq!(reset("NaN"), None);
        assert_eq!(reset("1e300"), Some(86_400.0));
        let minimum = WaitFrom::header("x-reset").epoch().at_least(Duration::from_secs(5));
        assert_eq!(wait(&minimum, &[("x-reset", "784111740")], ""), Some(5.0));
        assert_eq!(wait(&minimum, &[("x-reset", "784111777")], ""), Some(37.0));
        assert_eq!(wait(&minimum, &[], ""), None);
    }

    #[test]
    fn a_time_is_compared_with_the_clock_of_the_server() {
        let date = ("date", "Sun, 06 Nov 1994 09:49:00 GMT");
        let reset = WaitFrom::header("x-reset").epoch();
        assert_eq!(wait(&reset, &[("x-reset", "784115377"), date], ""), Some(37.0));
        let retry = WaitFrom::header("retry-after");
        assert_eq!(wait(&retry, &[("retry-after", "Sun, 06 Nov 1994 09:49:37 GMT"), date], ""), Some(37.0));
        assert_eq!(wait(&retry, &[("retry-after", "37"), date], ""), Some(37.0));
        assert_eq!(wait(&reset, &[("x-reset", "784115377"), date, ("age", "7")], ""), Some(30.0));
        assert_eq!(wait(&reset, &[("x-reset", "784111777"), ("date", "yesterday")], ""), Some(37.0));
    }

    #[test]
    fn reads_a_body_by_path_and_a_part_by_regex() {
        let body = WaitFrom::body("$.error.wait");
        assert_eq!(wait(&body, &[], r#"{"error":{"wait":3}}"#), Some(3.0));
        assert_eq!(wait(&body, &[], r#"{"error":{"wait":"3"}}"#), Some(3.0));
        assert_eq!(wait(&body.clone().millis(), &[], r#"{"error":{"wait":2500}}"#), Some(2.5));
        assert_eq!(wait(&body, &[], r#"{"error":{}}"#), None);
        assert_eq!(wait(&body, &[], "<html>"), None);
        let text = WaitFrom::body("$.message").regex("in ([0-9]+) s");
        assert_eq!(wait(&text, &[], r#"{"message":"try again in 12 s"}"#), Some(12.0));
        assert_eq!(wait(&text, &[], r#"{"message":"try again"}"#), None);
        assert!(WaitFrom::header("a b").compile().is_err());
        assert!(WaitFrom::header("a").regex("(").compile().is_err());
        assert!(WaitFrom::body("$.a[*]").compile().is_err());
    }
}
