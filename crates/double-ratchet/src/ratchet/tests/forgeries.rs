//! What somebody can try who puts bytes into a queue, and what a peer can try that does not keep to
//! the protocol.

use super::peers::{PADDED, Peers, copy, keys, receive};
use super::recorded::Recorded;
use crate::message::{self, MessageHeader, SealedHeader, padded_header};
use crate::{
    AgreementError, DecryptError, E2eVersion, EncryptError, InitiatorKeys, KemCiphertext,
    KemParams, KeySource, MAX_SKIPPED, PqSupport, Ratchet, WeakPublicKey, X448_KEY_SIZE,
    X448PublicKey,
};

#[test]
fn a_message_with_a_bit_changed_is_refused() {
    let mut peers = Peers::talking(1, PqSupport::Off);
    let first = peers.joiner_sends("of a new chain");
    let second = peers.joiner_sends("of the same chain");
    try_every_bit(&mut peers, &first, 1);
    peers.initiator_reads(&first).unwrap();
    try_every_bit(&mut peers, &second, 1);
    assert_eq!(
        *peers.initiator_reads(&second).unwrap().plain,
        *b"of the same chain"
    );
}

#[test]
fn a_message_with_a_kem_and_a_bit_changed_is_refused() {
    let mut peers = Peers::talking(2, PqSupport::On);
    let message = peers.joiner_sends("of a new chain");
    try_every_bit(&mut peers, &message, 13);
    peers.initiator_reads(&message).unwrap();
}

fn try_every_bit(peers: &mut Peers, message: &[u8], stride: usize) {
    for bit in (0..message.len() * 8).step_by(stride) {
        let mut forged = message.to_vec();
        forged[bit / 8] ^= 1 << (bit % 8);
        let error = peers.initiator_reads(&forged).unwrap_err();
        use DecryptError::{Body, Header, Malformed};
        assert!(
            matches!(error, Body | Header | Malformed(_)),
            "bit {bit}: {error}"
        );
    }
}

#[test]
fn a_message_of_another_length_is_refused() {
    let mut peers = Peers::talking(3, PqSupport::Off);
    let message = peers.joiner_sends("whole");
    for length in 0..message.len() {
        assert!(
            peers.initiator_reads(&message[..length]).is_err(),
            "{length}"
        );
    }
    let longer = [&message[..], b"#"].concat();
    assert_eq!(
        peers.initiator_reads(&longer).unwrap_err(),
        DecryptError::Body
    );
    peers.initiator_reads(&message).unwrap();
}

#[test]
fn parts_of_two_messages_make_no_third() {
    let mut peers = Peers::talking(4, PqSupport::Off);
    let messages = [peers.joiner_sends("one"), peers.joiner_sends("two")];
    let header_end = messages[0].len() - PADDED - 16;
    let mixed = [&messages[0][..header_end], &messages[1][header_end..]].concat();
    assert_eq!(
        peers.initiator_reads(&mixed).unwrap_err(),
        DecryptError::Body
    );
}

#[test]
fn a_message_that_comes_again_says_which_one_it_is() {
    let mut peers = Peers::talking(5, PqSupport::Off);
    let messages = ["one", "two", "three"].map(|text| peers.joiner_sends(text));
    for message in &messages {
        peers.initiator_reads(message).unwrap();
    }
    let again = messages
        .each_ref()
        .map(|message| peers.initiator_reads(message).unwrap_err());
    use DecryptError::{Duplicate, Earlier, Header};
    assert_eq!(again, [Earlier(2), Earlier(1), Duplicate]);
    peers.exchange();
    peers.exchange();
    for message in &messages {
        assert_eq!(peers.initiator_reads(message).unwrap_err(), Header);
    }
}

#[test]
fn a_message_of_another_connection_is_refused() {
    let mut peers = Peers::talking(6, PqSupport::On);
    let mut others = Peers::talking(7, PqSupport::On);
    let message = others.joiner_sends("to somebody else");
    assert_eq!(
        peers.initiator_reads(&message).unwrap_err(),
        DecryptError::Header
    );
    // Nor is one's own message taken for the peer's.
    let own = peers.initiator_sends("to the joiner");
    assert_eq!(
        peers.initiator_reads(&own).unwrap_err(),
        DecryptError::Header
    );
}

