use super::access::{Access, Door};
use super::export::{Jobs, Of};
use super::fault::{Fault, Sent};
use super::paging::{GROUPS, Paging};
use super::served::{Served, ServedRow};
use super::server::{Connection, Server, Socket};
use super::wait::Wait;
use super::{Reply, Request};
use crate::env::{Entropy, Env};
use crate::testkit::SeededEntropy;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How an API on loopback answers: [`ScriptedApi::new`] begins one, [`start`](Self::start) serves it.
#[derive(Debug)]
#[must_use]
pub struct ApiScript {
    paging: Paging,
    page_size: usize,
    access: Access,
    busy: Option<Busy>,
    faults: BTreeMap<u64, Fault>,
    drawn: Option<Drawn>,
    env: Env,
    scheme: &'static str,
}

/// A limit of rate.
#[derive(Clone, Copy, Debug)]
struct Busy {
    /// Requests that are served between two that are not.
    requests: u64,
    status: u16,
    wait: Wait,
}

/// Faults that are drawn at random.
#[derive(Debug)]
struct Drawn {
    chance: SeededEntropy,
    per_mille: u64,
    faults: Vec<Fault>,
}

/// An API that serves rows in pages, on loopback, as its script says, until it is dropped.
///
/// Each row is the JSON object that it was [`put`](Self::put) with, and `id`, `version` and `changed`: how often it changed, and the place of
/// its newest change among all changes. Rows are listed by `changed`.
///
/// 1. *Deterministic*: the script, its seed and the order of the requests decide every answer.
/// 2. *Recorded*: [`served`](Self::served) is what was sent, row by row.
#[derive(Debug)]
pub struct ScriptedApi {
    shared: Arc<Shared>,
    server: Server,
}

#[derive(Debug)]
struct Shared {
    script: ApiScript,
    door: Door,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rows: Vec<Row>,
    changes: u64,
    requests: u64,
    faults: u64,
    quiet: bool,
    revoked: bool,
    served: Vec<ServedRow>,
    jobs: Jobs<Row>,
    /// The right answer before, and its rows.
    before: Option<(Reply, Vec<Row>)>,
}

#[derive(Clone, Debug)]
struct Row {
    id: u64,
    version: u64,
    changed: u64,
    fields: Map<String, Value>,
}

impl ApiScript {
    /// Rows of a page, if a request does not say how many.
    pub fn page_size(mut self, rows: usize) -> Self {
        self.page_size = rows.max(1);
        self
    }

    /// Who may ask.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// A limit of rate: after each so many requests that are served, one is refused with this status, and told when to come again.
    pub fn busy_after(mut self, requests: u64, status: u16, wait: Wait) -> Self {
        self.busy = Some(Busy { requests: requests.max(1), status, wait });
        self
    }

    /// What goes wrong with the answer to a request, counted from 0. Those for tokens and those that are not let in do not count.
    pub fn fault_at(mut self, request: u64, fault: Fault) -> Self {
        self.faults.insert(request, fault);
        self
    }

    /// So many of a thousand answers go wrong, in one of these ways.
    pub fn faults_drawn(mut self, seed: u64, per_mille: u64, faults: impl IntoIterator<Item = Fault>) -> Self {
        let faults = faults.into_iter().collect();
        self.drawn = Some(Drawn { chance: SeededEntropy::new(seed), per_mille, faults });
        self
    }

    /// The clock for dates, which must be that of the pipeline, or begin with it; the system's unless set.
    pub fn env(mut self, env: &Env) -> Self {
        self.env = env.clone();
        self
    }

    /// Starts to serve on a free port, until it is dropped.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start(self) -> ScriptedApi {
        self.start_over("http", |connection| std::future::ready(Some(connection))).await
    }

    /// The same over connections that `accept` makes of what comes in, such as those of TLS (`https`); `None` lets nobody in.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start_over<S, A>(
        mut self,
        scheme: &'static str,
        accept: impl Fn(Connection) -> A + Send + Sync + 'static,
    ) -> ScriptedApi
    where
        S: Socket + 'static,
        A: Future<Output = Option<S>> + Send + 'static,
    {
        self.scheme = scheme;
        let door = Door::new(self.access.clone(), self.env.clone());
        let shared = Arc::new(Shared { script: self, door, state: Mutex::default() });
        let asked = Arc::clone(&shared);
        let server = Server::start_over(scheme, accept, move |request| asked.answer(request)).await;
        ScriptedApi { shared, server }
    }
}

