//! Updates: from an offer to a version that runs and is good, or back to the one before.

pub mod ddi;
pub mod fetch;
pub mod http;
pub mod machine;
pub mod offer;
pub mod policy;
pub mod record;
pub mod status;
