//! PostgreSQL as a checkpoint store.

use crate::support::World;
use landfall::ErrorKind;
use landfall::checkpoint::chain::{Chain, Opened};
use landfall::checkpoint::{ChainId, CheckpointStore};
use landfall::connectors::postgres::PostgresCheckpoints;
use landfall::env::Env;
use landfall::store::Created;
use std::sync::Arc;

#[tokio::test]
async fn a_number_is_created_once_whoever_asks() {
    let Some(world) = World::new().await else { return };
    let store = PostgresCheckpoints::in_schema(&world.database, &world.schema).expect("a name");
    let chain = ChainId::named("a=b/c").expect("a name");
    assert_eq!((store.read(&chain, 1).await.expect("reads"), store.boundary(&chain).await.expect("reads")), (None, 0));
    for number in 1..=5 {
        let tries = (0..8_u8).map(|writer| {
            let (store, chain) = (store.clone(), chain.clone());
            async move { store.create(&chain, number, vec![writer; 3].into()).await.expect("answers") }
        });
        let outcomes = futures::future::join_all(tries).await;
        assert_eq!(outcomes.iter().filter(|o| **o == Created::New).count(), 1);
        let winner = outcomes.iter().position(|o| *o == Created::New).expect("one");
        let record = store.read(&chain, number).await.expect("reads").expect("is there");
        assert_eq!(record.as_ref(), [u8::try_from(winner).expect("few"); 3]);
    }
    assert_eq!(store.numbers(&chain).await.expect("lists"), [1, 2, 3, 4, 5]);
    store.advance_boundary(&chain, 3).await.expect("advances");
    store.advance_boundary(&chain, 2).await.expect("stays");
    assert_eq!(store.boundary(&chain).await.expect("reads"), 3);
    store.remove(&chain, 2).await.expect("removes");
    store.remove(&chain, 2).await.expect("is gone already");
    assert_eq!(store.numbers(&chain).await.expect("lists"), [1, 3, 4, 5]);
    assert!(store.numbers(&ChainId::named("other").expect("a name")).await.expect("lists").is_empty());
}

