//! The command line.

use landfall::{Error, Result};
use std::path::PathBuf;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Load.
    Load {
        path: PathBuf,
        json: bool,
    },
    /// Say whether the spec is sound, without asking the API anything.
    Check {
        path: PathBuf,
    },
    /// Send the first request, and print what to write by what comes back.
    Detect {
        /// A URL, or a spec whose `[source]` says how to ask.
        of: String,
    },
    /// Give up what the destination refuses for good.
    Abandon {
        path: PathBuf,
        by: String,
        why: String,
    },
    /// List what was given up.
    Abandoned {
        path: PathBuf,
        json: bool,
    },
    Help,
}

/// How to call it.
pub(crate) const USAGE: &str = "usage: ingest <spec.toml> [--json]   load, and print what became of every record
       ingest check <spec.toml>      say whether the spec is sound; asks the API nothing
       ingest detect <URL>           ask once, and print a spec to begin with, and the same as code
       ingest detect <spec.toml>     the same with what its [source] says already, such as `auth`
       ingest abandon <spec.toml> --by NAME --why TEXT
                                     give up epochs that the destination refuses for good; their records are staged anew
       ingest abandoned <spec.toml> [--json]
                                     list what was given up: when, by whom, why, and how many records
";

impl Command {
    /// Reads the arguments.
    ///
    /// # Errors
    /// `Config`, with the usage.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let wrong = |what| Error::config("read arguments", what).with_hint("`ingest --help` says how to call it");
        let (mut words, mut json, mut by, mut why) = (Vec::new(), false, None, None);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--json" => json = true,
                "--by" => by = arguments.next(),
                "--why" => why = arguments.next(),
                flag if flag.starts_with("--") => return Err(wrong("an option that is not known").with("option", flag)),
                _ => words.push(argument),
            }
        }
        match words.as_slice() {
            [abandon, path] if abandon == "abandon" => match (by, why) {
                (Some(by), Some(why)) => Ok(Self::Abandon { path: path.into(), by, why }),
                _ => Err(wrong("it must be said who gives up, and why, with `--by` and `--why`")),
            },
            _ if by.is_some() || why.is_some() => Err(wrong("`--by` and `--why` belong to `abandon`")),
            [abandoned, path] if abandoned == "abandoned" => Ok(Self::Abandoned { path: path.into(), json }),
            [path] => Ok(Self::Load { path: path.into(), json }),
            [check, path] if check == "check" => Ok(Self::Check { path: path.into() }),
            [detect, of] if detect == "detect" => Ok(Self::Detect { of: of.clone() }),
            [] => Err(wrong("no spec is named")),
            [.., last] => Err(wrong("more than a spec is named").with("unexpected", last)),
        }
    }
}
