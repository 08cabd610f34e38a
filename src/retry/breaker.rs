use super::turns::{Place, Priority, Turns};
use super::{Backoff, Policy, WaitBudget};
use crate::env::Env;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Whether a system answers, as all see it together who call it: so that an outage, or a refusal for the rate, is not met by each
/// of them.
///
/// 1. *Shut*: after five faults in a row, whoever met them, and after each refusal that says or implies a wait, nobody calls.
/// 2. *One probe*: after the wait, one call goes first, in turn by [`Priority`]; the others wait for how it ends. A fault
///    shuts it again, for longer each time (the [`Backoff`] of the policy).
/// 3. *Bounded*: an outage longer than [`Policy::elapsed`], from its first fault to its last, is not waited for any more: see
///    [`Entry::Down`]. The system is still probed then, by whoever comes when a probe is due. Time in which nobody called is no
///    outage: after as much of it the next fault is the first.
///
/// One fault by itself changes nothing. Clones are the same breaker: one per host.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use landfall::env::Env;
/// use landfall::retry::{Breaker, Entry, Policy, Priority, WaitBudget};
///
/// let (env, policy) = (Env::system(), Policy::default());
/// let breaker = Breaker::new(&policy);
/// match breaker.enter(&env, Priority::Incremental, &mut WaitBudget::new(policy.wait)).await {
///     Entry::Go(mut pass) => pass.succeeded(), // after the call; or `pass.failed(&env)`, `pass.refused(&env, wait)`
///     Entry::PutOff { wait } => println!("come back in {wait:?}"),
///     Entry::Down { since } => println!("no answer for {since:?}"),
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Breaker(Arc<Inner>);

struct Inner {
    backoff: Backoff,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    turns: Turns,
    /// Faults since the last call that went well.
    faults: u32,
    /// When the first and the last of them came.
    outage: Option<(Duration, Duration)>,
    /// How often it was shut for them.
    times: u32,
    shut: Option<Shut>,
}

#[derive(Clone, Copy, Debug)]
struct Shut {
    until: Duration,
    /// The system answers, and asked for it.
    asked: bool,
    /// A call is under way that tells whether it can be opened.
    probing: bool,
}

/// Whether a call may be made.
#[derive(Debug)]
pub enum Entry {
    /// Make it, and say how it went.
    Go(Pass),
    /// The system wants nobody to call for so long, and that is more than the budget holds.
    PutOff {
        /// The wait that would be due.
        wait: Duration,
    },
    /// The system has not answered for longer than the policy allows.
    Down {
        /// For how long.
        since: Duration,
    },
}

enum Step {
    Free,
    Wait { until: Option<Duration>, asked: bool },
    Down { since: Duration },
}

