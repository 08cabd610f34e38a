//! What many partitions cost: `partitions <number> <folder>` reads so many, each a few records from a position of its own, and
//! runs again, which finds nothing new. Prints `partitions=… records=… peak_mb=… seconds=… again_seconds=…`.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_macros, reason = "it is a program")]

use landfall::checkpoint::StoreCheckpoints;
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Page, Partition, Position, Proof, Rows, StopReason, Validity};
use landfall::pipeline::{Pipeline, RunReport, Settings};
use landfall::sink;
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::stage::{Output, from_fn};
use landfall::store::Store;
use landfall::{Error, Result, async_trait};
use serde::{Deserialize, Serialize};

/// Records of a partition.
const RECORDS: u64 = 5;

/// The highest id that was read.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ReadTo(u64);

impl Position for ReadTo {
    fn validity(&self) -> Validity {
        Validity::Durable
    }
}

/// So many customers, each with a few orders.
#[derive(Debug)]
struct Customers(u64);

#[async_trait]
impl Source for Customers {
    type Item = Page;
    type Position = ReadTo;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<ReadTo>) -> Result<()> {
        for number in 0..self.0 {
            // Not in the order of their names: neighbours of one run are not neighbours in the table of positions.
            let number = number.wrapping_mul(2_654_435_761) % self.0;
            out.add(Partition::new(format!("customer-{number}"))).await?;
        }
        Ok(())
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<ReadTo>,
        out: &mut Emitter<Page, ReadTo>,
    ) -> Result<StopReason> {
        let ids: Vec<u64> = (from.map_or(0, |p| p.0) + 1..=RECORDS).collect();
        if !ids.is_empty() {
            let lines: Vec<String> = ids.iter().map(|id| format!("{}/{id}", partition.id)).collect();
            let page = Page::new(partition.id.clone(), lines.join("\n"), ids.len() as u64, env.now());
            out.emit(page, &ReadTo(RECORDS)).await?;
        }
        Ok(StopReason::Exhausted(Proof::TotalMatched(RECORDS)))
    }
}

fn lines(page: Page, out: &mut Output<Rows<String>>) -> Result<()> {
    let text = std::str::from_utf8(&page.body).map_err(|e| Error::data("read lines", "not text").with_source(e))?;
    let rows = text.lines().skip(usize::try_from(page.skip).unwrap_or(usize::MAX)).map(str::to_owned).collect();
    out.emit(Rows(rows));
    Ok(())
}

async fn run(partitions: u64, folder: &str) -> Result<RunReport> {
    let store = Store::local(folder)?;
    let report = Pipeline::named("orders")
        .source(Customers(partitions))
        .land(Landing::in_store(&store, "raw")?)
        .stage(from_fn("lines", lines))
        .sink(sink::from_fn(|_rows: Rows<String>| async { Ok(()) }))
        .checkpoints(StoreCheckpoints::new(&store, "state")?)
        .settings(Settings::default().parallel_partitions(16))
        .build_at_least_once()?
        .run()
        .await?;
    Ok(report)
}

/// The most memory that the process ever had, in MiB.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() / 1024
}

async fn both(partitions: u64, folder: &str) -> Result<()> {
    let first = run(partitions, folder).await?;
    let again = run(partitions, folder).await?;
    let seconds = |report: &RunReport| report.ended_at.saturating_since(report.started_at).as_secs_f64();
    let expected = (partitions, partitions, partitions * RECORDS, 0);
    let came = (first.totals.complete, again.totals.complete, first.landed.records, again.landed.records);
    if came != expected {
        return Err(Error::bug("read partitions", "other counts than expected")
            .with("expected", format!("{expected:?}"))
            .with("came", format!("{came:?}")));
    }
    println!(
        "partitions={partitions} records={} peak_mb={} seconds={:.2} again_seconds={:.2}",
        first.landed.records,
        peak_mb(),
        seconds(&first),
        seconds(&again)
    );
    Ok(())
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parsed = match arguments.as_slice() {
        [number, folder] => number.parse().ok().filter(|n| *n > 0).map(|n| (n, folder)),
        _ => None,
    };
    let Some((partitions, folder)) = parsed else {
        eprintln!("usage: partitions <number> <folder>");
        return 2.into();
    };
    // The allocator keeps memory for each thread.
    let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(threads).enable_all().build();
    let runtime = runtime.expect("threads can be started");
    match runtime.block_on(both(partitions, folder)) {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("error: {error}");
            1.into()
        }
    }
}
