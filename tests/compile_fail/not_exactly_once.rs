//~ this pipeline is not exactly-once: its sink only promises `AtLeastOnce`
//~ finish with `build_at_least_once()` to accept repeats
use landfall::checkpoint::MemoryCheckpoints;
use landfall::model::Rows;
use landfall::pipeline::Pipeline;
use landfall::sink;
use landfall::source::IterSource;

fn main() {
    let webhook = sink::from_fn(|_: Rows<u64>| async { Ok(()) });
    let _ = Pipeline::named("numbers")
        .source(IterSource::new([1_u64]))
        .sink(webhook)
        .checkpoints(MemoryCheckpoints::default())
        .build();
}
