//! On a real file system, with real threads.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_beside_a_writer_see_whole_epochs() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let store = Store::local(folder.path()).expect("opens");
    let (done, reading) = (Arc::new(AtomicBool::new(false)), store.clone());
    let ended = Arc::clone(&done);
    let reader = tokio::spawn(async move {
        let mut seen = 0;
        while !ended.load(Ordering::SeqCst) {
            let snapshot = snapshot(&reading).await;
            let epochs = snapshot.epochs().count() as i64;
            assert!(epochs >= seen, "epochs were seen and are gone");
            seen = epochs;
            assert_eq!(followed_in(&snapshot).await, (0..epochs * 30).collect::<Vec<_>>());
        }
    });
    for epoch in 1..=15 {
        // A new process each time.
        let owner = dataset(&store).lanes(2).partition_by(["country"]).expect("valid");
        let context = EpochContext { env: Env::system(), ..context(epoch, epoch) };
        let mut writer = owner.open(context).await.expect("opens");
        let first = (epoch as i64 - 1) * 30;
        for ids in [first..first + 10, first + 10..first + 30] {
            writer.write(Batch::new(rows(ids))).await.expect("writes");
        }
        let staged = writer.finish().await.expect("finishes").expect("some").staged;
        let outcome = commit(&owner, epoch, epoch, (epoch > 1).then(|| epoch - 1), &staged).await;
        assert_eq!(outcome.expect("commits"), CommitOutcome::Done);
        owner.collect(&shard(), epoch, &[]).await.expect("collects");
    }
    done.store(true, Ordering::SeqCst);
    reader.await.expect("the reader saw nothing wrong");
    assert_eq!(listed(&store).await, (0..450).collect::<Vec<_>>());
    assert!(folder.path().join(PREFIX).join("country=c0").is_dir());
}
