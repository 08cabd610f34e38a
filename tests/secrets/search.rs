use crate::keys::Keys;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use landfall::testkit::secret_forms;
use std::path::Path;
use std::sync::LazyLock;
use url::form_urlencoded;

/// A secret with letters that are written otherwise in URLs, JSON and forms.
pub const SECRET: &str = "pl4nted/s3cret+canary=7";

/// All ways to write `SECRET` and the private keys that could come up.
static WRITTEN: LazyLock<Vec<String>> = LazyLock::new(|| {
    let keys = Keys::all();
    let secrets = [SECRET, &keys.client_key, &keys.account_key];
    // What stays the same in `SECRET` however it is written.
    secrets.into_iter().flat_map(secret_forms).chain(["s3cret".to_owned()]).collect()
});

/// The first way of writing the secret that occurs in `bytes`, and what stands around it.
pub fn found(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let (way, at) = WRITTEN.iter().find_map(|way| text.find(way.as_str()).map(|at| (way, at)))?;
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
        format!("{:?}", Some(&Keys::all().account_key)),
        STANDARD_NO_PAD.encode(format!("of the account: {}", Keys::all().account_key)),
        Keys::all().client_key.clone(),
    ] {
        assert!(found(text.as_bytes()).is_some(), "{text}");
    }
    assert_eq!(found(b"nothing of the kind"), None);
}
