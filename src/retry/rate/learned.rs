use super::headers::Told;
use std::time::Duration;

/// What the API itself says is left of a quota.
///
/// Within a window it only goes down: by what is taken, and to what a response says. Only a window that ends later opens a
/// new count, so a late response of an older window changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Learned {
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    left: u64,
    /// When it ends.
    until: Duration,
    /// A call sent before this may have been counted in the window before.
    since: Duration,
    /// When a response last told of it.
    told_at: Duration,
}

impl Open {
    /// When to try again at the latest: a mistaken header must not block for good.
    fn ends(&self) -> Duration {
        self.until.min(self.told_at.saturating_add(LONGEST))
    }
}

impl Learned {
    /// How long until there is room for `total`.
    pub(super) fn wait(&self, now: Duration, total: u64) -> Duration {
        match self.open {
            Some(open) if open.left < total => open.ends().saturating_sub(now),
            _ => Duration::ZERO,
        }
    }

    pub(super) fn take(&mut self, weight: u64) {
        if let Some(open) = &mut self.open {
            open.left = open.left.saturating_sub(weight);
        }
    }

    /// A response to a call that was sent at `sent` came at `now`. `others` is the weight of calls on their way still: the API
    /// may not have counted them yet.
    pub(super) fn observe(&mut self, told: &Told, sent: Duration, now: Duration, others: u64) {
        let left = told.remaining.saturating_sub(others);
        let Some(reset) = told.reset else {
            if let Some(open) = self.open.as_mut().filter(|open| now < open.until && sent >= open.since) {
                open.left = open.left.min(left);
                open.told_at = now;
            }
            return;
        };
        if reset.wait.is_zero() {
            return;
        }
        let until = now.saturating_add(reset.wait);
        let Some(open) = &mut self.open else {
            self.open = Some(Open { left, until, since: Duration::ZERO, told_at: now });
            return;
        };
        // Seconds from now count from when the response was written, which is not known: it may be as early as the call.
        let earliest = if reset.is_moment { until } else { sent.saturating_add(reset.wait) };
        if sent >= open.until || earliest > open.until.saturating_add(ROUNDING) {
            *open = Open { left, until, since: open.until.min(sent), told_at: now };
            return;
        }
        let is_over = open.until <= now;
        let is_older = until.saturating_add(ROUNDING) < open.until;
        let may_be_older = !reset.is_moment && sent < open.since;
        if !is_over && !is_older && !may_be_older {
            open.left = open.left.min(left);
            open.told_at = now;
        }
    }
}

/// How long what was told last is believed.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// Resets are written in whole seconds.
const ROUNDING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::headers::ResetIn;
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn told(remaining: u64, reset: Option<(u64, bool)>) -> Told {
        let reset = reset.map(|(wait, is_moment)| ResetIn { wait: seconds(wait), is_moment });
        Told { policy: String::new(), remaining, reset }
    }

    fn left(learned: &Learned) -> u64 {
        learned.open.expect("learned").left
    }

    #[test]
    fn lowers_and_never_raises_what_is_left_of_a_window() {
        for moment in [true, false] {
            let mut learned = Learned::default();
            learned.observe(&told(10, Some((60, moment))), seconds(0), seconds(0), 0);
            learned.take(3);
            learned.observe(&told(9, Some((55, moment))), seconds(5), seconds(5), 0);
            assert_eq!(left(&learned), 7, "a response that was overtaken");
            learned.observe(&told(2, Some((54, moment))), seconds(6), seconds(6), 0);
            assert_eq!(left(&learned), 2, "others use the quota too");
            learned.observe(&told(1, None), seconds(7), seconds(7), 0);
            assert_eq!(left(&learned), 1);
            assert_eq!(learned.wait(seconds(10), 2), seconds(50));
            assert_eq!(learned.wait(seconds(10), 1), Duration::ZERO);
            assert_eq!(learned.wait(seconds(60), 2), Duration::ZERO, "the window is over");
        }
    }

    #[test]
    fn ignores_a_late_response_of_an_older_window() {
        for moment in [true, false] {
            let mut learned = Learned::default();
            learned.observe(&told(0, Some((10, moment))), seconds(0), seconds(0), 0);
            learned.observe(&told(100, Some((60, moment))), seconds(11), seconds(11), 0);
            assert_eq!(left(&learned), 100);
            // Sent in the first window, it says that nothing is left, and comes in the second one.
            let reset = if moment { 0 } else { 1 };
            learned.observe(&told(0, Some((reset, moment))), seconds(9), seconds(15), 0);
            learned.observe(&told(0, None), seconds(9), seconds(15), 0);
            assert_eq!(left(&learned), 100);
        }
        // Written as a moment, it is known for old by that alone.
        let mut learned = Learned::default();
        learned.observe(&told(50, Some((60, true))), seconds(0), seconds(0), 0);
        learned.observe(&told(0, Some((5, true))), seconds(1), seconds(1), 0);
        assert_eq!(left(&learned), 50);
    }

    #[test]
    fn a_window_of_a_month_is_asked_about_again_after_a_day() {
        let (day, mut learned) = (24 * 3_600, Learned::default());
        learned.observe(&told(0, Some((30 * day, true))), seconds(0), seconds(0), 0);
        assert_eq!(learned.wait(seconds(0), 1), seconds(day));
        assert_eq!(learned.wait(seconds(day), 1), Duration::ZERO);
        // The same window, and a late response of it that knows of more.
        learned.observe(&told(9, Some((29 * day, true))), seconds(day), seconds(day), 0);
        assert_eq!((left(&learned), learned.wait(seconds(day), 1)), (0, seconds(day)));
    }

    #[test]
    fn calls_on_their_way_are_taken_off() {
        let mut learned = Learned::default();
        learned.observe(&told(10, Some((60, true))), seconds(0), seconds(0), 4);
        assert_eq!(left(&learned), 6);
    }
}
