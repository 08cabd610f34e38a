//! The code to write by what was seen, in Rust and for `ingest`.

use super::{Detected, Spot, Way};
use std::fmt;

impl Spot {
    fn rust(&self) -> String {
        match self {
            Self::Body(path) => format!("{path:?}"),
            Self::Header(name) => format!("Place::header({name:?})"),
        }
    }

    fn spec(&self) -> String {
        match self {
            Self::Body(path) => format!("{path:?}"),
            Self::Header(name) => format!("{{ header = {name:?} }}"),
        }
    }
}

impl Detected {
    /// The lines of Rust, and those of the table `paginate`, and what is guessed of them.
    fn lines(&self) -> (String, Vec<String>, Option<&'static str>) {
        let total = self.total.as_ref();
        let ends = |pages: Option<&Spot>| match (pages, total) {
            (Some(pages), _) => (format!(".total_pages({})", pages.rust()), format!("total_pages = {}", pages.spec())),
            (None, Some(total)) => (format!(".total({})", total.rust()), format!("total = {}", total.spec())),
            (None, None) => (".until_empty()".to_owned(), "until_empty = true".to_owned()),
        };
        let spec = |by: &str, lines: Vec<String>| [format!("by = {by:?}")].into_iter().chain(lines).collect();
        match &self.way {
            Way::Link => ("LinkHeader::new()".to_owned(), spec("link", Vec::new()), None),
            Way::NextUrl(at) => {
                (format!("NextUrl::at({})", at.rust()), spec("next_url", vec![format!("at = {}", at.spec())]), None)
            }
            Way::Cursor { at, query, has_more } => {
                let mut rust = format!("Cursor::at({}).query({query:?})", at.rust());
                let mut lines = vec![format!("at = {}", at.spec()), format!("query = {query:?}")];
                if let Some(flag) = has_more {
                    rust.push_str(&format!(".has_more({})", flag.rust()));
                    lines.push(format!("has_more = {}", flag.spec()));
                }
                (rust, spec("cursor", lines), Some("the name of the parameter that takes the token"))
            }
            Way::Keyset { query, has_more } => (
                format!("Keyset::of(\"id\").query({query:?}).has_more({})", has_more.rust()),
                spec(
                    "keyset",
                    vec![
                        format!("fields = [{{ field = \"id\", query = {query:?} }}]"),
                        format!("has_more = {}", has_more.spec()),
                    ],
                ),
                Some("the field that the listing is sorted by, and the parameter that takes it"),
            ),
            Way::Pages { query, size, pages, first } => {
                let (end, end_line) = ends(pages.as_ref());
                let mut rust = format!("PageNumber::query({query:?})");
                let mut lines = vec![format!("query = {query:?}")];
                if *first != 1 {
                    rust.push_str(&format!(".starting_at({first})"));
                    lines.push(format!("first = {first}"));
                }
                if let Some((name, records)) = size.filter(|(_, records)| *records > 0) {
                    rust.push_str(&format!(".size({name:?}, {records})"));
                    lines.push(format!("size = {{ name = {name:?}, records = {records} }}"));
                }
                lines.push(end_line);
                (format!("{rust}{end}"), spec("page", lines), Some("the names of the parameters"))
            }
            Way::Offset { query, limit: (name, limit) } => {
                let (end, end_line) = ends(None);
                let limit = (*limit).max(1);
                let lines = vec![
                    format!("query = {query:?}"),
                    format!("limit_name = {name:?}"),
                    format!("limit = {limit}"),
                    end_line,
                ];
                let rust = format!("Offset::query({query:?}).limit({name:?}, {limit}){end}");
                (rust, spec("offset", lines), Some("the names of the parameters"))
            }
            Way::Unknown => (String::new(), Vec::new(), None),
        }
    }
}

impl Detected {
    /// What goes on where the description of the source ends: Rust, with comments on what is guessed.
    #[must_use]
    pub fn code(&self) -> String {
        let (rust, _, _) = self.lines();
        let mut text = self.remarks("// ");
        if !rust.is_empty() {
            text.push_str(&format!("    .paginate({rust})\n"));
        }
        if let Some((path, _)) = &self.records {
            text.push_str(&format!("    .records({path:?})\n"));
        }
        if let Some(total) = self.claimed() {
            text.push_str(&format!("    .total({})\n", total.rust()));
        }
        text
    }

    /// The same for `ingest`: lines of the table `[source]`, and the table `[source.paginate]`. TOML, with comments on what is
    /// guessed.
    #[must_use]
    pub fn spec(&self) -> String {
        let (_, paginate, _) = self.lines();
        let mut text = self.remarks("# ");
        if let Some((path, _)) = &self.records {
            text.push_str(&format!("records = {path:?}\n"));
        }
        if let Some(total) = self.claimed() {
            text.push_str(&format!("total = {}\n", total.spec()));
        }
        if !paginate.is_empty() {
            text.push_str(&format!("\n[source.paginate]\n{}\n", paginate.join("\n")));
        }
        text
    }

    /// What was seen and what is guessed, each a line after `mark`.
    fn remarks(&self, mark: &str) -> String {
        let (rust, _, guess) = self.lines();
        let seen = match &self.records {
            Some((path, n)) => format!("{n} records at {path}"),
            None => "no array of objects: say where the records are".to_owned(),
        };
        let nothing = "nothing leads to another page: one response holds everything, or the API's manual says how";
        let guessed = guess.map(|guess| format!("guessed: {guess}"));
        let remarks = [Some(seen), guessed, rust.is_empty().then(|| nothing.to_owned())];
        remarks.into_iter().flatten().map(|remark| format!("{mark}{remark}\n")).collect()
    }

    /// Where the total is, unless the pagination compares it itself.
    fn claimed(&self) -> Option<&Spot> {
        let compares = matches!(self.way, Way::Pages { pages: None, .. } | Way::Offset { .. });
        self.total.as_ref().filter(|_| !compares)
    }
}

/// Both, one after the other.
impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n# for ingest\n[source]\n{}", self.code(), self.spec())
    }
}
