//! Video4Linux: cameras and encoders of the kernel, by `v4l2r`'s ioctls on tokio's readiness.
//!
//! | file | what |
//! | --- | --- |
//! | `find.rs` | which cameras there are, and their serial numbers |
//! | `node.rs` | an open device, and what its errors mean |
//! | `offer.rs`, `choice.rs` | what a camera offers, and the rule by which one of it is chosen |
//! | `ring.rs` | buffers between the kernel and us, lent out as frames |
//! | `controls.rs` | pan, tilt, zoom, focus and the rest |
//! | `camera.rs` | the camera: streams, and heals |
//! | `encoder.rs`, `m2m.rs` | H.264 encoders, and the two queues of one |
//! | `headers.rs`, `level.rs` | parameter sets of H.264; its levels |

pub(crate) mod camera;
mod choice;
mod controls;
pub(crate) mod encoder;
mod find;
mod headers;
mod level;
mod m2m;
mod node;
mod offer;
mod ring;
