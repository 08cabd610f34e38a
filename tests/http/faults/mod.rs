//! Faults of answers: every fault × format × coding, over real connections, with time owned by the test.
//! Each cell either completes with exactly the rows that the server has, or ends with the error that the table says; a run
//! after it, without the fault, completes. `cargo test --all-features --test http faults:: -- --nocapture` prints the cells.

mod clock;
mod matrix;
mod origin;
mod storms;
