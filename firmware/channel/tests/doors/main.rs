//! The doors through real sockets: who is let in, who is refused, and with which words.

#![allow(clippy::unwrap_used, missing_docs)]

mod api;
mod house;
mod http;
mod limits;
mod signalling;
mod tokens;
