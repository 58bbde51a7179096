//! Whole calls in virtual time: two engines over an emulated network.

mod attacks;
mod calls;
mod pair;
mod sdp;
