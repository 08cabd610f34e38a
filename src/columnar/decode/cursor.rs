//! Reads JSON text token by token, with the exact text of every number at hand.
//!
//! A general parser gives numbers as `i64` or `f64`, which loses the text that decimals, integers beyond 64 bits and
//! `json` columns need; and it says less about what was wrong. So this one is made by hand: it checks the grammar of RFC
//! 8259 wholly, UTF-8 included, and eight bytes of a string at a time.

use super::fault::{Checked, Fault};

/// Deepest nesting of a record.
pub(crate) const MAX_DEPTH: u32 = 128;

/// A string as it stands between its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// Valid UTF-8 without control characters; escapes are well formed only if [`unescape`](Self::unescape) says so.
    pub(crate) raw: &'a [u8],
    pub(crate) escaped: bool,
}

/// A number as it is written: its grammar has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    pub(crate) text: &'a [u8],
    /// Without fraction and exponent.
    pub(crate) integer: bool,
}

/// A place in the body of a page.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Cursor<'a> {
    /// A cursor that reads from `at` on. It may run over the end of a record that is cut: compare [`at`](Self::at).
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, depth: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The bytes from `from` up to here.
    pub(crate) fn since(&self, from: usize) -> &'a [u8] {
        self.bytes.get(from..self.at).unwrap_or_default()
    }

    /// The bytes that are left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next byte, or 0 at the end.
    #[inline(always)]
    pub(crate) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    #[inline(always)]
    pub(crate) fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Takes `byte` if it is next.
    #[inline(always)]
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.peek() == byte;
        self.at += usize::from(eaten);
        eaten
    }

    #[inline(always)]
    pub(crate) fn expect(&mut self, byte: u8, what: &'static str) -> Checked<()> {
        if self.eat(byte) { Ok(()) } else { Err(self.broken(what)) }
    }

    /// Takes a literal such as `null`.
    #[inline(always)]
    pub(crate) fn literal(&mut self, word: &'static str) -> Checked<()> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.broken("a JSON value"))
        }
    }

    /// Goes one level in.
    #[inline(always)]
    pub(crate) fn enter(&mut self) -> Checked<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::new("depth", format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    #[cold]
    pub(crate) fn broken(&mut self, what: &str) -> Box<Fault> {
        // A byte that cannot be there may be the first one behind a record that is cut.
        let found = if self.at < self.bytes.len() { "something else" } else { "the end" };
        self.at += 1;
        Fault::json(format!("not JSON: expected {what}, found {found}"))
    }

    /// Takes a string; its quote is next.
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Checked<Text<'a>> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        let mut high = 0u64;
        loop {
            if let Some(chunk) = self.bytes.get(self.at..).and_then(|b| b.first_chunk::<8>()) {
                let word = u64::from_le_bytes(*chunk);
                let stop = special(word);
                if stop == 0 {
                    high |= word;
                    self.at += 8;
                    continue;
                }
                let before = stop.trailing_zeros() / 8;
                high |= word & !(u64::MAX << (8 * before));
                self.at += before as usize;
            }
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    // The escaped byte is looked at when it is resolved; here it only must not end the string.
                    self.at += 1;
                    if self.peek() < 0x20 {
                        return Err(self.broken("an escape"));
                    }
                    high |= u64::from(self.peek());
                    self.at += 1;
                }
                Some(0..0x20) => {
                    self.at += 1;
                    return Err(Fault::json("not JSON: a control character in a string"));
                }
                Some(byte) => {
                    high |= u64::from(*byte);
                    self.at += 1;
                }
                None => {
                    self.at += 1;
                    return Err(Fault::json("not JSON: a string without an end"));
                }
            }
        }
        let raw = self.since(start);
        self.at += 1;
        if high & HIGH != 0 && std::str::from_utf8(raw).is_err() {
            return Err(Fault::json("not UTF-8"));
        }
        Ok(Text { raw, escaped })
    }

    /// Takes a number.
    #[inline(always)]
    pub(crate) fn number(&mut self) -> Checked<Number<'a>> {
        let start = self.at;
        self.eat(b'-');
        match self.peek() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return Err(self.broken("a JSON value")),
        }
        let mut integer = true;
        if self.eat(b'.') {
            integer = false;
            self.some_digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            integer = false;
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.some_digits()?;
        }
        if self.peek().is_ascii_digit() {
            return Err(self.broken("a number without leading zeros"));
        }
        Ok(Number { text: self.since(start), integer })
    }

    #[inline(always)]
    fn digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Checked<()> {
        if !self.peek().is_ascii_digit() {
            return Err(self.broken("a digit"));
        }
        self.digits();
        Ok(())
    }

    /// Takes a value of any kind and checks it.
    pub(crate) fn value(&mut self) -> Checked<()> {
        match self.peek() {
            b'"' => self.string().and_then(|text| text.check()),
            b'{' => self.sequence(b'}', |cursor| {
                if cursor.peek() != b'"' {
                    return Err(cursor.broken("a key"));
                }
                cursor.string()?.check()?;
                cursor.space();
                cursor.expect(b':', "a colon")?;
                cursor.space();
                cursor.value()
            }),
            b'[' => self.sequence(b']', Self::value),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => self.number().map(|_| ()),
        }
    }

    /// Takes what is between brackets, `element` by element.
    #[inline(always)]
    pub(crate) fn sequence(&mut self, end: u8, mut element: impl FnMut(&mut Self) -> Checked<()>) -> Checked<()> {
        self.enter()?;
        self.space();
        if !self.eat(end) {
            loop {
                element(self)?;
                self.space();
                if self.eat(b',') {
                    self.space();
                } else if self.eat(end) {
                    break;
                } else {
                    return Err(self.broken("a comma or the end of the list"));
                }
            }
        }
        self.leave();
        Ok(())
    }
}

