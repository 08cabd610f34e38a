//! The bounded hand-off of landed segments from extract to load: no second read of what was just written, and no
//! waiting for a load that is behind or stuck.

use crate::env::Env;
use crate::model::{Page, PartitionId};
use crate::source::Reservation;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// A segment that is durable, with its pages still in memory.
pub(super) struct Handed {
    pub number: u64,
    pub pages: Vec<(Page, Reservation)>,
    pub ended: Vec<PartitionId>,
}

/// How far the landing has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// The newest landed segment or fence.
    pub newest: u64,
    /// Whether nothing more will be landed in this run.
    pub closed: bool,
}

/// The extract side.
pub(super) struct HandoffSender {
    env: Env,
    queue: mpsc::Sender<Handed>,
    tail: watch::Sender<Tail>,
    wanted: watch::Receiver<u64>,
    window: u64,
    patience: Duration,
    attached: bool,
}

/// The load side.
pub(super) struct HandoffReceiver {
    pub queue: mpsc::Receiver<Handed>,
    pub tail: watch::Receiver<Tail>,
    wanted: watch::Sender<u64>,
}

/// A hand-off for one shard: up to `window` segments wait; a load that makes no progress for `patience` is left behind.
pub(super) fn handoff(env: &Env, window: u64, patience: Duration) -> (HandoffSender, HandoffReceiver) {
    let window = window.max(1);
    let (queue, received) = mpsc::channel(usize::try_from(window).unwrap_or(usize::MAX).min(1 << 10));
    let (tail, tail_seen) = watch::channel(Tail::default());
    let (wanted_set, wanted) = watch::channel(0);
    let sender = HandoffSender { env: env.clone(), queue, tail, wanted, window, patience, attached: true };
    (sender, HandoffReceiver { queue: received, tail: tail_seen, wanted: wanted_set })
}

impl HandoffSender {
    /// Tells the load where the landing stands before anything new is landed.
    pub(super) fn start_at(&self, newest: u64) {
        self.tail.send_replace(Tail { newest, closed: false });
    }

    /// Offers a landed segment; waits while the load keeps up, and lets go of the pages when it does not.
    pub(super) async fn offer(&mut self, segment: Handed) {
        let number = segment.number;
        if self.may_send(number).await && self.queue.send(segment).await.is_err() {
            // The load has ended with an error, which the run reports.
            self.attached = false;
        }
        self.tail.send_modify(|t| t.newest = number);
    }

    async fn may_send(&mut self, number: u64) -> bool {
        loop {
            let wanted = *self.wanted.borrow_and_update();
            // Once left behind, the load must have caught up before it is served from memory again.
            let reach = if self.attached { self.window } else { 1 };
            if number < wanted.saturating_add(reach) {
                self.attached = true;
                return true;
            }
            if !self.attached {
                return false;
            }
            tokio::select! {
                moved = self.wanted.changed() => if moved.is_err() { return false },
                () = self.env.sleep(self.patience) => self.attached = false,
            }
        }
    }
}

impl Drop for HandoffSender {
    fn drop(&mut self) {
        self.tail.send_modify(|t| t.closed = true);
    }
}

impl HandoffReceiver {
    /// Tells the extract side which segment the load needs next.
    pub(super) fn want(&self, number: u64) {
        self.wanted.send_if_modified(|w| std::mem::replace(w, number) != number);
    }
}
