//! What is stored: that it comes back, that damage is noticed, and that used keys are gone from it.

use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::peers::{PADDED, Peers, keys};
use crate::kdf::MessageKey;
use crate::secret::{ChainKey, HeaderKey, RootKey, Secret};
use crate::{
    InitiatorKeys, KemKeyPair, KemSecret, PqSupport, Ratchet, StateError, X448PrivateKey,
    X448Secret,
};

/// A ratchet with everything in it that it can have.
fn full() -> Ratchet {
    let mut peers = Peers::talking(1, PqSupport::On);
    for _ in 0..3 {
        let mut messages = ["one", "two", "three", "four"].map(|text| peers.joiner_sends(text));
        messages.swap(0, 2);
        peers.initiator_reads(&messages[1]).unwrap();
        peers.initiator_reads(&messages[3]).unwrap();
        let message = peers.initiator_sends("turn");
        peers.joiner_reads(&message).unwrap();
    }
    peers.initiator
}

#[test]
fn a_stored_ratchet_that_is_cut_off_or_too_long_is_refused() {
    let bytes = full().to_bytes();
    for length in 0..bytes.len() {
        let error = Ratchet::from_bytes(&bytes[..length]).unwrap_err();
        assert!(
            matches!(error, StateError::Malformed(_)),
            "{length}: {error}"
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(Ratchet::from_bytes(&longer).is_err());
}

#[test]
fn a_stored_ratchet_with_a_byte_changed_is_refused_or_stored_the_same_again() {
    let bytes = full().to_bytes();
    for at in 1..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            if let Ok(ratchet) = Ratchet::from_bytes(&changed) {
                assert!(ratchet.to_bytes() == changed, "byte {at}");
            }
        }
    }
}

#[test]
fn a_ratchet_of_a_newer_program_is_told_from_a_damaged_one() {
    let mut bytes = full().to_bytes();
    for format in 2..=255 {
        bytes[0] = format;
        let error = Ratchet::from_bytes(&bytes).unwrap_err();
        assert_eq!(error, StateError::Newer(format));
    }
    bytes[0] = 0;
    let error = Ratchet::from_bytes(&bytes).unwrap_err();
    assert!(matches!(error, StateError::Malformed(_)));
}

#[test]
fn an_initiator_s_keys_come_back() {
    let mut keys = keys(2);
    for kem in [false, true] {
        let own = InitiatorKeys::generate(&mut keys, kem);
        let bytes = own.to_bytes();
        let again = InitiatorKeys::from_bytes(&bytes).unwrap();
        assert_eq!(again.to_bytes(), bytes);
        assert_eq!(again.params(), own.params());
        for length in 0..bytes.len() {
            let error = InitiatorKeys::from_bytes(&bytes[..length]).unwrap_err();
            assert!(matches!(error, StateError::Malformed(_)));
        }
        let mut newer = bytes.clone();
        newer[0] = 2;
        let error = InitiatorKeys::from_bytes(&newer).unwrap_err();
        assert_eq!(error, StateError::Newer(2));
    }
}

#[test]
fn what_is_written_never_outgrows_its_buffer() {
    for ratchet in [full(), Peers::new(3, PqSupport::On).initiator] {
        let bytes = ratchet.to_bytes();
        assert!(bytes.capacity() - bytes.len() < 4096);
    }
    let own = InitiatorKeys::generate(&mut keys(4), true).to_bytes();
    assert!(own.capacity() >= own.len());
}

#[test]
fn a_key_that_was_sent_with_is_gone() {
    let mut peers = Peers::talking(5, PqSupport::On);
    let chain = peers.joiner.sending.as_ref().unwrap().chain_key.clone();
    let used = chain.step().message_key;
    assert!(has(&peers.joiner, chain.as_bytes()));
    peers.joiner_sends("sent");
    assert!(!has(&peers.joiner, chain.as_bytes()));
    assert!(!has(&peers.joiner, used.key.as_bytes()));
}

