//! Numbers in the binary format of `numeric`, with the digits that they have.

use super::encode::{Encode, Refused, cast, is_integer};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Int64Type, UInt64Type};

/// Whole numbers and decimals as `numeric`, with the digits that they have. Floats are not taken: their digits are not theirs.
pub(super) fn encoder(array: &ArrayRef, limits: Option<(u16, i16)>) -> Option<Encode> {
    let check = move |digits: &Digits| match limits {
        Some((precision, scale)) => digits.fits(precision, scale),
        None => Ok(()),
    };
    let from = array.data_type().clone();
    if from == DataType::UInt64 {
        let values = array.as_primitive::<UInt64Type>().clone();
        return Some(Box::new(move |row, out| {
            let digits = Digits::new(&values.value(row).to_string(), 0);
            check(&digits)?;
            digits.encode(out);
            Ok(())
        }));
    }
    if is_integer(&from) {
        let values = cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
        return Some(Box::new(move |row, out| {
            let digits = Digits::new(&values.value(row).to_string(), 0);
            check(&digits)?;
            digits.encode(out);
            Ok(())
        }));
    }
    match from {
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale) => {
            let values = cast(array, &DataType::Decimal128(digits, scale))?.as_primitive::<Decimal128Type>().clone();
            Some(Box::new(move |row, out| {
                let digits = Digits::new(&values.value(row).to_string(), scale);
                check(&digits)?;
                digits.encode(out);
                Ok(())
            }))
        }
        DataType::Decimal256(_, scale) => {
            let values = array.as_primitive::<Decimal256Type>().clone();
            Some(Box::new(move |row, out| {
                let digits = Digits::new(&values.value(row).to_string(), scale);
                check(&digits)?;
                digits.encode(out);
                Ok(())
            }))
        }
        _ => None,
    }
}

/// A decimal number, digit by digit.
struct Digits {
    negative: bool,
    whole: Vec<u8>,
    fraction: Vec<u8>,
}

impl Digits {
    /// The number `unscaled` (a whole number as text) times 10 to the power of -`scale`.
    fn new(unscaled: &str, scale: i8) -> Self {
        let (negative, digits) = unscaled.strip_prefix('-').map_or((false, unscaled), |digits| (true, digits));
        let mut digits: Vec<u8> = digits.bytes().map(|b| b - b'0').collect();
        let scale = usize::try_from(scale).unwrap_or_else(|_| {
            digits.extend(std::iter::repeat_n(0, usize::from(scale.unsigned_abs())));
            0
        });
        let missing = scale.saturating_sub(digits.len());
        let mut whole: Vec<u8> = std::iter::repeat_n(0, missing).chain(digits).collect();
        let fraction = whole.split_off(whole.len() - scale);
        let zeros = whole.iter().take_while(|d| **d == 0).count();
        whole.drain(..zeros);
        Self { negative, whole, fraction }
    }

    fn fits(&self, precision: u16, scale: i16) -> Result<(), Refused> {
        let beyond = usize::try_from(scale).unwrap_or(0);
        // A negative scale leaves that many zeros before the point.
        let zeros = usize::try_from(-i32::from(scale)).unwrap_or(0);
        let odd = self.fraction.iter().skip(beyond).chain(self.whole.iter().rev().take(zeros)).any(|d| *d != 0);
        if odd {
            return Err("the number has more digits after the point than the column");
        }
        let most = i32::from(precision) - i32::from(scale);
        if self.whole.len() > usize::try_from(most).unwrap_or(0) {
            return Err("the number has more digits than the column");
        }
        Ok(())
    }

    /// Groups of four digits: how many, the weight of the first, the sign, digits after the point, the groups
    /// (`numeric_send` in PostgreSQL's `numeric.c`).
    fn encode(&self, out: &mut Vec<u8>) {
        let pad = (4 - self.whole.len() % 4) % 4;
        let group = |digits: &[u8]| digits.iter().fold(0_i16, |n, d| n * 10 + i16::from(*d));
        let whole: Vec<u8> = std::iter::repeat_n(0, pad).chain(self.whole.iter().copied()).collect();
        let tail = (4 - self.fraction.len() % 4) % 4;
        let fraction: Vec<u8> = self.fraction.iter().copied().chain(std::iter::repeat_n(0, tail)).collect();
        let mut groups: Vec<i16> = whole.chunks(4).chain(fraction.chunks(4)).map(group).collect();
        let mut weight = i16::try_from(whole.len() / 4).unwrap_or(i16::MAX) - 1;
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let zeros = groups.iter().take_while(|g| **g == 0).count();
        groups.drain(..zeros);
        weight -= i16::try_from(zeros).unwrap_or(i16::MAX);
        let zero = groups.is_empty();
        let sign: u16 = if self.negative && !zero { 0x4000 } else { 0 };
        let scale = i16::try_from(self.fraction.len()).unwrap_or(i16::MAX);
        out.extend_from_slice(&i16::try_from(groups.len()).unwrap_or(i16::MAX).to_be_bytes());
        out.extend_from_slice(&if zero { 0 } else { weight }.to_be_bytes());
        out.extend_from_slice(&sign.to_be_bytes());
        out.extend_from_slice(&scale.to_be_bytes());
        for group in groups {
            out.extend_from_slice(&group.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(unscaled: &str, scale: i8) -> Vec<i16> {
        let mut out = Vec::new();
        Digits::new(unscaled, scale).encode(&mut out);
        out.chunks(2).map(|b| i16::from_be_bytes([b[0], b[1]])).collect()
    }

    #[test]
    fn decimals_are_groups_of_four_digits_around_the_point() {
        // Groups, weight, sign, digits after the point, as `SELECT numeric_send(…)` shows them.
        assert_eq!(numeric("0", 0), [0, 0, 0, 0]);
        assert_eq!(numeric("-0", 2), [0, 0, 0, 2]);
        assert_eq!(numeric("1234567", 2), [3, 1, 0, 2, 1, 2345, 6700]);
        assert_eq!(numeric("-1234567", 2), [3, 1, 0x4000, 2, 1, 2345, 6700]);
        assert_eq!(numeric("1", 5), [1, -2, 0, 5, 1000]);
        assert_eq!(numeric("10000", 0), [1, 1, 0, 0, 1]);
        assert_eq!(numeric("7", -4), [1, 1, 0, 0, 7]);
    }

    #[test]
    fn a_number_fits_by_its_own_digits() {
        let fits = |unscaled: &str, scale, precision, of| Digits::new(unscaled, scale).fits(precision, of).is_ok();
        assert!(fits("12345", 2, 5, 2) && !fits("12345", 2, 4, 2) && !fits("12345", 2, 5, 1));
        assert!(fits("12340", 2, 5, 1), "zeros after the point are no digits");
        assert!(fits("5", 3, 3, 3) && fits("0", 0, 1, 1));
        assert!(fits("1200", 0, 3, -2) && !fits("1250", 0, 3, -2) && fits("0", 0, 3, -2));
    }
}
