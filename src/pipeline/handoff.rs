//! The bounded hand-off of landed segments from extract to load: no second read of what was just written, and no
//! waiting for a load that is behind or stuck.

use crate::env::Env;
use crate::env::watch;
use crate::model::{Page, PartitionId};
use crate::source::Reservation;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;

/// A segment that is durable, with its pages still in memory.
pub(super) struct Handed {
    pub number: u64,
    pub pages: Vec<(Page, Reservation)>,
    pub ended: Vec<PartitionId>,
    /// Whether the enumeration is whole with it.
    pub whole: bool,
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
    window: Window,
    patience: Duration,
    attached: bool,
    /// Number and bytes of the segments that were handed over; those that the load has taken are forgotten.
    waiting: VecDeque<(u64, u64)>,
}

/// How much may wait between extract and load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub segments: u64,
    /// A stuck load must not hold the memory that the reads need: what does not fit is read from the landing again.
    pub bytes: u64,
}

/// The load side.
pub(super) struct HandoffReceiver {
    pub queue: mpsc::Receiver<Handed>,
    pub tail: watch::Receiver<Tail>,
    wanted: watch::Sender<u64>,
}

/// A hand-off for one shard whose landing has come to segment `newest`: a `window` of segments waits; a load that makes no
/// progress for `patience` is left behind.
pub(super) fn handoff(env: &Env, newest: u64, window: Window, patience: Duration) -> (HandoffSender, HandoffReceiver) {
    let window = Window { segments: window.segments.max(1), ..window };
    let (queue, received) = mpsc::channel(usize::try_from(window.segments).unwrap_or(usize::MAX).min(1 << 10));
    let (tail, tail_seen) = watch::channel(Tail { newest, closed: false });
    let (wanted_set, wanted) = watch::channel(0);
    let waiting = VecDeque::new();
    let sender = HandoffSender { env: env.clone(), queue, tail, wanted, window, patience, attached: true, waiting };
    (sender, HandoffReceiver { queue: received, tail: tail_seen, wanted: wanted_set })
}

impl HandoffSender {
    /// Offers a landed segment; waits while the load keeps up, and lets go of the pages when it does not.
    pub(super) async fn offer(&mut self, segment: Handed) {
        let number = segment.number;
        let bytes = segment.pages.iter().map(|(page, _)| page.body.len() as u64).sum();
        if self.may_send(number, bytes).await {
            self.waiting.push_back((number, bytes));
            // The load may have ended with an error, which the run reports.
            self.attached = self.queue.send(segment).await.is_ok();
        }
        self.tail.send_modify(|t| t.newest = number);
    }

    async fn may_send(&mut self, number: u64, bytes: u64) -> bool {
        if bytes > self.window.bytes {
            return false;
        }
        loop {
            let wanted = *self.wanted.borrow_and_update();
            self.waiting.retain(|(number, _)| *number >= wanted);
            let waiting: u64 = self.waiting.iter().map(|(_, bytes)| bytes).sum();
            // Once left behind, the load must have caught up before it is served from memory again.
            let reach = if self.attached { self.window.segments } else { 1 };
            if number < wanted.saturating_add(reach) && waiting + bytes <= self.window.bytes {
                self.attached = true;
                return true;
            }
            if !self.attached {
                return false;
            }
            tokio::select! {
                biased;
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
    /// Nothing is handed over, and everything read from the landing: up to segment `newest`, or as far as `tail` says.
    pub(super) fn reading(env: &Env, newest: u64, tail: Option<watch::Receiver<Tail>>) -> Self {
        let (_, receiver) = handoff(env, newest, Window { segments: 0, bytes: 0 }, Duration::ZERO);
        match tail {
            Some(tail) => Self { tail, ..receiver },
            None => receiver,
        }
    }

    /// Tells the extract side which segment the load needs next.
    pub(super) fn want(&self, number: u64) {
        self.wanted.send_if_modified(|w| std::mem::replace(w, number) != number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::testkit::test_env;

    fn segment(number: u64, bytes: usize) -> Handed {
        let page = Page::new(PartitionId("p".into()), vec![b'x'; bytes], 1, Timestamp::from_micros(1));
        Handed { number, pages: vec![(page, Reservation::none())], ended: Vec::new(), whole: false }
    }

    #[tokio::test]
    async fn a_stuck_load_holds_no_more_than_the_window_in_segments_and_in_bytes() {
        for (segments, bytes, handed) in [(2, 1_000, 2), (9, 100, 1), (9, 60, 1), (9, 59, 0)] {
            let window = Window { segments, bytes };
            let (mut sender, mut receiver) = handoff(&test_env(1), 0, window, Duration::from_secs(1));
            receiver.want(1);
            for number in 1..=4 {
                sender.offer(segment(number, 60)).await;
            }
            assert_eq!(receiver.tail.borrow().newest, 4, "the landing goes on");
            for number in 1..=handed {
                assert_eq!(receiver.queue.try_recv().map(|s| s.number).ok(), Some(number));
            }
            assert!(receiver.queue.try_recv().is_err(), "the rest is read from the landing");
        }
    }
}