impl Breaker {
    /// A breaker that is open to all, with the back-off and the patience of `policy`.
    pub fn new(policy: &Policy) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Inner { backoff: policy.backoff, patience: policy.elapsed, state }))
    }

    /// Waits until a call may be made. Waits that the system asked for are taken out of `budget`.
    ///
    /// # Cancellation
    /// Cancel-safe: who comes next moves up.
    pub async fn enter(&self, env: &Env, priority: Priority, budget: &mut WaitBudget) -> Entry {
        loop {
            if let Err(shut) = self.ready(env, priority, budget).await {
                return shut;
            }
            if let Some(pass) = self.try_enter(env) {
                return Entry::Go(pass);
            }
        }
    }

    /// Waits until a call could be made, but takes no right to it: for who needs other things first that are not to be held
    /// meanwhile, and then comes with [`try_enter`](Self::try_enter).
    ///
    /// # Cancellation
    /// Cancel-safe: who comes next moves up.
    ///
    /// # Errors
    /// [`Entry::PutOff`] and [`Entry::Down`].
    pub async fn ready(&self, env: &Env, priority: Priority, budget: &mut WaitBudget) -> Result<(), Entry> {
        let waiting = Waiting::enter(&self.0, priority);
        // Until when waits are paid for.
        let mut paid = env.monotonic();
        loop {
            let now = env.monotonic();
            let (until, asked) = match self.0.step(waiting.place, now) {
                Step::Free => return Ok(()),
                Step::Down { since } => return Err(Entry::Down { since }),
                Step::Wait { until, asked } => (until, asked),
            };
            let Some(until) = until else {
                waiting.wake.notified().await;
                continue;
            };
            if asked && until > paid {
                if !budget.take(until - paid.max(now)) {
                    return Err(Entry::PutOff { wait: until - now });
                }
                paid = until;
            }
            tokio::select! {
                biased;
                () = waiting.wake.notified() => {}
                () = env.sleep(until.saturating_sub(now)) => {}
            }
        }
    }

    /// The right to make a call, if it may be made now.
    pub fn try_enter(&self, env: &Env) -> Option<Pass> {
        let now = env.monotonic();
        let mut state = self.0.state();
        if let Some(shut) = &mut state.shut {
            if shut.probing || now < shut.until {
                return None;
            }
            shut.probing = true;
        }
        let probes = state.shut.map(|shut| shut.until);
        Some(Pass { breaker: Arc::clone(&self.0), probes, made_at: now })
    }

    /// Whether it knows no more than a new one.
    #[cfg(feature = "http")]
    pub(crate) fn is_like_new(&self) -> bool {
        let state = self.0.state();
        state.faults == 0 && state.shut.is_none()
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { faults, shut, .. } = &*self.0.state();
        f.debug_struct("Breaker").field("faults", faults).field("shut", shut).finish_non_exhaustive()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, place: Place, now: Duration) -> Step {
        let state = self.state();
        let is_first = state.turns.is_first(place);
        let Some(shut) = &state.shut else { return Step::Free };
        if now >= shut.until && !shut.probing && is_first {
            return Step::Free;
        }
        // Who is not first, or waits for a probe, is woken.
        let due = (now < shut.until).then_some(shut.until);
        if shut.asked {
            return Step::Wait { until: due, asked: true };
        }
        let since = state.lasted();
        if since >= self.patience {
            return Step::Down { since };
        }
        Step::Wait { until: due, asked: false }
    }
}

impl State {
    /// For how long the system is known not to answer.
    fn lasted(&self) -> Duration {
        self.outage.map_or(Duration::ZERO, |(first, last)| last - first)
    }

    /// The probe after the wait until `probed` has ended, and no fault was in the way.
    fn open(&mut self, probed: Duration) {
        // The system may have asked for another wait meanwhile.
        self.shut = self.shut.filter(|shut| shut.until > probed).map(|shut| Shut { probing: false, ..shut });
        self.turns.wake();
    }

    fn forget(&mut self) {
        (self.faults, self.outage, self.times) = (0, None, 0);
    }
}

/// The right to make one call. Dropped without a word, it says nothing about the system: then the next one probes.
#[must_use = "the call counts as over when this is dropped"]
pub struct Pass {
    breaker: Arc<Inner>,
    /// It is the probe after the wait that ended then.
    probes: Option<Duration>,
    made_at: Duration,
}

impl Pass {
    /// The call is made only now: what it waited for since it was let in is no outage.
    pub fn begins(&mut self, env: &Env) {
        self.made_at = env.monotonic();
    }

    /// The system answers, and the call goes on for long: the others need not wait for its end.
    pub fn answers(&mut self) {
        if let Some(probed) = self.probes.take() {
            let mut state = self.breaker.state();
            // The next fault shuts it again, as the first of another outage.
            let faults = state.faults.min(FAULTS - 1);
            state.forget();
            state.faults = faults;
            state.open(probed);
        }
    }

    /// The call went well, or the system refused this very call: it answers.
    pub fn succeeded(&mut self) {
        let mut state = self.breaker.state();
        let probes = self.probes.take();
        if state.shut.is_none() || probes.is_some() {
            // A call that was under way when it was shut says nothing about now.
            state.forget();
        }
        if let Some(probed) = probes {
            state.open(probed);
        }
    }

