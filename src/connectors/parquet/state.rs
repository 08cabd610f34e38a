//! The files of a shard as commits and compactions have them.

use super::commit::DatasetCommit;
use super::compaction::{DatasetCompaction, Replacement};
use super::log::Folder;
use crate::columnar::files::DataFile;
use crate::error::{Error, Result};
use crate::model::ShardKey;
use std::collections::HashMap;

/// What is known of a shard at one moment.
#[derive(Clone, Debug)]
pub(super) struct ShardState {
    pub(super) commits: Vec<DatasetCommit>,
    pub(super) compactions: Vec<DatasetCompaction>,
}

impl ShardState {
    /// Reads everything of a shard of which commit `last` exists.
    ///
    /// Compactions first: what they stand for was committed before, and is read then. The other way round a part of an epoch
    /// could be seen, of one that was committed in between.
    pub(super) async fn read(folder: &Folder, shard: &ShardKey, last: u64) -> Result<Self> {
        let compactions = folder.compactions(shard, 0).await?;
        let mut commits = Vec::new();
        for sequence in 1.. {
            match folder.read(shard, sequence).await? {
                Some(commit) => commits.push(commit),
                None if sequence <= last => return Err(folder.gone(shard, sequence)),
                None => break,
            }
        }
        Ok(Self { commits, compactions })
    }

    /// The files after the first `compactions` of the compactions, in the order of their rows; each with the number of a commit,
    /// in [`commits`](Self::commits), that split its rows.
    pub(super) fn files_after(&self, compactions: usize) -> Result<Vec<(DataFile, usize)>> {
        let numbered = self.commits.iter().enumerate();
        let mut files: Vec<_> = numbered.flat_map(|(n, c)| c.files.iter().map(move |f| (f.clone(), n))).collect();
        for compaction in self.compactions.iter().take(compactions) {
            files = apply(files, &compaction.groups).map_err(|e| e.with("number", compaction.number))?;
        }
        Ok(files)
    }

    /// The files now.
    pub(super) fn files(&self) -> Result<Vec<(DataFile, usize)>> {
        self.files_after(self.compactions.len())
    }

    /// The number of the newest compaction, or 0.
    pub(super) fn newest_compaction(&self) -> u64 {
        self.compactions.last().map_or(0, |c| c.number)
    }
}

/// The files of a shard, by the numbers of their commits, as far as they were read: enough to put them together.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    pub(super) files: Vec<(DataFile, u64)>,
    /// The newest commit that was read, or 0.
    pub(super) sequence: u64,
    /// The newest compaction that was read, or 0.
    pub(super) compaction: u64,
}

impl Files {
    /// Reads what has come since; in the same order as [`ShardState::read`]. After an error it is of no use.
    pub(super) async fn advance(&mut self, folder: &Folder, shard: &ShardKey) -> Result<()> {
        let compactions = folder.compactions(shard, self.compaction).await?;
        while let Some(commit) = folder.read(shard, self.sequence + 1).await? {
            self.sequence = commit.sequence;
            self.files.extend(commit.files.into_iter().map(|file| (file, commit.sequence)));
        }
        for compaction in compactions {
            let files = std::mem::take(&mut self.files);
            self.files = apply(files, &compaction.groups).map_err(|e| e.with("number", compaction.number))?;
            self.compaction = compaction.number;
        }
        Ok(())
    }
}

/// `files` with some of them in the place of others.
fn apply<N: Copy>(files: Vec<(DataFile, N)>, groups: &[Replacement]) -> Result<Vec<(DataFile, N)>> {
    let broken = |message| Error::corrupt("read dataset", message);
    let mut of = HashMap::new();
    for (number, group) in groups.iter().enumerate() {
        of.extend(group.replaces.iter().map(|name| (name.as_str(), number)));
    }
    let named: usize = groups.iter().map(|group| group.replaces.len()).sum();
    if named != of.len() {
        return Err(broken("a compaction replaces a file twice"));
    }
    let mut rows = vec![None::<u64>; groups.len()];
    let mut after = Vec::with_capacity(files.len());
    let mut replaced = 0;
    for (file, commit) in files {
        let Some(group) = of.get(file.path.as_str()).copied() else {
            after.push((file, commit));
            continue;
        };
        replaced += 1;
        let Some(rows) = rows.get_mut(group) else { continue };
        if rows.is_none() {
            let files = groups.get(group).map_or(&[][..], |group| &group.files);
            after.extend(files.iter().map(|file| (file.clone(), commit)));
        }
        *rows = Some(rows.unwrap_or(0) + file.rows);
    }
    if replaced != named {
        return Err(broken("a compaction replaces a file that is not there"));
    }
    let same = |(group, rows): (&Replacement, &Option<u64>)| {
        *rows == Some(group.files.iter().map(|file| file.rows).sum::<u64>())
    };
    if !groups.iter().zip(&rows).all(same) {
        return Err(broken("a compaction has other rows than what it replaces"));
    }
    Ok(after)
}
