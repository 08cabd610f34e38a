//! Parents and their children, in tables of one epoch.

use crate::api::{Api, Place};
use crate::warehouse::{Server, Warehouse};
use landfall::ErrorKind;
use landfall::columnar::{Batch, ColumnType, Columns, Unnest, UnnestChild};
use landfall::connectors::postgres::{Postgres, PostgresTable, PostgresTables};
use landfall::pipeline::{RunFailure, RunReport};
use landfall::sink::{Children, Disposition, ExactlyOnce, Replace, Sink, TableSet, Tables, Upsert};

cases! {
    of_parents_with_one_key_in_a_batch_the_children_of_the_winner_stay,
    without_a_key_all_parents_and_children_are_kept,
    a_parent_that_is_deleted_takes_its_children_with_it,
    rows_of_an_unknown_table_are_an_error_and_never_dropped,
}

/// Orders with their items.
fn columns() -> Columns {
    let item = ColumnType::Struct(Columns::new().utf8("sku"));
    Columns::new().int64("id").int64("at").bool("deleted").list("items", item)
}

fn unnest() -> Unnest {
    let items = UnnestChild::at("items").copy("id", "order_id").copy("at", "at").copy("deleted", "deleted");
    Unnest::new("orders").child("items", items)
}

async fn load<K>(place: &Place, pages: &[&str], sink: K) -> Result<RunReport, RunFailure>
where
    K: Sink<Item = Tables<Batch>>,
    K::Promise: ExactlyOnce,
{
    place
        .builder_of("orders", &Api::pages(pages.iter().copied()), &columns(), unnest(), sink)
        .build()
        .expect("complete")
        .run()
        .await
}

fn dispositions() -> [Disposition; 2] {
    let children = Children::of(["order_id"]).newest("at").deleted_when("deleted");
    [Upsert::by(["id"]).newest("at").deleted_when("deleted").into(), children.into()]
}

/// Whether the warehouse knows parents and children; if not, it says so when the pipeline is built.
fn offers_children<W: Warehouse>(warehouse: &W) -> bool {
    let [orders, items] = dispositions();
    if warehouse.offers(&items) {
        return true;
    }
    let error = warehouse.set(orders, items).config().expect_err("it has none");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    false
}

/// Orders and items as they are in the tables.
async fn found<W: Warehouse>(warehouse: &W) -> (Vec<String>, Vec<String>) {
    (warehouse.rows("orders", "id, at").await, warehouse.rows("items", "order_id, _index, sku").await)
}

const TWICE: &str = r#"{"id":1,"at":2,"items":[{"sku":"d"},{"sku":"e"},{"sku":"f"}]},{"id":1,"at":1,"items":[{"sku":"a"},{"sku":"b"},{"sku":"c"}]},{"id":2,"at":1,"items":[{"sku":"x"}]}"#;

async fn of_parents_with_one_key_in_a_batch_the_children_of_the_winner_stay<W: Warehouse>(warehouse: W) {
    if !offers_children(&warehouse) {
        return;
    }
    let [orders, items] = dispositions();
    let place = Place::new();
    let report = load(&place, &[TWICE], warehouse.set(orders.clone(), items.clone())).await.expect("runs");
    report.ledger.check().expect("balances");
    let (parents, children) = found(&warehouse).await;
    assert_eq!(parents, ["1|2", "2|1"]);
    assert_eq!(children, ["1|0|d", "1|1|e", "1|2|f", "2|0|x"]);
    // Later: a newer one with fewer children, an older one, one without any.
    let newer =
        r#"{"id":1,"at":3,"items":[{"sku":"g"}]},{"id":1,"at":1,"items":[{"sku":"old"}]},{"id":2,"at":5,"items":[]}"#;
    load(&place, &[TWICE, newer], warehouse.set(orders, items)).await.expect("runs");
    let (parents, children) = found(&warehouse).await;
    assert_eq!((parents, children), (vec!["1|3".into(), "2|5".into()], vec!["1|0|g".into()]));
}

async fn without_a_key_all_parents_and_children_are_kept<W: Warehouse>(warehouse: W) {
    load(&Place::new(), &[TWICE], warehouse.set(Disposition::Append, Disposition::Append)).await.expect("runs");
    let (parents, children) = found(&warehouse).await;
    assert_eq!((parents.len(), children.iter().filter(|row| row.starts_with("1|")).count()), (3, 6));
}

