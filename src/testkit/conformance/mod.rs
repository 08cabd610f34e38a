//! The contracts as checks: each names the guarantee that it holds an implementation to, and panics where it is broken.

#[cfg(test)]
mod broken;
pub mod checkpoints;
mod destination;
mod doubt;
pub(crate) mod logged;
#[cfg(test)]
mod mistakes;
pub mod rates;
pub mod sink;
pub mod source;
pub mod stage;
pub mod store;

#[cfg(test)]
mod tests;
mod told;
mod walk;

pub use destination::Destination;
pub use source::SourceTrial;
pub use stage::StageTrial;
#[doc(hidden)]
pub use told::{Told, told};
