//~ `u64` cannot be a stage here
//~ it is not a `Stage`
use landfall::pipeline::Pipeline;
use landfall::source::IterSource;

fn main() {
    let _ = Pipeline::named("numbers").source(IterSource::new([1_u64])).stage(7_u64);
}
