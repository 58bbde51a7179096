//! Certificates: made, kept in files, refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use common::*;
use openssl::x509::X509;
use smp_protocol::Fingerprint;
use smp_protocol::SignatureAlgorithm::{Ed448, Ed25519};
use smp_transport::{
    Certificate, ChainError, CredentialsError, FileError, IfExists, Purpose, SigningKey,
    TlsCredentials, Validity, WebCredentials, read_certificates, verify_chain,
    verify_service_chain, write_certificates, write_key,
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> SystemTime {
    SystemTime::now()
}

// --- Made ----------------------------------------------------------------------------------------

#[test]
fn chains_of_two_three_and_four_are_valid_and_known_by_their_second_certificate() {
    for algorithm in BOTH {
        for length in 2..=4 {
            let relay = relay(length, algorithm);
            assert_eq!(relay.chain().len(), length);
            let second = relay.chain()[1].to_der().unwrap();
            assert_eq!(relay.identity(), Fingerprint::of(&second));
            verify_chain(relay.chain(), &relay.identity(), now()).unwrap();
        }
    }
}

#[test]
fn certificates_name_the_keys_of_their_issuers() {
    let chain = to_x509(relay(3, Ed448).chain());
    let subject = |certificate: &X509| certificate.subject_key_id().unwrap().as_slice().to_vec();
    let issuer = |certificate: &X509| certificate.authority_key_id().unwrap().as_slice().to_vec();
    assert_eq!(issuer(&chain[0]), subject(&chain[1]));
    assert_eq!(issuer(&chain[1]), subject(&chain[2]));
    assert_eq!(issuer(&chain[2]), subject(&chain[2]));
}

#[test]
fn the_same_randomness_makes_the_same_keys() {
    let one = SigningKey::generate(Ed448, &mut rng()).unwrap();
    let same = SigningKey::generate(Ed448, &mut rng()).unwrap();
    assert_eq!(one.to_pem().unwrap(), same.to_pem().unwrap());
}

#[test]
fn an_expiry_date_can_be_read() {
    let begin = SystemTime::UNIX_EPOCH + 30_000 * DAY;
    for days in [1, 36_500, 1_000_000] {
        let validity = Validity::from_now(begin, days);
        let purpose = Purpose::Authority;
        let root = TlsCredentials::self_signed(purpose, "a", validity, Ed25519, &mut rng());
        assert_eq!(root.unwrap().leaf().validity().unwrap(), validity);
    }
}

#[test]
fn only_an_authority_signs_others_and_only_under_new_names() {
    let relay = relay(2, Ed25519);
    let issued = relay.issue(Purpose::Relay, "x", long(), Ed25519, &mut rng());
    assert!(matches!(issued, Err(CredentialsError::NotAnAuthority)));
    let root = authority(Ed25519, "root", 1);
    let issued = root.issue(Purpose::Relay, "root", long(), Ed25519, &mut rng());
    assert!(matches!(issued, Err(CredentialsError::SameName)));
    let mut four = root;
    for name in ["a", "b", "c"] {
        four = below(&four, Purpose::Authority, name);
    }
    let issued = four.issue(Purpose::Relay, "d", long(), Ed25519, &mut rng());
    assert!(matches!(issued, Err(CredentialsError::TooLong)));
    let long_name = "n".repeat(65);
    let purpose = Purpose::Authority;
    let named = TlsCredentials::self_signed(purpose, &long_name, long(), Ed25519, &mut rng());
    assert!(matches!(named, Err(CredentialsError::OpenSsl(_))));
}

#[test]
fn a_certificate_with_something_behind_it_is_none() {
    let mut der = authority(Ed25519, "root", 1).leaf().to_der().unwrap();
    assert!(Certificate::from_der(&der).is_ok());
    der.push(0);
    assert!(Certificate::from_der(&der).is_err());
}

#[test]
fn debug_shows_nothing_of_certificates_and_keys() {
    let relay = relay(2, Ed25519);
    assert_eq!(format!("{relay:?}"), "TlsCredentials");
    assert_eq!(format!("{:?}", relay.key()), "SigningKey");
    assert_eq!(format!("{:?}", relay.leaf()), "Certificate");
}

// --- Refused -------------------------------------------------------------------------------------

fn refused(chain: &[Certificate], now: SystemTime) -> ChainError {
    let identity = chain[1].fingerprint().unwrap();
    verify_chain(chain, &identity, now).unwrap_err()
}

#[test]
fn dates_are_checked_for_every_certificate_of_the_chain() {
    let (begin, rng) = (now(), &mut rng());
    let mut root = Validity::from_now(begin, 10);
    let root_end = root.not_after;
    let authority = TlsCredentials::self_signed(Purpose::Authority, "a", root, Ed25519, rng);
    root.not_after += 10 * DAY;
    let relay = authority
        .unwrap()
        .issue(Purpose::Relay, "b", root, Ed25519, rng)
        .unwrap();
    let chain = relay.chain();
    verify_chain(chain, &relay.identity(), root_end - 2 * SECOND).unwrap();
    let error = refused(chain, root_end);
    assert!(
        matches!(error, ChainError::Expired { position: 1 }),
        "{error}"
    );
    let error = refused(chain, root_end + 10 * DAY);
    assert!(matches!(error, ChainError::Expired { .. }), "{error}");
    let error = refused(chain, begin - DAY);
    assert!(matches!(error, ChainError::NotYetValid { .. }), "{error}");
}

#[test]
fn a_chain_that_is_not_in_its_line_of_signatures_is_refused() {
    let four = relay(4, Ed25519);
    let [leaf, online, offline, root] = four.chain() else {
        panic!()
    };
    let wrong = [
        vec![leaf, online, root, offline],
        vec![leaf, online, root],
        vec![leaf, offline, online, root],
        vec![leaf, online, offline],
        vec![leaf, online],
        vec![leaf, online, online, offline],
        vec![root, root],
        vec![leaf, root],
    ];
    for chain in wrong {
        let chain: Vec<_> = chain.into_iter().cloned().collect();
        let error = refused(&chain, now());
        assert!(matches!(error, ChainError::BrokenLink { .. }), "{error}");
    }
}

#[test]
fn an_issuer_of_the_same_name_with_another_key_is_refused() {
    let (real, forged) = (authority(Ed448, "root", 1), authority(Ed448, "root", 2));
    let relay = below(&real, Purpose::Relay, "relay");
    let chain = [relay.leaf().clone(), forged.leaf().clone()];
    let error = refused(&chain, now());
    assert!(
        matches!(error, ChainError::BrokenLink { position: 0 }),
        "{error}"
    );
}

#[test]
fn a_changed_certificate_is_refused() {
    let relay = relay(2, Ed25519);
    let mut der = relay.leaf().to_der().unwrap();
    *der.last_mut().unwrap() ^= 1;
    let chain = [
        Certificate::from_der(&der).unwrap(),
        relay.chain()[1].clone(),
    ];
    let error = refused(&chain, now());
    assert!(
        matches!(error, ChainError::BrokenLink { position: 0 }),
        "{error}"
    );
    // The authority's own signature counts as well, although its fingerprint is known.
    let mut der = relay.chain()[1].to_der().unwrap();
    *der.last_mut().unwrap() ^= 1;
    let chain = [relay.leaf().clone(), Certificate::from_der(&der).unwrap()];
    let error = refused(&chain, now());
    assert!(
        matches!(error, ChainError::BrokenLink { position: 1 }),
        "{error}"
    );
}

#[test]
fn one_who_is_no_authority_signs_nothing() {
    let root = authority(Ed25519, "root", 1);
    let by_hand = |is_authority| {
        let (middle, key) = sign_by_hand(&root, "middle", is_authority);
        let middle = vec![to_certificate(&middle), root.leaf().clone()];
        TlsCredentials::new(middle, to_key(&key)).unwrap()
    };
    let relay = below(&root, Purpose::Relay, "relay");
    for middle in [by_hand(None), by_hand(Some(false)), relay] {
        let (leaf, _) = sign_by_hand(&middle, "leaf", None);
        let chain = [&[to_certificate(&leaf)], middle.chain()].concat();
        let error = refused(&chain, now());
        assert!(
            matches!(error, ChainError::NotAnAuthority { position: 1 }),
            "{error}"
        );
    }
}

#[test]
fn a_service_may_have_one_certificate_and_at_most_four() {
    let service = service();
    assert_eq!(
        verify_service_chain(service.chain(), now()).unwrap(),
        service.identity()
    );
    let relay = relay(4, Ed25519);
    assert_eq!(
        verify_service_chain(relay.chain(), now()).unwrap(),
        relay.identity()
    );
    let five = [relay.chain(), service.chain()].concat();
    for chain in [&[][..], &five] {
        let error = verify_service_chain(chain, now()).unwrap_err();
        assert!(matches!(error, ChainError::Count { .. }), "{error}");
    }
}

// --- In files ------------------------------------------------------------------------------------

#[test]
fn credentials_come_back_from_their_files() {
    for algorithm in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (
            folder.path().join("relay.crt"),
            folder.path().join("relay.key"),
        );
        let relay = relay(3, algorithm);
        write_certificates(&chain, relay.chain(), IfExists::Refuse).unwrap();
        write_key(&key, relay.key(), IfExists::Refuse).unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&key), 0o600);
        let loaded = TlsCredentials::load(&chain, &key).unwrap();
        assert_eq!(loaded.chain(), relay.chain());
        assert_eq!(
            loaded.key().to_pem().unwrap(),
            relay.key().to_pem().unwrap()
        );
        assert_eq!(read_certificates(&chain).unwrap(), relay.chain());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