impl ScriptedApi {
    /// An API that is paged like that, ten rows a page, open to everybody, without faults.
    #[expect(clippy::new_ret_no_self, reason = "it has to be started first")]
    pub fn new(paging: Paging) -> ApiScript {
        ApiScript {
            paging,
            page_size: 10,
            access: Access::Open,
            busy: None,
            faults: BTreeMap::new(),
            drawn: None,
            env: Env::system(),
            scheme: "http",
        }
    }

    /// The URL of the listing.
    pub fn url(&self) -> String {
        self.server.url("/records")
    }

    /// Where tokens come from.
    pub fn token_url(&self) -> String {
        self.server.url("/token")
    }

    /// Where a login gives a token.
    pub fn login_url(&self) -> String {
        self.server.url("/login")
    }

    pub(super) fn groups_url(&self) -> String {
        self.server.url("/groups")
    }

    pub(super) fn paging(&self) -> Paging {
        self.shared.script.paging
    }

    pub(super) fn access(&self) -> &Access {
        &self.shared.script.access
    }

    pub(super) fn page_size(&self) -> usize {
        self.shared.script.page_size
    }

    /// How many changes there were.
    pub(super) fn changes(&self) -> u64 {
        self.shared.state().changes
    }

    /// A record comes, or changes: it is the last of the listing then.
    ///
    /// # Panics
    /// If `fields` is no object.
    pub fn put(&self, id: u64, fields: Value) {
        let Value::Object(fields) = fields else { panic!("a record is an object, not {fields}") };
        self.shared.state().put(id, Some(fields));
    }

    /// A record goes.
    pub fn remove(&self, id: u64) {
        self.shared.state().rows.retain(|row| row.id != id);
    }

    /// From now on nothing goes wrong.
    pub fn quiet(&self) {
        self.shared.state().quiet = true;
    }

    /// From now on nobody is let in, whatever is shown: each request is refused with 401, and the answer repeats all of it, with the credentials.
    pub fn revoke(&self) {
        self.shared.state().revoked = true;
    }

    /// What was sent, and what there is now.
    pub fn served(&self) -> Served {
        let state = self.shared.state();
        let held = state.rows.iter().map(|row| (row.id, row.version)).collect();
        Served { rows: state.served.clone(), held, ..Served::default() }
    }

    /// Requests so far that were let in, and how many of their answers were not right, or came in an odd way.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.shared.state();
        (state.requests, state.faults)
    }

    /// Every request, as it came.
    pub fn seen(&self) -> Vec<Request> {
        self.server.seen()
    }
}

impl Busy {
    /// How many more are served before one is not; `None` for that one.
    fn left(self, number: u64) -> Option<u64> {
        (self.requests - number % (self.requests + 1)).checked_sub(1)
    }
}

impl State {
    fn put(&mut self, id: u64, fields: Option<Map<String, Value>>) {
        let old = self.rows.iter().position(|row| row.id == id).map(|at| self.rows.remove(at));
        let version = old.as_ref().map_or(0, |old| old.version + 1);
        let fields = fields.or(old.map(|old| old.fields)).unwrap_or_default();
        self.changes += 1;
        self.rows.push(Row { id, version, changed: self.changes, fields });
    }
}

