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
