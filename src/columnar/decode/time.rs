//! Times and dates, from their text, without loss.

use super::fault::{Checked, Fault};
use crate::columnar::schema::{TimeUnit, Written};

/// A time of day on a date, with the rest of its text read.
struct Moment {
    days: i64,
    seconds: i64,
    nanos: i64,
    /// Whether there are digits below the nanosecond that are not zero.
    finer: bool,
    /// Seconds east of UTC, if it is written.
    offset: Option<i64>,
}

/// RFC 3339 text with an offset, as `unit`s since 1970-01-01T00:00:00Z.
pub(crate) fn instant(text: &[u8], unit: TimeUnit) -> Checked<i64> {
    let moment = moment(text).ok_or_else(|| Fault::new("type", "expected an RFC 3339 time, found other text"))?;
    let Some(offset) = moment.offset else {
        return Err(Fault::new("type", "expected an RFC 3339 time, found one without an offset from UTC"));
    };
    moment.units(offset, unit)
}

/// RFC 3339 text without an offset: a local time, as `unit`s since 1970-01-01T00:00:00.
pub(crate) fn local(text: &[u8], unit: TimeUnit) -> Checked<i64> {
    let moment = moment(text).ok_or_else(|| Fault::new("type", "expected a local date and time, found other text"))?;
    if moment.offset.is_some() {
        return Err(Fault::new("type", "expected a local date and time, found one with an offset from UTC"));
    }
    moment.units(0, unit)
}

/// `YYYY-MM-DD`, as days since 1970-01-01.
pub(crate) fn date(text: &[u8]) -> Checked<i32> {
    match days(text) {
        Some((days, [])) => Ok(i32::try_from(days).expect("four digits of a year fit")),
        _ => Err(Fault::new("type", "expected a date like 2024-05-17, found other text")),
    }
}

/// A number that counts from 1970-01-01T00:00:00Z, as `unit`s.
pub(crate) fn epoch(text: &[u8], written: Written, unit: TimeUnit) -> Checked<i64> {
    let (have, want) = (written.digits(), digits(unit));
    let fits = |value: i128| i64::try_from(value).map_err(|_| out_of_range(unit));
    // As a decimal with the digits that the unit has below the written one: finer ones are refused by it.
    let scale = want.saturating_sub(have);
    let value = super::number::decimal(text, 38, scale).map_err(|fault| match fault.code {
        "scale" => finer(unit),
        "range" => out_of_range(unit),
        _ => Fault::new("type", "expected a number of an epoch, found other text"),
    })?;
    let over = 10i128.pow(u32::from(have.saturating_sub(want)));
    if value % over != 0 {
        return Err(finer(unit));
    }
    fits(value / over)
}

/// Digits after the point of a second.
fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

#[cold]
fn finer(unit: TimeUnit) -> Box<Fault> {
    Fault::new("scale", format!("a time with more than {} digits after the second", digits(unit)))
}

#[cold]
fn out_of_range(unit: TimeUnit) -> Box<Fault> {
    Fault::new("range", format!("out of range of a timestamp with {} digits after the second", digits(unit)))
}

impl Moment {
    #[inline]
    fn units(&self, offset: i64, unit: TimeUnit) -> Checked<i64> {
        let (per_second, nanos_per_unit) = match unit {
            TimeUnit::Second => (1, 1_000_000_000),
            TimeUnit::Millisecond => (1_000, 1_000_000),
            TimeUnit::Microsecond => (1_000_000, 1_000),
            TimeUnit::Nanosecond => (1_000_000_000, 1),
        };
        if self.finer || self.nanos % nanos_per_unit != 0 {
            return Err(finer(unit));
        }
        let seconds = self.days * 86_400 + self.seconds - offset;
        if let Some(units) = seconds.checked_mul(per_second).and_then(|n| n.checked_add(self.nanos / nanos_per_unit)) {
            return Ok(units);
        }
        // The product may be out of range where the sum is not.
        let units = i128::from(seconds) * i128::from(per_second) + i128::from(self.nanos / nanos_per_unit);
        i64::try_from(units).map_err(|_| out_of_range(unit))
    }
}

/// `YYYY-MM-DDTHH:MM:SS[.digits][Z|±HH:MM]`; also with a space or a small letter, as RFC 3339 allows.
fn moment(text: &[u8]) -> Option<Moment> {
    let (days, rest) = days(text)?;
    let ([b'T' | b't' | b' ', h1, h2, b':', m1, m2, b':', s1, s2], rest) = rest.split_first_chunk::<9>()? else {
        return None;
    };
    let (hour, minute, second) = (two(*h1, *h2)?, two(*m1, *m2)?, two(*s1, *s2)?);
    // A leap second has no place in a count of seconds: it would have to be moved to another one.
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, finer, rest) = match rest.split_first() {
        Some((b'.', rest)) => fraction(rest)?,
        _ => (0, false, rest),
    };
    let offset = match rest {
        [] => None,
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two(*h1, *h2)?, two(*m1, *m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let east = hours * 3600 + minutes * 60;
            Some(if *sign == b'-' { -east } else { east })
        }
        _ => return None,
    };
    Some(Moment { days, seconds: hour * 3600 + minute * 60 + second, nanos, finer, offset })
}

/// The digits of a second, as nanoseconds, and whether there are finer ones; `None` if there are none.
fn fraction(text: &[u8]) -> Option<(i64, bool, &[u8])> {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let mut nanos = 0;
    for at in 0..9 {
        nanos = nanos * 10 + digits.get(at).map_or(0, |d| i64::from(d - b'0'));
    }
    let beyond = digits.get(9..).unwrap_or_default();
    if digits.is_empty() { None } else { Some((nanos, beyond.iter().any(|d| *d != b'0'), rest)) }
}

