use crate::support::{Script, World};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tracing::span::{Attributes, Id};
use tracing::subscriber::Subscriber;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// Counters by name and labels, but for the pipeline's.
fn counted(recorder: &DebuggingRecorder) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let labels = key.key().labels().filter(|l| l.key() != "pipeline").map(|l| l.value().to_owned());
        let name = [key.key().name().to_owned()].into_iter().chain(labels).collect::<Vec<_>>().join(" ");
        if let DebugValue::Counter(n) = value {
            counters.insert(name, n);
        }
    }
    counters
}

/// Notes each span with those that it lies in.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<BTreeSet<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let names: Vec<_> = context.span_scope(id).into_iter().flat_map(|s| s.from_root()).map(|s| s.name()).collect();
        self.0.lock().expect("no panic").insert(names.join(" > "));
    }
}

#[tokio::test]
async fn every_hop_has_a_span_and_counters_that_agree_with_the_ledger() {
    let world = World::new(Script::new(2, 4, 11));
    let (recorder, spans) = (DebuggingRecorder::new(), Spans::default());
    // With a single one, tracing asks the subscriber of whichever thread comes first, and other tests have none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    let guards = (metrics::set_default_local_recorder(&recorder), tracing::subscriber::set_default(subscriber));
    let report = world.pipeline().run().await.expect("no faults");
    drop(guards);

    let ledger = &report.ledger;
    let counters = counted(&recorder);
    for (name, n) in [
        ("landfall_landed_records_total", report.landed.records),
        ("landfall_landed_stored_bytes_total", report.landed.stored_bytes),
        ("landfall_epochs_prepared_total", report.epochs),
        ("landfall_epochs_committed_total", report.epochs),
        ("landfall_records_read_total", ledger.read),
        ("landfall_records_written_total", ledger.written),
        ("landfall_records_staged_total", ledger.staged),
        ("landfall_records_committed_total", ledger.staged),
        ("landfall_records_quarantined_total", ledger.quarantined),
        ("landfall_stage_records_total parse input", ledger.stages[0].input),
        ("landfall_stage_records_total parse quarantined", ledger.stages[0].quarantined),
        ("landfall_stage_records_total once deduplicated", ledger.stages[1].deduplicated),
        ("landfall_stage_records_total once output", ledger.stages[1].output),
        ("landfall_runs_total ok", 1),
    ] {
        assert_eq!(counters.get(name), Some(&n), "{name} in {counters:#?}");
    }
    assert!(counters["landfall_staged_bytes_total"] > 0);

    let spans = spans.0.lock().expect("no panic").clone();
    for span in [
        "run > shard > read",
        "run > shard > append segment",
        "run > shard > stage",
        "run > shard > write",
        "run > shard > stage epoch",
        "run > shard > append checkpoint",
        "run > shard > commit",
        "run > shard > publish quarantine",
        "run > shard > collect",
    ] {
        assert!(spans.contains(span), "{span} in {spans:#?}");
    }

    for name in
        counters.keys().filter_map(|c| c.split(' ').next()).chain(spans.iter().filter_map(|s| s.split(" > ").last()))
    {
        assert!(OPERATIONS.contains(&format!("`{name}`")), "docs/operations.md does not tell of {name}");
    }
}
