//! The command line.

use crate::machine;
use crate::target::{Settings, Target};
use landfall::env::Env;
use landfall::sink::Disposition;
use landfall::testkit::Defect;
use landfall::{Error, Result};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) struct Command {
    pub(crate) what: String,
    pub(crate) target: Target,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) load: Load,
    /// Whether everything runs on one thread: calls of the system come in one order.
    pub(crate) one_thread: bool,
    /// What is broken on purpose; it is broken on one thread only.
    pub(crate) defect: Option<Defect>,
}

/// What is said of a load besides its sink.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) env: Env,
    pub(crate) api: String,
    pub(crate) state: String,
    /// From the landing of the load that asks the API, which is not asked.
    pub(crate) again: bool,
    /// Whether the sink looks at no row that is there.
    pub(crate) appends: bool,
    /// Whether checkpoints are in the database of `WAREHOUSE_URL`, whatever the sink is.
    pub(crate) in_database: bool,
    /// How long a database that is away is asked again, if not as long as by default.
    pub(crate) patience: Option<Duration>,
    pub(crate) kept_checkpoints: Option<u64>,
    pub(crate) prune: bool,
}

impl Command {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let wrong = |message| Error::config("read command", message);
        let mut next = |message| arguments.next().ok_or_else(|| wrong(message));
        let what = next("which command?")?;
        let sink = next("which sink?")?;
        let (mut settings, mut files) = (Settings::default(), Vec::new());
        let (mut one_thread, mut defect) = (false, None);
        let mut load = Load { again: what == "again", ..Load::default() };
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().ok_or_else(|| wrong("an option without a value").with("option", &argument));
            match argument.as_str() {
                "--api" => load.api = value()?,
                "--state" => load.state = value()?,
                "--checkpoints-in-database" => load.in_database = true,
                "--patience" => {
                    let seconds = value()?.parse().map_err(|_| wrong("`--patience` takes seconds"))?;
                    settings.patience = Some(Duration::from_secs(seconds));
                }
                "--keep" => {
                    load.kept_checkpoints = Some(value()?.parse().map_err(|_| wrong("`--keep` takes a number"))?);
                }
                "--prune" => load.prune = true,
                "--one-thread" => one_thread = true,
                "--defect" => {
                    let name = value()?;
                    let found = Defect::ALL.iter().copied().find(|defect| format!("{defect:?}") == name);
                    defect = Some(found.ok_or_else(|| wrong("an unknown defect").with("defect", name))?);
                }
                "--disposition" => {
                    settings.disposition = serde_json::from_str(&value()?)
                        .map_err(|e| wrong("this is no disposition as JSON").with_source(e))?;
                }
                "--partition-by" => settings.partition_by = columns(&value()?),
                "--lanes" => {
                    settings.lanes = Some(value()?.parse().map_err(|_| wrong("`--lanes` takes a number"))?);
                }
                option if option.starts_with("--") => return Err(wrong("an unknown option").with("option", option)),
                _ => files.push(argument.into()),
            }
        }
        if one_thread {
            settings.env = machine::one_thread(Duration::ZERO);
        }
        (load.env, load.patience) = (settings.env.clone(), settings.patience);
        load.appends = settings.disposition == Disposition::Append;
        Ok(Self { what, target: settings.target(&sink)?, files, load, one_thread, defect })
    }
}

fn columns(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}
