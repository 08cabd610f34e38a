//! Drops records that were there before.

mod fingerprint;
mod run;
mod table;
mod version;

#[cfg(test)]
mod tests;

use self::fingerprint::{Fingerprints, Hasher};
use self::run::Run;
use self::table::Table;
use self::version::{Class, Versions};
use super::Batch;
use crate::error::{Error, Result};
use crate::source::ComponentConfig;
use crate::stage::{Output, Stage, StageState};
use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;
use bytes::Bytes;
use serde_json::json;

/// Lets one record of each key pass, over the whole life of the pipeline.
///
/// # Guarantees
/// 1. *Exact*: two records are the same if their keys are, by type and value, which is decided by 128 bits of a keyed
///    hash (SipHash-1-3). At a billion keys the chance that any two of them collide is below 2 in 10²¹. The key of the
///    hash is fixed unless [`seed`](Self::seed) is given: do that where somebody might make up keys that collide.
/// 2. *Total order*: what passes follows from the order of the landing alone, however records are cut into batches.
///    [`First`](Self::by) keeps the first of a key; with [`keep`](Self::keep) a record passes if it is strictly newer
///    than every one of its key before it, so that a sink that replaces by key ends with the newest.
/// 3. *Bounded memory*: about 28 bytes for each key (56 with [`keep`](Self::keep) on numbers and times), whatever its
///    length; a table grows in 256 parts, one at a time.
/// 4. *State*: a delta has the keys that are new since the last one, 16 bytes each (32 with `keep`).
///
/// Whole numbers are compared by value whatever their width, times as instants whatever their unit, `-0.0` as `0.0`; the
/// number 7 and the text `7` differ, and a key whose columns become of another kind is an error of kind `Config`, because
/// none of the known keys would be met again. A record without a key is refused (`key_null`), unless
/// [`nulls_pass`](Self::nulls_pass) is set.
///
/// ```
/// use landfall::columnar::{Dedup, Latest};
///
/// let first = Dedup::by(["id"]);
/// let newest = Dedup::by(["customer.id", "number"]).keep(Latest::of("updated_at"));
/// # let _ = (first, newest);
/// ```
#[derive(Clone, Debug)]
pub struct Dedup {
    name: String,
    by: By,
    latest: Option<Latest>,
    nulls_pass: bool,
    hasher: Hasher,
    /// What the columns of the key were compared as, a letter each; empty while no key has been seen.
    kinds: Vec<u8>,
    memory: Memory,
    /// Keys that are new or have changed since the last delta.
    pending: Vec<u128>,
}

/// What makes two records the same.
#[derive(Clone, Debug)]
enum By {
    Columns(Vec<String>),
    Content,
}

/// A record passes if it is newer than all before it: by the value of one column, where null is the oldest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    column: String,
}

impl Latest {
    /// By the value of `column`: a number, a time, a date, a bool, or text (by its bytes: use a time column for times).
    pub fn of(column: impl Into<String>) -> Self {
        Self { column: column.into() }
    }
}

/// The keys that were there, and for [`Latest`] the newest version of each.
#[derive(Clone, Debug)]
enum Memory {
    First(Table<()>),
    /// Nothing has been seen: the first batch shows of which type versions are.
    Undecided,
    Numbers(Class, Table<i128>),
    Text(Table<Box<[u8]>>),
}

impl Dedup {
    /// One of each combination of values of these columns: names, or paths such as `customer.id`.
    pub fn by<C: Into<String>>(columns: impl IntoIterator<Item = C>) -> Self {
        Self::new(By::Columns(columns.into_iter().map(Into::into).collect()))
    }

    /// One of each record, by all its bytes as they were landed.
    pub fn by_content() -> Self {
        Self::new(By::Content)
    }

    fn new(by: By) -> Self {
        Self {
            name: "dedup".to_owned(),
            by,
            latest: None,
            nulls_pass: false,
            hasher: Hasher::new(b""),
            kinds: Vec::new(),
            memory: Memory::First(Table::new()),
            pending: Vec::new(),
        }
    }

    /// Lets newer versions of a key pass, rather than only the first one.
    #[must_use]
    pub fn keep(mut self, latest: Latest) -> Self {
        self.latest = Some(latest);
        self.memory = Memory::Undecided;
        self
    }

    /// Lets records pass that have null in their key, instead of refusing them.
    #[must_use]
    pub fn nulls_pass(mut self) -> Self {
        self.nulls_pass = true;
        self
    }

    /// Derives the key of the hash from `seed`. It belongs to the identity of the state: another seed is refused.
    #[must_use]
    pub fn seed(mut self, seed: impl AsRef<[u8]>) -> Self {
        self.hasher = Hasher::new(seed.as_ref());
        self
    }

    /// Names the stage; `dedup` unless set.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many keys it knows.
    pub fn keys(&self) -> usize {
        match &self.memory {
            Memory::First(table) => table.len(),
            Memory::Undecided => 0,
            Memory::Numbers(_, table) => table.len(),
            Memory::Text(table) => table.len(),
        }
    }

    /// Refuses keys of another kind than those that are known: all of them would seem new.
    fn check_kinds(&mut self, now: &[u8]) -> Result<()> {
        if self.kinds.is_empty() {
            self.kinds = now.to_vec();
        }
        let changed = self.kinds.iter().zip(now).position(|(before, now)| before != now);
        match (changed, &self.by) {
            (Some(at), By::Columns(columns)) => {
                Err(Error::config("deduplicate", "a column of the key is of another type than before")
                    .with("column", columns.get(at).map_or("", String::as_str))
                    .with_hint(
                        "every key would seem new; declare the type that it had, or start over under another name",
                    ))
            }
            _ => Ok(()),
        }
    }

