//! The encryption of blocks inside TLS, with keys that are used once and cannot be turned back.

use std::sync::LazyLock;

use hkdf::{Hkdf, HkdfExtract};
use sha2::Sha512;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Block, BlockError, plain_block};
use crate::encoding::EncodeError;
use crate::id::SessionId;
use crate::key::{DhSecret, KEY_SIZE};
use crate::secret_box::{BoxKey, NONCE_SIZE, Nonce};

const INIT_INFO: &[u8] = b"SimpleXSbChainInit";
const STEP_INFO: &[u8] = b"SimpleXSbChain";
const STEP_SIZE: usize = KEY_SIZE + KEY_SIZE + NONCE_SIZE;

/// HKDF with the empty salt, ready for the input of each step.
static STEP: LazyLock<HkdfExtract<Sha512>> = LazyLock::new(|| HkdfExtract::new(None));

/// Both directions of one side's block encryption (document, version history, v11).
///
/// Both hellos go without it. Reading and writing may happen in different places: take the two
/// halves apart for that.
pub struct BlockCipher {
    /// For the blocks that this side sends.
    pub sealer: BlockSealer,
    /// For the blocks that this side receives.
    pub opener: BlockOpener,
}

impl BlockCipher {
    /// The client's side. `secret` is agreed from the keys in both hellos.
    #[must_use]
    pub fn client(session_id: &SessionId, secret: &DhSecret) -> Self {
        let [to_client, to_server] = first_chains(session_id, secret);
        Self {
            sealer: BlockSealer(to_server),
            opener: BlockOpener(to_client),
        }
    }

    /// The relay's side. `secret` is agreed from the keys in both hellos.
    #[must_use]
    pub fn server(session_id: &SessionId, secret: &DhSecret) -> Self {
        let [to_client, to_server] = first_chains(session_id, secret);
        Self {
            sealer: BlockSealer(to_client),
            opener: BlockOpener(to_server),
        }
    }

    /// See [`BlockSealer::seal`].
    ///
    /// # Errors
    /// As there.
    pub fn seal(&mut self, content: &[u8]) -> Result<Box<Block>, EncodeError> {
        self.sealer.seal(content)
    }

    /// See [`BlockOpener::open`].
    ///
    /// # Errors
    /// As there.
    pub fn open<'a>(&mut self, block: &'a mut Block) -> Result<&'a mut [u8], BlockError> {
        self.opener.open(block)
    }
}

/// Encrypts the blocks of one direction, in their order.
pub struct BlockSealer(Chain);

impl BlockSealer {
    /// The next block, with `content` in it. A [`BlockWriter`](super::BlockWriter) needs one copy
    /// less.
    ///
    /// # Errors
    /// [`EncodeError`] if `content` is longer than [`MAX_CONTENT`](super::MAX_CONTENT). Then the
    /// chain stays where it is.
    pub fn seal(&mut self, content: &[u8]) -> Result<Box<Block>, EncodeError> {
        if content.len() > super::MAX_CONTENT {
            return Err(EncodeError("block"));
        }
        let mut block = plain_block(content)?;
        block.copy_within(..super::BLOCK_SIZE - super::TAG_SIZE, super::TAG_SIZE);
        self.seal_padded(&mut block);
        Ok(block)
    }

    /// Encrypts a block whose padded content begins after the room for the tag.
    pub(super) fn seal_padded(&mut self, block: &mut Block) {
        let (key, nonce) = self.0.step();
        key.seal_in_place(&nonce, block);
    }
}

/// Decrypts the blocks of one direction, in their order.
pub struct BlockOpener(Chain);

impl BlockOpener {
    /// Decrypts the next block where it stands, and gives its content.
    ///
    /// # Errors
    /// [`BlockError`] if it is not the next block of the other side. Nothing after it can be
    /// decrypted then: the session is over.
    pub fn open<'a>(&mut self, block: &'a mut Block) -> Result<&'a mut [u8], BlockError> {
        let (key, nonce) = self.0.step();
        key.open_padded_in_place(&nonce, block)
            .map_err(BlockError::from)
    }
}

/// The key that the keys of the blocks to come are derived from.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Chain([u8; KEY_SIZE]);

impl Chain {
    /// The key and nonce of the next block.
    fn step(&mut self) -> (BoxKey, Nonce) {
        let mut out = Zeroizing::new([0; STEP_SIZE]);
        let mut extract = STEP.clone();
        extract.input_ikm(&self.0);
        expand(&extract.finalize().1, STEP_INFO, &mut *out);
        let (chain, rest) = out.split_at(KEY_SIZE);
        self.0.copy_from_slice(chain);
        let (mut key, mut nonce) = (Zeroizing::new([0; KEY_SIZE]), [0; NONCE_SIZE]);
        key.copy_from_slice(&rest[..KEY_SIZE]);
        nonce.copy_from_slice(&rest[KEY_SIZE..]);
        (BoxKey::from_bytes(&key), nonce)
    }
}

/// The chains of both directions: to the client, to the relay.
fn first_chains(session_id: &SessionId, secret: &DhSecret) -> [Chain; 2] {
    let hkdf = Hkdf::<Sha512>::new(Some(session_id.as_bytes()), secret.as_bytes());
    let mut out = Zeroizing::new([0; 2 * KEY_SIZE]);
    expand(&hkdf, INIT_INFO, &mut *out);
    let mut chains = [Chain([0; KEY_SIZE]), Chain([0; KEY_SIZE])];
    for (chain, bytes) in chains.iter_mut().zip(out.chunks_exact(KEY_SIZE)) {
        chain.0.copy_from_slice(bytes);
    }
    chains
}

fn expand(hkdf: &Hkdf<Sha512>, info: &[u8], out: &mut [u8]) {
    let Ok(()) = hkdf.expand(info, out) else {
        unreachable!("HKDF gives more than this");
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let digits = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| str::from_utf8(pair).unwrap());
        let all: Vec<u8> = digits
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect();
        all.try_into().unwrap()
    }

    /// From a recorded session of version 19.
    #[test]
    fn chains_and_the_first_key_are_those_of_a_recorded_session() {
        let id = bytes::<32>("51f09603b02ee026d8077cd036ab21877aecc4a8c679e344186ed0d3b2fca288");
        let secret = bytes("e91e8f13dc5c623b53be4c59ca9eff168a63da2396d08e457ec5298a510be43b");
        let id = SessionId::new(&id).unwrap();
        let [to_client, mut to_server] = first_chains(&id, &DhSecret::from_bytes(&secret));
        assert_eq!(
            to_client.0,
            bytes("d258b9aab8c87a4e0dbeda06dd7f8ceeb52da80475abb9a261c5f255cefbb2ed"),
        );
        assert_eq!(
            to_server.0,
            bytes("ed970add04a400246f8c3838284da72d3cf498c8ff94311001061844018f1cb8"),
        );
        let (key, nonce) = to_server.step();
        assert_eq!(
            nonce,
            bytes("b325833adf1933bc9116ccc51de659234459a8f164a31b89")
        );
        let raw = bytes("c49932e287bae70321633778c0efec2c5bd69053fa7401629ff6d4e7dd2a6e14");
        let expected = BoxKey::from_bytes(&raw);
        assert_eq!(key.seal(&nonce, b"x"), expected.seal(&nonce, b"x"));
        assert_ne!(to_server.0, to_client.0);
    }
}
