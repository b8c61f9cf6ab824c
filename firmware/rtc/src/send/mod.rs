//! What we send: packetisation, numbering, repair, pacing, and how much the path carries.

pub(crate) mod estimator;
pub(crate) mod feedback;
pub(crate) mod h264;
pub(crate) mod pacer;
pub(crate) mod stream;
