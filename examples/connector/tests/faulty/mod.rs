//! A database that can be made to fail, transaction by transaction.

use landfall::testkit::Faults;
use landfall::{Result, async_trait};
use landfall_stations::{InOneStep, Wire};

/// The way from a process to its database: each transaction may go wrong.
#[derive(Debug)]
pub struct Faulty(pub Faults);

#[async_trait]
impl Wire for Faulty {
    async fn pass(&self, operation: &'static str, transaction: InOneStep<'_>) -> Result<()> {
        match operation.split(' ').next() {
            Some("read" | "list") => self.0.read_point(operation, "database", transaction).await,
            _ => self.0.point(operation, "database", transaction).await,
        }
    }
}
