//! `ingest abandon` and `ingest abandoned`: what the destination refuses for good is given up, and can be seen later.

use crate::file::SpecFile;
use crate::json_of;
use landfall::Result;

/// Gives up the epochs that the destination refuses, and says which they were.
///
/// # Errors
/// Those of [`Pipeline::abandon_refused`](landfall::pipeline::Pipeline::abandon_refused).
pub(crate) async fn give_up(file: &SpecFile, by: &str, why: &str) -> Result<String> {
    let (_, pipeline) = file.pipeline()?;
    let abandoned = pipeline.abandon_refused(by, why).await.map_err(|error| file.find(error))?;
    let mut said: String = abandoned.iter().map(|epoch| format!("{epoch}\n")).collect();
    said.push_str(match abandoned.is_empty() {
        true => "the destination refuses nothing: nothing was given up\n",
        false => "the next run stages these records anew: let [validate] refuse first what the destination refuses\n",
    });
    Ok(said)
}

/// What was given up, a line each, or an array of JSON.
///
/// # Errors
/// Those of [`Pipeline::abandoned`](landfall::pipeline::Pipeline::abandoned).
pub(crate) async fn list(file: &SpecFile, json: bool) -> Result<String> {
    let (_, pipeline) = file.pipeline()?;
    let abandoned = pipeline.abandoned().await.map_err(|error| file.find(error))?;
    Ok(match (json, abandoned.is_empty()) {
        (true, _) => json_of(&abandoned)?,
        (false, true) => "nothing was given up\n".to_owned(),
        (false, false) => abandoned.iter().map(|epoch| format!("{epoch}\n")).collect(),
    })
}

#[cfg(all(test, feature = "postgres", feature = "testkit"))]
mod tests {
    use super::*;
    use landfall::ErrorKind;
    use landfall::testkit::http::{Reply, Server};
    use tokio_postgres::{NoTls, SimpleQueryMessage};

    const URL: &str = "LANDFALL_TEST_POSTGRES";

    #[tokio::test]
    async fn what_a_check_refuses_is_given_up_and_is_listed_ever_after() {
        let Ok(url) = std::env::var(URL) else {
            eprintln!("skipped: {URL} is not set; see scripts/with-postgres");
            return;
        };
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        let schema = format!("ingest_{}", std::process::id());
        client
            .batch_execute(&format!(
                "CREATE SCHEMA {schema}; CREATE TABLE {schema}.orders (id bigint, total bigint CHECK (total >= 0))"
            ))
            .await
            .expect("makes the table");
        let api =
            Server::start(|_| Reply::json(r#"[{"id":1,"total":5},{"id":2,"total":-5},{"id":3,"total":7}]"#)).await;
        let folder = tempfile::tempdir().expect("a folder");
        let spec = |validate: &str| {
            SpecFile::of(&format!(
                "name = \"orders\"\nstate = \"file://{}\"\nschema = \"id: int64, total: int64\"\n[source]\nurl = \"{}\"\n{validate}\n\
                 [sink]\npostgres = {{ env = \"{URL}\", table = \"{schema}.orders\" }}\ninsert_only = {{ key = [\"id\"] }}\n",
                folder.path().display(),
                api.url("/orders"),
            ))
        };
        let plain = spec("");
        assert_eq!(list(&plain, false).await.expect("reads"), "nothing was given up\n");
        let (_, pipeline) = plain.pipeline().expect("sound");
        let failure = pipeline.run().await.expect_err("-5 is refused");
        assert_eq!(failure.error().kind(), ErrorKind::Data, "{failure}");
        let said = give_up(&plain, "ana", "no negative totals").await.expect("gives up");
        let named =
            ["orders/0000 epoch 3", "by ana: no negative totals", "3 records read", "orders_total_check", "[validate]"];
        assert!(named.iter().all(|part| said.contains(part)), "{said}");
        assert!(give_up(&plain, "ana", "again").await.expect("asks").contains("nothing was given up"));

        let validating = spec("[validate]\nrange = { total = { min = 0 } }");
        let (_, pipeline) = validating.pipeline().expect("sound");
        let report = pipeline.run().await.expect("loads the others");
        // The response that was landed before, and another one.
        assert_eq!((report.ledger.staged, report.ledger.quarantined), (4, 2), "{report}");
        let rows = client.simple_query(&format!("SELECT id FROM {schema}.orders ORDER BY id")).await.expect("reads");
        let ids = rows.iter().filter_map(|row| match row {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        assert_eq!(ids.collect::<Vec<_>>(), ["1", "3"]);
        let listed = list(&validating, false).await.expect("reads");
        assert!(said.starts_with(&listed) && listed.lines().count() == 1, "{listed}");
        let json: serde_json::Value = serde_json::from_str(&list(&plain, true).await.expect("reads")).expect("JSON");
        assert_eq!((&json[0]["by"], &json[0]["ledger"]["read"]), (&"ana".into(), &3.into()), "{json}");
        client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.expect("goes");
    }
}
