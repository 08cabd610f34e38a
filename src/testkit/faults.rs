use super::fault_store::FaultStore;
use super::{Effect, Mode, Plan, Point, Target};
use crate::env::watch;
use crate::error::{Error, ErrorKind, Result, Status};
use crate::store::{Created, Store, Upload};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt::{self, Debug, Display};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const CRASH: &str = "injected crash";

/// The counted I/O points of one imagined process, and the faults planned at them. Clones are the same process.
///
/// Every operation of a store that is reached by [`store`](Self::store) is a point; whatever else has effects is made one by
/// [`point`](Self::point). A run without faults tells by [`count`](Self::count) how many there are; then each of them is made to
/// fail in turn. Once the process has died, every operation of it fails, without effect and without being counted.
#[derive(Clone)]
pub struct Faults(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    paused: watch::Sender<bool>,
    /// Uploads that the dead process will never clean up.
    wrecks: Mutex<Vec<Box<dyn Upload>>>,
    /// Effects that are under way, and the points at which they arrive.
    late: Mutex<Vec<(u64, BoxFuture<'static, ()>)>>,
}

/// What happens at a point.
type Choose = Box<dyn FnMut(&Point) -> Option<Mode> + Send>;

struct State {
    trace: Vec<Point>,
    choose: Choose,
    dead: bool,
    /// So many effects have happened, or may have.
    changes: u64,
}

impl Faults {
    /// A process without faults.
    pub fn none() -> Self {
        Self::of([])
    }

    /// A process with these faults.
    pub fn of(plans: impl IntoIterator<Item = Plan>) -> Self {
        let plans: Vec<Plan> = plans.into_iter().collect();
        Self::drawn(move |point| plans.iter().find(|plan| plan.at == point.index).map(|plan| plan.mode))
    }

    /// A process of which `choose` is asked at each point, in their order: for faults that are drawn at random while it runs.
    pub fn drawn(choose: impl FnMut(&Point) -> Option<Mode> + Send + 'static) -> Self {
        let state = State { trace: Vec::new(), choose: Box::new(choose), dead: false, changes: 0 };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            paused: watch::Sender::new(false),
            wrecks: Mutex::default(),
            late: Mutex::default(),
        }))
    }

    /// A process to which `mode` happens at each point of `target`.
    pub fn at(target: Target, mode: Mode) -> Self {
        Self::at_each([(target, mode)])
    }

    /// A process to which each mode happens at the points of its target: the first one, where a point is of several. Each target counts for
    /// itself.
    pub fn at_each(faults: impl IntoIterator<Item = (Target, Mode)>) -> Self {
        let faults: Vec<(Target, Mode)> = faults.into_iter().collect();
        Self::drawn(move |point| {
            let taken = |(target, mode): &(Target, Mode)| target.takes(point.operation, &point.name).then_some(*mode);
            // All are asked, so that all count.
            let hits: Vec<Mode> = faults.iter().filter_map(taken).collect();
            hits.first().copied()
        })
    }

    /// A process without faults of which every operation lets the others have a turn before its effect: over what answers at once,
    /// so that it can be dropped or overtaken there.
    pub fn waiting() -> Self {
        Self::drawn(|_| Some(Mode::Slow(1)))
    }

    /// `store` as this process reaches it: every operation is a point, and so are every write and the finish of an upload. Several stores may
    /// share one process.
    pub fn store(&self, store: &Store) -> Store {
        Store::new(FaultStore::new(store, self))
    }

    /// How many points were passed.
    pub fn count(&self) -> u64 {
        self.state().trace.len() as u64
    }

    /// The points that were passed, in order.
    pub fn trace(&self) -> Vec<Point> {
        self.state().trace.clone()
    }

    /// How many of its operations have changed something by now, or may have: a create that has found something there has not.
    pub(super) fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Whether the process has died.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Lets the process die now. What is under way may still have its effect; its answer is not heard.
    pub fn crash(&self) {
        self.state().dead = true;
    }

    /// Waits until the process stands still at a planned [`Mode::Pause`]. Race it with the process: it may never get there.
    /// Cancel-safe.
    pub async fn until_paused(&self) {
        self.wait(true).await;
    }

    /// Whether the process stands still.
    pub fn is_paused(&self) -> bool {
        *self.0.paused.borrow()
    }

    /// Lets a process that stands still go on. If it was made to [`crash`](Self::crash) meanwhile, the one operation that stood
    /// still has its effect late, as a request that was on its way.
    pub fn resume(&self) {
        self.0.paused.send_replace(false);
    }

    /// Lets what is late ([`Mode::Late`]) have its effect now, also after the process has died.
    ///
    /// # Cancellation
    /// Dropped, it drops effects that have not happened.
    pub async fn arrive(&self) {
        self.arrive_until(u64::MAX).await;
    }

    async fn arrive_until(&self, point: u64) {
        let due: Vec<_> = {
            let mut late = self.0.late.lock().unwrap_or_else(PoisonError::into_inner);
            let (due, still) = std::mem::take(&mut *late).into_iter().partition(|(at, _)| *at <= point);
            *late = still;
            due
        };
        for (_, effect) in due {
            effect.await;
            self.state().changes += 1;
        }
    }

    /// Whether `error` says that the process has died here.
    pub fn is_crash(error: &Error) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(e) = cause {
            if e.downcast_ref::<Error>().is_some_and(|e| e.operation() == CRASH) {
                return true;
            }
            cause = e.source();
        }
        false
    }

    /// Passes one point with the effect of `operation` on `name`, which has no visible parts: what [`store`](Self::store) does
    /// for each operation of a store, for a sink, a source or a checkpoint store in a test.
    ///
    /// # Errors
    /// Those of the effect and of the faults planned.
    ///
    /// # Cancellation
    /// Dropped, it drops `effect`.
    pub async fn point<T>(
        &self,
        operation: &'static str,
        name: impl Display + Send,
        effect: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let pass = self.enter(operation, name.to_string(), Effect::Whole).await?;
        if pass.is_torn() {
            return Err(pass.die());
        }
        pass.leave(effect.await)
    }

    /// As [`point`](Self::point), of an operation that only reads: a lost answer is `Unavailable`, as nothing can have happened.
    ///
    /// # Errors
    /// As [`point`](Self::point).
    ///
    /// # Cancellation
    /// As [`point`](Self::point).
    pub async fn read_point<T>(
        &self,
        operation: &'static str,
        name: impl Display + Send,
        answer: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let pass = self.enter(operation, name.to_string(), Effect::None).await?;
        if pass.is_torn() {
            return Err(pass.die());
        }
        pass.leave_read(answer.await)
    }

    /// Counts a point and comes to it: what follows is the effect, or a part of it if it is torn.
    pub(super) async fn enter(&self, operation: &'static str, name: String, effect: Effect) -> Result<Pass<'_>> {
        self.wait(false).await;
        self.arrive_until(self.count()).await;
        let mode = {
            let mut state = self.state();
            if state.dead {
                return Err(dead());
            }
            let point = Point { index: state.trace.len() as u64, operation, name, effect };
            let mode = (state.choose)(&point);
            state.trace.push(point);
            mode
        };
        let pass = Pass { faults: self, operation, mode, changes: effect != Effect::None };
        match mode {
            Some(Mode::Before) => return Err(pass.die()),
            Some(Mode::Fail) => return Err(unavailable(operation)),
            Some(Mode::Refuse(ErrorKind::Unavailable)) => return Err(unavailable(operation)),
            Some(Mode::Refuse(kind)) => return Err(Error::new(kind, operation, "injected refusal")),
            Some(Mode::Pause) => {
                self.0.paused.send_replace(true);
                self.wait(false).await;
            }
            Some(Mode::Slow(turns)) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
        Ok(pass)
    }

    pub(super) fn wreck(&self, upload: Box<dyn Upload>) {
        self.0.wrecks.lock().unwrap_or_else(PoisonError::into_inner).push(upload);
    }

    async fn wait(&self, paused: bool) {
        let reached = self.0.paused.subscribe().wait_for(|now| *now == paused).await.is_ok();
        debug_assert!(reached, "the gate lives as long as the process");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("count", &self.count()).field("dead", &self.is_dead()).finish_non_exhaustive()
    }
}

/// An operation at its point.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    faults: &'a Faults,
    operation: &'static str,
    mode: Option<Mode>,
    /// Whether it changes something, as far as is known.
    changes: bool,
}

