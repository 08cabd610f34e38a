//! The ledger of loads: what a user of the lake joins rows to. Two Delta tables below the folder of the table, `_landfall/loads` and
//! `_landfall/schema`, which are entered after the commit, out of what its version tells. So they can neither fail a commit nor double
//! a load: the `txn` of the ledger says up to which version of the table it is entered, and what a crash has left is entered by
//! the next commit. Format: docs/formats.md, "Delta ledger".

use super::actions::{Add, Line, Metadata, Txn};
use super::commit::Counts;
use super::log::{Keep, Log, Snapshot};
use super::own::load_id;
use super::staged::DeltaStaged;
use super::table::{DeltaTable, millis};
use super::{features, file, retention, schema, stats};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::EpochLedger;
use crate::sink::{CommitRequest, Disposition};
use crate::store::Created;
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The version of the table up to which the ledger is entered.
const ENTERED: &str = "landfall/ledger";
/// In the table itself: the version that holds the first load. What others did before is not read.
pub(super) const FIRST: &str = "landfall/first";
/// The newest version of the columns, and a hash of them.
const SCHEMA: &str = "landfall/schema";
const COLUMNS: &str = "landfall/columns";

/// Versions of the table that are entered in one version of the ledger.
const AT_ONCE: u64 = 1024;
/// Versions of the ledger that a commit writes at most: others may have written very many of the table since the last one.
pub(super) const IN_COMMIT: u64 = 4;
/// Times that an entry is decided anew, when others enter at the same time. What is left is entered after the next commit.
const ATTEMPTS: usize = 5;
/// From this many small files on the ledger is compacted, and after so many versions it has a checkpoint.
const FILES: usize = 32;
/// A file of the ledger of this many bytes is left alone.
const LARGE: i64 = 1 << 20;

/// What a version of the table tells of the load that it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Load {
    load_id: String,
    pipeline: String,
    shard: u32,
    epoch: u64,
    generation: u64,
    incarnation: String,
    digest: String,
    disposition: String,
    rows_staged: u64,
    rows_inserted: u64,
    rows_updated: u64,
    rows_deleted: u64,
    position: String,
    ledger: EpochLedger,
    enumeration: Option<u64>,
    whole: Option<bool>,
}

impl Load {
    pub(super) fn of(request: &CommitRequest<DeltaStaged>, disposition: &Disposition, counts: Counts) -> Self {
        let CommitRequest { shard, mark, staged, enumeration, load, .. } = request;
        Self {
            load_id: load_id(shard, mark.epoch),
            pipeline: shard.pipeline.to_string(),
            shard: shard.shard,
            epoch: mark.epoch,
            generation: mark.generation,
            incarnation: mark.incarnation.0.clone(),
            digest: mark.digest.clone(),
            disposition: disposition.as_str().to_owned(),
            rows_staged: staged.files.iter().map(|file| file.rows).sum(),
            rows_inserted: counts.inserted,
            rows_updated: counts.updated,
            rows_deleted: counts.deleted,
            position: load.position.clone(),
            ledger: load.ledger.clone(),
            enumeration: enumeration.map(|e| e.number),
            whole: enumeration.map(|e| e.whole),
        }
    }
}

/// What this process knows of the two tables. It saves reads and decides nothing.
#[derive(Debug, Default)]
pub(super) struct Known {
    loads: Mutex<Option<Arc<Snapshot>>>,
    schemas: Mutex<Option<Arc<Snapshot>>>,
}

/// The table of loads, and the table of columns.
pub(super) fn tables(table: &DeltaTable) -> Result<[Log; 2]> {
    let log = |name: &str| -> Result<Log> {
        Ok(Log { store: table.log.store.clone(), folder: table.log.folder.join(name)? })
    };
    Ok([log("_landfall/loads")?, log("_landfall/schema")?])
}

