//! The `sotto` command from the outside.

#[cfg(test)]
mod call;
#[cfg(test)]
mod common;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod usage;
