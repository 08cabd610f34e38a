use crate::model::Timestamp;
use std::time::Duration;

/// Which headers of a response say what is left of a quota.
///
/// By default the `RateLimit` field of draft-ietf-httpapi-ratelimit-headers in its present and its earlier forms, then
/// `X-RateLimit-Remaining` and `X-RateLimit-Reset`, then `X-Rate-Limit-…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learn {
    custom: Option<(String, Option<String>)>,
    reset: Reset,
}

/// How a header writes when the quota is full again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reset {
    /// By its size: seconds from now, seconds since 1970 (from 10⁹ on), milliseconds since 1970 (from 10¹² on); or a date.
    #[default]
    Auto,
    /// Seconds from now.
    Seconds,
    /// Seconds since 1970.
    Epoch,
    /// Milliseconds since 1970.
    EpochMillis,
    /// A date of HTTP or of RFC 3339.
    Date,
}

impl Learn {
    /// The usual headers.
    pub fn usual() -> Self {
        Self::default()
    }

    /// The header that holds what is left.
    pub fn remaining(header: impl Into<String>) -> Self {
        Self { custom: Some((header.into(), None)), reset: Reset::Auto }
    }

    /// The header that holds when the quota is full again, and how it is written. Without it, what is left counts only
    /// within a window that is known.
    #[must_use]
    pub fn reset(mut self, header: impl Into<String>, written: Reset) -> Self {
        if let Some((_, reset)) = &mut self.custom {
            *reset = Some(header.into());
        }
        self.reset = written;
        self
    }

    /// Whether the response says that a quota is used up.
    #[cfg(feature = "http")]
    pub(crate) fn is_used_up(&self, header: &dyn Fn(&str) -> Option<String>) -> bool {
        self.read(Timestamp::from_micros(0), header).iter().any(|told| told.remaining == 0)
    }

    /// How long until all quotas are full again that the response says are used up.
    #[cfg(feature = "http")]
    pub(crate) fn until_full(&self, now: Timestamp, header: &dyn Fn(&str) -> Option<String>) -> Option<Duration> {
        let told = self.read(now, header);
        told.into_iter().filter(|told| told.remaining == 0).filter_map(|told| Some(told.reset?.wait)).max()
    }

    /// What a response says, of each policy that it names. `header` gives the value of a header by its name in lower case.
    pub(super) fn read(&self, now: Timestamp, header: &dyn Fn(&str) -> Option<String>) -> Vec<Told> {
        let date = header("date").and_then(|date| parse_date(&date));
        let until = |value: &str| {
            let ours = parse_reset(value, self.reset, now)?;
            let has_passed = ours.is_moment && ours.wait.is_zero();
            let theirs = date.filter(|date| is_skewed(*date, now, has_passed));
            let theirs = theirs.and_then(|date| parse_reset(value, self.reset, date));
            // By a clock of which only this response shows the time, it is a wait from when that was written.
            Some(theirs.map_or(ours, |theirs| ResetIn { is_moment: false, ..theirs }))
        };
        let plain = |remaining: &str, reset: Option<&str>| {
            let remaining = count(&header(remaining)?)?;
            let reset = reset.and_then(header).and_then(|value| until(&value));
            Some(vec![Told { policy: String::new(), remaining, reset }])
        };
        if let Some((remaining, reset)) = &self.custom {
            let lower = reset.as_ref().map(|reset| reset.to_ascii_lowercase());
            return plain(&remaining.to_ascii_lowercase(), lower.as_deref()).unwrap_or_default();
        }
        let usual = || USUAL.iter().find_map(|(remaining, reset)| plain(remaining, Some(reset))).unwrap_or_default();
        header("ratelimit").map(|field| structured(&field)).filter(|told| !told.is_empty()).unwrap_or_else(usual)
    }
}

/// What a response says of a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The name of the policy, where the API has several.
    pub(super) policy: String,
    pub(super) remaining: u64,
    pub(super) reset: Option<ResetIn>,
}

/// When the quota is full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResetIn {
    pub(super) wait: Duration,
    /// It was written as a moment, which is the same in all responses, however long they took.
    pub(super) is_moment: bool,
}

impl ResetIn {
    fn after(wait: Duration) -> Self {
        Self { wait: wait.min(LONGEST), is_moment: false }
    }

    fn moment(moment: Timestamp, now: Timestamp) -> Self {
        Self { wait: moment.saturating_since(now).min(LONGEST), is_moment: true }
    }
}

