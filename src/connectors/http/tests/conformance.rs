//! The contract of sources, however an API is paged, with credentials in every request.

use super::*;
use crate::testkit::conformance::SourceTrial;
use crate::testkit::http::{Access, Paging, ScriptedApi};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SECRET: &str = "pl4nted-s3cret";
const ROWS: u64 = 11;

/// An API of eleven rows, in pages of three.
struct Trial {
    api: ScriptedApi,
    paging: Paging,
}

impl Trial {
    /// The key is in the URL, where it is easily shown.
    async fn of(paging: Paging) -> Self {
        Self::with(paging, Access::Query("key".into(), SECRET.into())).await
    }

    async fn with(paging: Paging, access: Access) -> Self {
        let api = ScriptedApi::new(paging).page_size(3).access(access).start().await;
        (0..ROWS).for_each(|id| api.put(id, json!({ "name": format!("row {id}") })));
        Self { api, paging }
    }
}

#[async_trait]
impl SourceTrial for Trial {
    type Source = Rest;

    fn source(&self) -> Rest {
        self.api.rest().build().expect("a source")
    }

    fn records(&self, page: &Page) -> Vec<String> {
        let spans = page.spans.as_ref().expect("the source looked at the page");
        let id = |record: &[u8]| serde_json::from_slice::<Value>(record).expect("JSON")["id"].to_string();
        spans.iter().map(|span| id(span.of(&page.body).expect("inside"))).collect()
    }

    async fn all(&self) -> BTreeMap<String, Vec<String>> {
        let ids = |from: u64, step: usize| (from..ROWS).step_by(step).map(|id| id.to_string()).collect::<Vec<_>>();
        match self.paging {
            Paging::Children => (0..3).map(|group| (format!("group={group}"), ids(group, 3))).collect(),
            _ => BTreeMap::from([("all".to_owned(), ids(0, 1))]),
        }
    }

    /// A listing that has come to its end is read again by the next run.
    fn is_exact(&self) -> bool {
        self.paging == Paging::Windows
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }

    async fn refused(&self) -> Option<Rest> {
        self.api.revoke();
        Some(self.source())
    }
}

macro_rules! keeps_its_contract {
    ($($paging:ident: $trial:expr,)+) => {
        $(mod $paging {
            use super::*;

            crate::source_conformance!($trial.await);
        })+
    };
}

// `Paging::Single` is one page, and the checks go on from the middle of a partition: from behind its first item.
keeps_its_contract! {
    offset: Trial::of(Paging::Offset),
    page: Trial::of(Paging::Page),
    cursor: Trial::of(Paging::Cursor),
    cursor_in_header: Trial::of(Paging::CursorInHeader),
    cursor_in_body: Trial::of(Paging::CursorInBody),
    keyset: Trial::of(Paging::Keyset),
    next_url: Trial::of(Paging::NextUrl),
    link_header: Trial::of(Paging::LinkHeader),
    windows: Trial::of(Paging::Windows),
    parent_and_children: Trial::of(Paging::Children),
    export: Trial::of(Paging::Export),
    tokens: Trial::with(
        Paging::Cursor,
        Access::ClientCredentials { id: "landfall".into(), secret: SECRET.into(), requests: 2 },
    ),
}