#[test]
fn a_key_that_was_received_with_is_gone() {
    let mut peers = Peers::talking(6, PqSupport::On);
    let first = peers.joiner_sends("of a new chain");
    let second = peers.joiner_sends("of the same chain");
    peers.initiator_reads(&first).unwrap();
    let chain = peers
        .initiator
        .receiving
        .as_ref()
        .unwrap()
        .chain_key
        .clone();
    let used = chain.step().message_key;
    peers.initiator_reads(&second).unwrap();
    assert!(!has(&peers.initiator, chain.as_bytes()));
    assert!(!has(&peers.initiator, used.key.as_bytes()));
}

#[test]
fn a_key_that_was_kept_for_a_late_message_is_gone_once_it_has_come() {
    let mut peers = Peers::talking(7, PqSupport::Off);
    let late = peers.joiner_sends("late");
    let message = peers.joiner_sends("in time");
    peers.initiator_reads(&message).unwrap();
    let kept = &peers.initiator.skipped.chains()[0];
    let header_key = kept.header_key.clone();
    let key = kept.keys[0].key.key.clone();
    assert!(has(&peers.initiator, key.as_bytes()));
    // The chain goes on being the current one, so its header key stays until the next turn.
    peers.initiator_reads(&late).unwrap();
    assert!(!has(&peers.initiator, key.as_bytes()));
    peers.exchange();
    peers.exchange();
    assert!(!has(&peers.initiator, header_key.as_bytes()));
}

#[test]
fn the_keys_of_the_turn_before_are_gone() {
    let mut peers = Peers::talking(8, PqSupport::On);
    let message = peers.joiner_sends("turn");
    let old = &peers.initiator;
    let receiving = old.receiving.as_ref().unwrap();
    let sending = old.sending.as_ref().unwrap();
    let secrets: Vec<Zeroizing<Vec<u8>>> = [
        &old.own_key.as_bytes()[..],
        old.root_key.as_bytes(),
        receiving.chain_key.as_bytes(),
        receiving.header_key.as_bytes(),
        sending.chain_key.as_bytes(),
        sending.header_key.as_bytes(),
        old.pq.own.as_ref().unwrap().pair.as_bytes(),
    ]
    .map(|secret| Zeroizing::new(secret.to_vec()))
    .into();
    assert!(secrets.iter().all(|secret| has(&peers.initiator, secret)));
    peers.initiator_reads(&message).unwrap();
    assert!(!secrets.iter().any(|secret| has(&peers.initiator, secret)));
}

/// Whether the stored ratchet has these bytes anywhere.
fn has(ratchet: &Ratchet, secret: &[u8]) -> bool {
    let bytes = ratchet.to_bytes();
    bytes.windows(secret.len()).any(|window| window == secret)
}

#[test]
fn everything_secret_is_wiped_when_it_is_dropped() {
    fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<Secret<32>>();
    wiped::<RootKey>();
    wiped::<ChainKey>();
    wiped::<HeaderKey>();
    wiped::<MessageKey>();
    wiped::<X448PrivateKey>();
    wiped::<X448Secret>();
    wiped::<KemKeyPair>();
    wiped::<KemSecret>();
    wiped::<InitiatorKeys>();
    wiped::<Ratchet>();
    wiped::<Zeroizing<Vec<u8>>>();
    wiped::<aes_gcm::aes::Aes256>();
    wiped::<sha2::Sha512>();
}

#[test]
fn a_ratchet_goes_from_thread_to_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<Ratchet>();
    shared::<InitiatorKeys>();
}

#[test]
fn debug_shows_nothing_of_a_ratchet() {
    let mut peers = Peers::talking(9, PqSupport::On);
    assert_eq!(format!("{:?}", peers.joiner), "Ratchet");
    assert_eq!(format!("{:?}", peers.own), "InitiatorKeys");
    let message = peers.joiner.encrypt(b"secret", PADDED, None).unwrap();
    let decrypted = peers.initiator_reads(&message).unwrap();
    assert_eq!(format!("{decrypted:?}"), "Decrypted");
}
