//! Rights: a role that has what docs/warehouses.md lists can do its work, and each of these is needed. Without one of them the server
//! refuses, and the error says what it is about.

#![allow(clippy::future_not_send, reason = "they are awaited where they are made")]

use crate::pages::Pages;
use crate::support::{Load, World};
use landfall::checkpoint::{ChainId, CheckpointStore};
use landfall::columnar::{ColumnType, Columns, Decode, Unnest, UnnestChild};
use landfall::connectors::postgres::{Postgres, PostgresCheckpoints, PostgresTable, PostgresTables};
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::{Children, Demand, Disposition, InsertOnly, Replace, ReplacePartitions, Scd2, Sink, Upsert};
use landfall::store::Store;
use landfall::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// A right, and what the server says that it permits.
type Right<'a> = (&'a str, &'a str);

const DATABASE: Right<'_> = ("CONNECT ON DATABASE", "for database");

/// In a database of its own, where nobody else has any right.
async fn may(
    rights: &[Right<'_>],
    made: impl AsyncFn(&Postgres, &Client),
    work: impl AsyncFn(&Postgres) -> Result<()>,
) -> Option<Result<()>> {
    let world = World::new().await?;
    let name = format!("rights_{}", world.schema.replace(['"', ' '], "_"));
    world.ask(&format!("CREATE DATABASE \"{name}\"")).await;
    world.ask(&format!("CREATE ROLE \"{name}\" LOGIN; REVOKE ALL ON DATABASE \"{name}\" FROM PUBLIC")).await;
    let url = world.url.replace("/postgres?", &format!("/{name}?"));
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    let schemas = "REVOKE ALL ON SCHEMA public FROM PUBLIC; CREATE SCHEMA sales; CREATE SCHEMA etl";
    client.batch_execute(schemas).await.expect("makes schemas");
    let owner = Postgres::connect(&url).expect("a URL");
    made(&owner, &client).await;
    for (right, _) in rights {
        let of = if *right == DATABASE.0 { format!(" \"{name}\"") } else { String::new() };
        client.batch_execute(&format!("GRANT {right}{of} TO \"{name}\"")).await.expect(right);
    }
    let loader = Postgres::connect(&url.replace("landfall@", &format!("{name}@"))).expect("a URL");
    let done = work(&loader.retry_for(Duration::ZERO)).await;
    world.ask(&format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await;
    world.ask(&format!("DROP ROLE \"{name}\"")).await;
    Some(done)
}

/// Does the work with all rights, and with each of `rights` left out.
async fn needs(
    given: &[Right<'_>],
    rights: &[Right<'_>],
    made: impl AsyncFn(&Postgres, &Client),
    work: impl AsyncFn(&Postgres) -> Result<()>,
) {
    let all: Vec<_> = given.iter().chain(rights).copied().collect();
    match may(&all, &made, &work).await {
        None => return,
        Some(done) => done.unwrap_or_else(|e| panic!("with {all:?}: {e}")),
    }
    for (right, about) in rights {
        let others: Vec<_> = all.iter().filter(|(other, _)| other != right).copied().collect();
        let refused = may(&others, &made, &work).await.expect("there is a server");
        let error = refused.expect_err(right);
        assert_eq!(error.kind(), ErrorKind::Auth, "without {right}: {error}");
        assert!(error.to_string().contains(&format!("permission denied {about}")), "without {right}: {error}");
    }
}

fn checkpoints(loader: &Postgres) -> PostgresCheckpoints {
    PostgresCheckpoints::in_schema(loader, "etl").expect("a name")
}

fn table(loader: &Postgres, name: &str, disposition: impl Into<Disposition>) -> PostgresTable {
    PostgresTable::at(loader, &format!("sales.{name}")).expect("a name").disposition(disposition)
}

/// Loads so many orders in epochs of two, and collects what no recovery needs.
async fn run(loader: &Postgres, store: &Store, orders: u64) -> Result<()> {
    let page = |id: u64| format!("[{{\"id\":{id},\"gone\":false,\"items\":[{{\"sku\":\"a\"}},{{\"sku\":\"b\"}}]}}]");
    let item = ColumnType::Struct(Columns::new().utf8("sku"));
    let columns = Columns::new().int64("id").bool("gone").list("items", item);
    let landed = |name: &str| {
        Pipeline::named(name)
            .source(Pages((0..orders).map(page).collect()))
            .land(Landing::in_store(store, "raw").expect("a name").segment_bytes(16))
            .settings(Settings::default().epoch_records(2).kept_checkpoints(1))
            .checkpoints(checkpoints(loader))
            .stage(Decode::pages().schema(columns.clone()))
    };
    let appended = landed("appended").sink(table(loader, "appended", Disposition::Append)).build()?;
    appended.run().await.map_err(Error::from)?;
    let upsert = Upsert::by(["id"]).deleted_when("gone");
    landed("current").sink(table(loader, "current", upsert.clone())).build()?.run().await.map_err(Error::from)?;
    let items = UnnestChild::at("items").copy("id", "order_id");
    let set = PostgresTables::new()
        .table("orders", table(loader, "orders", upsert))
        .table("items", table(loader, "items", Children::of(["order_id"])));
    let both = landed("both").stage(Unnest::new("orders").child("items", items)).sink(set).build()?;
    both.run().await.map(drop).map_err(Error::from)
}

#[tokio::test]
async fn a_loader_that_makes_its_tables_needs_its_schemas_and_nothing_else() {
    let rights = [
        DATABASE,
        ("USAGE ON SCHEMA sales", "for schema sales"),
        ("CREATE ON SCHEMA sales", "for schema sales"),
        ("USAGE ON SCHEMA etl", "for schema etl"),
        ("CREATE ON SCHEMA etl", "for schema etl"),
    ];
    let work = async |loader: &Postgres| {
        let store = Store::memory();
        run(loader, &store, 7).await?;
        run(loader, &store, 9).await
    };
    needs(&[], &rights, async |_: &Postgres, _: &Client| {}, work).await;
}

#[tokio::test]
async fn a_loader_whose_tables_are_those_of_others_needs_their_schema_and_one_to_stage_in() {
    let rights = [
        DATABASE,
        ("USAGE ON SCHEMA sales", "for schema sales"),
        ("USAGE ON SCHEMA etl", "for schema etl"),
        ("CREATE ON SCHEMA etl", "for schema etl"),
        ("INSERT ON sales.orders", "for table orders"),
    ];
    load_as(&Disposition::Append, "", &[], &rights).await;
}

#[tokio::test]
async fn a_loader_needs_no_more_of_a_table_of_others_than_its_disposition_does() {
    let schemas = [DATABASE, ("USAGE ON SCHEMA sales", ""), ("USAGE, CREATE ON SCHEMA etl", "")];
    let key = ", UNIQUE (id)";
    let versions = ", _landfall_hash text, _landfall_valid_from timestamptz, _landfall_valid_to timestamptz); \
         CREATE UNIQUE INDEX ON sales.orders (id) WHERE (_landfall_valid_to IS NULL";
    let cases: [(Disposition, &str, &[&str]); 8] = [
        (InsertOnly::by(["id"]).into(), key, &["SELECT", "INSERT"]),
        (Upsert::by(["id"]).into(), key, &["SELECT", "INSERT", "UPDATE"]),
        (Upsert::by(["id"]).deleted_when("gone").into(), key, &["SELECT", "INSERT", "UPDATE", "DELETE"]),
        (Upsert::by(["id"]).sweep(1.0).into(), key, &["SELECT", "INSERT", "UPDATE", "DELETE"]),
        (Scd2::by(["id"]).into(), versions, &["SELECT", "INSERT", "UPDATE", "DELETE"]),
        (Replace::table().into(), "", &["SELECT", "INSERT", "DELETE"]),
        (ReplacePartitions::by(["status"]).into(), "", &["SELECT", "INSERT", "DELETE"]),
        (Children::of(["id"]).into(), "", &["SELECT", "INSERT", "DELETE"]),
    ];
    for (disposition, more, rights) in cases {
        let rights: Vec<String> = rights.iter().map(|right| format!("{right} ON sales.orders")).collect();
        let rights: Vec<Right<'_>> = rights.iter().map(|right| (right.as_str(), "for table orders")).collect();
        load_as(&disposition, more, &schemas, &rights).await;
    }
}

/// Loads and collects epochs, with the control tables in `etl`, into a table of others that has `more` than the columns of the rows.
async fn load_as(disposition: &Disposition, more: &str, given: &[Right<'_>], rights: &[Right<'_>]) {
    let made = async |_: &Postgres, client: &Client| {
        let columns = "id bigint NOT NULL, status text, gone boolean, _index bigint, _landfall_load text";
        client.batch_execute(&format!("CREATE TABLE sales.orders ({columns}{more})")).await.expect("makes a table");
    };
    let work = async |loader: &Postgres| {
        let sink = table(loader, "orders", disposition.clone()).control_schema("etl")?;
        let mut load = Load::new(sink, Columns::new().int64("id").utf8("status").bool("gone").int64("_index"));
        load.enumeration = (disposition.demand() == Demand::Enumerations).then_some(1);
        load.load("{\"id\":1,\"status\":\"a\",\"_index\":0}\n{\"id\":2,\"status\":\"a\",\"_index\":0}").await?;
        load.load("{\"id\":1,\"status\":\"b\",\"_index\":0,\"gone\":true}").await?;
        if load.enumeration.is_some() {
            load.whole().await?;
        }
        // What nobody will commit.
        load.stage("{\"id\":3,\"_index\":0}").await?;
        assert_eq!(load.sink.collect(&load.shard, load.generation + 1, &[]).await?, 1);
        Ok(())
    };
    needs(given, rights, made, work).await;
}

#[tokio::test]
async fn checkpoints_in_tables_of_others_need_no_right_to_make_any() {
    let rights = [
        DATABASE,
        ("USAGE ON SCHEMA etl", "for schema etl"),
        ("SELECT ON etl.landfall_chain_records", "for table landfall_chain_records"),
        ("INSERT ON etl.landfall_chain_records", "for table landfall_chain_records"),
        ("DELETE ON etl.landfall_chain_records", "for table landfall_chain_records"),
        ("SELECT ON etl.landfall_chain_boundaries", "for table landfall_chain_boundaries"),
        ("INSERT ON etl.landfall_chain_boundaries", "for table landfall_chain_boundaries"),
        ("UPDATE ON etl.landfall_chain_boundaries", "for table landfall_chain_boundaries"),
    ];
    let chain = ChainId::named("c").expect("a name");
    let made = async |owner: &Postgres, _: &Client| {
        checkpoints(owner).numbers(&chain).await.expect("makes the tables");
    };
    let work = async |loader: &Postgres| {
        let store = checkpoints(loader);
        store.create(&chain, 1, "one".into()).await?;
        store.read(&chain, 1).await?;
        store.numbers(&chain).await?;
        store.advance_boundary(&chain, 1).await?;
        store.boundary(&chain).await?;
        store.remove(&chain, 1).await
    };
    needs(&[], &rights, made, work).await;
}
