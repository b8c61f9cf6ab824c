//! Behaviour of the service without sockets.