impl Text<'_> {
    /// Appends the text that is meant. On failure `out` is left with a part of it.
    pub(crate) fn unescape(&self, out: &mut Vec<u8>) -> Checked<()> {
        if !self.escaped {
            out.extend_from_slice(self.raw);
            return Ok(());
        }
        let mut rest = self.raw;
        while let Some(at) = rest.iter().position(|b| *b == b'\\') {
            let (before, from) = rest.split_at(at);
            out.extend_from_slice(before);
            let (&kind, after) = from.get(1..).and_then(<[u8]>::split_first).ok_or_else(bad_escape)?;
            rest = after;
            let plain = match kind {
                b'"' | b'\\' | b'/' => kind,
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'u' => {
                    let (character, after) = code_point(rest)?;
                    rest = after;
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
                _ => return Err(bad_escape()),
            };
            out.push(plain);
        }
        out.extend_from_slice(rest);
        Ok(())
    }

    /// Whether its escapes are well formed.
    fn check(&self) -> Checked<()> {
        if self.escaped { self.unescape(&mut Vec::with_capacity(self.raw.len())) } else { Ok(()) }
    }
}

/// The character of `\u`, after those two bytes, and what follows it.
fn code_point(text: &[u8]) -> Checked<(char, &[u8])> {
    let (first, rest) = hex4(text)?;
    let (code, rest) = match first {
        0xd800..0xdc00 => {
            let low = rest.strip_prefix(b"\\u").ok_or_else(lone_surrogate)?;
            let (second, rest) = hex4(low)?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(lone_surrogate());
            }
            (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), rest)
        }
        code => (code, rest),
    };
    Ok((char::from_u32(code).ok_or_else(lone_surrogate)?, rest))
}

fn hex4(text: &[u8]) -> Checked<(u32, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<4>().ok_or_else(bad_escape)?;
    let mut code = 0;
    for digit in digits {
        code = code * 16 + char::from(*digit).to_digit(16).ok_or_else(bad_escape)?;
    }
    Ok((code, rest))
}

#[cold]
fn bad_escape() -> Box<Fault> {
    Fault::json("not JSON: a broken escape in a string")
}

#[cold]
fn lone_surrogate() -> Box<Fault> {
    Fault::json("half of a surrogate pair in a string")
}

const HIGH: u64 = 0x8080_8080_8080_8080;
const ONES: u64 = 0x0101_0101_0101_0101;

/// The high bit of the first byte (at least) that ends a plain run: quote, backslash, control character. The lowest bit
/// that is set is exact; those above it may be false.
#[inline(always)]
fn special(word: u64) -> u64 {
    let quote = word ^ (ONES * 0x22);
    let slash = word ^ (ONES * 0x5c);
    let found = (quote.wrapping_sub(ONES) & !quote)
        | (slash.wrapping_sub(ONES) & !slash)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    found & HIGH
}
