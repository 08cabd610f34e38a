use super::{Wrong, broken, referred};
use crate::json::MAX_DEPTH;
use crate::records::text::{Unreadable, WriteText, push_text};
use indexmap::IndexMap;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Appends the element `raw` as an object of JSON.
pub(in crate::records) fn to_json(raw: &[u8], write: WriteText, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let wrong = |what: Wrong| Unreadable::new("xml", format!("not XML: {what}"));
    let text = std::str::from_utf8(raw).map_err(|_| Unreadable::new("utf8", "not UTF-8"))?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut whole = None;
    while whole.is_none() {
        let event = reader.read_event().map_err(|e| wrong(broken(&e).0))?;
        let ended = match event {
            Event::Start(element) => {
                if open.len() == MAX_DEPTH {
                    return Err(Unreadable::new("depth", format!("nested deeper than {MAX_DEPTH}")));
                }
                open.push(Element::start(&element).map_err(wrong)?);
                None
            }
            Event::Empty(element) => Some(Element::start(&element).map_err(wrong)?),
            Event::End(_) => open.pop(),
            Event::Text(text) => {
                let text = text.xml10_content().map_err(|_| wrong("not UTF-8"))?;
                take_text(&mut open, &text, text.trim_ascii().is_empty());
                None
            }
            Event::CData(text) => {
                take_text(&mut open, &text.xml10_content().map_err(|_| wrong("not UTF-8"))?, false);
                None
            }
            Event::GeneralRef(reference) => {
                take_text(&mut open, &referred(&reference).map_err(wrong)?, false);
                None
            }
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => None,
            Event::DocType(_) => return Err(wrong("a document type, which is not read")),
            Event::Eof => return Err(wrong("it ends too early")),
        };
        if let Some(element) = ended {
            match open.last_mut() {
                Some(parent) => parent.put(element).map_err(wrong)?,
                None => whole = Some(element),
            }
        }
    }
    whole.map_or(Ok(()), |element| element.into_object().write(write, out))
}

fn take_text(open: &mut [Element], text: &str, is_blank: bool) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
        element.is_blank &= is_blank;
    }
}

/// An element as far as it has come.
struct Element {
    name: String,
    /// Attributes and children, in the order in which each name came first.
    fields: IndexMap<String, Vec<Value>>,
    text: String,
    /// Whether its text is nothing but white space between tags, which says nothing.
    is_blank: bool,
}

enum Value {
    Null,
    Text(String),
    Object(Vec<(String, Vec<Self>)>),
}

impl Element {
    fn start(element: &BytesStart<'_>) -> Result<Self, Wrong> {
        let name = String::from_utf8_lossy(element.name().as_ref()).into_owned();
        let mut fields = IndexMap::new();
        for (number, attribute) in element.attributes().enumerate() {
            // Those that are left out too: each is looked for among those before it.
            if number == MOST_NAMES {
                return Err(TOO_MANY);
            }
            let attribute = attribute.map_err(|_| "an attribute is not well-formed")?;
            let key = attribute.key.as_ref();
            // Declarations of prefixes are about names, not data.
            if key == b"xmlns" || key.starts_with(b"xmlns:") {
                continue;
            }
            let value = attribute.unescape_value().map_err(|_| "the value of an attribute is not well-formed")?;
            let value = if value.is_empty() { Value::Null } else { Value::Text(value.into_owned()) };
            fields.insert(format!("@{}", String::from_utf8_lossy(key)), vec![value]);
        }
        Ok(Self { name, fields, text: String::new(), is_blank: true })
    }

    fn put(&mut self, mut child: Self) -> Result<(), Wrong> {
        let name = std::mem::take(&mut child.name);
        if self.fields.len() == MOST_NAMES && !self.fields.contains_key(&name) {
            return Err(TOO_MANY);
        }
        self.fields.entry(name).or_default().push(child.into_value());
        Ok(())
    }

    fn into_value(self) -> Value {
        match (self.fields.is_empty(), self.is_blank || self.text.is_empty()) {
            (true, true) => Value::Null,
            (true, false) => Value::Text(self.text),
            (false, _) => self.into_object(),
        }
    }

    fn into_object(mut self) -> Value {
        if !self.is_blank {
            self.fields.insert("#text".to_owned(), vec![Value::Text(self.text)]);
        }
        Value::Object(self.fields.into_iter().collect())
    }
}

impl Value {
    fn write(&self, write: WriteText, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Text(text) => write(text.as_bytes(), out)?,
            Self::Object(fields) => {
                out.push(b'{');
                for (n, (name, values)) in fields.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    push_text(name.as_bytes(), out)?;
                    out.push(b':');
                    match values.as_slice() {
                        [only] => only.write(write, out)?,
                        several => {
                            for (n, value) in several.iter().enumerate() {
                                out.push(if n == 0 { b'[' } else { b',' });
                                value.write(write, out)?;
                            }
                            out.push(b']');
                        }
                    }
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

/// Names in one element: the reader looks for each attribute among those before it.
const MOST_NAMES: usize = 4096;
const TOO_MANY: Wrong = "an element has too many attributes or children of different names";
