//! The store through its public interface: against a plain model, over crashes, beside other
//! programs, on full disks and damaged files.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cost;
mod crash;
mod damage;
mod files;
mod full_disk;
mod migration;
mod model;
mod processes;
mod records;
mod reference;
mod support;