impl Row {
    fn json(&self) -> Value {
        let mut fields = self.fields.clone();
        for (name, number) in [("id", self.id), ("version", self.version), ("changed", self.changed)] {
            fields.insert(name.to_owned(), number.into());
        }
        fields.into()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Reply {
        if self.state().revoked {
            let Request { target, headers, body, .. } = request;
            return Reply::status(401, format!("{target} {headers:?} {}", String::from_utf8_lossy(body)));
        }
        match request.path() {
            "/token" => self.door.token(request),
            "/login" => self.door.login(request),
            _ => match self.door.pass(request) {
                Err(refusal) => *refusal,
                Ok(headers) => {
                    let reply = self.page(request);
                    headers.into_iter().fold(reply, |reply, (name, value)| reply.header(name, &value))
                }
            },
        }
    }

    /// What goes wrong with the answer to the request `number`.
    fn fault(&self, number: u64) -> Option<Fault> {
        let ApiScript { busy, faults, drawn, .. } = &self.script;
        if let Some(fault) = faults.get(&number) {
            return Some(fault.clone());
        }
        if let Some(busy) = busy.filter(|busy| busy.left(number).is_none()) {
            return Some(Fault::Busy(busy.status, busy.wait));
        }
        let Drawn { chance, per_mille, faults } = drawn.as_ref()?;
        let hit = chance.next_u64() % 1000 < *per_mille;
        let which = chance.next_u64() % (faults.len() as u64).max(1);
        faults.get(usize::try_from(which).ok()?).filter(|_| hit).cloned()
    }

    fn page(&self, request: &Request) -> Reply {
        let mut state = self.state();
        let number = state.requests;
        state.requests += 1;
        let fault = if state.quiet { None } else { self.fault(number) };
        let first = state.rows.first().map(|row| row.id).filter(|_| fault == Some(Fault::Moved));
        if let Some(first) = first {
            state.put(first, None);
        }
        let State { rows, jobs, .. } = &mut *state;
        let job = jobs.hear(request, rows).filter(|_| self.script.paging == Paging::Export);
        let right = self.right(&state, request, job, None);
        let Some((right, rows)) = right.map(|(reply, rows)| (self.counted(reply, number), rows)) else {
            return Reply::status(400, r#"{"error":"there is no such page"}"#);
        };
        let (told, sent) = match &fault {
            None => (right.clone(), rows.clone()),
            Some(Fault::Again) => state.before.clone().unwrap_or_else(|| (right.clone(), rows.clone())),
            Some(fault) => match self.right(&state, request, job, Some(fault)) {
                Some((reply, rows)) => (fault.spoil(reply, &self.script.env), rows),
                None => (right.clone(), rows.clone()),
            },
        };
        let spoiled = told.differs(&right);
        state.faults += u64::from(spoiled || first.is_some());
        let part = fault.as_ref().map_or(Sent::Whole, Fault::sent);
        if part != Sent::Nothing {
            let whole = part == Sent::Whole || !spoiled;
            state.served.extend(sent.iter().map(|row| ServedRow {
                id: row.id,
                version: row.version,
                page: number,
                whole,
                row: row.json(),
            }));
        }
        state.before = Some((right, rows));
        told
    }

    /// The right answer, but for what `fault` makes of the page; and the rows that it has.
    fn right(
        &self,
        state: &State,
        request: &Request,
        job: Option<Of>,
        fault: Option<&Fault>,
    ) -> Option<(Reply, Vec<Row>)> {
        let ApiScript { paging, page_size, .. } = &self.script;
        if let Some(job) = job {
            return state.jobs.answer(job, *page_size, |row| row.json().to_string());
        }
        match request.path() {
            "/groups" if *paging == Paging::Children => {
                let groups: Vec<Value> = (0..GROUPS).map(|group| json!({ "group": group })).collect();
                Some((Reply::json(Value::from(groups).to_string()), Vec::new()))
            }
            "/records" => {
                let about = paging.about(request)?;
                let all: Vec<Row> = state.rows.iter().filter(|row| about(row.id, row.changed)).cloned().collect();
                let changed: Vec<u64> = all.iter().map(|row| row.changed).collect();
                let asked = paging.asked(request, *page_size, &changed)?;
                let rows = asked.of(&all);
                let host = request.headers.get("host").map(String::as_str).unwrap_or_default();
                let url = format!("{}://{host}{}", self.script.scheme, request.path());
                let bodies: Vec<Value> = rows.iter().map(Row::json).collect();
                let reply = paging.page(&url, &asked, &bodies, all.len(), fault);
                let is_sent = fault != Some(&Fault::Empty) || !paging.has_tokens();
                Some((reply, if is_sent { rows } else { Vec::new() }))
            }
            _ => None,
        }
    }

    /// `reply`, with what is left of the limit of rate.
    fn counted(&self, reply: Reply, number: u64) -> Reply {
        match self.script.busy.and_then(|busy| Some((busy, busy.left(number)?))) {
            Some((busy, left)) => busy.wait.say(reply, left, &self.script.env),
            None => reply,
        }
    }
}
