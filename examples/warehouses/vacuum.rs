//! What nobody needs is deleted, as it would be two hours later: nothing younger than an hour ever is.

use crate::machine;
use crate::target::Target;
use landfall::{Error, Result};
use std::time::Duration;

const AGE: Duration = Duration::from_secs(3600);

pub(crate) async fn vacuum(target: Target) -> Result<()> {
    let env = machine::one_thread(2 * AGE);
    let vacuumed = match target {
        Target::Delta(table) => vec![table.vacuum(&env, AGE, false).await?],
        Target::Parquet(dataset) => vec![dataset.vacuum(&env, AGE, false).await?],
        Target::Tables([(_, notes), (_, orders)]) => {
            vec![notes.vacuum(&env, AGE, false).await?, orders.vacuum(&env, AGE, false).await?]
        }
        Target::Postgres(..) | Target::PostgresTables(..) | Target::Adbc(_) => {
            return Err(Error::config("vacuum", "a database does that by itself"));
        }
    };
    for table in vacuumed {
        println!("{table}");
    }
    Ok(())
}
