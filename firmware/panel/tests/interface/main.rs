//! The interface as its callers see it, on a virtual board with a real state machine behind it.
#![allow(clippy::unwrap_used)]

mod any_request;
mod board;
mod camera;
mod description;
mod events;
mod pages;
mod rig;
mod room;
mod screen;
mod security;
mod updates;
mod voice;