    /// The call met a fault.
    pub fn failed(&mut self, env: &Env) {
        let (now, random) = (env.monotonic(), env.random());
        let mut state = self.breaker.state();
        let probes = self.probes.take();
        let known = state.outage.map(|(_, last)| last.max(probes.unwrap_or_default()));
        if known.is_some_and(|known| self.made_at.saturating_sub(known) > self.breaker.patience) {
            state.forget();
        }
        state.faults = state.faults.saturating_add(1);
        let (_, last) = state.outage.get_or_insert((now, now));
        *last = now;
        if probes.is_some() || (state.shut.is_none() && state.faults >= FAULTS) {
            let wait = self.breaker.backoff.wait_at_least_half(state.times, random);
            state.times = state.times.saturating_add(1);
            let until = whole(now.saturating_add(wait));
            // The system may have asked for a longer wait meanwhile.
            let asked = state.shut.filter(|shut| shut.asked && shut.until > until);
            let until = asked.map_or(until, |shut| shut.until);
            state.shut = Some(Shut { until, asked: asked.is_some(), probing: false });
            state.turns.wake();
        }
    }

    /// The system refused the call, and wants nobody to call for `wait`.
    pub fn refused(&mut self, env: &Env, wait: Duration) {
        let until = whole(env.monotonic().saturating_add(wait));
        let mut state = self.breaker.state();
        let is_probe = self.probes.take().is_some();
        state.forget();
        let probing = !is_probe && state.shut.is_some_and(|shut| shut.probing);
        let until = state.shut.map_or(until, |shut| shut.until.max(until));
        state.shut = Some(Shut { until, asked: true, probing });
        state.turns.wake();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probes.is_none() {
            return;
        }
        let mut state = self.breaker.state();
        if let Some(shut) = &mut state.shut {
            shut.probing = false;
        }
        state.turns.wake();
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("is_probe", &self.probes.is_some()).finish_non_exhaustive()
    }
}

/// A place in the queue, given up when dropped.
struct Waiting<'a> {
    breaker: &'a Inner,
    place: Place,
    wake: Arc<Notify>,
}

impl<'a> Waiting<'a> {
    fn enter(breaker: &'a Inner, priority: Priority) -> Self {
        let (place, wake) = breaker.state().turns.enter(priority, &[(0, 1)]);
        Self { breaker, place, wake }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.breaker.state().turns.leave(self.place);
    }
}

/// In whole microseconds: finer than that no clock need go, and who slept until then must not have to sleep again.
fn whole(at: Duration) -> Duration {
    Duration::new(at.as_secs(), at.subsec_micros() * 1_000)
}

