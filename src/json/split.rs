use super::held::{Held, PIECE};
use super::part::{Place, Records};
use super::path::{Query, ValuePath};
use super::skip::ends_early;
use super::walk::{MARK, Walk};
use crate::error::Result;
use bytes::Bytes;

/// Cuts a page into parts between its records while it streams: each at the first place at or behind the wanted length.
/// So the parts depend on the page alone, not on the pieces in which it came.
///
/// A page whose records lie at one place is cut; any other one is held whole. Work is linear in the length of the page: what
/// has not ended is looked at again only when twice as much of it has come.
#[derive(Debug)]
pub(crate) struct JsonSplitter {
    place: Option<Place>,
    /// Bytes of a part.
    wanted: usize,
    held: Held,
    state: State,
    /// All of `held` before this has been looked at.
    at: usize,
    /// Nothing new is found before this many bytes are held.
    enough: usize,
    /// Where to cut.
    cut: Option<usize>,
    /// The page up to its first record, if that has been found.
    before: Vec<u8>,
    is_cut: bool,
    has_ended: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before the records, or in a page that is small so far.
    Before,
    Within(Records),
    /// Behind the records, which end here; or where there are none to cut between.
    Behind(usize),
}

/// What is left of a page at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rest {
    /// The last part; the whole page, if nothing was cut from it.
    pub body: Bytes,
    /// Of a page that was cut: everything but the records. It is JSON if the page is.
    pub envelope: Option<Bytes>,
}

impl Rest {
    pub(crate) fn of(body: Bytes) -> Self {
        Self { body, envelope: None }
    }
}

impl JsonSplitter {
    /// A splitter for the records of `query` into parts of about `wanted` bytes, which expects a page of `announced` bytes.
    ///
    /// It never cuts if one of `values` lies in the place of the records or around it: that takes the whole page.
    pub(crate) fn new(query: &Query, values: &[ValuePath], wanted: usize, announced: usize) -> Self {
        let apart = |place: &Place| {
            values.iter().all(|v| !v.steps.starts_with(&place.steps) && !place.steps.starts_with(&v.steps))
        };
        let place = Place::of(query).filter(apart);
        let capacity = if place.is_some() { announced.min(wanted.saturating_add(PIECE)) } else { announced };
        Self {
            place,
            wanted,
            held: Held::with_capacity(capacity),
            state: State::Before,
            at: 0,
            enough: wanted,
            cut: None,
            before: Vec::new(),
            is_cut: false,
            has_ended: false,
        }
    }

    /// Whether it ever cuts.
    pub(crate) fn cuts(&self) -> bool {
        self.place.is_some()
    }

