//! Every signature and authenticator, made again with the recorded keys and verified.

use serde_json::Value;
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, Authorization, BoxKey, CorrId, DhPublicKey, DhSecret, Reader,
    SessionKey, SessionParams, SignedBytes, SmpVersion, Transmission, Unsigned, authorize, verify,
    verify_dummy,
};

use crate::golden::hex;
use crate::session::{array, sessions};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) signatures: usize,
    pub(crate) authenticators: usize,
    pub(crate) none: usize,
    /// How many recordings have the authorised bytes as well.
    pub(crate) signed_bytes: usize,
    /// Changed authorizations that were refused.
    pub(crate) refused: usize,
}

#[test]
fn every_authorization_is_made_again_and_verified() {
    let mut counts = Counts::default();
    for session in sessions() {
        for recorded in session.blocks.iter().flat_map(|block| &block.transmissions) {
            let key = session.relay_key.as_ref();
            check(
                &recorded.bytes,
                &recorded.value,
                &session.params,
                key,
                &mut counts,
            );
        }
    }
    let expected = Counts {
        signatures: 24,
        authenticators: 194,
        none: 363,
        signed_bytes: 56,
        refused: 24 * 512 + 194 * 640 + 2 * (24 + 194),
    };
    assert_eq!(counts, expected);
}

#[test]
fn a_signature_in_version_6_covers_the_session_id_that_was_sent() {
    let mut signatures = 0;
    for session in sessions() {
        for recorded in session.blocks.iter().flat_map(|block| &block.transmissions) {
            if session.params.version > SmpVersion::CREATE_ONLY
                || recorded.value["authorization"] == ""
            {
                continue;
            }
            let transmission = Transmission::decode(&recorded.bytes, &session.params).unwrap();
            let signed = transmission.signed_bytes(&session.params).to_vec();
            assert!(recorded.bytes.ends_with(&signed));
            assert!(signed[1..].starts_with(session.params.session_id.as_bytes()));
            signatures += 1;
        }
    }
    assert_eq!(signatures, 16);
}

/// Decodes one transmission, makes its authorization and its bytes again, and verifies it.
pub(crate) fn check(
    bytes: &[u8],
    recorded: &Value,
    params: &SessionParams,
    relay_key: Option<&DhPublicKey>,
    counts: &mut Counts,
) {
    let transmission = Transmission::decode(bytes, params).unwrap();
    assert!(transmission.service_signature.is_none());
    let by = &recorded["authorization_by"];
    if by.is_null() {
        assert!(transmission.authorization.is_none());
        counts.none += 1;
        return;
    }
    let corr_id = transmission.corr_id.unwrap();
    let unsigned = Unsigned::new(params, Some(&corr_id), &transmission.entity, |out| {
        out.extend_from_slice(transmission.command);
        Ok::<(), ()>(())
    })
    .unwrap();
    let signed = unsigned.signed_bytes(params);
    assert_eq!(signed.to_vec(), transmission.signed_bytes(params).to_vec());
    if let Some(recorded) = by.get("authorized_bytes") {
        assert_eq!(signed.to_vec(), hex(recorded));
        counts.signed_bytes += 1;
    }

    let key = private_key(by);
    let made = authorize(&key, relay_key, &corr_id, &signed).unwrap();
    assert_eq!(made, transmission.authorization);
    let mut again = Vec::new();
    unsigned.encode(params, &made, None, &mut again);
    assert_eq!(again, bytes);
    verify_and_refuse(&key, relay_key, &made, &corr_id, &signed, counts);
}

fn private_key(by: &Value) -> AuthPrivateKey {
    let key = match by["kind"].as_str().unwrap() {
        "ed25519 signature" => {
            AuthPrivateKey::from_bytes(AuthKeyKind::Ed25519, &array(&by["seed"]))
        }
        "x25519 authenticator" => {
            AuthPrivateKey::from_bytes(AuthKeyKind::X25519, &array(&by["private_key"]))
        }
        kind => panic!("{kind}"),
    };
    let spki = key.public().to_spki();
    assert!(spki.ends_with(&hex(&by["public_key"])));
    key
}

fn verify_and_refuse(
    key: &AuthPrivateKey,
    relay_key: Option<&DhPublicKey>,
    made: &Authorization,
    corr_id: &CorrId,
    signed: &SignedBytes<'_>,
    counts: &mut Counts,
) {
    let public = key.public();
    // The relay's private key is not recorded; what it agrees with the queue's is the same.
    let agreed = match key {
        AuthPrivateKey::Ed25519(_) => None,
        AuthPrivateKey::X25519(key) => Some(BoxKey::from(
            DhSecret::agree(key, relay_key.unwrap()).unwrap(),
        )),
    };
    let session_key = agreed.as_ref().map_or(SessionKey::None, SessionKey::Agreed);
    assert!(verify(&public, session_key, made, corr_id, signed));
    verify_dummy(session_key, made, corr_id, signed);
    match made {
        Authorization::Signature(_) => counts.signatures += 1,
        Authorization::Authenticator(_) => counts.authenticators += 1,
        Authorization::None => panic!("no authorization"),
    }

    let mut bytes = Vec::new();
    made.encode(&mut bytes);
    for bit in 0..(bytes.len() - 1) * 8 {
        let mut changed = bytes.clone();
        changed[1 + bit / 8] ^= 1 << (bit % 8);
        let changed = Authorization::decode(&mut Reader::new(&changed)).unwrap();
        assert!(!verify(&public, session_key, &changed, corr_id, signed));
        counts.refused += 1;
    }
    // Another service, and another kind of key.
    assert!(!verify(
        &public,
        session_key,
        made,
        corr_id,
        &signed.with_service(&[0; 32])
    ));
    let other = match key.kind() {
        AuthKeyKind::Ed25519 => AuthKeyKind::X25519,
        AuthKeyKind::X25519 => AuthKeyKind::Ed25519,
    };
    let other = AuthPrivateKey::from_bytes(other, key.as_bytes()).public();
    assert!(!verify(&other, session_key, made, corr_id, signed));
    counts.refused += 2;
}
