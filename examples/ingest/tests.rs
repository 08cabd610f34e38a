//! The reference of the spec is true, errors name their place, and none repeats a secret.

use crate::command::Command;
use crate::file::SpecFile;
use crate::words;
use landfall::Error;
use std::collections::BTreeSet;
use std::path::Path;

/// A spec around a part of one.
fn around(part: &str) -> String {
    if part.lines().any(|line| line.starts_with("name =") && !part.starts_with('[')) {
        return part.to_owned();
    }
    let source =
        if part.contains("[source]\nurl =") { "" } else { "[source]\nurl = \"https://api.example.com/v1/orders\"\n" };
    let sink = if part.contains("[sink]") { "" } else { "[sink]\nparquet = \"lake\"\n" };
    format!("name = \"orders\"\nstate = \"memory\"\nappend = true\n{source}{part}\n{sink}")
}

const REFERENCE: &str = include_str!("../../docs/ingest.md");

fn samples() -> Vec<&'static str> {
    let texts = [REFERENCE, include_str!("../../README.md")];
    let samples = texts.into_iter().flat_map(|text| text.split("```toml\n").skip(1));
    samples.map(|rest| rest.split("```").next().expect("closed")).collect()
}

#[test]
fn each_sample_of_the_reference_is_a_source() {
    assert!(samples().len() > 15, "{}", samples().len());
    // A variable that is there, and a file.
    let variable = regex::Regex::new("env = \"[^\"]*\"").expect("sound");
    for sample in samples() {
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

/// Tables whose keys are names of the user's own.
const NAMES: &[&str] = &[
    "query",
    "headers",
    "form",
    "json",
    "variables",
    "parameters",
    "claims",
    "values",
    "bind",
    "include",
    "lists",
    "fields",
    "range",
    "pattern",
    "one_of",
    "options",
    "options_from_env",
];

/// The ways to the tables of `value`, whose keys are those of the spec.
fn tables(value: &toml::Value, way: &[String], found: &mut Vec<Vec<String>>) {
    let step = |name: String| [way, &[name]].concat();
    match value {
        toml::Value::Table(table) => {
            found.push(way.to_vec());
            for (name, value) in table {
                // A condition of `rules` may have that name too, as may the parameter of a pagination.
                let of_the_user = NAMES.contains(&name.as_str()) && value.is_table();
                match of_the_user {
                    true if name == "range" => {
                        for (column, range) in value.as_table().expect("a table") {
                            tables(range, &[way, &[name.clone(), column.clone()]].concat(), found);
                        }
                    }
                    true => {}
                    false => tables(value, &step(name.clone()), found),
                }
            }
        }
        toml::Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                tables(item, &step(n.to_string()), found);
            }
        }
        _ => {}
    }
}

fn at<'a>(value: &'a mut toml::Value, way: &[String]) -> &'a mut toml::Value {
    way.iter().fold(value, |value, step| match value {
        toml::Value::Array(items) => &mut items[step.parse::<usize>().expect("a number")],
        value => &mut value[step.as_str()],
    })
}

/// Each table of each sample, with a key that it does not know: what is said.
fn said_of_unknown_keys() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for sample in samples() {
        let spec: toml::Value = toml::from_str(&around(sample)).expect("TOML");
        let mut ways = Vec::new();
        tables(&spec, &[], &mut ways);
        for way in ways {
            let mut wrong = spec.clone();
            at(&mut wrong, &way).as_table_mut().expect("a table").insert("colour".to_owned(), 1.into());
            let text = toml::to_string(&wrong).expect("TOML");
            let said = SpecFile::of(&text).spec().err().map(|error| error.to_string());
            all.push((way.join("."), said.unwrap_or_default()));
        }
    }
    all
}

#[test]
fn no_table_takes_a_key_that_it_does_not_know() {
    let all = said_of_unknown_keys();
    let taken: Vec<_> = all.iter().filter(|(_, said)| !said.contains("file=")).collect();
    assert!(taken.is_empty() && all.len() > 100, "{taken:#?}");
}

