//! What the documents say of formats, of security and of faults is there.
//!
//! Every persisted format is described in docs/formats.md and has frozen examples in tests/fixtures; every example belongs to a
//! description and is read by a test. What a test does with it (reads it, writes it again as it was, refuses damage) stands beside the
//! format; what refuses a newer version is named. Every rule of docs/security.md and every fault of docs/faults.md names tests,
//! suites and decoders that there are: of a test, that it is run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Descriptions without an example, and why.
const WITHOUT: &[(&str, &str)] = &[
    (
        "Object layout on a local file system",
        "objects as they are; the order of a write is checked over a simulated disk",
    ),
    ("Columns of a Delta table", "columns of Parquet files; their values are checked against other readers"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The examples: files, or folders with a whole table.
fn fixtures() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("tests/fixtures")).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    names.filter(|name| !name.starts_with('.')).collect()
}

/// The sections of docs/formats.md: heading and text.
fn sections() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("docs/formats.md")).expect("the document");
    let sections = text.split("\n## ").skip(1).map(|section| {
        let (heading, text) = section.split_once('\n').unwrap_or((section, ""));
        (heading.trim().to_owned(), text.to_owned())
    });
    sections.collect()
}

/// The examples that a section names, in lines that begin with `Fixture`.
fn named(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| line.starts_with("Fixture"));
    lines.flat_map(|line| line.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_described_format_has_examples_and_every_example_a_description() {
    let (fixtures, sections) = (fixtures(), sections());
    assert!(sections.len() > 15, "only {} formats were found", sections.len());
    let mut all = BTreeSet::new();
    for (heading, text) in &sections {
        let named = named(text);
        if let Some((_, why)) = WITHOUT.iter().find(|(without, _)| without == heading) {
            assert!(!why.is_empty());
        } else {
            assert!(!named.is_empty(), "the format \"{heading}\" has no example");
        }
        for name in &named {
            assert!(fixtures.contains(name), "\"{heading}\" names {name}, which is not there");
        }
        all.extend(named);
    }
    for (heading, _) in WITHOUT {
        assert!(sections.iter().any(|(known, _)| known == heading), "no format \"{heading}\"");
    }
    assert_eq!(all, fixtures, "each example belongs to a description");
}

#[test]
fn every_example_is_read_by_a_test() {
    let mut sources = Vec::new();
    for folder in ["src", "tests"] {
        rust_files(&root().join(folder), &mut sources);
    }
    let texts: Vec<String> = sources.iter().map(|file| fs::read_to_string(file).expect("text")).collect();
    for name in fixtures() {
        let (include, join) = (format!("fixtures/{name}\""), format!("fixtures/{name}/"));
        assert!(texts.iter().any(|text| text.contains(&include) || text.contains(&join)), "no test reads {name}");
    }
}

#[test]
fn every_format_names_what_refuses_a_newer_one() {
    let there = There::look();
    for (heading, text) in sections() {
        let line = text.lines().find_map(|line| line.strip_prefix("Newer: "));
        let line = line.unwrap_or_else(|| panic!("\"{heading}\" does not say what refuses a newer one"));
        let tests = quoted(line);
        assert!(!tests.is_empty() || line.starts_with("none, "), "\"{heading}\": neither a test nor a reason: {line}");
        for name in tests {
            assert!(there.tests.contains(name), "\"{heading}\": there is no test {name}");
        }
    }
}

#[test]
fn every_rule_of_security_names_tests_that_there_are() {
    let there = There::look();
    let rows = rows("docs/security.md", "threat");
    for [threat, _, tried] in &rows {
        let named = quoted(tried);
        assert!(!named.is_empty(), "no test for: {threat}");
        for name in named {
            assert!(there.holds(name), "there is no test {name} for: {threat}");
        }
    }
    assert!(rows.len() > 20, "only {} rules were found", rows.len());
}

#[test]
fn every_fault_names_where_it_is_tried() {
    let there = There::look();
    let rows = rows("docs/faults.md", "fault");
    for [fault, _, tried] in &rows {
        let named = quoted(tried);
        assert_ne!(named.is_empty(), !tried.starts_with("Does not apply: "), "tried, or a reason why not: {fault}");
        for name in named {
            assert!(there.holds(name), "there is no {name} that would try: {fault}");
        }
    }
    assert!(rows.len() >= 70, "only {} faults were found", rows.len());
}

/// What a test is, and what only looks like one.
#[test]
fn only_what_runs_is_a_test() {
    let source = r#"
        #[tokio::test]
        #[cfg(
            unix
        )]
        /// Words, `fn words(`.
        pub async fn runs() {}

        #[test]
        #[ignore = "takes minutes"]
        fn is_ignored() {}

        async fn helps<W>(w: W) {}

        macro_rules! shapes {
            ($($name:ident: $index:literal),*) => { $( #[test] fn $name() {} )* };
        }
        macro_rules! on_each {
            ($($name:ident),*) => { shapes!($($name: 1),*); };
        }
        macro_rules! calls {
            ($($name:ident),*) => { $( fn $name() {} )* };
        }
        shapes! { made_of_a_list: 0, another_of_it: 1 }
        on_each!(made_on_each);
        calls!(only_called);
    "#;
    let mut there = There::default();
    there.read(&[source.to_owned()]);
    let tests: Vec<&str> = there.tests.iter().map(String::as_str).collect();
    assert_eq!(tests, ["another_of_it", "made_of_a_list", "made_on_each", "runs"]);
}

/// The rows of the tables of a document, but for their heads, which begin with `head`. Each has three cells.
fn rows(document: &str, head: &str) -> Vec<[String; 3]> {
    let text = fs::read_to_string(root().join(document)).expect("the document");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with(&format!("| {head} |")));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    cells.map(|cells| cells.try_into().unwrap_or_else(|cells| panic!("three cells: {cells:?}"))).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What documents may name.
#[derive(Default)]
struct There {
    tests: BTreeSet<String>,
    /// Everything that prints a line of the proof: `suite=<name>`, and the scripts.
    proofs: String,
}

impl There {
    fn look() -> Self {
        let mut files = Vec::new();
        for folder in ["src", "tests", "examples"] {
            rust_files(&root().join(folder), &mut files);
        }
        let read = |file: &PathBuf| fs::read_to_string(file).expect("text");
        let mut there = Self::default();
        there.read(&files.iter().map(read).collect::<Vec<_>>());
        let scripts = fs::read_dir(root().join("scripts/checks")).expect("a folder");
        let scripts = scripts.map(|entry| entry.expect("an entry").path());
        there.proofs.extend(scripts.filter(|file| file.extension().is_some_and(|e| e == "py")).map(|file| read(&file)));
        there
    }

    /// A test, a decoder, a script or a part that its `--only` takes, a suite of the proof or a folder of tests.
    fn holds(&self, name: &str) -> bool {
        if let Some(script) = name.strip_prefix("scripts/") {
            let (script, part) = script.split_once(' ').unwrap_or((script, ""));
            let text = fs::read_to_string(root().join("scripts").join(script));
            return text.is_ok_and(|text| part.is_empty() || parts(&text).any(|known| known == part));
        }
        let prints = [format!("suite={name} "), format!("proof(\"{name}\"")];
        self.tests.contains(name)
            || root().join("fuzz/corpus").join(name).is_dir()
            || root().join("tests").join(name).join("main.rs").is_file()
            || prints.iter().any(|print| self.proofs.contains(print))
    }

    /// Finds the tests of the sources: functions below `#[test]` or `#[tokio::test]` and not below `#[ignore]`, and what is handed to
    /// a macro that makes such functions of names.
    fn read(&mut self, sources: &[String]) {
        let mut makers: BTreeSet<String> = BTreeSet::new();
        loop {
            let before = makers.len();
            for source in sources {
                for (name, body) in definitions(source) {
                    let makes = has_test(body) && body.contains("fn $");
                    if makes || makers.iter().any(|maker| !invoked(body, maker).is_empty()) {
                        makers.insert(name.to_owned());
                    }
                }
            }
            if makers.len() == before {
                break;
            }
        }
        for source in sources {
            self.proofs.push_str(source);
            self.tests.extend(functions(source).map(str::to_owned));
            for maker in &makers {
                let words = invoked(source, maker).into_iter().flat_map(|body| body.split(|c: char| !is_word(c)));
                self.tests.extend(words.filter(|word| word.contains('_')).map(str::to_owned));
            }
        }
    }
}

/// What a script says that its `--only` takes.
fn parts(script: &str) -> impl Iterator<Item = &str> {
    let lists = script.split("--only ").skip(1).filter_map(|rest| rest.split(|c| !is_word(c) && c != ',').next());
    lists.flat_map(|list| list.split(','))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn has_test(text: &str) -> bool {
    ["#[test]", "#[tokio::test]", "#[tokio::test("].iter().any(|attribute| text.contains(attribute))
}

/// The functions that are tests.
fn functions(source: &str) -> impl Iterator<Item = &str> {
    let mut above = String::new();
    source.lines().filter_map(move |line| {
        let line = line.trim();
        // An attribute may take several lines.
        if line.starts_with("#[") || above.matches('[').count() > above.matches(']').count() {
            above.push_str(line);
            return None;
        }
        if line.starts_with("//") {
            return None;
        }
        let above = std::mem::take(&mut above);
        let function = line.strip_prefix("pub ").unwrap_or(line);
        let function = function.strip_prefix("async ").unwrap_or(function).strip_prefix("fn ")?;
        let name = function.split(|c| !is_word(c)).next()?;
        (has_test(&above) && !above.contains("#[ignore") && !name.is_empty()).then_some(name)
    })
}

/// The macros that a source defines: name and rules.
fn definitions(source: &str) -> impl Iterator<Item = (&str, &str)> {
    source.split("macro_rules! ").skip(1).filter_map(|rest| {
        let name = rest.split(|c| !is_word(c)).next()?;
        Some((name, bracketed(&rest[name.len()..])?))
    })
}

/// What is handed to a macro, wherever it is invoked.
fn invoked<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let call = format!("{name}!");
    let found = source.match_indices(&call).filter(|(at, _)| !source[..*at].ends_with(is_word));
    found.filter_map(|(at, _)| bracketed(&source[at + call.len()..])).collect()
}

/// What stands between the bracket that the text begins with and its other one.
fn bracketed(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return text.get(1..at);
        }
    }
    None
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}
