use super::{Wrong, broken, not_xml, referred};
use crate::error::{Error, Result};
use crate::json::{ElementPath, ElementStep, MARK, MAX_DEPTH, Scan, ValuePath, ends_early, push_string, span};
use crate::model::Span;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Finds the elements at `path` and the values at `extract` in one pass over `body`.
///
/// # Errors
/// `Data` if the body is not one whole document of XML in UTF-8 (transient if it ends too early), has a document type, or
/// has nothing that could hold the elements.
pub(in crate::records) fn scan(body: &[u8], path: &ElementPath, extract: &[ValuePath]) -> Result<Scan> {
    if u32::try_from(body.len()).is_err() {
        return Err(Error::data("scan page", "the page is larger than 4 GiB").with("bytes", body.len()));
    }
    let text = std::str::from_utf8(body).map_err(|e| match e.error_len() {
        None => ends_early(body.len()),
        Some(_) => Error::data("scan page", "the page is not UTF-8").with("at", e.valid_up_to()),
    })?;
    let begin = if body.starts_with(MARK) { MARK.len() } else { 0 };
    let mut reader = Reader::from_str(text.get(begin..).unwrap_or_default());
    let mut search = Search {
        depth: 0,
        records: Follow::of(path),
        record_start: None,
        place_found: path.steps.len() == 1,
        spans: Vec::new(),
        values: extract
            .iter()
            .map(|value| Value { path: value.element().map(Follow::of), text: None, is_open: false })
            .collect(),
        root: None,
    };
    loop {
        let start = begin + usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let event = reader.read_event().map_err(|e| match broken(&e) {
            (_, true) => ends_early(body.len()),
            (what, false) => not_xml(what, reader.error_position() + begin as u64),
        })?;
        let end = begin + usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let taken = match event {
            Event::Start(element) => search.start(&element, start),
            Event::Empty(element) => search.start(&element, start).map(|()| search.end(end)),
            Event::End(_) => {
                search.end(end);
                Ok(())
            }
            Event::Text(text) => text.xml10_content().map_err(|_| "not UTF-8").and_then(|text| search.text(&text)),
            Event::CData(text) => text.xml10_content().map_err(|_| "not UTF-8").and_then(|text| search.text(&text)),
            // One that is wrong within a record is the decoder's to refuse.
            Event::GeneralRef(_) if search.depth > 0 && !search.listens() => Ok(()),
            Event::GeneralRef(reference) => referred(&reference).and_then(|text| search.text(&text)),
            Event::DocType(_) => Err("a document type, which is not read"),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => Ok(()),
            Event::Eof => break,
        };
        taken.map_err(|what| not_xml(what, start as u64))?;
    }
    search.finish(path, body.len())
}

struct Search<'p> {
    depth: usize,
    records: Follow<'p>,
    record_start: Option<usize>,
    place_found: bool,
    spans: Vec<Span>,
    values: Vec<Value<'p>>,
    root: Option<String>,
}

/// How far the open elements go along a path.
struct Follow<'p> {
    path: &'p ElementPath,
    matched: usize,
}

struct Value<'p> {
    /// None for a path that is not into XML.
    path: Option<Follow<'p>>,
    text: Option<String>,
    /// Whether what comes belongs to its text.
    is_open: bool,
}

impl<'p> Follow<'p> {
    fn of(path: &'p ElementPath) -> Self {
        Self { path, matched: 0 }
    }

    /// Whether the element that starts at `depth` is the end of the path.
    fn start(&mut self, element: &BytesStart<'_>, depth: usize) -> Result<bool, Wrong> {
        let next = self.path.steps.get(self.matched).filter(|_| self.matched == depth);
        if let Some(step) = next {
            self.matched += usize::from(fits(step, element)?);
            return Ok(self.matched == self.path.steps.len() && self.matched == depth + 1);
        }
        Ok(false)
    }

    /// Whether the element that ends, and was at `depth`, is the end of the path.
    fn end(&mut self, depth: usize) -> bool {
        let ends = self.matched == depth + 1;
        self.matched = self.matched.min(depth);
        ends && depth + 1 == self.path.steps.len()
    }
}

impl Search<'_> {
    fn start(&mut self, element: &BytesStart<'_>, at: usize) -> Result<(), Wrong> {
        if self.depth == MAX_DEPTH {
            return Err("elements nested too deep");
        }
        if self.depth == 0 && self.root.is_some() {
            return Err("something behind the end");
        }
        if self.depth == 0 {
            self.root = Some(String::from_utf8_lossy(element.name().as_ref()).chars().take(64).collect());
        }
        if self.records.start(element, self.depth)? {
            self.record_start = Some(at);
        }
        self.place_found |= self.records.matched + 1 >= self.records.path.steps.len() && self.records.matched > 0;
        for value in &mut self.values {
            let Some(path) = &mut value.path else { continue };
            if !path.start(element, self.depth)? || value.text.is_some() {
                continue;
            }
            match &path.path.attribute {
                Some(name) => value.text = attribute(element, name)?,
                None => (value.text, value.is_open) = (Some(String::new()), true),
            }
        }
        self.depth += 1;
        Ok(())
    }

    fn end(&mut self, at: usize) {
        self.depth = self.depth.saturating_sub(1);
        if self.records.end(self.depth) {
            if let Some(start) = self.record_start.take() {
                self.spans.push(span(start, at - start));
            }
        }
        for value in &mut self.values {
            if value.path.as_mut().is_some_and(|path| path.end(self.depth)) {
                value.is_open = false;
            }
        }
    }

    /// Whether text belongs to a value.
    fn listens(&self) -> bool {
        self.values.iter().any(|value| value.is_open)
    }

    fn text(&mut self, text: &str) -> Result<(), Wrong> {
        if self.depth == 0 {
            let is_blank = text.bytes().all(|b| b.is_ascii_whitespace());
            return if is_blank { Ok(()) } else { Err("text outside of the elements") };
        }
        for value in self.values.iter_mut().filter(|value| value.is_open) {
            value.text.get_or_insert_default().push_str(text);
        }
        Ok(())
    }

    fn finish(self, path: &ElementPath, len: usize) -> Result<Scan> {
        let Some(root) = self.root else { return Err(Error::data("scan page", "the page is empty")) };
        if self.depth > 0 {
            return Err(ends_early(len));
        }
        let is_root = path.steps.first().is_some_and(|step| step.name == root);
        if !self.place_found || !is_root {
            return Err(Error::data("scan page", "the path selects nothing")
                .with("path", path.as_str())
                .with("root_there", root));
        }
        // Nothing but white space is no value, as in JSON nothing between quotes is none.
        let json = |value: Value<'_>| {
            let text = value.text.filter(|text| !text.trim().is_empty())?;
            let mut json = Vec::new();
            push_string(text.trim(), &mut json);
            String::from_utf8(json).ok()
        };
        Ok(Scan { spans: self.spans, values: self.values.into_iter().map(json).collect() })
    }
}

fn fits(step: &ElementStep, element: &BytesStart<'_>) -> Result<bool, Wrong> {
    if element.name().as_ref() != step.name.as_bytes() {
        return Ok(false);
    }
    match &step.with {
        None => Ok(true),
        Some((name, value)) => Ok(attribute(element, name)?.as_ref() == Some(value)),
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, Wrong> {
    let Some(found) = element.try_get_attribute(name).map_err(|_| "an attribute is not well-formed")? else {
        return Ok(None);
    };
    let value = found.unescape_value().map_err(|_| "the value of an attribute is not well-formed")?;
    Ok(Some(value.into_owned()))
}