    /// Takes the next bytes of the page.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.held.push(piece);
    }

    /// Says that all of the page has come: now the last parts can be taken.
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
        // In a small page there is nothing to cut, and nothing to look for.
        if self.is_cut || self.held.len() >= self.wanted {
            self.enough = 0;
        }
    }

    /// Bytes of what has begun and cannot be cut: a record, what lies around the records, or a page that is held whole.
    pub(crate) fn begun(&self) -> usize {
        let from = match self.state {
            State::Within(_) => self.at,
            State::Before => 0,
            State::Behind(from) => from,
        };
        self.held.len() - from
    }

    /// Bytes that the next [`take_part`](Self::take_part) looks at.
    pub(crate) fn unseen(&self) -> usize {
        let looks = self.cut.is_none() && self.place.is_some() && !matches!(self.state, State::Behind(_));
        if looks && self.held.len() >= self.enough { self.held.len() - self.at } else { 0 }
    }

    /// Takes the next part, if it is complete. The rest of the page is not in it. CPU work.
    ///
    /// # Errors
    /// `Data` if the page is not JSON.
    pub(crate) fn take_part(&mut self) -> Result<Option<Bytes>> {
        while self.unseen() > 0 {
            if let Err(error) = self.step() {
                if !error.is_transient() {
                    return Err(error);
                }
                // It ends too early so far; if it comes to no more, whoever looks at what is around the records sees that.
                let more = if self.has_ended { usize::MAX } else { (self.held.len() - self.at).max(1) };
                self.enough = self.held.len().saturating_add(more);
            }
        }
        let Some(cut) = self.cut.take() else { return Ok(None) };
        (self.at, self.enough, self.is_cut) = (0, 1, true);
        Ok(Some(self.held.take(cut)))
    }

    fn step(&mut self) -> Result<()> {
        let (Some(place), body) = (&self.place, self.held.as_slice()) else { return Ok(()) };
        let mut walk = Walk { body, at: self.at, depth: 0 };
        match &mut self.state {
            State::Before => {
                if body.len() < MARK.len() && MARK.starts_with(body) {
                    return Err(ends_early(body.len()));
                }
                walk.after_mark();
                match Records::open(&mut walk, place)? {
                    Some(records) if !records.closed => self.state = State::Within(records),
                    _ => self.state = State::Behind(0),
                }
                self.before = body.get(..walk.at).unwrap_or_default().to_vec();
            }
            State::Within(records) => {
                Records::within(&mut walk, place);
                let mut next = *records;
                next.next(&mut walk)?;
                *records = next;
                if next.closed {
                    self.state = State::Behind(walk.at - 1);
                } else if walk.at >= self.wanted {
                    self.cut = Some(walk.at);
                }
            }
            State::Behind(_) => return Ok(()),
        }
        self.at = walk.at;
        self.enough = self.at + 1;
        Ok(())
    }

    /// Gives what is left, when all parts have been taken.
    pub(crate) fn finish(mut self) -> Rest {
        let body = self.held.take_all();
        let envelope = self.is_cut.then(|| {
            let behind = if let State::Behind(from) = self.state { body.get(from..) } else { None };
            self.before.extend_from_slice(behind.unwrap_or_default());
            Bytes::from(self.before)
        });
        Rest { body, envelope }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{part, scan};
    use crate::model::Part;

    /// Cuts `body`, which comes in pieces of `size` bytes.
    fn cut(body: &[u8], query: &Query, values: &[ValuePath], wanted: usize, size: usize) -> Result<(Vec<Bytes>, Rest)> {
        let mut splitter = JsonSplitter::new(query, values, wanted, 0);
        let mut parts = Vec::new();
        for piece in body.chunks(size) {
            splitter.push(Bytes::copy_from_slice(piece));
            while let Some(part) = splitter.take_part()? {
                parts.push(part);
            }
        }
        splitter.end();
        while let Some(part) = splitter.take_part()? {
            parts.push(part);
        }
        Ok((parts, splitter.finish()))
    }

    /// The records of all parts, which must be `body` together.
    fn records(body: &[u8], query: &Query, parts: &[Bytes], rest: &Rest) -> Result<Vec<Bytes>> {
        let mut records = Vec::new();
        let all: Vec<&Bytes> = parts.iter().chain([&rest.body]).collect();
        for (index, text) in (0..).zip(&all) {
            let last = index as usize == parts.len();
            let spans = match parts.len() {
                0 => scan(text, query, &[])?.spans,
                _ => part(text, query, Part { response: 1, index, last })?,
            };
            records.extend(spans.iter().map(|s| text.slice_ref(s.of(text).expect("inside"))));
        }
        assert_eq!(all.concat_bytes(), body);
        Ok(records)
    }

    trait Concat {
        fn concat_bytes(&self) -> Vec<u8>;
    }

    impl Concat for Vec<&Bytes> {
        fn concat_bytes(&self) -> Vec<u8> {
            self.iter().flat_map(|b| b.to_vec()).collect()
        }
    }

    const PAGES: [(&str, &str); 8] = [
        ("$[*]", "[{\"id\":1},{\"id\":2} , [3,\"],[\"],\n4,null,\"5\\\"\",true]"),
        (
            "$.data[*]",
            "\u{feff}{\"a\":[1,{\"data\":[7]}],\"data\":[{\"x\":\"}\\\\\"},{},[] ],\"next\":\"b\",\"n\":{\"m\":8}}",
        ),
        ("$.data[*]", "{\"next\":\"c\",\"data\":[1,22,333,4444,55555,666666,7777777]}"),
        ("$.a[1].b[*]", "{\"a\":[0,{\"b\":[{\"é\":1},{\"é\":2}]},{\"b\":[9]}],\"next\":null}"),
        ("$.data.*", "{\"data\":{\"k,\":{\"v\":1} , \"\\\"l\" : 2,\"m\":\"x\"},\"next\":1}"),
        ("$.data.*", "{\"data\":[\"k\",\"l\" ,{\"v\":1}],\"next\":1}"),
        ("$.data[*]", "{\"data\":[],\"next\":null}"),
        ("$.data[*]", "{\"data\":null,\"next\":null,\"more\":[1,2,3]}"),
    ];

    #[test]
    fn parts_hold_the_records_and_the_rest_the_values_whatever_the_pieces() {
        let values = [ValuePath::parse("$.next").expect("a path"), ValuePath::parse("$.n.m").expect("a path")];
        for (path, page) in PAGES {
            let (query, page) = (Query::parse(path).expect("a path"), page.as_bytes());
            // Every value lies in an array that is the whole page.
            let values = if path == "$[*]" { &[] } else { values.as_slice() };
            let whole = scan(page, &query, values).expect("a page");
            let texts: Vec<&[u8]> = whole.spans.iter().map(|s| s.of(page).expect("inside")).collect();
            for wanted in 1..page.len() + 2 {
                let (parts, _) = cut(page, &query, values, wanted, page.len()).expect("cuts");
                assert!(parts.iter().all(|p| p.len() >= wanted));
                for size in 1..page.len() {
                    let (same, rest) = cut(page, &query, values, wanted, size).expect("cuts");
                    assert_eq!(same, parts, "{path} {wanted} {size}");
                    assert_eq!(records(page, &query, &parts, &rest).expect("records"), texts);
                    if let Some(envelope) = &rest.envelope {
                        let around = scan(envelope, &query, values).expect("JSON");
                        assert_eq!((around.spans.len(), around.values), (0, whole.values.clone()));
                    }
                    assert_eq!(rest.envelope.is_some(), !parts.is_empty());
                }
            }
            if whole.spans.len() > 1 {
                assert_eq!(cut(page, &query, values, 1, 5).expect("cuts").0.len(), whole.spans.len() - 1, "{path}");
            }
        }
    }

    #[test]
    fn a_cut_page_is_never_whole() {
        for (path, page) in PAGES {
            let query = Query::parse(path).expect("a path");
            let page = page.as_bytes();
            for end in 0..page.len() {
                let Ok((parts, rest)) = cut(&page[..end], &query, &[], 1, 7) else { continue };
                let envelope = scan(rest.envelope.as_ref().unwrap_or(&rest.body), &query, &[]);
                assert!(envelope.is_err() || records(&page[..end], &query, &parts, &rest).is_err(), "{path} {end}");
            }
        }
    }

    #[test]
    fn what_takes_the_whole_page_is_not_cut() {
        let page = br#"{"meta":{"rows":[1,2,3],"n":1},"next":4}"#;
        for (path, value) in [
            ("$.meta.rows[*]", "$.meta.rows[0]"),
            ("$.meta.rows[*]", "$.meta.rows"),
            ("$.meta.rows[*]", "$.meta"),
            ("$.meta.rows[*]", "$"),
            ("$.meta.rows[?@ > 1]", "$.next"),
            ("$.meta", "$.next"),
        ] {
            let value = [ValuePath::parse(value).expect("a path")];
            let (parts, rest) = cut(page, &Query::parse(path).expect("a path"), &value, 1, 3).expect("holds");
            assert_eq!((parts.len(), rest), (0, Rest::of(Bytes::from_static(page))), "{path}");
        }
        let beside = [ValuePath::parse("$.meta.n").expect("a path"), ValuePath::parse("$.next").expect("a path")];
        let query = Query::parse("$.meta.rows[*]").expect("a path");
        assert_eq!(cut(page, &query, &beside, 1, 3).expect("cuts").0.len(), 2);
    }

    #[test]
    fn what_is_wrong_around_the_records_is_an_error() {
        let query = Query::parse("$.data[*]").expect("a path");
        for page in [
            r#"{"data":[1,2,3],"data":[4,5]}"#,
            r#"{"data":[1,2,3]]"#,
            r#"{"data":[1,2,3]} x"#,
            r#"{"x":tru e,"data":[1,2,3]}"#,
            r#"{"data":[1,2,3,]}"#,
            r#"{"data":[1,2 3,4]}"#,
            r#"{"data":[1,[2},3]}"#,
        ] {
            let page = page.as_bytes();
            let whole = cut(page, &query, &[], 1, 4).and_then(|(parts, rest)| {
                scan(rest.envelope.as_ref().unwrap_or(&rest.body), &query, &[])?;
                records(page, &query, &parts, &rest)
            });
            assert!(whole.is_err(), "{}", String::from_utf8_lossy(page));
        }
    }

    #[test]
    fn a_huge_record_is_not_looked_at_again_and_again() {
        let page = format!("[{{\"v\":[{}1]}},2,3]", "1,".repeat(500_000));
        let (query, mut looked_at) = (Query::parse("$[*]").expect("a path"), 0);
        let mut splitter = JsonSplitter::new(&query, &[], 10, 0);
        for piece in page.as_bytes().chunks(1_000) {
            splitter.push(Bytes::copy_from_slice(piece));
            looked_at += splitter.unseen();
            splitter.take_part().expect("JSON");
        }
        assert!(looked_at < 4 * page.len(), "{looked_at}");
    }

    #[test]
    fn a_small_page_is_not_looked_at() {
        let query = Query::parse("$[*]").expect("a path");
        let mut splitter = JsonSplitter::new(&query, &[], 20, 0);
        splitter.push(Bytes::from_static(b"[1,2,not JSON"));
        splitter.end();
        assert_eq!(splitter.unseen(), 0);
        assert_eq!(splitter.take_part().expect("not looked at"), None);
    }

    #[test]
    fn parts_that_are_none_are_refused() {
        let query = Query::parse("$.data[*]").expect("a path");
        let find =
            |text: &str, query: &Query, index, last| part(text.as_bytes(), query, Part { response: 1, index, last });
        assert_eq!(find("2, 3,", &query, 1, false).expect("a part").len(), 2);
        assert!(find("2, 3]", &query, 1, false).is_err(), "goes on behind the end");
        assert!(find("2, 3", &query, 1, true).expect_err("no end").is_transient());
        assert!(find("2, \"3", &query, 1, false).is_err());
        assert!(find("{\"rows\":[1,", &query, 0, false).is_err(), "no records in their place");
        assert!(find("1,", &Query::parse("$.data[0:2]").expect("a path"), 1, false).is_err());
    }
}
