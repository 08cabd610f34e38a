//! What nobody needs any more is deleted, and files that stand for others come into view.

use super::dataset::{Layout, ParquetDataset};
use super::log::Folder;
use super::state::ShardState;
use crate::columnar::files::DataFile;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{PipelineName, ShardKey, Timestamp, Vacuumed, Why};
use crate::store::ObjectInfo;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// The shortest time for which what is no longer in use is kept: readers and writers are under way.
const SHORTEST: Duration = Duration::from_secs(3600);

/// What is to be known of a shard.
struct Plan {
    state: ShardState,
    /// How many of its compactions are so old that nobody reads what they replaced.
    settled: usize,
    /// The staged and published names of files, and what is to become of them.
    names: HashMap<String, Why>,
    /// The staged names of files that stand for others, by the published ones.
    staged: HashMap<String, String>,
    /// Files that stand for others for so long that those who list the folder are to see them.
    visible: HashMap<String, DataFile>,
}

impl ParquetDataset {
    /// Deletes what nobody needs: files that others have stood for (see [`compact`](Self::compact)) for `older_than`, at least an hour, and
    /// files that were staged before that and can never be committed. Never what an epoch may still commit, nor what is in use. With
    /// `dry_run` it only says what it would do.
    ///
    /// Readers that list the folder see the new files from now on in the place of the old ones: first the old ones of a group go, then
    /// the new ones come, so that no row is seen twice; in between, or after a crash until the next vacuum, they miss rows. Readers that
    /// follow the commits notice nothing. A [`Snapshot`](super::Snapshot) older than `older_than` may not find its files any more.
    ///
    /// # Errors
    /// `Config` if `older_than` is too short; `Corrupt` if a file that stands for others is gone or damaged: then nothing of its shard is
    /// deleted. Those of the store.
    ///
    /// # Cancellation
    /// Dropped, it has done a part; the next one goes on.
    pub async fn vacuum(&self, env: &Env, older_than: Duration, dry_run: bool) -> Result<Vacuumed> {
        if older_than < SHORTEST {
            return Err(Error::config(
                "vacuum dataset",
                "files must be kept for an hour at least, for those that read them",
            ));
        }
        // Listed first and read then: what is committed meanwhile is seen.
        let listed = self.folder.store.list(&self.folder.prefix).await?;
        let cutoff = env.now().saturating_sub(older_than);
        let mut plans = BTreeMap::new();
        for (shard, last) in self.folder.shards().await? {
            let mut plan = Plan::new(ShardState::read(&self.folder, &shard, last).await?, cutoff)?;
            let stray = |object: &ObjectInfo| {
                let name = self.folder.below(object);
                name.is_some_and(|name| compacted_for(name).as_ref() == Some(&shard) && !plan.names.contains_key(name))
                    && object.modified < cutoff
            };
            if !dry_run && listed.iter().any(stray) {
                // Who has staged it may not have recorded it yet.
                self.folder.bar(env, &shard, plan.state.newest_compaction()).await?;
                plan = Plan::new(ShardState::read(&self.folder, &shard, last).await?, cutoff)?;
            }
            plans.insert(shard, plan);
        }
        let mut report = Vacuumed::new(dry_run);
        let mut doomed = HashMap::new();
        for object in &listed {
            let Some(name) = self.folder.below(object) else { continue };
            if ["_commits/", "_compactions/"].iter().any(|log| name.starts_with(log)) {
                continue;
            }
            match why(name, object, &plans, cutoff) {
                why @ (Why::Replaced | Why::Lost) => drop(doomed.insert(name.to_owned(), (object, why))),
                why => report.keep(object.size, why),
            }
        }
        let present: HashSet<_> = listed.iter().filter_map(|object| self.folder.below(object)).collect();
        for plan in plans.values() {
            self.settle(plan, &present, &mut doomed, &mut report).await?;
        }
        let mut rest: Vec<_> = doomed.into_iter().collect();
        rest.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (name, (object, why)) in rest {
            self.delete(name, object, why, &mut report).await?;
        }
        Ok(report)
    }

    /// Takes away what was replaced, group by group, and lets those see what stands for it who list the folder.
    async fn settle(
        &self,
        plan: &Plan,
        present: &HashSet<&str>,
        doomed: &mut HashMap<String, (&ObjectInfo, Why)>,
        report: &mut Vacuumed,
    ) -> Result<()> {
        let groups = || plan.state.compactions.iter().take(plan.settled).flat_map(|compaction| &compaction.groups);
        let is_doomed = |name: &String| doomed.contains_key(name) || doomed.contains_key(plan.staged_name(name));
        if groups().flat_map(|group| &group.replaces).any(is_doomed) {
            // Before the first is deleted: what stands for it is there.
            for (file, _) in plan.state.files()? {
                if plan.staged.contains_key(&file.path) {
                    self.folder.verify_compacted(&file).await?;
                }
            }
        }
        for group in groups() {
            for name in &group.replaces {
                self.take_away(plan.staged_name(name), name, doomed, report).await?;
            }
            for file in group.files.iter().filter_map(|file| plan.visible.get(&file.path)) {
                if !report.dry_run && present.contains(file.staged.as_str()) {
                    self.show(plan, file, present).await?;
                }
            }
        }
        Ok(())
    }

