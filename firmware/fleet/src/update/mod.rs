//! Updates: from an offer to a version that runs and is good, or back to the one before.

pub mod config;
pub mod ddi;
pub mod fetch;
pub mod gate;
pub mod http;
pub mod link;
pub mod machine;
pub mod offer;
pub mod policy;
pub mod rauc;
pub mod record;
pub mod run;
pub mod status;
pub mod stick;
pub mod system;
pub mod terminal;
