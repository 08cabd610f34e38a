//! Small files put together. Rows do not change.

use super::actions::{Add, Line};
use super::log::{Keep, Snapshot};
use super::rewrite::write;
use super::staged::Names;
use super::table::{DeltaTable, millis};
use super::vacuum::barrier;
use super::{file, schema, stats};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Compacted;
use crate::store::Created;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Times that a commit is tried, when others commit at the same time.
const ATTEMPTS: usize = 10;

impl DeltaTable {
    /// Puts small files of a partition together, about one large file in each version; they change no rows. Files of less than half of
    /// [`target_file_bytes`](Self::target_file_bytes) are small. What was read by others before stays until a [`vacuum`](Self::vacuum). A
    /// part beside which a vacuum has begun, or others have written, is left to the next compaction.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint); `Config` if the store ignores conditions; `Unavailable` if others commit all the time; `Ambiguous` if it is not known whether it was
    /// committed: trying again is safe.
    ///
    /// # Cancellation
    /// Dropped, a part is compacted. Files that are left over go with a vacuum.
    pub async fn compact(&self, env: &Env) -> Result<Compacted> {
        let mut report = Compacted::default();
        let Some(mut held) = self.log.newest(None, Keep::Files).await? else { return Ok(report) };
        self.probe(env).await?;
        let mut table = self.clone();
        table.options.partition_by.clone_from(&held.metadata.partition_columns);
        for group in table.small(&held) {
            let barrier = barrier(&held);
            let columns = schema::parse(&held.metadata.schema_string)?;
            let names = Names::of_compaction(env);
            let mut adds = match write(&table, env, names, &group, &columns, &|_, _, rows| Ok(rows), true).await {
                Ok(adds) => adds,
                // Others may have replaced them, and a vacuum deleted them.
                Err(e) if e.kind() == ErrorKind::Corrupt => {
                    held = self.log.newest(Some(held), Keep::Files).await?.ok_or_else(gone)?;
                    if is_in(&held, &group) {
                        return Err(e);
                    }
                    continue;
                }
                Err(e) => return Err(e),
            };
            adds.iter_mut().for_each(|add| add.data_change = false);
            if table.put_together(env, &mut held, &group, &adds, barrier).await? {
                report.add(&group, &adds);
            }
        }
        Ok(report)
    }

    /// Commits one group, whose files were written after barrier `barred`. `false` if others have rewritten a part of it meanwhile, or
    /// may have deleted what was written: it is left to the next compaction.
    async fn put_together(
        &self,
        env: &Env,
        held: &mut Arc<Snapshot>,
        group: &[Add],
        adds: &[Add],
        barred: Option<i64>,
    ) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            if barrier(held) != barred || !is_in(held, group) || !self.are_there(adds).await? {
                return Ok(false);
            }
            let now = millis(env);
            let info = json!({ "timestamp": now, "operation": "OPTIMIZE", "operationParameters": {} });
            let mut lines = vec![Line { commit_info: Some(info), ..Line::default() }];
            lines.extend(group.iter().map(|file| file.removed(false).into()));
            lines.extend(adds.iter().cloned().map(Line::from));
            let created = self.log.create(env, held.version + 1, lines).await? == Created::New;
            *held = self.log.newest(Some(Arc::clone(held)), Keep::Files).await?.ok_or_else(gone)?;
            if created {
                return Ok(true);
            }
        }
        Err(Error::unavailable("compact delta", "others commit to the table all the time"))
    }

    /// Whether files are there: a vacuum of another tool writes no barrier that is known here.
    async fn are_there(&self, adds: &[Add]) -> Result<bool> {
        for add in adds {
            let size = u64::try_from(add.size).unwrap_or_default();
            let path = file::object(&self.log.folder, &add.path)?;
            let last = self.log.store.get(&path, Some(size.saturating_sub(1)..size)).await?;
            if last.is_none_or(|last| last.is_empty()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Groups of small files of one partition, each of about the size of a file.
    fn small(&self, held: &Snapshot) -> Vec<Vec<Add>> {
        let target = i64::try_from(self.options.target_file_bytes).unwrap_or(i64::MAX);
        let mut partitions: BTreeMap<_, Vec<Add>> = BTreeMap::new();
        for file in held.files.values().filter(|file| file.size < target / 2) {
            partitions.entry(file.partition_values.clone()).or_default().push(file.clone());
        }
        let mut groups = Vec::new();
        for files in partitions.into_values() {
            let (mut group, mut size): (Vec<Add>, i64) = (Vec::new(), 0);
            for file in files {
                if size + file.size > target {
                    groups.push(std::mem::take(&mut group));
                    size = 0;
                }
                size += file.size;
                group.push(file);
            }
            groups.push(group);
        }
        groups.retain(|group| group.len() > 1);
        groups
    }
}

fn gone() -> Error {
    Error::corrupt("compact delta", "the table is gone")
}

fn is_in(held: &Snapshot, group: &[Add]) -> bool {
    group.iter().all(|file| held.files.get(&file.path) == Some(file))
}

impl Compacted {
    fn add(&mut self, before: &[Add], after: &[Add]) {
        let size = |files: &[Add]| files.iter().map(|f| u64::try_from(f.size).unwrap_or_default()).sum::<u64>();
        self.files_before += before.len() as u64;
        self.files_after += after.len() as u64;
        self.bytes_before += size(before);
        self.bytes_after += size(after);
        self.rows += after.iter().filter_map(|f| stats::rows(f.stats.as_deref())).sum::<u64>();
    }
}
