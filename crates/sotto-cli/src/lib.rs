//! The sotto command
