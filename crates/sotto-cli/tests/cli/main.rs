//! The `sotto` command from the outside.

#[cfg(test)]
mod call;
#[cfg(test)]
mod common;
#[cfg(test)]
mod contacts;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod listen;
#[cfg(test)]
mod person;
#[cfg(test)]
mod profile;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod usage;
