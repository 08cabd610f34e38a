use super::{Reply, Request};
use serde_json::{Value, json};

/// How an API leads from one page to the next. Rows are listed by their field `changed`, which no two share; each request may say how many
/// (`limit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Paging {
    /// `?offset=`: `{"records": […], "total": n}`.
    Offset,
    /// `?page=`, from 1: `{"records": […], "pages": n}`.
    Page,
    /// `?cursor=`: `{"records": […], "next_cursor": "…" or null}`.
    Cursor,
    /// `?after=`, the value of `changed` of the last record: `{"records": […]}`, at last without any.
    Keyset,
    /// `{"records": […], "next": "…" or null}`, a URL.
    NextUrl,
    /// `[…]`, with a `Link` header to the next page (RFC 8288).
    LinkHeader,
}

/// The rows that a request asks for.
pub(super) struct Asked {
    from: usize,
    limit: usize,
}

impl Paging {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Offset, Self::Page, Self::Cursor, Self::Keyset, Self::NextUrl, Self::LinkHeader];

    /// Which of the rows, of which `changed` says the order, are asked for; `None` if nobody can ask for that.
    pub(super) fn asked(self, request: &Request, size: usize, changed: &[u64]) -> Option<Asked> {
        let number = |name: &str| match request.parameter(name) {
            Some(text) => text.parse::<u64>().map(Some),
            None => Ok(None),
        };
        let limit = number("limit").ok()?.and_then(|n| usize::try_from(n).ok()).unwrap_or(size).max(1);
        let behind = |last: u64| changed.iter().filter(|changed| **changed <= last).count();
        let from = match self {
            Self::Offset => usize::try_from(number("offset").ok()?.unwrap_or(0)).ok()?,
            Self::Page => {
                usize::try_from(number("page").ok()?.unwrap_or(1)).ok()?.checked_sub(1)?.checked_mul(limit)?
            }
            Self::Keyset => number("after").ok()?.map_or(0, behind),
            Self::Cursor | Self::NextUrl | Self::LinkHeader => match request.parameter("cursor") {
                None => 0,
                // Opaque to clients: behind which row it goes on.
                Some(cursor) => behind(cursor.strip_prefix("behind-")?.parse().ok()?),
            },
        };
        Some(Asked { from, limit })
    }

    /// The answer with `rows`, which are `changed` in all; `repeated` leads to this page again.
    pub(super) fn page(
        self,
        request: &Request,
        url: &str,
        asked: &Asked,
        rows: Vec<Value>,
        all: usize,
        repeated: bool,
    ) -> Reply {
        let last = rows.last().and_then(|row| row["changed"].as_u64());
        let more = asked.from + rows.len() < all;
        let next = last.filter(|_| more).map(|last| match request.parameter("cursor") {
            Some(same) if repeated => same,
            _ => format!("behind-{last}"),
        });
        let limit = asked.limit;
        let link = |cursor: &String| format!("{url}?cursor={cursor}&limit={limit}");
        let body = match self {
            Self::Offset => json!({ "records": rows, "total": all }),
            Self::Page => json!({ "records": rows, "pages": all.div_ceil(asked.limit) }),
            Self::Keyset => json!({ "records": rows }),
            Self::Cursor => json!({ "records": rows, "next_cursor": next }),
            Self::NextUrl => json!({ "records": rows, "next": next.as_ref().map(link) }),
            Self::LinkHeader => Value::Array(rows),
        };
        let reply = Reply::json(body.to_string());
        match next.filter(|_| self == Self::LinkHeader) {
            Some(next) => reply.header("link", &format!("<{}>; rel=\"next\"", link(&next))),
            // Others lead back to the first page: a listing of one page has a header too.
            None if self == Self::LinkHeader => reply.header("link", &format!("<{url}>; rel=\"first\"")),
            None => reply,
        }
    }
}

impl Asked {
    /// Those of `rows` that are asked for.
    pub(super) fn of<T: Clone>(&self, rows: &[T]) -> Vec<T> {
        rows.iter().skip(self.from).take(self.limit).cloned().collect()
    }
}