#[test]
fn a_header_that_skips_too_much_is_refused_before_any_work() {
    let mut peers = Peers::talking(8, PqSupport::On);
    let jump = u32::MAX - 1;
    // A key that no secret can be agreed with would be an error of its own, had it been looked at.
    let weak = X448PublicKey([0; X448_KEY_SIZE]);
    let mut header = peers.joiner.header();
    (header.key, header.number) = (weak, jump);
    let message = forge(&peers.joiner, &header);
    let error = peers.initiator_reads(&message).unwrap_err();
    assert_eq!(error, DecryptError::TooManySkipped(jump));

    (header.previous_count, header.number) = (u32::MAX, 0);
    let message = forge(&peers.joiner, &header);
    let error = peers.initiator_reads(&message).unwrap_err();
    assert!(matches!(error, DecryptError::TooManySkipped(skips) if skips > MAX_SKIPPED));

    // In the current chain.
    peers.exchange();
    let message = peers.joiner_sends("a new chain");
    peers.initiator_reads(&message).unwrap();
    header = peers.joiner.header();
    for number in [u32::MAX, jump, 1 + MAX_SKIPPED + 1] {
        header.number = number;
        let message = forge(&peers.joiner, &header);
        let error = peers.initiator_reads(&message).unwrap_err();
        assert_eq!(error, DecryptError::TooManySkipped(number - 1));
    }
}

#[test]
fn as_many_messages_as_allowed_are_skipped_and_no_more() {
    for (skipped, opens) in [(MAX_SKIPPED, true), (MAX_SKIPPED + 1, false)] {
        for new_chain in [true, false] {
            let mut peers = Peers::talking(9, PqSupport::Off);
            if !new_chain {
                let message = peers.joiner_sends("the first of the chain");
                peers.initiator_reads(&message).unwrap();
            }
            let lost: Vec<_> = (0..skipped).map(|_| peers.joiner_sends("late")).collect();
            let message = peers.joiner_sends("in time");
            let result = peers.initiator_reads(&message);
            assert_eq!(result.is_ok(), opens, "{skipped}");
            if opens {
                assert_eq!(peers.initiator.skipped.len(), skipped as usize);
                for message in lost.iter().rev() {
                    assert_eq!(*peers.initiator_reads(message).unwrap().plain, *b"late");
                }
                assert_eq!(peers.initiator.skipped.len(), 0);
            } else {
                assert_eq!(result.unwrap_err(), DecryptError::TooManySkipped(skipped));
            }
        }
    }
}

#[test]
fn a_chain_s_end_that_is_missing_counts_too() {
    for (skipped, opens) in [(MAX_SKIPPED, true), (MAX_SKIPPED + 1, false)] {
        let mut peers = Peers::talking(10, PqSupport::Off);
        let message = peers.joiner_sends("the first of the chain");
        peers.initiator_reads(&message).unwrap();
        let lost: Vec<_> = (0..skipped).map(|_| peers.joiner_sends("late")).collect();
        let message = peers.initiator_sends("turn");
        peers.joiner_reads(&message).unwrap();
        let message = peers.joiner_sends("of the next chain");
        let result = peers.initiator_reads(&message);
        assert_eq!(result.is_ok(), opens);
        if opens {
            lost.iter().for_each(|message| {
                peers.initiator_reads(message).unwrap();
            });
        }
    }
}

#[test]
fn a_peer_that_counts_fewer_messages_than_came_is_refused() {
    let mut peers = Peers::talking(11, PqSupport::Off);
    let mut header = peers.joiner.header();
    assert_eq!(header.previous_count, 1);
    header.previous_count = 0;
    let message = forge(&peers.joiner, &header);
    let error = peers.initiator_reads(&message).unwrap_err();
    assert!(matches!(error, DecryptError::Malformed(_)));
}

#[test]
fn a_new_chain_in_an_older_version_is_refused() {
    let mut peers = Peers::talking(12, PqSupport::On);
    peers.joiner.versions.current = E2eVersion::V2;
    let message = peers.joiner_sends("as before");
    let error = peers.initiator_reads(&message).unwrap_err();
    assert_eq!(error, DecryptError::Downgrade(E2eVersion::V2));
}

