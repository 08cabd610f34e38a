//! What APIs call the places that lead to the next page, and their claims.

/// Names, and a part of the way to some of them before a slash.
pub(super) const NEXT_URLS: &[&str] = &[
    "@odata.nextLink",
    "odata.nextLink",
    "next_url",
    "nextUrl",
    "next_link",
    "nextLink",
    "next_page_url",
    "nextPageUrl",
    "next_href",
    "_links.next/href",
    "links.next/href",
    "next/url",
    "next/href",
    "next_page/url",
    "next",
    "nextPage",
    "next_page",
];
/// Names of tokens, and of the parameter that usually takes them.
pub(super) const TOKENS: &[(&[&str], &str)] = &[
    (&["next_cursor", "nextCursor", "cursor_next"], "cursor"),
    (&["nextPageToken"], "pageToken"),
    (&["next_page_token"], "page_token"),
    (&["nextToken"], "nextToken"),
    (&["next_token"], "next_token"),
    (&["continuationToken", "nextContinuationToken"], "continuationToken"),
    (&["continuation_token", "continuation"], "continuation_token"),
    (&["endCursor", "end_cursor", "cursors/after", "paging/after", "after"], "after"),
    (&["bookmark"], "bookmark"),
    (&["last_seq"], "since"),
    (&["scroll_id", "_scroll_id"], "scroll_id"),
    (&["offset/next_offset", "next_offset", "nextOffset"], "offset"),
    (&["next_page", "nextPage", "next"], "page"),
    (&["cursor"], "cursor"),
];
pub(super) const TOKEN_HEADERS: &[(&str, &str)] = &[
    ("x-next-cursor", "cursor"),
    ("x-next-page", "page"),
    ("x-next-token", "next_token"),
    ("x-continuation-token", "continuationToken"),
    ("x-ms-continuationtoken", "continuationToken"),
];
pub(super) const FLAGS: &[&str] =
    &["has_more", "hasMore", "has_next", "hasNext", "has_next_page", "hasNextPage", "more"];
pub(super) const TOTALS: &[&str] = &[
    "total",
    "total_count",
    "totalCount",
    "total_results",
    "totalResults",
    "total_records",
    "totalRecords",
    "totalItems",
    "total_items",
    "@odata.count",
    "totalSize",
    "total_rows",
];
pub(super) const TOTAL_HEADERS: &[&str] =
    &["x-total-count", "x-total", "x-wp-total", "total-count", "x-pagination-total-count"];
pub(super) const PAGE_TOTALS: &[&str] =
    &["total_pages", "totalPages", "last_page", "lastPage", "page_count", "pageCount", "pages"];
pub(super) const PAGE_TOTAL_HEADERS: &[&str] = &["x-total-pages", "x-wp-totalpages", "x-pagination-page-count"];
pub(super) const PAGES: &[&str] = &["page", "current_page", "currentPage", "page_number", "pageNumber"];
pub(super) const SIZES: &[&str] = &["per_page", "perPage", "page_size", "pageSize", "size", "limit"];
pub(super) const OFFSETS: &[&str] = &["offset", "skip", "startAt", "start", "from", "startIndex"];
pub(super) const LIMITS: &[&str] = &["limit", "maxResults", "max_results", "top", "count", "size", "per_page", "rows"];
