//! Versions of the end-to-end encryption.

/// A version of the ratchet's encryption, agreed between the two peers.
///
/// It goes up when a header says that the peer knows more, and never down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct E2eVersion(pub u16);

impl E2eVersion {
    /// X448 alone. The oldest version still in use.
    pub const V2: Self = Self(2);
    /// sntrup761 beside X448, if both peers want it; lengths of two bytes.
    pub const V3: Self = Self(3);
    /// The oldest version that is spoken here.
    pub const OLDEST: Self = Self::V2;
    /// The newest version that is spoken here.
    pub const CURRENT: Self = Self::V3;

    /// Whether headers and parameters of this version have a place for a KEM.
    #[must_use]
    pub fn has_kem(self) -> bool {
        self >= Self::V3
    }
}

/// Whether a ratchet may use the KEM. It fixes the size of headers (document, "Encrypted message
/// header"), and is switched on at most once: large headers stay, so that their size tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PqSupport {
    /// Small headers, no KEM.
    Off,
    /// Large headers from [`E2eVersion::V3`] on, and a KEM as soon as the peer joins in.
    On,
}
