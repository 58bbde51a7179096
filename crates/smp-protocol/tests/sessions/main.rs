//! Recorded sessions from the first block to the last: every block is made again as it was on the
//! wire and taken apart again, every authorization, message and forwarded command too.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod authorizations;
mod blocks;
#[path = "../golden/mod.rs"]
#[allow(dead_code, reason = "shared with another test, each uses its part")]
mod golden;
mod hellos;
mod messages;
mod proxy;
mod session;
