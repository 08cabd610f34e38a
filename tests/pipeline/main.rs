//! How a whole pipeline behaves, over a scripted source and stores in memory.

mod support;

mod guards;
mod resume;
mod run;
mod shutdown;
