//! The data of short links: that of other programs, and what nobody may change about it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod protocol_golden;

use hkdf::Hkdf;
use proptest::prelude::*;
use protocol_golden::{array, base64, file, hex, list, number, text};
use serde_json::Value;
use sha2::Sha512;
use smp_agent::protocol::{
    AgentVersionRange, ConnectionRequest, FixedLinkData, LinkError, LinkKey, LinkNonces,
    LinkSecrets, LinkSigningKey, LinkVerifyingKey, MAX_OWNERS, OwnerAuth, OwnersError,
    PADDED_FIXED_LINK_DATA, PADDED_USER_LINK_DATA, ShortLink, ShortLinkKind, UserLinkData,
    open_link, seal_link, seal_user_data,
};
use smp_protocol::{BoxKey, DecodeError, EncodeError, LinkData, OpenError};

const LINKS: &str = include_str!("vectors/links.json");

/// Longest user data with nothing else in it.
const MAX_DATA: usize = PADDED_USER_LINK_DATA - 2 - 65 - 5 - 3;

fn recorded() -> [Recorded; 2] {
    let file = file(LINKS);
    let [invitation, contact] = list(&file, "short_link_data") else {
        panic!("not two links");
    };
    [Recorded::new(invitation), Recorded::new(contact)]
}

struct Recorded {
    value: Value,
    link: ShortLink,
    root: LinkSigningKey,
    data: LinkData,
    nonces: LinkNonces,
}

impl Recorded {
    fn new(value: &Value) -> Self {
        let part = |key: &str| base64(&value[key]["encrypted_b64"]);
        let nonce = |key: &str| array(&value[key]["nonce"]);
        Self {
            link: text(&value["short_link"]).parse().unwrap(),
            root: LinkSigningKey::from_bytes(&array(&value["root_private_seed"])),
            data: LinkData {
                fixed: part("fixed"),
                user: part("user"),
            },
            nonces: LinkNonces {
                fixed: nonce("fixed"),
                user: nonce("user"),
            },
            value: value.clone(),
        }
    }

    fn open(&self) -> (FixedLinkData, UserLinkData) {
        open_link(&self.link, &self.data).unwrap()
    }

    /// The link's server shows another user part.
    fn open_with(&self, user: Vec<u8>) -> Result<UserLinkData, LinkError> {
        let fixed = self.data.fixed.clone();
        open_link(&self.link, &LinkData { fixed, user }).map(|(_, user)| user)
    }
}

fn versions() -> AgentVersionRange {
    AgentVersionRange::SUPPORTED
}

fn address(owners: Vec<OwnerAuth>) -> UserLinkData {
    UserLinkData::Contact {
        versions: versions(),
        direct: true,
        owners,
        relays: Vec::new(),
        data: b"me".to_vec(),
    }
}

fn bytes_of(user: &UserLinkData) -> Vec<u8> {
    let mut out = Vec::new();
    user.encode(&mut out).unwrap();
    out
}

fn key(seed: u8) -> LinkSigningKey {
    LinkSigningKey::from_bytes(&[seed; 32])
}

/// A part with any content, as a maker with another program may seal it.
fn sealed(key: &LinkKey, info: &[u8], by: &LinkSigningKey, data: &[u8]) -> Vec<u8> {
    use ed25519_dalek::Signer as _;
    let mut bytes = [0; 56];
    Hkdf::<Sha512>::new(None, key.as_bytes())
        .expand(info, &mut bytes)
        .unwrap();
    let signature = ed25519_dalek::SigningKey::from_bytes(by.as_bytes()).sign(data);
    let parts: [&[u8]; 3] = [&[64], &signature.to_bytes(), data];
    let key = BoxKey::from_bytes(bytes[24..].try_into().unwrap());
    let sealed = key.seal_padded_parts(&[7; 24], &parts, PADDED_USER_LINK_DATA);
    [&[7; 24], &sealed.unwrap()[..]].concat()
}

const CONTACT_INFO: &[u8] = b"SimpleXContactLink";

