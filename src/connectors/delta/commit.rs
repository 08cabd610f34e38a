//! An epoch becomes a version of the table: decided anew for the version that it follows, until it is known what has come of it.

use super::actions::{Add, Line, Metadata, Txn};
use super::children::children;
use super::enumerate::enumerate;
use super::features;
use super::keys::Rule;
use super::ledger::{FIRST, Load};
use super::log::Snapshot;
use super::mark;
use super::merge::{Memo, merge};
use super::rewrite::rewrite;
use super::schema;
use super::staged::{DeltaFile, DeltaStaged};
use super::table::{DeltaTable, millis, uuid};
use super::versions::versions;
use crate::columnar::files::{TAIL, checksum};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::ShardKey;
use crate::sink::{CommitDecision, CommitOutcome, CommitRequest, Demand, Disposition, Sink, decide_commit};
use crate::store::Created;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

/// Times that a commit is decided anew, when others commit to the table at the same time.
const ATTEMPTS: usize = 20;

/// Files that are looked at at the same time.
const AT_ONCE: usize = 8;

/// What a commit does to the files of a table.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) lines: Vec<Line>,
    /// Whether it depends on rows that were read.
    pub(super) rewrites: bool,
    /// The columns that the table must have, as Delta writes a schema.
    pub(super) schema: Option<String>,
    pub(super) counts: Counts,
}

/// Rows, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
}
impl DeltaTable {
    /// Fails if a staged file is not there, or is not the one that was staged.
    pub(super) async fn verify(&self, files: &[DeltaFile]) -> Result<()> {
        let looks = files.iter().map(|file| self.verify_one(file));
        stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn verify_one(&self, file: &DeltaFile) -> Result<()> {
        let path = self.log.folder.join(&file.path)?;
        // One byte more is asked for than there should be: it shows a file that is too long.
        let start = file.bytes.saturating_sub(TAIL);
        let message = match self.log.store.get(&path, Some(start..file.bytes.saturating_add(1))).await? {
            Some(tail) if tail.len() as u64 == file.bytes - start && checksum(&tail) == file.tail_crc32c => {
                return Ok(());
            }
            Some(_) => "a staged file is not the one that was staged; nothing was committed",
            None if on(Defect::StagedIsNotLookedFor) => return Ok(()),
            None => "a staged file is gone; nothing was committed",
        };
        Err(Error::corrupt("commit delta", message).with("file", path).with_hint(
            "restore the file from a copy; or load the landing again under this name, with a new folder of checkpoints and an \
             empty table",
        ))
    }

    /// The actions that make the table hold the columns of what is staged.
    fn columns(&self, env: &Env, schema: Option<&String>, held: Option<&Snapshot>) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        let Some(held) = held else {
            let schema = match schema {
                Some(schema) => schema.clone(),
                None => json!({ "type": "struct", "fields": [] }).to_string(),
            };
            // They come with the columns.
            let partition_columns =
                if schema::is_empty(&schema) { Vec::new() } else { self.options.partition_by.clone() };
            let oldest = features::oldest();
            let protocol = if schema::has_ntz(&schema) { features::with_ntz(&oldest) } else { None };
            lines.push(protocol.unwrap_or(oldest).into());
            let metadata = Metadata {
                id: uuid(env),
                schema_string: schema,
                partition_columns,
                created_time: Some(millis(env)),
                ..Metadata::default()
            };
            lines.push(metadata.into());
            return Ok(lines);
        };
        let Some(schema) = schema else { return Ok(lines) };
        if let Some(grown) = schema::grown(&held.metadata.schema_string, &*schema::parse(schema)?)? {
            if let Some(protocol) = schema::has_ntz(&grown).then(|| features::with_ntz(&held.protocol)).flatten() {
                lines.push(protocol.into());
            }
            let mut metadata = Metadata { schema_string: grown, ..held.metadata.clone() };
            if schema::is_empty(&held.metadata.schema_string) {
                metadata.partition_columns.clone_from(&self.options.partition_by);
            }
            lines.push(metadata.into());
        }
        Ok(lines)
    }

    /// What the epoch does to the files.
    async fn change(
        &self,
        env: &Env,
        request: &CommitRequest<DeltaStaged>,
        held: Option<&Snapshot>,
        memo: &mut Memo,
    ) -> Result<Change> {
        let whole = request.enumeration.is_some_and(|e| e.whole);
        let visible = match (rule(&self.disposition), &self.disposition) {
            (Some(rule), _) if !whole => Some(merge(self, env, request, held, &rule, memo).await?),
            (_, Disposition::Scd2(scd2)) if !whole => {
                Some(versions(self, env, request, held, scd2, &mut memo.versions).await?)
            }
            (_, Disposition::Children(of)) => Some(children(self, env, request, held, of, &mut memo.children).await?),
            _ => None,
        };
        match (self.demand(), visible) {
            (Demand::Enumerations, visible) => {
                return enumerate(self, env, request, held, visible, &mut memo.enumeration).await;
            }
            (_, Some(change)) => return Ok(change),
            _ => {}
        }
        let adds = self.appended(env, request, held, memo).await?.into_iter().map(Line::from);
        let counts = Counts { inserted: request.staged.files.iter().map(|f| f.rows).sum(), ..Counts::default() };
        Ok(Change { lines: adds.collect(), rewrites: false, schema: request.staged.schema.clone(), counts })
    }

