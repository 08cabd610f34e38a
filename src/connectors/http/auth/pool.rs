use super::{Answered, Auth, AuthContext, Reaction, Signature};
use crate::connectors::http::rules::http_date;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Timestamp;
use crate::retry::rate::is_skewed;
use async_trait::async_trait;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Several credentials for one API, each with a quota of its own: the one with the most left signs.
///
/// What is left of a quota is learned from the headers of the answers and counted down for each request. An answer lowers it and never
/// raises it within a window; a late answer of an earlier window counts for nothing. Credentials whose quota is used up, or that the API
/// refuses, make place for others at once. If all are used up the read waits for the first to come back, or is put off if that is longer
/// than it may wait.
///
/// ```
/// use landfall::connectors::http::{Bearer, TokenPool};
///
/// let pool = TokenPool::of([Bearer::from_env("TOKEN_1"), Bearer::from_env("TOKEN_2")]);
/// # drop(pool);
/// ```
#[must_use]
pub struct TokenPool {
    members: Vec<Arc<dyn Auth>>,
    remaining: String,
    reset: String,
    unknown_reset: Duration,
    quotas: Mutex<Vec<Quota>>,
}

/// What is known of one member's quota.
#[derive(Clone, Copy, Debug, Default)]
struct Quota {
    /// Requests left in the window; not known at first, and after a window has ended.
    left: Option<u64>,
    /// When the window ends.
    ends: Option<Timestamp>,
    /// Until when the API does not want it, whatever is left.
    blocked: Option<Timestamp>,
    /// The API refuses it for good.
    refused: bool,
}

impl TokenPool {
    /// The given credentials, at most 100. Quotas are in the headers `x-ratelimit-remaining` and `x-ratelimit-reset`.
    pub fn of<A: Auth>(members: impl IntoIterator<Item = A>) -> Self {
        let members: Vec<Arc<dyn Auth>> = members.into_iter().map(|member| Arc::new(member) as _).collect();
        Self {
            quotas: Mutex::new(vec![Quota::default(); members.len()]),
            members,
            remaining: "x-ratelimit-remaining".to_owned(),
            reset: "x-ratelimit-reset".to_owned(),
            unknown_reset: UNKNOWN_RESET,
        }
    }

    /// Adds credentials of another kind.
    pub fn and(mut self, member: impl Auth) -> Self {
        self.members.push(Arc::new(member));
        self.quotas().push(Quota::default());
        self
    }

    /// Sets the headers that say how many requests are left, and when the window ends: seconds since 1970 or from now on, or a date.
    pub fn quota_headers(mut self, remaining: impl Into<String>, reset: impl Into<String>) -> Self {
        (self.remaining, self.reset) = (remaining.into(), reset.into());
        self
    }

    /// Sets how long credentials rest that the API has had enough of without saying until when. 60 s.
    pub fn rest_for(mut self, wait: Duration) -> Self {
        self.unknown_reset = wait;
        self
    }

    fn quotas(&self) -> MutexGuard<'_, Vec<Quota>> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The member with the most left, which then has one less; or when there is one.
    fn take(&self, now: Timestamp) -> Result<Pick> {
        let mut quotas = self.quotas();
        quotas.iter_mut().for_each(|quota| quota.renew(now));
        let usable = quotas.iter().enumerate().filter(|(_, quota)| quota.is_usable());
        // Of those that have the same, the first: one that was never asked has all.
        if let Some((member, _)) =
            usable.max_by_key(|(n, quota)| (quota.left.unwrap_or(u64::MAX), std::cmp::Reverse(*n)))
        {
            if let Some(quota) = quotas.get_mut(member) {
                quota.left = quota.left.map(|left| left - 1);
            }
            return Ok(Pick::Member(member));
        }
        let back = quotas.iter().filter(|quota| !quota.refused).filter_map(Quota::back).min();
        let back = back.ok_or_else(|| {
            Error::new(ErrorKind::Auth, "sign request", "the API refuses all credentials of the pool")
                .with("credentials", quotas.len())
        })?;
        Ok(Pick::Wait(back.saturating_since(now)))
    }

    /// Learns from an answer to `member`; whether it cannot be used now.
    fn learn(&self, member: usize, answer: &Answered<'_>, env: &Env) -> bool {
        let now = env.now();
        let date = answer.header("date").and_then(|text| http_date(text.trim()));
        let window_end = |text: &str| {
            let ours = window_end(text, now)?;
            let theirs = date.filter(|date| is_skewed(*date, now, ours <= now)).unwrap_or(now);
            Some(now.saturating_add(window_end(text, theirs)?.saturating_since(theirs)))
        };
        let left = answer.header(&self.remaining).and_then(|text| text.trim().parse::<f64>().ok());
        let left = left.filter(|left| *left >= 0.0).map(|left| left as u64);
        let ends = answer.header(&self.reset).and_then(window_end);
        let wait = answer.header("retry-after").and_then(window_end);
        let is_limited = match answer.status() {
            429 => true,
            403 => left == Some(0) || wait.is_some(),
            _ => false,
        };
        let mut quotas = self.quotas();
        let Some(quota) = quotas.get_mut(member) else { return false };
        quota.observe(left, ends);
        if is_limited {
            let told = wait.or(ends.filter(|_| left == Some(0))).filter(|until| *until > now);
            let until = told.unwrap_or_else(|| now.saturating_add(self.unknown_reset));
            quota.blocked = quota.blocked.max(Some(until));
        }
        is_limited
    }
}

