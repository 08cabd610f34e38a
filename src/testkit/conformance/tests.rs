//! Each numbered guarantee has a check, or a reason why it has none; and each check has an implementation that it catches.

/// A contract, where it is written down, its checks, and what is broken for them.
const CONTRACTS: [(&str, &str, &str, &str); 6] = [
    (
        "CheckpointStore",
        include_str!("../../checkpoint/mod.rs"),
        include_str!("checkpoints.rs"),
        include_str!("broken/checkpoints.rs"),
    ),
    ("ObjectAccess", include_str!("../../store/mod.rs"), include_str!("store.rs"), include_str!("broken/stores.rs")),
    (
        "SharedRates",
        include_str!("../../retry/rate/shared.rs"),
        include_str!("rates.rs"),
        include_str!("broken/rates.rs"),
    ),
    (
        "Sink",
        include_str!("../../sink/mod.rs"),
        concat!(
            include_str!("sink/mod.rs"),
            include_str!("sink/visibility.rs"),
            include_str!("sink/commits.rs"),
            include_str!("sink/staging.rs"),
            include_str!("sink/enumerations.rs")
        ),
        concat!(include_str!("broken/sinks.rs"), include_str!("broken/enumerations.rs")),
    ),
    ("Source", include_str!("../../source/mod.rs"), include_str!("source.rs"), include_str!("broken/sources.rs")),
    ("Stage", include_str!("../../stage/mod.rs"), include_str!("stage.rs"), include_str!("broken/stages.rs")),
];

/// The numbers in the list of a contract.
fn guarantees(contract: &str) -> Vec<u32> {
    let (_, list) = contract.split_once("/// # Guarantees (of an implementation)\n").expect("a list of guarantees");
    let list = list.lines().take_while(|line| *line != "///").filter_map(|line| line.strip_prefix("/// "));
    list.filter_map(|line| line.split_once(". *")?.0.parse().ok()).collect()
}

/// The checks that the macros of a contract make tests of.
fn checks(text: &str) -> Vec<&str> {
    let names = text.lines().filter_map(|line| line.strip_prefix("            "));
    let is_name = |name: &&str| name.contains('_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    names.filter(is_name).collect()
}

#[test]
fn each_guarantee_has_a_check_or_a_reason() {
    for (name, contract, text, _) in CONTRACTS {
        let (numbers, checks) = (guarantees(contract), checks(text));
        assert!(numbers.iter().copied().eq(1..=u32::try_from(numbers.len()).expect("few")), "{name}: {numbers:?}");
        for number in &numbers {
            let checked = checks.iter().any(|check| check.starts_with(&format!("g{number}_")));
            let reason = text.contains(&format!("//! - Guarantee {number}"));
            assert!(checked || reason, "{name}: nothing is said of guarantee {number}");
        }
        for check in checks {
            let number = check.strip_prefix('g').and_then(|rest| rest.split('_').next()?.parse::<u32>().ok());
            assert!(number.is_none_or(|number| numbers.contains(&number)), "{name}: {check} is of no guarantee");
        }
    }
}

#[test]
fn each_check_is_run_and_has_something_to_catch() {
    for (name, _, text, broken) in CONTRACTS {
        let checks = checks(text);
        assert!(checks.len() >= 6, "{name}: {checks:?}");
        for check in &checks {
            assert!(broken.contains(&format!("    {check} by ")), "{name}: nothing is broken for {check}");
        }
        let functions = text.lines().filter_map(|line| {
            line.strip_prefix("pub async fn ").or_else(|| line.strip_prefix("pub fn "))?.split(['<', '(']).next()
        });
        let missing: Vec<_> = functions.filter(|function| !checks.contains(function)).collect();
        assert_eq!(missing, [""; 0], "{name}: no macro makes a test of it");
    }
}
