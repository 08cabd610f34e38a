use super::{Fault, Reply, Request};
use serde_json::{Value, json};

/// How an API leads from one page to the next. Rows are listed by their field `changed`, which no two share; each request may say how many
/// (`limit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Paging {
    /// `{"records": […]}`, all of them.
    Single,
    /// `?offset=`: `{"records": […], "total": n}`.
    Offset,
    /// `?page=`, from 1: `{"records": […], "pages": n}`.
    Page,
    /// `?cursor=`: `{"records": […], "next_cursor": "…" or null}`.
    Cursor,
    /// The header `X-Cursor`, in requests and in answers that have a next page: `{"records": […]}`.
    CursorInHeader,
    /// `POST` with `{"cursor": …, "limit": n}`: as [`Cursor`](Self::Cursor).
    CursorInBody,
    /// `?after=`, the value of `changed` of the last record: `{"records": […]}`, at last without any.
    Keyset,
    /// `{"records": […], "next": "…" or null}`, a URL.
    NextUrl,
    /// `[…]`, with a `Link` header to the next page (RFC 8288).
    LinkHeader,
    /// `?from=&until=`, of `changed`, the latter excluded; within a window as [`Cursor`](Self::Cursor).
    Windows,
    /// `/groups` lists three groups, `[{"group": n}, …]`; `?group=n` are the rows whose `id` leaves that remainder, as
    /// [`Cursor`](Self::Cursor).
    Children,
    /// A job: `POST` gives `{"id": n}`; `/jobs/n` says `{"status": "RUNNING"}` once and then `{"status": "DONE", "rows": n, "urls": […]}`: files of a
    /// page each, in lines of JSON, with the rows that there were when the job began.
    Export,
}

/// The rows that a request asks for, of those that it is about.
pub(super) struct Asked {
    from: usize,
    limit: usize,
    /// The token that led here.
    cursor: Option<String>,
}

impl Paging {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Single,
        Self::Offset,
        Self::Page,
        Self::Cursor,
        Self::CursorInHeader,
        Self::CursorInBody,
        Self::Keyset,
        Self::NextUrl,
        Self::LinkHeader,
        Self::Windows,
        Self::Children,
        Self::Export,
    ];

    /// Whether a row that has `id` and `changed` is one of those that the request is about; `None` if nobody can ask for that.
    pub(super) fn about(self, request: &Request) -> Option<impl Fn(u64, u64) -> bool + use<>> {
        let number = |name: &str| request.parameter(name).map(|text| text.parse::<u64>());
        let (from, until) = (number("from").transpose().ok()?, number("until").transpose().ok()?);
        let group = number("group").transpose().ok()?;
        let bounded = self == Self::Windows;
        Some(move |id: u64, changed: u64| match self {
            Self::Children => group.is_none_or(|group| id % GROUPS == group),
            _ if bounded => from.is_none_or(|from| changed >= from) && until.is_none_or(|until| changed < until),
            _ => true,
        })
    }

    /// Which of the rows, of which `changed` says the order, are asked for; `None` if nobody can ask for that.
    pub(super) fn asked(self, request: &Request, size: usize, changed: &[u64]) -> Option<Asked> {
        let body = if self == Self::CursorInBody { serde_json::from_slice(&request.body).ok()? } else { Value::Null };
        let number = |name: &str| match request.parameter(name) {
            Some(text) => text.parse::<u64>().map(Some),
            None => Ok(body[name].as_u64()),
        };
        let limit = number("limit").ok()?.and_then(|n| usize::try_from(n).ok()).unwrap_or(size).max(1);
        let behind = |last: u64| changed.iter().filter(|changed| **changed <= last).count();
        let cursor = match self {
            Self::CursorInHeader => request.headers.get("x-cursor").cloned(),
            Self::CursorInBody => body["cursor"].as_str().map(str::to_owned),
            _ => request.parameter("cursor"),
        };
        let from = match self {
            Self::Single | Self::Export => return Some(Asked { from: 0, limit: usize::MAX, cursor: None }),
            Self::Offset => usize::try_from(number("offset").ok()?.unwrap_or(0)).ok()?,
            Self::Page => {
                usize::try_from(number("page").ok()?.unwrap_or(1)).ok()?.checked_sub(1)?.checked_mul(limit)?
            }
            Self::Keyset => number("after").ok()?.map_or(0, behind),
            _ => match &cursor {
                None => 0,
                // Opaque to clients: behind which row it goes on.
                Some(cursor) => behind(cursor.trim_end_matches(AND_EMPTY).strip_prefix("behind-")?.parse().ok()?),
            },
        };
        Some(Asked { from, limit, cursor })
    }

    /// The answer with `rows`, of `all` that the request is about.
    pub(super) fn page(self, url: &str, asked: &Asked, rows: &[Value], all: usize, fault: Option<&Fault>) -> Reply {
        let limit = asked.limit;
        let same = || asked.cursor.clone().unwrap_or_else(|| FIRST.to_owned());
        let last = rows.last().and_then(|row| row["changed"].as_u64());
        let more = asked.from + rows.len() < all;
        let (mut rows, mut next) = (rows, last.filter(|_| more).map(|last| format!("behind-{last}")));
        match fault {
            Some(Fault::Repeated) => next = Some(same()),
            Some(Fault::Circle) => next = Some(FIRST.to_owned()),
            Some(Fault::Empty) if self.has_tokens() => (rows, next) = (&[], Some(same() + AND_EMPTY)),
            _ => {}
        }
        let link = next.as_ref().map(|cursor| match fault {
            Some(Fault::Leads(url)) => url.clone(),
            _ => format!("{url}?cursor={cursor}&limit={limit}"),
        });
        let body = match self {
            Self::Single | Self::Keyset | Self::CursorInHeader | Self::Export => json!({ "records": rows }),
            Self::Offset => json!({ "records": rows, "total": all }),
            Self::Page => json!({ "records": rows, "pages": all.div_ceil(limit) }),
            Self::Cursor | Self::CursorInBody | Self::Windows | Self::Children => {
                json!({ "records": rows, "next_cursor": next })
            }
            Self::NextUrl => json!({ "records": rows, "next": link }),
            Self::LinkHeader => json!(rows),
        };
        let reply = Reply::json(body.to_string());
        match (self, link, next) {
            (Self::LinkHeader, Some(link), _) => reply.header("link", &format!("<{link}>; rel=\"next\"")),
            // Others lead back to the first page: a listing of one page has a header too.
            (Self::LinkHeader, None, _) => reply.header("link", &format!("<{url}>; rel=\"first\"")),
            (Self::CursorInHeader, _, Some(next)) => reply.header("x-cursor", &next),
            _ => reply,
        }
    }

    /// Whether something in an answer leads to the next page, whatever rows it has.
    pub(super) fn has_tokens(self) -> bool {
        !matches!(self, Self::Single | Self::Offset | Self::Page | Self::Keyset | Self::Export)
    }
}

impl Asked {
    /// Those of `rows` that are asked for.
    pub(super) fn of<T: Clone>(&self, rows: &[T]) -> Vec<T> {
        rows.iter().skip(self.from).take(self.limit).cloned().collect()
    }
}

/// Of [`Paging::Children`].
pub(super) const GROUPS: u64 = 3;
/// The token of the first page.
const FIRST: &str = "behind-0";
/// What a token has behind it that follows an empty page: it is another one.
const AND_EMPTY: &str = "-empty";
