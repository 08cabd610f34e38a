use landfall::env::Env;
use landfall::model::{Partition, Position, Proof, Rows, StopReason, Validity};
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::{Result, async_trait};
use serde::{Deserialize, Serialize};

/// A replayable log of lines.
#[derive(Clone)]
pub struct Log(Vec<String>);

impl Log {
    pub fn new(lines: &[&str]) -> Self {
        Self(lines.iter().map(|l| (*l).to_owned()).collect())
    }

    pub fn with(&self, line: &str) -> Self {
        let mut lines = self.0.clone();
        lines.push(line.to_owned());
        Self(lines)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Offset(u64);

impl Position for Offset {
    fn validity(&self) -> Validity {
        Validity::Durable
    }
}

#[async_trait]
impl Source for Log {
    type Item = Rows<String>;
    type Position = Offset;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none().with_identity("log".into()))
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<Offset>) -> Result<()> {
        out.add(Partition::new("log")).await
    }

    async fn read(
        &self,
        _env: &Env,
        _partition: &Partition,
        from: Option<Offset>,
        out: &mut Emitter<Rows<String>, Offset>,
    ) -> Result<StopReason> {
        let start = from.map_or(0, |o| o.0);
        for (line, after) in self.0.iter().zip(1..).skip(usize::try_from(start).unwrap_or(usize::MAX)) {
            out.emit(Rows(vec![line.clone()]), &Offset(after)).await?;
        }
        Ok(StopReason::Exhausted(Proof::EndOfInput))
    }
}

#[cfg(feature = "testkit")]
mod conformance {
    use super::*;
    use landfall::testkit::conformance::SourceTrial;
    use std::collections::BTreeMap;

    const LINES: [&str; 4] = ["3", "1", "x", "2"];

    struct Trial;

    #[async_trait]
    impl SourceTrial for Trial {
        type Source = Log;

        fn source(&self) -> Log {
            Log::new(&LINES)
        }

        fn records(&self, item: &Rows<String>) -> Vec<String> {
            item.0.clone()
        }

        async fn all(&self) -> BTreeMap<String, Vec<String>> {
            BTreeMap::from([("log".to_owned(), LINES.map(str::to_owned).to_vec())])
        }

        fn is_exact(&self) -> bool {
            true // a position is the number of lines before it
        }

        fn secrets(&self) -> Vec<String> {
            Vec::new() // it asks nobody
        }

        async fn refused(&self) -> Option<Log> {
            None // so nobody refuses it
        }
    }

    landfall::source_conformance!(Trial);
}
