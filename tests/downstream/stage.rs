use landfall::Result;
use landfall::model::Rows;
use landfall::source::ComponentConfig;
use landfall::stage::{Output, Stage, StageState};

/// Lines to numbers; other lines are dropped on purpose.
#[derive(Clone)]
pub struct Parse;

impl Stage for Parse {
    type In = Rows<String>;
    type Out = Rows<u64>;

    fn name(&self) -> &str {
        "parse"
    }

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    fn fork(&self) -> Option<Self> {
        Some(Self)
    }

    fn state(&mut self) -> Option<&mut dyn StageState> {
        None
    }

    fn apply(&mut self, item: Rows<String>, out: &mut Output<Rows<u64>>) -> Result<()> {
        let lines = item.0.len();
        let numbers: Vec<u64> = item.0.iter().filter_map(|l| l.parse().ok()).collect();
        out.filtered((lines - numbers.len()) as u64);
        out.emit(Rows(numbers));
        Ok(())
    }
}

#[cfg(feature = "testkit")]
mod conformance {
    use super::*;
    use landfall::testkit::conformance::StageTrial;

    struct Trial;

    impl StageTrial for Trial {
        type Stage = Parse;

        fn stage(&self) -> Parse {
            Parse
        }

        fn cuts(&self) -> Vec<Vec<Rows<String>>> {
            let lines = |lines: &[&str]| Rows(lines.iter().map(|l| (*l).to_owned()).collect());
            vec![vec![lines(&["1", "x", "2"])], vec![lines(&["1"]), lines(&[]), lines(&["x", "2"])]]
        }

        fn records(&self, item: &Rows<u64>) -> Vec<String> {
            item.0.iter().map(u64::to_string).collect()
        }
    }

    landfall::stage_conformance!(Trial);
}
