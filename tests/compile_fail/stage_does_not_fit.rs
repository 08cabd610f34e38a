//~ this stage does not fit here: it takes
//~ put a stage between them that turns one into the other
use landfall::model::{Page, Rows};
use landfall::pipeline::Pipeline;
use landfall::source::IterSource;
use landfall::stage::{Output, from_fn};

fn main() {
    let needs_pages = from_fn("decode", |_: Page, _: &mut Output<Rows<u64>>| Ok(()));
    let _ = Pipeline::named("numbers").source(IterSource::new([1_u64])).stage(needs_pages);
}