/// Enters what is not entered yet, in so many versions of the ledger at most. Gives the first version of the table that is not.
///
/// # Errors
/// Those of the store; `Unavailable` if others enter all the time. What is entered stays, and the rest can be entered later.
pub(super) async fn enter(table: &DeltaTable, env: &Env, most: u64) -> Result<u64> {
    let [loads, schemas] = tables(table)?;
    let (mut failed, mut written) = (0, 0);
    while failed < ATTEMPTS {
        let Some(newest) = table.newest(Keep::Head).await? else { return Ok(0) };
        let held = newest_of(&loads, &table.ledger.loads).await?;
        let state = State::of(held.as_deref());
        let told = tell(&table.log, &newest, &state).await?;
        let nothing = told.loads.is_empty() && told.schemas.is_empty();
        if nothing && told.next > newest.version || written >= most {
            return Ok(told.next);
        }
        let mut txns = vec![(ENTERED, told.next - 1)];
        if !told.schemas.is_empty() {
            let before = newest_of(&schemas, &table.ledger.schemas).await?;
            let known = entered(before.as_deref());
            let rows: Vec<Value> =
                told.schemas.into_iter().filter(|(at, _)| Some(*at) > known).map(|(_, row)| row).collect();
            if !rows.is_empty() && !append(&schemas, env, before.as_deref(), &schema_columns(), rows, &txns).await? {
                failed += 1;
                continue;
            }
        }
        txns.extend([(SCHEMA, told.state.schema), (COLUMNS, told.state.columns)]);
        if append(&loads, env, held.as_deref(), &load_columns(), told.loads, &txns).await? {
            written += 1;
            if told.next > newest.version {
                return Ok(told.next);
            }
        } else {
            failed += 1;
        }
    }
    Err(Error::unavailable("enter load", "others enter loads all the time").with("table", &table.log.folder))
}

async fn newest_of(log: &Log, known: &Mutex<Option<Arc<Snapshot>>>) -> Result<Option<Arc<Snapshot>>> {
    let before = known.lock().unwrap_or_else(PoisonError::into_inner).take();
    let newest = log.newest(before, Keep::Files).await?;
    known.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&newest);
    Ok(newest)
}

fn entered(held: Option<&Snapshot>) -> Option<u64> {
    number(held, ENTERED)
}

fn number(held: Option<&Snapshot>, id: &str) -> Option<u64> {
    u64::try_from(held?.txns.get(id)?.version).ok()
}

/// Where the ledger stands.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    entered: Option<u64>,
    schema: u64,
    columns: u64,
}

impl State {
    fn of(held: Option<&Snapshot>) -> Self {
        let of = |id| number(held, id);
        Self { entered: entered(held), schema: of(SCHEMA).unwrap_or(0), columns: of(COLUMNS).unwrap_or(0) }
    }
}

/// What the log tells that is not entered yet.
#[derive(Debug)]
struct Told {
    loads: Vec<Value>,
    /// By the version of the table that has changed the columns.
    schemas: Vec<(u64, Value)>,
    state: State,
    /// The first version that is not told of.
    next: u64,
}

async fn tell(log: &Log, newest: &Snapshot, state: &State) -> Result<Told> {
    let first = || number(Some(newest), FIRST).unwrap_or(newest.version + 1);
    let next = state.entered.map_or_else(first, |entered| entered + 1);
    let mut told = Told { loads: Vec::new(), schemas: Vec::new(), state: *state, next };
    while told.next <= newest.version && told.next < next + AT_ONCE {
        let Some(commit) = log.commit(told.next).await? else {
            // It was cleaned up: what it told is lost, and what follows is not.
            told.next = log.first_after(told.next).await?.unwrap_or(newest.version + 1);
            continue;
        };
        let (mut load, mut metadata, mut at) = (None, None, None);
        for line in commit {
            if let Some(info) = line.commit_info {
                at = info.get("timestamp").and_then(Value::as_i64);
                load = info.get("landfall").and_then(|load| serde_json::from_value::<Load>(load.clone()).ok());
            }
            metadata = line.meta_data.or(metadata);
        }
        let at = at.map(|millis| millis.saturating_mul(1000));
        if told.state.schema == 0 && metadata.is_none() {
            // The version that has made the table was cleaned up.
            metadata = Some(newest.metadata.clone());
        }
        told.schema(metadata.as_ref(), load.as_ref(), at)?;
        if let Some(load) = load {
            told.load(&load, at)?;
        }
        told.next += 1;
    }
    Ok(told)
}

