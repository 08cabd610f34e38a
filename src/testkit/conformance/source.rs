//! What [`Source`] promises. [`source_conformance!`](crate::source_conformance) makes a test of each check.
//!
//! Left to tests of the implementation, over a script of its API:
//! - Guarantee 3, evidence that conflicts: an API that breaks off, lies or repeats itself.
//! - Guarantee 4: a response that was cut on its way.
//! - Coverage: whether what a read says of it is so. Here it is only searched for secrets.

use super::logged::logged;
use super::told::given;
use crate::env::Env;
use crate::env::watch;
use crate::model::{Item, Partition, PartitionId, PositionValue, StopReason};
use crate::source::{Emission, Emitter, Listed, Said, Source, list};
use crate::testkit::secret_forms;
use async_trait::async_trait;
use futures::future::{join, join_all};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// A source that is checked, over data that do not change meanwhile.
#[async_trait]
pub trait SourceTrial: Send + Sync {
    /// The source. What its items show of themselves is searched for secrets.
    type Source: Source<Item: Debug>;

    /// The source as another process makes it.
    fn source(&self) -> Self::Source;

    /// The records of an item, each as text: two are the same if their texts are.
    fn records(&self, item: &<Self::Source as Source>::Item) -> Vec<String>;

    /// All records that there are, by partition. One of them gives more than one item; with two or more, reads side by side
    /// are checked too.
    async fn all(&self) -> BTreeMap<String, Vec<String>>;

    /// Whether a position gives exactly what comes after it. `false` for a source that reads something again (an overlap, a page
    /// that is read whole): then nothing may be skipped or invented.
    fn is_exact(&self) -> bool;

    /// The secrets that the sources were given, as they are: they must appear nowhere, in none of their
    /// [forms](crate::testkit::secret_forms). Let the API refuse who does not show them, or the check shows nothing. None only of a source that
    /// takes none.
    fn secrets(&self) -> Vec<String>;

    /// The source at an API that refuses its secrets, as if they were revoked, and best repeats them in what it answers: what the source says of
    /// that is searched for them too. `None` only of a source that takes none. Called last: the API need not let anybody in again.
    async fn refused(&self) -> Option<Self::Source>;
}

/// Makes a `#[tokio::test]` of every check of a source. The expression gives a
/// [`SourceTrial`]; it may await, and it may `return` to skip the check.
/// The crate needs `tokio` with `macros` and `rt`, and a second call a module of its own.
///
/// ```
/// use landfall::async_trait;
/// use landfall::model::Rows;
/// use landfall::source::IterSource;
/// use landfall::testkit::conformance::SourceTrial;
/// use std::collections::BTreeMap;
///
/// struct Numbers;
///
/// #[async_trait]
/// impl SourceTrial for Numbers {
///     type Source = IterSource<u64>;
///     fn source(&self) -> IterSource<u64> {
///         IterSource::new(1..=10).with_partition("more", 11..=12).with_batch(3)
///     }
///     fn records(&self, item: &Rows<u64>) -> Vec<String> {
///         item.0.iter().map(u64::to_string).collect()
///     }
///     async fn all(&self) -> BTreeMap<String, Vec<String>> {
///         let texts = |numbers: std::ops::RangeInclusive<u64>| numbers.map(|n| n.to_string()).collect();
///         BTreeMap::from([("all".into(), texts(1..=10)), ("more".into(), texts(11..=12))])
///     }
///     fn is_exact(&self) -> bool {
///         true // nothing is read again
///     }
///     fn secrets(&self) -> Vec<String> {
///         Vec::new() // it asks nobody
///     }
///     async fn refused(&self) -> Option<IterSource<u64>> {
///         None // so nobody refuses it
///     }
/// }
///
/// landfall::source_conformance!(Numbers);
/// ```
#[macro_export]
macro_rules! source_conformance {
    ($open:expr) => {
        $crate::source_conformance! { $open;
            g1_a_partition_has_one_id_in_every_run
            g2_all_records_are_read
            g2_reading_from_a_position_gives_the_rest
            g2_the_end_is_a_position_too
            g2_listing_from_a_fence_gives_the_rest
            g3_the_end_is_proven
            g5_reads_at_the_same_time_do_not_share
            g6_secrets_appear_nowhere
            a_read_that_is_cancelled_ends_and_can_be_gone_on_with
            its_configuration_is_stable
        }
    };
    ($open:expr; $($check:ident)+) => {
        $(
            #[tokio::test]
            async fn $check() {
                let trial = $open;
                let _told = $crate::testkit::conformance::told("Source", stringify!($check));
                $crate::testkit::conformance::source::$check(&trial).await;
            }
        )+
    };
}