/// `"policy";r=50;t=30, …`, or `limit=100, remaining=50, reset=30` of an earlier draft.
fn structured(field: &str) -> Vec<Told> {
    let (mut found, mut earlier) = (Vec::new(), (None, None));
    for item in field.split(',').take(MOST_POLICIES) {
        let mut parts = item.split(';').map(str::trim);
        let policy = parts.next().unwrap_or_default();
        if let Some((name, value)) = policy.split_once('=') {
            match name.trim() {
                "remaining" => earlier.0 = count(value),
                "reset" => earlier.1 = seconds(value),
                _ => {}
            }
            continue;
        }
        let (mut remaining, mut reset) = (None, None);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "r" => remaining = count(value),
                "t" => reset = seconds(value),
                _ => {}
            }
        }
        if let Some(remaining) = remaining {
            let policy = policy.trim_matches('"').chars().take(60).collect();
            found.push(Told { policy, remaining, reset: reset.map(ResetIn::after) });
        }
    }
    if let (true, (Some(remaining), reset)) = (found.is_empty(), earlier) {
        found.push(Told { policy: String::new(), remaining, reset: reset.map(ResetIn::after) });
    }
    found
}

/// Some write fractions, and some numbers below zero for a quota that is overdrawn.
fn count(value: &str) -> Option<u64> {
    let value = value.trim();
    value.parse().ok().or_else(|| value.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n.max(0.0) as u64))
}

fn seconds(value: &str) -> Option<Duration> {
    let value: f64 = value.trim().parse().ok()?;
    (value >= 0.0).then(|| Duration::try_from_secs_f64(value).unwrap_or(LONGEST))
}

fn parse_reset(value: &str, written: Reset, now: Timestamp) -> Option<ResetIn> {
    let value = value.trim();
    let written = match (written, value.parse::<f64>()) {
        (Reset::Auto, Ok(n)) if n >= 1e12 => Reset::EpochMillis,
        (Reset::Auto, Ok(n)) if n >= 1e9 => Reset::Epoch,
        (Reset::Auto, Ok(_)) => Reset::Seconds,
        (Reset::Auto, Err(_)) => Reset::Date,
        (written, _) => written,
    };
    let epoch = |unit: f64| {
        let micros = value.parse::<f64>().ok().filter(|n| *n >= 0.0 && n.is_finite())? * unit;
        Some(ResetIn::moment(Timestamp::from_micros(micros as i64), now))
    };
    match written {
        Reset::Auto | Reset::Seconds => seconds(value).map(ResetIn::after),
        Reset::Epoch => epoch(1e6),
        Reset::EpochMillis => epoch(1e3),
        Reset::Date => parse_date(value).map(|date| ResetIn::moment(date, now)),
    }
}

/// Whether a moment in a response is by another clock than ours, and `date`, when the response was made, is to be taken for now.
///
/// Nothing but another clock makes a response earlier than now; that it is later may be how long it took, and a late response must not
/// tell of a later window. But of a moment that `has_passed` by our clock it is better to wait too long than not at all.
pub(crate) fn is_skewed(date: Timestamp, now: Timestamp, has_passed: bool) -> bool {
    has_passed || date.saturating_since(now) > WHOLE_SECONDS || now.saturating_since(date) > SKEW
}

fn parse_date(value: &str) -> Option<Timestamp> {
    let value = value.trim();
    let http = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(value);
    let date = http.ok().or_else(|| value.parse::<jiff::Timestamp>().ok())?;
    Some(Timestamp::from_micros(date.as_microsecond()))
}

const USUAL: [(&str, &str); 3] = [
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
];

