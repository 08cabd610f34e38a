//! The rooms under `src/` import in one direction only. A room that is not in [`ROOMS`] fails the test: say there what it
//! stands on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What every room stands on: errors, the vocabulary, time and randomness, and the defects that tests switch on.
const BASE: &[&str] = &["error", "model", "env", "json", "records", "defects"];
const ROLES: &[&str] = &["store", "source", "stage", "sink", "quarantine", "checkpoint", "landing", "retry", "observe"];

/// Each room, and the rooms that it may import. Connectors are checked against each other besides.
const ROOMS: &[(&str, &[&[&str]])] = &[
    ("error", &[]),
    // Stands on nothing, so that every decision may ask it.
    ("defects", &[]),
    ("model", &[&["error"]]),
    ("env", &[&["error", "model", "defects"]]),
    ("json", &[&["error", "model"]]),
    ("records", &[&["error", "model", "json"]]),
    ("observe", &[BASE]),
    ("store", &[BASE, &["observe"]]),
    ("retry", &[BASE, &["observe", "store"]]),
    ("source", &[BASE, &["observe"]]),
    ("stage", &[BASE, &["observe", "source"]]),
    ("sink", &[BASE, &["observe", "source", "store"]]),
    ("quarantine", &[BASE, &["observe", "source", "stage", "sink", "store"]]),
    ("checkpoint", &[BASE, &["observe", "store"]]),
    ("landing", &[BASE, &["observe", "store", "checkpoint"]]),
    ("columnar", &[BASE, ROLES]),
    ("reconcile", &[BASE, ROLES, &["columnar"]]),
    ("pipeline", &[BASE, ROLES, &["columnar", "reconcile"]]),
    ("connectors", &[BASE, ROLES, &["columnar"]]),
    ("testkit", &[BASE, ROLES, &["columnar", "reconcile", "pipeline", "connectors"]]),
];

#[test]
fn rooms_import_in_one_direction() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut read = 0;
    for file in rust_files(&src) {
        let text = fs::read_to_string(&file).expect("the source is text");
        let relative = file.strip_prefix(&src).expect("it lies below src");
        wrong.extend(
            violations(&module_path(relative), &text).into_iter().map(|w| format!("{}: {w}", relative.display())),
        );
        read += 1;
    }
    assert!(read > 20, "only {read} files were read");
    assert!(wrong.is_empty(), "imports against the direction of the rooms:\n{}", wrong.join("\n"));
}

/// What opens a socket, or makes something that does.
const OPENS: &[&str] = &[
    "reqwest::Client::",
    "reqwest::ClientBuilder::",
    "reqwest::get",
    "reqwest::blocking",
    "ClientBuilder::new",
    "TcpStream",
    "TcpSocket",
    "UdpSocket",
    "UnixStream",
    "lookup_host",
];

#[test]
fn sockets_open_in_one_room() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let room = src.join("connectors/http/egress");
    let opens = |file: &Path| {
        let code = code_of(&fs::read_to_string(file).expect("the source is text"));
        OPENS.iter().any(|word| code.contains(word))
    };
    // The servers of the testkit only take connections.
    let is_test = |file: &Path| {
        file.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs" | "testkit")))
    };
    let found: Vec<_> = rust_files(&src).into_iter().filter(|file| !is_test(file) && opens(file)).collect();
    assert!(found.iter().any(|file| file.starts_with(&room)), "the room has moved");
    let elsewhere: Vec<_> = found.iter().filter(|file| !file.starts_with(&room)).collect();
    assert!(elsewhere.is_empty(), "sockets open outside of the one room: {elsewhere:?}");
}

/// What turns the verification of certificates off, or puts something else in its place; and old versions of TLS.
const UNVERIFIED: &[&str] = &[
    "danger_accept",
    "tls_danger",
    ".dangerous()",
    "ServerCertVerifier",
    "with_custom_certificate_verifier",
    "set_certificate_verifier",
    "tls_version_min",
    "min_tls_version",
    "tls_sni(",
];

