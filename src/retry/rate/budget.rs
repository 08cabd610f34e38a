use super::calls::Call;
use super::learned::Learned;
use super::quota::{Quota, RateBudgetBuilder};
use super::shared::{Grant, SharedRates};
use super::window::{Moment, Window};
use crate::env::Env;
use crate::error::Result;
use crate::retry::turns::{Place, Priority, Turns};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How many calls may be made: by all who hold a clone of it, in several windows at once.
///
/// 1. *Strictest wins*: a call takes from all quotas that count it, at once, and waits for the last of them.
/// 2. *In turn*: who came first goes first, within a [`Priority`]; a heavy call is not overtaken by light ones. Calls
///    that are counted by other quotas do not wait behind it.
/// 3. *Learned*: what responses say is left lowers what is left, and never raises it within a window.
/// 4. *Put off*: nobody waits longer than it said; it is told when there will be room.
///
/// Time is that of the [`Env`] of the caller: all who share a budget in a process use the same clock.
#[derive(Clone)]
pub struct RateBudget(Arc<Inner>);

struct Inner {
    name: String,
    quotas: Vec<Quota>,
    shared: Option<Arc<dyn SharedRates>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    turns: Turns,
    counts: Vec<Counts>,
}

/// What was taken of a quota.
#[derive(Debug)]
struct Counts {
    windows: Vec<Window>,
    /// By the name of the policy.
    learned: BTreeMap<String, Learned>,
    /// Weight of the calls without a response yet.
    under_way: u64,
}

/// Whether a call may be made.
#[derive(Debug)]
pub enum Turn {
    /// Make it now.
    Now(Ticket),
    /// There will be room after this time, and it is longer than the caller would wait.
    PutOff {
        /// The wait that would be due.
        wait: Duration,
    },
}

impl RateBudget {
    /// Begins to describe a budget. The name is that of the account or key that the API counts by.
    pub fn named(name: impl Into<String>) -> RateBudgetBuilder {
        RateBudgetBuilder { name: name.into(), quotas: Vec::new(), shared: None }
    }

    pub(super) fn new(description: RateBudgetBuilder) -> Self {
        let RateBudgetBuilder { name, quotas, shared } = description;
        let counts = |quota: &Quota| Counts {
            windows: quota.rates.iter().map(|rate| Window::new(*rate)).collect(),
            learned: BTreeMap::new(),
            under_way: 0,
        };
        let state = State { turns: Turns::default(), counts: quotas.iter().map(counts).collect() };
        Self(Arc::new(Inner { name, quotas, shared, state: Mutex::new(state) }))
    }

    /// Waits until `call` may be made, but not longer than `longest`; with zero it never waits.
    ///
    /// # Cancellation
    /// Cancel-safe: nothing is taken, and who comes next moves up. With [shared](RateBudgetBuilder::shared) accounting the
    /// room may have been taken there.
    ///
    /// # Errors
    /// Those of the shared accounting; without it, none.
    pub async fn acquire(&self, env: &Env, call: &Call<'_>, priority: Priority, longest: Duration) -> Result<Turn> {
        let weights: Vec<(usize, u32)> =
            self.0.quotas.iter().enumerate().filter_map(|(n, quota)| Some((n, quota.weight(call)?))).collect();
        if weights.is_empty() {
            return Ok(Turn::Now(self.ticket(env, weights)));
        }
        let began = env.monotonic();
        let waiting = Waiting::enter(&self.0, priority, &weights);
        // Quotas that have been taken from in the shared accounting.
        let mut taken = 0;
        loop {
            let left = longest.saturating_sub(env.monotonic().saturating_sub(began));
            let (is_first, mut wait) = self.0.wait(waiting.place, &weights, Moment::of(env));
            if is_first && wait.is_zero() {
                match self.take_shared(env, &weights, &mut taken).await? {
                    Grant::Taken => {
                        self.0.take(&weights, Moment::of(env));
                        return Ok(Turn::Now(self.ticket(env, weights)));
                    }
                    // Asked again at once, it would be asked for ever.
                    Grant::Wait(shared) => wait = shared.max(SHORTEST),
                }
            }
            if wait > left || (!is_first && left.is_zero()) {
                return Ok(Turn::PutOff { wait });
            }
            // Who is not first has nothing to wait for but its turn.
            let sleep = if is_first { wait } else { left };
            tokio::select! {
                biased;
                () = waiting.wake.notified() => {}
                () = env.sleep(sleep) => {}
            }
        }
    }

