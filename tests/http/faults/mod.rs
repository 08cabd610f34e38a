//! Faults between the client and the server: every fault × format × coding, over real connections, with time owned by the test.
//! Each cell either completes with exactly the rows that the server has, or ends with the error that the table says; a run
//! after it, without the fault, completes. `cargo test --all-features --test faults -- --nocapture` prints the cells.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

mod clock;
mod matrix;
mod origin;
mod proxy;
mod storms;
