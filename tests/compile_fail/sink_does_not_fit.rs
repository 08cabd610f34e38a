//~ this sink does not fit here: it takes
//~ put a stage before it that turns
use landfall::model::Rows;
use landfall::pipeline::Pipeline;
use landfall::sink::{MemorySink, MemoryTable};
use landfall::source::IterSource;

fn main() {
    let table = MemoryTable::<Rows<String>>::new();
    let _ = Pipeline::named("numbers").source(IterSource::new([1_u64])).sink(MemorySink::new(&table));
}
