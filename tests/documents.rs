//! What the documents say of formats and of security is there.
//!
//! Every persisted format is described in docs/formats.md and has frozen examples in tests/fixtures; every example belongs to a
//! description and is read by a test. What a test does with it (reads it, writes it again as it was, refuses a newer version and
//! damage) stands beside the format. Every rule of docs/security.md names tests that there are.

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
fn every_rule_of_security_names_tests_that_there_are() {
    let mut sources = Vec::new();
    for folder in ["src", "tests", "examples"] {
        rust_files(&root().join(folder), &mut sources);
    }
    let texts: Vec<String> = sources.iter().map(|file| fs::read_to_string(file).expect("text")).collect();
    let document = fs::read_to_string(root().join("docs/security.md")).expect("the document");
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| threat"));
    let mut rules = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [threat, _, tests] = cells[..] else { panic!("three cells: {row}") };
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test for: {threat}");
        for name in named {
            let function = format!("fn {name}(");
            let is_test = texts.iter().any(|text| text.contains(&function));
            let is_decoder = root().join("fuzz/corpus").join(name).is_dir() || name == "scripts/fuzz";
            assert!(is_test || is_decoder, "no test {name} for: {threat}");
        }
        rules += 1;
    }
    assert!(rules > 20, "only {rules} rules were found");
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