#[test]
fn recorded_link_data_is_opened_and_checked() {
    for recorded in recorded() {
        let (fixed, user) = recorded.open();
        let decoded = &recorded.value["fixed"]["decoded"];
        assert_eq!(fixed.versions.min().0, decoded["agent_version_min"]);
        assert_eq!(fixed.versions.max().0, decoded["agent_version_max"]);
        assert_eq!(fixed.root_key.0, array(&recorded.value["root_public"]));
        assert_eq!(
            fixed.request.to_string(),
            text(&decoded["connection_request_as_link"])
        );
        assert_eq!(fixed.entity_id, None);

        let decoded = &recorded.value["user"]["decoded"];
        assert_eq!(user.data(), base64(&decoded["user_data_b64"]));
        assert_eq!(user.is_invitation(), decoded["mode"] == "I");
        assert_eq!(recorded.link.is_invitation(), user.is_invitation());
        if let UserLinkData::Contact {
            versions,
            direct,
            owners,
            relays,
            ..
        } = user
        {
            assert_eq!(versions.max().0, decoded["agent_version_max"]);
            assert!(direct);
            assert_eq!(owners.len(), number(&decoded["owners_count"]));
            assert_eq!(relays.len(), number(&decoded["relays_count"]));
        }
    }
}

#[test]
fn recorded_link_data_is_sealed_again_byte_for_byte() {
    for recorded in recorded() {
        let (fixed, user) = recorded.open();
        let sealed = seal_link(&fixed, &user, &recorded.root, &recorded.nonces);
        let (key, data) = sealed.unwrap();
        assert_eq!(*key.as_bytes(), array(&recorded.value["link_key"]));
        assert!(data == recorded.data);
        let again = seal_user_data(&key, &user, &recorded.root, &recorded.nonces.user);
        assert!(again.unwrap() == recorded.data.user);
        for part in ["fixed", "user"] {
            let expected = base64(&recorded.value[part]["data_b64"]);
            let mut bytes = Vec::new();
            if part == "fixed" {
                fixed.encode(&mut bytes).unwrap();
            } else {
                user.encode(&mut bytes).unwrap();
            }
            assert_eq!(bytes, expected);
        }
    }
}