/// What a read gives at a time.
struct Step {
    /// The records of the item, if there is one.
    records: Vec<String>,
    /// All that the item shows, and what is said of coverage.
    shown: String,
    /// The position after it, as a checkpoint holds it.
    position: Option<serde_json::Value>,
}

/// Memory for a read of a check: more than any needs.
const BYTES: u64 = 64 << 20;

/// What to do about a record that is read again, if that is right.
const MAY_READ_AGAIN: &str = "if it may, say so by `is_exact`";

/// What a read gives from a position on; it is cancelled after so many items.
async fn read<T: SourceTrial>(
    trial: &T,
    source: &T::Source,
    partition: &Partition,
    from: Option<serde_json::Value>,
    items: usize,
) -> (Vec<Step>, crate::error::Result<StopReason>) {
    let from = from.map(|value| serde_json::from_value(value).expect("a position is read again from a checkpoint"));
    let (queue, mut emitted) = mpsc::channel::<Emission<<T::Source as Source>::Item>>(1);
    let (cancel, stop) = watch::channel(false);
    let budget = Arc::new(Semaphore::new(BYTES as usize));
    let said = Said::default();
    let reading = async {
        let mut out = Emitter::new(partition.clone(), budget, BYTES, queue, stop).with_said(said.clone());
        source.read(&Env::system(), partition, from, &mut out).await
    };
    let taking = async {
        let mut steps = Vec::new();
        while let Some(emission) = emitted.recv().await {
            let records = emission.item.as_ref().map(|item| {
                let records = trial.records(item);
                assert_eq!(records.len() as u64, item.records(), "an item counts other records than it has");
                records
            });
            steps.push(Step {
                records: records.unwrap_or_default(),
                shown: format!("{:?} {:?}", emission.item, emission.coverage),
                position: emission.position.map(|position| position.value),
            });
            if steps.len() >= items {
                cancel.send_replace(true);
            }
        }
        steps
    };
    let (ended, mut steps) = join(reading, taking).await;
    // Of the coverage, what no position has followed.
    let (_, coverage) = said.take();
    steps.push(Step { records: Vec::new(), shown: format!("{coverage:?}"), position: None });
    (steps, ended)
}

async fn read_all<T: SourceTrial>(trial: &T, source: &T::Source, partition: &Partition) -> Vec<Step> {
    let (steps, ended) = read(trial, source, partition, None, usize::MAX).await;
    let ended = ended.unwrap_or_else(|e| panic!("read {}: {e}", partition.id));
    assert!(matches!(ended, StopReason::Exhausted(_)), "{}: ended by {ended:?}", partition.id);
    steps
}

fn records(steps: &[Step]) -> Vec<String> {
    steps.iter().flat_map(|step| &step.records).cloned().collect()
}

fn sorted(mut records: Vec<String>) -> Vec<String> {
    records.sort_unstable();
    records
}

/// All that a source lists where its parents stand at `positions`.
async fn listed<T: SourceTrial>(source: &T::Source, positions: BTreeMap<PartitionId, PositionValue>) -> Vec<Listed> {
    list(source, &Env::system(), positions).await.expect("partitions")
}

/// The partitions among it. As in a run, the first one of an id counts.
fn distinct(listed: &[Listed]) -> Vec<Partition> {
    let mut seen = BTreeSet::new();
    let partitions = listed.iter().filter_map(|listed| match listed {
        Listed::Partition(partition) => Some(partition.clone()),
        Listed::Fence { .. } => None,
    });
    partitions.filter(|partition| seen.insert(partition.id.clone())).collect()
}

fn ids(listed: &[Listed]) -> BTreeSet<PartitionId> {
    distinct(listed).into_iter().map(|partition| partition.id).collect()
}

async fn partitions<T: SourceTrial>(source: &T::Source) -> Vec<Partition> {
    distinct(&listed::<T>(source, BTreeMap::new()).await)
}

/// Guarantee 1, stable ids.
pub async fn g1_a_partition_has_one_id_in_every_run<T: SourceTrial>(trial: &T) {
    let first = ids(&listed::<T>(&trial.source(), BTreeMap::new()).await);
    let another = ids(&listed::<T>(&trial.source(), BTreeMap::new()).await);
    assert_eq!(first, another, "another run has other ids");
    assert_eq!(first.into_iter().map(|id| id.0).collect::<Vec<_>>(), Vec::from_iter(trial.all().await.into_keys()));
}

