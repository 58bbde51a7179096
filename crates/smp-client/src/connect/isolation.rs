//! What keeps connections apart on their way.

use std::fmt;

use rand::CryptoRng;

/// Connections of one isolation may share a way, those of two may not.
///
/// It is random: 16 bytes that say nothing of the relay or the queue. A SOCKS proxy gets it as
/// user name and password; Tor makes a circuit of its own for each pair (torrc's
/// `IsolateSOCKSAuth`, on by default). `Debug` shows no byte of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Isolation([u8; 16]);

impl Isolation {
    /// A new one, apart from all others.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// User name and password for a SOCKS proxy.
    pub(crate) fn credentials(&self) -> (String, String) {
        let (name, password) = self.0.split_at(8);
        (hex(name), hex(password))
    }
}

impl fmt::Debug for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Isolation")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
