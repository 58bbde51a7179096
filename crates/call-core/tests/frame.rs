//! Frame encryption, against frames that SimpleX's own function made.

use call_core::{
    FRAME_OVERHEAD, FrameDecryptor, FrameEncryptor, FrameError, FrameKind, MAX_FRAME_LEN, MediaKey,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde_json::Value;

const KINDS: [FrameKind; 4] = [
    FrameKind::Audio,
    FrameKind::VideoKey,
    FrameKind::VideoDelta,
    FrameKind::VideoEmpty,
];

#[test]
fn recorded_frames_decrypt_to_what_went_in() {
    let (vectors, mut decryptor) = vectors();
    let (mut whole, mut short) = (0, 0);
    for frame in vectors["frames"].as_array().unwrap() {
        let (kind, sealed) = recorded(frame);
        let mut in_place = sealed.clone();
        let opened = decryptor.decrypt(kind, &sealed);
        assert_eq!(
            decryptor.decrypt_in_place(kind, &mut in_place).err(),
            opened.clone().err()
        );
        if frame["decrypts_to"] == "same" {
            assert_eq!(
                opened.unwrap(),
                unhex(&frame["frame_in"]),
                "{}",
                frame["name"]
            );
            assert_eq!(in_place, unhex(&frame["frame_in"]));
            whole += 1;
        } else {
            // Shorter than the clear header: the browser's function returns bytes of the IV.
            assert_eq!(
                opened.unwrap_err(),
                FrameError::Truncated,
                "{}",
                frame["name"]
            );
            short += 1;
        }
    }
    assert_eq!((whole, short), (9, 2));
    assert_eq!(decryptor.stats().decrypted, 2 * whole);
    assert_eq!(decryptor.stats().refused, 2 * short);
    assert_eq!(decryptor.stats().header_only, 2 * 3);
}

#[test]
fn recorded_tampered_frames_are_refused_unless_only_the_clear_header_changed() {
    let (vectors, mut decryptor) = vectors();
    for frame in vectors["tampered"].as_array().unwrap() {
        let (kind, sealed) = recorded(frame);
        let opened = decryptor.decrypt(kind, &sealed);
        match frame["result"].as_str().unwrap() {
            "ok" => assert_eq!(opened.unwrap()[..10], sealed[..10]),
            _ => assert_eq!(
                opened.unwrap_err(),
                FrameError::NotAuthentic,
                "{}",
                frame["name"]
            ),
        }
    }
}

#[test]
fn the_kind_of_recorded_video_frames_is_read_off_their_first_byte() {
    let (vectors, _) = vectors();
    for frame in vectors["frames"].as_array().unwrap() {
        let (kind, sealed) = recorded(frame);
        if matches!(kind, FrameKind::VideoKey | FrameKind::VideoDelta) {
            assert_eq!(FrameKind::of_vp8(&sealed), kind);
            assert_eq!(FrameKind::of_vp8(&unhex(&frame["frame_in"])), kind);
        }
    }
}

#[test]
fn any_flipped_bit_outside_of_the_clear_header_is_refused() {
    for kind in KINDS {
        let sealed = encryptor(1).encrypt(kind, &[0x5a; 40]).unwrap();
        let mut decryptor = FrameDecryptor::new(&key());
        for bit in kind.clear_len() * 8..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let before = flipped.clone();
            assert_eq!(
                decryptor.decrypt(kind, &flipped),
                Err(FrameError::NotAuthentic)
            );
            assert_eq!(
                decryptor.decrypt_in_place(kind, &mut flipped),
                Err(FrameError::NotAuthentic)
            );
            assert_eq!(flipped, before, "a refused frame is unchanged");
        }
    }
}

#[test]
fn a_flipped_bit_in_the_clear_header_passes_because_the_format_does_not_protect_it() {
    let mut sealed = encryptor(1).encrypt(FrameKind::Audio, b"frame").unwrap();
    sealed[0] ^= 1;
    let opened = FrameDecryptor::new(&key())
        .decrypt(FrameKind::Audio, &sealed)
        .unwrap();
    assert_eq!(opened, b"grame");
}

#[test]
fn a_frame_of_another_key_is_refused() {
    let sealed = encryptor(1).encrypt(FrameKind::Audio, b"frame").unwrap();
    let mut other = FrameDecryptor::new(&MediaKey::from_bytes(&[9; 32]));
    assert_eq!(
        other.decrypt(FrameKind::Audio, &sealed),
        Err(FrameError::NotAuthentic)
    );
}

#[test]
fn a_frame_of_just_its_header_is_written_with_a_tag_that_browsers_and_native_peers_take() {
    for kind in KINDS {
        let frame = vec![1; kind.clear_len()];
        let sealed = encryptor(1).encrypt(kind, &frame).unwrap();
        assert_eq!(sealed.len(), frame.len() + FRAME_OVERHEAD);
        let mut decryptor = FrameDecryptor::new(&key());
        assert_eq!(decryptor.decrypt(kind, &sealed).unwrap(), frame);
        assert_eq!(decryptor.stats().header_only, 0);
    }
}

