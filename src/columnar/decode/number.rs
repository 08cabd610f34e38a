//! Numbers, from their text, without loss: a value that a column cannot hold exactly is refused, never rounded.

use super::fault::{Checked, Fault};

/// A number taken apart: `±digits * 10^(exponent - fraction)`.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Parts<'a> {
    /// `[+-]digits[.digits][e[+-]digits]`: what JSON allows, and zeros or a plus in front, as strings have them.
    fn of(text: &'a [u8]) -> Option<Self> {
        let (negative, text) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            Some((b'+', rest)) => (false, rest),
            _ => (false, text),
        };
        let (whole, rest) = digits(text);
        let (fraction, rest) = match rest.split_first() {
            Some((b'.', rest)) => Some(digits(rest)).filter(|(digits, _)| !digits.is_empty())?,
            _ => (&[][..], rest),
        };
        let exponent = match rest.split_first() {
            None => 0,
            Some((b'e' | b'E', rest)) => {
                let (sign, rest) = match rest.split_first() {
                    Some((b'-', rest)) => (-1, rest),
                    Some((b'+', rest)) => (1, rest),
                    _ => (1, rest),
                };
                let (exponent, rest) = digits(rest);
                if exponent.is_empty() || !rest.is_empty() {
                    return None;
                }
                let add = |n: i64, d: &u8| n.saturating_mul(10).saturating_add(i64::from(d - b'0'));
                sign * exponent.iter().fold(0i64, add)
            }
            Some(_) => return None,
        };
        if whole.is_empty() { None } else { Some(Self { negative, whole, fraction, exponent }) }
    }

    fn digits(&self) -> impl DoubleEndedIterator<Item = u8> {
        self.whole.iter().chain(self.fraction).map(|d| d - b'0')
    }

    /// Its digits without zeros at both ends, and the power of ten that their last one counts.
    fn shortest(&self) -> (Vec<u8>, i64) {
        let mut digits: Vec<u8> = self.digits().skip_while(|d| *d == 0).collect();
        let all = digits.len();
        digits.truncate(digits.iter().rposition(|d| *d != 0).map_or(0, |last| last + 1));
        let cut = (all - digits.len()) as i64;
        let power = self.exponent.saturating_sub(self.fraction.len() as i64).saturating_add(cut);
        (digits, power)
    }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()))
}

/// The number `text` as a multiple of `10^-scale`, if it has at most `precision` digits so.
pub(crate) fn decimal(text: &[u8], precision: u8, scale: u8) -> Checked<i128> {
    if let Some(value) = short_decimal(text, precision, scale) {
        return Ok(value);
    }
    let parts = Parts::of(text)
        .ok_or_else(|| Fault::new("type", format!("expected decimal({precision},{scale}), found other text")))?;
    let too_fine = || Fault::new("scale", format!("more than {scale} digits after the point"));
    let too_large = || Fault::new("range", format!("out of range of decimal({precision},{scale})"));
    // How many zeros the digits lack for the scale; negative if they have too many.
    let mut zeros = parts.exponent.saturating_sub(parts.fraction.len() as i64).saturating_add(i64::from(scale));
    let significant = parts.digits().rev().skip_while(|d| *d == 0).count();
    let trailing = parts.whole.len() + parts.fraction.len() - significant;
    if significant == 0 {
        return Ok(0);
    }
    zeros = zeros.saturating_add(i64::try_from(trailing).unwrap_or(i64::MAX));
    if zeros < 0 {
        return Err(too_fine());
    }
    let mut value = 0i128;
    let kept = parts.digits().take(significant);
    for digit in kept.chain(std::iter::repeat_n(0, usize::try_from(zeros.min(64)).unwrap_or(64))) {
        value = value.checked_mul(10).and_then(|v| v.checked_add(i128::from(digit))).ok_or_else(too_large)?;
    }
    let limit = 10i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
    if value >= limit || zeros > 64 {
        return Err(too_large());
    }
    Ok(if parts.negative { -value } else { value })
}

/// The greatest multiple of `10^-scale` that is not above the number `text`, and whether it is that number; beyond 128
/// bits the least or the greatest. `None` if it is no number.
pub(crate) fn floor(text: &[u8], scale: u8) -> Option<(i128, bool)> {
    let parts = Parts::of(text)?;
    let (digits, power) = parts.shortest();
    let power = power.saturating_add(scale.into());
    let cut = usize::try_from(power.min(0).unsigned_abs()).unwrap_or(usize::MAX).min(digits.len());
    // Zero has no digits, so none are cut from it.
    let exact = cut == 0;
    let zeros = if digits.is_empty() { 0 } else { usize::try_from(power.clamp(0, 64)).unwrap_or_default() };
    let kept = digits.iter().take(digits.len() - cut).copied().chain(std::iter::repeat_n(0, zeros));
    let size = kept.map(i128::from).try_fold(0i128, |n, digit| n.checked_mul(10)?.checked_add(digit));
    Some(match (size, parts.negative) {
        (Some(size), false) => (size, exact),
        (Some(size), true) => (-size - i128::from(!exact), exact),
        (None, false) => (i128::MAX, true),
        (None, true) => (i128::MIN, true),
    })
}

