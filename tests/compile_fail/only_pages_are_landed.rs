use landfall::landing::Landing;
use landfall::pipeline::Pipeline;
use landfall::source::IterSource;
use landfall::store::Store;

fn main() {
    let landing = Landing::in_store(&Store::memory(), "raw").unwrap();
    let _ = Pipeline::named("numbers").source(IterSource::new([1_u64])).land(landing);
}
