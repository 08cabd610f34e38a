//! The command line.

use crate::target::{Settings, Target};
use landfall::sink::Disposition;
use landfall::{Error, Result};
use std::path::PathBuf;

pub(crate) struct Command {
    pub(crate) what: String,
    pub(crate) target: Target,
    /// Whether the sink looks at no row that is there.
    pub(crate) appends: bool,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) api: String,
    pub(crate) state: String,
}

impl Command {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let wrong = |message| Error::config("read command", message);
        let mut next = |message| arguments.next().ok_or_else(|| wrong(message));
        let what = next("which command?")?;
        let sink = next("which sink?")?;
        let (mut settings, mut files) = (Settings::default(), Vec::new());
        let (mut api, mut state) = (String::new(), String::new());
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().ok_or_else(|| wrong("an option without a value").with("option", &argument));
            match argument.as_str() {
                "--api" => api = value()?,
                "--state" => state = value()?,
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
        let appends = settings.disposition == Disposition::Append;
        Ok(Self { what, target: settings.target(&sink)?, appends, files, api, state })
    }
}

fn columns(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}
