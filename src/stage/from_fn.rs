use super::{Output, Stage, StageState};
use crate::error::Result;
use crate::model::Item;
use crate::source::ComponentConfig;
use std::fmt::{self, Debug};
use std::marker::PhantomData;

/// A stage without memory made of a function; see [`from_fn`].
pub struct FnStage<I, O, F> {
    name: String,
    function: F,
    types: PhantomData<fn(I) -> O>,
}

/// Makes a stage without memory of a function that takes an item and fills an [`Output`].
///
/// ```
/// use landfall::model::Rows;
/// use landfall::stage::{Output, from_fn};
///
/// let odd = from_fn("odd", |rows: Rows<u64>, out: &mut Output<Rows<u64>>| {
///     let before = rows.0.len();
///     let kept: Vec<u64> = rows.0.into_iter().filter(|n| n % 2 == 1).collect();
///     out.filtered((before - kept.len()) as u64);
///     out.emit(Rows(kept));
///     Ok(())
/// });
/// # let _ = odd;
/// ```
pub fn from_fn<I, O, F>(name: impl Into<String>, function: F) -> FnStage<I, O, F>
where
    I: Item,
    O: Item,
    F: FnMut(I, &mut Output<O>) -> Result<()> + Clone + Send + 'static,
{
    FnStage { name: name.into(), function, types: PhantomData }
}

impl<I, O, F> Stage for FnStage<I, O, F>
where
    I: Item,
    O: Item,
    F: FnMut(I, &mut Output<O>) -> Result<()> + Clone + Send + 'static,
{
    type In = I;
    type Out = O;

    fn name(&self) -> &str {
        &self.name
    }

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    fn fork(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn state(&mut self) -> Option<&mut dyn StageState> {
        None
    }

    fn apply(&mut self, item: I, out: &mut Output<O>) -> Result<()> {
        (self.function)(item, out)
    }
}

impl<I, O, F: Clone> Clone for FnStage<I, O, F> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), function: self.function.clone(), types: PhantomData }
    }
}

impl<I, O, F> Debug for FnStage<I, O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnStage").field("name", &self.name).finish_non_exhaustive()
    }
}