enum Pick {
    Member(usize),
    Wait(Duration),
}

impl Quota {
    /// A window that has ended says nothing any more.
    fn renew(&mut self, now: Timestamp) {
        if self.ends.is_some_and(|ends| ends <= now) {
            (self.left, self.ends) = (None, None);
        }
        if self.blocked.is_some_and(|until| until <= now) {
            self.blocked = None;
            // Without an end of its window, what was left is not known any more.
            if self.ends.is_none() {
                self.left = None;
            }
        }
    }

    fn is_usable(&self) -> bool {
        !self.refused && self.blocked.is_none() && self.left != Some(0)
    }

    /// When it can be used again.
    fn back(&self) -> Option<Timestamp> {
        self.blocked.max(self.ends.filter(|_| self.left == Some(0)))
    }

    fn observe(&mut self, left: Option<u64>, ends: Option<Timestamp>) {
        let Some(left) = left else { return };
        match (self.ends, ends) {
            // An answer of an earlier window came late.
            (Some(known), Some(told)) if is_before(told, known) => {}
            (Some(known), Some(told)) if is_before(known, told) => (self.left, self.ends) = (Some(left), ends),
            (known, told) => {
                self.left = Some(self.left.map_or(left, |known| known.min(left)));
                self.ends = known.or(told);
            }
        }
    }
}

/// Ends that are told in seconds from now on differ a little within one window.
fn is_before(one: Timestamp, other: Timestamp) -> bool {
    other.saturating_since(one) > SAME_WINDOW
}

/// The time that `text` tells: seconds since 1970 (or milliseconds, by their size) or from `now` on, or a date.
fn window_end(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    let Ok(number) = text.parse::<f64>() else { return http_date(text).or_else(|| Timestamp::parse(text).ok()) };
    let after = Duration::try_from_secs_f64(if number > 1e12 { number / 1e3 } else { number }).ok()?;
    Some(if number > 1e9 { Timestamp::from_micros(0) } else { now }.saturating_add(after))
}

#[async_trait]
impl Auth for TokenPool {
    fn check(&self) -> Result<()> {
        if self.members.is_empty() || self.members.len() > MOST {
            return Err(Error::config("build source", "a pool has 1 to 100 credentials"));
        }
        self.members.iter().try_for_each(|member| member.check())
    }

    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()> {
        let member = match self.take(cx.env().now())? {
            Pick::Member(member) => member,
            Pick::Wait(wait) => {
                signature.not_before(wait.max(SHORTEST));
                return Ok(());
            }
        };
        signature.member = Some(member);
        match self.members.get(member) {
            Some(auth) => auth.sign(cx, signature).await,
            None => Err(Error::bug("sign request", "the pool has no such member")),
        }
    }

    async fn answered(&self, cx: &AuthContext<'_>, signature: &Signature, answer: &Answered<'_>) -> Result<Reaction> {
        let Some((member, auth)) = signature.member.and_then(|n| Some((n, self.members.get(n)?))) else {
            return Ok(Reaction::Keep);
        };
        let reaction = auth.answered(cx, signature, answer).await?;
        if answer.is_refused() && reaction == Reaction::Keep {
            // It cannot renew itself.
            if let Some(quota) = self.quotas().get_mut(member) {
                quota.refused = true;
            }
            tracing::warn!(member, "the API refuses credentials of the pool; the others go on");
            let others = self.quotas().iter().any(|quota| !quota.refused);
            return Ok(if others { Reaction::Another } else { Reaction::Keep });
        }
        Ok(if self.learn(member, answer, cx.env()) { Reaction::Another } else { reaction })
    }
}

impl fmt::Debug for TokenPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPool").field("members", &self.members).finish_non_exhaustive()
    }
}

const MOST: usize = 100;
const UNKNOWN_RESET: Duration = Duration::from_secs(60);
const SAME_WINDOW: Duration = Duration::from_secs(2);
/// A wait of nothing would ask again at once.
const SHORTEST: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_704_067_200_000_000).saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn an_answer_lowers_a_quota_and_never_raises_it_within_its_window() {
        let mut quota = Quota::default();
        quota.observe(Some(10), Some(at(60)));
        quota.observe(Some(7), Some(at(60)));
        // Of the same window, but sent before: it came late. So did one whose reset is a second off.
        quota.observe(Some(9), Some(at(60)));
        quota.observe(Some(9), Some(at(61)));
        assert_eq!((quota.left, quota.ends), (Some(7), Some(at(60))));
        // A later window.
        quota.observe(Some(10), Some(at(120)));
        assert_eq!((quota.left, quota.ends), (Some(10), Some(at(120))));
        // A late answer of the window before.
        quota.observe(Some(0), Some(at(60)));
        assert_eq!((quota.left, quota.ends), (Some(10), Some(at(120))));
        quota.renew(at(120));
        assert_eq!((quota.left, quota.ends), (None, None));
    }

    #[test]
    fn an_end_of_a_window_is_told_in_many_ways() {
        let now = at(0);
        for (text, end) in [
            ("60", at(60)),
            (" 1.5 ", now.saturating_add(Duration::from_millis(1_500))),
            ("1704067260", at(60)),
            ("1704067260000", at(60)),
            ("Mon, 01 Jan 2024 00:01:00 GMT", at(60)),
            ("2024-01-01T00:01:00Z", at(60)),
        ] {
            assert_eq!(window_end(text, now), Some(end), "{text}");
        }
        assert!(["", "soon", "-5", "NaN"].iter().all(|text| window_end(text, now).is_none()));
    }
}