#[test]
fn a_peer_that_says_it_knows_less_changes_no_version() {
    let mut peers = Peers::talking(13, PqSupport::Off);
    peers.joiner.versions.max = E2eVersion::V2;
    for _ in 0..2 {
        peers.exchange();
        assert_eq!(peers.initiator.version(), E2eVersion::V3);
    }
}

#[test]
fn late_messages_of_the_older_version_still_open() {
    let mut keys = keys(14);
    let own = InitiatorKeys::generate(&mut keys, false);
    let mut offered = own.params();
    offered.max = E2eVersion::V2;
    let (joiner, params) = Ratchet::joiner(&offered, PqSupport::Off, &mut keys).unwrap();
    let initiator = Ratchet::initiator(&own, &params, PqSupport::Off).unwrap();
    let mut peers = Peers {
        joiner,
        initiator,
        own,
        params,
        keys,
    };
    let messages = ["one", "two", "three"].map(|text| peers.joiner_sends(text));
    peers.initiator_reads(&messages[1]).unwrap();
    assert_eq!(peers.initiator.version(), E2eVersion::V3);
    peers.initiator_reads(&messages[2]).unwrap();
    let message = peers.initiator_sends("of the newer version");
    peers.joiner_reads(&message).unwrap();
    assert_eq!(peers.joiner.version(), E2eVersion::V3);
    peers.exchange();
    peers.initiator_reads(&messages[0]).unwrap();
}

#[test]
fn a_weak_key_in_a_header_is_refused() {
    let mut peers = Peers::talking(15, PqSupport::Off);
    let mut header = peers.joiner.header();
    header.key = X448PublicKey([0; X448_KEY_SIZE]);
    let message = forge(&peers.joiner, &header);
    let error = peers.initiator_reads(&message).unwrap_err();
    assert_eq!(error, DecryptError::WeakKey(WeakPublicKey));
}

#[test]
fn an_answer_to_a_kem_that_was_not_proposed_is_refused() {
    let mut peers = Peers::talking(16, PqSupport::Off);
    let mut header = peers.joiner.header();
    let pair = keys(17).kem_pair();
    header.kem = Some(KemParams::Accepted {
        ciphertext: KemCiphertext::from_bytes(&[1; 1039]),
        key: pair.public(),
    });
    peers.joiner.pq.support = PqSupport::On;
    let message = forge(&peers.joiner, &header);
    assert_eq!(
        peers.initiator_reads(&message).unwrap_err(),
        DecryptError::KemState
    );
}

#[test]
fn a_forged_message_draws_no_new_keys() {
    let mut peers = Peers::talking(18, PqSupport::On);
    let mut message = peers.joiner_sends("damaged");
    let last = message.len() - 1;
    message[last] ^= 1;
    // It would panic, having no keys to give.
    let mut none = Recorded::default();
    let error = peers.initiator.decrypt(&message, &mut none).unwrap_err();
    assert_eq!(error, DecryptError::Body);
}

/// A message with this header and a body that opens with no key of the chain.
fn forge(sender: &Ratchet, header: &MessageHeader) -> Vec<u8> {
    let chain = sender.sending.as_ref().unwrap();
    let step = chain.chain_key.step();
    let version = sender.version();
    let header = SealedHeader::seal(
        header,
        version,
        padded_header(version, sender.support()),
        &chain.header_key,
        &step.header_iv,
        &sender.associated_data,
    );
    message::seal(
        &sender.associated_data,
        &header,
        &step.message_key,
        b"forged",
        PADDED,
    )
}

#[test]
fn parameters_that_make_no_ratchet_are_refused() {
    let peers = Peers::new(19, PqSupport::On);
    let mut fresh = keys(20);
    let own = &peers.own;
    let initiate = |params: &_| Ratchet::initiator(own, params, PqSupport::On).unwrap_err();

    let mut newer = peers.params.clone();
    newer.version = E2eVersion(4);
    let version = AgreementError::Version {
        min: newer.version,
        max: newer.version,
    };
    assert_eq!(initiate(&newer), version);
    let mut offered = own.params();
    (offered.min, offered.max) = (newer.version, newer.version);
    let joined = Ratchet::joiner(&offered, PqSupport::On, &mut fresh);
    assert_eq!(joined.unwrap_err(), version);

    let weak = X448PublicKey([0; X448_KEY_SIZE]);
    let mut offered = own.params();
    offered.key_2 = weak;
    let joined = Ratchet::joiner(&offered, PqSupport::On, &mut fresh);
    assert_eq!(joined.unwrap_err(), AgreementError::WeakKey(WeakPublicKey));
    let mut params = peers.params.clone();
    params.key_1 = weak;
    assert_eq!(initiate(&params), AgreementError::WeakKey(WeakPublicKey));

    let mut reflected = peers.params.clone();
    reflected.key_1 = own.params().key_1;
    assert_eq!(initiate(&reflected), AgreementError::OwnKeys);
    let reflected = own.params().newest().unwrap();
    let joined = Ratchet::joiner_with(own, &reflected, PqSupport::On, &mut fresh);
    assert_eq!(joined.unwrap_err(), AgreementError::OwnKeys);
}

