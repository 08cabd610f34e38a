use super::denied;
use crate::error::Result;
use crate::model::Timestamp;
use crate::store::{Created, ObjectAccess, ObjectInfo, ObjectPath, Store, Upload};
use crate::testkit::Faults;
use crate::testkit::conformance::store;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::task::yield_now;

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    PutsInParts,
    UploadsInSight,
    Overwrites,
    LooksThenCreates,
    PutsOnce,
    ListsByPrefix,
    ListsInAnyOrder,
    LosesShortWrites,
    TakesEmptyForNone,
    IgnoresRanges,
    DecodesNames,
    CopiesWhatIsRenamed,
    RenamesWhatIsNotThere,
    CopiesThenDeletes,
    DeletesNothing,
    DeniesDoubt,
    PromisesWhatFailed,
}

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

#[derive(Clone, Debug)]
struct Broken {
    defect: Defect,
    objects: Objects,
}

impl Broken {
    fn with(defect: Defect) -> Store {
        Store::new(Self { defect, objects: Arc::default() })
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().expect("no panic under the lock")
    }

    fn name(&self, path: &ObjectPath) -> String {
        let name = path.to_string();
        if self.defect == Defect::DecodesNames { name.replace("%2F", "-") } else { name }
    }

    async fn write(&self, path: &ObjectPath, bytes: Bytes) {
        let name = self.name(path);
        if self.defect == Defect::PutsInParts {
            self.objects().insert(name.clone(), bytes.slice(..bytes.len() / 2));
            yield_now().await;
        }
        self.objects().insert(name, bytes);
    }
}

#[async_trait]
impl ObjectAccess for Broken {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        let exists = self.objects().contains_key(&self.name(path));
        if self.defect == Defect::LooksThenCreates {
            yield_now().await;
        }
        if exists && self.defect != Defect::Overwrites {
            return Ok(Created::Exists);
        }
        self.objects().insert(self.name(path), bytes);
        Ok(Created::New)
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        let exists = self.objects().contains_key(&self.name(path));
        if !(exists && self.defect == Defect::PutsOnce) {
            self.write(path, bytes).await;
        }
        Ok(())
    }

    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        Ok(Box::new(Uploading { store: self.clone(), path: path.clone(), bytes: Vec::new() }))
    }

    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        let found = self.objects().get(&self.name(path)).cloned();
        let found = found.filter(|bytes| !(bytes.is_empty() && self.defect == Defect::TakesEmptyForNone));
        let range = range.filter(|_| self.defect != Defect::IgnoresRanges);
        Ok(found.map(|bytes| match range {
            None => bytes,
            Some(range) => {
                let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                bytes.slice(within(range.start)..within(range.end))
            }
        }))
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        let folder = match prefix.as_str() {
            "" => String::new(),
            name if self.defect == Defect::ListsByPrefix => name.to_owned(),
            name => format!("{name}/"),
        };
        let objects = self.objects();
        let listed = objects.iter().filter(|(name, _)| name.starts_with(&folder));
        let mut listed: Vec<_> = listed
            .map(|(name, bytes)| ObjectInfo {
                path: ObjectPath::parse(name).expect("a name"),
                size: bytes.len() as u64,
                modified: Timestamp::from_micros(1),
            })
            .collect();
        if self.defect == Defect::ListsInAnyOrder {
            listed.reverse();
        }
        Ok(listed)
    }

    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        let (from, to) = (self.name(from), self.name(to));
        let Some(bytes) = self.objects().get(&from).cloned() else {
            return Ok(self.defect == Defect::RenamesWhatIsNotThere);
        };
        self.objects().insert(to.clone(), bytes);
        let deletes = from != to || self.defect == Defect::CopiesThenDeletes;
        if deletes && self.defect != Defect::CopiesWhatIsRenamed {
            self.objects().remove(&from);
        }
        Ok(true)
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        if self.defect != Defect::DeletesNothing {
            self.objects().remove(&self.name(path));
        }
        Ok(())
    }
}

struct Uploading {
    store: Broken,
    path: ObjectPath,
    bytes: Vec<u8>,
}

#[async_trait]
impl Upload for Uploading {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if !(bytes.len() == 1 && self.store.defect == Defect::LosesShortWrites) {
            self.bytes.extend(&bytes);
        }
        if self.store.defect == Defect::UploadsInSight {
            self.store.write(&self.path, self.bytes.clone().into()).await;
            yield_now().await;
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        let Self { store, path, bytes } = *self;
        let size = bytes.len() as u64;
        store.write(&path, bytes.into()).await;
        Ok(size)
    }
}

/// A client of a store that takes an answer for another one.
#[derive(Debug)]
struct Mishears {
    defect: Defect,
    store: Store,
}

impl Mishears {
    fn hears<T>(&self, answer: Result<T>, good: T) -> Result<T> {
        match self.defect {
            Defect::DeniesDoubt => denied(answer),
            Defect::PromisesWhatFailed => answer.or(Ok(good)),
            _ => answer,
        }
    }
}

#[async_trait]
impl ObjectAccess for Mishears {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        self.hears(self.store.create(path, bytes).await, Created::New)
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        self.hears(self.store.put(path, bytes).await, ())
    }

    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        self.store.upload(path).await
    }

    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        self.store.get(path, range).await
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        self.store.list(prefix).await
    }

    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        self.hears(self.store.rename(from, to).await, true)
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.hears(self.store.delete(path).await, ())
    }
}

macro_rules! run {
    (doubt_is_told, $defect:expr) => {
        async {
            let store = Broken::with(Defect::None);
            let reached =
                async |faults: &Faults| (Store::new(Mishears { defect: $defect, store: faults.store(&store) }), ());
            store::doubt_is_told(&store, reached).await
        }
    };
    ($check:ident, $defect:expr) => {
        async { store::$check(&Broken::with($defect)).await }
    };
}

caught! { run:
    g2_a_read_during_puts_sees_whole_objects by PutsInParts;
    g2_an_upload_is_seen_when_it_is_finished by UploadsInSight;
    g2_a_dropped_upload_leaves_nothing by UploadsInSight;
    g2_a_write_that_is_dropped_is_whole_or_nothing by PutsInParts, UploadsInSight;
    g3_a_create_answers_new_then_exists_and_the_first_stays by Overwrites;
    g3_one_of_sixteen_concurrent_creates_wins by LooksThenCreates;
    g4_a_put_replaces by PutsOnce;
    g5_a_list_is_in_order_and_of_one_folder by ListsByPrefix, ListsInAnyOrder;
    an_upload_keeps_every_byte by LosesShortWrites;
    empty_objects_are_objects by TakesEmptyForNone;
    a_get_answers_the_range_that_there_is by IgnoresRanges;
    names_keep_their_characters by DecodesNames;
    a_rename_moves_and_replaces by CopiesWhatIsRenamed;
    a_rename_of_nothing_changes_nothing by RenamesWhatIsNotThere;
    a_rename_onto_itself_keeps_the_object by CopiesThenDeletes;
    a_delete_is_seen_and_may_come_twice by DeletesNothing;
    doubt_is_told by DeniesDoubt, PromisesWhatFailed;
    the_probe_accepts_it by Overwrites;
}
