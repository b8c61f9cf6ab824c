//! Behaviour of whole peers.