    async fn take_shared(&self, env: &Env, weights: &[(usize, u32)], taken: &mut usize) -> Result<Grant> {
        let Some(shared) = &self.0.shared else { return Ok(Grant::Taken) };
        for (quota, weight) in weights.iter().skip(*taken) {
            let rates = &self.0.quotas[*quota].rates;
            if !rates.is_empty() {
                let name = format!("{}/{quota}", self.0.name);
                if let Grant::Wait(wait) = shared.take(env, &name, rates, *weight).await? {
                    return Ok(Grant::Wait(wait));
                }
            }
            *taken += 1;
        }
        Ok(Grant::Taken)
    }

    fn ticket(&self, env: &Env, weights: Vec<(usize, u32)>) -> Ticket {
        Ticket { budget: Arc::clone(&self.0), weights, sent_at: env.monotonic() }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is the turn of `place`, and how long until there is room for it and for all before it.
    fn wait(&self, place: Place, weights: &[(usize, u32)], now: Moment) -> (bool, Duration) {
        let State { turns, counts } = &mut *self.state();
        let wait = weights.iter().map(|(quota, weight)| {
            let total = turns.ahead(place, *quota) + u64::from(*weight);
            let counts = &mut counts[*quota];
            let learned = counts.learned.values().map(|learned| learned.wait(now.at, total));
            let windows = counts.windows.iter_mut().map(|window| window.wait(now, total));
            learned.chain(windows).max().unwrap_or_default()
        });
        (turns.is_first(place), wait.max().unwrap_or_default())
    }

    fn take(&self, weights: &[(usize, u32)], now: Moment) {
        let mut state = self.state();
        for (quota, weight) in weights {
            let (counts, weight) = (&mut state.counts[*quota], u64::from(*weight));
            counts.windows.iter_mut().for_each(|window| window.take(now, weight));
            counts.learned.values_mut().for_each(|learned| learned.take(weight));
            counts.under_way += weight;
        }
    }
}

impl fmt::Debug for RateBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateBudget")
            .field("name", &self.0.name)
            .field("quotas", &self.0.quotas)
            .field("shared", &self.0.shared)
            .finish_non_exhaustive()
    }
}

/// A place in the queue, given up when dropped.
struct Waiting<'a> {
    inner: &'a Inner,
    place: Place,
    wake: Arc<Notify>,
}

impl<'a> Waiting<'a> {
    fn enter(inner: &'a Inner, priority: Priority, weights: &[(usize, u32)]) -> Self {
        let (place, wake) = inner.state().turns.enter(priority, weights);
        Self { inner, place, wake }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.inner.state().turns.leave(self.place);
    }
}

/// The right to make one call. Dropped when the response is there, or when there is none.
#[must_use = "the call counts as answered when this is dropped"]
pub struct Ticket {
    budget: Arc<Inner>,
    weights: Vec<(usize, u32)>,
    sent_at: Duration,
}

impl Ticket {
    /// Tells the budget what the response says is left. `header` gives the value of a header by its name in lower case.
    pub fn observe(self, env: &Env, header: impl Fn(&str) -> Option<String>) {
        let now = env.monotonic();
        let mut state = self.budget.state();
        for (n, weight) in &self.weights {
            let Some(learn) = &self.budget.quotas[*n].learn else { continue };
            let counts = &mut state.counts[*n];
            let others = counts.under_way.saturating_sub(u64::from(*weight));
            for told in learn.read(env.now(), &header) {
                if counts.learned.contains_key(&told.policy) || counts.learned.len() < MOST_POLICIES {
                    let learned = counts.learned.entry(told.policy.clone()).or_default();
                    learned.observe(&told, self.sent_at, now, others);
                }
            }
        }
        // Who sleeps until a window ends may have to sleep longer, or less in a new one.
        state.turns.wake();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        for (quota, weight) in &self.weights {
            let under_way = &mut state.counts[*quota].under_way;
            *under_way = under_way.saturating_sub(u64::from(*weight));
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("budget", &self.budget.name).finish_non_exhaustive()
    }
}

const SHORTEST: Duration = Duration::from_millis(10);
/// Names of policies that are told apart; a hostile API invents no more.
const MOST_POLICIES: usize = 16;
