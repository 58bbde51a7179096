//! The key of a store's file.

use std::fmt;
use std::io;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::{Zeroize, Zeroizing};

use super::StoreError;

/// Memory that deriving a key from a passphrase takes, in KiB.
const ARGON2_MEMORY: u32 = 64 * 1024;

/// How often that memory is gone through.
const ARGON2_PASSES: u32 = 3;

/// In how many lanes it is filled: one after the other here, whatever the machine.
const ARGON2_LANES: u32 = 1;

/// Bytes of salt, with which each file begins.
pub(super) const SALT_SIZE: usize = 16;

const KEY_SIZE: usize = 32;

/// `x'`, the key and the salt in hexadecimal, `'`.
const SPEC_SIZE: usize = 2 + 2 * (KEY_SIZE + SALT_SIZE) + 1;

/// What opens a store. Wiped when dropped.
pub enum StoreKey {
    /// Words that somebody knows. The key is derived with Argon2id (RFC 9106) from their UTF-8
    /// bytes as they are and the file's salt; this takes some tenths of a second.
    Passphrase(Zeroizing<String>),
    /// A random key, as one lies in the system's keyring.
    Raw(Zeroizing<[u8; 32]>),
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey")
    }
}

/// The key of one file, and the file's salt.
pub(super) struct FileKey {
    key: Zeroizing<[u8; KEY_SIZE]>,
    salt: [u8; SALT_SIZE],
}

impl FileKey {
    /// The key of a new file.
    pub(super) fn for_new_file(key: &StoreKey) -> Result<Self, StoreError> {
        let mut salt = [0; SALT_SIZE];
        SysRng.try_fill_bytes(&mut salt).map_err(io::Error::other)?;
        Self::derive(key, salt)
    }

    /// The key of a file that begins with this salt.
    pub(super) fn derive(key: &StoreKey, salt: [u8; SALT_SIZE]) -> Result<Self, StoreError> {
        let key = match key {
            StoreKey::Passphrase(passphrase) => argon2id(passphrase.as_bytes(), &salt)?,
            StoreKey::Raw(key) => key.clone(),
        };
        Ok(Self { key, salt })
    }

    /// What SQLCipher takes as key and salt as they are.
    pub(super) fn spec(&self) -> Zeroizing<[u8; SPEC_SIZE]> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut spec = Zeroizing::new([b'\''; SPEC_SIZE]);
        spec[0] = b'x';
        let bytes = self.key.iter().chain(&self.salt);
        for (pair, byte) in spec[2..].chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        spec
    }
}

fn argon2id(
    passphrase: &[u8],
    salt: &[u8; SALT_SIZE],
) -> Result<Zeroizing<[u8; KEY_SIZE]>, StoreError> {
    let params = Params::new(ARGON2_MEMORY, ARGON2_PASSES, ARGON2_LANES, Some(KEY_SIZE));
    let params = params.map_err(io::Error::other)?;
    let mut memory = Memory(Vec::new());
    let blocks = params.block_count();
    let reserved = memory.0.try_reserve_exact(blocks);
    reserved.map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
    memory.0.resize(blocks, Block::new());
    let mut key = Zeroizing::new([0; KEY_SIZE]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, &mut *key, &mut memory.0[..])
        .map_err(io::Error::other)?;
    Ok(key)
}

/// What Argon2 works in. Wiped when dropped.
struct Memory(Vec<Block>);

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(Zeroize::zeroize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(words: &str) -> StoreKey {
        StoreKey::Passphrase(Zeroizing::new(words.to_owned()))
    }

    #[test]
    fn a_passphrase_gives_the_key_that_the_reference_implementation_gives() {
        let salt = std::array::from_fn(|index| index as u8);
        let key = FileKey::derive(&passphrase("correct horse battery staple"), salt).unwrap();
        // The reference implementation in C, through argon2-cffi: 64 MiB, 3 passes, 1 lane.
        let expected = "x'0d1a3c6523c8f06e4e0af9c515aa5b5448cfebd6838f2d52c3d8b6ef8ddc3c2e\
                        000102030405060708090a0b0c0d0e0f'";
        assert_eq!(&key.spec()[..], expected.as_bytes());
    }

    #[test]
    fn a_raw_key_is_taken_as_it_is() {
        let raw = StoreKey::Raw(Zeroizing::new([0xa5; 32]));
        let key = FileKey::derive(&raw, [0x0f; 16]).unwrap();
        let expected = format!("x'{}{}'", "a5".repeat(32), "0f".repeat(16));
        assert_eq!(&key.spec()[..], expected.as_bytes());
    }

    #[test]
    fn each_file_has_a_salt_of_its_own() {
        let raw = StoreKey::Raw(Zeroizing::new([1; 32]));
        let (one, other) = (FileKey::for_new_file(&raw), FileKey::for_new_file(&raw));
        assert_ne!(one.unwrap().salt, other.unwrap().salt);
    }

    #[test]
    fn debug_shows_nothing_of_a_key() {
        assert_eq!(format!("{:?}", passphrase("secret words")), "StoreKey");
    }
}
