//! What must hold for any bytes from the network, one function for each parser.
//!
//! A check takes any bytes and panics if a rule is broken. `cargo fuzz` looks for such bytes
//! (`fuzz/fuzz_targets/`), and this crate's tests run each check over its committed corpus
//! (`fuzz/corpus/`), so that what was found once stays found.

mod agent;
mod core;
mod media;
mod ratchet;
mod signal;
mod smp;

pub use crate::core::{candidate_line, frame, ice_servers, sdp};
pub use agent::{agent_envelope, agent_message, connection_link, link_data};
pub use media::{jitter_buffer, vp8_packets};
pub use ratchet::{e2e_params, ratchet_message, ratchet_state};
pub use signal::{candidates, chat_body, lz_string};
pub use smp::{
    smp_address, smp_command, smp_envelope, smp_error, smp_handshake, smp_proxy, smp_queue_uri,
    smp_response, smp_transmission,
};

/// A check: takes any bytes, panics if a rule is broken.
pub type Check = fn(&[u8]);

/// Every check with its name, which is that of its fuzz target and of its corpus.
pub const CHECKS: [(&str, Check); 25] = [
    ("agent_envelope", agent_envelope),
    ("agent_message", agent_message),
    ("candidate_line", candidate_line),
    ("candidates", candidates),
    ("chat_body", chat_body),
    ("connection_link", connection_link),
    ("e2e_params", e2e_params),
    ("frame", frame),
    ("ice_servers", ice_servers),
    ("jitter_buffer", jitter_buffer),
    ("link_data", link_data),
    ("lz_string", lz_string),
    ("ratchet_message", ratchet_message),
    ("ratchet_state", ratchet_state),
    ("sdp", sdp),
    ("smp_address", smp_address),
    ("smp_command", smp_command),
    ("smp_envelope", smp_envelope),
    ("smp_error", smp_error),
    ("smp_handshake", smp_handshake),
    ("smp_proxy", smp_proxy),
    ("smp_queue_uri", smp_queue_uri),
    ("smp_response", smp_response),
    ("smp_transmission", smp_transmission),
    ("vp8_packets", vp8_packets),
];