/// `Date` is written in whole seconds.
const WHOLE_SECONDS: Duration = Duration::from_secs(1);
/// Responses rarely take longer.
const SKEW: Duration = Duration::from_secs(45);
/// A month: quotas are not longer.
const LONGEST: Duration = Duration::from_secs(31 * 24 * 3_600);
const MOST_POLICIES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse("2024-01-01T00:00:00Z").expect("a time")
    }

    fn read(learn: &Learn, headers: &[(&str, &str)]) -> Vec<(String, u64, Option<(u64, bool)>)> {
        let header = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let told = learn.read(now(), &header);
        told.into_iter().map(|t| (t.policy, t.remaining, t.reset.map(|r| (r.wait.as_secs(), r.is_moment)))).collect()
    }

    fn one(remaining: u64, reset: Option<(u64, bool)>) -> Vec<(String, u64, Option<(u64, bool)>)> {
        vec![(String::new(), remaining, reset)]
    }

    #[test]
    fn reads_the_usual_headers() {
        let usual = Learn::usual();
        assert_eq!(read(&usual, &[("ratelimit-remaining", "7"), ("ratelimit-reset", "30")]), one(7, Some((30, false))));
        let epoch = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1704067260")];
        assert_eq!(read(&usual, &epoch), one(0, Some((60, true))));
        let millis = [("x-rate-limit-remaining", "-3"), ("x-rate-limit-reset", "1704067260000")];
        assert_eq!(read(&usual, &millis), one(0, Some((60, true))));
        let two = [("ratelimit", "\"burst\";r=5;t=1, \"daily\";r=900;t=3600"), ("x-ratelimit-remaining", "1")];
        assert_eq!(
            read(&usual, &two),
            [("burst".to_owned(), 5, Some((1, false))), ("daily".to_owned(), 900, Some((3_600, false)))]
        );
        assert_eq!(read(&usual, &[("ratelimit", "limit=10, remaining=4, reset=9")]), one(4, Some((9, false))));
        assert_eq!(read(&usual, &[("x-ratelimit-remaining", "4")]), one(4, None));
    }

    #[test]
    fn reads_headers_of_other_names_and_forms() {
        let learn = Learn::remaining("X-Calls-Left").reset("X-Full-At", Reset::Date);
        for date in ["Mon, 01 Jan 2024 00:00:09 GMT", "2024-01-01T00:00:09Z"] {
            assert_eq!(read(&learn, &[("x-calls-left", "2"), ("x-full-at", date)]), one(2, Some((9, true))));
        }
        let seconds = Learn::remaining("left").reset("reset", Reset::Seconds);
        assert_eq!(read(&seconds, &[("left", "2.0"), ("reset", "1.5")]), one(2, Some((1, false))));
    }

    #[test]
    fn the_clock_of_the_api_counts_for_moments() {
        let headers = [
            ("x-ratelimit-remaining", "1"),
            ("x-ratelimit-reset", "1704067260"),
            ("date", "Mon, 01 Jan 2024 00:00:50 GMT"),
        ];
        assert_eq!(read(&Learn::usual(), &headers), one(1, Some((10, false))));
    }

    #[test]
    fn a_clock_that_is_a_little_off_neither_hides_a_reset_nor_lengthens_it() {
        let read = |date: &str, reset: &str| {
            let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset), ("date", date)];
            read(&Learn::usual(), &headers)
        };
        // Ours is 20 s fast: by it, the reset has passed.
        assert_eq!(read("Sun, 31 Dec 2023 23:59:40 GMT", "1704067190"), one(0, Some((10, false))));
        // Ours is 20 s slow.
        assert_eq!(read("Mon, 01 Jan 2024 00:00:20 GMT", "1704067230"), one(0, Some((10, false))));
        // It is the same, or the response was slow.
        for date in ["Mon, 01 Jan 2024 00:00:01 GMT", "Sun, 31 Dec 2023 23:59:40 GMT"] {
            assert_eq!(read(date, "1704067230"), one(0, Some((30, true))), "{date}");
        }
        // It has passed by both.
        assert_eq!(read("Mon, 01 Jan 2024 00:00:00 GMT", "1704067190"), one(0, Some((0, false))));
    }

    #[test]
    fn what_cannot_be_read_says_nothing_and_nothing_lasts_for_years() {
        let usual = Learn::usual();
        for (remaining, reset) in [("many", "30"), ("", "30"), ("NaN", "30"), ("inf", "1")] {
            assert_eq!(read(&usual, &[("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", reset)]), []);
        }
        for reset in ["-5", "soon", "NaN", ""] {
            let headers = [("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", reset)];
            assert_eq!(read(&usual, &headers), one(1, None), "{reset}");
        }
        for reset in ["99999999", "9e300", "inf", "1e18"] {
            let headers = [("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", reset)];
            let told = read(&usual, &headers);
            assert_eq!(told[0].2.map(|(wait, _)| wait).filter(|w| *w != LONGEST.as_secs()), None, "{reset}");
        }
        assert_eq!(read(&usual, &[("ratelimit", ";;=,\",r=1")]), []);
    }
}
