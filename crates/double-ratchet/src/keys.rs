//! Where new keys come from.

use rand::CryptoRng;

use crate::kem::{KemCiphertext, KemKeyPair, KemPublicKey, KemSecret};
use crate::x448::X448PrivateKey;

/// Makes the keys that a ratchet asks for. Production passes [`RandomKeys`]; tests pass recorded
/// keys and get recorded messages.
///
/// The order of the calls is part of the contract. A joiner asks for three X448 keys, for the
/// encapsulation if the peer proposed a KEM, then for a KEM pair. A turn asks for the
/// encapsulation, the KEM pair and the X448 key, as far as it needs them.
pub trait KeySource {
    /// A new X448 key.
    fn x448(&mut self) -> X448PrivateKey;
    /// A new KEM pair.
    fn kem_pair(&mut self) -> KemKeyPair;
    /// A new secret for the holder of `to`.
    fn encapsulate(&mut self, to: &KemPublicKey) -> (KemCiphertext, KemSecret);
}

/// New keys out of a generator, which must be the operating system's or seeded by it.
#[derive(Debug)]
pub struct RandomKeys<R: CryptoRng>(
    /// The generator.
    pub R,
);

impl<R: CryptoRng> KeySource for RandomKeys<R> {
    fn x448(&mut self) -> X448PrivateKey {
        X448PrivateKey::generate(&mut self.0)
    }

    fn kem_pair(&mut self) -> KemKeyPair {
        KemKeyPair::generate(&mut self.0)
    }

    fn encapsulate(&mut self, to: &KemPublicKey) -> (KemCiphertext, KemSecret) {
        to.encapsulate(&mut self.0)
    }
}