    /// Which rows pass, by the fingerprints of their keys (null where the key is).
    fn passing(&mut self, batch: &Batch, prints: &Fingerprints) -> Result<BooleanBuffer> {
        let versions = match &self.latest {
            None => None,
            Some(latest) => Some(Versions::of(&batch.column(&latest.column)?, &latest.column)?),
        };
        if let (Memory::Undecided, Some(versions)) = (&self.memory, &versions) {
            self.memory = match versions {
                Versions::Numbers(class, _) => Memory::Numbers(*class, Table::new()),
                Versions::Text(_) => Memory::Text(Table::new()),
            };
        }
        let nulls_pass = self.nulls_pass;
        let pending = &mut self.pending;
        let mut decide = |is_new: &mut dyn FnMut(u128, usize) -> bool| {
            BooleanBuffer::collect_bool(prints.len(), |row| match prints.of(row) {
                None => nulls_pass,
                Some(print) if is_new(print, row) => {
                    pending.push(print);
                    true
                }
                Some(_) => false,
            })
        };
        match (&mut self.memory, versions) {
            (Memory::First(table), None) => Ok(decide(&mut |print, _| table.insert(print))),
            (Memory::Numbers(class, table), Some(Versions::Numbers(now, numbers))) if *class == now => {
                Ok(decide(&mut |print, row| numbers.get(row).is_some_and(|number| table.raise(print, *number))))
            }
            (Memory::Text(table), Some(Versions::Text(texts))) => {
                Ok(decide(&mut |print, row| table.raise(print, Versions::text(&texts, row))))
            }
            _ => Err(Error::config("deduplicate", "versions are of another type than before")
                .with("column", self.latest.as_ref().map_or("", |l| &l.column))
                .with_hint("what is kept cannot be compared with it; start over under another name, or convert")),
        }
    }
}

impl Stage for Dedup {
    type In = Batch;
    type Out = Batch;

    fn name(&self) -> &str {
        &self.name
    }

    fn config(&self) -> Result<ComponentConfig> {
        let by = match &self.by {
            By::Columns(columns) => json!(columns),
            By::Content => json!("content"),
        };
        let keep = self.latest.as_ref().map_or(json!("first"), |latest| json!({ "latest": latest.column }));
        Ok(ComponentConfig::none()
            .with_identity(json!({ "by": by, "keep": keep, "hash": self.hasher.identity() }))
            .with_settings(json!({ "nulls_pass": self.nulls_pass })))
    }

    fn fork(&self) -> Option<Self> {
        None
    }

    fn state(&mut self) -> Option<&mut dyn StageState> {
        Some(self)
    }

    fn apply(&mut self, batch: Batch, out: &mut Output<Batch>) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let prints = match &self.by {
            By::Columns(columns) => Fingerprints::of_columns(&batch, columns, &self.hasher)?,
            By::Content => Fingerprints::of_content(&batch, &self.hasher),
        };
        self.check_kinds(&prints.kinds)?;
        let pass = self.passing(&batch, &prints)?;
        let passing = pass.count_set_bits();
        if passing == batch.num_rows() {
            out.emit(batch);
            return Ok(());
        }
        let mut repeated = (batch.num_rows() - passing) as u64;
        if !self.nulls_pass {
            for row in prints.without_key() {
                let By::Columns(columns) = &self.by else { continue };
                out.reject(batch.reject(row, "key_null", format!("{}: no key to tell repeats by", columns.join(", "))));
                repeated -= 1;
            }
        }
        out.deduplicated(repeated);
        if passing > 0 {
            out.emit(batch.filter(&BooleanArray::new(pass, None))?);
        }
        Ok(())
    }
}

impl StageState for Dedup {
    fn delta(&mut self) -> Result<Option<Bytes>> {
        let mut changed = std::mem::take(&mut self.pending);
        if changed.is_empty() {
            return Ok(None);
        }
        changed.sort_unstable();
        // A key may have got several newer versions.
        changed.dedup();
        run::write(&self.memory, &self.kinds, Some(changed)).map(Some)
    }

    fn base(&mut self) -> Result<Bytes> {
        self.pending = Vec::new();
        run::write(&self.memory, &self.kinds, None)
    }

    fn restore(&mut self, parts: Vec<Bytes>) -> Result<()> {
        self.pending = Vec::new();
        self.kinds = Vec::new();
        self.memory = if self.latest.is_none() { Memory::First(Table::new()) } else { Memory::Undecided };
        for part in &parts {
            self.take(Run::read(part)?)?;
        }
        Ok(())
    }
}

impl Dedup {
    fn take(&mut self, run: Run<'_>) -> Result<()> {
        if let Memory::Undecided = self.memory {
            match run.class() {
                Some(Class::Text) => self.memory = Memory::Text(Table::new()),
                Some(class) => self.memory = Memory::Numbers(class, Table::new()),
                None => {}
            }
        }
        if self.kinds.is_empty() {
            self.kinds = run.kinds().to_vec();
        }
        let fits = match &self.memory {
            Memory::First(_) => run.is_first(),
            Memory::Undecided => !run.is_first() && run.class().is_none(),
            Memory::Numbers(class, _) => run.class() == Some(*class),
            Memory::Text(_) => run.class() == Some(Class::Text),
        };
        if !fits || (!run.kinds().is_empty() && run.kinds() != self.kinds) {
            return Err(Error::corrupt("restore dedup", "a run was kept by another rule, or of another type"));
        }
        run.each(|print, version| match (&mut self.memory, version) {
            (Memory::First(table), _) => {
                table.insert(print);
            }
            (Memory::Numbers(_, table), run::Version::Number(number)) => table.set(print, number),
            (Memory::Text(table), run::Version::Text(text)) => table.set(print, text.into()),
            _ => {}
        })
    }
}
