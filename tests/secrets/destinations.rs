//! Destinations hold credentials too, and what a source was told must not get as far as they are.

use crate::observed::Observed;
use crate::search::{SECRET, found};
use landfall::connectors::http::{
    ApiKey, Basic, Bearer, Credentials, Hmac, Jwt, JwtBearer, OAuth2, Proxy, Rest, Secret, Session, SigV4, Tls,
    TokenPool,
};
use std::fmt::Debug;

#[test]
fn no_type_that_holds_a_secret_shows_it() {
    let debug = |value: &dyn Debug| format!("{value:?} {value:#?}");
    let token = "https://api.example.com/token";
    let mut shown = vec![
        debug(&Secret::from(SECRET)),
        debug(&Bearer::new(SECRET)),
        debug(&Basic::new("user", SECRET)),
        debug(&Basic::key(SECRET)),
        debug(&ApiKey::header("x-key", SECRET)),
        debug(&ApiKey::query("key", SECRET)),
        debug(&ApiKey::cookie("key", SECRET)),
        debug(&OAuth2::client_credentials(token, "client", SECRET)),
        debug(&OAuth2::refresh_token(token, "client", SECRET).client_secret(SECRET)),
        debug(&Session::login(token).field("password", SECRET).basic("user", SECRET).header("x-login", SECRET)),
        debug(&Hmac::sha256(SECRET)),
        debug(&Jwt::hs256(SECRET)),
        debug(&JwtBearer::exchange(token, Jwt::hs256(SECRET))),
        debug(&Credentials::new("AKIDEXAMPLE", SECRET).session_token(SECRET)),
        debug(&SigV4::new("us-east-1", "execute-api", Credentials::new("AKIDEXAMPLE", SECRET))),
        debug(&TokenPool::of([Bearer::new(SECRET)])),
        debug(&Proxy::at("http://proxy.example.com").credentials("user", SECRET)),
        debug(&Tls::new().client_pem(SECRET).trust(SECRET)),
    ];
    let builder = Rest::get("https://api.example.com/v1").auth(Bearer::new(SECRET)).auth(ApiKey::query("key", SECRET));
    shown.push(debug(&builder));
    shown.push(debug(&builder.build().expect("a source")));
    #[cfg(feature = "postgres")]
    {
        use landfall::connectors::postgres::{Postgres, PostgresCheckpoints, PostgresTable, PostgresTables};
        let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        let database = Postgres::connect(&format!("postgresql://etl:{encoded}@db/x?sslmode=disable")).expect("a URL");
        let table = PostgresTable::at(&database, "orders").expect("a name");
        shown.push(debug(&PostgresTables::new().table("orders", table.clone())));
        shown.extend([
            debug(&database),
            debug(&table),
            debug(&PostgresCheckpoints::in_schema(&database, "landfall").expect("a name")),
        ]);
    }
    for text in shown {
        assert_eq!(found(text.as_bytes()), None, "{text}");
    }
}

/// A server that speaks enough of PostgreSQL to ask for a password in plain text, and then refuses it by repeating it.
#[cfg(feature = "postgres")]
async fn repeats_the_password(listener: tokio::net::TcpListener) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    loop {
        let Ok((mut socket, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let length = socket.read_u32().await?;
            let mut start = vec![0; length as usize - 4];
            socket.read_exact(&mut start).await?;
            socket.write_all(b"R\0\0\0\x08\0\0\0\x03").await?;
            socket.read_u8().await?;
            let length = socket.read_u32().await?;
            let mut password = vec![0; length as usize - 4];
            socket.read_exact(&mut password).await?;
            let said = String::from_utf8_lossy(&password).trim_end_matches('\0').to_owned();
            let mut fields = Vec::new();
            for field in
                ["SFATAL", "VFATAL", "C28P01", &format!("Mno: {said}"), &format!("D{said}"), &format!("H{said}")]
            {
                fields.extend_from_slice(field.as_bytes());
                fields.push(0);
            }
            fields.push(0);
            socket.write_u8(b'E').await?;
            socket.write_u32(fields.len() as u32 + 4).await?;
            socket.write_all(&fields).await
        });
    }
}

