//~ `NoSink` cannot be the sink here
//~ implement `landfall::sink::Sink` for it, or use a built-in sink such as `ParquetDataset` or `MemorySink`
use landfall::checkpoint::MemoryCheckpoints;
use landfall::pipeline::Pipeline;
use landfall::source::IterSource;

fn main() {
    let _ = Pipeline::named("numbers")
        .source(IterSource::new([1_u64]))
        .checkpoints(MemoryCheckpoints::default())
        .build();
}
