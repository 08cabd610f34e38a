//! A value that others watch. As `tokio::sync::watch`, which wakes those who wait in an order that is drawn at random: here it is the order
//! in which they began to wait, so that one seed gives one history.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use landfall::env::watch;
//!
//! let (stop, mut stopped) = watch::channel(false);
//! assert!(!*stopped.borrow());
//! stop.send_replace(true);
//! assert!(stopped.wait_for(|stop| *stop).await.is_ok());
//! # }
//! ```

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::Notify;

/// A value, and who watches it.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

/// Changes the value. Clones change the same one; when the last of them is dropped, it never changes again.
pub struct Sender<T>(Arc<Shared<T>>);

/// Watches the value. A clone has seen what the original has.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

struct Shared<T> {
    state: RwLock<State<T>>,
    changed: Notify,
}

struct State<T> {
    value: T,
    version: u64,
    senders: usize,
}

/// The value cannot change any more: nobody is left who could change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// The value, borrowed. Holds changes up: drop it soon, and never hold two of one value.
#[derive(Debug)]
pub struct Ref<'a, T>(RwLockReadGuard<'a, State<T>>);

impl<T> Shared<T> {
    // A panic in a closure of a user leaves a value as that closure left it.
    fn read(&self) -> RwLockReadGuard<'_, State<T>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<T>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Sender<T> {
    /// A value that nobody watches yet.
    pub fn new(value: T) -> Self {
        let state = State { value, version: 0, senders: 1 };
        Self(Arc::new(Shared { state: RwLock::new(state), changed: Notify::new() }))
    }

    /// Another one who watches. It has seen the value of now.
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { shared: Arc::clone(&self.0), seen: self.0.read().version }
    }

    /// The value of now.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.0.read())
    }

    /// Sets the value, and gives what it was.
    pub fn send_replace(&self, value: T) -> T {
        let mut was = value;
        self.send_modify(|value| std::mem::swap(value, &mut was));
        was
    }

    /// Changes the value.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }

    /// Changes the value; those who watch hear of it if `change` says that it did. Gives what it says.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let mut state = self.0.write();
        let changed = change(&mut state.value);
        state.version += u64::from(changed);
        drop(state);
        if changed {
            self.0.changed.notify_waiters();
        }
        changed
    }
}

impl<T: Send + Sync> Receiver<T> {
    /// The value of now; it does not count as seen.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// The value of now; it counts as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let state = self.shared.read();
        self.seen = state.version;
        Ref(state)
    }

    /// What is there now counts as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.read().version;
    }

    /// Waits for a value that was not seen; it counts as seen then. Cancel-safe.
    ///
    /// # Errors
    /// [`Closed`] if it has seen the last one.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        let seen = self.seen;
        self.until(|state| state.version != seen).await
    }

    /// Waits until the value is as `wanted`; it counts as seen then. Cancel-safe.
    ///
    /// # Errors
    /// [`Closed`] if it is not, and never will be.
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool + Send) -> Result<(), Closed> {
        self.until(|state| wanted(&state.value)).await
    }

    async fn until(&mut self, mut reached: impl FnMut(&State<T>) -> bool + Send) -> Result<(), Closed> {
        loop {
            // Made before it looks: a change in between wakes it.
            let changed = self.shared.changed.notified();
            {
                let state = self.shared.read();
                if reached(&state) {
                    self.seen = state.version;
                    return Ok(());
                }
                if state.senders == 0 {
                    return Err(Closed);
                }
            }
            changed.await;
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.write().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.write();
        state.senders -= 1;
        let last = state.senders == 0;
        drop(state);
        if last {
            self.0.changed.notify_waiters();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: fmt::Debug> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.0.read()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.shared.read()).finish()
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody is left who could change the value")
    }
}

impl std::error::Error for Closed {}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::sync::Mutex;

    #[tokio::test]
    async fn wakes_in_the_order_in_which_they_began_to_wait() {
        for _ in 0..20 {
            let (sender, receiver) = channel(0);
            let order = Arc::new(Mutex::new(Vec::new()));
            let waiting: Vec<_> = (0..20)
                .map(|number| {
                    let (mut receiver, order) = (receiver.clone(), Arc::clone(&order));
                    tokio::spawn(async move {
                        receiver.changed().await.expect("it changes");
                        order.lock().expect("no panic").push(number);
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            sender.send_replace(1);
            for one in waiting {
                one.await.expect("no panic");
            }
            assert_eq!(*order.lock().expect("no panic"), (0..20).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn what_was_seen_is_not_told_again() {
        let (sender, mut receiver) = channel(0);
        assert!(receiver.changed().now_or_never().is_none());
        assert_eq!(sender.send_replace(1), 0);
        let mut other = receiver.clone();
        assert_eq!(receiver.changed().now_or_never(), Some(Ok(())));
        assert!(receiver.changed().now_or_never().is_none());
        assert_eq!(*other.borrow(), 1);
        assert_eq!(*other.borrow_and_update(), 1);
        assert!(other.changed().now_or_never().is_none());
        assert!(!sender.send_if_modified(|_| false));
        assert!(receiver.changed().now_or_never().is_none());
        sender.send_modify(|value| *value += 1);
        other.mark_unchanged();
        assert!(other.changed().now_or_never().is_none());
        assert_eq!(other.wait_for(|value| *value == 2).now_or_never(), Some(Ok(())));
        assert_eq!(receiver.changed().now_or_never(), Some(Ok(())));
    }

    #[tokio::test]
    async fn ends_with_the_last_who_could_change_it() {
        let (sender, mut receiver) = channel(0);
        let other = sender.clone();
        drop(sender);
        let waiting = tokio::spawn({
            let mut receiver = receiver.clone();
            async move { receiver.wait_for(|value| *value == 2).await }
        });
        tokio::task::yield_now().await;
        other.send_replace(1);
        drop(other);
        assert_eq!(waiting.await.expect("no panic"), Err(Closed));
        assert_eq!(receiver.changed().await, Ok(()), "the last value was not seen");
        assert_eq!(receiver.changed().await, Err(Closed));
    }
}