#[test]
fn the_id_of_an_address_and_the_encryption_come_out_of_the_links_key() {
    for recorded in recorded() {
        let secrets = LinkSecrets::of(&recorded.link);
        assert_eq!(
            secrets.link_id().as_bytes(),
            hex(&recorded.value["link_id"])
        );
        let data = base64(&recorded.value["fixed"]["data_b64"]);
        assert_eq!(LinkKey::of_fixed_data(&data), recorded.link.key);
        let key = BoxKey::from_bytes(&array(&recorded.value["encryption_key"]));
        let (nonce, sealed) = recorded.data.user.split_first_chunk().unwrap();
        let plain = key.open_padded(nonce, sealed).unwrap();
        let signed = [
            vec![64],
            hex(&recorded.value["user"]["signature"]),
            base64(&recorded.value["user"]["data_b64"]),
        ];
        assert_eq!(plain, signed.concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn data_with_any_bit_changed_is_refused(
        at: prop::sample::Index,
        bit in 0..8_u8,
        of_address: bool,
        of_user_part: bool,
    ) {
        let mut recorded = recorded().into_iter().nth(usize::from(of_address)).unwrap();
        let part = if of_user_part {
            &mut recorded.data.user
        } else {
            &mut recorded.data.fixed
        };
        let at = at.index(part.len());
        part[at] ^= 1 << bit;
        let result = open_link(&recorded.link, &recorded.data);
        prop_assert_eq!(result, Err(LinkError::Sealed(OpenError::Forged)));
    }

    #[test]
    fn user_data_of_any_length_comes_back(data in prop::collection::vec(any::<u8>(), 0..600)) {
        let user = UserLinkData::Invitation { versions: versions(), data };
        prop_assert_eq!(UserLinkData::decode(&bytes_of(&user)), Ok(user));
    }
}

#[test]
fn user_data_from_255_bytes_on_has_a_length_of_two_bytes() {
    for (length, prefix) in [
        (0, vec![0]),
        (254, vec![254]),
        (255, vec![255, 0, 255]),
        (256, vec![255, 1, 0]),
    ] {
        let data = vec![9; length];
        let user = UserLinkData::Invitation {
            versions: versions(),
            data: data.clone(),
        };
        assert_eq!(bytes_of(&user)[5..], [prefix, data].concat());
    }
    // Other programs might write a short one so, too.
    let user = UserLinkData::decode(b"I\0\x02\0\x07\xff\0\x01x").unwrap();
    assert_eq!(user.data(), b"x");
}

#[test]
fn a_part_of_no_length_or_of_another_link_is_refused() {
    let [invitation, contact] = recorded();
    let forged = Err(LinkError::Sealed(OpenError::Forged));
    assert_eq!(open_link(&invitation.link, &contact.data), forged);
    for length in [0, 23, 24, 40, 2047] {
        let mut data = invitation.data.clone();
        data.fixed.truncate(length);
        assert_eq!(open_link(&invitation.link, &data), forged);
        assert_eq!(
            contact
                .open_with(contact.data.user[..length].to_vec())
                .err(),
            forged.clone().err()
        );
    }
    // With the right key, the parts swapped.
    assert!(contact.open_with(contact.data.fixed.clone()).is_err());
}

#[test]
fn a_changed_fixed_part_is_refused_even_if_it_is_encrypted_with_the_links_key() {
    let [_, contact] = recorded();
    let data = base64(&contact.value["fixed"]["data_b64"]);
    let open = |by: &LinkSigningKey, data: &[u8]| {
        let fixed = sealed(&contact.link.key, CONTACT_INFO, by, data);
        let user = contact.data.user.clone();
        open_link(&contact.link, &LinkData { fixed, user }).map(drop)
    };
    assert_eq!(open(&contact.root, &data), Ok(()));
    let mut changed = data.clone();
    changed[1] ^= 1;
    assert_eq!(open(&contact.root, &changed), Err(LinkError::Hash));
    assert_eq!(open(&contact.root, &[]), Err(LinkError::Hash));
    assert_eq!(open(&key(9), &data), Err(LinkError::FixedSignature));
}

#[test]
fn what_a_maker_with_another_program_seals_wrongly_is_refused() {
    let [invitation, contact] = recorded();
    let user = |by: &LinkSigningKey, data: &[u8]| {
        contact.open_with(sealed(&contact.link.key, CONTACT_INFO, by, data))
    };
    let good = bytes_of(&address(Vec::new()));
    assert_eq!(user(&contact.root, &good), Ok(address(Vec::new())));
    assert_eq!(user(&key(9), &good), Err(LinkError::UserSignature));
    assert_eq!(
        user(&contact.root, &bytes_of(&invitation.open().1)),
        Err(LinkError::Kind)
    );
    let malformed = |data: &[u8]| match user(&contact.root, data) {
        Err(LinkError::Malformed(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(malformed(b"X"), DecodeError::Value("user link data"));
    assert_eq!(
        malformed(&good[..good.len() - 1]),
        DecodeError::Short("user data")
    );
    // An invitation behind the link of an address.
    let data = base64(&invitation.value["fixed"]["data_b64"]);
    let link = ShortLink {
        key: LinkKey::of_fixed_data(&data),
        ..contact.link.clone()
    };
    let data = LinkData {
        fixed: sealed(&link.key, CONTACT_INFO, &invitation.root, &data),
        user: sealed(&link.key, CONTACT_INFO, &invitation.root, &good),
    };
    assert_eq!(open_link(&link, &data), Err(LinkError::Kind));
}

#[test]
fn what_newer_versions_add_at_the_end_is_ignored() {
    let [_, contact] = recorded();
    let (mut fixed, user) = contact.open();
    let tail = [bytes_of(&user), b"and more".to_vec()].concat();
    let part = sealed(&contact.link.key, CONTACT_INFO, &contact.root, &tail);
    assert_eq!(contact.open_with(part), Ok(user));

    fixed.entity_id = Some(b"name".to_vec());
    let mut bytes = Vec::new();
    fixed.encode(&mut bytes).unwrap();
    assert_eq!(FixedLinkData::decode(&bytes), Ok(fixed.clone()));
    bytes.extend(b"more");
    assert_eq!(FixedLinkData::decode(&bytes), Ok(fixed.clone()));
    // What cannot be an id is not one.
    let end = bytes.len() - b"\x04namemore".len();
    bytes.truncate(end);
    bytes.extend([200, 1]);
    fixed.entity_id = None;
    assert_eq!(FixedLinkData::decode(&bytes), Ok(fixed));

    let owner = OwnerAuth::new(b"a".to_vec(), key(1).verifying_key(), &contact.root);
    let with_owner = bytes_of(&address(vec![owner]));
    // Behind kind, versions, "direct" and the count stands the owner's length.
    let (at, more) = (7, b"new");
    let mut longer = with_owner.clone();
    longer[at] += more.len() as u8;
    let end = at + 1 + usize::from(with_owner[at]);
    longer.splice(end..end, more.iter().copied());
    assert_eq!(
        UserLinkData::decode(&longer),
        UserLinkData::decode(&with_owner)
    );
}

#[test]
fn an_owner_may_write_the_user_part_and_make_other_owners() {
    let [_, contact] = recorded();
    let (first, second) = (key(1), key(2));
    let user = address(vec![
        OwnerAuth::new(b"1".to_vec(), first.verifying_key(), &contact.root),
        OwnerAuth::new(b"2".to_vec(), second.verifying_key(), &first),
    ]);
    for signer in [&contact.root, &first, &second] {
        let part = seal_user_data(&contact.link.key, &user, signer, &[3; 24]).unwrap();
        assert_eq!(contact.open_with(part), Ok(user.clone()));
    }
    let part = seal_user_data(&contact.link.key, &user, &key(3), &[3; 24]).unwrap();
    assert_eq!(contact.open_with(part), Err(LinkError::UserSignature));
}

#[test]
fn owners_that_nobody_made_owners_are_refused() {
    let [_, contact] = recorded();
    let root = &contact.root;
    let (first, second) = (key(1), key(2));
    let owner = |id: &[u8], key: &LinkSigningKey, by: &LinkSigningKey| {
        OwnerAuth::new(id.to_vec(), key.verifying_key(), by)
    };
    let error = |owners: Vec<OwnerAuth>| {
        let part = seal_user_data(&contact.link.key, &address(owners), root, &[3; 24]).unwrap();
        contact.open_with(part).err()
    };
    let by_root = owner(b"1", &first, root);
    let wrong = Some(LinkError::Owners(OwnersError::Signature));
    assert_eq!(error(vec![owner(b"1", &first, &second)]), wrong);
    assert_eq!(error(vec![owner(b"1", &first, &first)]), wrong);
    // Made one by an owner behind it.
    assert_eq!(
        error(vec![owner(b"2", &second, &first), by_root.clone()]),
        wrong
    );
    let renamed = OwnerAuth {
        id: b"x".to_vec(),
        ..by_root
    };
    assert_eq!(error(vec![renamed]), wrong);
    let twice = Some(LinkError::Owners(OwnersError::Twice));
    assert_eq!(
        error(vec![by_root.clone(), owner(b"2", &first, root)]),
        twice
    );
    assert_eq!(
        error(vec![by_root.clone(), owner(b"1", &second, root)]),
        twice
    );
    let is_root = Some(LinkError::Owners(OwnersError::RootKey));
    assert_eq!(error(vec![by_root, owner(b"2", root, root)]), is_root);
}

#[test]
fn more_owners_than_the_limit_are_refused() {
    let [_, contact] = recorded();
    let owner = |seed: u8| OwnerAuth::new(vec![seed], key(seed).verifying_key(), &contact.root);
    let mut owners: Vec<_> = (0..MAX_OWNERS as u8).map(owner).collect();
    let user = address(owners.clone());
    let part = seal_user_data(&contact.link.key, &user, &contact.root, &[3; 24]).unwrap();
    assert_eq!(contact.open_with(part), Ok(user.clone()));
    let mut bytes = bytes_of(&user);
    bytes[6] += 1;
    assert_eq!(
        UserLinkData::decode(&bytes),
        Err(DecodeError::Limit("owners"))
    );
    owners.push(owner(200));
    let part = seal_user_data(&contact.link.key, &address(owners), &contact.root, &[3; 24]);
    assert_eq!(part.err(), Some(EncodeError("owners")));
}

#[test]
fn what_cannot_be_opened_is_not_sealed() {
    let [invitation, contact] = recorded();
    let (fixed, user) = contact.open();
    let seal = |fixed: &FixedLinkData, user: &UserLinkData, root: &LinkSigningKey| {
        seal_link(fixed, user, root, &contact.nonces).map(drop)
    };
    assert_eq!(seal(&fixed, &user, &key(1)), Err(EncodeError("root key")));
    let other = invitation.open().1;
    assert_eq!(
        seal(&fixed, &other, &contact.root),
        Err(EncodeError("user link data"))
    );
    let with_data = |length: usize| UserLinkData::Invitation {
        versions: versions(),
        data: vec![1; length],
    };
    let (fixed, root) = (invitation.open().0, &invitation.root);
    assert_eq!(seal(&fixed, &with_data(MAX_DATA), root), Ok(()));
    assert!(seal(&fixed, &with_data(MAX_DATA + 1), root).is_err());
    assert!(seal(&fixed, &with_data(65_536), root).is_err());
    let fixed = FixedLinkData {
        entity_id: Some(vec![0; 256]),
        ..fixed
    };
    let long = seal(&fixed, &with_data(1), root);
    assert_eq!(long, Err(EncodeError("entity id")));
    let fixed = FixedLinkData {
        request: ConnectionRequest {
            client_data: Some("x".repeat(PADDED_FIXED_LINK_DATA)),
            ..fixed.request
        },
        entity_id: None,
        ..fixed
    };
    assert!(seal(&fixed, &with_data(1), root).is_err());
}

#[test]
fn a_new_link_opens_with_what_its_text_says() {
    let [_, contact] = recorded();
    let (fixed, user) = contact.open();
    let root = key(5);
    let fixed = FixedLinkData {
        root_key: root.verifying_key(),
        ..fixed
    };
    let (key, data) = seal_link(&fixed, &user, &root, &contact.nonces).unwrap();
    let link = ShortLink {
        key,
        ..contact.link.clone()
    };
    let link: ShortLink = link.to_string().parse().unwrap();
    assert_eq!(open_link(&link, &data), Ok((fixed, user)));
    assert_ne!(link.key, contact.link.key);
    assert_ne!(
        LinkSecrets::of(&link).link_id(),
        LinkSecrets::of(&contact.link).link_id()
    );
}

#[test]
fn the_relays_of_an_address_are_short_links() {
    let [invitation, contact] = recorded();
    let relay = text(&invitation.value["short_link"])
        .parse::<ShortLink>()
        .unwrap();
    let ShortLinkKind::Invitation { link_id } = &relay.kind else {
        panic!("an address");
    };
    assert!(!link_id.as_bytes().is_empty());
    let user = UserLinkData::Contact {
        versions: versions(),
        direct: false,
        owners: Vec::new(),
        relays: vec![relay, contact.link.clone()],
        data: vec![0; 300],
    };
    let part = seal_user_data(&contact.link.key, &user, &contact.root, &[3; 24]).unwrap();
    assert_eq!(contact.open_with(part), Ok(user));
}

#[test]
fn a_signature_with_a_key_that_is_no_point_is_wrong() {
    let zero = LinkVerifyingKey([0; 32]);
    assert!(!zero.verify(b"", &[0; 64]));
    assert!(!LinkVerifyingKey([0xff; 32]).verify(b"", &[0; 64]));
}

#[test]
fn debug_shows_nothing_of_link_data() {
    let [_, contact] = recorded();
    let (fixed, user) = contact.open();
    let owner = OwnerAuth::new(b"1".to_vec(), key(1).verifying_key(), &contact.root);
    assert_eq!(
        format!("{fixed:?} {user:?}"),
        "FixedLinkData UserLinkData::Contact"
    );
    assert_eq!(
        format!("{owner:?} {:?}", owner.key),
        "OwnerAuth LinkVerifyingKey"
    );
    assert_eq!(
        format!("{:?} {:?}", contact.root, contact.nonces),
        "LinkSigningKey LinkNonces"
    );
    assert_eq!(
        format!("{:?}", LinkSecrets::of(&contact.link)),
        "LinkSecrets"
    );
}
