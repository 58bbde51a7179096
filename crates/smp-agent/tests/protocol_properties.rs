//! What must hold for any message, link and link data: decoding undoes encoding, and no bytes and
//! no text make a reader panic.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod protocol_golden;

use double_ratchet::{
    E2eParams, E2eParamsRange, E2eVersion, KemCiphertext, KemParams, KemPublicKey, X448PublicKey,
};
use proptest::prelude::*;
use protocol_golden::{file, list, text};
use smp_agent::protocol::{
    AMessage, AddedQueue, AgentEnvelope, AgentMessage, AgentVersion, AgentVersionRange,
    ConnectionLink, ConnectionRequest, ContactKind, FixedLinkData, KeyedQueue, LinkKey, LinkServer,
    LinkVerifyingKey, OwnerAuth, QueueAddress, QueueInfo, Receipt, RequestKind, ShortLink,
    ShortLinkKind, ShortLinkScheme, UsedQueue, UserLinkData, message_hash, open_link,
};
use smp_protocol::{
    AuthPublicKey, ClientVersion, ClientVersionRange, DhPublicKey, Fingerprint, Host, LinkData,
    LinkId, QueueMode, QueueUri, Reader, RelayAddress, SenderId,
};

const LINKS: &str = include_str!("vectors/links.json");

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=most)
}

fn array<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    prop::collection::vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap())
}

fn hosts() -> impl Strategy<Value = Vec<Host>> {
    let host = prop_oneof![
        "[a-z][a-z0-9-]{0,9}[a-z0-9](\\.[a-z]{2,5}){0,2}".prop_map(|name| name.parse().unwrap()),
        any::<std::net::Ipv4Addr>().prop_map(Host::Ipv4),
        any::<std::net::Ipv6Addr>().prop_map(Host::Ipv6),
        "[a-z2-7]{56}\\.onion".prop_map(|name| name.parse().unwrap()),
    ];
    prop::collection::vec(host, 1..4)
}

fn port() -> impl Strategy<Value = Option<u16>> {
    prop::option::of(1..=u16::MAX)
}

fn relay() -> impl Strategy<Value = RelayAddress> {
    (any::<[u8; 32]>(), hosts(), port()).prop_map(|(fingerprint, hosts, port)| {
        RelayAddress::new(Fingerprint(fingerprint), hosts, port).unwrap()
    })
}

fn sender_id() -> impl Strategy<Value = SenderId> {
    prop::collection::vec(any::<u8>(), 1..=255).prop_map(|id| SenderId::new(&id).unwrap())
}

fn address() -> impl Strategy<Value = QueueAddress> {
    (relay(), sender_id()).prop_map(|(relay, sender_id)| QueueAddress { relay, sender_id })
}

fn dh_key() -> impl Strategy<Value = DhPublicKey> {
    any::<[u8; 32]>().prop_map(DhPublicKey)
}

fn mode() -> impl Strategy<Value = QueueMode> {
    prop_oneof![Just(QueueMode::Messaging), Just(QueueMode::Contact)]
}

/// What is said of its mode comes back, whatever follows.
fn queue_info() -> impl Strategy<Value = QueueInfo> {
    (2..20_u16, address(), dh_key(), mode()).prop_map(|(version, address, dh_key, mode)| {
        QueueInfo {
            version: ClientVersion(version),
            relay: address.relay,
            sender_id: address.sender_id,
            dh_key,
            mode: match version {
                2 => None,
                _ => Some(mode),
            },
        }
    })
}

fn queue_uri() -> impl Strategy<Value = QueueUri> {
    (1..20_u16, 0..20_u16, address(), dh_key(), mode()).prop_map(
        |(min, more, address, dh_key, mode)| QueueUri {
            versions: ClientVersionRange::new(ClientVersion(min), ClientVersion(min + more))
                .unwrap(),
            relay: address.relay,
            sender_id: address.sender_id,
            dh_key,
            mode: Some(mode),
        },
    )
}