#[test]
fn nothing_turns_the_verification_of_certificates_off() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in rust_files(&src) {
        let code = code_of(&fs::read_to_string(&file).expect("the source is text"));
        let found: Vec<_> = UNVERIFIED.iter().filter(|word| code.contains(**word)).collect();
        assert!(found.is_empty(), "{}: {found:?}", file.display());
    }
}

/// What decodes: JSON, XML, CSV, Parquet, archives, compressed bytes, keys.
const DECODES: &[&str] = &[
    "serde_json::from_",
    "serde_json::Deserializer",
    "quick_xml::Reader",
    "csv_core::",
    "ParquetRecordBatch",
    "ParquetMetaDataReader",
    "ZipFileReader",
    "async_compression::",
    "lz4_flex::",
    "zstd::bulk::decompress",
    "EncodingKey::from_",
];

/// Decoders of `testkit::decoders()`, and the files that they are for. Not all are here: what reads names or types does so without
/// any of the above.
const FUZZED: &[(&str, &[&str])] = &[
    ("accounts-and-coverage", &["landing/accounts.rs", "landing/coverage.rs", "landing/positions.rs"]),
    ("block", &["landing/block.rs"]),
    ("boundary", &["checkpoint/objects/mod.rs"]),
    ("chain-record", &["checkpoint/record.rs"]),
    ("checkpoint", &["pipeline/epoch.rs"]),
    ("columns", &["columnar/decode/frozen.rs", "columnar/schema/text.rs"]),
    ("dataset-commit", &["connectors/parquet/envelope.rs"]),
    ("dataset-file", &["columnar/files/fetching.rs", "columnar/files/reading.rs"]),
    ("delta-checkpoint", &["connectors/delta/checkpoint.rs"]),
    ("delta-file", &["connectors/delta/file.rs"]),
    ("delta-log", &["connectors/delta/log.rs"]),
    ("delta-pending", &["connectors/delta/pending.rs"]),
    ("delta-schema", &["connectors/delta/schema.rs"]),
    ("delta-stats", &["connectors/delta/stats.rs"]),
    ("http-body", &["connectors/http/archive.rs", "connectors/http/body.rs"]),
    ("http-credentials", &["connectors/http/auth/endpoint.rs", "connectors/http/auth/oauth2/answer.rs"]),
    ("http-cursor", &["connectors/http/incremental/value.rs"]),
    (
        "http-page",
        &["connectors/http/detect/mod.rs", "connectors/http/pagination/answer.rs", "connectors/http/tree.rs"],
    ),
    ("http-response", &["connectors/http/status.rs"]),
    ("http-wait", &["connectors/http/rules/wait.rs"]),
    ("kept-token", &["connectors/http/auth/oauth2/kept.rs"]),
    ("key-file", &["connectors/http/auth/jwt.rs", "connectors/http/auth/jwt_bearer.rs"]),
    ("quarantine", &["sink/quarantine/record.rs"]),
    ("rates", &["retry/rate/store_rates.rs"]),
    ("record-paths", &["records/csv/mod.rs"]),
    ("records", &["json/locate.rs", "json/values.rs", "json/walk.rs"]),
    ("records", &["records/csv/rows.rs", "records/xml/element.rs", "records/xml/scan.rs"]),
    ("segment", &["landing/manifest.rs"]),
];

/// Files that decode no more than their reason says.
const NOT_FUZZED: &[(&str, &str)] = &[
    ("connectors/adbc/table.rs", "a list of names that our own query has made"),
    ("connectors/delta/ledger.rs", "the fields of a schema, as they are"),
    ("connectors/http/pagination/place.rs", "what `connectors/http/tree.rs` has read"),
    ("connectors/http/partitions/parent.rs", "one string of a record that was scanned"),
    ("connectors/postgres/encode.rs", "whether a text of a row is JSON"),
    ("records/text.rs", "whether a text is a number"),
];

