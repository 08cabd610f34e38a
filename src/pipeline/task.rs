//! A spawned task that ends with its owner.

use crate::error::Result;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::task::{AbortHandle, JoinHandle};
use tracing::Instrument;

/// A task that is aborted when this is dropped, and whose panic is an error.
pub(super) struct Task<T> {
    operation: &'static str,
    handle: JoinHandle<T>,
}

impl<T: Send + 'static> Task<T> {
    pub(super) fn spawn(operation: &'static str, future: impl Future<Output = T> + Send + 'static) -> Self {
        // What the task does belongs to what its owner does.
        Self { operation, handle: tokio::spawn(future.in_current_span()) }
    }

    pub(super) fn abort_handle(&self) -> AbortHandle {
        self.handle.abort_handle()
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let operation = self.operation;
        Pin::new(&mut self.handle).poll(cx).map(|joined| joined.map_err(|e| crate::env::not_joined(operation, e)))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}
