use std::borrow::Cow;
use std::cmp::Ordering;

/// A JSON number as its digits: compared and shifted without loss.
#[derive(Clone, Debug)]
pub(in super::super) struct Decimal<'a> {
    negative: bool,
    /// The digits without the point.
    digits: Cow<'a, [u8]>,
    /// How many of the digits stand before the point; may lie outside of them.
    point: i64,
    text: &'a str,
}

impl<'a> Decimal<'a> {
    /// Reads a JSON number.
    pub(in super::super) fn parse(text: &'a str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Cow<'_, [u8]> = if fraction.is_empty() {
            Cow::Borrowed(whole.as_bytes())
        } else {
            Cow::Owned([whole.as_bytes(), fraction.as_bytes()].concat())
        };
        if whole.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let leading = digits.iter().take_while(|d| **d == b'0').count();
        let point =
            i64::try_from(whole.len()).ok()?.checked_add(exponent)?.checked_sub(i64::try_from(leading).ok()?)?;
        let trailing = digits.iter().rev().take_while(|d| **d == b'0').count();
        let kept = leading..digits.len().saturating_sub(trailing).max(leading);
        let digits = match digits {
            Cow::Borrowed(digits) => Cow::Borrowed(digits.get(kept).unwrap_or_default()),
            Cow::Owned(digits) => Cow::Owned(digits.get(kept).unwrap_or_default().to_vec()),
        };
        if digits.is_empty() {
            return Some(Self { negative: false, digits, point: 0, text });
        }
        Some(Self { negative, digits, point, text })
    }

    /// This number less `n`, in plain digits. `None` if it has an exponent or more than 38 digits.
    pub(super) fn less(&self, n: u128) -> Option<String> {
        let (whole, fraction) = self.text.split_once('.').unwrap_or((self.text, ""));
        let places = u32::try_from(fraction.len()).ok()?;
        let scaled: i128 = format!("{whole}{fraction}").parse().ok()?;
        let n = i128::try_from(n).ok()?.checked_mul(10i128.checked_pow(places)?)?;
        let less = scaled.checked_sub(n)?;
        if places == 0 {
            return Some(less.to_string());
        }
        let digits = format!("{:0>width$}", less.unsigned_abs(), width = fraction.len() + 1);
        let (whole, fraction) = digits.split_at_checked(digits.len() - fraction.len())?;
        Some(format!("{}{whole}.{fraction}", if less < 0 { "-" } else { "" }))
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // Without leading and trailing zeros the digits compare like text.
            (false, false) => self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits)),
        }
    }
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal<'_> {}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
