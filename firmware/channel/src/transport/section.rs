//! What is negotiated for one media section.

/// The state of a section that callers do not need.
#[derive(Clone, Debug, Default)]
pub(crate) struct SectionState {}
