//! A listing that changes while it is read: 1,000 seeded histories of inserts and deletes for each way of cutting it into pages.
//! A row that was there from the first request to the last must come; where that cannot be, the read must say so.
//! `cargo test --all-features --test http drift:: -- --nocapture` prints the counts.

mod history;
mod server;
mod styles;
