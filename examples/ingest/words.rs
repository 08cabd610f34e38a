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

/// What is called otherwise in a spec.
const WORDS: &[(&str, &str)] = &[
    (".auth(Basic::new(…))", "`auth = { by = \"basic\", … }`"),
    (".ordered()", "`row_order`"),
    ("Rest::get(…)", "`method = \"GET\"`"),
    ("Rest::post(…)", "`method = \"POST\"`"),
    ("a rule that ignores this status", "a rule, as in `rules = [{ status = 404, then = \"ignore\" }]`"),
];
