//! Candidates, SDP, server lists and encrypted frames.

use std::net::IpAddr;

use call_core::{
    Candidate, FRAME_OVERHEAD, FrameDecryptor, FrameEncryptor, FrameKind, MAX_CANDIDATE_EXTENSIONS,
    MAX_FINGERPRINTS, MAX_ICE_SERVERS, MAX_MEDIA_SECTIONS, MAX_REMOTE_CANDIDATES, MediaKey,
    RemoteCandidates, SdpSummary, filter_candidate, filter_sdp, parse_servers,
};
use call_signal::IceCandidate;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

/// The key of the recorded frames in the corpus, made for them alone.
const FRAME_KEY: [u8; 32] = [
    0xf8, 0x01, 0x57, 0xd4, 0xa0, 0x23, 0xcc, 0x89, 0x37, 0x36, 0xdb, 0x62, 0x43, 0x25, 0xb1, 0x25,
    0xd7, 0x29, 0x93, 0xed, 0x1d, 0x48, 0x86, 0x3b, 0xf1, 0xaf, 0x5e, 0x8b, 0x1d, 0xe4, 0x00, 0xaf,
];

const FRAME_KINDS: [FrameKind; 4] = [
    FrameKind::Audio,
    FrameKind::VideoKey,
    FrameKind::VideoDelta,
    FrameKind::VideoEmpty,
];

/// One candidate. What is taken has a stable canonical form, and what passes the relay policy is a
/// relay without a related address of its own.
pub fn candidate_line(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(candidate) = text.parse::<Candidate>() {
        assert!(candidate.extensions().len() <= MAX_CANDIDATE_EXTENSIONS);
        assert!(candidate.to_string().parse() == Ok(candidate));
    }
    let candidate = IceCandidate {
        candidate: text.to_owned(),
        ..IceCandidate::default()
    };
    if let Some(filtered) = filter_candidate(&candidate) {
        assert_eq!(filter_candidate(&filtered).as_ref(), Some(&filtered));
        assert!(text.is_empty() || filtered.candidate.contains(" typ relay"));
    }
    let mut remote = RemoteCandidates::new();
    if let Ok(taken) = remote.take(&candidate) {
        assert!(remote.take(&taken).is_err(), "a candidate is taken twice");
        remote.restart();
        assert_eq!(
            remote.take(&taken),
            Ok(taken),
            "the canonical form is another candidate"
        );
    }
}

/// An SDP. The reader keeps its limits, no address but a relay's leaves, and a peer's candidates
/// that were taken once are taken the same way again.
pub fn sdp(data: &[u8]) {
    let Ok(sdp) = str::from_utf8(data) else {
        return;
    };
    if let Ok(summary) = SdpSummary::parse(sdp) {
        assert!((1..=MAX_MEDIA_SECTIONS).contains(&summary.media().len()));
        assert!((1..=MAX_FINGERPRINTS).contains(&summary.fingerprints().len()));
    }
    let ours = filter_sdp(sdp);
    for line in ours
        .split(['\r', '\n'])
        .filter(|line| !may_hold_addresses(line))
    {
        let address = line
            .split(|c: char| !c.is_ascii_alphanumeric() && !":.".contains(c))
            .find(|word| {
                word.parse().is_ok_and(|address: IpAddr| {
                    !address.is_unspecified() && !address.is_loopback()
                })
            });
        assert_eq!(address, None, "an address leaves in {line:?}");
    }
    let mut remote = RemoteCandidates::new();
    let theirs = remote.filter_sdp(sdp);
    assert!(remote.taken() <= MAX_REMOTE_CANDIDATES);
    assert_eq!(RemoteCandidates::new().filter_sdp(&theirs), theirs);
}

/// A relay's own address, and the bytes of a certificate's digest, which may look like one.
fn may_hold_addresses(line: &str) -> bool {
    line.starts_with("a=candidate:") || line.starts_with("a=fingerprint:")
}

/// A list of ICE servers. Each that is taken is the same server when it is written and read again,
/// and its URL holds no password.
pub fn ice_servers(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(servers) = parse_servers(text) else {
        return;
    };
    assert!(servers.len() <= MAX_ICE_SERVERS);
    for server in servers {
        assert!(!server.url().contains('@'));
        let again = parse_servers(&server.to_line());
        assert!(
            again.is_ok_and(|again| again == [server]),
            "a server changes when written"
        );
    }
}

/// A frame behind a byte that chooses its kind: decrypted, which both functions do alike, and
/// encrypted, which decryption undoes.
pub fn frame(data: &[u8]) {
    let Some((&kind, frame)) = data.split_first() else {
        return;
    };
    let kind = FRAME_KINDS[usize::from(kind) % FRAME_KINDS.len()];
    let key = MediaKey::from_bytes(&FRAME_KEY);
    let mut decryptor = FrameDecryptor::new(&key);
    let opened = decryptor.decrypt(kind, frame);
    let mut in_place = frame.to_vec();
    let result = decryptor.decrypt_in_place(kind, &mut in_place);
    match &opened {
        Ok(opened) => assert_eq!((result, &in_place), (Ok(()), opened)),
        Err(error) => assert_eq!((result, in_place.as_slice()), (Err(*error), frame)),
    }

    let mut encryptor = FrameEncryptor::new(&key, &mut ChaCha20Rng::seed_from_u64(0));
    if let Ok(sealed) = encryptor.encrypt(kind, frame) {
        assert_eq!(sealed.len(), frame.len() + FRAME_OVERHEAD);
        assert_eq!(decryptor.decrypt(kind, &sealed).as_deref(), Ok(frame));
    }
}
