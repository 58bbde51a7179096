//! Media key agreement, against keys that SimpleX's own programs reported.

use call_core::{CallKeyPair, KeyError, MediaKey};
use call_signal::{CallDhPublicKey, CallId, CallVersion};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde_json::Value;

const CALL: CallId = CallId([7; 16]);

#[test]
fn both_sides_derive_the_keys_of_the_recorded_calls() {
    let recorded: Value = serde_json::from_str(include_str!("vectors/calls.json")).unwrap();
    let mut seen = 0;
    for call in recorded["calls"].as_array().unwrap() {
        if call["caller_dh_private"].is_null() {
            continue;
        }
        let bytes = |name: &str| unhex(call[name].as_str().unwrap());
        let caller = CallKeyPair::from_secret_bytes(&array(&bytes("caller_dh_private")));
        let callee = CallKeyPair::from_secret_bytes(&array(&bytes("callee_dh_private")));
        assert_eq!(caller.public_key().0.to_vec(), bytes("caller_dh_public"));
        assert_eq!(callee.public_key().0.to_vec(), bytes("callee_dh_public"));

        let id = CallId(array(&bytes("call_id_hex")));
        for (version, expected) in [
            (CallVersion::V1, "x25519_shared_secret"),
            (CallVersion::V2, "computed_call_version_2_key"),
        ] {
            let expected = MediaKey::from_bytes(&array(&bytes(expected)));
            assert!(caller.agree(&callee.public_key(), version, &id).unwrap() == expected);
            assert!(callee.agree(&caller.public_key(), version, &id).unwrap() == expected);
        }
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn version_2_gives_another_key_in_another_call_and_version_1_does_not() {
    let (a, b) = (pair(1), pair(2));
    let key = |version, id| {
        a.agree(&b.public_key(), version, &CallId([id; 16]))
            .unwrap()
    };
    assert!(key(CallVersion::V1, 1) == key(CallVersion::V1, 2));
    assert!(key(CallVersion::V2, 1) != key(CallVersion::V2, 2));
    assert!(key(CallVersion::V1, 1) != key(CallVersion::V2, 1));
}

#[test]
fn every_low_order_point_is_refused() {
    // All u-coordinates whose order divides 8, on the curve and its twist, reduced and not
    // (RFC 7748 §6.1 and §7).
    let hex = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in hex {
        for high_bit in [0, 0x80] {
            let mut point: [u8; 32] = array(&unhex(point));
            point[31] |= high_bit;
            for version in [CallVersion::V1, CallVersion::V2] {
                let refused = pair(3).agree(&CallDhPublicKey(point), version, &CALL);
                assert_eq!(refused.unwrap_err(), KeyError::LowOrderPeerKey);
            }
        }
    }
}

#[test]
fn the_own_key_sent_back_is_refused_also_with_its_unused_bit_set() {
    let own = pair(4);
    for high_bit in [0, 0x80] {
        let mut reflected = own.public_key();
        reflected.0[31] |= high_bit;
        let refused = own.agree(&reflected, CallVersion::V2, &CALL);
        assert_eq!(refused.unwrap_err(), KeyError::ReflectedPeerKey);
    }
}

#[test]
fn an_unknown_version_is_refused() {
    for version in [CallVersion(0), CallVersion(3), CallVersion(u16::MAX)] {
        let refused = pair(5).agree(&pair(6).public_key(), version, &CALL);
        assert_eq!(refused.unwrap_err(), KeyError::UnsupportedVersion(version));
    }
}

#[test]
fn nothing_secret_is_printed() {
    let pair = pair(8);
    let key = pair
        .agree(&self::pair(9).public_key(), CallVersion::V1, &CALL)
        .unwrap();
    assert_eq!(format!("{pair:?} {key:?}"), "CallKeyPair(..) MediaKey(..)");
}

proptest::proptest! {
    #[test]
    fn any_two_sides_agree_and_no_peer_key_panics(
        a: [u8; 32], b: [u8; 32], id: [u8; 16], version in 1u16..=2,
    ) {
        let (left, right) = (CallKeyPair::from_secret_bytes(&a), CallKeyPair::from_secret_bytes(&b));
        let (version, id) = (CallVersion(version), CallId(id));
        let one = left.agree(&right.public_key(), version, &id);
        proptest::prop_assert_eq!(one, right.agree(&left.public_key(), version, &id));
        let _ = left.agree(&CallDhPublicKey(b), version, &id);
    }
}

fn pair(seed: u64) -> CallKeyPair {
    CallKeyPair::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .filter_map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok())
        .collect()
}