    /// Deletes a file under both of its names, whichever was listed: another vacuum may be about to give it the published one, and
    /// cannot once the staged one is gone.
    async fn take_away(
        &self,
        staged: &str,
        published: &str,
        doomed: &mut HashMap<String, (&ObjectInfo, Why)>,
        report: &mut Vacuumed,
    ) -> Result<()> {
        let listed = [staged, published].map(|name| doomed.remove(name));
        if listed.iter().all(Option::is_none) {
            return Ok(());
        }
        for (name, listed) in [staged, published].into_iter().zip(listed) {
            if !report.dry_run {
                self.folder.store.delete(&self.folder.prefix.join(name)?).await?;
            }
            if let Some((object, why)) = listed {
                report.delete(name.to_owned(), object.size, why);
            }
        }
        Ok(())
    }

    /// Brings a file into view that stands for others.
    async fn show(&self, plan: &Plan, file: &DataFile, present: &HashSet<&str>) -> Result<()> {
        match self.folder.publish_one(file).await {
            // It is replaced itself, and a vacuum that keeps things for a shorter time has taken it away meanwhile.
            Err(e) if e.kind() == ErrorKind::Corrupt && plan.names.get(&file.path) != Some(&Why::InUse) => Ok(()),
            // A crash has left it under both names.
            Ok(()) if present.contains(file.path.as_str()) => {
                self.folder.store.delete(&self.folder.prefix.join(&file.staged)?).await
            }
            other => other,
        }
    }

    async fn delete(&self, name: String, object: &ObjectInfo, why: Why, report: &mut Vacuumed) -> Result<()> {
        if !report.dry_run {
            self.folder.store.delete(&object.path).await?;
        }
        report.delete(name, object.size, why);
        Ok(())
    }
}

impl Plan {
    fn new(state: ShardState, cutoff: Timestamp) -> Result<Self> {
        let settled = state.compactions.iter().take_while(|compaction| compaction.compacted_at < cutoff).count();
        let mut names = HashMap::new();
        let (mut visible, mut staged) = (HashMap::new(), HashMap::new());
        // Whatever was replaced, and then, what is in use at the end and what those see who list the folder.
        for (number, compaction) in state.compactions.iter().enumerate() {
            let why = if number < settled { Why::Replaced } else { Why::Recent };
            for group in &compaction.groups {
                names.extend(group.replaces.iter().map(|name| (name.clone(), why)));
            }
        }
        let made = || state.compactions.iter().flat_map(|c| &c.groups).flat_map(|group| &group.files);
        for file in made() {
            let why = names.get(&file.path).copied().unwrap_or(Why::InUse);
            names.insert(file.staged.clone(), why);
            staged.insert(file.path.clone(), file.staged.clone());
        }
        for (file, _) in state.files()? {
            names.extend([(file.path, Why::InUse), (file.staged, Why::InUse)]);
        }
        for (file, _) in state.files_after(settled)? {
            visible.insert(file.path.clone(), file);
        }
        Ok(Self { state, settled, names, staged, visible })
    }

    /// The staged name of a file that a compaction has made; that of another is its own.
    fn staged_name<'a>(&'a self, path: &'a str) -> &'a str {
        self.staged.get(path).map_or(path, String::as_str)
    }
}

/// What is to become of an object.
fn why(name: &str, object: &ObjectInfo, plans: &BTreeMap<ShardKey, Plan>, cutoff: Timestamp) -> Why {
    let unused = if object.modified < cutoff { Why::Lost } else { Why::Recent };
    if let Some((shard, epoch)) = Layout::staged_for(name) {
        let newest = plans.get(&shard).and_then(|plan| plan.state.commits.last());
        return match newest {
            Some(newest) if newest.files.iter().any(|file| file.staged == name) => Why::InUse,
            // The mark never goes back: an epoch at or before it is committed, or never will be.
            Some(newest) if epoch <= newest.mark.epoch => unused,
            _ => Why::Uncommitted,
        };
    }
    if let Some(shard) = compacted_for(name) {
        let Some(plan) = plans.get(&shard) else { return Why::Foreign };
        return plan.names.get(name).copied().unwrap_or(unused);
    }
    plans.values().find_map(|plan| plan.names.get(name).copied()).unwrap_or(Why::Foreign)
}

/// The shard in the staged name of a file that stands for others.
fn compacted_for(name: &str) -> Option<ShardKey> {
    let mut parts = name.strip_prefix("_compacted/")?.split('/');
    let (pipeline, shard) = (parts.next()?, parts.next()?);
    Some(ShardKey { pipeline: PipelineName::new(pipeline).ok()?, shard: shard.parse().ok()? })
}

impl Folder {
    /// The name of an object below the folder.
    fn below<'a>(&self, object: &'a ObjectInfo) -> Option<&'a str> {
        Some(object.path.as_str().strip_prefix(self.prefix.as_str())?.trim_start_matches('/'))
    }

    /// Fails if a file is there under neither of its names, or is another one.
    async fn verify_compacted(&self, file: &DataFile) -> Result<()> {
        for name in [&file.path, &file.staged, &file.path] {
            if self.is_there(&self.prefix.join(name)?, file).await? {
                return Ok(());
            }
        }
        Err(Error::corrupt("vacuum dataset", "a file that stands for others is gone; nothing was deleted")
            .with("file", &file.path)
            .with_hint("restore the file from a copy"))
    }
}
