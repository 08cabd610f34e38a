//~ only pages are landed, and this source gives
//~ leave `.land(…)` out, or let the source give `Page`s
use landfall::landing::Landing;
use landfall::pipeline::Pipeline;
use landfall::source::IterSource;
use landfall::store::Store;

fn main() {
    let landing = Landing::in_store(&Store::memory(), "raw").unwrap();
    let _ = Pipeline::named("numbers").source(IterSource::new([1_u64])).land(landing);
}