/// Before version 4 the binary form says nothing of contacts, if no connection request holds it.
fn added_queue() -> impl Strategy<Value = AddedQueue> {
    (queue_uri(), prop::option::of(address())).prop_map(|(mut queue, replaces)| {
        if queue.versions.min() < ClientVersion::SHORT_LINKS {
            queue.mode = queue.mode.filter(|mode| *mode == QueueMode::Messaging);
        }
        AddedQueue { queue, replaces }
    })
}

fn auth_key() -> impl Strategy<Value = AuthPublicKey> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(AuthPublicKey::Ed25519),
        any::<[u8; 32]>().prop_map(AuthPublicKey::X25519),
    ]
}

fn keyed_queue() -> impl Strategy<Value = KeyedQueue> {
    (queue_info(), auth_key()).prop_map(|(queue, key)| KeyedQueue { queue, key })
}

fn used_queue() -> impl Strategy<Value = UsedQueue> {
    (address(), any::<bool>()).prop_map(|(address, primary)| UsedQueue { address, primary })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    (any::<i64>(), bytes(255), bytes(300)).prop_map(|(id, hash, info)| Receipt { id, hash, info })
}

fn queues<T: std::fmt::Debug>(item: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(item, 1..4)
}

fn a_message() -> impl Strategy<Value = AMessage> {
    prop_oneof![
        Just(AMessage::Hello),
        bytes(300).prop_map(AMessage::Message),
        prop::collection::vec(receipt(), 1..20).prop_map(AMessage::Received),
        any::<i64>().prop_map(AMessage::Ready),
        address().prop_map(AMessage::QueueContinue),
        queues(added_queue()).prop_map(AMessage::AddQueues),
        queues(keyed_queue()).prop_map(AMessage::QueueKeys),
        queues(used_queue()).prop_map(AMessage::UseQueues),
        queues(address()).prop_map(AMessage::TestQueues),
    ]
}

fn agent_message() -> impl Strategy<Value = AgentMessage> {
    prop_oneof![
        1 => bytes(300).prop_map(AgentMessage::ConnectionInfo),
        2 => (queues(queue_info()), bytes(300))
            .prop_map(|(queues, info)| AgentMessage::ConnectionInfoReply { queues, info }),
        1 => bytes(300).prop_map(AgentMessage::RatchetInfo),
        6 => (any::<i64>(), bytes(255), a_message()).prop_map(|(id, previous_hash, message)| {
            AgentMessage::Message { id, previous_hash, message }
        }),
    ]
}

fn x448() -> impl Strategy<Value = X448PublicKey> {
    array::<56>().prop_map(X448PublicKey)
}

fn kem_key() -> impl Strategy<Value = KemPublicKey> {
    array::<1158>().prop_map(|key| KemPublicKey::from_bytes(&key))
}

fn kem() -> impl Strategy<Value = Option<KemParams>> {
    let ciphertext = array::<1039>().prop_map(|it| KemCiphertext::from_bytes(&it));
    prop::option::of(prop_oneof![
        kem_key().prop_map(KemParams::Proposed),
        (ciphertext, kem_key())
            .prop_map(|(ciphertext, key)| KemParams::Accepted { ciphertext, key }),
    ])
}

fn e2e_params() -> impl Strategy<Value = E2eParams> {
    (2..9_u16, x448(), x448(), kem()).prop_map(|(version, key_1, key_2, kem)| E2eParams {
        version: E2eVersion(version),
        key_1,
        key_2,
        kem: kem.filter(|_| version >= 3),
    })
}

fn e2e_range() -> impl Strategy<Value = E2eParamsRange> {
    let kem = prop::option::of(kem_key().prop_map(KemParams::Proposed));
    (2..9_u16, 0..9_u16, x448(), x448(), kem).prop_map(|(min, more, key_1, key_2, kem)| {
        E2eParamsRange {
            min: E2eVersion(min),
            max: E2eVersion(min + more),
            key_1,
            key_2,
            kem,
        }
    })
}