async fn a_parent_that_is_deleted_takes_its_children_with_it<W: Warehouse>(warehouse: W) {
    if !offers_children(&warehouse) {
        return;
    }
    let [orders, items] = dispositions();
    let place = Place::new();
    load(&place, &[TWICE], warehouse.set(orders.clone(), items.clone())).await.expect("runs");
    let gone = r#"{"id":1,"at":9,"deleted":true,"items":[{"sku":"z"}]},{"id":2,"at":0,"deleted":true},{"id":3,"at":1,"deleted":true}"#;
    load(&place, &[TWICE, gone], warehouse.set(orders, items)).await.expect("runs");
    let (parents, children) = found(&warehouse).await;
    assert_eq!(parents, ["2|1"], "an older deletion changes nothing");
    assert_eq!(children, ["2|0|x"]);
}

async fn rows_of_an_unknown_table_are_an_error_and_never_dropped<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    // As a release before items were known would have it.
    let only = TableSet::new().table("orders", warehouse.sink("orders", Disposition::Append));
    let failure = load(&place, &[TWICE], only).await.expect_err("nobody takes the items");
    assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
    assert!(failure.to_string().contains("items"), "{failure}");
    assert!(warehouse.rows("orders", "id").await.is_empty(), "half of an epoch is none");
    assert_eq!(warehouse.loads("orders").await, 0);
}

#[tokio::test]
async fn postgres_tables_refuse_rows_of_an_unknown_table() {
    let Some(server) = Server::new().await else { return };
    let only = PostgresTables::new().table("orders", server.sink("orders", Disposition::Append));
    let failure = load(&Place::new(), &[TWICE], only).await.expect_err("nobody takes the items");
    assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
    assert!(server.rows("orders", "id").await.is_empty());
}

#[tokio::test]
async fn tables_of_one_database_change_in_one_transaction_or_not_at_all() {
    let Some(server) = Server::new().await else { return };
    let place = Place::new();
    let set = || server.set(Upsert::by(["id"]), Children::of(["order_id"]));
    load(&place, &[TWICE], set()).await.expect("runs");
    assert_eq!(server.ask("SELECT count(DISTINCT epoch), count(*) FROM {schema}.landfall_marks").await, ["1|2"]);
    let before = found(&server).await;
    // The second table does not take its rows.
    server.ask("ALTER TABLE {schema}.items ADD CONSTRAINT c CHECK (sku <> 'bad')").await;
    let bad = r#"{"id":7,"at":1,"items":[{"sku":"bad"}]}"#;
    let failure = load(&place, &[TWICE, bad], set()).await.expect_err("the constraint");
    assert_eq!(failure.error().kind(), ErrorKind::Data, "{failure}");
    assert_eq!(found(&server).await, before, "nor does the first");
    server.ask("ALTER TABLE {schema}.items DROP CONSTRAINT c").await;
    load(&place, &[TWICE, bad], set()).await.expect("it goes on as it was prepared");
    assert_eq!(found(&server).await.0, ["1|1", "2|1", "7|1"]);
    // Somebody restores one of the tables from a backup.
    server.ask("UPDATE {schema}.landfall_marks SET epoch = epoch - 1 WHERE table_name LIKE '%items%'").await;
    let failure = load(&place, &[TWICE, bad, r#"{"id":8}"#], set()).await.expect_err("the tables differ");
    assert_eq!(failure.error().kind(), ErrorKind::Corrupt, "{failure}");
}

#[tokio::test]
async fn tables_that_no_transaction_holds_are_refused() {
    let Some(server) = Server::new().await else { return };
    let orders = || server.sink("orders", Disposition::Append);
    let kind = |set: PostgresTables| set.config().expect_err("refused").kind();
    assert_eq!(kind(PostgresTables::new()), ErrorKind::Config);
    assert_eq!(kind(PostgresTables::new().table("a", orders()).table("b", orders())), ErrorKind::Config);
    let elsewhere = Postgres::connect("postgresql://elsewhere/x?sslmode=disable").expect("a URL");
    let other = PostgresTable::at(&elsewhere, "items").expect("a name");
    assert_eq!(kind(PostgresTables::new().table("orders", orders()).table("items", other)), ErrorKind::Config);
    let whole = server.sink("items", Replace::table());
    assert_eq!(kind(PostgresTables::new().table("orders", orders()).table("items", whole)), ErrorKind::Config);
}
