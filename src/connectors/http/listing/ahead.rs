//! Pages that are asked for before those before them have come.

use super::Listing;
use crate::connectors::http::fetch::{Fetched, Fetcher, Outcome};
use crate::connectors::http::incremental::CursorValue;
use crate::connectors::http::pagination::{At, Claims, Counts};
use crate::connectors::http::request::Request;
use crate::error::Result;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use std::collections::VecDeque;

/// What a fetcher has brought; it holds the memory of that.
type Brought<'a> = (Fetcher<'a>, Result<Outcome<Fetched>>);

/// Requests for the pages that will probably follow, in their order. Nothing of them counts before its turn: what was asked for
/// and does not follow is dropped.
#[derive(Default)]
pub(super) struct Ahead<'a> {
    places: VecDeque<At>,
    under_way: FuturesOrdered<BoxFuture<'a, Brought<'a>>>,
}

impl<'a> Ahead<'a> {
    /// The number of requests under way.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The place of the last one.
    pub(super) fn last(&self) -> Option<&At> {
        self.places.back()
    }

    /// Asks for the page at `at`, if a call may run and there is memory for it right now. Who waited for memory here would wait for
    /// pages that are handed over only after this one.
    ///
    /// # Errors
    /// `Cancelled` if the pipeline stops.
    pub(super) fn ask(
        &mut self,
        mut fetcher: Fetcher<'a>,
        at: At,
        request: Request,
        before: Option<CursorValue>,
    ) -> Result<bool> {
        if !fetcher.goes_ahead()? {
            return Ok(false);
        }
        self.places.push_back(at);
        self.under_way.push_back(Box::pin(async move {
            let outcome = fetcher.fetch(&request, before.as_ref()).await;
            fetcher.has_gone_ahead();
            (fetcher, outcome)
        }));
        Ok(true)
    }

    /// What was asked for the page at `at`, if that was done. Else nothing that was asked for follows, and it is dropped.
    pub(super) async fn take(&mut self, at: &At) -> Option<Brought<'a>> {
        if self.places.pop_front().as_ref() == Some(at) {
            return self.under_way.next().await;
        }
        *self = Self::default();
        None
    }
}

impl Listing<'_> {
    /// The page at the place of the read, and meanwhile those that will probably follow.
    pub(super) async fn fetch(&mut self, request: &Request) -> Result<Outcome<Fetched>> {
        self.ask_ahead()?;
        if let Some((fetcher, outcome)) = self.ahead.take(&self.reading.at).await {
            // It holds the memory of the page.
            self.tally.add(&self.fetcher.out.tally());
            self.fetcher = fetcher;
            return outcome;
        }
        self.fetcher.fetch(request, self.reading.highest.as_ref()).await
    }

    fn ask_ahead(&mut self) -> Result<()> {
        let rest = self.scope.rest;
        while self.ahead.len() < rest.parallel_pages && rest.parallel_pages > 1 && self.claims != Claims::default() {
            let size = self.reading.drift.largest();
            let next = match self.ahead.last() {
                None => Some(self.reading.at.clone()),
                Some(at) => rest.paginate.ahead(at, size, self.claims),
            };
            let at = match (next, rest.counts()) {
                (None, _) => return Ok(()),
                (Some(At::Offset(next)), Counts::Records { overlap }) if self.ahead.len() > 0 => {
                    At::Offset(next.saturating_sub(overlap.min(size.saturating_sub(1))))
                }
                (Some(at), _) => at,
            };
            let mut fetcher = Fetcher::new(self.scope)?;
            fetcher.look = self.fetcher.look.clone();
            fetcher.window.clone_from(&self.fetcher.window);
            let request = self.request(&at)?;
            if !self.ahead.ask(fetcher, at, request, self.reading.highest.clone())? {
                return Ok(());
            }
        }
        Ok(())
    }
}
