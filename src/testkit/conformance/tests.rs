//! Each numbered guarantee has a check, or a reason why it has none; and each check has an implementation that it catches.

/// What a macro checks: the contract, where that is written down, the checks, and what is broken for them.
struct Suite {
    makes: &'static str,
    contract: &'static str,
    checks: &'static str,
    broken: &'static str,
}

const SINK: &str = concat!(
    include_str!("sink/mod.rs"),
    include_str!("sink/visibility.rs"),
    include_str!("sink/commits.rs"),
    include_str!("sink/staging.rs"),
    include_str!("sink/enumerations.rs")
);

const SUITES: [Suite; 7] = [
    Suite {
        makes: "checkpoint_conformance",
        contract: include_str!("../../checkpoint/mod.rs"),
        checks: include_str!("checkpoints.rs"),
        broken: include_str!("broken/checkpoints.rs"),
    },
    Suite {
        makes: "store_conformance",
        contract: include_str!("../../store/mod.rs"),
        checks: include_str!("store.rs"),
        broken: include_str!("broken/stores.rs"),
    },
    Suite {
        makes: "rates_conformance",
        contract: include_str!("../../retry/rate/shared.rs"),
        checks: include_str!("rates.rs"),
        broken: include_str!("broken/rates.rs"),
    },
    Suite {
        makes: "sink_conformance",
        contract: include_str!("../../sink/mod.rs"),
        checks: SINK,
        broken: include_str!("broken/sinks.rs"),
    },
    Suite {
        makes: "enumeration_conformance",
        contract: include_str!("../../sink/mod.rs"),
        checks: SINK,
        broken: include_str!("broken/enumerations.rs"),
    },
    Suite {
        makes: "source_conformance",
        contract: include_str!("../../source/mod.rs"),
        checks: include_str!("source.rs"),
        broken: include_str!("broken/sources.rs"),
    },
    Suite {
        makes: "stage_conformance",
        contract: include_str!("../../stage/mod.rs"),
        checks: include_str!("stage.rs"),
        broken: include_str!("broken/stages.rs"),
    },
];

impl Suite {
    /// The numbers in the list of the contract.
    fn guarantees(&self) -> Vec<u32> {
        let list =
            self.contract.split_once("/// # Guarantees (of an implementation)\n").expect("a list of guarantees").1;
        let list = list.lines().take_while(|line| *line != "///").filter_map(|line| line.strip_prefix("/// "));
        list.filter_map(|line| line.split_once(". *")?.0.parse().ok()).collect()
    }

    fn text_of_the_macro(&self) -> &'static str {
        let begin = format!("macro_rules! {} {{\n", self.makes);
        let (_, text) = self.checks.split_once(&begin).expect("the macro");
        text.split_once("\n}\n").expect("its end").0
    }

    /// The checks that the macro makes tests of.
    fn tests(&self) -> Vec<&'static str> {
        let names = self.text_of_the_macro().lines().filter_map(|line| line.strip_prefix("            "));
        let is_name = |name: &&str| name.contains('_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        names.filter(is_name).collect()
    }
}

#[test]
fn each_guarantee_has_a_check_or_a_reason() {
    for suite in SUITES {
        let (name, numbers, tests) = (suite.makes, suite.guarantees(), suite.tests());
        assert!(numbers.iter().copied().eq(1..=u32::try_from(numbers.len()).expect("few")), "{name}: {numbers:?}");
        for number in &numbers {
            let checked = tests.iter().any(|check| check.starts_with(&format!("g{number}_")));
            let reason = suite.checks.contains(&format!("//! - Guarantee {number}"));
            assert!(checked || reason, "{name}: nothing is said of guarantee {number}");
        }
        for check in tests {
            let number = check.strip_prefix('g').and_then(|rest| rest.split('_').next()?.parse::<u32>().ok());
            assert!(number.is_none_or(|number| numbers.contains(&number)), "{name}: {check} is of no guarantee");
        }
    }
}

#[test]
fn each_check_is_run_and_has_something_to_catch() {
    for suite in SUITES {
        let (name, tests) = (suite.makes, suite.tests());
        assert!(tests.len() >= 6, "{name}: {tests:?}");
        for check in &tests {
            assert!(suite.broken.contains(&format!("    {check} by ")), "{name}: nothing is broken for {check}");
        }
        let functions = suite.checks.lines().filter_map(|line| {
            line.strip_prefix("pub async fn ").or_else(|| line.strip_prefix("pub fn "))?.split(['<', '(']).next()
        });
        let run: Vec<_> = SUITES.iter().filter(|other| other.checks == suite.checks).flat_map(Suite::tests).collect();
        let missing: Vec<_> = functions.filter(|name| *name != "is_fit" && !run.contains(name)).collect();
        assert_eq!(missing, [""; 0], "{name}: no macro makes a test of it");
    }
}

/// The content of a checkpoint, and its frame.
#[test]
fn the_largest_record_is_as_large_as_its_contract_says() {
    let (content, frame) = (include_str!("../../pipeline/epoch.rs"), include_str!("../../checkpoint/record.rs"));
    assert!(content.contains("const MAX_BYTES: usize = 32 << 20;"));
    assert!(frame.contains("const MAX_HEADER: usize = 16 << 10;"));
    let [checkpoints, ..] = SUITES;
    assert!(checkpoints.contract.contains("up to 32 MiB and 17 KiB"));
    assert!(checkpoints.checks.contains("const LARGEST: usize = (32 << 20) + (17 << 10);"));
}

#[test]
fn what_is_not_asked_of_enumerations_has_a_reason() {
    let tests = |makes| SUITES.iter().find(|suite| suite.makes == makes).expect("a suite").tests();
    let (all, asked) = (tests("sink_conformance"), tests("enumeration_conformance"));
    for check in all {
        let reason = SINK.contains(&format!("//! - `{check}`: "));
        assert!(asked.contains(&check) != reason, "{check} is asked of enumerations, or there is a reason why not");
    }
}

#[test]
fn what_is_given_is_looked_at_before_a_guarantee_is_named() {
    for suite in SUITES {
        // The tests of one are made by the macro of another.
        for test in suite.text_of_the_macro().split("fn $check()").skip(1) {
            let [open, fit, told] = ["$open", "::is_fit(", "::told("].map(|part| test.find(part));
            assert!(open.is_some() && open < told, "{}: {test}", suite.makes);
            let looks = !suite.checks.contains("is_fit") || (fit.is_some() && fit < told);
            assert!(looks, "{}: {test}", suite.makes);
        }
    }
}
