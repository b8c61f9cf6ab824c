//! Behaviour of whole peers.

#![allow(clippy::unwrap_used)]

mod connection;
mod hostile;
mod network;
mod publish;
mod subscribe;
mod webrtc_rs;
