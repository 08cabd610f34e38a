//! Orders with items: one extract, and two loads of what it lands. One keeps everything that ever came, in a Parquet dataset; the
//! other keeps the current state, in two Delta tables that go together: orders, and their items.
//!
//! `cargo run --features delta --example child_tables`
//!
//! In the second run one order has fewer items, one has none any more, and one is deleted.

#![allow(clippy::print_stdout, clippy::disallowed_macros, reason = "it is a program")]

use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::arrow::array::RecordBatch;
use landfall::columnar::arrow::util::display::{ArrayFormatter, FormatOptions};
use landfall::columnar::{Columns, Decode, Unnest, UnnestChild};
use landfall::connectors::delta::DeltaTable;
use landfall::connectors::parquet::{DatasetReader, ParquetDataset};
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Page, Partition, Position, Proof, StopReason, Validity};
use landfall::pipeline::{Pipeline, Pipelines};
use landfall::sink::{Children, TableSet, Upsert};
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::store::Store;
use landfall::{Error, Result, async_trait};
use serde::{Deserialize, Serialize};

/// Stands in for an API: a page for each day.
struct Shop(&'static [&'static str]);

/// Days that were read.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Day(usize);

impl Position for Day {
    fn validity(&self) -> Validity {
        Validity::Durable
    }
}

const MONDAY: &str = r#"[
    {"id": 1, "at": 1, "deleted": false, "items": [{"sku": "tea", "n": 2}, {"sku": "cup", "n": 1}]},
    {"id": 2, "at": 1, "deleted": false, "items": [{"sku": "pot", "n": 1}]},
    {"id": 3, "at": 1, "deleted": false, "items": [{"sku": "mug", "n": 4}]},
    {"id": 4, "at": 1, "deleted": false, "items": [{"sku": "jug", "n": 1}]}]"#;
const TUESDAY: &str = r#"[
    {"id": 1, "at": 2, "deleted": false, "items": [{"sku": "tea", "n": 1}]},
    {"id": 2, "at": 2, "deleted": false, "items": []},
    {"id": 3, "at": 2, "deleted": true, "items": [{"sku": "mug", "n": 4}]}]"#;

#[async_trait]
impl Source for Shop {
    type Item = Page;
    type Position = Day;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<Day>) -> Result<()> {
        out.add_all(vec![Partition::new("all")]).await
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<Day>,
        out: &mut Emitter<Page, Day>,
    ) -> Result<StopReason> {
        for (day, body) in self.0.iter().enumerate().skip(from.map_or(0, |day| day.0)) {
            let records = body.matches("\"id\"").count() as u64;
            out.emit(Page::new(partition.id.clone(), *body, records, env.now()), &Day(day + 1)).await?;
        }
        Ok(StopReason::Exhausted(Proof::EndOfInput))
    }
}

fn current(store: &Store, table: &str) -> Result<DeltaTable> {
    DeltaTable::in_store(store, &format!("current/{table}"))
}

fn pipelines(shop: Shop, store: &Store) -> Result<Pipelines> {
    let raw = Landing::in_store(store, "raw")?;
    let checkpoints = || StoreCheckpoints::new(store, "state");
    let item = "struct<sku: utf8, n: int64>".parse()?;
    let columns = Columns::new().int64("id").int64("at").bool("deleted").list("items", item);
    let extract = Pipeline::named("shop").source(shop).land(raw.clone()).land_only().checkpoints(checkpoints()?);
    let history = Pipeline::named("history")
        .landing_of("shop", raw.clone())
        .stage(Decode::pages().schema(columns.clone()))
        .sink(ParquetDataset::in_store(store, "history")?)
        .checkpoints(checkpoints()?);
    // Both tables decide by the same columns of the order.
    let items = UnnestChild::at("items").copy("id", "order_id").copy("at", "at").copy("deleted", "deleted");
    let children = Children::of(["order_id"]).newest("at").deleted_when("deleted");
    let tables = TableSet::new().table("items", current(store, "items")?.disposition(children)).table(
        "orders",
        current(store, "orders")?.disposition(Upsert::by(["id"]).newest("at").deleted_when("deleted")),
    );
    let current = Pipeline::named("current")
        .landing_of("shop", raw)
        .stage(Decode::pages().schema(columns))
        .stage(Unnest::new("orders").child("items", items))
        .sink(tables)
        .checkpoints(checkpoints()?);
    Pipelines::of([extract.build()?, history.build()?, current.build()?])
}

/// The rows, sorted, without what the sink adds.
fn text(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches {
        let options = FormatOptions::new();
        let failed = |e| Error::bug("show rows", "they have no text").with_source(e);
        let schema = batch.schema();
        let own = schema.fields().iter().map(|field| !field.name().starts_with("_landfall"));
        let columns = batch.columns().iter().zip(own).filter(|(_, own)| *own);
        let columns = columns.map(|(column, _)| ArrayFormatter::try_new(column, &options).map_err(failed));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let row = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("  ");
        rows.extend((0..batch.num_rows()).map(row));
    }
    rows.sort_unstable();
    Ok(rows)
}

async fn show(store: &Store) -> Result<[Vec<String>; 3]> {
    let history = text(&DatasetReader::new(store, "history")?.snapshot().await?.read_batches().await?)?;
    let orders = text(&current(store, "orders")?.read_batches().await?)?;
    let items = text(&current(store, "items")?.read_batches().await?)?;
    println!("history: {} rows", history.len());
    println!("orders:\n    {}", orders.join("\n    "));
    println!("items:\n    {}", items.join("\n    "));
    Ok([history, orders, items])
}

async fn run(store: &Store, days: &'static [&'static str]) -> Result<[Vec<String>; 3]> {
    for (name, ended) in pipelines(Shop(days), store)?.run().await {
        println!("{name}: {} records read", ended?.ledger.read);
    }
    show(store).await
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = Store::memory();
    println!("Monday");
    run(&store, &[MONDAY]).await?;
    println!("\nTuesday");
    run(&store, &[MONDAY, TUESDAY]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn items_come_and_go_with_their_orders() {
        let store = Store::memory();
        let [history, orders, items] = run(&store, &[MONDAY]).await.expect("Monday");
        assert_eq!((history.len(), orders.len(), items.len()), (4, 4, 5));
        let [history, orders, items] = run(&store, &[MONDAY, TUESDAY]).await.expect("Tuesday");
        assert_eq!(history.len(), 7, "everything that ever came");
        assert_eq!(orders, ["1  2  false", "2  2  false", "4  1  false"]);
        assert_eq!(items, ["1  2  false  0  tea  1", "4  1  false  0  jug  1"]);
    }
}
