use super::super::position::RestPosition;

/// A position with every field that there is. It lies in segments and checkpoints for years.
#[test]
fn the_frozen_position_is_read_and_written_again_and_a_newer_one_is_refused() {
    const FROZEN: &str = include_str!("../../../../tests/fixtures/rest-position-1.json");
    let frozen = FROZEN.trim_end();
    let position: RestPosition = serde_json::from_str(frozen).expect("the first format is read for ever");
    assert_eq!(serde_json::to_string(&position).expect("serialises"), frozen);
    // In a segment it is a value, whose members come in any order.
    let value: serde_json::Value = serde_json::from_str(frozen).expect("JSON");
    assert_eq!(serde_json::from_value::<RestPosition>(value).expect("reads"), position);
    for (from, to) in [
        ("{\"since\"", "{\"more\":1,\"since\""),
        ("{\"anchors\"", "{\"more\":1,\"anchors\""),
        ("\"token\"", "\"ticket\""),
    ] {
        let newer = frozen.replacen(from, to, 1);
        assert_ne!(newer, frozen);
        serde_json::from_str::<RestPosition>(&newer).expect_err("what is not understood is not gone on from");
    }
}
