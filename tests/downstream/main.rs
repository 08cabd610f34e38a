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