#[test]
fn whatever_decodes_is_fuzzed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let src = root.join("src");
    let mut known: BTreeSet<&str> = NOT_FUZZED.iter().map(|(file, _)| *file).collect();
    for (decoder, files) in FUZZED {
        assert!(root.join("fuzz/corpus").join(decoder).is_dir(), "there is no decoder {decoder}");
        known.extend(files.iter().copied());
    }
    let is_test = |file: &Path| {
        file.iter().any(|part| matches!(part.to_str(), Some("tests" | "tests.rs" | "fuzz.rs" | "testkit" | "defects")))
    };
    let mut decoding = BTreeSet::new();
    for file in rust_files(&src) {
        let name = file.strip_prefix(&src).expect("it lies below src");
        let code = code_of(&fs::read_to_string(&file).expect("the source is text"));
        if !is_test(name) && DECODES.iter().any(|word| code.contains(word)) {
            decoding.insert(name.to_string_lossy().replace('\\', "/"));
        }
    }
    let new: Vec<_> = decoding.iter().filter(|file| !known.contains(file.as_str())).collect();
    assert!(
        new.is_empty(),
        "{new:?} decode, and no decoder of testkit::decoders() is for them: add one, with seeds in fuzz/corpus, and \
         name both in FUZZED"
    );
    let gone: Vec<_> = known.iter().filter(|file| !decoding.contains(**file)).collect();
    assert!(gone.is_empty(), "{gone:?} decode nothing any more: take them out of the lists");
}

#[test]
fn notices_an_import_against_the_direction() {
    let cases = [
        ("model/page.rs", "use crate::landing::Landing;", "landing"),
        ("model/page.rs", "use crate::{\n    error::Error,\n    store::{Store, ObjectPath},\n};", "store"),
        ("sink/mod.rs", "fn f() -> crate::pipeline::Report { todo() }", "pipeline"),
        ("stage/a/b.rs", "use super::super::super::columnar::Decode;", "columnar"),
        ("checkpoint/chain.rs", "use crate::landing::Segment;", "landing"),
        ("connectors/http/client.rs", "use crate::pipeline::Pipeline;", "pipeline"),
        ("connectors/http/client.rs", "use crate::connectors::parquet::Dataset;", "connectors::parquet"),
        ("connectors/http/client.rs", "use super::super::parquet::Dataset;", "connectors::parquet"),
        ("pipeline/mod.rs", "use crate::connectors::http::Rest;", "connectors"),
        ("columnar/json.rs", "pub(crate) use crate::testkit::Faults;", "testkit"),
        ("attic/mod.rs", "", "attic"),
        ("store/local.rs", "#[cfg(test)]\nmod tests;\n\nuse crate::landing::Landing;", "landing"),
        ("store/local.rs", "#[cfg(test)]\nuse crate::testkit::{A, B};\nuse crate::landing::Landing;", "landing"),
        ("store/local.rs", "#[cfg(test)]\nmod t { const C: char = '{'; }\nfn f() { crate::landing::g() }", "landing"),
        ("store/local.rs", "const A: &str = \"http://a\"; use crate::landing::Landing;", "landing"),
    ];
    for (file, text, blamed) in cases {
        let found = violations(&module_path(Path::new(file)), text);
        assert!(found.iter().any(|w| w.contains(&format!("`{blamed}`"))), "{file}: {text}: {found:?}");
    }
}

#[test]
fn lets_imports_with_the_direction_pass() {
    let cases = [
        ("landing/writer.rs", "use crate::checkpoint::chain::Chain;\nuse super::Landing;\nuse crate::{Error, Result};"),
        ("connectors/http/client.rs", "use super::pages::Pages;\nuse crate::connectors::http::auth::Auth;"),
        ("store/mod.rs", "/// See [`chain`](crate::checkpoint::chain).\n// crate::pipeline is told"),
        ("store/local.rs", "use crate::error::Error;\n#[cfg(test)]\nmod tests {\n    use crate::testkit::Faults;\n}"),
        ("testkit/mod.rs", "use crate::pipeline::Pipeline;"),
        (
            "store/local.rs",
            "#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests {\n    fn f<'a>() { crate::pipeline::g('}', r#\"}\"#) }\n}",
        ),
        ("store/local.rs", "const A: &str = \"crate::pipeline is told\"; /* crate::pipeline */"),
    ];
    for (file, text) in cases {
        assert_eq!(violations(&module_path(Path::new(file)), text), Vec::<String>::new(), "{file}: {text}");
    }
}

