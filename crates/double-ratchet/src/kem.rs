//! Streamlined NTRU Prime, parameter set sntrup761, done by the crate `sntrup`.

use std::fmt;

use rand::CryptoRng;
use smp_protocol::encoding::{DecodeError, Reader, put_u16};
use sntrup::{Ciphertext, DecapsulationKey, EncapsulationKey, Sntrup761, Sntrup761Params};
use subtle::ConstantTimeEq;
use zeroize::ZeroizeOnDrop;

use crate::secret::Secret;

/// Length of a KEM's public key in bytes.
pub const KEM_PUBLIC_KEY_SIZE: usize = 1158;

/// Length of a KEM's secret key in bytes. The public key is part of it.
pub const KEM_SECRET_KEY_SIZE: usize = 1763;

/// Length of a KEM's ciphertext in bytes.
pub const KEM_CIPHERTEXT_SIZE: usize = 1039;

/// Length of the secret that a KEM transports, in bytes.
pub const KEM_SHARED_SECRET_SIZE: usize = 32;

/// The public key that secrets are encapsulated to. `Debug` shows no byte of it.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublicKey(Box<[u8; KEM_PUBLIC_KEY_SIZE]>);

/// An encapsulated secret. `Debug` shows no byte of it.
#[derive(Clone, PartialEq, Eq)]
pub struct KemCiphertext(Box<[u8; KEM_CIPHERTEXT_SIZE]>);

macro_rules! large_strings {
    ($($name:ident, $size:ident, $what:literal;)*) => {$(
        impl $name {
            /// Takes these bytes. All are accepted: what they stand for shows only in the secret.
            #[must_use]
            pub fn from_bytes(bytes: &[u8; $size]) -> Self {
                let mut boxed = Box::new([0; $size]);
                boxed.copy_from_slice(bytes);
                Self(boxed)
            }

            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }

            /// Reads a large string of the right length.
            ///
            /// # Errors
            /// [`DecodeError::Short`] if it is cut off, [`DecodeError::Limit`] if its length is
            /// another.
            pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let bytes = reader.large($what)?;
                let bytes = bytes.try_into().map_err(|_| DecodeError::Limit($what))?;
                Ok(Self::from_bytes(bytes))
            }

            /// Appends a large string.
            pub fn encode(&self, out: &mut Vec<u8>) {
                put_u16(out, $size as u16);
                out.extend_from_slice(&*self.0);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

large_strings! {
    KemPublicKey, KEM_PUBLIC_KEY_SIZE, "KEM public key";
    KemCiphertext, KEM_CIPHERTEXT_SIZE, "KEM ciphertext";
}

impl KemPublicKey {
    /// Makes a secret for whoever holds the secret key, and what transports it there.
    #[must_use]
    pub fn encapsulate(&self, rng: &mut impl CryptoRng) -> (KemCiphertext, KemSecret) {
        let key = EncapsulationKey::<Sntrup761Params>::try_from(&self.0[..])
            .unwrap_or_else(|_| unreachable!("the length is right"));
        let (ciphertext, secret) = key.encapsulate(rng);
        let ciphertext = KemCiphertext::from_bytes(exact(ciphertext.as_ref()));
        (ciphertext, KemSecret::from_bytes(exact(secret.as_ref())))
    }
}

/// A secret key, which holds its public one. Wiped when dropped.
#[derive(Clone)]
pub struct KemKeyPair(DecapsulationKey<Sntrup761Params>);

impl KemKeyPair {
    const PUBLIC_KEY_AT: usize = 2 * 191;

    /// A new random key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(Sntrup761::generate_key(rng).1)
    }

    /// The key of these bytes, in the order of the reference implementation.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEM_SECRET_KEY_SIZE]) -> Self {
        let key = DecapsulationKey::try_from(&bytes[..]);
        Self(key.unwrap_or_else(|_| unreachable!("the length is right")))
    }

    /// The bytes, to be stored where secrets may be.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEM_SECRET_KEY_SIZE] {
        exact(self.0.as_ref())
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> KemPublicKey {
        let public = &self.as_bytes()[Self::PUBLIC_KEY_AT..][..KEM_PUBLIC_KEY_SIZE];
        KemPublicKey::from_bytes(exact(public))
    }

    /// The secret in a ciphertext. For a forged one it is pseudorandom, and nobody else knows it.
    #[must_use]
    pub fn decapsulate(&self, ciphertext: &KemCiphertext) -> KemSecret {
        let ciphertext = Ciphertext::try_from(&ciphertext.0[..])
            .unwrap_or_else(|_| unreachable!("the length is right"));
        KemSecret::from_bytes(exact(self.0.decapsulate(&ciphertext).as_ref()))
    }
}

fn exact<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    bytes
        .try_into()
        .unwrap_or_else(|_| unreachable!("the parameter set fixes the length"))
}