    /// The files of an append: those that were staged, or, if the table has got wider columns meanwhile, such with these.
    async fn appended(
        &self,
        env: &Env,
        request: &CommitRequest<DeltaStaged>,
        held: Option<&Snapshot>,
        memo: &mut Memo,
    ) -> Result<Vec<Add>> {
        let files: Vec<Add> = request.staged.files.iter().map(|file| file.add(millis(env))).collect();
        let (Some(held), Some(staged)) = (held, &request.staged.schema) else { return Ok(files) };
        if files.is_empty() || schema::fits(&held.metadata.schema_string, staged)? {
            return Ok(files);
        }
        let columns = schema::adapted(&held.metadata.schema_string, &*schema::parse(staged)?)?;
        let known = memo.widened.take().filter(|(known, _)| *known == columns);
        let adds = match known {
            Some((_, adds)) => adds,
            None => rewrite(self, env, request, &files, &columns, &|_, _, rows| Ok(rows), false).await?,
        };
        memo.widened = Some((columns, adds.clone()));
        Ok(adds)
    }

    async fn try_commit(
        &self,
        env: &Env,
        request: &CommitRequest<DeltaStaged>,
        doubt: &mut bool,
        memo: &mut Memo,
    ) -> Result<Option<CommitOutcome>> {
        let CommitRequest { shard, mark, previous, staged, .. } = request;
        let held = self.newest(self.keep()).await?;
        let marked = held.as_ref().map_or(Ok(None), |held| mark::decode(shard, &held.txns))?;
        if let CommitDecision::Answer(outcome) = decide_commit(marked.as_ref(), mark, *previous) {
            return Ok(Some(outcome));
        }
        let held = held.as_deref();
        held.map_or(Ok(()), |held| self.check(held))?;
        self.verify(&staged.files).await?;
        let change = self.change(env, request, held, memo).await?;
        let mut lines = vec![self.info(env, request, &change)?];
        lines.extend(self.columns(env, change.schema.as_ref(), held)?);
        lines.extend(mark::encode(shard, mark, millis(env))?.into_iter().map(Line::from));
        lines.extend(change.lines);
        let version = held.map_or(0, |held| held.version + 1);
        if held.is_none_or(|held| !held.txns.contains_key(FIRST)) {
            lines.push(first_load(version, env).into());
        }
        match self.log.create(env, version, lines).await {
            Ok(Created::New) => {}
            // Another's, or an earlier try of ours: the mark tells.
            Ok(Created::Exists) => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Ambiguous => {
                *doubt = true;
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        *doubt = true;
        Ok(self.log.is_current(version).await?.then_some(CommitOutcome::Done))
    }

    /// Tries to commit until it is known what has come of it.
    pub(super) async fn commit_until(
        &self,
        env: &Env,
        request: &CommitRequest<DeltaStaged>,
        memo: &mut Memo,
    ) -> Result<CommitOutcome> {
        let mut doubt = false;
        for _ in 0..ATTEMPTS {
            match self.try_commit(env, request, &mut doubt, memo).await {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(e) if doubt && e.kind() == ErrorKind::Unavailable => {
                    return Err(in_doubt(&request.shard).with_source(e));
                }
                Err(e) => return Err(e),
            }
        }
        if doubt {
            return Err(in_doubt(&request.shard));
        }
        Err(Error::unavailable("commit delta", "others commit to the table all the time").with("shard", &request.shard))
    }

    /// What the history of the table tells of the commit: for people, and for the ledger of loads.
    fn info(&self, env: &Env, request: &CommitRequest<DeltaStaged>, change: &Change) -> Result<Line> {
        let operation = if self.disposition == Disposition::Append { "WRITE" } else { "MERGE" };
        let Counts { inserted, updated, deleted } = change.counts;
        let info = json!({
            "timestamp": millis(env),
            "operation": operation,
            "operationParameters": { "mode": "Append", "disposition": self.disposition.as_str() },
            "operationMetrics": {
                "numOutputRows": (inserted + updated).to_string(),
                "numTargetRowsInserted": inserted.to_string(),
                "numTargetRowsUpdated": updated.to_string(),
                "numTargetRowsDeleted": deleted.to_string(),
            },
            "isBlindAppend": !change.rewrites,
            "engineInfo": concat!("landfall/", env!("CARGO_PKG_VERSION")),
            "landfall": Load::of(request, &self.disposition, change.counts),
        });
        Ok(Line { commit_info: Some(info), ..Line::default() })
    }
}

/// Tells the ledger where to begin.
fn first_load(version: u64, env: &Env) -> Txn {
    let version = i64::try_from(version).unwrap_or(i64::MAX);
    Txn { app_id: FIRST.to_owned(), version, last_updated: Some(millis(env)) }
}

/// How rows are told apart that are merged into those of the table.
pub(super) fn rule(disposition: &Disposition) -> Option<Rule> {
    let (deleted, first_stays) = match disposition {
        Disposition::Upsert(upsert) => (upsert.deleted.clone(), false),
        Disposition::InsertOnly(_) => (None, true),
        _ => return None,
    };
    let newest = disposition.newest().map(str::to_owned);
    Some(Rule { key: disposition.key().to_vec(), newest, deleted, first_stays })
}
fn in_doubt(shard: &ShardKey) -> Error {
    Error::new(ErrorKind::Ambiguous, "commit delta", "it is not known whether the epoch was committed")
        .with("shard", shard)
}
