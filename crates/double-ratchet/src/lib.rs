//! A post-quantum double ratchet with encrypted headers: what two SimpleX agents encrypt their
//! messages with.
//!
//! "Document" in this crate's documentation means SimpleX's description of the algorithm,
//! `pqdr.md`; what it leaves open (labels, sizes, encodings) is fixed by recorded conversations of
//! SimpleX's own programs, which the tests make again byte for byte.
//!
//! Two peers agree on a first secret with X3DH, over two X448 keys each. From then on each message
//! has a key of its own. Whenever the direction changes, a *turn* mixes a new X448 agreement into
//! the root of all keys and, if both peers support it, a new secret of the KEM sntrup761 beside it.
//! An attacker has to break both. Headers, with keys and numbers in them, are encrypted too, and
//! have one size whatever is in them.
//!
//! The crate has neither sockets, nor a clock, nor a store: bytes go in and come out, and new keys
//! come from a [`KeySource`].
//!
//! ```
//! use double_ratchet::{InitiatorKeys, PqSupport, RandomKeys, Ratchet};
//! use rand::SeedableRng;
//! use rand::rngs::{StdRng, SysRng};
//!
//! let mut keys = RandomKeys(StdRng::try_from_rng(&mut SysRng)?);
//!
//! // Bob makes a link with his public keys, and keeps the private ones.
//! let own = InitiatorKeys::generate(&mut keys, true);
//! let link = own.params();
//!
//! // Alice got the link. Her parameters travel in front of her first message.
//! let (mut alice, params) = Ratchet::joiner(&link, PqSupport::On, &mut keys)?;
//! let message = alice.encrypt(b"hello", 1024, None)?;
//!
//! // Bob can answer as soon as it has come.
//! let mut bob = Ratchet::initiator(&own, &params, PqSupport::On)?;
//! assert!(!bob.can_send());
//! let read = bob.decrypt(&message, &mut keys)?;
//! assert_eq!(*read.plain, *b"hello");
//!
//! // What is sent is stored first: a ratchet must never fall back.
//! let answer = bob.encrypt(b"good evening", 1024, None)?;
//! let stored = bob.to_bytes();
//! let bob = Ratchet::from_bytes(&stored)?;
//!
//! let read = alice.decrypt(&answer, &mut keys)?;
//! assert!(read.turned && read.pq);
//! assert!(bob.pq_sending() && alice.pq_receiving());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Attacks, and what prevents them
//!
//! - **Recording now, decrypting later.** With a KEM's key in the link every message is protected by
//!   both agreements, the first included. Without one, the joiner's first messages depend on X448
//!   alone, until the initiator's first answer has come. Tests replace the secrets of either
//!   agreement by known ones and try to follow.
//! - **A stolen ratchet.** Used keys are wiped and are not in what is stored, so that messages from
//!   before stay closed. A thief who only listens is shut out after an exchange, as soon as a new
//!   secret of *either* agreement is unknown to him. The keys of messages that have not come yet are
//!   the exception, and are bounded by [`MAX_SKIPPED_TOTAL`] and [`MAX_SKIPPED_TURNS`].
//! - **Forged and damaged bytes.** Header and body are authenticated, the body together with the
//!   encrypted header and both peers' first keys. A failed [`Ratchet::decrypt`] changes nothing, not
//!   even the generator of new keys, so the undamaged message still opens. The version in front of
//!   the header is not covered by the header's own tag: a header is therefore believed only if it
//!   ends exactly where its version says.
//! - **Replays and reordering.** Each key opens one message and is then gone; keys that are skipped
//!   are kept until their message comes.
//! - **Work for nothing.** Numbers and counts are checked before any key is derived: one message
//!   makes no more than 2 × [`MAX_SKIPPED`] keys, and without the peer's header key none at all.
//!   Bytes that nobody sent cost at most 2 + [`MAX_SKIPPED_CHAINS`] attempts to open a header.
//! - **Weak keys.** A public key of low order, whose secret everyone knows, is refused in parameters
//!   and in headers. One's own keys, sent back, are refused as well.
//! - **Downgrades.** The version never goes down, and a new chain in an older version than both
//!   peers are known to speak is refused. That the peer stops using the KEM is allowed by the
//!   protocol, and shows in [`Decrypted::pq`] and [`Ratchet::pq_receiving`].
//! - **Sizes.** Headers are padded to 88 bytes or, once a KEM was supported, to 2310 for ever;
//!   bodies to what the caller says.
//! - **Traces in memory.** Secrets live on the heap, move without being copied, and are wiped when
//!   they are replaced or dropped. None shows in `Debug`. Comparisons take constant time.
//!
//! # What is not covered
//!
//! - *Who* the peer is. Whoever can replace the link or the joiner's parameters is the peer. Compare
//!   [`Ratchet::associated_data`] out of band.
//! - A ratchet that falls back, from a copy or a backup, encrypts two messages with one key and IV.
//!   Storing before sending is the caller's duty; that is why a ratchet cannot be cloned.
//! - A peer that does not keep to the protocol can always reveal what both know.
//! - The lengths of chains, the times of messages, and that there are messages.
//! - Registers, and stack frames inside the primitives' crates, are beyond the reach of wiping.
//!
//! # Where it does otherwise than SimpleX's program
//!
//! Messages are the same; both of these show only when something has gone wrong.
//!
//! - A body that does not open leaves the ratchet as it was. SimpleX's moves on.
//! - After "no KEM" was asked for, later headers of the same chain still carry the KEM's ciphertext.
//!   SimpleX's program leaves it out, and if such a message comes first, it never opens.
//!
//! # Primitives, and why these
//!
//! None is written here. Times are in microseconds of one core of a Xeon with AVX-512.
//!
//! | X448 | agreement | |
//! |---|---|---|
//! | **OpenSSL 3.0** through `openssl` | 141 | reviewed, constant time, wipes its keys, refuses zeros itself; already here for TLS |
//! | `x448` 0.14-pre (RustCrypto) | 343 | pre-release, unaudited |
//! | `x448` 0.6 | 188 | the generation before, on `ed448-goldilocks` 0.7 |
//!
//! | sntrup761 | key pair | encapsulate | decapsulate | |
//! |---|---|---|---|---|
//! | **`sntrup`** 0.4, `force-scalar` | 7,541 | 391 | 1,079 | Rust, constant time, wipes what it allocates, takes any generator |
//! | `sntrup` 0.4 with SIMD | 194 | 10 | 13 | reads up to 14 bytes past the ends of buffers |
//! | `sntrup761` 0.4 | 10,503 | 535 | 1,575 | its predecessor by the same author |
//! | `pqcrypto-ntruprime` 0.1 | 239 | 17 | 13 | PQClean's C; wipes nothing, and draws from its own generator alone |
//!
//! The SIMD code of `sntrup` gives right answers, but its multiplication (`mult761` in `rq/ntt.rs`)
//! loads whole vectors from a buffer that ends inside the last one, in all three operations. The
//! address sanitizer says so, and has no objection to the scalar code. So until that is mended a
//! turn with a KEM takes some 10 ms, where PQClean's portable C would take 8, and without a KEM half
//! a millisecond.
//!
//! `sntrup` is young and unaudited, so it is held to others' answers: NIST's known answer as PQClean
//! publishes it, the Internet-Draft's vectors, and the keys and ciphertexts that SimpleX's C code
//! drew from a seed, all in the tests. Beside these, 1,500 key pairs (and 20,000 of the SIMD code)
//! were compared with PQClean's in both directions, with valid, damaged and random ciphertexts.
//!
//! AES-256-GCM with IVs of 16 bytes is `aes-gcm`'s, HKDF-SHA512 is `hkdf`'s and `sha2`'s, all of
//! RustCrypto.

mod aead;
mod error;
mod initiator;
mod kdf;
mod kem;
mod keys;
mod message;
mod params;
mod ratchet;
mod secret;
mod skipped;
mod version;
mod x448;

pub use error::{AgreementError, DecryptError, EncryptError, StateError};
pub use initiator::{InitiatorKeys, params_hash};
pub use kem::{
    KEM_CIPHERTEXT_SIZE, KEM_PUBLIC_KEY_SIZE, KEM_SECRET_KEY_SIZE, KEM_SHARED_SECRET_SIZE,
    KemCiphertext, KemKeyPair, KemPublicKey, KemSecret,
};
pub use keys::{KeySource, RandomKeys};
pub use message::MessageHeader;
pub use params::{E2eParams, E2eParamsRange, KemParams};
pub use ratchet::{Decrypted, Ratchet};
pub use skipped::{MAX_SKIPPED, MAX_SKIPPED_CHAINS, MAX_SKIPPED_TOTAL, MAX_SKIPPED_TURNS};
pub use version::{E2eVersion, PqSupport};
pub use x448::{
    WeakPublicKey, X448_KEY_SIZE, X448_SPKI_SIZE, X448PrivateKey, X448PublicKey, X448Secret,
};
