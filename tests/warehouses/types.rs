//! Types of tables that somebody else made: they stay, and what they would change is refused.

use crate::load::Load;
use crate::sql::{Engine, Sql};
use landfall::columnar::Columns;
use landfall::sink::Disposition;

sql_cases! {
    a_table_that_is_there_keeps_its_types_and_takes_what_fits,
    a_type_that_would_round_is_refused,
    a_column_that_must_be_there_is_asked_for,
}

fn load<W: Sql>(warehouse: &W, columns: &[(&str, &str)]) -> Load<W::Sink> {
    let columns = Columns::parse(columns.iter().copied()).expect("types");
    Load::new(warehouse.sink("orders", Disposition::Append), columns)
}

async fn a_table_that_is_there_keeps_its_types_and_takes_what_fits<W: Sql>(warehouse: W) {
    if W::ENGINE == Engine::Sqlite {
        // Any column holds any value there.
        return;
    }
    let table =
        "CREATE TABLE {orders} (id integer NOT NULL, t varchar(5), n numeric(5,2), extra varchar(9) DEFAULT 'own')";
    warehouse.made(table).await;
    let mut fits = load(&warehouse, &[("id", "int64"), ("t", "utf8"), ("n", "decimal(18,4)")]);
    let lines = r#"
{"id":1,"t":"short","n":"123.4500"}
{"id":2147483648}
{"id":3,"n":"1000"}
{"id":4,"n":"0.001"}
{"t":"x"}"#;
    let (output, rejects) = fits.stage(lines).await.expect("stages");
    assert_eq!(rejects.len(), 4, "{rejects:?}");
    fits.commit(&output.expect("rows").staged, false).await.expect("commits");
    let rows = warehouse.sql("SELECT * FROM {orders}").await;
    assert_eq!(rows, ["1|short|123.45|own|orders-0000-00000000000000000001"]);

    let error = load(&warehouse, &[("id", "int64"), ("t", "bool")]).stage(r#"{"id":1,"t":true}"#).await;
    let error = error.map(drop).expect_err("a bool is no text");
    assert!(error.to_string().contains("`t`"), "{error}");
}

async fn a_type_that_would_round_is_refused<W: Sql>(warehouse: W) {
    let kinds: &[_] = match W::ENGINE {
        // It would become a number.
        Engine::Sqlite => &[("numeric(10,2)", "datetime(us)")],
        Engine::DuckDb => &[("timestamp_s", "datetime(us)")],
        Engine::Postgres => &[("timestamp(0)", "datetime(us)"), ("timestamptz(0)", "timestamp(us)")],
    };
    for (kind, column) in kinds {
        warehouse.made(&format!("CREATE TABLE {{orders}} (id bigint, \"at\" {kind})")).await;
        let mut load = load(&warehouse, &[("id", "int64"), ("at", column)]);
        let zone = if *column == "timestamp(us)" { "Z" } else { "" };
        let line = format!("{{\"id\":1,\"at\":\"2024-01-01T00:00:00.6{zone}\"}}");
        let error = load.stage(&line).await.map(drop).expect_err("it rounds");
        assert!(error.to_string().contains("`at`"), "{error}");
        warehouse.sql("DROP TABLE {orders}").await;
    }
}

async fn a_column_that_must_be_there_is_asked_for<W: Sql>(warehouse: W) {
    let table = "CREATE TABLE {orders} (id bigint, name varchar(9) NOT NULL, own varchar(9) NOT NULL DEFAULT 'x')";
    warehouse.made(table).await;
    let mut load = load(&warehouse, &[("id", "int64"), ("name", "utf8")]);
    let (output, rejects) = load.stage("{\"id\":1}\n{\"id\":2,\"name\":\"a\"}").await.expect("stages");
    assert_eq!(rejects.iter().map(|r| r.code).collect::<Vec<_>>(), ["null"]);
    load.commit(&output.expect("a row").staged, false).await.expect("commits");
    assert_eq!(warehouse.rows("orders", "id, name, own").await, ["2|a|x"]);
}