fn agent_versions() -> impl Strategy<Value = AgentVersionRange> {
    (2..20_u16, 0..20_u16).prop_map(|(min, more)| {
        AgentVersionRange::new(AgentVersion(min), AgentVersion(min + more)).unwrap()
    })
}

fn request() -> impl Strategy<Value = ConnectionRequest> {
    let kind = prop_oneof![
        e2e_range().prop_map(RequestKind::Invitation),
        Just(RequestKind::Contact),
    ];
    let data = prop::option::of("(?s).{0,60}");
    (kind, agent_versions(), queues(queue_uri()), data).prop_map(
        |(kind, versions, queues, client_data)| ConnectionRequest {
            kind,
            versions,
            queues,
            client_data,
        },
    )
}

fn link_server() -> impl Strategy<Value = LinkServer> {
    let fingerprint = prop::option::of(any::<[u8; 32]>().prop_map(Fingerprint));
    (hosts(), port(), fingerprint)
        .prop_map(|(hosts, port, fingerprint)| LinkServer::new(hosts, port, fingerprint).unwrap())
}

fn short_link() -> impl Strategy<Value = ShortLink> {
    let contact = prop_oneof![
        Just(ContactKind::Contact),
        Just(ContactKind::Channel),
        Just(ContactKind::Group),
        Just(ContactKind::Relay),
    ];
    let link_id = prop::collection::vec(any::<u8>(), 1..=255);
    let kind = prop_oneof![
        link_id.prop_map(|id| ShortLinkKind::Invitation {
            link_id: LinkId::new(&id).unwrap()
        }),
        contact.prop_map(ShortLinkKind::Contact),
    ];
    let scheme = prop_oneof![Just(ShortLinkScheme::Https), Just(ShortLinkScheme::Simplex)];
    (scheme, kind, link_server(), any::<[u8; 32]>()).prop_map(|(scheme, kind, server, key)| {
        ShortLink {
            scheme,
            kind,
            server,
            key: LinkKey::from_bytes(&key),
        }
    })
}

/// In the form that the binary one has.
fn relay_link() -> impl Strategy<Value = ShortLink> {
    short_link().prop_map(|link| ShortLink {
        scheme: ShortLinkScheme::Https,
        ..link
    })
}

fn fixed_data() -> impl Strategy<Value = FixedLinkData> {
    let root = any::<[u8; 32]>().prop_map(LinkVerifyingKey);
    (
        agent_versions(),
        root,
        request(),
        prop::option::of(bytes(255)),
    )
        .prop_map(|(versions, root_key, request, entity_id)| FixedLinkData {
            versions,
            root_key,
            request,
            entity_id,
        })
}

fn owner() -> impl Strategy<Value = OwnerAuth> {
    (bytes(144), any::<[u8; 32]>(), array::<64>()).prop_map(|(id, key, signature)| OwnerAuth {
        id,
        key: LinkVerifyingKey(key),
        signature,
    })
}