impl PartialEq for KemKeyPair {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for KemKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemKeyPair")
    }
}

impl ZeroizeOnDrop for KemKeyPair {}

/// The secret that a KEM transports. Wiped when dropped.
#[derive(Clone, PartialEq)]
pub struct KemSecret(Secret<KEM_SHARED_SECRET_SIZE>);

impl KemSecret {
    /// A secret from its bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEM_SHARED_SECRET_SIZE]) -> Self {
        Self(Secret::from_bytes(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEM_SHARED_SECRET_SIZE] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for KemSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemSecret")
    }
}

impl ZeroizeOnDrop for KemSecret {}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use openssl::symm::{Cipher, Crypter, Mode};
    use rand::rand_core::{TryCryptoRng, TryRng};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use serde_json::Value;
    use sha2::{Digest, Sha256};

    use super::*;

    /// The known answer of PQClean's `crypto_kem/sntrup761/META.yml`: the digest of a text with
    /// key pair, ciphertext and secret, drawn from NIST's generator. It covers all three
    /// operations.
    #[test]
    fn the_known_answer_of_nist_s_generator_comes_out() {
        let first: [u8; 48] = std::array::from_fn(|at| at as u8);
        let mut seed = [0; 48];
        NistGenerator::new(&first).draw(&mut seed);
        let mut rng = NistGenerator::new(&seed);
        let pair = KemKeyPair::generate(&mut rng);
        let (ciphertext, secret) = pair.public().encapsulate(&mut rng);
        assert!(pair.decapsulate(&ciphertext) == secret);
        let text = format!(
            "count = 0\nseed = {}\npk = {}\nsk = {}\nct = {}\nss = {}\n",
            hex(&seed),
            hex(pair.public().as_bytes()),
            hex(pair.as_bytes()),
            hex(ciphertext.as_bytes()),
            hex(secret.as_bytes()),
        );
        assert_eq!(
            hex(&Sha256::digest(text)),
            "AFC42C3A5B10F4EF69654250097EBDA9B9564570F4086744B24A6DAF2BD1F89A"
        );
    }

    #[test]
    fn the_answers_of_the_internet_draft_come_out() {
        let file: Value =
            serde_json::from_str(include_str!("../tests/vectors/sntrup761.json")).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert_eq!(vectors.len(), 2);
        for vector in vectors {
            let [key, ciphertext, secret] = ["secret_key", "ciphertext", "shared_secret"]
                .map(|name| unhex(vector[name].as_str().unwrap()));
            let pair = KemKeyPair::from_bytes(exact(&key));
            let opened = pair.decapsulate(&KemCiphertext::from_bytes(exact(&ciphertext)));
            assert_eq!(opened.as_bytes()[..], secret);
        }
    }

    #[test]
    fn a_forged_ciphertext_gives_a_secret_that_nobody_knows() {
        let mut rng = StdRng::seed_from_u64(1);
        let pair = KemKeyPair::generate(&mut rng);
        let (ciphertext, secret) = pair.public().encapsulate(&mut rng);
        for at in [0, 500, KEM_CIPHERTEXT_SIZE - 1] {
            let mut forged = *ciphertext.as_bytes();
            forged[at] ^= 1;
            let forged = KemCiphertext::from_bytes(&forged);
            assert!(pair.decapsulate(&forged) != secret);
            assert!(pair.decapsulate(&forged) == pair.decapsulate(&forged));
        }
    }

    #[test]
    fn any_bytes_are_a_key_and_a_ciphertext() {
        let mut rng = StdRng::seed_from_u64(2);
        for filler in [0, 0xff] {
            let key = KemPublicKey::from_bytes(&[filler; KEM_PUBLIC_KEY_SIZE]);
            let (ciphertext, _) = key.encapsulate(&mut rng);
            let _ = KemKeyPair::from_bytes(&[filler; KEM_SECRET_KEY_SIZE]).decapsulate(&ciphertext);
        }
        for _ in 0..32 {
            let key = KemPublicKey::from_bytes(&rng.random());
            let (ciphertext, _) = key.encapsulate(&mut rng);
            let pair = KemKeyPair::from_bytes(&rng.random());
            let _ = pair.decapsulate(&ciphertext);
            let _ = pair.decapsulate(&KemCiphertext::from_bytes(&rng.random()));
        }
    }

    #[test]
    fn only_the_right_length_is_read() {
        for length in [0, 1157, 1159] {
            let mut bytes = Vec::new();
            put_u16(&mut bytes, length);
            bytes.resize(2 + usize::from(length), 7);
            let read = KemPublicKey::decode(&mut Reader::new(&bytes));
            assert_eq!(read, Err(DecodeError::Limit("KEM public key")));
        }
        let mut bytes = Vec::new();
        let key = KemPublicKey::from_bytes(&[7; KEM_PUBLIC_KEY_SIZE]);
        key.encode(&mut bytes);
        assert_eq!(KemPublicKey::decode(&mut Reader::new(&bytes)), Ok(key));
    }

    #[test]
    fn debug_shows_no_byte_of_a_key() {
        let mut rng = StdRng::seed_from_u64(3);
        let pair = KemKeyPair::generate(&mut rng);
        let (ciphertext, secret) = pair.public().encapsulate(&mut rng);
        assert_eq!(format!("{pair:?}"), "KemKeyPair");
        assert_eq!(format!("{:?}", pair.public()), "KemPublicKey");
        assert_eq!(format!("{ciphertext:?}"), "KemCiphertext");
        assert_eq!(format!("{secret:?}"), "KemSecret");
    }

    /// CTR_DRBG with AES-256 (NIST SP 800-90A, section 10.2), without derivation function,
    /// personalisation and reseeding, as the known answers of NIST's competition use it.
    struct NistGenerator {
        key: [u8; 32],
        counter: u128,
        /// What is left of a polynomial that is asked for word by word, but was drawn at once.
        words: std::vec::IntoIter<u8>,
    }

    impl NistGenerator {
        fn new(seed: &[u8; 48]) -> Self {
            let mut generator = Self {
                key: [0; 32],
                counter: 0,
                words: Vec::new().into_iter(),
            };
            generator.update(seed);
            generator
        }

        fn draw(&mut self, out: &mut [u8]) {
            for chunk in out.chunks_mut(16) {
                chunk.copy_from_slice(&self.block()[..chunk.len()]);
            }
            self.update(&[0; 48]);
        }

        fn update(&mut self, provided: &[u8; 48]) {
            let mut next = [self.block(), self.block(), self.block()].concat();
            next.iter_mut().zip(provided).for_each(|(a, b)| *a ^= b);
            let (key, counter) = next.split_at(32);
            self.key = *exact(key);
            self.counter = u128::from_be_bytes(*exact(counter));
        }

        fn block(&mut self) -> [u8; 16] {
            self.counter = self.counter.wrapping_add(1);
            let cipher = Cipher::aes_256_ecb();
            let mut aes = Crypter::new(cipher, Mode::Encrypt, &self.key, None).unwrap();
            let mut out = [0; 32];
            aes.update(&self.counter.to_be_bytes(), &mut out).unwrap();
            *exact(&out[..16])
        }
    }

    impl TryRng for NistGenerator {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            if self.words.len() == 0 {
                let mut polynomial = vec![0; 4 * 761];
                self.draw(&mut polynomial);
                self.words = polynomial.into_iter();
            }
            let word: Vec<u8> = self.words.by_ref().take(4).collect();
            Ok(u32::from_le_bytes(*exact(&word)))
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            unreachable!("words or bytes are drawn")
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            self.draw(out);
            Ok(())
        }
    }

    impl TryCryptoRng for NistGenerator {}

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }
}
