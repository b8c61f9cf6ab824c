//! How much a path carries, and how to fill it: shared by the terminal (towards the service) and by the service
//! (towards each subscriber).
//!
//! [`Estimator`] learns from transport-wide feedback. Three rules make its figure:
//! - **Queue**: a standing queue (the least delay of the last 100 ms lies above the least of ten seconds) means that
//!   more is sent than the path carries; the rate falls below what was delivered meanwhile.
//! - **Loss** alone never lowers it, as radio links lose without being full. Heavy loss is put on trial: for a second
//!   the rate is lowered; only when the loss falls with it was it congestion (a policer without a queue).
//! - **Growth** comes with use, and with probes ([`Estimator::padding`]): short bursts at a higher rate that show
//!   whether the path carries more than is sent now.
//!
//! Where the other end sends no such feedback but estimates by itself (REMB), its figure counts, and what is sent is
//! filled up to it from time to time.
//!
//! It also tells how fast bursts arrive ([`Estimator::calm_burst_bps`]): where that is fast, nothing has to be spread.
//!
//! [`Pacer`] orders what leaves. Time is an argument everywhere.

mod burst;
mod delay;
mod delivery;
mod estimator;
mod filler;
mod loss;
mod pacer;
mod probe;
mod sent;

pub use estimator::{Estimator, FLOOR_BPS, Options};
pub use pacer::Pacer;
