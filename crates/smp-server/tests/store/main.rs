//! The storage of the relay, through its public interface: both engines by the same rules and by a
//! model; the one on disk killed, without room, damaged, read byte for byte, and while it
//! synchronises.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;

mod conformance;
mod crash;
mod damage;
mod full_disk;
mod migration;
mod model;
mod power;
mod residue;
