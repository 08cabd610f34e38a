//! The reference of the spec is true, errors name their place, and none repeats a secret.

use crate::command::Command;
use crate::file::SpecFile;
use crate::words;
use landfall::Error;
use std::path::Path;

/// A spec around a part of one.
fn around(part: &str) -> String {
    if part.lines().any(|line| line.starts_with("name =") && !part.starts_with('[')) {
        return part.to_owned();
    }
    let source =
        if part.contains("[source]\nurl =") { "" } else { "[source]\nurl = \"https://api.example.com/v1/orders\"\n" };
    format!("name = \"orders\"\nstate = \"memory\"\nappend = true\n{source}{part}\n[sink]\nparquet = \"lake\"\n")
}

#[test]
fn each_sample_of_the_reference_is_a_source() {
    let texts = [include_str!("../../docs/ingest.md"), include_str!("../../README.md")];
    let samples = texts.into_iter().flat_map(|text| text.split("```toml\n").skip(1));
    let samples: Vec<&str> = samples.map(|rest| rest.split("```").next().expect("closed")).collect();
    assert!(samples.len() > 15, "{}", samples.len());
    // A variable that is there, and a file.
    let variable = regex::Regex::new("env = \"[^\"]*\"").expect("sound");
    for sample in samples {
        let mut text = variable.replace_all(&around(sample), "env = \"PATH\"").into_owned();
        text = text.replace("/run/secrets/orders", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let reads_files = text.contains(".tls]") || text.contains("account.json");
        let folder = tempfile::tempdir().expect("a folder");
        text = text.replace("file:///var/lib", &format!("file://{}", folder.path().display()));
        let described = SpecFile::of(&text).spec().and_then(|spec| spec.source.build());
        // Certificates and keys are read when the source is made.
        let made = described.and_then(|source| if reads_files { Ok(()) } else { source.build().map(drop) });
        if let Err(error) = made {
            panic!("{error}\n{text}");
        }
    }
}

fn error(text: &str) -> Error {
    SpecFile::of(text).pipeline().expect_err("something is wrong")
}

#[test]
fn an_error_names_file_line_and_key() {
    let unknown = error(&around("colour = 1")).to_string();
    assert!(
        unknown.contains("colour") && unknown.contains("file=`spec.toml`") && unknown.contains("line=`6`"),
        "{unknown}"
    );
    let duration = error(&around("retry = { wait = \"soon\" }")).to_string();
    assert!(duration.contains("5m") && duration.contains("key=`source.retry"), "{duration}");
    let of_the_library = error(&around("\nrecords = \"$.data[\"")).to_string();
    assert!(of_the_library.contains("line=`7`") && of_the_library.contains("key=`source.records`"), "{of_the_library}");
    let twice = error(&around("query = { page = 1 }\npaginate = { by = \"page\", query = \"page\" }")).to_string();
    assert!(twice.contains("page") && twice.contains("file=`spec.toml`"), "{twice}");
}

#[test]
fn a_secret_in_the_spec_is_refused_and_not_repeated() {
    for auth in [
        "{ by = \"bearer\", token = \"s3cr3t\" }",
        "{ by = \"bearer\", env = \"s3cr3t\", file = \"s3cr3t\" }",
        "{ by = \"basic\", user = \"me\", password = \"s3cr3t\" }",
        "{ by = \"basic\", user = \"me\", password = { value = \"s3cr3t\" } }",
        "{ by = \"basic\", user = \"me\", password = [\"s3cr3t\"] }",
        "{ by = \"session\", url = \"https://h/\", fields = { a = { value = \"s3cr3t\" } } }",
        "{ by = \"client_credentials\", token_url = \"https://h/\", client_id = \"c\", client_secret = \"s3cr3t\" }",
        "{ by = \"pool\", of = [{ by = \"bearer\", token = \"s3cr3t\" }] }",
        "{ by = \"header\", name = \"X-Key\", value = \"s3cr3t\" }",
        "\"s3cr3t",
    ] {
        let said = error(&around(&format!("auth = {auth}")));
        let text = format!("{said} {said:?}");
        assert!(!text.contains("s3cr3t"), "{text}");
    }
    let said = error(&around("auth = { by = \"basic\", user = \"me\", password = \"s3cr3t\" }")).to_string();
    assert!(said.contains("env = \"NAME\"") && said.contains("line=`6`"), "{said}");
    let header = error(&around("headers = { Authorization = \"Bearer s3cr3t\" }"));
    let said = words::of_the_spec(&header.to_string());
    assert!(said.contains("`auth`") && !said.contains("s3cr3t"), "{said}");
}

/// A hint of the library that names a method would be of no use to who writes a spec.
#[test]
fn every_hint_of_the_library_can_be_said_in_words_of_the_spec() {
    let (hint, method) =
        (regex::Regex::new(r#"with_hint\(\s*"((?:[^"\\]|\\.)*)""#), regex::Regex::new(r"\.[a-z_]+\(|[A-Z][A-Za-z]+::"));
    let (hint, method) = (hint.expect("sound"), method.expect("sound"));
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/connectors/http")];
    let mut hints = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            for found in hint.captures_iter(&std::fs::read_to_string(&path).expect("text")) {
                hints += 1;
                let said = words::of_the_spec(&found[1]);
                assert!(!method.is_match(&said), "{}: {said}", path.display());
            }
        }
    }
    assert!(hints > 10, "{hints}");
}

#[test]
fn methods_become_keys() {
    for (hint, said) in [
        ("say so with .optional(); else", "say so with `optional = true`; else"),
        ("give it one with .json(…) or .form(…)", "give it one with `json` or `form`"),
        ("begin with Rest::graphql(…)", "begin with `graphql`"),
        ("names such as $.meta.next (a path)", "names such as $.meta.next (a path)"),
    ] {
        assert_eq!(words::of_the_spec(hint), said);
    }
}

#[test]
fn the_command_line() {
    let parse = |words: &[&str]| Command::parse(words.iter().map(|word| (*word).to_owned()));
    let path = || "a.toml".into();
    assert_eq!(parse(&["a.toml"]).expect("sound"), Command::Load { path: path(), json: false });
    assert_eq!(parse(&["--json", "a.toml"]).expect("sound"), Command::Load { path: path(), json: true });
    assert_eq!(parse(&["check", "a.toml"]).expect("sound"), Command::Check { path: path() });
    assert_eq!(parse(&["a.toml", "-h"]).expect("sound"), Command::Help);
    for wrong in [&[][..], &["a", "b"], &["--jsn", "a"]] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
}
