//! What the library calls by the names of its methods, in the words of the spec.

use regex::{Captures, Regex};

/// A message of the library, for a reader who writes a spec: keys have the names of the methods, unless they are listed.
pub(crate) fn of_the_spec(message: &str) -> String {
    let message = WORDS.iter().fold(message.to_owned(), |message, (method, word)| message.replace(method, word));
    let Ok(method) = Regex::new(r"(?:\b[A-Z][A-Za-z0-9]*::|\B\.)([a-z_]+)\(([^()]*)\)") else { return message };
    let word = |found: &Captures<'_>| match &found[2] {
        "" => format!("`{} = true`", &found[1]),
        _ => format!("`{}`", &found[1]),
    };
    method.replace_all(&message, word).into_owned()
}

/// A message of the parser, for a reader who knows TOML and no Rust.
pub(crate) fn of_the_parser(message: &str) -> String {
    let table = Regex::new(r"expected (?:a map|(?:internally tagged enum|struct|struct variant) [A-Za-z:]+)");
    let number = Regex::new(r"expected [ui](?:8|16|32|64|size)\b");
    let (Ok(table), Ok(number)) = (table, number) else { return message.to_owned() };
    let message = table.replace_all(message, "expected a table");
    let message = number.replace_all(&message, "expected a whole number");
    let message = message.replace("a sequence", "an array").replace(" field `", " key `");
    // Where several things are possible, only they are named.
    if message.starts_with("a ") { format!("what is wanted here is {message}") } else { message }
}

/// What is called otherwise in a spec.
const WORDS: &[(&str, &str)] = &[
    (".auth(Basic::new(…))", "`auth = { by = \"basic\", … }`"),
    (".ordered()", "`row_order`"),
    (".allow_origin(…)", "`allow_origins`"),
    (".allow_origin_with_credentials(…)", "`allow_origins_with_credentials`"),
    ("Rest::get(…)", "`method = \"GET\"`"),
    ("Rest::post(…)", "`method = \"POST\"`"),
    (", or use Export::at_location()", "; without `poll` the `Location` of the answer is polled"),
    (".paginate(Single)", "`paginate = { by = \"single\" }`"),
    (".partition(…), .partition_by(…) or .parent(…)", "`partitions`, `lists` or `parent`"),
    ("say with .records(…) in what", "say with `records`, `csv` or `ndjson` in what"),
    ("a rule that ignores this status", "a rule, as in `rules = [{ status = 404, then = \"ignore\" }]`"),
];