#[tokio::test]
async fn a_new_owner_shuts_the_old_one_out() {
    let Some(world) = World::new().await else { return };
    let store: Arc<dyn CheckpointStore> =
        Arc::new(PostgresCheckpoints::in_schema(&world.database, &world.schema).expect("a name"));
    landfall::checkpoint::chain::probe(store.as_ref(), &Env::system()).await.expect("keeps conditions");
    let id = ChainId::named("orders/0").expect("a name");
    let Opened { chain: mut first, .. } =
        Chain::open(Arc::clone(&store), id.clone(), Env::system()).await.expect("opens");
    let number = first.append("one".into()).await.expect("appends");
    let Opened { newest_data, .. } = Chain::open(store, id, Env::system()).await.expect("opens");
    assert_eq!(newest_data.map(|record| record.number), Some(number));
    assert_eq!(first.append("two".into()).await.expect_err("fenced").kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn chains_of_a_newer_version_or_of_none_are_refused() {
    let Some(world) = World::new().await else { return };
    // Another process each time: one that runs has looked.
    let store = || PostgresCheckpoints::in_schema(&world.database, &world.schema).expect("a name");
    let chain = ChainId::named("orders/0").expect("a name");
    assert_eq!(store().create(&chain, 1, "one".into()).await.expect("answers"), Created::New);
    for comment in ["'landfall chains, version 2'", "'landfall marks, version 1'", "NULL"] {
        world.ask(&format!("COMMENT ON TABLE {{landfall_chain_records}} IS {comment}")).await;
        let refused = [
            store().create(&chain, 2, "two".into()).await.map(drop),
            store().numbers(&chain).await.map(drop),
            store().advance_boundary(&chain, 1).await,
        ];
        for error in refused.map(|answer| answer.expect_err(comment)) {
            assert_eq!(error.kind(), ErrorKind::Config, "{comment}: {error}");
            assert!(error.to_string().contains("newer version"), "{comment}: {error}");
        }
    }
    world.ask("COMMENT ON TABLE {landfall_chain_records} IS 'landfall chains, version 1'").await;
    let store = store();
    assert_eq!(store.numbers(&chain).await.expect("lists"), [1]);
    assert_eq!(store.boundary(&chain).await.expect("reads"), 0);
}

/// Taken for 0 or left out, it would un-fence who was shut out.
#[tokio::test]
async fn a_negative_number_of_a_chain_halts() {
    let Some(world) = World::new().await else { return };
    let store: Arc<dyn CheckpointStore> =
        Arc::new(PostgresCheckpoints::in_schema(&world.database, &world.schema).expect("a name"));
    let id = ChainId::named("orders/0").expect("a name");
    let open = || Chain::open(Arc::clone(&store), id.clone(), Env::system());
    open().await.expect("opens").chain.append("one".into()).await.expect("appends");
    for (table, damage, mend) in [
        (
            "landfall_chain_boundaries",
            "INSERT INTO {landfall_chain_boundaries} VALUES ('orders/0', -7)",
            "DELETE FROM {landfall_chain_boundaries}",
        ),
        (
            "landfall_chain_records",
            "UPDATE {landfall_chain_records} SET number = -7 WHERE number = 2",
            "UPDATE {landfall_chain_records} SET number = 2 WHERE number = -7",
        ),
    ] {
        world.ask(damage).await;
        let before = world.ask("SELECT number FROM {landfall_chain_records} ORDER BY number").await;
        let error = open().await.expect_err("damage");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        for said in [table, "chain=`orders/0`", "number=`-7`"] {
            assert!(error.to_string().contains(said), "{said}: {error}");
        }
        assert_eq!(world.ask("SELECT number FROM {landfall_chain_records} ORDER BY number").await, before);
        world.ask(mend).await;
    }
    open().await.expect("opens");
}

#[tokio::test]
async fn a_table_of_chains_that_is_gone_is_not_made_again() {
    for gone in ["landfall_chain_records", "landfall_chain_boundaries"] {
        let Some(world) = World::new().await else { return };
        let store = || PostgresCheckpoints::in_schema(&world.database, &world.schema).expect("a name");
        let chain = ChainId::named("orders/0").expect("a name");
        store().create(&chain, 1, "one".into()).await.expect("answers");
        world.ask(&format!("DROP TABLE {{{gone}}}")).await;
        let error = store().boundary(&chain).await.expect_err("it is gone");
        assert_eq!(error.kind(), ErrorKind::Config, "{gone}: {error}");
        let error = Chain::open(Arc::new(store()), chain, Env::system()).await.expect_err("it is gone");
        assert_eq!(error.kind(), ErrorKind::Config, "{gone}: {error}");
    }
}

mod conformance {
    use super::*;
    use landfall::connectors::postgres::Postgres;
    use landfall::testkit::{Effect, FaultProxy, Faults, test_env};

    /// The database as a process reaches it of which each message to the server may go wrong.
    async fn reached_by(world: &World, faults: &Faults) -> (Arc<PostgresCheckpoints>, FaultProxy) {
        let upstream = world.url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).expect("a URL").0;
        // `X` says goodbye.
        let changes = |message: &[u8], _: &[u8]| (message.first() != Some(&b'X')).then_some(Effect::Whole);
        let proxy = FaultProxy::start(upstream.parse().expect("an address"), faults, changes).expect("a free port");
        let url = world.url.replace(upstream, &proxy.address().to_string());
        let database = Postgres::connect(&url).expect("a URL").env(test_env(5));
        (Arc::new(PostgresCheckpoints::in_schema(&database, &world.schema).expect("a name")), proxy)
    }

    /// A statement is not prepared first, which would be another round trip: besides it, the server is only asked whether the connection lives.
    #[tokio::test]
    async fn a_statement_and_its_parameters_are_one_message() {
        let Some(world) = World::new().await else { return };
        let faults = Faults::none();
        let (store, _proxy) = reached_by(&world, &faults).await;
        let chain = ChainId::named("orders/0").expect("a name");
        store.create(&chain, 1, "one".into()).await.expect("connects");
        let before = faults.count();
        store.read(&chain, 1).await.expect("readable").expect("is there");
        assert_eq!(faults.count() - before, 2);
        store.create(&chain, 2, "two".into()).await.expect("answers");
        assert_eq!(faults.count() - before, 4);
    }

    landfall::checkpoint_conformance!(
        {
            let Some(world) = World::new().await else { return };
            (Arc::new(PostgresCheckpoints::in_schema(&world.database, &world.schema).expect("a name")), world)
        },
        reached_by: reached_by
    );
}
