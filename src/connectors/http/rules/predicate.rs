use crate::error::{Error, Result};
use crate::json::json_path;
use serde_json::Value;
use serde_json_path::JsonPath;

/// A condition on a JSON body, by RFC 9535.
#[derive(Clone, Debug)]
pub(in super::super) struct Predicate {
    /// Holds if it selects something of the body.
    path: Option<JsonPath>,
    /// Holds if it selects the body out of an array that has nothing else: so a filter speaks of the body itself.
    filter: Option<JsonPath>,
}

impl Predicate {
    /// Reads a path such as `$.errors[0]`, or a filter such as `@.status == 'ERROR'`, where `@` is the body.
    ///
    /// # Errors
    /// `Config` if it is neither.
    pub(in super::super) fn parse(text: &str) -> Result<Self> {
        let read = |query: &str| {
            json_path(query).map_err(|e| {
                Error::config("build source", "the condition on a body cannot be read")
                    .with("condition", text)
                    .with_hint(
                        "write a path such as `$.errors[0]`, or a filter such as `@.status == 'ERROR'` (RFC 9535)",
                    )
                    .with_source(e)
            })
        };
        let begin = text.trim_start();
        if !begin.starts_with('$') {
            return Ok(Self { path: None, filter: Some(read(&format!("$[?{text}]"))?) });
        }
        let path = read(begin.trim_end())?;
        // By the letter this selects among the members of the body. Who writes it means the body.
        let filter = begin.starts_with("$[?").then(|| path.clone());
        Ok(Self { path: Some(path), filter })
    }

    /// `alone` is an array of the body and nothing else.
    pub(in super::super) fn holds(&self, alone: &Value) -> bool {
        let path = |path: &JsonPath| alone.get(0).is_some_and(|body| !path.query(body).is_empty());
        self.path.as_ref().is_some_and(path) || self.filter.as_ref().is_some_and(|f| !f.query(alone).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_selects_something_and_a_filter_speaks_of_the_body() {
        let body = serde_json::json!([{"status": "ERROR", "errors": [{"code": 7}], "none": [], "data": null}]);
        for (condition, holds) in [
            ("@.status == 'ERROR'", true),
            ("$[?@.status == 'ERROR']", true),
            (" $[?@.status=='ERROR'] ", true),
            ("@.status == 'OK'", false),
            ("$.errors[0]", true),
            ("$.errors[?@.code == 7]", true),
            ("$.errors[?@.code == 8]", false),
            ("$.none[0]", false),
            ("$.absent", false),
            ("@.errors", true),
            ("!@.absent", true),
            ("@.errors && @.status != 'OK'", true),
            ("match(@.status, 'ERR.*')", true),
            ("length(@.none) == 0", true),
            ("@.data == null", true),
        ] {
            assert_eq!(Predicate::parse(condition).expect(condition).holds(&body), holds, "{condition}");
        }
        for wrong in ["", "status == 'ERROR'", "$.", "@.a ==", "$[?@.a"] {
            assert!(Predicate::parse(wrong).is_err(), "{wrong}");
        }
    }
}