#[test]
fn every_key_is_in_the_reference() {
    let (list, name) =
        (regex::Regex::new("expected (?:one of )?(`.*?`)(?:, [a-z]+=|$)"), regex::Regex::new("`([a-z_0-9]+)`"));
    let (list, name) = (list.expect("sound"), name.expect("sound"));
    let (mut keys, mut missing) = (0, BTreeSet::new());
    for (_, said) in said_of_unknown_keys() {
        for found in
            list.captures(&said).iter().flat_map(|list| name.captures_iter(list.get(1).expect("there").as_str()))
        {
            keys += 1;
            let key = found.get(1).expect("there").as_str();
            let word = regex::Regex::new(&format!(r"\b{key}\b")).expect("sound");
            if !word.is_match(REFERENCE) {
                missing.insert(key.to_owned());
            }
        }
    }
    assert!(missing.is_empty() && keys > 200, "{keys}: {missing:#?}");
}

/// What the library can be told, a spec can say.
#[test]
fn every_setter_of_the_library_has_a_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let setter = regex::Regex::new(r"pub (?:const )?fn ([a-z0-9_]+)(?:<[^(]*>)?\(\s*(?:mut )?self\b[^)]*\)? *->")
        .expect("sound");
    let spec = texts(&root.join("examples/ingest")).into_iter().map(|(_, text)| text).collect::<String>();
    let (mut setters, mut missing) = (0, Vec::new());
    for folder in ["src/connectors/http", "src/retry", "src/records/csv"] {
        for (path, text) in texts(&root.join(folder)) {
            for found in setter.captures_iter(&text) {
                let name = found.get(1).expect("there").as_str();
                setters += 1;
                let called = regex::Regex::new(&format!(r"(?:\.|::){name}\b")).expect("sound");
                if !BY_CODE_ONLY.contains(&name) && !called.is_match(&spec) {
                    missing.push(format!("{}: {name}", path.display()));
                }
            }
        }
    }
    assert!(missing.is_empty() && setters > 120, "{setters}: {missing:#?}");
}

/// Functions and objects of a program; and what is not a setter.
const BY_CODE_ONLY: &[&str] = &["as_json", "with_host", "with_query", "when", "observe"];

fn texts(folder: &Path) -> Vec<(std::path::PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(texts(&path));
        } else {
            found.push((path.clone(), std::fs::read_to_string(&path).expect("text")));
        }
    }
    found
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
fn what_is_missing_is_named() {
    let without_sink = error("name = \"a\"\nstate = \"memory\"\n[source]\nurl = \"https://h/\"\n").to_string();
    assert!(without_sink.contains("missing key `sink`") && !without_sink.contains("key="), "{without_sink}");
    let without_url = error("name = \"a\"\nstate = \"memory\"\n[source]\n[sink]\nparquet = \"lake\"\n").to_string();
    assert!(without_url.contains("missing key `url`") && without_url.contains("key=`source`"), "{without_url}");
}

/// The only value of the spec that an error of a run names is where to look.
#[test]
fn an_error_of_a_run_names_line_and_key() {
    let file = SpecFile::of(&around("records = \"$.rows[*]\"\nretry = { attempts = 5 }"));
    let of_the_run = || Error::data("scan page", "the path selects nothing").with("path", "$.rows[*]");
    let said = file.find(of_the_run().with("attempts", 5)).to_string();
    assert!(said.contains("key=`source.records`") && said.contains("line=`6`"), "{said}");
    let by_chance = file.find(Error::unavailable("send request", "no connection").with("attempts", 5)).to_string();
    assert!(!by_chance.contains("key="), "{by_chance}");
}