#[test]
fn a_file_is_overwritten_only_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.key");
    let (one, other) = (relay(2, Ed25519), relay(2, Ed448));
    write_key(&path, one.key(), IfExists::Refuse).unwrap();
    let refused = write_key(&path, other.key(), IfExists::Refuse).unwrap_err();
    assert!(matches!(refused, FileError::Exists { .. }), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), *one.key().to_pem().unwrap());
    write_key(&path, other.key(), IfExists::Replace).unwrap();
    assert_eq!(fs::read(&path).unwrap(), *other.key().to_pem().unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain"), folder.path().join("key"));
    let relay = relay(2, Ed25519);
    write_certificates(&chain, relay.chain(), IfExists::Refuse).unwrap();
    write_key(&key, service().key(), IfExists::Refuse).unwrap();
    for error in [
        TlsCredentials::load(&chain, &key).unwrap_err(),
        WebCredentials::load(&chain, &key).unwrap_err(),
    ] {
        let FileError::Pair { error, .. } = error else {
            panic!("{error}")
        };
        assert!(matches!(error, CredentialsError::WrongKey), "{error}");
    }
    let missing = TlsCredentials::load(&folder.path().join("none"), &key).unwrap_err();
    assert!(matches!(missing, FileError::Io { .. }), "{missing}");
    let swapped = TlsCredentials::load(&key, &key).unwrap_err();
    assert!(
        matches!(swapped, FileError::NoCertificate { .. }),
        "{swapped}"
    );
    let swapped = TlsCredentials::load(&chain, &chain).unwrap_err();
    assert!(matches!(swapped, FileError::Content { .. }), "{swapped}");
}

#[test]
fn a_key_behind_a_password_or_of_another_kind_is_refused() {
    use openssl::pkey::PKey;
    use openssl::symm::Cipher;
    let key = PKey::generate_ed25519().unwrap();
    let cipher = Cipher::aes_256_cbc();
    let locked = key
        .private_key_to_pem_pkcs8_passphrase(cipher, b"secret")
        .unwrap();
    assert!(SigningKey::from_pem(&locked).is_err());
    let x25519 = PKey::generate_x25519().unwrap();
    let pem = x25519.private_key_to_pem_pkcs8().unwrap();
    assert!(SigningKey::from_pem(&pem).is_err());
}
