use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::collections::BTreeSet;

/// Texts of which one is in whatever shows `secret` in a form that gives it back: as it is, percent-encoded (once or twice), in base64
/// wherever it begins there, as in a `Basic` header, or with the escapes of `Debug` and JSON. Each line of a private key in PEM, or of
/// another secret of several lines, counts as one.
///
/// [`source_conformance!`](crate::source_conformance) looks for them; here they are for what else is written: logs, files, tables.
///
/// ```
/// use landfall::testkit::secret_forms;
///
/// let forms = secret_forms("open/se+same");
/// let shows = |text: &str| forms.iter().any(|form| text.contains(form.as_str()));
/// assert!(shows("GET /v1/orders?key=open%2Fse%2Bsame"));
/// assert!(shows("Authorization: Basic dXNlcjpvcGVuL3NlK3NhbWU="));
/// assert!(!shows("Authorization: Basic (hidden)"));
/// ```
pub fn secret_forms(secret: &str) -> Vec<String> {
    // Who reads it from a file has the end of a line too.
    let secret = secret.trim();
    if secret.is_empty() {
        return Vec::new();
    }
    let mut forms = BTreeSet::from([secret.to_owned(), secret.replace('/', "\\/")]);
    for keeps in KEEPS {
        for lower in [false, true] {
            let once = percent(secret, keeps, lower);
            forms.insert(percent(&once, keeps, lower));
            forms.insert(once.replace("%20", "+"));
            forms.insert(once);
        }
    }
    for letters in (0..3).filter_map(|before| base64_behind(before, secret)) {
        forms.insert(letters.replace('+', "-").replace('/', "_"));
        forms.insert(letters);
    }
    // Short lines, and the marks around a key, are in many texts.
    let lines = secret.lines().filter(|line| line.len() >= LINE && !line.starts_with("-----"));
    forms.extend(lines.map(str::to_owned));
    // What shows itself by `Debug` may be a part of what does so too.
    for _ in 0..2 {
        let again: Vec<String> = forms.iter().map(|form| escaped(form)).collect();
        forms.extend(again);
    }
    // What holds another form is found by that.
    let holds = |form: &String| forms.iter().any(|other| other.len() < form.len() && form.contains(other.as_str()));
    forms.iter().filter(|&form| !holds(form)).cloned().collect()
}

/// With the digits of `%2F`, or those of `%2f`.
fn percent(text: &str, keeps: fn(u8) -> bool, lower: bool) -> String {
    let written = |byte: u8| match (keeps(byte), lower) {
        (true, _) => char::from(byte).to_string(),
        (false, true) => format!("%{byte:02x}"),
        (false, false) => format!("%{byte:02X}"),
    };
    text.bytes().map(written).collect()
}

/// The letters of base64 that `secret` alone decides, with so many bytes before it.
fn base64_behind(before: usize, secret: &str) -> Option<String> {
    let coded = STANDARD_NO_PAD.encode("x".repeat(before) + secret);
    // A letter has six bits.
    let own = (before * 8).div_ceil(6)..(before + secret.len()) * 8 / 6;
    coded.get(own).filter(|letters| letters.len() >= LETTERS).map(str::to_owned)
}

/// As `Debug` writes it, between the quotes.
fn escaped(text: &str) -> String {
    let quoted = format!("{text:?}");
    quoted[1..quoted.len() - 1].to_owned()
}

/// Which bytes percent-encoding leaves as they are: by RFC 3986, in forms, and in the query of a URL.
const KEEPS: [fn(u8) -> bool; 3] = [
    |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte),
    |byte: u8| byte.is_ascii_alphanumeric() || b"*-._".contains(&byte),
    |byte: u8| byte.is_ascii_graphic() && !b"\"#<>'".contains(&byte),
];

/// Bytes of a line that is a secret by itself.
const LINE: usize = 16;

/// Fewer letters of base64 than these come up by chance.
const LETTERS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(text: &str, secret: &str) -> bool {
        secret_forms(secret).iter().any(|form| text.contains(form.as_str()))
    }

    #[test]
    fn base64_shows_a_secret_of_any_length_wherever_it_begins() {
        for length in 5..13 {
            let secret = &"s3cr3t+key/7?"[..length];
            for (before, after) in (0..6).flat_map(|before| (0..3).map(move |after| (before, after))) {
                let around = ["x".repeat(before), secret.to_owned(), "y".repeat(after)].concat();
                let coded = STANDARD_NO_PAD.encode(around);
                let url_safe = coded.replace('+', "-").replace('/', "_");
                assert!(shows(&coded, secret) && shows(&url_safe, secret), "{secret} in {coded}");
            }
        }
    }

    #[test]
    fn escapes_and_percents_hide_nothing() {
        let secret = "a \"key\" of\\two\nlines é";
        for shown in [
            format!("{:?}", Some(secret)),
            format!("{:?}", format!("{:?}", [secret])),
            serde_json::json!({ "key": secret }).to_string(),
            "a+%22key%22+of%5Ctwo%0Alines+%C3%A9".to_owned(),
            "a%20%22key%22%20of%5ctwo%0alines%20%c3%a9".to_owned(),
            "a%2520%2522key%2522%2520of%255Ctwo%250Alines%2520%25C3%25A9".to_owned(),
            "a%20%22key%22%20of\\two%0Alines%20%C3%A9".to_owned(),
        ] {
            assert!(shows(&shown, secret), "{shown}");
        }
    }

    #[test]
    fn a_long_line_of_a_secret_shows_it_and_the_marks_around_a_key_do_not() {
        let key = "-----BEGIN A KEY-----\nfirst line of the key\nthe last line of it\nend\n-----END A KEY-----\n";
        for (shown, is_secret) in [
            ("first line of the key", true),
            ("the last line of it", true),
            ("the end", false),
            ("-----BEGIN A KEY-----", false),
        ] {
            assert_eq!(shows(shown, key), is_secret, "{shown}");
        }
    }

    #[test]
    fn what_is_too_short_is_found_nowhere_or_as_it_is() {
        assert_eq!(secret_forms(" \n"), [""; 0]);
        assert_eq!(secret_forms("a1\n"), ["a1"]);
    }
}
