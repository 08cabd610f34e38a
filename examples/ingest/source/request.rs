//! What each request is.
