//! What sinks stage is kept in checkpoints, and a prepared epoch rolls forward after an upgrade too: so it is a frozen format.

use crate::sink::Sink;

/// `frozen` is read, and written again as it was. Anything else than all of it is refused.
fn is_frozen<S: Sink>(frozen: &[u8]) {
    let frozen = std::str::from_utf8(frozen.trim_ascii_end()).expect("text");
    let staged: S::Staged = serde_json::from_str(frozen).expect("the first format is read for ever");
    assert_eq!(
        serde_json::to_string(&staged).expect("serialises"),
        frozen,
        "the bytes of the first format do not change"
    );
    for cut in 0..frozen.len() {
        assert!(serde_json::from_str::<S::Staged>(&frozen[..cut]).is_err(), "cut after {cut} bytes");
    }
    // It has no version of its own: what a newer one adds is not passed over.
    let newer = frozen.replacen('{', r#"{"newer":1,"#, 1);
    assert!(serde_json::from_str::<S::Staged>(&newer).is_err(), "{newer}");
}

#[cfg(feature = "parquet")]
#[test]
fn what_a_dataset_stages_is_frozen() {
    is_frozen::<super::parquet::ParquetDataset>(include_bytes!("../../tests/fixtures/staged-parquet-1.json"));
}

#[cfg(feature = "delta")]
#[test]
fn what_a_delta_table_stages_is_frozen() {
    is_frozen::<super::delta::DeltaTable>(include_bytes!("../../tests/fixtures/staged-delta-1.json"));
}

#[cfg(feature = "postgres")]
#[test]
fn what_tables_in_postgresql_stage_is_frozen() {
    use super::postgres::{PostgresTable, PostgresTables};
    is_frozen::<PostgresTable>(include_bytes!("../../tests/fixtures/staged-postgres-1.json"));
    is_frozen::<PostgresTables>(include_bytes!("../../tests/fixtures/staged-postgres-tables-1.json"));
}

#[cfg(feature = "adbc")]
#[test]
fn what_a_table_through_adbc_stages_is_frozen() {
    is_frozen::<super::adbc::AdbcTable>(include_bytes!("../../tests/fixtures/staged-adbc-1.json"));
}

#[test]
fn what_a_set_of_tables_stages_is_frozen() {
    is_frozen::<crate::sink::TableSet<crate::columnar::Batch>>(include_bytes!(
        "../../tests/fixtures/staged-tables-1.json"
    ));
}