#[test]
fn values_that_cannot_be_meant_are_refused_with_what_to_do() {
    for (part, words) in [
        ("parallel_pages = 4\npaginate = { by = \"link\" }", &["same time", "pages by number or offset"][..]),
        ("parallel_pages = 0", &["no pages"]),
        ("window_limit = 10000", &["cursor field", "`since`"]),
        ("token_lives = \"soon\"", &["5m", "source.token_lives"]),
        ("token_lives = 30", &["source.token_lives"]),
        ("zip_file = 1", &["source.zip_file"]),
        ("concurrency = 0", &["no calls", "source.concurrency"]),
        ("concurrency = { min = 8, max = 2 }", &["`min`", "`max`"]),
        ("concurrency = { tolerance = 0.5 }", &["`tolerance`"]),
        ("concurrency = { mn = 1 }", &["`min`", "source.concurrency"]),
        ("retry = { attempts = 0 }", &["attempts = 1"]),
        ("csv = { delimiter = \";;\" }", &["source.csv.delimiter"]),
        ("csv = { delimiter = \"€\" }", &["ASCII"]),
        ("csv = { header = false }", &["columns"]),
        ("csv = true", &["source.csv"]),
        ("auth = []", &["leave out `auth`"]),
        ("auth = [{ by = \"bearer\", env = \"A\" }, { by = \"telepathy\" }]", &["telepathy", "hmac", "source.auth"]),
        ("since = { field = \"at\", too_old = \"ignore\" }", &["full_refresh"]),
        ("limits = { head_kib = 0 }", &["limit of nothing"]),
        ("query = \"a=1&b=2\"", &["expected a table", "source.query"]),
        ("query = { a = 1.5 }", &["in quotes", "source.query.a"]),
        ("query = { api_key = \"s3cr3t\" }", &["never stands in the spec", "api_key", "`auth"]),
        ("headers = { X-Shopify-Access-Token = \"s3cr3t\" }", &["never stands in the spec", "`auth"]),
        ("max_pages = \"10\"", &["a whole number", "source.max_pages"]),
        ("paginate = { by = \"page\", query = \"page\", size = 100 }", &["expected a table"]),
        ("paginate = { by = \"page\", query = \"page\", total = { headers = \"X\" } }", &["wanted here", "header = "]),
        ("[source.paginate]\nby = \"link\"\nrecords = \"$[*]\"", &["records", "last [table] above"]),
        ("auth = { by = \"bearer\", token = \"s3cr3t\" }", &["env = \"NAME\""]),
        ("auth = { by = \"bearer\" }", &["env = \"NAME\""]),
        ("auth = { by = \"basic\", user = \"me\" }", &["`password`", "`key`"]),
        ("auth = { by = \"basic\", key = { env = \"NOT_SET\" } }", &["not set", "key=`source.auth.key.env`"]),
        ("query = { a = \"{shop}\" }", &["shop", "`lists`"]),
        (
            "json = { a = 1 }\nidempotent = true\npaginate = { by = \"keyset\", fields = [{ field = \"$.a[0]\", body = \"$.after[0]\" }] }",
            &["$.after[0]", "set as a whole"],
        ),
    ] {
        let said = words::of_the_spec(&error(&around(part)).to_string());
        for word in words {
            assert!(said.contains(word), "{part}: {said}");
        }
    }
}

/// A spec with this sink, without `append`.
fn into(sink: &str) -> String {
    around(&format!("[sink]\n{sink}")).replace("append = true\n", "")
}

#[test]
fn a_sink_is_one_place_and_is_written_in_one_way() {
    for (sink, words) in [
        ("upsert = { key = [\"id\"] }", &["one of", "`delta`"][..]),
        ("parquet = \"lake\"\ndelta = \"lake\"\nupsert = { key = [\"id\"] }", &["one place"]),
        ("parquet = \"lake\"\nupsert = { key = [\"id\"] }", &["only grows", "[dedup]"]),
        ("parquet = \"lake\"", &["`upsert` of [sink]", "append = true"]),
        ("delta = \"memory\"\nupsert = { key = [\"id\"] }\ninsert_only = { key = [\"id\"] }", &["one way", "`scd2`"]),
        ("delta = \"memory\"\nupsert = { keys = [\"id\"] }", &["unknown key `keys`", "sink.upsert"]),
        ("delta = \"memory\"\nupsert = { key = [\"id\"] }\n[dedup]\nkey = [\"id\"]", &["tells rows apart"]),
        ("postgres = { table = \"orders\" }\nreplace = {}\npartition_by = [\"a\"]", &["partitions"]),
    ] {
        let said = words::of_the_spec(&error(&into(sink)).to_string());
        // Without a feature, nothing more can be said of its sink.
        let built = !said.contains("built without");
        for word in words.iter().filter(|_| built) {
            assert!(said.contains(word), "{sink}: {said}");
        }
    }
}

