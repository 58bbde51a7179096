//! X448 (RFC 7748), done by OpenSSL.

use std::fmt;
use std::sync::OnceLock;

use openssl::derive::Deriver;
use openssl::pkey::{Id, PKey, Private};
use rand::CryptoRng;
use smp_protocol::encoding::{DecodeError, Reader, put_short_array};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::ZeroizeOnDrop;

use crate::secret::Secret;

/// Length of a raw X448 key, public or private, and of an agreed secret, in bytes.
pub const X448_KEY_SIZE: usize = 56;

/// Length of a public X448 key in DER, in bytes.
pub const X448_SPKI_SIZE: usize = 68;

const SPKI_PREFIX: [u8; 12] = *b"\x30\x42\x30\x05\x06\x03\x2b\x65\x6f\x03\x39\x00";

/// A public X448 key. Equality takes the same time for all keys; `Debug` shows no byte of it.
#[derive(Clone, Copy)]
pub struct X448PublicKey(pub [u8; X448_KEY_SIZE]);

impl X448PublicKey {
    /// The key as DER (`SubjectPublicKeyInfo`).
    #[must_use]
    pub fn to_spki(&self) -> [u8; X448_SPKI_SIZE] {
        let mut der = [0; X448_SPKI_SIZE];
        der[..SPKI_PREFIX.len()].copy_from_slice(&SPKI_PREFIX);
        der[SPKI_PREFIX.len()..].copy_from_slice(&self.0);
        der
    }

    /// Takes a key out of its DER.
    ///
    /// # Errors
    /// [`DecodeError::Value`] if it is not an X448 key.
    pub fn from_spki(der: &[u8]) -> Result<Self, DecodeError> {
        der.strip_prefix(&SPKI_PREFIX)
            .and_then(|key| key.try_into().ok())
            .map(Self)
            .ok_or(DecodeError::Value("X448 key"))
    }

    /// Reads a short string with the DER.
    ///
    /// # Errors
    /// [`DecodeError::Short`] if it is cut off, [`DecodeError::Value`] if it is no such key.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_spki(reader.short("X448 key")?)
    }

    /// Appends a short string with the DER.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_short_array(out, &self.to_spki());
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; X448_KEY_SIZE] {
        &self.0
    }
}

impl PartialEq for X448PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for X448PublicKey {}

impl fmt::Debug for X448PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("X448PublicKey")
    }
}

/// A private X448 key with its public one. Wiped when dropped.
#[derive(Clone)]
pub struct X448PrivateKey {
    secret: Secret<X448_KEY_SIZE>,
    public: X448PublicKey,
    /// OpenSSL's form of the key, which it wipes itself. Made when it is first needed, since
    /// making it costs as much as an agreement.
    key: OnceLock<PKey<Private>>,
}

impl X448PrivateKey {
    /// A new random key.
    ///
    /// # Panics
    /// If the installed OpenSSL was built or configured without X448.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut secret = Secret::zero();
        rng.fill_bytes(secret.as_mut());
        Self::from_secret(secret)
    }

    /// The key of these raw bytes.
    ///
    /// # Panics
    /// If the installed OpenSSL was built or configured without X448.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; X448_KEY_SIZE]) -> Self {
        Self::from_secret(Secret::from_bytes(bytes))
    }

    fn from_secret(secret: Secret<X448_KEY_SIZE>) -> Self {
        let key = openssl_key(&secret);
        let public = key
            .raw_public_key()
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or_else(|| unreachable!("an X448 key has a public key of its length"));
        Self {
            secret,
            public: X448PublicKey(public),
            key: key.into(),
        }
    }

    /// A key that was stored together with its public one, which is not computed again.
    pub(crate) fn restore(secret: &[u8; X448_KEY_SIZE], public: X448PublicKey) -> Self {
        Self {
            secret: Secret::from_bytes(secret),
            public,
            key: OnceLock::new(),
        }
    }

    /// The raw bytes, to be stored where secrets may be.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; X448_KEY_SIZE] {
        self.secret.as_bytes()
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> X448PublicKey {
        self.public
    }

    /// What both parties agree on.
    ///
    /// # Errors
    /// [`WeakPublicKey`] if the other party's key makes the secret known to all.
    pub fn agree(&self, public: &X448PublicKey) -> Result<X448Secret, WeakPublicKey> {
        let mut secret = Secret::zero();
        let length = PKey::public_key_from_raw_bytes(&public.0, Id::X448)
            .and_then(|peer| {
                let key = self.key.get_or_init(|| openssl_key(&self.secret));
                let mut deriver = Deriver::new(key)?;
                deriver.set_peer(&peer)?;
                deriver.derive(secret.as_mut())
            })
            // OpenSSL refuses a secret of zeros itself; other builds of its interface may not.
            .map_err(|_| WeakPublicKey)?;
        if length != X448_KEY_SIZE || secret == Secret::zero() {
            return Err(WeakPublicKey);
        }
        Ok(X448Secret(secret))
    }
}