/// `YYYY-MM-DD` in front of `text`, as days since 1970-01-01.
#[inline]
fn days(text: &[u8]) -> Option<(i64, &[u8])> {
    let ([y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2], rest) = text.split_first_chunk::<10>()? else {
        return None;
    };
    let (year, month, day) = (two(*y1, *y2)? * 100 + two(*y3, *y4)?, two(*m1, *m2)?, two(*d1, *d2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if day < 1 || day > length {
        return None;
    }
    // A year that begins in March has its leap day last; 306 days later the usual one begins.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some((before + (153 * month + 2) / 5 + day - 1 - DAYS_TO_1970, rest))
}

/// Days from March 1 of year 0 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

#[inline(always)]
fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if tens > 9 || ones > 9 { None } else { Some(i64::from(tens * 10 + ones)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    use TimeUnit::{Microsecond as Us, Millisecond as Ms, Nanosecond as Ns, Second as S};

    #[test]
    fn times_agree_with_a_calendar_on_every_day() {
        let mut day: jiff::civil::Date = "0000-01-01".parse().expect("a date");
        let epoch: jiff::civil::Date = "1970-01-01".parse().expect("a date");
        for _ in 0..3_652_424 {
            let text = day.to_string();
            let expected = day.since((jiff::Unit::Day, epoch)).expect("in range").get_days();
            assert_eq!(date(text.as_bytes()), Ok(expected), "{text}");
            // Every day of some years, and some days of every year.
            let step = if day.year() % 400 < 5 { 1 } else { 97 };
            match day.checked_add(jiff::Span::new().days(step)) {
                Ok(next) => day = next,
                Err(_) => break,
            }
        }
    }

    #[test]
    fn times_of_any_offset_become_utc() {
        for (text, unit, value) in [
            ("1970-01-01T00:00:00Z", Us, 0),
            ("2023-12-24T15:59:25.093Z", Us, 1_703_433_565_093_000),
            ("2023-12-24T15:59:25.093Z", Ms, 1_703_433_565_093),
            ("2023-12-24t15:59:25.093000z", Ms, 1_703_433_565_093),
            ("2023-12-24 17:59:25.093+02:00", Ms, 1_703_433_565_093),
            ("2023-12-24T06:29:25.093-09:30", Ms, 1_703_433_565_093),
            ("1969-12-31T23:59:59.999999Z", Us, -1),
            ("2024-02-29T12:00:00Z", S, 1_709_208_000),
            ("0000-01-01T00:00:00Z", Us, -62_167_219_200_000_000),
            ("9999-12-31T23:59:59.999999Z", Us, 253_402_300_799_999_999),
            ("2262-04-11T23:47:16.854775807Z", Ns, i64::MAX),
            ("1970-01-01T00:00:00.000001000Z", Us, 1),
        ] {
            assert_eq!(instant(text.as_bytes(), unit), Ok(value), "{text}");
        }
    }

    #[test]
    fn times_that_do_not_fit_are_refused() {
        for (text, unit, code) in [
            ("2023-12-24T15:59:25.0930001Z", Us, "scale"),
            ("2023-12-24T15:59:25.0931Z", Ms, "scale"),
            ("2262-04-11T23:47:16.854775808Z", Ns, "range"),
            ("2023-12-24T15:59:25.0000000001Z", Ns, "scale"),
            ("2023-12-24T15:59:25", Us, "type"),
            ("2023-12-24T15:59:60Z", Us, "type"),
            ("2023-12-24T24:00:00Z", Us, "type"),
            ("2023-02-29T00:00:00Z", Us, "type"),
            ("2023-00-10T00:00:00Z", Us, "type"),
            ("2023-12-24T15:59:25.Z", Us, "type"),
            ("2023-12-24T15:59:25+0200", Us, "type"),
            ("2023-12-24T15:59Z", Us, "type"),
            ("2023-12-24", Us, "type"),
            ("+2023-12-24T15:59:25Z", Us, "type"),
            ("2023-12-24T15:59:25Z ", Us, "type"),
            ("", Us, "type"),
        ] {
            assert_eq!(instant(text.as_bytes(), unit).expect_err(text).code, code, "{text}");
        }
        assert_eq!(local(b"2023-12-24 15:59:25", Us), Ok(1_703_433_565_000_000));
        assert_eq!(local(b"2023-12-24T15:59:25Z", Us).expect_err("offset").code, "type");
        assert_eq!(date(b"2024-02-30").expect_err("no such day").code, "type");
        assert_eq!(date(b"2024-02-03T").expect_err("more text").code, "type");
    }

    #[test]
    fn epochs_are_scaled_exactly() {
        assert_eq!(epoch(b"1703433565", Written::EpochSeconds, Us), Ok(1_703_433_565_000_000));
        assert_eq!(epoch(b"1703433565.093", Written::EpochSeconds, Us), Ok(1_703_433_565_093_000));
        assert_eq!(epoch(b"1703433565093", Written::EpochMillis, Us), Ok(1_703_433_565_093_000));
        assert_eq!(epoch(b"-1", Written::EpochMicros, Us), Ok(-1));
        assert_eq!(epoch(b"1703433565093000000", Written::EpochNanos, Us), Ok(1_703_433_565_093_000));
        assert_eq!(epoch(b"1703433565093000001", Written::EpochNanos, Us).expect_err("finer").code, "scale");
        assert_eq!(epoch(b"1.5", Written::EpochMicros, Us).expect_err("finer").code, "scale");
        assert_eq!(epoch(b"9223372036854775807", Written::EpochSeconds, Us).expect_err("far").code, "range");
    }
}
