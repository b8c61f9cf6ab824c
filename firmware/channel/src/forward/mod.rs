//! Forwarding of one track to one subscriber as pure functions of packets and time: which layer, under
//! which numbers, what is kept for repair and when a key frame is asked for.

pub mod allocation;
pub mod history;
pub mod key_frame;
pub mod key_requests;
pub mod layers;
pub mod picture_size;
pub mod rate;
pub mod red;
pub mod sequence;
pub mod stream;
pub mod unwrap;
pub mod vp8;
