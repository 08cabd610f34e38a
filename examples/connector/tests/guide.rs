//! The guide is enough to write this crate: it has each file of it whole, in parts that follow each other, or says where to copy it from,
//! and shows excerpts. In an excerpt, a line `// …` leaves something out. Indentation and empty lines aside, code is literally the same.
//! After each step there is a crate that compiles.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

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

/// The files that a guide says to copy, each into the folder that it says.
fn copies(guide: &str) -> BTreeSet<&str> {
    let copies = guide.lines().filter_map(|line| line.strip_prefix(COPY)?.split_once(' '));
    copies
        .map(|(file, to)| {
            assert!(file.starts_with(to) && to.ends_with('/'), "{file} would lie in {to}");
            file
        })
        .collect()
}

/// What a reader has who is through the first of `steps`: the files, by name.
fn written(guide: &str, steps: &[&str]) -> BTreeMap<String, String> {
    let (copied, files, mut written) = (copies(guide), files(), BTreeMap::<_, String>::new());
    for step in steps {
        for (file, code) in blocks(step).into_iter().filter(|(file, _)| !copied.contains(file)) {
            *written.entry(file.to_owned()).or_default() += &format!("{code}\n");
        }
        written.extend(copies(step).into_iter().map(|file| (file.to_owned(), files[file].clone())));
    }
    written
}

#[test]
fn after_each_step_there_is_a_crate_that_compiles() {
    let guide = fs::read_to_string(root().join(GUIDE)).expect("the guide");
    let steps: Vec<&str> = guide.split("\n## ").skip(1).collect();
    let (scratch, landfall) = (Path::new(env!("CARGO_TARGET_TMPDIR")), root().join("../..").canonicalize());
    let (folder, landfall) = (scratch.join("guide"), landfall.expect("landfall"));
    fs::remove_dir_all(&folder).or_else(|e| if folder.exists() { Err(e) } else { Ok(()) }).expect("a clean folder");
    for n in 1..=steps.len() {
        let (files, title) = (written(&guide, &steps[..n]), steps[n - 1].lines().next().expect("a title"));
        for (name, text) in &files {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, text.replace("../landfall", &landfall.to_string_lossy())).expect("a file");
        }
        // The versions that were tried.
        fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("a copy");
        let what = if files.keys().any(|name| name.starts_with("tests/")) { "--tests" } else { "--lib" };
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["check", "--locked", what]).current_dir(&folder);
        // What is compiled here already is compiled there.
        let checked = cargo.env("CARGO_TARGET_DIR", scratch.parent().expect("it is in it")).output().expect("cargo");
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success() && said.contains("Finished"), "{title}: {said}");
        assert_eq!(said.contains("warning: "), steps[n - 1].contains("`cargo check` warns"), "{title}: {said}");
    }
}

#[test]
fn it_has_each_file_whole_or_says_where_to_copy_it() {
    let guide = fs::read_to_string(root().join(GUIDE)).expect("the guide");
    let (files, blocks, copied) = (files(), blocks(&guide), copies(&guide));
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
