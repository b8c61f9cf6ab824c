//! What we send: packetisation, numbering, repair, and feedback about it.

pub(crate) mod feedback;
pub(crate) mod h264;
pub(crate) mod stream;