/// The form that most decimals have: at most 18 digits, no exponent, at most `scale` of them after the point.
#[inline]
fn short_decimal(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.len() > 18 || digits.len() > usize::from(precision) {
        return None;
    }
    let mut value = 0i64;
    let mut point = None;
    for (at, byte) in digits.iter().enumerate() {
        match byte.wrapping_sub(b'0') {
            digit @ 0..=9 => value = value * 10 + i64::from(digit),
            _ if *byte == b'.' && point.is_none() && at > 0 => point = Some(at),
            _ => return None,
        }
    }
    let fraction = match point {
        Some(at) => digits.len() - at - 1,
        None if digits.is_empty() => return None,
        None => 0,
    };
    if fraction == 0 && point.is_some() {
        return None;
    }
    let zeros = usize::from(scale).checked_sub(fraction)?;
    // With a point there is room for one more digit than was counted above.
    if digits.len() + zeros > usize::from(precision) || digits.len() + zeros > 18 {
        return None;
    }
    let value = i128::from(value * POWERS.get(zeros)?);
    Some(if negative { -value } else { value })
}

const POWERS: [i64; 19] = {
    let mut powers = [1; 19];
    let mut at = 1;
    while at < 19 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// The number `text` as a whole number; `1.0` and `1e3` are whole.
pub(crate) fn integer(text: &[u8], name: &'static str) -> Checked<i128> {
    if let Some(value) = short_decimal(text, 18, 0) {
        return Ok(value);
    }
    decimal(text, 38, 0).map_err(|fault| match fault.code {
        "scale" => Fault::new("range", format!("expected {name}, found a number with a fraction")),
        "range" => Fault::new("range", format!("out of range of {name}")),
        _ => Fault::new("type", format!("expected {name}, found other text")),
    })
}

/// Whether `text` is a number whatever the text means: 00123, +1 and 3e8 are names as well.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_zero_led = matches!(digits, [b'0', b'0'..=b'9', ..]);
    let has_digit_first = digits.first().is_some_and(u8::is_ascii_digit);
    has_digit_first
        && !is_zero_led
        && text != b"-0"
        && !text.iter().any(|b| matches!(b, b'e' | b'E'))
        && Parts::of(text).is_some()
}

/// A number that was found in a text, as [`float64`] takes it: without a plus and zeros in front. And whether it is whole.
pub(crate) fn in_text(text: &[u8]) -> Option<(&[u8], bool)> {
    Parts::of(text)?;
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let zeros = text.windows(2).take_while(|pair| matches!(pair, [b'0', b'0'..=b'9'])).count();
    Some((text.get(zeros..)?, text.iter().all(|b| b.is_ascii_digit() || *b == b'-')))
}

/// The number `text` as a `float64`. A whole number must be held exactly; a fraction is taken to the nearest. A whole
/// number with a point or an exponent may also be the shortest text of the float, such as `1e308`: it is what writers of
/// JSON make of a float.
pub(crate) fn float64(text: &[u8], whole: bool) -> Checked<f64> {
    let value: f64 = parse(text, "float64")?;
    // Up to 15 digits always fit.
    if whole && text.len() > 15 && format!("{value:.0}").as_bytes() != text {
        return Err(inexact("float64"));
    }
    bounded(value.is_infinite(), value == 0.0, text, "float64")?;
    if !whole && text.len() > 15 && rounds(text, || [format!("{value:.0}"), format!("{value:e}")]) {
        return Err(inexact("float64"));
    }
    Ok(value)
}

/// The number `text` as a `float32`; see [`float64`].
pub(crate) fn float32(text: &[u8], whole: bool) -> Checked<f32> {
    let value: f32 = parse(text, "float32")?;
    if whole && text.len() > 6 && format!("{value:.0}").as_bytes() != text {
        return Err(inexact("float32"));
    }
    bounded(value.is_infinite(), value == 0.0, text, "float32")?;
    if !whole && text.len() > 6 && rounds(text, || [format!("{value:.0}"), format!("{value:e}")]) {
        return Err(inexact("float32"));
    }
    Ok(value)
}

fn parse<T: std::str::FromStr>(text: &[u8], name: &'static str) -> Checked<T> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Fault::new("type", format!("expected {name}, found other text")))
}

/// Whether `text` is a whole number, and none of the texts of its float.
fn rounds(text: &[u8], float: impl FnOnce() -> [String; 2]) -> bool {
    let shortest = |text: &[u8]| Parts::of(text).map(|parts| parts.shortest());
    let said = shortest(text);
    said.as_ref().is_some_and(|(_, power)| *power >= 0) && float().iter().all(|text| shortest(text.as_bytes()) != said)
}

#[cold]
fn inexact(name: &'static str) -> Box<Fault> {
    Fault::new("range", format!("a whole number that {name} cannot hold exactly"))
}

