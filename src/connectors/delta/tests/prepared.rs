//! An epoch that is prepared is committed as it was, whatever is configured when it rolls forward.

use super::merge::{texts, versions};
use super::replace::enumerate;
use super::*;
use crate::sink::{Enumeration, Replace, ReplacePartitions};

/// Commits an epoch that was staged under `then` with a table that is `now`; gives what the table holds.
async fn roll_forward(then: Disposition, now: Disposition, epoch: RecordBatch) -> Vec<(i64, String)> {
    let store = Store::memory();
    let begun = table(&store).disposition(then.clone());
    let staged = stage(&begun, 1, 1, versions(&[(1, 5, "a", false), (2, 5, "b", false)])).await;
    commit(&begun, 1, 1, None, &staged).await.expect("commits");
    let staged = stage(&begun, 1, 2, epoch).await;
    let text = serde_json::to_string(&staged).expect("plain data");
    let staged = serde_json::from_str(&text).expect("own text");
    let now = table(&store).disposition(now);
    assert_eq!(commit(&now, 2, 2, Some(1), &staged).await.expect("rolls forward"), CommitOutcome::Done);
    texts(&store).await
}

fn pairs(given: &[(i64, &str)]) -> Vec<(i64, String)> {
    given.iter().map(|(id, text)| (*id, (*text).to_owned())).collect()
}

#[tokio::test]
async fn a_sweep_that_is_asked_for_later_is_none_of_what_was_prepared() {
    let epoch = versions(&[(1, 6, "A", false)]);
    let seen = roll_forward(Upsert::by(["id"]).into(), Upsert::by(["id"]).sweep(0.2).into(), epoch).await;
    assert_eq!(seen, pairs(&[(1, "A"), (2, "b")]));
}

#[tokio::test]
async fn what_makes_a_row_the_newest_or_deleted_is_what_did_when_it_was_prepared() {
    let upsert = || Upsert::by(["id"]);
    let epoch = || versions(&[(1, 1, "old", false), (2, 6, "gone", true)]);
    let all = pairs(&[(1, "old"), (2, "gone")]);
    assert_eq!(roll_forward(upsert().into(), upsert().deleted_when("gone").into(), epoch()).await, all);
    assert_eq!(roll_forward(upsert().into(), upsert().newest("at").into(), epoch()).await, all);
    // Nothing that was staged has this column.
    assert_eq!(roll_forward(upsert().into(), upsert().newest("changed_at").into(), epoch()).await, all);
    let strict = upsert().newest("at").deleted_when("gone");
    assert_eq!(roll_forward(strict.into(), upsert().into(), epoch()).await, pairs(&[(1, "a")]));
}

#[tokio::test]
async fn a_sweep_that_was_prepared_is_made_though_none_is_asked_for_any_more() {
    let store = Store::memory();
    let begun = table(&store).disposition(Upsert::by(["id"]).sweep(1.0));
    enumerate(&begun, 1, &[rows([1, 2, 3])], true).await.expect("is whole");
    enumerate(&begun, 2, &[rows([1])], false).await.expect("loads");
    let enumeration = Some(Enumeration { whole: true, ..Enumeration::begun(2) });
    let context = EpochContext { enumeration, must_commit: true, ..context(1, 4) };
    let (staged, _) = try_stage(&begun, context, Vec::new()).await.expect("stages");
    let request = CommitRequest { enumeration, ..request(2, 4, Some(3), &staged) };
    let now = table(&store).upsert(["id"]);
    assert_eq!(now.commit(&env(), request).await.expect("rolls forward"), CommitOutcome::Done);
    assert_eq!(ids(&store).await, [1]);
}

/// Its rows came before anyone asked for the newest ones, and have no such column.
#[tokio::test]
async fn an_enumeration_becomes_whole_though_its_rows_lack_what_makes_one_the_newest_now() {
    for (then, now) in [
        (Replace::table().key(["id"]).into(), Replace::table().key(["id"]).newest("at").into()),
        (
            Disposition::from(ReplacePartitions::by(["country"]).key(["id"])),
            ReplacePartitions::by(["country"]).key(["id"]).newest("at").into(),
        ),
    ] {
        let store = Store::memory();
        let open = |disposition: &Disposition| {
            let table = table(&store).disposition(disposition.clone());
            table.partition_by(["country"]).expect("valid")
        };
        enumerate(&open(&then), 1, &[rows([1, 2]), rows([2, 3])], false).await.expect("waits");
        enumerate(&open(&now), 1, &[], true).await.expect("is whole");
        assert_eq!(ids(&store).await, [1, 2, 3]);
    }
}

#[test]
fn a_change_of_what_becomes_of_rows_is_told() {
    let settings = |disposition: Upsert| {
        let config = table(&Store::memory()).disposition(disposition).config().expect("known");
        config.settings
    };
    let upsert = || Upsert::by(["id"]);
    for other in [upsert().newest("at"), upsert().deleted_when("gone"), upsert().sweep(0.2)] {
        assert_ne!(settings(upsert()), settings(other));
    }
}
