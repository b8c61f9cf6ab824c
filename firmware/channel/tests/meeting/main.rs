//! Whole meetings in virtual time: the service without sockets, clients of `str0m` (a second implementation of
//! WebRTC), and links with a rate, a queue and loss between them.

#![allow(clippy::unwrap_used)]

mod client;
mod layers;
mod link;
mod media;
mod narrow;
#[allow(dead_code)] // The soak uses more of it.
mod world;
