//! XML: where the records lie, values beside them, and records as JSON.
//!
//! Nothing is fetched and nothing is expanded: a document type, in which bombs and external entities are declared, is refused,
//! and only the five entities of XML itself and references to characters are known.

mod element;
mod scan;
#[cfg(test)]
mod tests;

pub(super) use element::to_json;
pub(super) use scan::scan;

use crate::error::Error;
use quick_xml::errors::SyntaxError;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::BytesRef;

/// What an element or attribute may not be, said without its content.
type Wrong = &'static str;

/// The text of a reference such as `&amp;` or `&#x41;`.
fn referred(reference: &BytesRef<'_>) -> Result<String, Wrong> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Ok(character.to_string());
    }
    let name = reference.decode().map_err(|_| "an entity is not UTF-8")?;
    resolve_xml_entity(&name).map(str::to_owned).ok_or("an entity is not one of XML itself")
}

/// What is wrong with the XML, and whether it may only have been cut.
fn broken(error: &quick_xml::Error) -> (Wrong, bool) {
    match error {
        quick_xml::Error::Syntax(SyntaxError::InvalidBangMarkup) => ("markup is not well-formed", false),
        quick_xml::Error::Syntax(_) => ("it ends within markup", true),
        quick_xml::Error::IllFormed(quick_xml::errors::IllFormedError::UnclosedReference) => {
            ("a reference does not end", true)
        }
        quick_xml::Error::IllFormed(_) => ("start and end of an element do not match", false),
        quick_xml::Error::InvalidAttr(_) => ("an attribute is not well-formed", false),
        _ => ("not well-formed", false),
    }
}

fn not_xml(what: Wrong, at: u64) -> Error {
    Error::data("scan page", "not XML").with("found", what).with("at", at)
}
