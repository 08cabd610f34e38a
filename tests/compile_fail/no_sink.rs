use landfall::checkpoint::MemoryCheckpoints;
use landfall::pipeline::Pipeline;
use landfall::source::IterSource;

fn main() {
    let _ = Pipeline::named("numbers")
        .source(IterSource::new([1_u64]))
        .checkpoints(MemoryCheckpoints::default())
        .build();
}
