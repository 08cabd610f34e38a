use crate::error::ErrorKind;

/// What happens at an I/O point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// The process dies before the effect.
    Before,
    /// The effect happens, and the process dies before it hears the answer.
    AfterLostResponse,
    /// Part of the effect happens, as far as the contract allows, and the process dies: an upload or a write leaves a
    /// temporary object behind, a rename has copied and not deleted. Where there is no such part it is [`Before`](Self::Before).
    Torn,
    /// The whole process stands still before the effect, until [`Faults::resume`](super::Faults::resume); then it goes on as if
    /// nothing had been.
    Pause,
    /// The effect happens, and the answer is lost: an error of kind `Ambiguous`, or `Unavailable` for a read. The process
    /// lives on.
    LostResponse,
    /// The effect does not happen: an error of kind `Unavailable`, transient. The process lives on.
    Fail,
    /// The effect comes late: this operation alone waits until all others have had so many turns.
    Slow(u32),
    /// The effect does not happen, and the error is of this kind: `Unavailable` of a server that is busy (it is transient then), `Auth` of a
    /// missing permission, `Config` of a store that is not there, `Ambiguous` of a request that was lost with its answer. The process lives on.
    Refuse(ErrorKind),
    /// A create has its effect, and the answer is that something was there: an earlier try of the client was lost. Other operations go well.
    Exists,
    /// A create has no effect, and the answer is that something was there: another request was under way, and failed. Other operations go well.
    Conflict,
    /// A create, a put or a delete is answered as [`LostResponse`](Self::LostResponse), and has its effect later: when the process comes to the
    /// operation that is so many after it, or at [`Faults::arrive`](super::Faults::arrive). Other operations go well.
    Late(u32),
}

impl Mode {
    /// What can happen to any operation, whatever it is done to: what [`Schedules`](super::Schedules) take unless they are told otherwise.
    pub const ANY: [Self; 6] =
        [Self::Before, Self::AfterLostResponse, Self::Torn, Self::Pause, Self::LostResponse, Self::Fail];

    /// Of these, what a process does not live through, or not without another one that takes over.
    pub const CRASHES: [Self; 4] = [Self::Before, Self::AfterLostResponse, Self::Torn, Self::Pause];

    /// All that an object store can do: besides [`ANY`](Self::ANY), the odd answers to a create, requests that arrive after others (within the
    /// process, or when everybody has ended), refusals for good, and a request of which nothing is heard any more.
    pub const OBJECT_STORE: [Self; 13] = [
        Self::Before,
        Self::AfterLostResponse,
        Self::Torn,
        Self::Pause,
        Self::LostResponse,
        Self::Fail,
        Self::Exists,
        Self::Conflict,
        Self::Late(2),
        Self::Late(u32::MAX),
        Self::Refuse(ErrorKind::Auth),
        Self::Refuse(ErrorKind::Config),
        Self::Refuse(ErrorKind::Ambiguous),
    ];

    /// Whether a process to which this happened, and which has not died of it, may end with an error of this kind: in doubt, or for as long as
    /// nobody answers; `Fenced` if another one has taken over, or an answer looks like it; and what it was refused with.
    pub fn excuses(self, kind: ErrorKind) -> bool {
        match (self, kind) {
            (_, ErrorKind::Ambiguous | ErrorKind::Unavailable) => true,
            (Self::Pause | Self::Exists | Self::Conflict | Self::Late(_), kind) => kind == ErrorKind::Fenced,
            (Self::Refuse(refusal), kind) => kind == refusal,
            _ => false,
        }
    }

    /// The same at an operation of this effect, by one name: histories that cannot differ are one. `None` if it cannot happen there.
    fn on(self, effect: Effect) -> Option<Self> {
        match (self, effect) {
            (Self::Torn, Effect::None | Effect::Whole | Effect::Delete) | (Self::AfterLostResponse, Effect::None) => {
                Some(Self::Before)
            }
            (Self::LostResponse, Effect::None) | (Self::Refuse(ErrorKind::Unavailable), _) => Some(Self::Fail),
            (Self::Exists | Self::Conflict, Effect::Create) => Some(self),
            (Self::Late(_), Effect::Create | Effect::Put | Effect::Delete) => Some(self),
            (Self::Exists | Self::Conflict | Self::Late(_), _) => None,
            (mode, _) => Some(mode),
        }
    }
}

/// What an operation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// Nothing: it reads.
    None,
    /// Something, as a whole or not at all.
    Whole,
    /// Something of which a part may be left.
    Parts,
    /// A create of an object: as [`Parts`](Self::Parts), unless something is there.
    Create,
    /// A put of an object, by one request: as [`Parts`](Self::Parts).
    Put,
    /// A delete of an object, by one request: as [`Whole`](Self::Whole).
    Delete,
}

/// A fault at one I/O point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The number of the point, from 0.
    pub at: u64,
    /// What happens there.
    pub mode: Mode,
}

impl Plan {
    /// The same by one name, in a process that passes these points. `None` if it is not met there: the process does not come so far, or
    /// comes to an operation at which this cannot happen.
    pub(super) fn on(self, trace: &[Point]) -> Option<Self> {
        let point = trace.get(usize::try_from(self.at).ok()?)?;
        Some(Self { mode: self.mode.on(point.effect)?, ..self })
    }
}

/// An I/O point that was passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its number, from 0.
    pub index: u64,
    /// What was done.
    pub operation: &'static str,
    /// What it was done to.
    pub name: String,
    /// What it changes.
    pub effect: Effect,
}
