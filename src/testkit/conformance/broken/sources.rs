use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Partition, Proof, Rows, StopReason};
use crate::source::{ComponentConfig, Emitter, Listing, RowsRead, Source};
use crate::testkit::conformance::{SourceTrial, source};
use async_trait::async_trait;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a source of numbers does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    NamesByChance,
    ListsTwice,
    LeavesOneOut,
    PositionsAhead,
    BeginsAgainAtTheEnd,
    IgnoresPositions,
    ShowsItsKey,
    ShowsItsKeyInItems,
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

const KEY: &str = "key-5f1c";

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
        for (id, _) in PARTITIONS {
            let id = if self.defect == Defect::NamesByChance { format!("{id}{}", self.made) } else { id.to_owned() };
            out.add(Partition::new(id.clone())).await?;
            if self.defect == Defect::ListsTwice {
                out.add(Partition::new(id)).await?;
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
            let asked = if self.defect == Defect::ShowsItsKeyInItems { format!("?key={KEY}") } else { String::new() };
            match out.emit(Rows(vec![Number { number: *number, _asked: asked }]), &RowsRead(after)).await {
                Err(_) if self.defect == Defect::FailsWhenCancelled => panic!("nobody takes the item"),
                Err(_) if self.defect == Defect::EndsWhenCancelled => break,
                emitted => emitted?,
            }
            if out.is_cancelled() && self.defect == Defect::FailsWhenCancelled {
                panic!("cancelled");
            }
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
        vec![KEY.to_owned()]
    }

    async fn refused(&self) -> Option<Numbers> {
        let refused = self.0 != Defect::IsNeverRefused;
        (self.0 != Defect::HasNoRefusal).then(|| Numbers { refused, ..self.source() })
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
    g1_a_partition_has_one_id_in_every_run by NamesByChance, ListsTwice;
    g2_all_records_are_read by LeavesOneOut;
    g2_reading_from_a_position_gives_the_rest by PositionsAhead, IgnoresPositions;
    g2_the_end_is_a_position_too by BeginsAgainAtTheEnd, IgnoresPositions;
    g3_the_end_is_proven by EndsWithoutProof;
    g5_reads_at_the_same_time_do_not_share by SharesItsPlace;
    g6_secrets_appear_nowhere by ShowsItsKey, ShowsItsKeyInItems, ShowsItsKeyInErrors, ShowsItsKeyInCauses, LogsItsKey,
        IsNeverRefused, HasNoRefusal;
    a_read_that_is_cancelled_ends_and_can_be_gone_on_with by FailsWhenCancelled, EndsWhenCancelled, PositionsAhead;
    its_configuration_is_stable by ConfiguresByChance;
}
