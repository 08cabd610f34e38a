//! A listing that changes while it is read: 1,000 seeded histories of inserts and deletes for each way of cutting it into pages.
//! A row that was there from the first request to the last must come; where that cannot be, the read must say so.
//! `cargo test --all-features --test drift -- --nocapture` prints the counts.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

mod history;
mod server;
mod styles;