#[test]
fn a_frame_shorter_than_its_header_is_neither_sent_nor_taken() {
    for kind in KINDS {
        for len in 0..kind.clear_len() {
            let frame = vec![1; len];
            assert_eq!(
                encryptor(1).encrypt(kind, &frame),
                Err(FrameError::Truncated)
            );
            for tail in [12, 28] {
                let sealed = vec![1; len + tail];
                let opened = FrameDecryptor::new(&key()).decrypt(kind, &sealed);
                assert!(opened.is_err(), "{kind:?}, {len} and {tail} bytes");
            }
        }
    }
}

#[test]
fn frames_over_the_limit_are_refused_both_ways() {
    let mut encryptor = encryptor(1);
    let longest = vec![1; MAX_FRAME_LEN];
    let sealed = encryptor.encrypt(FrameKind::VideoDelta, &longest).unwrap();
    let mut decryptor = FrameDecryptor::new(&key());
    assert_eq!(
        decryptor.decrypt(FrameKind::VideoDelta, &sealed).unwrap(),
        longest
    );

    let too_long = vec![1; MAX_FRAME_LEN + 1];
    let refused = Err(FrameError::TooLarge(too_long.len()));
    assert_eq!(encryptor.encrypt(FrameKind::VideoDelta, &too_long), refused);
    let mut in_place = too_long.clone();
    assert_eq!(
        encryptor.encrypt_in_place(FrameKind::VideoDelta, &mut in_place),
        refused.map(drop)
    );
    assert_eq!(in_place, too_long);
    assert_eq!(
        (encryptor.stats().encrypted, encryptor.stats().refused),
        (1, 2)
    );

    let too_long = vec![1; sealed.len() + 1];
    let refused = decryptor.decrypt(FrameKind::VideoDelta, &too_long);
    assert_eq!(refused, Err(FrameError::TooLarge(too_long.len())));
    assert_eq!(
        (decryptor.stats().decrypted, decryptor.stats().refused),
        (1, 1)
    );
}

#[test]
fn no_two_frames_have_the_same_iv_and_the_seed_decides_them() {
    let ivs = |seed| {
        let mut encryptor = encryptor(seed);
        let ivs =
            (0..10_000).map(|_| encryptor.encrypt(FrameKind::Audio, b"x").unwrap()[17..].to_vec());
        ivs.collect::<Vec<_>>()
    };
    let mut all = ivs(1);
    assert_eq!(all, ivs(1));
    all.extend(ivs(2));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 20_000);
}

#[test]
fn no_key_is_printed() {
    let text = format!("{:?} {:?}", encryptor(1), FrameDecryptor::new(&key()));
    assert!(!text.contains("42") && !text.contains("cipher"), "{text}");
}

proptest! {
    #[test]
    fn frames_come_back_in_a_new_buffer_and_in_place(
        kind in prop::sample::select(&KINDS[..]),
        frame in prop::collection::vec(any::<u8>(), 10..500),
    ) {
        let (mut encryptor, mut decryptor) = (encryptor(3), FrameDecryptor::new(&key()));
        let mut sealed = encryptor.encrypt(kind, &frame).unwrap();
        prop_assert_eq!(sealed.len(), frame.len() + FRAME_OVERHEAD);
        prop_assert_eq!(&sealed[..kind.clear_len()], &frame[..kind.clear_len()]);
        prop_assert_eq!(&decryptor.decrypt(kind, &sealed).unwrap(), &frame);
        decryptor.decrypt_in_place(kind, &mut sealed).unwrap();
        prop_assert_eq!(sealed, frame);
    }

    #[test]
    fn no_bytes_make_the_decryptor_panic_or_pass_as_authentic(
        kind in prop::sample::select(&KINDS[..]),
        frame in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let opened = FrameDecryptor::new(&key()).decrypt(kind, &frame);
        prop_assert_eq!(opened.is_ok(), frame.len() == kind.clear_len() + 12);
    }
}

fn key() -> MediaKey {
    MediaKey::from_bytes(&[42; 32])
}

fn encryptor(seed: u64) -> FrameEncryptor {
    FrameEncryptor::new(&key(), &mut ChaCha20Rng::seed_from_u64(seed))
}

fn vectors() -> (Value, FrameDecryptor) {
    let vectors = serde_json::from_str(include_str!("vectors/call_frames.json"));
    let vectors: Value = vectors.unwrap_or_else(|error| panic!("{error}"));
    let mut key = [0; MediaKey::LEN];
    key.copy_from_slice(&unhex(&vectors["key"]));
    (vectors, FrameDecryptor::new(&MediaKey::from_bytes(&key)))
}

fn recorded(frame: &Value) -> (FrameKind, Vec<u8>) {
    let kind = match frame["frame_type"].as_str() {
        None => FrameKind::Audio,
        Some("key") => FrameKind::VideoKey,
        Some("delta") => FrameKind::VideoDelta,
        Some(_) => FrameKind::VideoEmpty,
    };
    (kind, unhex(&frame["frame_out"]))
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap_or_else(|| panic!("no text: {text}"));
    (0..text.len())
        .step_by(2)
        .filter_map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok())
        .collect()
}