/// What a module imports against the direction.
fn violations(module: &[String], text: &str) -> Vec<String> {
    let Some(room) = module.first() else { return Vec::new() };
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| name == room) else {
        return vec![format!("`{room}` is not a known room")];
    };
    if module.iter().any(|m| m == "tests") {
        return Vec::new(); // a test may use the testkit
    }
    let mut wrong = Vec::new();
    for path in imported(module, &code_of(text)) {
        let Some(target) = path.first() else { continue };
        let known = ROOMS.iter().any(|(name, _)| name == target);
        if !known {
            continue; // an item of the crate's root, such as `crate::Error`
        }
        if target == room {
            if let (true, Some(own), Some(other)) = (room == "connectors", module.get(1), path.get(1)) {
                if own != other && is_connector(other) {
                    wrong.push(format!("`connectors::{own}` uses `connectors::{other}`"));
                }
            }
        } else if !allowed.iter().any(|group| group.contains(&target.as_str())) {
            wrong.push(format!("`{room}` uses `{target}`"));
        }
    }
    wrong
}

/// Connectors are folders; an item re-exported by `connectors/mod.rs` begins with a capital.
fn is_connector(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// The text without comments, literals, and items that only tests see.
fn code_of(text: &str) -> String {
    let mut code = without_comments_and_literals(text);
    while let Some(start) = code.find("#[cfg(test)]") {
        let item = &code[start + "#[cfg(test)]".len()..];
        let end = start + "#[cfg(test)]".len() + item_length(item);
        code.replace_range(start..end, "");
    }
    code
}

/// How long the item is that `code` begins with: up to its semicolon, the end of its block, or the end of what it lies in.
fn item_length(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return at,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == ';' || c == '}') {
            return at + 1;
        }
    }
    code.len()
}

fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest, '"'),
            // A lifetime has no second quote where a character would end.
            '\'' if rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'') => quoted(rest, '\''),
            'r' if !code.ends_with(is_word) => raw_string(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            rest = &rest[skipped..];
        }
    }
    code
}

/// The length of the literal that `text` begins with.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the raw string that `text` begins with; 0 if there is none.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|b| *b == b'#').count();
    let Some(content) = text[1 + hashes..].strip_prefix('"') else { return 0 };
    let close = format!("\"{}", "#".repeat(hashes));
    content.find(&close).map_or(text.len(), |end| 2 + hashes + end + close.len())
}

/// The first two names of every path that starts at the crate's root, by `crate::` or by enough `super::`.
fn imported(module: &[String], code: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if !code[..at].ends_with(is_word) {
            leaves(&[], &code[at + "crate::".len()..], &mut found);
        }
    }
    for (at, _) in code.match_indices("super::") {
        if code[..at].ends_with(is_word) || code[..at].ends_with("super::") {
            continue;
        }
        let mut rest = &code[at..];
        let mut base = module.to_vec();
        while let Some(after) = rest.strip_prefix("super::") {
            base.pop();
            rest = after;
        }
        leaves(&base, rest, &mut found);
    }
    found
}

/// Adds `base` joined with each name that `text` starts with: one name, or those of a group in braces.
fn leaves(base: &[String], text: &str, found: &mut BTreeSet<Vec<String>>) {
    if base.len() >= 2 {
        found.insert(base[..2].to_vec());
        return;
    }
    let Some(group) = text.strip_prefix('{') else {
        let name: String = text.chars().take_while(|c| is_word(*c)).collect();
        if !name.is_empty() {
            let path = [base, std::slice::from_ref(&name)].concat();
            match text[name.len()..].strip_prefix("::") {
                Some(rest) => leaves(&path, rest, found),
                None => {
                    found.insert(path);
                }
            }
        }
        return;
    };
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                leaves(base, group[start..at].trim(), found);
                start = at + 1;
            }
            '}' => {
                leaves(base, group[start..at].trim(), found);
                return;
            }
            _ => {}
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `landing/writer.rs` is `[landing, writer]`, `landing/mod.rs` is `[landing]`, `lib.rs` is `[]`.
fn module_path(relative: &Path) -> Vec<String> {
    let names = relative.with_extension("");
    let mut path: Vec<String> = names.iter().map(|n| n.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| last == "mod" || (last == "lib" && path.len() == 1)) {
        path.pop();
    }
    path
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
