//! A connector crate as an outsider would write it: a source, a stage, a sink and a checkpoint store of its own, with
//! public items only. If this needs something private, the contracts are not enough.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod checkpoints;
mod sink;
mod source;
mod stage;

use landfall::pipeline::Pipeline;

#[tokio::test]
async fn an_outside_connector_is_exactly_once_like_the_built_in_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = source::Log::new(&["3", "1", "x", "2", "3"]);
    let ledger = sink::Ledger::default();
    let pipeline = |log: &source::Log| {
        Pipeline::named("outside")
            .source(log.clone())
            .stage(stage::Parse)
            .sink(ledger.clone())
            .checkpoints(checkpoints::Folder::new(folder.path()))
            .build()
            .expect("complete")
    };
    let report = pipeline(&log).run().await.expect("no faults");
    assert_eq!(ledger.sum(), 9);
    assert_eq!(report.ledger.filtered(), 1);
    // A second run goes on where the first one stood, and loads only what is new.
    let grown = log.with("40");
    let report = pipeline(&grown).run().await.expect("no faults");
    assert_eq!(report.ledger.read, 1);
    assert_eq!(ledger.sum(), 49);
}

/// Each call of the sink and of the checkpoint store fails in every way, singly and in pairs.
#[cfg(feature = "testkit")]
mod schedules {
    use super::{checkpoints, sink, source, stage};
    use landfall::pipeline::Pipeline;
    use landfall::testkit::{FaultCheckpoints, FaultSink, FaultSource, Faults, Schedules, Verdict, World, test_env};
    use landfall::{Result, async_trait};
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Outside {
        folder: tempfile::TempDir,
        ledger: sink::Ledger,
        processes: AtomicU64,
    }

    impl Outside {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            Self { folder, ledger: sink::Ledger::default(), processes: AtomicU64::new(1) }
        }
    }

    #[async_trait]
    impl World for Outside {
        async fn process(&self, faults: &Faults) -> Result<()> {
            let log = source::Log::new(&["3", "1", "x", "2"]);
            let checkpoints = checkpoints::Folder::new(self.folder.path());
            let pipeline = Pipeline::named("outside")
                .source(FaultSource::new(log, faults))
                .stage(stage::Parse)
                .sink(FaultSink::new(self.ledger.clone(), faults))
                .checkpoints(FaultCheckpoints::new(checkpoints, faults))
                .env(test_env(self.processes.fetch_add(1, Ordering::SeqCst)))
                .build()?;
            pipeline.run().await?;
            Ok(())
        }

        async fn verdict(&self) -> Verdict {
            match self.ledger.sum() {
                6 => Verdict::default(),
                sum => Verdict::wrong(format!("the numbers add up to {sum}, not to 6")),
            }
        }

        async fn watch(&self) -> Verdict {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn an_outside_connector_survives_a_fault_at_every_operation() {
        let outcome = Schedules::of(Outside::new).pairs(30).run().await;
        assert!(outcome.points > 10, "{outcome}");
        outcome.assert_right();
    }
}