impl Drop for Pass<'_> {
    /// However it ends, its effect may have happened by now.
    fn drop(&mut self) {
        self.faults.state().changes += u64::from(self.changes);
    }
}

impl Pass<'_> {
    /// Whether only a part of the effect is to happen; [`die`](Self::die) follows.
    pub(super) fn is_torn(&self) -> bool {
        self.mode == Some(Mode::Torn)
    }

    pub(super) fn die(&self) -> Error {
        self.faults.crash();
        dead()
    }

    /// What the process hears of a create, of which `effect` is the effect.
    pub(super) async fn create(
        mut self,
        effect: impl Future<Output = Result<Created>> + Send + 'static,
    ) -> Result<Created> {
        match self.mode {
            Some(Mode::Conflict) => self.heard(Ok(Created::Exists)),
            Some(Mode::Exists) => {
                let answer = effect.await.map(|_| Created::Exists);
                self.heard(answer)
            }
            Some(Mode::Late(_)) => self.write(effect).await,
            _ => {
                let answer = effect.await;
                self.changes &= !matches!(answer, Ok(Created::Exists));
                self.leave(answer)
            }
        }
    }

    /// What the process hears of a write that may arrive late.
    pub(super) async fn write<T>(self, effect: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let Some(Mode::Late(after)) = self.mode else {
            let answer = effect.await;
            return self.leave(answer);
        };
        // Counted from this point, the newest one.
        let at = self.faults.count().saturating_sub(1) + u64::from(after);
        let effect = async move { drop(effect.await) }.boxed();
        self.faults.0.late.lock().unwrap_or_else(PoisonError::into_inner).push((at, effect));
        Err(lost(self.operation))
    }

    /// What the process hears of a write.
    pub(super) fn leave<T>(self, answer: Result<T>) -> Result<T> {
        if self.mode == Some(Mode::LostResponse) && answer.is_ok() && !self.faults.is_dead() {
            return Err(lost(self.operation));
        }
        self.heard(answer)
    }

    /// What the process hears of a read.
    pub(super) fn leave_read<T>(self, answer: Result<T>) -> Result<T> {
        if self.mode == Some(Mode::LostResponse) && !self.faults.is_dead() {
            return Err(unavailable(self.operation));
        }
        self.heard(answer)
    }

    fn heard<T>(self, answer: Result<T>) -> Result<T> {
        if self.mode == Some(Mode::AfterLostResponse) || self.faults.is_dead() {
            return Err(self.die());
        }
        answer
    }
}

fn dead() -> Error {
    // Not transient: nothing that a dead process tries again can succeed.
    Error::unavailable(CRASH, "this process is dead").with_status(Status::Permanent)
}

fn lost(operation: &'static str) -> Error {
    Error::new(ErrorKind::Ambiguous, operation, "injected loss of the response")
}

fn unavailable(operation: &'static str) -> Error {
    Error::unavailable(operation, "injected failure")
}