#[test]
fn an_accepted_kem_needs_a_proposal() {
    let mut fresh = keys(21);
    let peers = Peers::new(22, PqSupport::On);
    let without = InitiatorKeys {
        kem: None,
        ..peers.own.clone()
    };
    let initiated = Ratchet::initiator(&without, &peers.params, PqSupport::On);
    assert_eq!(initiated.unwrap_err(), AgreementError::KemState);
    let own = InitiatorKeys::generate(&mut fresh, true);
    let joined = Ratchet::joiner_with(&own, &peers.params, PqSupport::On, &mut fresh);
    assert_eq!(joined.unwrap_err(), AgreementError::KemState);
    let offered = peers.params.clone().into();
    let joined = Ratchet::joiner(&offered, PqSupport::On, &mut fresh);
    assert_eq!(joined.unwrap_err(), AgreementError::KemState);
}

#[test]
fn what_cannot_be_encrypted_changes_nothing() {
    let mut peers = Peers::new(23, PqSupport::On);
    let before = peers.initiator.to_bytes();
    let refused = peers.initiator.encrypt(b"too early", PADDED, Some(true));
    assert_eq!(refused.unwrap_err(), EncryptError::NoSendingChain);
    assert_eq!(peers.initiator.to_bytes(), before);

    let before = peers.joiner.to_bytes();
    for (length, padded) in [(PADDED - 1, PADDED), (0, 1), (65_536, 70_000)] {
        let refused = peers.joiner.encrypt(&vec![1; length], padded, Some(false));
        assert_eq!(
            refused.unwrap_err(),
            EncryptError::TooLong { length, padded }
        );
    }
    assert_eq!(peers.joiner.to_bytes(), before);
    peers
        .joiner
        .encrypt(&[1; PADDED - 2], PADDED, None)
        .unwrap();

    peers.joiner.sent = u32::MAX;
    let refused = peers.joiner.encrypt(b"one more", PADDED, None);
    assert_eq!(refused.unwrap_err(), EncryptError::ChainFull);
}

#[test]
fn two_peers_make_a_new_ratchet_out_of_what_both_sent() {
    for pq in [PqSupport::Off, PqSupport::On] {
        let mut keys = keys(24);
        let mut both = [(); 2].map(|()| InitiatorKeys::generate(&mut keys, pq == PqSupport::On));
        both.sort_by_key(InitiatorKeys::hash);
        let [smaller, larger] = both;
        let params = |own: &InitiatorKeys| own.params().newest().unwrap();
        let joiner = Ratchet::joiner_with(&larger, &params(&smaller), pq, &mut keys).unwrap();
        let initiator = Ratchet::initiator(&smaller, &params(&larger), pq).unwrap();
        let params = params(&larger);
        let mut peers = Peers {
            joiner,
            initiator,
            own: smaller,
            params,
            keys,
        };
        peers.exchange();
        peers.exchange();
        assert_eq!(peers.joiner.pq_sending(), pq == PqSupport::On);
    }
}

#[test]
fn a_copy_that_was_set_back_reads_what_it_read_before() {
    let mut peers = Peers::talking(25, PqSupport::On);
    let mut older = copy(&peers.initiator);
    let message = peers.joiner_sends("twice");
    peers.initiator_reads(&message).unwrap();
    // Nothing was acknowledged, so the message comes again to what was stored.
    assert_eq!(
        *receive(&mut older, &message, &mut peers.keys)
            .unwrap()
            .plain,
        *b"twice"
    );
}
