use super::{Params, Products};
use crate::connectors::http::config::RestBuilder;
use crate::connectors::http::position::RestPosition;
use crate::connectors::http::rest::Rest;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::json::{ValuePath, field};
use crate::model::{Page, Partition, PartitionId};
use crate::records::RecordsPath;
use crate::retry::rate::RateBudget;
use crate::source::{Listed, Listing, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use url::form_urlencoded;

/// Another source, each record of which is a partition of this one: the comments of each post.
///
/// The records of the parent are read page by page, while partitions of pages before are read already; there are never all in
/// memory. A parent that is [incremental](RestBuilder::since) moves on only once all children of what it has brought have
/// been read to their end: whatever goes wrong with one of them, the next run finds it again. It may have a parent itself.
///
/// The parent's own records are not landed; to load them too, give them a pipeline of their own. Its requests take from the
/// [budget](RestBuilder::budget) of the children unless it has one of its own.
///
/// ```
/// use landfall::connectors::http::{Parent, Rest};
///
/// let posts = Rest::get("https://api.example.com/posts");
/// let comments = Rest::get("https://api.example.com/posts/{post}/comments")
///     .parent(Parent::of(posts).bind("post", "$.id").include("$.title", "_post_title"))
///     .build()?;
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Parent {
    rest: Box<RestBuilder>,
    binds: Vec<(String, String)>,
    includes: Vec<(String, String)>,
    skips: bool,
}

impl Parent {
    /// The records of `rest` are the partitions.
    pub fn of(rest: RestBuilder) -> Self {
        Self { rest: Box::new(rest), binds: Vec::new(), includes: Vec::new(), skips: false }
    }

    /// The place `{place}` of the request takes the value at `path` of the parent's record: a string, a number or a boolean. The
    /// values name the partition, so they must tell parents apart.
    pub fn bind(mut self, place: impl Into<String>, path: impl Into<String>) -> Self {
        self.binds.push((place.into(), path.into()));
        self
    }

    /// Gives each record of a child the value at `path` of its parent's record, as the field `name`. `null` if there is none. Of a row
    /// of CSV or an element of XML, texts that are numbers are given as numbers.
    pub fn include(mut self, path: impl Into<String>, name: impl Into<String>) -> Self {
        self.includes.push((path.into(), name.into()));
        self
    }

    /// Passes over records of the parent that have no value to bind. Without this they are an error.
    pub fn skip_without_value(mut self) -> Self {
        self.skips = true;
        self
    }

    /// For the record of the configuration.
    pub(in super::super) fn recorded(&self) -> serde_json::Value {
        let config = self.rest.recorded();
        serde_json::json!({
            "identity": config.identity,
            "settings": config.settings,
            "binds": self.binds,
            "includes": self.includes,
            "skips": self.skips,
        })
    }

    /// `budget` is that of the children: for a parent without one of its own.
    pub(in super::super) fn build(mut self, budget: Option<&RateBudget>) -> Result<Family> {
        self.rest.spends(budget);
        let wrong = |what| Error::config("build source", what);
        if self.binds.is_empty() {
            return Err(wrong("nothing of the parent is bound").with_hint("add .bind(\"place\", \"$.id\")"));
        }
        let mut names = BTreeSet::new();
        for (name, _) in &self.binds {
            if !names.insert(name) {
                return Err(wrong("a place takes two values of the parent").with("place", name));
            }
        }
        let mut names = BTreeSet::new();
        for (_, name) in &self.includes {
            if name.is_empty() || !names.insert(name) {
                return Err(wrong("a field of the parent has no name, or that of another one").with("name", name));
            }
        }
        let path = |text: &String| ValuePath::field(text);
        let binds = self.binds.iter().map(|(place, at)| Ok((place.clone(), path(at)?))).collect::<Result<_>>()?;
        let includes = self.includes.iter().map(|(at, name)| Ok((path(at)?, name.clone()))).collect::<Result<_>>()?;
        Ok(Family { rest: Box::new(self.rest.build()?), binds, includes, skips: self.skips })
    }
}

/// A parent that is ready to be read.
#[derive(Debug)]
pub(in super::super) struct Family {
    rest: Box<Rest>,
    binds: Vec<(String, ValuePath)>,
    includes: Vec<(ValuePath, String)>,
    skips: bool,
}

impl Family {
    /// The places that it has values for: those it binds.
    pub(in super::super) fn bound(&self) -> BTreeSet<&str> {
        self.binds.iter().map(|(place, _)| place.as_str()).collect()
    }

    /// The places that its own partitions have values for; children inherit them.
    pub(in super::super) fn inherited(&self) -> BTreeSet<&str> {
        self.rest.partitions.places()
    }

    /// Lists the children of all parents, each with all of `products`.
    pub(super) async fn list(&self, env: &Env, products: &Products, out: &mut Listing<RestPosition>) -> Result<()> {
        let (queue, mut listed) = mpsc::channel(1);
        let mut parents = out.below(PREFIX, queue);
        let listing = async move { self.rest.partitions(env, &mut parents).await };
        let reading = async {
            while let Some(next) = listed.recv().await {
                match next {
                    Listed::Partition(parent) => self.read(env, products, &parent, out).await?,
                    Listed::Fence { partition, to } => out.advance(&prefixed(&partition), &to.restore()?).await?,
                }
            }
            Ok(())
        };
        futures::try_join!(listing, reading).map(drop)
    }

    /// Reads one partition of the parent, and lists the children of its records.
    async fn read(
        &self,
        env: &Env,
        products: &Products,
        parent: &Partition,
        out: &mut Listing<RestPosition>,
    ) -> Result<()> {
        let id = prefixed(&parent.id);
        let from = out.position(&id).await?;
        let inherited = Params::of(parent)?;
        let (queue, mut emitted) = mpsc::channel(1);
        let mut emitter = out.emitter(parent.clone(), Arc::new(Semaphore::new(CAPACITY)), CAPACITY as u64, queue);
        let reading = async move { self.rest.read(env, parent, from, &mut emitter).await };
        let listing = async {
            while let Some(emission) = emitted.recv().await {
                if let Some(page) = &emission.item {
                    self.children(page, parent, &inherited, products, out).await?;
                }
                if let Some(position) = &emission.position {
                    out.advance(&id, &position.restore()?).await?;
                }
            }
            Ok(())
        };
        let (reason, ()) = futures::try_join!(reading, listing)?;
        if reason.is_complete() {
            return Ok(());
        }
        let error = Error::new(ErrorKind::Incomplete, "list partitions", "the parent was not read to its end");
        Err(error.with("parent", &parent.id).with("reason", reason))
    }

    async fn children(
        &self,
        page: &Page,
        parent: &Partition,
        inherited: &Params,
        products: &Products,
        out: &mut Listing<RestPosition>,
    ) -> Result<()> {
        let spans = page.spans.as_deref().unwrap_or_default();
        // Rows and elements are looked at as the objects that they are in decoding.
        let path = page.records_path.as_deref().map(RecordsPath::parse).transpose()?;
        let json = path.and_then(|path| path.as_json(&page.body, spans));
        let (body, spans) = json.as_ref().map_or((page.body.as_ref(), spans), |(body, spans)| (body, spans));
        for (n, span) in spans.iter().enumerate() {
            let record = span.of(body).unwrap_or_default();
            let Some((id, params)) = self
                .child(record, inherited)
                .map_err(|e| e.with("parent", &parent.id).with("request", &page.request).with("record", n))?
            else {
                continue;
            };
            let id = if parent.id.0 == super::ALL { id } else { format!("{}/{id}", parent.id) };
            for partition in products.with(Some(id), params) {
                out.add(partition?).await?;
            }
        }
        Ok(())
    }

    /// The child of one record: its id and what it needs. `None` if it is passed over.
    fn child(&self, record: &[u8], inherited: &Params) -> Result<Option<(String, Params)>> {
        // A child of a child finds what its parent was given, too.
        let given = inherited.fields.as_deref().unwrap_or_default().as_bytes();
        let find = |path: &ValuePath| -> Result<Option<String>> {
            let found = match field(record, path)? {
                None if !given.is_empty() => field(given, path)?,
                found => found,
            };
            Ok(found.map(|raw| String::from_utf8_lossy(raw).into_owned()))
        };
        let mut id = form_urlencoded::Serializer::new(String::new());
        let mut values = inherited.values.clone();
        for (place, path) in &self.binds {
            let Some(value) = find(path)?.as_deref().and_then(text) else {
                if self.skips {
                    metrics::counter!("landfall_http_parents_without_value_total").increment(1);
                    return Ok(None);
                }
                return Err(Error::data(
                    "list partitions",
                    "a record of the parent has no value for a place of the request",
                )
                .with("field", path.as_str())
                .with("place", place)
                .with_hint("to pass over such records, add .skip_without_value()"));
            };
            id.append_pair(place, &value);
            values.insert(place.clone(), value);
        }
        let mut fields = BTreeMap::new();
        for (path, name) in &self.includes {
            fields.insert(name, find(path)?.unwrap_or_else(|| "null".to_owned()));
        }
        let fields = (!fields.is_empty()).then(|| object(&fields));
        Ok(Some((id.finish(), Params { values, fields })))
    }
}

/// A JSON value as the text of a place; `None` if it is not one value.
fn text(raw: &str) -> Option<String> {
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(raw).ok().filter(|text| !text.is_empty()),
        b'{' | b'[' | b'n' => None,
        _ => Some(raw.to_owned()),
    }
}

/// A JSON object of values that are JSON already: numbers keep their digits.
fn object(fields: &BTreeMap<&String, String>) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, raw)| format!("{}:{raw}", serde_json::json!(name))).collect();
    format!("{{{}}}", fields.join(","))
}

/// The name under which the position of a parent's partition is kept: no child has it.
fn prefixed(id: &PartitionId) -> PartitionId {
    PartitionId(format!("{PREFIX}{id}"))
}

const PREFIX: &str = ".parent/";
/// Bytes of the parent's pages on their way.
const CAPACITY: usize = 64 << 20;