fn user_data() -> impl Strategy<Value = UserLinkData> {
    let owners = prop::collection::vec(owner(), 0..4);
    let relays = prop::collection::vec(relay_link(), 0..4);
    prop_oneof![
        (agent_versions(), bytes(600))
            .prop_map(|(versions, data)| UserLinkData::Invitation { versions, data }),
        (agent_versions(), any::<bool>(), owners, relays, bytes(600)).prop_map(
            |(versions, direct, owners, relays, data)| UserLinkData::Contact {
                versions,
                direct,
                owners,
                relays,
                data,
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_message_comes_back_from_its_bytes(message in agent_message()) {
        let bytes = message.to_bytes().unwrap();
        prop_assert_eq!(AgentMessage::decode(&bytes), Ok(message));
        prop_assert_ne!(message_hash(&bytes), message_hash(&bytes[1..]));
    }

    #[test]
    fn a_message_that_is_cut_off_is_another_or_none(message in agent_message(), at: prop::sample::Index) {
        let bytes = message.to_bytes().unwrap();
        let cut = AgentMessage::decode(&bytes[..at.index(bytes.len())]);
        prop_assert_ne!(cut, Ok(message));
    }

    #[test]
    fn a_queue_comes_back_from_its_bytes(queue in queue_info()) {
        let mut bytes = Vec::new();
        queue.encode(&mut bytes).unwrap();
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(QueueInfo::decode(&mut reader), Ok(queue.clone()));
        prop_assert!(reader.is_empty());
        bytes.clear();
        queue.address().encode(&mut bytes);
        prop_assert_eq!(QueueAddress::decode(&mut Reader::new(&bytes)), Ok(queue.address()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn an_envelope_comes_back_from_its_bytes(
        version: u16,
        e2e in prop::option::of(e2e_params()),
        params in e2e_params(),
        request in request(),
        rest in bytes(300),
    ) {
        let version = AgentVersion(version);
        let rest = rest.as_slice();
        for envelope in [
            AgentEnvelope::Confirmation { version, e2e, encrypted: rest },
            AgentEnvelope::Message { version, encrypted: rest },
            AgentEnvelope::Invitation { version, request, info: rest },
            AgentEnvelope::RatchetKey { version, params, info: rest },
        ] {
            let bytes = envelope.to_bytes().unwrap();
            prop_assert_eq!(AgentEnvelope::decode(&bytes), Ok(envelope));
        }
    }

    #[test]
    fn a_full_link_comes_back_from_its_text_and_its_bytes(request in request()) {
        let text = request.to_string();
        prop_assert_eq!(text.parse(), Ok(request.clone()));
        prop_assert_eq!(text.parse(), Ok(ConnectionLink::Full(request.clone())));
        let mut bytes = Vec::new();
        request.encode(&mut bytes).unwrap();
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(ConnectionRequest::decode(&mut reader), Ok(request));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn a_short_link_comes_back_from_its_text_and_its_bytes(link in short_link()) {
        let text = link.to_string();
        prop_assert_eq!(text.parse(), Ok(link.clone()));
        prop_assert_eq!(text.parse(), Ok(ConnectionLink::Short(link.clone())));
        let mut bytes = Vec::new();
        link.encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        let expected = ShortLink { scheme: ShortLinkScheme::Https, ..link };
        prop_assert_eq!(ShortLink::decode(&mut reader), Ok(expected));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn link_data_comes_back_from_its_bytes(fixed in fixed_data(), user in user_data()) {
        let mut bytes = Vec::new();
        fixed.encode(&mut bytes).unwrap();
        prop_assert_eq!(FixedLinkData::decode(&bytes), Ok(fixed));
        bytes.clear();
        user.encode(&mut bytes).unwrap();
        prop_assert_eq!(UserLinkData::decode(&bytes), Ok(user));
    }

    #[test]
    fn a_link_broken_into_lines_of_any_length_is_the_same_or_refused(
        request in request(),
        link in short_link(),
        width in 1..200_usize,
        end in "[ \t]{0,2}(\r\n|\n)[ \t]{0,2}",
    ) {
        for link in [ConnectionLink::Full(request), ConnectionLink::Short(link)] {
            let text = link.to_string();
            let lines: Vec<_> = text.as_bytes().chunks(width).collect();
            let lines: Vec<_> = lines.iter().map(|line| str::from_utf8(line).unwrap()).collect();
            if let Ok(again) = lines.join(&end).parse::<ConnectionLink>() {
                prop_assert_eq!(again, link);
            }
        }
    }
}

fn read_all(bytes: &[u8]) {
    let _ = AgentMessage::decode(bytes);
    let _ = AgentEnvelope::decode(bytes);
    let _ = QueueInfo::decode(&mut Reader::new(bytes));
    let _ = ConnectionRequest::decode(&mut Reader::new(bytes));
    let _ = ShortLink::decode(&mut Reader::new(bytes));
    let _ = FixedLinkData::decode(bytes);
    let _ = UserLinkData::decode(bytes);
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = text.parse::<ConnectionLink>();
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in bytes(400), tag in "(M.{9}[HMVEQ][CAKUT]?|[IDRC]|..[CMIR]1?)?") {
        read_all(&bytes);
        read_all(&[tag.as_bytes(), &bytes].concat());
    }

    #[test]
    fn changed_bytes_make_no_reader_panic(
        message in agent_message(),
        user in user_data(),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut out = Vec::new();
        user.encode(&mut out).unwrap();
        for mut bytes in [message.to_bytes().unwrap(), out] {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            read_all(&bytes);
            read_all(&bytes[..at]);
        }
    }

    #[test]
    fn no_text_makes_a_link_panic(
        text: String,
        rest in "(simplex:/|https://[a-z.\\[\\]:]{0,9}/)(invitation|contact|[iacgr])/?#(/?\\?)?[a-z0-9=&%#;:,./?@+\n -]{0,80}",
    ) {
        for text in [text, rest] {
            if let Ok(link) = text.parse::<ConnectionLink>() {
                prop_assert_eq!(link.to_string().parse(), Ok(link));
            }
        }
    }

    #[test]
    fn no_link_data_makes_the_reader_panic(fixed in bytes(100), user in bytes(100), link in short_link()) {
        let data = LinkData { fixed, user };
        prop_assert!(open_link(&link, &data).is_err());
    }
}

#[test]
fn a_link_with_one_byte_changed_is_another_or_refused() {
    let file = file(LINKS);
    let named = |key: &str, at: usize| text(&list(&file, key)[at]["input"]).to_owned();
    let full = [0, 1, 4, 5].map(|at| named("links", at));
    let short = [0, 2, 8, 9, 11].map(|at| named("short_links", at));
    for original in full.iter().chain(&short) {
        let link: ConnectionLink = original.parse().unwrap();
        for at in 0..original.len() {
            let before = original.as_bytes()[at];
            for byte in b"aZ09-_=%/?#&,;:.+ \n~\x7f"
                .iter()
                .copied()
                .chain([before ^ 0x20, before ^ 1])
            {
                if byte == before || !byte.is_ascii() {
                    continue;
                }
                let mut changed = original.clone().into_bytes();
                changed[at] = byte;
                let changed = String::from_utf8(changed).unwrap();
                if changed.parse() == Ok(link.clone()) {
                    assert!(means_the_same(original, at, byte), "{changed}");
                }
            }
        }
    }
}

/// Where a link can be written in two ways: digits of `%3A` and letters of onion addresses in both
/// cases, `q=m` and `k=s`, which say the same, old versions of an address, and the padding of base64
/// at the end.
fn means_the_same(original: &str, at: usize, byte: u8) -> bool {
    let is_in = |word: &str| {
        let mut found = original.match_indices(word);
        found.any(|(start, word)| (start..start + word.len()).contains(&at))
    };
    let is_digit = ["%", "%25"].iter().any(|escape| {
        let digits = original[..at]
            .rfind(escape)
            .map(|start| start + escape.len());
        digits.is_some_and(|start| at < start + 2)
    });
    let in_onion = original
        .find(".onion")
        .is_some_and(|end| (end - 56..end + 6).contains(&at));
    let is_other_case = original.as_bytes()[at].eq_ignore_ascii_case(&byte);
    is_other_case && (is_digit || in_onion)
        || is_in("%26q%3Dm%26k%3Ds")
        || original.ends_with("%3D") && at + 3 >= original.len()
        || original.contains("/contact#") && is_in("?v=2")
}