impl Told {
    fn schema(&mut self, metadata: Option<&Metadata>, load: Option<&Load>, at: Option<i64>) -> Result<()> {
        let Some(metadata) = metadata else { return Ok(()) };
        let schema: Value = serde_json::from_str(&metadata.schema_string)
            .map_err(|e| Error::corrupt("enter schema", "the schema of the table is not understood").with_source(e))?;
        let fields = schema.get("fields").and_then(Value::as_array).into_iter().flatten();
        let columns: Vec<Value> = fields.map(|f| json!({ "name": f.get("name"), "type": f.get("type") })).collect();
        let columns = Value::from(columns).to_string();
        let digest = Sha256::digest(columns.as_bytes());
        let hash = digest.first_chunk::<8>().map_or(0, |head| u64::from_be_bytes(*head) >> 1);
        if hash == self.state.columns && self.state.schema > 0 {
            return Ok(());
        }
        self.state = State { schema: self.state.schema + 1, columns: hash, ..self.state };
        let load_id = load.map(|load| &load.load_id);
        let row = json!({ "version": self.state.schema, "load_id": load_id, "columns": columns, "since": at, "table_version": self.next });
        self.schemas.push((self.next, row));
        Ok(())
    }

    fn load(&mut self, load: &Load, at: Option<i64>) -> Result<()> {
        let failed = |e| Error::bug("enter load", "it does not serialise").with_source(e);
        let mut row = serde_json::to_value(load).map_err(failed)?;
        if let Value::Object(fields) = &mut row {
            let position = if load.position.is_empty() { "null" } else { &load.position };
            fields.insert("position".to_owned(), json!(position));
            fields.insert("ledger".to_owned(), json!(serde_json::to_string(&load.ledger).map_err(failed)?));
            fields.insert("schema_version".to_owned(), json!(self.state.schema));
            fields.insert("committed_at".to_owned(), json!(at));
            fields.insert("table_version".to_owned(), json!(self.next));
        }
        self.loads.push(row);
        Ok(())
    }
}

/// Adds rows in the next version of a table of the ledger. `false` if another has written that version.
async fn append(
    log: &Log,
    env: &Env,
    held: Option<&Snapshot>,
    columns: &SchemaRef,
    rows: Vec<Value>,
    txns: &[(&str, u64)],
) -> Result<bool> {
    let now = millis(env);
    let mut lines = Vec::new();
    let info = json!({ "timestamp": now, "operation": "WRITE", "operationParameters": { "mode": "Append" } });
    lines.push(Line { commit_info: Some(info), ..Line::default() });
    if held.is_none() {
        lines.push(features::oldest().into());
        let metadata = Metadata {
            id: super::table::uuid(env),
            schema_string: schema::text(columns)?,
            created_time: Some(now),
            ..Metadata::default()
        };
        lines.push(metadata.into());
    }
    for (id, number) in txns {
        let version = i64::try_from(*number).unwrap_or(i64::MAX);
        lines.push(Txn { app_id: (*id).to_owned(), version, last_updated: Some(now) }.into());
    }
    let up_to = txns.first().map_or(0, |(_, version)| *version);
    let name = || format!("{up_to:020}-{}.parquet", env.nonce());
    if !rows.is_empty() {
        lines.push(store(log, env, name(), columns, &[decode(columns, &rows)?]).await?.into());
    }
    let small: Vec<&Add> = held.iter().flat_map(|held| held.files.values()).filter(|file| file.size < LARGE).collect();
    if small.len() >= FILES {
        let mut batches = Vec::new();
        for file in small {
            batches.extend(file::rows(log, file, columns).await?.try_collect::<Vec<_>>().await?);
            lines.push(file.removed(false).into());
        }
        // A file of its own: readers that follow the table as a stream take the rows of each file that changes data for new ones.
        let add = store(log, env, name(), columns, &batches).await?;
        lines.push(Add { data_change: false, ..add }.into());
    }
    let version = held.map_or(0, |held| held.version + 1);
    let created = log.create(env, version, lines).await? == Created::New;
    if created && version > 0 && version % FILES as u64 == 0 {
        if let Some(held) = log.newest(None, Keep::All).await? {
            log.write_checkpoint(&held, retention::forgotten(env, &held.metadata)).await?;
        }
    }
    Ok(created)
}

