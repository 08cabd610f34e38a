//! For how long a table keeps what is no longer in it, as its settings say.

use super::actions::Metadata;
use crate::env::Env;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// For how long files are kept that were removed: a week, if the table does not say otherwise.
pub(super) fn of_files(metadata: &Metadata) -> Duration {
    // What is not understood keeps everything.
    let setting = metadata.setting("delta.deletedFileRetentionDuration");
    setting.map_or(7 * DAY, |text| interval(text).unwrap_or(Duration::MAX).max(7 * DAY))
}

/// For how long versions of the log are kept: thirty days, if the table does not say otherwise, and never less than the files that
/// they name.
pub(super) fn of_log(metadata: &Metadata) -> Duration {
    let setting = metadata.setting("delta.logRetentionDuration");
    setting.map_or(30 * DAY, |text| interval(text).unwrap_or(Duration::MAX)).max(of_files(metadata))
}

/// Files that were removed before this time, in milliseconds since 1970, need no longer be remembered.
pub(super) fn forgotten(env: &Env, metadata: &Metadata) -> i64 {
    env.now().saturating_sub(of_files(metadata)).as_micros() / 1000
}

/// A duration as Delta writes it, such as `interval 30 days`.
fn interval(text: &str) -> Option<Duration> {
    let text = text.trim().to_ascii_lowercase();
    let mut words = text.strip_prefix("interval ").unwrap_or(&text).split_whitespace();
    let mut all = Duration::ZERO;
    while let Some(number) = words.next() {
        let number: u32 = number.parse().ok()?;
        let unit = match words.next()?.trim_end_matches('s') {
            "microsecond" => Duration::from_micros(1),
            "millisecond" => Duration::from_millis(1),
            "second" => Duration::from_secs(1),
            "minute" => Duration::from_secs(60),
            "hour" => Duration::from_secs(3600),
            "day" => DAY,
            "week" => 7 * DAY,
            _ => return None,
        };
        all = all.checked_add(unit.checked_mul(number)?)?;
    }
    (!all.is_zero()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_lengthen_what_is_kept_and_never_shorten_it_below_a_week() {
        let with = |settings: &[(&str, &str)]| Metadata {
            configuration: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
                .collect(),
            ..Metadata::default()
        };
        let files = "delta.deletedFileRetentionDuration";
        let log = "delta.logRetentionDuration";
        for (text, days) in [
            ("interval 30 days", 30),
            ("INTERVAL 2 weeks 1 day", 15),
            ("240 hours", 10),
            ("14400 minutes", 10),
            ("interval 864000 seconds", 10),
            ("interval 9 days 86400000 milliseconds", 10),
            ("interval 1 day", 7),
        ] {
            assert_eq!(of_files(&with(&[(files, text)])), days * DAY, "{text}");
        }
        let finest = of_files(&with(&[(files, "interval 10 days 5 microseconds")]));
        assert_eq!(finest, 10 * DAY + Duration::from_micros(5));
        for odd in ["", "interval", "interval 1 month", "1", "interval x days"] {
            assert_eq!(of_files(&with(&[(files, odd)])), Duration::MAX, "{odd}");
        }
        assert_eq!((of_files(&with(&[])), of_log(&with(&[]))), (7 * DAY, 30 * DAY));
        assert_eq!(of_log(&with(&[(log, "interval 1 hour")])), 7 * DAY);
        assert_eq!(of_log(&with(&[(log, "interval 8 days"), (files, "interval 9 days")])), 9 * DAY);
    }
}
