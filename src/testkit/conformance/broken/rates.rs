use crate::env::Env;
use crate::error::Result;
use crate::retry::rate::{Grant, Rate, SharedRates};
use crate::testkit::conformance::rates;
use crate::testkit::test_env;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::yield_now;

/// What an accounting does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    CountsApart,
    LooksThenTakes,
    LooksAtOneRate,
    CountsAllTogether,
    GivesBackWhatWasDropped,
    WaitsTooLong,
    AsksAgainAtOnce,
}

/// When how much was taken, by name.
type Taken = BTreeMap<String, Vec<(Duration, i64)>>;

#[derive(Debug)]
struct Broken {
    defect: Defect,
    taken: Arc<Mutex<Taken>>,
}

impl Broken {
    fn two(defect: Defect) -> [Self; 2] {
        let taken = Arc::<Mutex<Taken>>::default();
        let other = if defect == Defect::CountsApart { Arc::default() } else { Arc::clone(&taken) };
        [Self { defect, taken }, Self { defect, taken: other }]
    }

    fn add(&self, name: &str, at: Duration, weight: i64) {
        self.taken.lock().expect("no panic").entry(name.to_owned()).or_default().push((at, weight));
    }

    /// How long there is no room, if there is none.
    fn full(&self, now: Duration, name: &str, rates: &[Rate], weight: i64) -> Option<Duration> {
        let taken = self.taken.lock().expect("no panic").get(name).cloned().unwrap_or_default();
        let looked = if self.defect == Defect::LooksAtOneRate { 1 } else { rates.len() };
        let waits = rates.iter().take(looked).filter_map(|rate| {
            let within: Vec<_> = taken.iter().filter(|(at, _)| *at + rate.per() > now).collect();
            let sum: i64 = within.iter().map(|(_, weight)| weight).sum();
            let first = within.first().map_or(now, |(at, _)| *at);
            (sum + weight > i64::from(rate.limit())).then(|| (first + rate.per()).saturating_sub(now))
        });
        waits.max()
    }
}

/// Gives back what was not used, as if it had been taken.
struct Refund<'a>(&'a Broken, &'a str, Duration, bool);

impl Drop for Refund<'_> {
    fn drop(&mut self) {
        if self.3 {
            self.0.add(self.1, self.2, -1);
        }
    }
}

#[async_trait]
impl SharedRates for Broken {
    async fn take(&self, env: &Env, name: &str, rates: &[Rate], weight: u32) -> Result<Grant> {
        let name = if self.defect == Defect::CountsAllTogether { "all" } else { name };
        let (now, weight) = (env.monotonic(), i64::from(weight));
        let mut refund = Refund(self, name, now, self.defect == Defect::GivesBackWhatWasDropped);
        if self.defect != Defect::LooksThenTakes {
            yield_now().await;
        }
        let full = self.full(now, name, rates, weight);
        if self.defect == Defect::LooksThenTakes {
            yield_now().await;
        }
        refund.3 = false;
        if let Some(wait) = full {
            return Ok(Grant::Wait(match self.defect {
                Defect::WaitsTooLong => wait * 2,
                Defect::AsksAgainAtOnce => Duration::ZERO,
                _ => wait,
            }));
        }
        self.add(name, now, weight);
        Ok(Grant::Taken)
    }
}

macro_rules! run {
    ($check:ident, $defect:expr) => {
        async {
            let [one, other] = Broken::two($defect);
            rates::$check(&test_env(1), &one, &other).await;
        }
    };
}

caught! { run:
    g1_instances_stay_within_the_rates_together by CountsApart;
    g1_instances_that_ask_at_the_same_time_stay_within_the_rates by LooksThenTakes, CountsApart;
    g1_the_strictest_rate_decides by LooksAtOneRate;
    g1_names_are_accounted_for_apart by CountsAllTogether;
    g2_an_answer_that_nobody_hears_costs_room_at_most by GivesBackWhatWasDropped;
    g3_a_wait_is_as_long_as_it_takes by WaitsTooLong, AsksAgainAtOnce;
}