fn openssl_key(secret: &Secret<X448_KEY_SIZE>) -> PKey<Private> {
    PKey::private_key_from_raw_bytes(secret.as_bytes(), Id::X448)
        .unwrap_or_else(|error| panic!("OpenSSL offers no X448: {error}"))
}

impl fmt::Debug for X448PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("X448PrivateKey")
    }
}

impl ZeroizeOnDrop for X448PrivateKey {}

/// A public key of low order: with it the secret is the same for every private key, so that
/// everyone knows it (RFC 7748, section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the public key has a low order")]
pub struct WeakPublicKey;

/// The raw result of X448 between two parties. Wiped when dropped.
#[derive(Clone)]
pub struct X448Secret(Secret<X448_KEY_SIZE>);

impl X448Secret {
    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; X448_KEY_SIZE] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for X448Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("X448Secret")
    }
}

impl ZeroizeOnDrop for X448Secret {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// X448 of a scalar and a coordinate, in hexadecimal.
    fn x448(scalar: &str, coordinate: &str) -> String {
        let secret = key(scalar).agree(&X448PublicKey(bytes(coordinate)));
        hex(secret.unwrap().as_bytes())
    }

    fn key(scalar: &str) -> X448PrivateKey {
        X448PrivateKey::from_bytes(&bytes(scalar))
    }

