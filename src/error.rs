//! The one error of the crate: what to do about it, where it happened, and why.
//!
//! ```
//! use landfall::{Error, ErrorKind};
//!
//! let error = Error::config("read spec", "there is no such column").with("column", "amuont").with_hint("check the spelling");
//! assert_eq!(error.kind(), ErrorKind::Config);
//! assert!(!error.is_transient());
//! assert_eq!(error.to_string(), "read spec: there is no such column, column=`amuont` (check the spelling)");
//! ```

use std::borrow::Cow;
use std::fmt;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The outcome of an effect is not known. Stop and start again: recovery decides. Never clean up by hand.
    Ambiguous,
    /// The other side refuses the credentials. Renew them; everything landed so far is kept.
    Auth,
    /// A component broke its contract, or user code panicked. Fix the code; a replay gives the same result.
    Bug,
    /// The run was stopped on request. Start again to go on.
    Cancelled,
    /// The configuration is wrong or unsafe. Change it; trying again does not help.
    Config,
    /// Persisted state is damaged or contradicts itself. An operator must look at the named object.
    Corrupt,
    /// What came in is not what was declared. Look at the source and at the declaration.
    Data,
    /// Another owner has taken over. This instance must stop; the other one goes on.
    Fenced,
    /// The evidence says that something is missing. Look at the named partition before trusting the data.
    Incomplete,
    /// The other side cannot answer now. Try again later; nothing is lost.
    Unavailable,
}

impl ErrorKind {
    /// The kind as one lower-case word, for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ambiguous => "ambiguous",
            Self::Auth => "auth",
            Self::Bug => "bug",
            Self::Cancelled => "cancelled",
            Self::Config => "config",
            Self::Corrupt => "corrupt",
            Self::Data => "data",
            Self::Fenced => "fenced",
            Self::Incomplete => "incomplete",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether trying the same operation again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// The same operation will fail again.
    Permanent,
    /// The same operation may succeed if tried again.
    Transient,
    /// It was transient, and the retry budget is used up.
    Exhausted,
}

/// The error of every fallible operation in this crate.
///
/// Messages are lower case, without a full stop, and never hold a secret or a full URL.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

#[derive(Debug, thiserror::Error)]
#[error("{operation}: {}{}", one_line(.message), details(.context, .hint.as_deref(), .cause.as_ref()))]
struct Inner {
    kind: ErrorKind,
    status: Status,
    operation: &'static str,
    message: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    hint: Option<Cow<'static, str>>,
    #[source]
    cause: Option<Cause>,
}

impl Error {
    /// A permanent error of `kind`, met while doing `operation`.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            status: if kind == ErrorKind::Unavailable { Status::Transient } else { Status::Permanent },
            operation,
            message: message.into(),
            context: Vec::new(),
            hint: None,
            cause: None,
        }))
    }

    /// [`ErrorKind::Config`].
    pub fn config(operation: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, operation, message)
    }

    /// [`ErrorKind::Data`].
    pub fn data(operation: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Data, operation, message)
    }

    /// [`ErrorKind::Corrupt`].
    pub fn corrupt(operation: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Corrupt, operation, message)
    }

    /// [`ErrorKind::Unavailable`], transient.
    pub fn unavailable(operation: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, operation, message)
    }

    /// [`ErrorKind::Bug`].
    pub fn bug(operation: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Bug, operation, message)
    }

    /// [`ErrorKind::Cancelled`].
    pub fn cancelled(operation: &'static str) -> Self {
        Self::new(ErrorKind::Cancelled, operation, "stopped on request")
    }

    /// Sets whether trying again can help.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.0.status = status;
        self
    }

    /// Adds a named value to the message. Never a secret.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        let entry = (key, value.to_string());
        // Said once is enough, however many callers know it.
        if !self.0.context.contains(&entry) {
            self.0.context.push(entry);
        }
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Keeps the error that led to this one.
    #[must_use]
    pub fn with_source(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again can help.
    pub fn status(&self) -> Status {
        self.0.status
    }

    /// Whether the same operation may succeed if tried again.
    pub fn is_transient(&self) -> bool {
        self.0.status == Status::Transient
    }

    /// What was being done.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The named values of the message.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// What to do about it, where there is more to say than the kind does.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

/// What follows the message: named values, the hint, and the errors that led to it.
fn details(context: &[(&'static str, String)], hint: Option<&str>, cause: Option<&Cause>) -> String {
    let mut text: String = context.iter().map(|(key, value)| format!(", {key}=`{}`", one_line(value))).collect();
    if let Some(hint) = hint {
        text.push_str(&format!(" ({})", one_line(hint)));
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = cause.map(|e| e.as_ref() as _);
    while let Some(e) = cause {
        // An error of ours prints its own causes, and is one line already.
        if e.is::<Error>() {
            text.push_str(&format!(": {e}"));
            break;
        }
        text.push_str(&format!(": {}", one_line(&e.to_string())));
        cause = e.source();
    }
    text
}

/// `text` as a part of one line of a log, and not all of it if it is long: what it quotes may come from anybody. Control characters,
/// line separators and marks that turn the direction of writing are escaped.
fn one_line(text: &str) -> Cow<'_, str> {
    let is_odd = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.len() <= LONGEST && !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut line = String::new();
    for c in text.chars() {
        if line.len() >= LONGEST {
            line.push('…');
            break;
        }
        if is_odd(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    Cow::Owned(line)
}

/// Bytes of a message, a value or a cause that are shown.
const LONGEST: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_quotes_stays_one_line_of_bounded_length() {
        let spoof = "a\nERROR all is lost\r\u{1b}[2J\u{9b}\u{2028}\u{202e}txt";
        let cause = std::io::Error::other(spoof);
        let error = Error::data("read page", spoof.to_owned()).with("field", spoof).with_hint(spoof).with_source(cause);
        let text = error.to_string();
        assert!(!text.contains(char::is_control) && !text.contains(['\u{2028}', '\u{202e}']), "{text:?}");
        assert_eq!(text.matches(r"a\nERROR all is lost\r\u{1b}[2J\u{9b}\u{2028}\u{202e}txt").count(), 4, "{text}");
        assert_eq!(error.context(), [("field", spoof.to_owned())], "whoever asks for the value gets it as it is");
        let long = Error::data("read page", "long").with("field", "é".repeat(1 << 20));
        assert!(long.to_string().len() < LONGEST + 100, "{}", long.to_string().len());
        let nested = Error::data("a", "b").with_source(Error::data("c", "d").with("e", spoof));
        assert_eq!(nested.to_string().matches("\\n").count(), 1, "escaped once");
    }

    #[test]
    fn prints_itself_and_each_cause_once() {
        let disk = Error::unavailable("write file", "cannot write").with_source(std::io::Error::other("disk full"));
        let error = Error::config("land page", "no place").with("page", 7).with_hint("make room").with_source(disk);
        assert_eq!(error.to_string(), "land page: no place, page=`7` (make room): write file: cannot write: disk full");
        assert!(std::error::Error::source(&error).is_some_and(|cause| cause.is::<Error>()));
    }
}
