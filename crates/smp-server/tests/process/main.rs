//! The finished program `sotto-smp` as its operators, its clients and its attackers meet it: a
//! process with a folder, a port, signals and an exit status.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_input;
mod cli;
mod crash;
mod floods;
mod full_disk;
mod metrics;
mod openssl_program;
mod peers;
mod privacy;
mod rotation;
mod slow;
mod stop;
mod support;
mod web;
