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
    Help,
}

/// How to call it.
pub(crate) const USAGE: &str = "usage: ingest <spec.toml> [--json]   load, and print what became of every record
       ingest check <spec.toml>      say whether the spec is sound; asks the API nothing
       ingest detect <URL>           ask once, and print a spec to begin with, and the same as code
       ingest detect <spec.toml>     the same with what its [source] says already, such as `auth`
";

impl Command {
    /// Reads the arguments.
    ///
    /// # Errors
    /// `Config`, with the usage.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let wrong = |what| Error::config("read arguments", what).with_hint("`ingest --help` says how to call it");
        let (mut words, mut json) = (Vec::new(), false);
        for argument in arguments {
            match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--json" => json = true,
                flag if flag.starts_with("--") => return Err(wrong("an option that is not known").with("option", flag)),
                _ => words.push(argument),
            }
        }
        match words.as_slice() {
            [path] => Ok(Self::Load { path: path.into(), json }),
            [check, path] if check == "check" => Ok(Self::Check { path: path.into() }),
            [detect, of] if detect == "detect" => Ok(Self::Detect { of: of.clone() }),
            [] => Err(wrong("no spec is named")),
            [.., last] => Err(wrong("more than a spec is named").with("unexpected", last)),
        }
    }
}
