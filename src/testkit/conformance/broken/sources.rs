use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Coverage, Partition, PartitionId, Proof, Rows, StopReason};
use crate::source::{ComponentConfig, Emitter, Listing, RowsRead, Source};
use crate::testkit::conformance::{SourceTrial, source};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a source of numbers does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    NamesByChance,
    AdvancesFirst,
    LeavesOneOut,
    PositionsAhead,
    BeginsAgainAtTheEnd,
    IgnoresPositions,
    ShowsItsKey,
    ShowsItsKeyInItems,
    ShowsItsKeyInUrls,
    ShowsItsKeyInHeaders,
    ShowsALineOfItsKey,
    ShowsItsKeyInFences,
    ShowsItsKeyInCoverage,
    ShowsItsKeyInTheLastCoverage,
    ShowsItsKeyInErrors,
    ShowsItsKeyInCauses,
    LogsItsKey,
    IsNeverRefused,
    HasNoRefusal,
    EndsWithoutProof,
    SharesItsPlace,
    FailsWhenCancelled,
    EndsWhenCancelled,
    ConfiguresByChance,
}

/// `Debug` and URLs write it in other ways.
const KEY: &str = "key/\"5f1c\"";

const LINES: &str = "the first line of a key\nthe second line of a key";

static MADE: AtomicU64 = AtomicU64::new(0);

struct Numbers {
    defect: Defect,
    made: u64,
    place: AtomicU64,
    /// Whether its key is one that was revoked.
    refused: bool,
}

/// A record, and beside it how it was asked for.
#[derive(Clone, Debug)]
struct Number {
    number: u64,
    _asked: String,
}

const PARTITIONS: [(&str, std::ops::Range<u64>); 2] = [("a", 0..7), ("b", 10..14)];

#[async_trait]
impl Source for Numbers {
    type Item = Rows<Number>;
    type Position = RowsRead;