/// Guarantee 2, position after.
pub async fn g2_all_records_are_read<T: SourceTrial>(trial: &T) {
    let source = trial.source();
    let all = trial.all().await;
    for partition in partitions::<T>(&source).await {
        let read = records(&read_all(trial, &source, &partition).await);
        assert_eq!(Some(sorted(read)), all.get(&partition.id.0).cloned().map(sorted), "{}", partition.id);
    }
}

/// Guarantee 2, position after.
pub async fn g2_reading_from_a_position_gives_the_rest<T: SourceTrial>(trial: &T) {
    let source = trial.source();
    let mut within = false;
    for partition in partitions::<T>(&source).await {
        let steps = read_all(trial, &source, &partition).await;
        for (number, step) in steps.iter().enumerate() {
            let Some(position) = &step.position else { continue };
            let (again, ended) = read(trial, &trial.source(), &partition, Some(position.clone()), usize::MAX).await;
            let ended = ended.unwrap_or_else(|e| panic!("read {} from {position}: {e}", partition.id));
            assert!(matches!(ended, StopReason::Exhausted(_)), "{} from {position}: {ended:?}", partition.id);
            let again = records(&again);
            let (before, rest) = steps.split_at_checked(number + 1).unwrap_or_default();
            let rest = records(rest);
            // Where nothing comes after it, a position that is too far skips nothing.
            within |= !rest.is_empty();
            let skipped: Vec<_> = rest.iter().filter(|record| !again.contains(record)).collect();
            assert!(skipped.is_empty(), "{} from {position}: skipped {skipped:?}", partition.id);
            let known = [records(before), rest.clone()].concat();
            let invented: Vec<_> = again.iter().filter(|record| !known.contains(record)).collect();
            assert!(invented.is_empty(), "{} from {position}: invented {invented:?}", partition.id);
            if trial.is_exact() {
                let id = &partition.id;
                assert_eq!(sorted(again), sorted(rest), "{id} from {position}: read again: {MAY_READ_AGAIN}");
            }
        }
    }
    given(within, "no partition gives more than one item: let the source give less at a time");
}

/// Guarantee 2: the next run has nothing to read, and says so.
pub async fn g2_the_end_is_a_position_too<T: SourceTrial>(trial: &T) {
    let source = trial.source();
    for partition in partitions::<T>(&source).await {
        let steps = read_all(trial, &source, &partition).await;
        let Some(end) = steps.iter().rev().find_map(|step| step.position.clone()) else { continue };
        let (again, ended) = read(trial, &trial.source(), &partition, Some(end), usize::MAX).await;
        let ended = ended.unwrap_or_else(|e| panic!("read {} from its end: {e}", partition.id));
        assert!(matches!(ended, StopReason::Exhausted(_)), "{}: {ended:?}", partition.id);
        let (known, again) = (records(&steps), records(&again));
        if trial.is_exact() {
            assert_eq!(again, [""; 0], "{}: read again from its end: {MAY_READ_AGAIN}", partition.id);
        }
        let invented: Vec<_> = again.into_iter().filter(|record| !known.contains(record)).collect();
        assert!(invented.is_empty(), "{}: invented {invented:?} at its end", partition.id);
    }
}

/// Guarantee 2, of a fence: a run that begins there finds what the one before had not listed. A source without fences has none of this to keep.
pub async fn g2_listing_from_a_fence_gives_the_rest<T: SourceTrial>(trial: &T) {
    let all = listed::<T>(&trial.source(), BTreeMap::new()).await;
    let mut passed = BTreeMap::new();
    for (number, next) in all.iter().enumerate() {
        let Listed::Fence { partition: parent, to } = next else { continue };
        passed.insert(parent.clone(), to.clone());
        let rest = listed::<T>(&trial.source(), passed.clone()).await;
        let (before, _) = all.split_at(number);
        assert_eq!(&ids(before) | &ids(&rest), ids(&all), "listed until {parent} is at {}, and from there", to.value);
    }
}

/// Guarantee 3, proof of the end.
pub async fn g3_the_end_is_proven<T: SourceTrial>(trial: &T) {
    let source = trial.source();
    for partition in partitions::<T>(&source).await {
        let (_, ended) = read(trial, &source, &partition, None, usize::MAX).await;
        let ended = ended.unwrap_or_else(|e| panic!("read {}: {e}", partition.id));
        assert!(matches!(ended, StopReason::Exhausted(_)), "{}: {ended:?} proves nothing", partition.id);
    }
}

