use super::Lie;
use crate::env::Entropy;
use crate::testkit::SeededEntropy;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a disk writes as a whole, or not at all.
const SECTOR: usize = 512;

/// A call that changes the disk, with paths below its root.
#[derive(Clone, Debug)]
pub(super) enum Call {
    CreateFolder(PathBuf),
    CreateFile(PathBuf),
    Write(PathBuf, Vec<u8>),
    SyncFile(PathBuf),
    SyncFolder(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// What is on a disk and in its cache.
#[derive(Clone, Debug, Default)]
pub(super) struct Medium {
    files: Vec<Content>,
    /// As processes see them.
    names: Names,
    synced: Names,
    /// Changes of names that no sync of their folder has followed, in their order.
    pending: Vec<Change>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// How many of them are synced.
    synced: usize,
}

/// Each name of a file, by its number, or of a folder.
type Names = BTreeMap<PathBuf, Option<usize>>;

/// A change in one folder.
#[derive(Clone, Debug)]
struct Change {
    folder: PathBuf,
    removed: Option<PathBuf>,
    added: Option<(PathBuf, Option<usize>)>,
}

impl Change {
    fn apply(self, names: &mut Names) {
        self.removed.map(|name| names.remove(&name));
        names.extend(self.added);
    }
}

impl Medium {
    /// What lies in `root`, synced.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut medium = Self::default();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(root.join(&folder))? {
                let entry = entry?;
                let name = folder.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    medium.names.insert(name.clone(), None);
                    folders.push(name);
                } else {
                    let bytes = fs::read(entry.path())?;
                    medium.names.insert(name, Some(medium.files.len()));
                    medium.files.push(Content { synced: bytes.len(), bytes });
                }
            }
        }
        medium.synced.clone_from(&medium.names);
        Ok(medium)
    }

    /// Puts all that processes see into `root`.
    pub(super) fn write(&self, root: &Path) -> io::Result<()> {
        // Folders come before what lies in them.
        self.names.iter().try_for_each(|(name, file)| match file.and_then(|file| self.files.get(file)) {
            Some(content) => fs::write(root.join(name), &content.bytes),
            None => fs::create_dir(root.join(name)),
        })
    }

    pub(super) fn apply(&mut self, call: &Call, lie: Option<Lie>) {
        match call {
            Call::CreateFolder(path) => self.change(None, Some((path.clone(), None))),
            Call::CreateFile(path) => {
                self.change(None, Some((path.clone(), Some(self.files.len()))));
                self.files.push(Content::default());
            }
            Call::Write(path, bytes) => {
                if let Some(content) = self.content(path) {
                    content.bytes.extend_from_slice(bytes);
                }
            }
            Call::SyncFile(path) => {
                if let Some(content) = self.content(path).filter(|_| lie != Some(Lie::Files)) {
                    content.synced = content.bytes.len();
                }
            }
            Call::SyncFolder(folder) => {
                if lie != Some(Lie::Folders) {
                    let pending = std::mem::take(&mut self.pending).into_iter();
                    let (here, elsewhere): (Vec<_>, Vec<_>) = pending.partition(|change| change.folder == *folder);
                    self.pending = elsewhere;
                    here.into_iter().for_each(|change| change.apply(&mut self.synced));
                }
            }
            Call::Rename(from, to) => {
                let file = self.names.get(from).copied().flatten();
                self.change(Some(from.clone()), Some((to.clone(), file)));
            }
            Call::Remove(path) => self.change(Some(path.clone()), None),
        }
    }

    fn content(&mut self, path: &Path) -> Option<&mut Content> {
        let file = self.names.get(path).copied().flatten()?;
        self.files.get_mut(file)
    }

    /// A name goes and a name comes: one change if they are in one folder, two if they are not.
    fn change(&mut self, removed: Option<PathBuf>, added: Option<(PathBuf, Option<usize>)>) {
        let folder = |name: &Path| name.parent().map(Path::to_owned).unwrap_or_default();
        let (left, entered) = (removed.as_deref().map(folder), added.as_ref().map(|(name, _)| folder(name)));
        let changes = match (left, entered) {
            (Some(left), Some(entered)) if left != entered => {
                vec![Change { folder: entered, removed: None, added }, Change { folder: left, removed, added: None }]
            }
            (Some(folder), _) | (None, Some(folder)) => vec![Change { folder, removed, added }],
            (None, None) => return,
        };
        for change in changes {
            change.clone().apply(&mut self.names);
            self.pending.push(change);
        }
    }

    /// Keeps what was synced, and of the rest what `seed` says.
    pub(super) fn lose_power(&mut self, seed: u64) {
        let chance = SeededEntropy::new(seed);
        // From a loss of everything to a loss of nothing.
        let kept = chance.next_u64() % 5;
        let keeps = || chance.next_u64() % 4 < kept;
        for change in std::mem::take(&mut self.pending) {
            if keeps() {
                change.apply(&mut self.synced);
            }
        }
        let reachable = |path: &Path, names: &Names| {
            path.ancestors().skip(1).all(|above| above == Path::new("") || names.get(above) == Some(&None))
        };
        self.names = self
            .synced
            .iter()
            .filter(|(path, _)| reachable(path, &self.synced))
            .map(|(p, f)| (p.clone(), *f))
            .collect();
        self.synced.clone_from(&self.names);
        for Content { bytes, synced } in &mut self.files {
            if !keeps() {
                let unsynced = (bytes.len() - *synced) as u64;
                bytes.truncate(*synced + usize::try_from(chance.next_u64() % (unsynced + 1)).unwrap_or(0));
            }
            let mut at = *synced;
            while at < bytes.len() {
                let end = (at - at % SECTOR + SECTOR).min(bytes.len());
                if !keeps() {
                    bytes[at..end].fill(0);
                }
                at = end;
            }
            *synced = bytes.len();
        }
    }
}
