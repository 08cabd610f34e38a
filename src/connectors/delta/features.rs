//! What a table demands of those that write it: what is not understood here is refused, before anything is staged.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#table-features>

use super::actions::Protocol;
use super::log::Snapshot;
use crate::error::{Error, Result};

const NTZ: &str = "timestampNtz";

/// Features that the versions of the protocol stand for, from each reader and writer version on.
const LEGACY: [(i32, i32, &str); 7] = [
    (1, 2, "appendOnly"),
    (1, 2, "invariants"),
    (1, 3, "checkConstraints"),
    (1, 4, "changeDataFeed"),
    (1, 4, "generatedColumns"),
    (2, 5, "columnMapping"),
    (1, 6, "identityColumns"),
];

/// Whether the table can be read and written here at all.
///
/// # Errors
/// `Config`, naming the feature.
pub(super) fn check_known(snapshot: &Snapshot) -> Result<()> {
    let Protocol { min_reader_version: reader, min_writer_version: writer, .. } = snapshot.protocol;
    if !(1..=3).contains(&reader) || !(1..=7).contains(&writer) {
        return Err(refuse("the table is of a newer version of the Delta protocol")
            .with("min_reader_version", reader)
            .with("min_writer_version", writer));
    }
    let metadata = &snapshot.metadata;
    let on = |setting: &str| metadata.setting(setting).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let in_schema = |word: &str| metadata.schema_string.contains(word);
    for feature in features(&snapshot.protocol) {
        let used = match feature.as_str() {
            "appendOnly" | NTZ | "domainMetadata" | "vacuumProtocolCheck" => false,
            "invariants" => in_schema("\"delta.invariants\""),
            "generatedColumns" => in_schema("\"delta.generationExpression\""),
            "identityColumns" => in_schema("\"delta.identity."),
            "checkConstraints" => metadata.configuration.keys().any(|key| key.starts_with("delta.constraints.")),
            "changeDataFeed" => on("delta.enableChangeDataFeed"),
            "columnMapping" => metadata.setting("delta.columnMapping.mode").is_some_and(|mode| mode != "none"),
            "deletionVectors" => {
                on("delta.enableDeletionVectors") || snapshot.files.values().any(|file| file.deletion_vector.is_some())
            }
            "inCommitTimestamp" | "inCommitTimestamp-preview" => on("delta.enableInCommitTimestamps"),
            // Also any that is not known yet, and `rowTracking`, which demands something of each file as soon as it is listed.
            _ => true,
        };
        if used {
            return Err(refuse("the table uses a feature that this sink does not write")
                .with("feature", feature)
                .with_hint("turn the feature off in the table, or write to a table of its own"));
        }
    }
    if metadata.format.provider != "parquet" {
        return Err(refuse("the files of the table are no Parquet").with("format", &metadata.format.provider));
    }
    if metadata.setting("delta.setTransactionRetentionDuration").is_some() {
        return Err(refuse("the table forgets the marks that exactly-once rests on")
            .with("setting", "delta.setTransactionRetentionDuration")
            .with_hint("unset this property of the table"));
    }
    Ok(())
}

/// Refuses to take rows out of a table that only grows.
pub(super) fn check_rewritable(snapshot: &Snapshot) -> Result<()> {
    match snapshot.metadata.setting("delta.appendOnly") {
        Some(value) if value.eq_ignore_ascii_case("true") => {
            Err(refuse("the table takes appends only, and this disposition changes rows")
                .with("setting", "delta.appendOnly")
                .with_hint("unset this property of the table, or append"))
        }
        _ => Ok(()),
    }
}

/// The protocol of a table that has `needed` (a feature of columns) too; `None` if it has it.
pub(super) fn with_ntz(protocol: &Protocol) -> Option<Protocol> {
    let has = |features: &Option<Vec<String>>| features.as_ref().is_some_and(|f| f.iter().any(|f| f == NTZ));
    if has(&protocol.reader_features) && has(&protocol.writer_features) {
        return None;
    }
    let mut reader = protocol.reader_features.clone().unwrap_or_default();
    let mut writer = features(protocol);
    // What readers must know too is listed twice.
    if writer.iter().any(|feature| feature == "columnMapping") && !reader.iter().any(|f| f == "columnMapping") {
        reader.push("columnMapping".to_owned());
    }
    for features in [&mut reader, &mut writer] {
        if !features.iter().any(|f| f == NTZ) {
            features.push(NTZ.to_owned());
        }
    }
    Some(Protocol {
        min_reader_version: 3,
        min_writer_version: 7,
        reader_features: Some(reader),
        writer_features: Some(writer),
    })
}

/// The protocol of new tables: the oldest, which everything reads.
pub(super) fn oldest() -> Protocol {
    Protocol { min_reader_version: 1, min_writer_version: 2, ..Protocol::default() }
}

/// All features of a table.
fn features(protocol: &Protocol) -> Vec<String> {
    let Protocol { min_reader_version: reads, min_writer_version: writes, .. } = *protocol;
    let legacy = LEGACY.iter().filter(|(reader, writer, _)| *writer <= writes && writes < 7 && *reader <= reads);
    let named = protocol.reader_features.iter().chain(&protocol.writer_features).flatten();
    let mut features: Vec<String> = legacy.map(|(_, _, name)| (*name).to_owned()).chain(named.cloned()).collect();
    features.sort();
    features.dedup();
    features
}

fn refuse(message: &'static str) -> Error {
    Error::config("open delta table", message)
}
