//! A whole pipeline from the demo API, to be killed at any time.

use crate::command::Load;
use crate::machine::{database, store};
use crate::target::Target;
use landfall::checkpoint::{CheckpointStore, StoreCheckpoints};
use landfall::columnar::arrow::error::ArrowError;
use landfall::columnar::{Batch, Columns, Decode, Dedup, Validate};
use landfall::connectors::http::{Cursor, Rest, Since};
use landfall::connectors::postgres::{Postgres, PostgresCheckpoints};
use landfall::landing::Landing;
use landfall::model::Page;
use landfall::pipeline::{NoSink, Pipeline, PipelineBuilder, Settings};
use landfall::sink::{ExactlyOnce, Quarantine, Sink, TableSet, Tables};
use landfall::source::Source;
use landfall::stage::{Output, Stage, from_fn};
use landfall::store::Store;
use landfall::{Error, Result};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// Epochs are small, so that a kill meets all steps of one.
const EPOCH_RECORDS: u64 = 400;

pub(crate) async fn load(target: Target, load: &Load) -> Result<()> {
    let state = store(&load.state, &load.env)?;
    let pipeline = match target {
        Target::Delta(table) => pipeline(load, &state, table, chains(load, &state)?)?,
        Target::Parquet(dataset) => pipeline(load, &state, dataset, chains(load, &state)?)?,
        Target::Adbc(table) => pipeline(load, &state, table, chains(load, &state)?)?,
        Target::Postgres(table, database) => pipeline(load, &state, table, in_database(&database, &state)?)?,
        Target::PostgresTables(tables, database) => {
            let checkpoints = in_database(&database, &state)?;
            ending(load, &state, from_fn("notes", notes), tables, checkpoints)?
        }
        Target::Tables(tables) => {
            let tables = tables.into_iter().fold(TableSet::new(), |set, (name, table)| set.table(name, table));
            ending(load, &state, from_fn("notes", notes), tables, chains(load, &state)?)?
        }
    };
    let report = pipeline.run().await?;
    // Whether anybody reads it makes no difference to what was loaded.
    let _unread = writeln!(std::io::stdout(), "{report}").is_err();
    Ok(())
}

fn chains(load: &Load, state: &Store) -> Result<Arc<dyn CheckpointStore>> {
    match load.in_database {
        true => in_database(&database(&load.env, load.patience)?, state),
        false => Ok(Arc::new(StoreCheckpoints::new(state, "checkpoints")?)),
    }
}

fn in_database(database: &Postgres, state: &Store) -> Result<Arc<dyn CheckpointStore>> {
    Ok(Arc::new(PostgresCheckpoints::in_schema(database, "etl")?.with_objects(state, "stages")?))
}

fn pipeline<S>(load: &Load, state: &Store, sink: S, checkpoints: Arc<dyn CheckpointStore>) -> Result<Pipeline>
where
    S: Sink<Item = Batch, Promise: ExactlyOnce>,
{
    let as_they_are = |rows, out: &mut Output<Batch>| {
        out.emit(rows);
        Ok(())
    };
    ending(load, state, from_fn("rows", as_they_are), sink, checkpoints)
}

/// Orders, and for each of them a row of a table of its own.
fn notes(orders: Batch, out: &mut Output<Tables<Batch>>) -> Result<()> {
    let failed = |e: ArrowError| Error::bug("make notes", "an order lacks a column").with_source(e);
    let schema = orders.rows().schema();
    let columns = ["id", "note"].map(|name| schema.index_of(name));
    let columns = columns.into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let notes = orders.with_rows(orders.rows().project(&columns).map_err(failed)?)?;
    out.fanned_out(notes.num_rows() as u64);
    out.emit(Tables::new().with("orders", orders).with("notes", notes));
    Ok(())
}

/// A pipeline whose last stage makes of batches what the sink takes.
fn ending<L, S>(load: &Load, state: &Store, last: L, sink: S, checkpoints: Arc<dyn CheckpointStore>) -> Result<Pipeline>
where
    L: Stage<In = Batch, Out = S::Item> + Clone + Sync,
    S: Sink<Promise: ExactlyOnce>,
{
    let landing = Landing::in_store(state, "raw")?;
    if load.again {
        let builder = Pipeline::named("again").landing_of("orders", landing);
        return into_sink(builder, load, state, "again", last, sink, checkpoints);
    }
    let builder = Pipeline::named("orders")
        .source(
            Rest::get(format!("{}/orders", load.api))
                .query("limit", "40")
                .paginate(Cursor::at("$.next_cursor").query("cursor"))
                .records("$.data[*]")
                .since(Since::field("updated_at").query("since").overlap(Duration::from_secs(10))),
        )
        .land(landing);
    into_sink(builder, load, state, "quarantine", last, sink, checkpoints)
}

/// Where the sink appends, the stage before it knows every key: a record that is loaded twice is in the table twice.
fn into_sink<R, L, S>(
    builder: PipelineBuilder<R, Page, NoSink>,
    load: &Load,
    state: &Store,
    quarantine: &str,
    last: L,
    sink: S,
    checkpoints: Arc<dyn CheckpointStore>,
) -> Result<Pipeline>
where
    R: Source<Item = Page>,
    L: Stage<In = Batch, Out = S::Item> + Clone + Sync,
    S: Sink<Promise: ExactlyOnce>,
{
    let columns = Columns::new()
        .utf8("id")
        .int64("number")
        .utf8("status")
        .int64("quantity")
        .decimal("amount", 12, 2)
        .typed("customer", "struct<id: utf8, country: utf8>".parse()?)
        .utf8("note")
        .timestamp("updated_at");
    let mut builder = builder.stage(Decode::pages().schema(columns)).stage(
        Validate::new()
            .required("id")
            .required("quantity")
            .required("amount")
            .required("updated_at")
            .range("quantity", 1..)
            .one_of("status", ["placed", "paid", "shipped", "returned"]),
    );
    if load.appends {
        builder = builder.stage(Dedup::by(["id"]));
    }
    let mut settings = Settings::default().epoch_records(EPOCH_RECORDS).prune_landing(load.prune);
    if let Some(kept) = load.kept_checkpoints {
        settings = settings.kept_checkpoints(kept);
    }
    builder
        .stage(last)
        .sink(sink)
        .quarantine(Quarantine::in_store(state, quarantine)?)
        .checkpoints(checkpoints)
        .settings(settings)
        .env(load.env.clone())
        .build()
}
