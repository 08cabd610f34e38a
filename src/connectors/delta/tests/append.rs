use super::*;

#[tokio::test]
async fn an_epoch_is_seen_with_its_commit_and_once() {
    let store = Store::memory();
    let owner = table(&store).partition_by(["country"]).expect("valid");
    let first = stage(&owner, 1, 1, rows([1, 2])).await;
    assert_eq!(ids(&store).await, Vec::<i64>::new());
    assert_eq!(owner.mark(&shard()).await.expect("reads"), None);
    assert_eq!(commit(&owner, 1, 1, None, &first).await.expect("commits"), CommitOutcome::Done);
    assert_eq!(commit(&owner, 1, 1, None, &first).await.expect("answers"), CommitOutcome::AlreadyCommitted);
    let second = stage(&owner, 1, 3, rows([3])).await;
    assert_eq!(commit(&owner, 1, 3, Some(1), &second).await.expect("commits"), CommitOutcome::Done);
    assert_eq!(ids(&store).await, [1, 2, 3]);
    let mark = table(&store).mark(&shard()).await.expect("reads").expect("is there");
    assert_eq!(mark, request(1, 3, Some(1), &second).mark);
}

#[tokio::test]
async fn a_commit_answers_by_the_mark() {
    let store = Store::memory();
    let owner = table(&store);
    let first = stage(&owner, 2, 1, rows([1])).await;
    commit(&owner, 2, 1, None, &first).await.expect("commits");
    let other = stage(&owner, 2, 2, rows([2])).await;
    assert!(matches!(commit(&owner, 2, 1, None, &other).await, Ok(CommitOutcome::Fork { .. })));
    assert!(matches!(commit(&owner, 2, 3, Some(2), &other).await, Ok(CommitOutcome::Gap { .. })));
    assert_eq!(commit(&owner, 1, 2, Some(1), &other).await.expect("answers"), CommitOutcome::Fenced { generation: 2 });
    assert_eq!(ids(&store).await, [1]);
}
