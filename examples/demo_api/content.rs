//! What the API holds: record `n` is a function of the seed and `n`, in the order of time. Some records repeat an
//! earlier one byte for byte, some are bad.

use serde::{Deserialize, Serialize};

/// What the API holds.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) seed: u64,
    /// Records in a thousand that repeat an earlier one.
    pub(crate) repeated: u64,
    /// Records in a thousand that are bad.
    pub(crate) bad: u64,
}

impl Default for Content {
    fn default() -> Self {
        Self { seed: 1, repeated: 30, bad: 8 }
    }
}

/// What a correct load leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Truth {
    /// Records in one complete listing.
    pub(crate) records: u64,
    /// Good orders, each counted once: what the destination must hold.
    pub(crate) orders: u64,
    /// Records that repeat an earlier one.
    pub(crate) repeated: u64,
    /// Bad records: what the quarantine must hold.
    pub(crate) bad: u64,
    /// Sum of the amounts of the good orders, in cents.
    pub(crate) cents: u64,
    /// Sum of the numbers of the good orders.
    pub(crate) numbers: u64,
}

enum Kind {
    Good,
    RepeatOf(u64),
    Bad,
}

/// Three records share each second, so that reads by time meet ties.
const RECORDS_PER_SECOND: u64 = 3;
/// 2025-01-01T00:00:00Z.
const START: i64 = 1_735_689_600;
const STATUS: [&str; 4] = ["placed", "paid", "shipped", "returned"];
const NOTES: [&str; 4] = ["gift", "línea 1\\nlínea 2", "rush \\\"today\\\"", "注意"];

impl Content {
    pub(crate) fn truth(&self, records: u64) -> Truth {
        let mut truth = Truth { records, orders: 0, repeated: 0, bad: 0, cents: 0, numbers: 0 };
        for n in 0..records {
            match self.kind(n) {
                Kind::Good => {
                    truth.orders += 1;
                    truth.cents += self.cents(n);
                    truth.numbers += n;
                }
                Kind::RepeatOf(_) => truth.repeated += 1,
                Kind::Bad => truth.bad += 1,
            }
        }
        truth
    }

    pub(crate) fn is_good_and_new(&self, n: u64) -> bool {
        matches!(self.kind(n), Kind::Good)
    }

    pub(crate) fn is_bad(&self, n: u64) -> bool {
        matches!(self.kind(n), Kind::Bad)
    }

    /// The number of the first record at or after a time in RFC 3339; `None` if it is no time.
    pub(crate) fn first_since(&self, since: &str) -> Option<u64> {
        let since: jiff::Timestamp = since.parse().ok()?;
        let whole = since.as_second() + i64::from(since.subsec_nanosecond() > 0);
        Some(u64::try_from(whole - START).unwrap_or(0) * RECORDS_PER_SECOND)
    }

    /// The JSON of record `n`.
    pub(crate) fn record(&self, n: u64) -> Vec<u8> {
        match self.kind(n) {
            Kind::Good => self.order(n, None),
            Kind::RepeatOf(earlier) => self.order(earlier, None),
            Kind::Bad => self.order(n, Some(self.draw(n, 3) % 6)),
        }
        .into_bytes()
    }

    fn kind(&self, n: u64) -> Kind {
        let drawn = self.draw(n, 0) % 1_000;
        if drawn < self.bad {
            return Kind::Bad;
        }
        if drawn < self.bad + self.repeated && n > 0 {
            let earlier = n - 1 - self.draw(n, 1) % n.min(250);
            if self.draw(earlier, 0) % 1_000 >= self.bad + self.repeated {
                return Kind::RepeatOf(earlier);
            }
        }
        Kind::Good
    }

    fn order(&self, n: u64, defect: Option<u64>) -> String {
        let id = if defect == Some(0) { String::new() } else { format!(r#""id":"ord-{n:09}","#) };
        let quantity = match defect {
            Some(1) => r#""three""#.to_owned(),
            Some(2) => "-1".to_owned(),
            _ => (1 + self.draw(n, 4) % 9).to_string(),
        };
        let cents = self.cents(n);
        let amount = match defect {
            Some(3) => format!("{},{:02}", cents / 100, cents % 100),
            _ => format!("{}.{:02}", cents / 100, cents % 100),
        };
        let status = match defect {
            Some(4) => "misplaced",
            _ => STATUS[self.pick(n, 5, STATUS.len())],
        };
        let updated_at = match defect {
            Some(5) => "yesterday".to_owned(),
            _ => jiff::Timestamp::from_second(START + i64::try_from(n / RECORDS_PER_SECOND).unwrap_or(0))
                .map(|t| t.to_string())
                .unwrap_or_default(),
        };
        let note = match self.pick(n, 6, 3 * NOTES.len()) {
            i if i < NOTES.len() => format!("\"{}\"", NOTES[i]),
            _ => "null".to_owned(),
        };
        let customer = self.draw(n, 7) % 1_000;
        format!(
            r#"{{{id}"number":{n},"status":"{status}","quantity":{quantity},"amount":"{amount}","customer":{{"id":"cus-{customer:04}","country":"GB"}},"note":{note},"updated_at":"{updated_at}"}}"#
        )
    }

    fn cents(&self, n: u64) -> u64 {
        100 + self.draw(n, 2) % 50_000
    }

    fn pick(&self, n: u64, purpose: u64, of: usize) -> usize {
        usize::try_from(self.draw(n, purpose)).unwrap_or(0) % of
    }

    fn draw(&self, n: u64, purpose: u64) -> u64 {
        mix(self.seed ^ mix(n ^ (purpose << 56)))
    }
}

/// Spreads 64 bits (splitmix64).
pub(super) fn mix(value: u64) -> u64 {
    let mut x = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
