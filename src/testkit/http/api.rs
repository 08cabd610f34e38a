use super::access::{Access, Door};
use super::fault::{Fault, RetryAfter};
use super::paging::Paging;
use super::served::{Served, ServedRow};
use super::server::{Reply, Request, Server};
use crate::env::{Entropy, Env};
use crate::testkit::SeededEntropy;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How an API on loopback answers: [`ScriptedApi::new`] begins one, [`start`](Self::start) serves it.
#[derive(Debug)]
#[must_use]
pub struct ApiScript {
    paging: Paging,
    page_size: usize,
    access: Access,
    busy: Option<(u64, RetryAfter)>,
    faults: BTreeMap<u64, Fault>,
    drawn: Option<Drawn>,
    env: Env,
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
    served: Vec<ServedRow>,
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

    /// A limit of rate: after each so many pages a request is refused with 429, and told when to come again.
    pub fn busy_after(mut self, pages: u64, again: RetryAfter) -> Self {
        self.busy = Some((pages.max(1), again));
        self
    }

    /// What goes wrong with the answer to a request for a page, counted from 0.
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
        let door = Door::new(self.access.clone());
        let shared = Arc::new(Shared { script: self, door, state: Mutex::default() });
        let asked = Arc::clone(&shared);
        let server = Server::start(move |request| asked.answer(request)).await;
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

    /// A record comes, or changes: it is the last of the listing then.
    pub fn put(&self, id: u64, fields: Value) {
        let Value::Object(fields) = fields else { return };
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

    /// What was sent, and what there is now.
    pub fn served(&self) -> Served {
        let state = self.shared.state();
        let held = state.rows.iter().map(|row| (row.id, row.version)).collect();
        Served { rows: state.served.clone(), held }
    }

    /// Requests for pages so far, and how many of their answers went wrong.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.shared.state();
        (state.requests, state.faults)
    }

    /// Every request, as it came.
    pub fn seen(&self) -> Vec<Request> {
        self.server.seen()
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
        match request.path() {
            "/token" => self.door.token(request),
            "/records" => self.door.refuse(request).unwrap_or_else(|| self.page(request)),
            _ => Reply::status(404, ""),
        }
    }

    /// What goes wrong with the answer to the request `number`.
    fn fault(&self, number: u64) -> Option<Fault> {
        let ApiScript { busy, faults, drawn, .. } = &self.script;
        if let Some(fault) = faults.get(&number) {
            return Some(fault.clone());
        }
        if let Some((_, again)) = busy.filter(|(pages, _)| number % (pages + 1) == *pages) {
            return Some(Fault::Busy(again));
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
        state.faults += u64::from(fault.is_some());
        if let (Some(Fault::Moved), Some(first)) = (&fault, state.rows.first().map(|row| row.id)) {
            state.put(first, None);
        }
        let ApiScript { paging, page_size, env, .. } = &self.script;
        let changed: Vec<u64> = state.rows.iter().map(|row| row.changed).collect();
        let Some(asked) = paging.asked(request, *page_size, &changed) else {
            return Reply::status(400, r#"{"error":"there is no such page"}"#);
        };
        let rows = asked.of(&state.rows);
        let whole = matches!(fault, None | Some(Fault::Moved | Fault::Repeated));
        let sent = !matches!(fault, Some(Fault::Status(_) | Fault::Busy(_) | Fault::Html));
        let served = rows.iter().filter(|_| sent);
        let served: Vec<_> =
            served.map(|row| ServedRow { id: row.id, version: row.version, page: number, whole }).collect();
        state.served.extend(served);
        let host = request.headers.get("host").map(String::as_str).unwrap_or_default();
        let url = format!("http://{host}{}", request.path());
        let bodies = rows.iter().map(Row::json).collect();
        let right = paging.page(request, &url, &asked, bodies, state.rows.len(), fault == Some(Fault::Repeated));
        fault.map_or(right.clone(), |fault| fault.spoil(right, env))
    }
}