/// Faults in a row that shut it: as many as one operation may meet by default.
const FAULTS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{ManualClock, SeededEntropy};
    use futures::FutureExt;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3_600);

    struct World {
        clock: ManualClock,
        env: Env,
        breaker: Breaker,
    }

    impl World {
        fn new() -> Self {
            let clock = ManualClock::new();
            let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(1)));
            Self { clock, env, breaker: Breaker::new(&Policy::default()) }
        }

        fn entry(&self, budget: Duration) -> Option<Entry> {
            self.breaker.enter(&self.env, Priority::Incremental, &mut WaitBudget::new(budget)).now_or_never()
        }

        fn pass(&self) -> Option<Pass> {
            match self.entry(HOUR) {
                Some(Entry::Go(pass)) => Some(pass),
                Some(other) => panic!("{other:?}"),
                None => None,
            }
        }

        /// That of a call that was under way before it was shut.
        fn late(&self) -> Pass {
            Pass { breaker: Arc::clone(&self.breaker.0), probes: None, made_at: self.env.monotonic() }
        }

        fn fail(&self, times: u32) {
            (0..times).for_each(|_| self.pass().expect("open").failed(&self.env));
        }
    }

    #[test]
    fn faults_by_themselves_change_nothing_and_five_in_a_row_shut_it() {
        let world = World::new();
        for _ in 0..10 {
            world.fail(4);
            world.pass().expect("open").succeeded();
        }
        world.fail(4);
        assert!(world.pass().is_some());
        world.fail(1);
        assert!(world.pass().is_none());
    }

    #[test]
    fn one_call_probes_and_the_others_wait_for_how_it_ends() {
        let world = World::new();
        world.fail(5);
        world.clock.advance(SECOND);
        let mut probe = world.pass().expect("due");
        assert!(world.pass().is_none());
        probe.failed(&world.env);
        assert!(world.pass().is_none(), "shut for longer");
        world.clock.advance(SECOND);
        // A probe that was dropped says nothing: the next one goes.
        drop(world.pass().expect("due"));
        world.pass().expect("due").succeeded();
        let (one, other) = (world.pass(), world.pass());
        assert!(one.is_some() && other.is_some());
    }

    #[test]
    fn a_call_from_before_it_was_shut_says_nothing_about_now() {
        let world = World::new();
        let mut early = world.pass().expect("open");
        world.fail(5);
        early.succeeded();
        assert!(world.pass().is_none());
    }

    #[test]
    fn an_outage_is_waited_for_as_long_as_the_policy_says_and_probed_on() {
        let world = World::new();
        world.fail(5);
        let mut probes = 0;
        let since = loop {
            world.clock.advance(SECOND);
            match world.entry(HOUR) {
                Some(Entry::Go(mut pass)) => pass.failed(&world.env),
                Some(Entry::Down { since }) => break since,
                _ => continue,
            }
            probes += 1;
        };
        assert!((10..=20).contains(&probes), "{probes}");
        assert!((Policy::default().elapsed..Policy::default().elapsed + Backoff::default().max).contains(&since));
        world.clock.advance(Backoff::default().max);
        let mut probe = world.pass().expect("due");
        assert!(matches!(world.entry(HOUR), Some(Entry::Down { .. })), "it is not waited for");
        probe.succeeded();
        assert!(world.pass().is_some());
    }

    #[test]
    fn time_in_which_nobody_asked_is_no_outage() {
        let world = World::new();
        world.fail(5);
        world.clock.advance(HOUR);
        world.pass().expect("due").failed(&world.env);
        assert!(world.entry(HOUR).is_none(), "it waits for the next probe");
        world.clock.advance(SECOND);
        world.pass().expect("due, as after the first fault").succeeded();

        // Nor with faults that did not shut it.
        world.fail(4);
        world.clock.advance(HOUR);
        world.fail(4);
        assert!(world.pass().is_some());
        world.fail(1);
        assert!(world.entry(HOUR).is_none());
    }

    #[test]
    fn a_probe_that_is_not_sent_is_no_outage() {
        let world = World::new();
        world.fail(5);
        world.clock.advance(SECOND);
        let mut probe = world.pass().expect("due");
        // It waits for its turn in a budget, say.
        world.clock.advance(HOUR);
        assert!(world.entry(HOUR).is_none(), "the others wait with it");
        probe.begins(&world.env);
        probe.failed(&world.env);
        assert!(world.entry(HOUR).is_none(), "one fault");
    }

    #[test]
    fn a_slow_fault_belongs_to_the_outage() {
        let world = World::new();
        world.fail(5);
        world.clock.advance(SECOND);
        let mut probe = world.pass().expect("due");
        world.clock.advance(HOUR);
        probe.failed(&world.env);
        assert!(matches!(world.entry(HOUR), Some(Entry::Down { since }) if since >= HOUR));
    }

    #[test]
    fn an_answer_ends_an_outage_even_if_the_call_fails_later() {
        let world = World::new();
        world.fail(5);
        world.clock.advance(SECOND);
        let mut long = world.pass().expect("due");
        long.answers();
        world.clock.advance(Policy::default().elapsed);
        long.failed(&world.env);
        assert!(world.entry(HOUR).is_none(), "shut, but not down");
    }

    #[test]
    fn the_end_of_a_probe_leaves_a_wait_that_was_asked_for_meanwhile() {
        let ends: [fn(Pass, &Env); 4] = [
            |mut pass, _| pass.succeeded(),
            |mut pass, _| pass.answers(),
            |mut pass, env| pass.failed(env),
            |pass, _| drop(pass),
        ];
        for end in ends {
            let world = World::new();
            let mut late = world.pass().expect("open");
            world.fail(5);
            world.clock.advance(SECOND);
            let probe = world.pass().expect("due");
            late.refused(&world.env, 30 * SECOND);
            end(probe, &world.env);
            assert!(matches!(world.entry(Duration::ZERO), Some(Entry::PutOff { wait }) if wait == 30 * SECOND));
            world.clock.advance(30 * SECOND);
            world.pass().expect("due").succeeded();
            assert!(world.pass().is_some());
        }
    }

    #[test]
    fn a_refusal_holds_all_and_takes_from_the_budget_and_one_goes_first_after_it() {
        let world = World::new();
        world.pass().expect("open").refused(&world.env, 30 * SECOND);
        assert!(matches!(world.entry(29 * SECOND), Some(Entry::PutOff { wait }) if wait == 30 * SECOND));
        assert!(world.entry(30 * SECOND).is_none(), "it waits");
        world.clock.advance(30 * SECOND);
        let mut probe = world.pass().expect("due");
        assert!(world.entry(Duration::ZERO).is_none(), "waiting for a probe costs nothing");
        probe.refused(&world.env, SECOND);
        assert!(world.pass().is_none());
        world.clock.advance(SECOND);
        world.pass().expect("due").succeeded();
        assert!(world.pass().is_some());
    }

    #[test]
    fn a_wait_is_paid_for_once() {
        let world = World::new();
        world.pass().expect("open").refused(&world.env, 30 * SECOND);
        let mut budget = WaitBudget::new(40 * SECOND);
        {
            let mut waiting = Box::pin(world.breaker.enter(&world.env, Priority::Incremental, &mut budget));
            assert!((&mut waiting).now_or_never().is_none());
            world.clock.advance(10 * SECOND);
            assert!((&mut waiting).now_or_never().is_none());
            // Five more seconds are asked for meanwhile.
            world.late().refused(&world.env, 25 * SECOND);
            assert!((&mut waiting).now_or_never().is_none());
            world.clock.advance(25 * SECOND);
            assert!(matches!((&mut waiting).now_or_never(), Some(Entry::Go(_))));
        }
        assert_eq!(budget.left(), 5 * SECOND);
    }

    #[test]
    fn a_long_call_lets_the_others_go_and_its_fault_shuts_it_again() {
        let world = World::new();
        world.fail(5);
        world.clock.advance(SECOND);
        let mut long = world.pass().expect("due");
        long.answers();
        assert!(world.pass().is_some() && world.pass().is_some());
        long.failed(&world.env);
        assert!(world.pass().is_none());
    }

    #[test]
    fn fresh_work_probes_first_and_who_waits_moves_up() {
        let world = World::new();
        world.fail(5);
        let mut budgets = [WaitBudget::new(HOUR); 3];
        let [one, two, three] = &mut budgets;
        let mut backfill = Box::pin(world.breaker.enter(&world.env, Priority::Backfill, one));
        let mut gone = Box::pin(world.breaker.enter(&world.env, Priority::Incremental, two));
        let mut fresh = Box::pin(world.breaker.enter(&world.env, Priority::Incremental, three));
        for waiting in [&mut backfill, &mut gone, &mut fresh] {
            assert!(waiting.now_or_never().is_none());
        }
        world.clock.advance(SECOND);
        drop(gone);
        assert!((&mut backfill).now_or_never().is_none());
        let Some(Entry::Go(mut probe)) = (&mut fresh).now_or_never() else { panic!("its turn") };
        assert!((&mut backfill).now_or_never().is_none());
        probe.succeeded();
        assert!(matches!((&mut backfill).now_or_never(), Some(Entry::Go(_))));
    }
}
