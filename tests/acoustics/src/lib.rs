//! What the voice chain is measured with: generated rooms, what microphones hear in them, and scores of sound.
//!
//! A [`scene::Scene`] says who sounds where in which room; [`scene::Scene::hear`] gives each microphone's signal and its
//! parts (echo, near talker, others, noise). [`scores`] and [`estoi`] compare what a chain made of it. All signals are
//! planar `f32` at 48 kHz. Everything follows from seeds: the same scene sounds the same everywhere.

pub mod cases;
pub mod clocks;
pub mod convolve;
pub mod engines;
pub mod estoi;
pub mod field;
pub mod loudspeaker;
pub mod measure;
pub mod random;
pub mod room;
pub mod scene;
pub mod scores;
pub mod sinc;
pub mod speech;
pub mod wav;
