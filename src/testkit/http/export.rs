use super::{Reply, Request};
use serde_json::json;

/// The jobs of an API whose listing is an export, with the rows of each.
#[derive(Debug)]
pub(super) struct Jobs<R>(Vec<Job<R>>);

#[derive(Debug)]
struct Job<R> {
    rows: Vec<R>,
    polls: u64,
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    /// A new job, of this number.
    Created(usize),
    Polled(usize),
    /// A file of a job.
    File(usize, usize),
}

impl<R: Clone> Jobs<R> {
    /// What `request` does: a job begins with `rows`, or gets on.
    pub(super) fn hear(&mut self, request: &Request, rows: &[R]) -> Option<Of> {
        let path: Vec<&str> = request.path().trim_matches('/').split('/').collect();
        let number = |text: &str| text.parse::<usize>().ok();
        match (request.method.as_str(), path.as_slice()) {
            ("POST", ["records"]) => {
                self.0.push(Job { rows: rows.to_vec(), polls: 0 });
                Some(Of::Created(self.0.len() - 1))
            }
            ("GET", ["jobs", id]) => {
                let id = number(id)?;
                self.0.get_mut(id)?.polls += 1;
                Some(Of::Polled(id))
            }
            ("GET", ["files", id, file]) => Some(Of::File(number(id)?, number(file)?)),
            _ => None,
        }
    }

    /// The answer, and the rows that it has; `line` is a row as JSON.
    pub(super) fn answer(&self, of: Of, size: usize, line: impl Fn(&R) -> String) -> Option<(Reply, Vec<R>)> {
        let body = match of {
            Of::Created(id) => json!({ "id": id }),
            Of::Polled(id) => {
                let job = self.0.get(id)?;
                let files = 0..job.rows.len().div_ceil(size);
                let urls: Vec<_> = files.map(|file| format!("/files/{id}/{file}")).collect();
                match job.polls {
                    0 | 1 => json!({ "status": "RUNNING" }),
                    _ => json!({ "status": "DONE", "rows": job.rows.len(), "urls": urls }),
                }
            }
            Of::File(id, file) => {
                let rows = self.0.get(id)?.rows.chunks(size).nth(file)?.to_vec();
                let lines: String = rows.iter().map(|row| line(row) + "\n").collect();
                return Some((Reply::status(200, lines).header("content-type", "application/x-ndjson"), rows));
            }
        };
        Some((Reply::json(body.to_string()), Vec::new()))
    }
}

impl<R> Default for Jobs<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}