    fn bytes(hex: &str) -> [u8; X448_KEY_SIZE] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..][..2], 16).unwrap())
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 7748, section 5.2.
    #[test]
    fn the_answers_are_those_of_the_rfc() {
        let answers = [
            [
                "3d262fddf9ec8e88495266fea19a34d28882acef045104d0d1aae121\
                 700a779c984c24f8cdd78fbff44943eba368f54b29259a4f1c600ad3",
                "06fce640fa3487bfda5f6cf2d5263f8aad88334cbd07437f020f08f9\
                 814dc031ddbdc38c19c6da2583fa5429db94ada18aa7a7fb4ef8a086",
                "ce3e4ff95a60dc6697da1db1d85e6afbdf79b50a2412d7546d5f239f\
                 e14fbaadeb445fc66a01b0779d98223961111e21766282f73dd96b6f",
            ],
            [
                "203d494428b8399352665ddca42f9de8fef600908e0d461cb021f8c5\
                 38345dd77c3e4806e25f46d3315c44e0a5b4371282dd2c8d5be3095f",
                "0fbcc2f993cd56d3305b0b7d9e55d4c1a8fb5dbb52f8e9a1e9b6201b\
                 165d015894e56c4d3570bee52fe205e28a78b91cdfbde71ce8d157db",
                "884a02576239ff7a2f2f63b2db6a9ff37047ac13568e1e30fe63c4a7\
                 ad1b3ee3a5700df34321d62077e63633c575c1c954514e99da7c179d",
            ],
        ];
        for [scalar, coordinate, answer] in answers {
            assert_eq!(x448(scalar, coordinate), answer);
        }
    }

    /// RFC 7748, section 5.2, with 1 and 1,000 iterations.
    #[test]
    fn the_iterated_answers_are_those_of_the_rfc() {
        let mut scalar = format!("05{}", "00".repeat(55));
        let mut coordinate = scalar.clone();
        for iteration in 1..=1000 {
            let answer = x448(&scalar, &coordinate);
            coordinate = std::mem::replace(&mut scalar, answer);
            if iteration == 1 {
                assert_eq!(
                    scalar,
                    "3f482c8a9f19b01e6c46ee9711d9dc14fd4bf67af30765c2ae2b846a\
                     4d23a8cd0db897086239492caf350b51f833868b9bc2b3bca9cf4113"
                );
            }
        }
        assert_eq!(
            scalar,
            "aa3b4749d55b9daf1e5b00288826c467274ce3ebbdd5c17b975e09d4\
             af6c67cf10d087202db88286e2b79fceea3ec353ef54faa26e219f38"
        );
    }

    /// RFC 7748, section 6.2.
    #[test]
    fn two_parties_agree_on_the_secret_of_the_rfc() {
        let a = key("9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28d\
             d9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b");
        let b = key("1c306a7ac2a0e2e0990b294470cba339e6453772b075811d8fad0d1d\
             6927c120bb5ee8972b0d3e21374c9c921b09d1b0366f10b65173992d");
        assert_eq!(
            hex(a.public().as_bytes()),
            "9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c\
             22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0"
        );
        assert_eq!(
            hex(b.public().as_bytes()),
            "3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b430\
             27d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609"
        );
        let secret = "07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282b\
                      b60c0b56fd2464c335543936521c24403085d59a449a5037514a879d";
        assert_eq!(hex(a.agree(&b.public()).unwrap().as_bytes()), secret);
        assert_eq!(hex(b.agree(&a.public()).unwrap().as_bytes()), secret);
    }

    #[test]
    fn a_key_of_low_order_is_refused() {
        let zero = [0; X448_KEY_SIZE];
        let mut one = zero;
        one[0] = 1;
        // The prime is 2^448 - 2^224 - 1.
        let mut prime = [0xff; X448_KEY_SIZE];
        prime[28] = 0xfe;
        let mut prime_less_one = prime;
        prime_less_one[0] = 0xfe;
        let mut prime_and_one = [0xff; X448_KEY_SIZE];
        prime_and_one[..28].fill(0);
        let private = X448PrivateKey::from_bytes(&[9; X448_KEY_SIZE]);
        for weak in [zero, one, prime_less_one, prime, prime_and_one] {
            let agreed = private.agree(&X448PublicKey(weak));
            assert_eq!(agreed.err(), Some(WeakPublicKey));
        }
    }

    #[test]
    fn a_restored_key_is_the_same_key() {
        let key = X448PrivateKey::from_bytes(&[3; X448_KEY_SIZE]);
        let restored = X448PrivateKey::restore(key.as_bytes(), key.public());
        let peer = X448PrivateKey::from_bytes(&[5; X448_KEY_SIZE]).public();
        let secrets = [key, restored].map(|key| key.agree(&peer).unwrap());
        assert_eq!(secrets[0].as_bytes(), secrets[1].as_bytes());
    }

    proptest! {
        #[test]
        fn a_public_key_comes_back_from_its_bytes(raw in any::<[u8; 28]>()) {
            let mut key = [7; X448_KEY_SIZE];
            key[..28].copy_from_slice(&raw);
            let mut bytes = Vec::new();
            X448PublicKey(key).encode(&mut bytes);
            prop_assert_eq!(bytes.len(), 1 + X448_SPKI_SIZE);
            let decoded = X448PublicKey::decode(&mut Reader::new(&bytes));
            prop_assert_eq!(decoded, Ok(X448PublicKey(key)));
        }

        #[test]
        fn no_bytes_make_a_public_key_panic(bytes: Vec<u8>) {
            let _ = X448PublicKey::from_spki(&bytes);
            let _ = X448PublicKey::decode(&mut Reader::new(&bytes));
        }
    }

    #[test]
    fn debug_shows_no_byte_of_a_key() {
        let key = X448PrivateKey::from_bytes(&[7; X448_KEY_SIZE]);
        assert_eq!(format!("{key:?}"), "X448PrivateKey");
        assert_eq!(format!("{:?}", key.public()), "X448PublicKey");
        let secret = key.agree(&key.public()).unwrap();
        assert_eq!(format!("{secret:?}"), "X448Secret");
    }
}
