//! Whole calls in virtual time: two engines over an emulated network.

mod calls;
mod pair;
