//! A listing served by a real HTTP server, as JSON, NDJSON or CSV, plain or compressed, in pages that `Link` headers lead through.

use async_compression::tokio::bufread::GzipEncoder;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::get;
use std::collections::HashMap;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const PAGES: u64 = 40;
pub const ROWS: u64 = 25;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Ndjson,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Plain,
    Gzip,
}

/// A row: text that has to be escaped in each of the formats, and takes several bytes a letter.
pub fn row(id: u64) -> (i64, String) {
    (i64::try_from(id).expect("few"), format!("row \"{id}\", ≥ {}, Grüße", id * 7))
}

pub fn rows() -> Vec<(i64, String)> {
    (0..PAGES * ROWS).map(row).collect()
}

impl Format {
    pub const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// Where the records of a page are.
    pub fn records(self) -> &'static str {
        match self {
            Self::Json => "$[*]",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
        }
    }

    fn page(self, number: u64) -> String {
        let rows = (number * ROWS..(number + 1) * ROWS).map(row);
        let object = |(id, name): (i64, String)| serde_json::json!({"id": id, "name": name}).to_string();
        match self {
            Self::Json => format!("[{}]", rows.map(object).collect::<Vec<_>>().join(",")),
            Self::Ndjson => rows.map(|row| object(row) + "\n").collect(),
            Self::Csv => {
                let lines = rows.map(|(id, name)| format!("{id},\"{}\"\r\n", name.replace('"', "\"\"")));
                ["id,name\r\n".to_owned()].into_iter().chain(lines).collect()
            }
        }
    }
}

impl Coding {
    pub const ALL: [Self; 2] = [Self::Plain, Self::Gzip];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
        }
    }
}

/// A server of `/<format>/<coding>?page=<n>`.
pub struct Origin {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Origin {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let router = axum::Router::new().route("/{format}/{coding}", get(page));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { address, task }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn page(
    Path((format, coding)): Path<(String, String)>,
    Query(query): Query<HashMap<String, u64>>,
) -> Result<(HeaderMap, Vec<u8>), StatusCode> {
    let number = query.get("page").copied().unwrap_or(0);
    let format = Format::ALL.into_iter().find(|f| f.name() == format).ok_or(StatusCode::NOT_FOUND)?;
    if number >= PAGES {
        return Err(StatusCode::NOT_FOUND);
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    if number + 1 < PAGES {
        let link = format!("<?page={}>; rel=\"next\"", number + 1);
        headers.insert(header::LINK, HeaderValue::from_str(&link).expect("text"));
    }
    let mut body = format.page(number).into_bytes();
    if coding == "gzip" {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let mut compressed = Vec::new();
        GzipEncoder::new(body.as_slice()).read_to_end(&mut compressed).await.expect("in memory");
        body = compressed;
    }
    Ok((headers, body))
}