/// Refuses what became infinite, or nothing.
fn bounded(infinite: bool, zero: bool, text: &[u8], name: &'static str) -> Checked<()> {
    let significant =
        |text: &[u8]| text.iter().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| (b'1'..=b'9').contains(b));
    if infinite || (zero && significant(text)) {
        return Err(Fault::new("range", format!("out of range of {name}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T: std::fmt::Debug>(result: Checked<T>) -> &'static str {
        result.expect_err("refused").code
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        let max = 10i128.pow(38) - 1;
        let table: [(&str, u8, u8, i128); 18] = [
            ("0", 18, 2, 0),
            ("-0.00", 18, 2, 0),
            ("2733.63", 18, 2, 273_363),
            ("-2733.6", 18, 2, -273_360),
            ("12", 4, 2, 1200),
            ("1.500", 18, 2, 150),
            ("1e3", 18, 2, 100_000),
            ("1.5E+2", 5, 0, 150),
            ("12300e-4", 5, 2, 123),
            ("0e99999999999999999999", 5, 2, 0),
            ("+007.50", 5, 2, 750),
            ("999999999999999999", 18, 0, 999_999_999_999_999_999),
            ("9999999999999999.99", 18, 2, 999_999_999_999_999_999),
            ("0.000000000000000001", 18, 18, 1),
            ("99999999999999999999999999999999999999", 38, 0, max),
            ("-9.9999999999999999999999999999999999999", 38, 37, -max),
            ("0.00000000000000000000000000000000000001", 38, 38, 1),
            ("100000000000000000000000000000000000000000e-10", 38, 0, 10i128.pow(31)),
        ];
        for (text, precision, scale, value) in table {
            assert_eq!(decimal(text.as_bytes(), precision, scale), Ok(value), "{text}");
        }
        for (text, precision, scale, why) in [
            ("1.005", 18, 2, "scale"),
            ("1e-3", 18, 2, "scale"),
            ("1e-99999999999999999999", 18, 2, "scale"),
            ("100", 4, 2, "range"),
            ("99.999", 4, 2, "scale"),
            ("10000000000000000.00", 18, 2, "range"),
            ("1e36", 38, 2, "range"),
            ("1e99999999999999999999", 38, 2, "range"),
            ("100000000000000000000000000000000000000", 38, 0, "range"),
            ("", 18, 2, "type"),
            ("-", 18, 2, "type"),
            (".5", 18, 2, "type"),
            ("5.", 18, 2, "type"),
            ("1e", 18, 2, "type"),
            ("1 ", 18, 2, "type"),
            ("1,5", 18, 2, "type"),
            ("0x10", 18, 2, "type"),
            ("NaN", 18, 2, "type"),
            ("1.2.3", 18, 2, "type"),
        ] {
            assert_eq!(code(decimal(text.as_bytes(), precision, scale)), why, "{text}");
        }
    }

    #[test]
    fn whole_numbers_may_be_written_with_a_point() {
        assert_eq!(integer(b"1.0", "int64"), Ok(1));
        assert_eq!(integer(b"12e1", "int64"), Ok(120));
        assert_eq!(integer(b"18446744073709551615", "uint64"), Ok(i128::from(u64::MAX)));
        assert_eq!(code(integer(b"1.5", "int64")), "range");
    }

    #[test]
    fn floats_keep_whole_numbers_and_signs_or_refuse() {
        assert_eq!(float64(b"9007199254740992", true), Ok(9_007_199_254_740_992.0));
        assert_eq!(float64(b"10000000000000000000000", true), Ok(1e22));
        assert!(float64(b"-0", true).is_ok_and(|zero| zero == 0.0 && zero.is_sign_negative()));
        assert_eq!(float64(b"0.1", false), Ok(0.1));
        assert_eq!(float64(b"1e308", false), Ok(1e308));
        assert_eq!(float64(b"0e-999", false), Ok(0.0));
        for text in ["9007199254740993", "-9007199254740993", "123456789012345678901234567890"] {
            assert_eq!(code(float64(text.as_bytes(), true)), "range", "{text}");
        }
        for text in ["9007199254740993.0", "9007199254740993e0", "900719925474099.3e1", "-9007199254740993.00"] {
            assert_eq!(code(float64(text.as_bytes(), false)), "range", "{text}");
        }
        for text in ["9007199254740992.0", "1.2345678901234567e+19", "12345678901234567168.0", "0.12345678901234567890"]
        {
            assert!(float64(text.as_bytes(), false).is_ok(), "{text}");
        }
        assert_eq!(code(float32(b"16777217.0", false)), "range");
        assert_eq!(float32(b"16777216.0", false), Ok(16_777_216.0));
        assert_eq!(code(float64(b"1e999", false)), "range");
        assert_eq!(code(float64(b"1e-999", false)), "range");
        assert_eq!(float32(b"16777216", true), Ok(16_777_216.0));
        assert_eq!(code(float32(b"16777217", true)), "range");
        assert_eq!(code(float32(b"1e39", false)), "range");
    }
}
