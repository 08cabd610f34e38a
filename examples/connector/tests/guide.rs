//! The guide is enough to write this crate: it has each file of it whole, in parts that follow each other, or says where to copy it from,
//! and shows excerpts. In an excerpt, a line `// …` leaves something out. Indentation and empty lines aside, code is literally the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const GUIDE: &str = "../../docs/connector-guide.md";
const COPY: &str = "$ cp ../landfall/examples/connector/";

/// What a reader does not need: this test.
const OURS: &str = "tests/guide.rs";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The lines of a text, without indentation.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The files of the crate, by name. A reader has landfall beside the crate, and not around it.
fn files() -> BTreeMap<String, String> {
    let mut names = vec!["Cargo.toml".to_owned()];
    for folder in ["src", "tests"] {
        let entries = fs::read_dir(root().join(folder)).expect("a folder");
        names.extend(entries.map(|entry| format!("{folder}/{}", entry.expect("a file").file_name().to_string_lossy())));
    }
    let text = |name: &String| fs::read_to_string(root().join(name)).expect("text");
    let mut files: BTreeMap<String, String> = names.into_iter().map(|name| (name.clone(), text(&name))).collect();
    let manifest = files.get_mut("Cargo.toml").expect("it was read");
    *manifest = manifest.replace("path = \"../..\"", "path = \"../landfall\"");
    assert!(files.remove(OURS).is_some());
    files
}

/// The blocks of a guide that are code of a file: its name, and the code.
fn blocks(guide: &str) -> Vec<(&str, &str)> {
    let blocks = guide.split("\n```").skip(1).step_by(2);
    let code = blocks.filter_map(|block| block.strip_prefix("rust\n").or_else(|| block.strip_prefix("toml\n")));
    code.map(|code| {
        let (name, code) = code.split_once('\n').expect("the name of a file first");
        let name = name.strip_prefix("// ").or_else(|| name.strip_prefix("# "));
        (name.expect("the name of a file first"), code)
    })
    .collect()
}

#[test]
fn it_has_each_file_whole_or_says_where_to_copy_it() {
    let guide = fs::read_to_string(root().join(GUIDE)).expect("the guide");
    let copies = guide.lines().filter_map(|line| line.strip_prefix(COPY)?.split_once(' '));
    let copied: BTreeSet<&str> = copies
        .map(|(file, to)| {
            assert!(file.starts_with(to) && to.ends_with('/'), "{file} would lie in {to}");
            file
        })
        .collect();
    let (files, blocks) = (files(), blocks(&guide));
    for (file, _) in &blocks {
        assert!(files.contains_key(*file), "code of no file of this crate: {file}");
    }
    for file in &copied {
        assert!(files.contains_key(*file), "a copy of no file of this crate: {file}");
    }
    for (name, text) in &files {
        let shown = blocks.iter().filter(|(file, _)| file == name).map(|(_, code)| *code);
        let text = lines(text);
        if !copied.contains(name.as_str()) {
            let parts: Vec<&str> = shown.flat_map(lines).collect();
            let differs = text.iter().zip(&parts).find(|(line, part)| line != part);
            assert_eq!(differs, None, "{name}: the guide has another line");
            assert_eq!(text.len(), parts.len(), "{name}: the guide has another number of lines");
            continue;
        }
        for excerpt in shown {
            let mut from = 0;
            for part in excerpt.split("// …") {
                let part = lines(part);
                let at = text[from..].windows(part.len()).position(|window| window == part);
                from += at.unwrap_or_else(|| panic!("not in {name}, in this order:\n{}", part.join("\n"))) + part.len();
            }
        }
    }
}
