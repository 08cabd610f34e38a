use crate::keys::Keys;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::path::Path;
use url::form_urlencoded;

/// A secret with letters that are written otherwise in URLs, JSON and forms.
pub const SECRET: &str = "pl4nted/s3cret+canary=7";

/// All ways to write `SECRET` that could come up, the lines of private keys, and the end of each of its bytes in base64.
fn written() -> Vec<String> {
    let form: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let mut ways = vec![SECRET.to_owned(), form.clone(), form.to_lowercase(), SECRET.replace('/', "\\/")];
    ways.push(form_urlencoded::byte_serialize(form.as_bytes()).collect());
    // What stays the same however it is written.
    ways.push("s3cret".to_owned());
    for before in ["", "x", "xx"] {
        // As a part of something longer: without the letters that its neighbours change.
        let coded = STANDARD_NO_PAD.encode(format!("{before}{SECRET}"));
        let inner = &coded[4..coded.len() - 4];
        ways.push(inner.to_owned());
        ways.push(inner.replace('+', "-").replace('/', "_"));
    }
    ways.push(URL_SAFE_NO_PAD.encode(SECRET));
    ways.extend(Keys::all().lines().map(str::to_owned));
    ways
}

/// The first way of writing the secret that occurs in `bytes`, and what stands around it.
pub fn found(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let (way, at) = written().into_iter().find_map(|way| text.find(&way).map(|at| (way, at)))?;
    let before: String = text[..at].chars().rev().take(80).collect();
    let before: String = before.chars().rev().collect();
    let after: String = text[at..].chars().take(way.len() + 40).collect();
    Some(format!("`{way}` in `{before}{after}`"))
}

/// What is found in the files below `folder`, by their names and contents; and how many bytes there were.
pub fn found_below(folder: &Path) -> (Vec<String>, u64) {
    let (mut wrong, mut bytes) = (Vec::new(), 0);
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        wrong.extend(found(path.to_string_lossy().as_bytes()).map(|what| format!("a name: {what}")));
        if path.is_dir() {
            let (inside, more) = found_below(&path);
            wrong.extend(inside);
            bytes += more;
        } else {
            let content = std::fs::read(&path).expect("readable");
            bytes += content.len() as u64;
            wrong.extend(found(&content).map(|what| format!("{}: {what}", path.display())));
        }
    }
    (wrong, bytes)
}

#[test]
fn a_secret_is_found_in_every_way_of_writing_it() {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("key", SECRET).finish();
    for text in [
        format!("x{SECRET}y"),
        query.clone(),
        query.to_lowercase(),
        STANDARD_NO_PAD.encode(format!("user:{SECRET}")),
        URL_SAFE_NO_PAD.encode(format!("{{\"a\":\"{SECRET}\"}}")),
        STANDARD_NO_PAD.encode(format!("an id:{SECRET}:more")),
        serde_json::json!({ "key": SECRET }).to_string(),
        SECRET.replace('/', "\\/"),
        serde_json::json!({ "key": Keys::all().account_key }).to_string(),
        Keys::all().client_key.clone(),
    ] {
        assert!(found(text.as_bytes()).is_some(), "{text}");
    }
    assert_eq!(found(b"nothing of the kind"), None);
}