/// Rows in columns; times are given in microseconds.
fn decode(columns: &SchemaRef, rows: &[Value]) -> Result<RecordBatch> {
    let failed = |e: ArrowError| Error::bug("enter load", "the rows do not fit the ledger").with_source(e);
    let is_time = |field: &Field| matches!(field.data_type(), DataType::Timestamp(..));
    let plain = columns.fields().iter().map(|field| match is_time(field) {
        true => Arc::new(field.as_ref().clone().with_data_type(DataType::Int64)),
        false => Arc::clone(field),
    });
    let plain = Arc::new(Schema::new(plain.collect::<Vec<_>>()));
    let mut decoder = ReaderBuilder::new(plain).with_batch_size(rows.len()).build_decoder().map_err(failed)?;
    decoder.serialize(rows).map_err(failed)?;
    let decoded = decoder.flush().map_err(failed)?;
    let decoded = decoded.ok_or_else(|| Error::bug("enter load", "there are no rows"))?;
    let arrays = columns.fields().iter().zip(decoded.columns()).map(|(field, column)| -> ArrayRef {
        if !is_time(field) {
            return Arc::clone(column);
        }
        let micros = column.as_primitive::<Int64Type>().reinterpret_cast::<TimestampMicrosecondType>();
        Arc::new(micros.with_data_type(field.data_type().clone()))
    });
    RecordBatch::try_new(Arc::clone(columns), arrays.collect()).map_err(failed)
}

/// A file with these rows.
async fn store(log: &Log, env: &Env, name: String, columns: &SchemaRef, batches: &[RecordBatch]) -> Result<Add> {
    let failed = |e: ParquetError| Error::bug("enter load", "the rows cannot be written as Parquet").with_source(e);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(columns), None).map_err(failed)?;
    for batch in batches {
        writer.write(batch).map_err(failed)?;
    }
    let footer = writer.finish().map_err(failed)?;
    drop(writer);
    let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    log.store.put(&log.folder.join(&name)?, bytes.into()).await?;
    Ok(Add {
        path: name,
        partition_values: BTreeMap::new(),
        size,
        modification_time: millis(env),
        data_change: true,
        stats: Some(stats::of(&footer, columns, rows as u64)),
        ..Add::default()
    })
}

fn load_columns() -> SchemaRef {
    let texts = ["load_id", "pipeline", "incarnation", "digest", "disposition", "position", "ledger"];
    let longs = [
        "shard",
        "epoch",
        "generation",
        "rows_staged",
        "rows_inserted",
        "rows_updated",
        "rows_deleted",
        "enumeration",
        "table_version",
    ];
    let mut fields: Vec<Field> = texts.map(|name| Field::new(name, DataType::Utf8, true)).into();
    fields.extend(longs.map(|name| Field::new(name, DataType::Int64, true)));
    fields.extend([Field::new("schema_version", DataType::Int32, true), Field::new("whole", DataType::Boolean, true)]);
    fields.push(time("committed_at"));
    Arc::new(Schema::new(fields))
}

fn schema_columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("version", DataType::Int32, true),
        Field::new("load_id", DataType::Utf8, true),
        Field::new("columns", DataType::Utf8, true),
        time("since"),
        Field::new("table_version", DataType::Int64, true),
    ]))
}

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
}