    fn config(&self) -> Result<ComponentConfig> {
        let by_chance = if self.defect == Defect::ConfiguresByChance { self.made } else { 0 };
        let config = ComponentConfig::none().with_identity(json!(by_chance));
        Ok(if self.defect == Defect::ShowsItsKey { config.with_settings(json!({ "key": KEY })) } else { config })
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<RowsRead>) -> Result<()> {
        let parent = PartitionId::from(if self.defect == Defect::ShowsItsKeyInFences { KEY } else { "letters" });
        let from = out.position(&parent).await?.map_or(0, |listed| listed.0);
        for (listed, (id, _)) in (1..).zip(PARTITIONS).filter(|(listed, _)| *listed > from) {
            let id = if self.defect == Defect::NamesByChance { format!("{id}{}", self.made) } else { id.to_owned() };
            if self.defect == Defect::AdvancesFirst {
                out.advance(&parent, &RowsRead(listed)).await?;
            }
            // Twice, as of two records of a parent.
            out.add_all(vec![Partition::new(id.clone()), Partition::new(id)]).await?;
            if self.defect != Defect::AdvancesFirst {
                out.advance(&parent, &RowsRead(listed)).await?;
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        _env: &Env,
        partition: &Partition,
        from: Option<RowsRead>,
        out: &mut Emitter<Rows<Number>, RowsRead>,
    ) -> Result<StopReason> {
        if self.defect == Defect::LogsItsKey {
            tracing::trace!(key = KEY, "asks");
        }
        if self.refused {
            let error = Error::new(ErrorKind::Auth, "read numbers", "who are you?");
            return Err(match self.defect {
                Defect::ShowsItsKeyInErrors => error.with("key", KEY),
                Defect::ShowsItsKeyInCauses => error.with_source(std::io::Error::other(KEY)),
                _ => error,
            });
        }
        let numbers = PARTITIONS.into_iter().find(|(id, _)| *id == partition.id.0).map_or(0..0, |(_, numbers)| numbers);
        let mut numbers: Vec<u64> = numbers.collect();
        if self.defect == Defect::LeavesOneOut {
            numbers.pop();
        }
        let all = numbers.len() as u64;
        let shows = |key: &str| Coverage::of(partition.id.clone(), StopReason::LimitReached(key.to_owned()));
        if self.defect == Defect::ShowsItsKeyInCoverage {
            out.cover(shows(KEY));
        }
        let mut at = from.map_or(0, |from| from.0);
        if self.defect == Defect::BeginsAgainAtTheEnd && at == all {
            // As an API does that takes a spent cursor for none.
            at = 0;
        }
        if self.defect == Defect::IgnoresPositions {
            at = 0;
        }
        self.place.store(at, Ordering::SeqCst);
        while at < all {
            if self.defect == Defect::SharesItsPlace {
                at = self.place.load(Ordering::SeqCst);
            }
            let Some(number) = numbers.get(usize::try_from(at).unwrap_or(usize::MAX)) else { break };
            at += 1;
            self.place.store(at, Ordering::SeqCst);
            let after = if self.defect == Defect::PositionsAhead { at + 1 } else { at };
            let asked = match self.defect {
                Defect::ShowsItsKeyInItems => KEY.to_owned(),
                Defect::ShowsItsKeyInUrls => "/numbers?key=key%2F%225f1c%22".to_owned(),
                Defect::ShowsItsKeyInHeaders => format!("Basic {}", STANDARD.encode(format!("user:{KEY}"))),
                Defect::ShowsALineOfItsKey => LINES.lines().nth(1).unwrap_or_default().to_owned(),
                _ => String::new(),
            };
            match out.emit(Rows(vec![Number { number: *number, _asked: asked }]), &RowsRead(after)).await {
                Err(_) if self.defect == Defect::FailsWhenCancelled => panic!("nobody takes the item"),
                Err(_) if self.defect == Defect::EndsWhenCancelled => break,
                emitted => emitted?,
            }
            if out.is_cancelled() && self.defect == Defect::FailsWhenCancelled {
                panic!("cancelled");
            }
        }
        if self.defect == Defect::ShowsItsKeyInTheLastCoverage {
            out.cover(shows(KEY));
        }
        match self.defect {
            Defect::EndsWithoutProof => Ok(StopReason::LimitReached("enough".to_owned())),
            _ => Ok(StopReason::Exhausted(Proof::EndOfInput)),
        }
    }
}

struct Trial(Defect);

#[async_trait]
impl SourceTrial for Trial {
    type Source = Numbers;

    fn source(&self) -> Numbers {
        let made = MADE.fetch_add(1, Ordering::SeqCst);
        Numbers { defect: self.0, made, place: AtomicU64::new(0), refused: false }
    }

    fn records(&self, item: &Rows<Number>) -> Vec<String> {
        item.0.iter().map(|row| row.number.to_string()).collect()
    }

    fn secrets(&self) -> Vec<String> {
        vec![KEY.to_owned(), LINES.to_owned()]
    }

    async fn refused(&self) -> Option<Numbers> {
        let refused = self.0 != Defect::IsNeverRefused;
        (self.0 != Defect::HasNoRefusal).then(|| Numbers { refused, ..self.source() })
    }

    fn is_exact(&self) -> bool {
        true
    }

    async fn all(&self) -> BTreeMap<String, Vec<String>> {
        PARTITIONS.into_iter().map(|(id, numbers)| (id.to_owned(), numbers.map(|n| n.to_string()).collect())).collect()
    }
}

macro_rules! run {
    ($check:ident, $defect:expr) => {
        async { source::$check(&Trial($defect)).await }
    };
}

caught! { run:
    g1_a_partition_has_one_id_in_every_run by NamesByChance;
    g2_all_records_are_read by LeavesOneOut;
    g2_reading_from_a_position_gives_the_rest by PositionsAhead, IgnoresPositions;
    g2_the_end_is_a_position_too by BeginsAgainAtTheEnd, IgnoresPositions;
    g2_listing_from_a_fence_gives_the_rest by AdvancesFirst;
    g3_the_end_is_proven by EndsWithoutProof;
    g5_reads_at_the_same_time_do_not_share by SharesItsPlace;
    g6_secrets_appear_nowhere by ShowsItsKey, ShowsItsKeyInItems, ShowsItsKeyInUrls, ShowsItsKeyInHeaders,
        ShowsALineOfItsKey, ShowsItsKeyInFences, ShowsItsKeyInCoverage, ShowsItsKeyInTheLastCoverage,
        ShowsItsKeyInErrors, ShowsItsKeyInCauses, LogsItsKey, IsNeverRefused, HasNoRefusal;
    a_read_that_is_cancelled_ends_and_can_be_gone_on_with by FailsWhenCancelled, EndsWhenCancelled, PositionsAhead;
    its_configuration_is_stable by ConfiguresByChance;
}