/// A pipeline into a destination that refuses it; gives all that it told.
#[cfg(any(feature = "postgres", feature = "adbc"))]
async fn run_into<S>(api: &crate::api::Api, sink: S) -> String
where
    S: landfall::sink::Sink<Item = landfall::columnar::Batch, Promise = landfall::sink::Transactional>,
{
    use landfall::checkpoint::MemoryCheckpoints;
    use landfall::columnar::{Columns, Decode};
    use landfall::connectors::http::LinkHeader;
    use landfall::landing::Landing;
    use landfall::pipeline::Pipeline;
    use landfall::store::Store;
    let source = Rest::get(format!("{}/pages", api.url())).auth(Bearer::new(SECRET));
    let pipeline = Pipeline::named("rows")
        .source(source.paginate(LinkHeader::new().optional()))
        .land(Landing::in_store(&Store::memory(), "raw").expect("a name"))
        .stage(Decode::pages().schema(Columns::new().int64("id")))
        .sink(sink)
        .accept_quarantined()
        .checkpoints(MemoryCheckpoints::default())
        .build()
        .expect("a pipeline");
    let (ended, told) = crate::ways::watched(&pipeline).await;
    let failure = ended.expect_err("the destination refuses");
    let (others, debug) = (failure.others(), format!("{pipeline:?}"));
    format!("{failure} {failure:?} {} {others:?} {debug} {told}", failure.report())
}

/// A driver that is not there; and, where there are some (`scripts/with-adbc`), drivers that do not know what they are told, or refuse it.
#[cfg(feature = "adbc")]
#[tokio::test]
async fn no_destination_through_adbc_shows_its_password() {
    use landfall::connectors::adbc::{Adbc, AdbcTable};
    let driver = |name: &str| std::env::var(format!("LANDFALL_TEST_ADBC_{name}")).ok().map(Adbc::driver);
    let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let uri = format!("postgresql://etl:{encoded}@127.0.0.1:1/warehouse");
    let databases = [
        Some(Adbc::driver("no such driver").secret("password", SECRET).option("uri", &uri)),
        driver("DUCKDB")
            .map(|duckdb| duckdb.entrypoint("duckdb_adbc_init").secret("path", format!("/no/{SECRET}/file"))),
        driver("DUCKDB").map(|duckdb| duckdb.entrypoint("duckdb_adbc_init").secret("password", SECRET)),
        driver("SQLITE").map(|sqlite| sqlite.secret("uri", format!("file:/no/{SECRET}/file"))),
        driver("POSTGRES").map(|postgres| postgres.option("uri", &uri)),
    ];
    let api = crate::api::Api::start(crate::keys::Keys::all().server()).await;
    let databases: Vec<_> = databases.into_iter().flatten().collect();
    println!("databases through ADBC: {}", databases.len());
    for database in databases {
        let table = AdbcTable::at(&database, "rows").expect("a name");
        let shown = format!("{database:?} {table:?}");
        let told = shown + &run_into(&api, table).await;
        assert_eq!(found(told.as_bytes()), None, "{told}");
    }
    assert_eq!(found(&Observed::all().log()), None);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn no_destination_shows_its_password() {
    use landfall::checkpoint::{ChainId, CheckpointStore};
    use landfall::connectors::postgres::{Postgres, PostgresCheckpoints, PostgresTable};
    use landfall::model::{PipelineName, ShardKey};
    use landfall::sink::Sink;
    use std::time::Duration;
    let observed = Observed::all();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let refuses = listener.local_addr().expect("bound").port();
    tokio::spawn(repeats_the_password(listener));
    let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let encoded = encoded.replace('+', "%20");
    for place in [format!("127.0.0.1:{refuses}"), "127.0.0.1:1".to_owned()] {
        let url = format!("postgresql://etl:{encoded}@{place}/warehouse?sslmode=disable");
        let database = Postgres::connect(&url).expect("a URL").retry_for(Duration::ZERO);
        let table = PostgresTable::at(&database, "orders").expect("a name");
        let shard = ShardKey { pipeline: PipelineName::new("orders").expect("a name"), shard: 0 };
        let checkpoints = PostgresCheckpoints::in_schema(&database, "landfall").expect("a name");
        let errors = [
            table.mark(&shard).await.map(drop).expect_err("no database"),
            checkpoints.boundary(&ChainId::checkpoints(&shard)).await.map(drop).expect_err("no database"),
        ];
        for error in errors {
            let text = format!("{error} {error:?}");
            assert_eq!(found(text.as_bytes()), None, "{text}");
        }
    }
    let api = crate::api::Api::start(crate::keys::Keys::all().server()).await;
    let url = format!("postgresql://etl:{encoded}@127.0.0.1:{refuses}/warehouse?sslmode=disable");
    let database = Postgres::connect(&url).expect("a URL").retry_for(Duration::ZERO);
    let table = PostgresTable::at(&database, "rows").expect("a name");
    let told = run_into(&api, table).await;
    assert_eq!(found(told.as_bytes()), None, "{told}");
    for wrong in [
        format!("postgresql://etl:{SECRET}@h:port/x"),
        format!("host=h password={SECRET} sslmode=never"),
        SECRET.to_owned(),
    ] {
        let error = Postgres::connect(&wrong).expect_err("not an address");
        assert_eq!(found(format!("{error} {error:?}").as_bytes()), None, "{error}");
    }
    assert_eq!(found(&observed.log()), None);
}
