//! Video4Linux: cameras, encoders and scalers of the kernel, by `v4l2r`'s ioctls on tokio's readiness.
//!
//! | file | what |
//! | --- | --- |
//! | `find.rs` | which cameras there are, and their serial numbers |
//! | `node.rs` | an open device, and what its errors mean |
//! | `offer.rs`, `choice.rs` | what a camera offers, and the rule by which one of it is chosen |
//! | `ring.rs` | buffers between the kernel and us, lent out as frames |
//! | `controls.rs` | pan, tilt, zoom, focus and the rest |
//! | `events.rs` | changes of controls that the driver tells of |
//! | `extension.rs`, `uvc_descriptors.rs` | controls of a vendor's own, and where USB cameras have them |
//! | `camera.rs` | the camera: streams, and heals |
//! | `m2m.rs`, `input.rs` | memory-to-memory devices, and how pictures get into them |
//! | `encoder.rs`, `coded.rs` | H.264 encoders, and the two queues of one |
//! | `scaler.rs` | scalers |
//! | `listing.rs` | what there is, for `probe` |
//! | `level.rs` | levels of H.264 |

pub(crate) mod camera;
mod choice;
mod coded;
mod controls;
pub(crate) mod encoder;
mod events;
mod extension;
mod find;
mod input;
mod level;
pub(crate) mod listing;
mod m2m;
mod node;
mod offer;
mod ring;
pub(crate) mod scaler;
mod uvc_descriptors;