#[cfg(all(feature = "delta", feature = "postgres"))]
#[test]
fn each_way_to_write_a_table_is_a_pipeline() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = folder.path().join("url");
    std::fs::write(&url, "postgresql://etl:s3cr3t@db.example.com/warehouse\n").expect("writes");
    let delta = format!("delta = \"{}\"\npartition_by = [\"status\"]", folder.path().display());
    let postgres = format!("postgres = {{ file = \"{}\", table = \"sales.orders\" }}", url.display());
    for place in [delta, postgres] {
        for way in [
            "upsert = { key = [\"id\"], newest = \"updated_at\", deleted = \"gone\" }",
            "insert_only = { key = [\"id\"] }",
            "replace = { key = [\"id\"], may_shrink_by = 0.2 }",
            "scd2 = { key = [\"id\"], since = \"updated_at\" }",
        ] {
            // A replacement takes no stage that remembers, and one that infers its columns does.
            let columns = "schema = \"id: int64, status: utf8, updated_at: utf8, gone: bool\"\n[source]\nurl";
            let text = into(&format!("{place}\n{way}")).replacen("[source]\nurl", columns, 1);
            if let Err(error) = SpecFile::of(&text).pipeline() {
                panic!("{text}: {error}");
            }
        }
    }
    for postgres in
        ["{ env = \"NOT_SET\", table = \"orders\" }", "{ table = \"orders\" }", "\"postgresql://etl:s3cr3t@db/x\""]
    {
        let said = error(&into(&format!("postgres = {postgres}\nupsert = {{ key = [\"id\"] }}")));
        assert!(!format!("{said} {said:?}").contains("s3cr3t"), "{said}");
    }
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
        "\"s3cr3t\"",
        "[\"s3cr3t\"]",
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
    let key = regex::Regex::new(r"`([a-z_]+)(?: = [^`]*)?`").expect("sound");
    let mut hints = 0;
    for (path, text) in texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/connectors/http")) {
        for found in hint.captures_iter(&text) {
            hints += 1;
            let said = words::of_the_spec(&found[1]);
            assert!(!method.is_match(&said), "{}: {said}", path.display());
            for key in key.captures_iter(&said) {
                let word = regex::Regex::new(&format!(r"\b{}\b", &key[1])).expect("sound");
                assert!(word.is_match(REFERENCE), "{}: there is no such key: {said}", path.display());
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
    assert_eq!(parse(&["detect", "http://h/"]).expect("sound"), Command::Detect { of: "http://h/".to_owned() });
    assert_eq!(parse(&["a.toml", "-h"]).expect("sound"), Command::Help);
    let (by, why) = ("ana".to_owned(), "no".to_owned());
    let abandon = ["abandon", "a.toml", "--by", "ana", "--why", "no"];
    assert_eq!(parse(&abandon).expect("sound"), Command::Abandon { path: path(), by, why });
    assert_eq!(parse(&["abandoned", "a.toml"]).expect("sound"), Command::Abandoned { path: path(), json: false });
    let halves = [&["abandon", "a", "--by", "ana"], &["abandon", "a", "--why", "no"], &["abandon", "a", "--by"][..]];
    for wrong in halves.into_iter().chain([&[][..], &["a", "b"], &["--jsn", "a"], &["a", "--by", "ana"]]) {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
}
