//! The pictures' whole way on real GStreamer elements: camera frame -> layers -> decoder -> screen.
#![allow(clippy::unwrap_used)]

mod camera;
mod decoder;
mod encoders;
mod figures;
mod pictures;
mod scalers;
mod screen;