/// Guarantee 5, no sharing.
pub async fn g5_reads_at_the_same_time_do_not_share<T: SourceTrial>(trial: &T) {
    let source = trial.source();
    let partitions = partitions::<T>(&source).await;
    let together = join_all(partitions.iter().map(|partition| read_all(trial, &source, partition))).await;
    for (partition, together) in partitions.iter().zip(together) {
        let alone = read_all(trial, &trial.source(), partition).await;
        assert_eq!(records(&together), records(&alone), "{}: other records beside other reads", partition.id);
    }
}

/// What a source says while it is listed and read, and the errors among it.
async fn says<T: SourceTrial>(trial: &T, source: &T::Source) -> (Vec<String>, Vec<String>) {
    let mut said = vec![format!("{:?}", source.config().expect("the configuration is valid"))];
    let mut errors = Vec::new();
    let mut failed = |e: crate::error::Error| errors.push(format!("{e} {e:?}"));
    let listed = list(source, &Env::system(), BTreeMap::new()).await.map_err(&mut failed).unwrap_or_default();
    said.push(format!("{listed:?}"));
    for partition in distinct(&listed) {
        let (steps, ended) = read(trial, source, &partition, None, usize::MAX).await;
        let ended = ended.map_err(&mut failed);
        said.push(format!("{:?}", ended.ok()));
        said.extend(steps.into_iter().map(|step| format!("{:?} {} {:?}", step.records, step.shown, step.position)));
    }
    (said, errors)
}

/// Guarantee 6, secrets: in what is listed and read, in coverage, in the configuration, in errors, and in what is logged on the thread of the
/// check.
pub async fn g6_secrets_appear_nowhere<T: SourceTrial>(trial: &T) {
    let (mut said, log) = logged(async {
        let (mut all, errors) = says(trial, &trial.source()).await;
        given(errors.is_empty(), "it is refused with the secrets that it was given");
        match trial.refused().await {
            Some(refused) => {
                let (said, errors) = says(trial, &refused).await;
                given(!errors.is_empty(), "nobody has refused it: its errors were not looked at");
                all.extend([said, errors].concat());
            }
            None => given(trial.secrets().is_empty(), "say by `refused` how it fails: its errors are not looked at"),
        }
        all
    })
    .await;
    said.push(log);
    for secret in trial.secrets() {
        let forms = secret_forms(&secret);
        given(!forms.is_empty(), "a secret of no letters is nowhere");
        // Without the text itself: a failed check is read by many.
        let shown = said.iter().filter(|text| forms.iter().any(|form| text.contains(form.as_str()))).count();
        assert_eq!(shown, 0, "a secret of {} bytes is shown", secret.len());
    }
}

/// Cancellation.
pub async fn a_read_that_is_cancelled_ends_and_can_be_gone_on_with<T: SourceTrial>(trial: &T) {
    let source = trial.source();
    for partition in partitions::<T>(&source).await {
        let (steps, ended) = read(trial, &source, &partition, None, 1).await;
        let all = trial.all().await.remove(&partition.id.0).unwrap_or_default();
        match ended {
            Ok(StopReason::Cancelled) => {}
            Ok(StopReason::Exhausted(_)) => {
                // The run takes its word, and never reads the rest.
                let given = records(&steps);
                let missing: Vec<_> = all.iter().filter(|record| !given.contains(record)).collect();
                assert!(
                    missing.is_empty(),
                    "{}: cancelled, said to be at its end, and not read: {missing:?}",
                    partition.id
                );
            }
            Err(e) if e.kind() == crate::error::ErrorKind::Cancelled => {}
            other => panic!("{}: cancelled, and ended by {other:?}", partition.id),
        }
        let from = steps.iter().rev().find_map(|step| step.position.clone());
        let (rest, ended) = read(trial, &trial.source(), &partition, from, usize::MAX).await;
        ended.unwrap_or_else(|e| panic!("read the rest of {}: {e}", partition.id));
        let read = [records(&steps), records(&rest)].concat();
        let lost: Vec<_> = all.iter().filter(|record| !read.contains(record)).collect();
        assert!(lost.is_empty(), "{}: lost {lost:?}", partition.id);
    }
}

/// Configuration is what a run is compared with the one before by.
pub async fn its_configuration_is_stable<T: SourceTrial>(trial: &T) {
    let config = || trial.source().config().expect("the configuration is valid");
    assert_eq!(config(), config());
}
