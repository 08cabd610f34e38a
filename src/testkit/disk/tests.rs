use super::*;
use crate::store::ObjectPath;
use crate::testkit::test_env;
use bytes::Bytes;
use std::collections::BTreeSet;
use tempfile::TempDir;

fn path(name: &str) -> ObjectPath {
    ObjectPath::parse(name).expect("a valid name")
}

fn disk(lie: Option<Lie>) -> (SimDisk, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = SimDisk::open(&folder.path().join("disk"), lie).expect("a disk");
    (disk, folder)
}

/// What of `name` is there in each of many losses of power at the end.
async fn losses(disk: &SimDisk, folder: &TempDir, name: &str) -> BTreeSet<Option<Bytes>> {
    let mut found = BTreeSet::new();
    for seed in 0..200 {
        let after = disk.power_loss(disk.calls(), seed, folder.path().join(seed.to_string())).expect("a disk");
        found.insert(after.store(&test_env(2)).expect("open").get(&path(name), None).await.expect("get"));
    }
    found
}

#[tokio::test]
async fn what_is_acknowledged_is_there_unless_the_disk_lies() {
    let long = Bytes::from(vec![7; 1_500]);
    for lie in [None, Some(Lie::Files), Some(Lie::Folders)] {
        let (disk, folder) = disk(lie);
        disk.store(&test_env(1)).expect("open").put(&path("a/b"), long.clone()).await.expect("put");
        let found = losses(&disk, &folder, "a/b").await;
        assert!(found.contains(&Some(long.clone())), "{lie:?}");
        match lie {
            None => assert_eq!(found.len(), 1),
            Some(Lie::Folders) => assert!(found.contains(&None)),
            Some(Lie::Files) => {
                let torn = |bytes: &Bytes| bytes.starts_with(&[7; 512]) && bytes.get(512..1_024) == Some(&[0; 512]);
                assert!(found.iter().flatten().any(torn), "one sector of two is there");
                assert!(found.iter().flatten().any(|bytes| bytes.len() % 512 != 0 && bytes.len() < 1_500));
            }
        }
    }
}

#[tokio::test]
async fn a_name_that_changed_may_be_the_old_one_or_both() {
    let (disk, folder) = disk(None);
    let store = disk.store(&test_env(1)).expect("open");
    for name in ["a/from", "b/other"] {
        store.put(&path(name), "1".into()).await.expect("put");
    }
    RealDisk.create_folder(&disk.folder().join("c")).expect("not a call");
    let (from, to) = (disk.folder().join("a/from"), disk.folder().join("b/to"));
    Disk::rename(&disk, &from, &to).expect("renamed");
    let mut found = BTreeSet::new();
    for seed in 0..200 {
        let after = disk.power_loss(disk.calls(), seed, folder.path().join(seed.to_string())).expect("a disk");
        found.insert(["a/from", "b/to"].map(|name| after.folder().join(name).exists()));
    }
    assert_eq!(found.len(), 4, "{found:?}");
}

#[tokio::test]
async fn a_moment_and_a_seed_give_one_disk_and_a_later_loss_begins_there() {
    let (disk, folder) = disk(Some(Lie::Folders));
    let store = disk.store(&test_env(1)).expect("open");
    for number in 0..8 {
        store.put(&path(&format!("{number}/x")), "1".into()).await.expect("put");
    }
    let lost = |name: &str, seed| disk.power_loss(disk.calls() - 3, seed, folder.path().join(name)).expect("a disk");
    let names = |disk: &SimDisk| Medium::read(disk.folder()).map(|medium| format!("{medium:?}")).expect("readable");
    assert_eq!(names(&lost("one", 5)), names(&lost("two", 5)));
    let seeds: BTreeSet<String> = (0..20).map(|seed| names(&lost(&format!("seed {seed}"), seed))).collect();
    assert!(seeds.len() > 5);
    let (first, again) = (lost("first", 7), folder.path().join("again"));
    assert_eq!(names(&first), names(&first.power_loss(0, 1, again).expect("a disk")), "it is all on the medium");
}
