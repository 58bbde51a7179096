//! What must hold for any command, response, error and address: decoding undoes encoding in every
//! version, and no bytes make anything panic.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use smp_protocol::{
    AuthPublicKey, BasicAuth, BlockingInfo, BlockingReason, BrokerError, CertChainAndKey,
    CertificateChain, ClientVersion, ClientVersionRange, Command, CommandError, DhPublicKey,
    EntityId, ErrorType, Fingerprint, HandshakeError, Host, IdsHash, LinkData, MessageFlags,
    NameError, NetworkError, NewQueue, ProxyError, QueueIds, QueueMode, QueueRequest, QueueUri,
    Reader, RelayAddress, Response, ServerAddress, SmpVersion, TransportError, UNKNOWN_COUNT,
    VersionRange,
};

fn version() -> impl Strategy<Value = SmpVersion> {
    (6..=20_u16).prop_map(SmpVersion)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

fn id<T: From<EntityId> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    vec(any::<u8>(), 0..=255).prop_map(|bytes| EntityId::new(&bytes).unwrap().into())
}

fn auth_key() -> impl Strategy<Value = AuthPublicKey> {
    (any::<bool>(), any::<[u8; 32]>()).prop_map(|(signs, key)| match signs {
        true => AuthPublicKey::Ed25519(key),
        false => AuthPublicKey::X25519(key),
    })
}

fn dh_key() -> impl Strategy<Value = DhPublicKey> {
    any::<[u8; 32]>().prop_map(DhPublicKey)
}

fn password() -> impl Strategy<Value = BasicAuth> {
    "[!-.0-9;-?A-~]{1,255}".prop_map(|password| BasicAuth::new(&password).unwrap())
}

fn ids_hash() -> impl Strategy<Value = IdsHash> {
    any::<[u8; 16]>().prop_map(IdsHash)
}

fn link_data() -> impl Strategy<Value = LinkData> {
    (bytes(), bytes()).prop_map(|(fixed, user)| LinkData { fixed, user })
}

fn mode() -> impl Strategy<Value = QueueMode> {
    prop_oneof![Just(QueueMode::Messaging), Just(QueueMode::Contact)]
}

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        "[a-z]{1,20}(\\.[a-zA-Z0-9_]{1,20}){0,3}\\.[a-m]{2,9}"
            .prop_map(|name| name.parse().unwrap()),
        any::<std::net::Ipv4Addr>().prop_map(Host::Ipv4),
        any::<std::net::Ipv6Addr>().prop_map(Host::Ipv6),
        "[a-z2-7]{56}\\.onion".prop_map(|name| name.parse().unwrap()),
    ]
}

fn relay() -> impl Strategy<Value = RelayAddress> {
    (
        any::<[u8; 32]>(),
        vec(host(), 1..5),
        option::of(1..=u16::MAX),
    )
        .prop_map(|(fingerprint, hosts, port)| {
            RelayAddress::new(Fingerprint(fingerprint), hosts, port).unwrap()
        })
}

fn request() -> impl Strategy<Value = QueueRequest> {
    prop_oneof![
        option::of((id(), link_data())).prop_map(QueueRequest::Messaging),
        option::of((id(), id(), link_data())).prop_map(QueueRequest::Contact),
    ]
}

fn new_queue() -> impl Strategy<Value = NewQueue> {
    let keys = (auth_key(), dh_key());
    let notifier = option::of((auth_key(), dh_key()));
    (
        keys,
        option::of(password()),
        any::<bool>(),
        option::of(request()),
        notifier,
    )
        .prop_map(
            |((auth_key, dh_key), basic_auth, subscribe, request, notifier)| NewQueue {
                auth_key,
                dh_key,
                basic_auth,
                subscribe,
                request,
                notifier,
            },
        )
}

fn command() -> impl Strategy<Value = Command> {
    let queues = || (any::<i64>(), ids_hash());
    prop_oneof![
        prop::sample::select(vec![
            Command::Ping,
            Command::Sub,
            Command::Ldel,
            Command::Ndel,
            Command::Get,
            Command::Off,
            Command::Del,
            Command::Que,
            Command::Lget,
            Command::Nsub,
        ]),
        new_queue().prop_map(|new| Command::New(Box::new(new))),
        queues().prop_map(|(count, ids_hash)| Command::Subs { count, ids_hash }),
        queues().prop_map(|(count, ids_hash)| Command::Nsubs { count, ids_hash }),
        auth_key().prop_map(Command::Key),
        auth_key().prop_map(Command::Skey),
        auth_key().prop_map(Command::Lkey),
        vec(auth_key(), 1..=255).prop_map(Command::Rkey),
        (id(), link_data()).prop_map(|(link_id, data)| Command::Lset { link_id, data }),
        (auth_key(), dh_key()).prop_map(|(key, dh_key)| Command::Nkey { key, dh_key }),
        any::<[u8; 24]>().prop_map(|id| Command::Ack(id.into())),
        (any::<bool>(), bytes()).prop_map(|(notification, body)| Command::Send {
            flags: MessageFlags { notification },
            body,
        }),
        (relay(), option::of(password()))
            .prop_map(|(relay, basic_auth)| Command::Prxy { relay, basic_auth }),
        (any::<u16>(), dh_key(), bytes()).prop_map(|(version, key, body)| Command::Pfwd {
            version: SmpVersion(version),
            key,
            body,
        }),
        bytes().prop_map(Command::Rfwd),
        "[!-~é]{1,126}".prop_map(Command::Rslv),
    ]
}

/// What a session of this version gets to see of a command.
fn command_in(version: SmpVersion, command: Command) -> Command {
    match command {
        Command::Subs { .. } if version.0 < 19 => Command::Subs {
            count: UNKNOWN_COUNT,
            ids_hash: IdsHash::default(),
        },
        Command::Nsubs { .. } if version.0 < 19 => Command::Nsubs {
            count: UNKNOWN_COUNT,
            ids_hash: IdsHash::default(),
        },
        Command::New(mut new) => {
            if version.0 < 9 {
                new.request = None;
            } else if version.0 < 15 {
                new.request = Some(match new.mode() {
                    Some(QueueMode::Messaging) => QueueRequest::Messaging(None),
                    _ => QueueRequest::Contact(None),
                });
            }
            new.notifier = new.notifier.filter(|_| version.0 >= 17);
            Command::New(new)
        }
        other => other,
    }
}

fn transport_error() -> impl Strategy<Value = TransportError> {
    prop::sample::select(vec![
        TransportError::Block,
        TransportError::Version,
        TransportError::LargeMsg,
        TransportError::Session,
        TransportError::NoAuth,
        TransportError::Handshake(HandshakeError::Parse),
        TransportError::Handshake(HandshakeError::Identity),
        TransportError::Handshake(HandshakeError::BadAuth),
        TransportError::Handshake(HandshakeError::BadService),
    ])
}

fn broker_error() -> impl Strategy<Value = BrokerError> {
    let words = || "[ -~é]{0,100}";
    let network = prop_oneof![
        words().prop_map(NetworkError::Connect),
        words().prop_map(NetworkError::Tls),
        Just(NetworkError::UnknownCa),
        Just(NetworkError::Failed),
        Just(NetworkError::Timeout),
        words().prop_map(NetworkError::Subscribe),
    ];
    prop_oneof![
        words().prop_map(BrokerError::Response),
        words().prop_map(BrokerError::Unexpected),
        network.prop_map(BrokerError::Network),
        Just(BrokerError::Timeout),
        Just(BrokerError::Host),
        Just(BrokerError::NoService),
        transport_error().prop_map(BrokerError::Transport),
    ]
}

fn error() -> impl Strategy<Value = ErrorType> {
    let reason = prop_oneof![
        Just(BlockingReason::Spam),
        Just(BlockingReason::Content),
        "x[a-z0-9_-]{0,63}".prop_map(BlockingReason::Unknown),
    ];
    let leaf = prop_oneof![
        prop::sample::select(vec![
            ErrorType::Block,
            ErrorType::Session,
            ErrorType::Auth,
            ErrorType::Service,
            ErrorType::Crypto,
            ErrorType::Quota,
            ErrorType::Expired,
            ErrorType::NoMsg,
            ErrorType::LargeMsg,
            ErrorType::Internal,
            ErrorType::Duplicate,
            ErrorType::Cmd(CommandError::Unknown),
            ErrorType::Cmd(CommandError::Syntax),
            ErrorType::Cmd(CommandError::Prohibited),
            ErrorType::Cmd(CommandError::NoAuth),
            ErrorType::Cmd(CommandError::HasAuth),
            ErrorType::Cmd(CommandError::NoEntity),
            ErrorType::Proxy(ProxyError::BasicAuth),
            ErrorType::Proxy(ProxyError::NoSession),
            ErrorType::Name(NameError::NotFound),
            ErrorType::Name(NameError::NoResolver),
        ]),
        broker_error().prop_map(|error| ErrorType::Proxy(ProxyError::Broker(error))),
        (reason, option::of(any::<String>()))
            .prop_map(|(reason, notice)| ErrorType::Blocked(BlockingInfo { reason, notice })),
        any::<String>().prop_map(ErrorType::Store),
        any::<String>().prop_map(|words| ErrorType::Name(NameError::Resolver(words))),
    ];
    (leaf, 0..4).prop_map(|(leaf, depth)| {
        (0..depth).fold(leaf, |error, _| {
            ErrorType::Proxy(ProxyError::Protocol(Box::new(error)))
        })
    })
}

/// What a session of this version gets to see of an error.
fn error_in(version: SmpVersion, error: ErrorType) -> ErrorType {
    match error {
        ErrorType::Blocked(_) if version.0 < 12 => ErrorType::Auth,
        ErrorType::Blocked(info) if version.0 < 18 => ErrorType::Blocked(BlockingInfo {
            notice: None,
            ..info
        }),
        ErrorType::Proxy(ProxyError::Protocol(inner)) => {
            ErrorType::Proxy(ProxyError::Protocol(Box::new(error_in(version, *inner))))
        }
        ErrorType::Proxy(ProxyError::Broker(BrokerError::Network(_))) if version.0 < 20 => {
            ErrorType::Proxy(ProxyError::Broker(BrokerError::Network(
                NetworkError::Failed,
            )))
        }
        other => other,
    }
}

fn queue_ids() -> impl Strategy<Value = QueueIds> {
    let optional = (option::of(mode()), option::of(id()), option::of(id()));
    (id(), id(), dh_key(), optional, option::of((id(), dh_key()))).prop_map(
        |(recipient_id, sender_id, dh_key, (mode, link_id, service_id), notifier)| QueueIds {
            recipient_id,
            sender_id,
            dh_key,
            mode,
            link_id,
            service_id,
            notifier,
        },
    )
}

fn response() -> impl Strategy<Value = Response> {
    let queues = || (any::<i64>(), ids_hash());
    let certificates =
        (vec(bytes(), 1..=4), bytes()).prop_map(|(chain, signed_key)| CertChainAndKey {
            chain: CertificateChain::new(chain).unwrap(),
            signed_key,
        });
    let versions = (6..=20_u16, 0..20_u16).prop_map(|(min, more)| {
        VersionRange::new(SmpVersion(min), SmpVersion(min + more)).unwrap()
    });
    prop_oneof![
        prop::sample::select(vec![
            Response::Pong,
            Response::Alls,
            Response::End,
            Response::Deld,
            Response::Ok,
        ]),
        queue_ids().prop_map(|ids| Response::Ids(Box::new(ids))),
        (id(), link_data()).prop_map(|(sender_id, data)| Response::Lnk { sender_id, data }),
        option::of(id()).prop_map(Response::Sok),
        queues().prop_map(|(count, ids_hash)| Response::Soks { count, ids_hash }),
        queues().prop_map(|(count, ids_hash)| Response::Ends { count, ids_hash }),
        (any::<[u8; 24]>(), bytes()).prop_map(|(id, body)| Response::Msg {
            id: id.into(),
            body
        }),
        (id(), dh_key()).prop_map(|(notifier_id, dh_key)| Response::Nid {
            notifier_id,
            dh_key
        }),
        (any::<[u8; 24]>(), vec(any::<u8>(), 0..=255))
            .prop_map(|(nonce, meta)| Response::Nmsg { nonce, meta }),
        (id(), versions, certificates).prop_map(|(session_id, versions, certificates)| {
            Response::Pkey {
                session_id,
                versions,
                certificates,
            }
        }),
        bytes().prop_map(Response::Pres),
        bytes().prop_map(Response::Rres),
        any::<String>().prop_map(Response::Info),
        any::<String>().prop_map(Response::Rname),
        error().prop_map(Response::Err),
    ]
}

/// What a session of this version gets to see of a response.
fn response_in(version: SmpVersion, response: Response) -> Response {
    match response {
        Response::Sok(_) if version.0 < 16 => Response::Ok,
        Response::Deld if version.0 < 10 => Response::End,
        Response::Soks { count, .. } if version.0 < 19 => Response::Soks {
            count,
            ids_hash: IdsHash::default(),
        },
        Response::Ends { count, .. } if version.0 < 19 => Response::Ends {
            count,
            ids_hash: IdsHash::default(),
        },
        Response::Err(error) => Response::Err(error_in(version, error)),
        Response::Ids(mut ids) => {
            if version.0 < 9 {
                ids.mode = None;
            } else if version.0 < 15 {
                ids.mode = ids.mode.or(Some(QueueMode::Contact));
            }
            ids.link_id = ids.link_id.filter(|_| version.0 >= 15);
            ids.service_id = ids.service_id.filter(|_| version.0 >= 16);
            ids.notifier = ids.notifier.filter(|_| version.0 >= 17);
            Response::Ids(ids)
        }
        other => other,
    }
}

fn queue_uri() -> impl Strategy<Value = QueueUri> {
    let versions = (0..6_u16, 0..6_u16).prop_map(|(min, more)| {
        ClientVersionRange::new(ClientVersion(min), ClientVersion(min + more)).unwrap()
    });
    let sender_id = vec(any::<u8>(), 1..=255);
    (versions, relay(), sender_id, dh_key(), option::of(mode())).prop_map(
        |(versions, relay, sender_id, dh_key, mode)| QueueUri {
            versions,
            relay,
            sender_id: EntityId::new(&sender_id).unwrap().into(),
            dh_key,
            mode,
        },
    )
}

proptest! {
    #[test]
    fn a_command_comes_back_as_its_version_knows_it(version in version(), command in command()) {
        let mut bytes = Vec::new();
        command.encode(version, &mut bytes).unwrap();
        let decoded = Command::decode(version, &bytes);
        if version < command.since() {
            prop_assert_eq!(decoded, Err(CommandError::Unknown));
        } else {
            prop_assert_eq!(decoded, Ok(command_in(version, command)));
        }
    }

    #[test]
    fn a_command_that_is_cut_off_or_goes_on_is_another_one_or_none(
        version in version(),
        command in command(),
        keep: prop::sample::Index,
        more: u8,
    ) {
        let mut bytes = Vec::new();
        command.encode(version, &mut bytes).unwrap();
        let whole = Command::decode(version, &bytes);
        if whole.is_err() {
            return Ok(());
        }
        prop_assert_ne!(&Command::decode(version, &bytes[..keep.index(bytes.len())]), &whole);
        bytes.push(more);
        prop_assert_ne!(Command::decode(version, &bytes), whole);
    }

    #[test]
    fn a_response_comes_back_as_its_version_knows_it(version in version(), response in response()) {
        let mut bytes = Vec::new();
        response.encode(version, &mut bytes).unwrap();
        prop_assert_eq!(Response::decode(version, &bytes), Ok(response_in(version, response)));
    }

    #[test]
    fn an_error_comes_back_as_its_version_knows_it(version in version(), error in error()) {
        let mut bytes = Vec::new();
        error.encode(version, &mut bytes);
        prop_assert_eq!(ErrorType::decode(&bytes), Ok(error_in(version, error)));
    }

    #[test]
    fn an_address_comes_back_from_its_text_and_its_bytes(
        relay in relay(),
        basic_auth in option::of(password()),
    ) {
        prop_assert_eq!(relay.to_string().parse::<RelayAddress>(), Ok(relay.clone()));
        let mut bytes = Vec::new();
        relay.encode(&mut bytes);
        prop_assert_eq!(RelayAddress::decode(&mut Reader::new(&bytes)), Ok(relay.clone()));
        let server = ServerAddress { relay, basic_auth };
        prop_assert_eq!(server.to_string_with_password().parse(), Ok(server));
    }

    #[test]
    fn a_queue_uri_comes_back_from_its_text_and_its_bytes(uri in queue_uri()) {
        prop_assert_eq!(uri.to_string().parse::<QueueUri>(), Ok(uri.clone()));
        let mut bytes = Vec::new();
        uri.encode(&mut bytes);
        let mode = uri.mode.filter(|mode| {
            *mode == QueueMode::Messaging || uri.versions.min() >= ClientVersion::SHORT_LINKS
        });
        let decoded = QueueUri::decode(&mut Reader::new(&bytes));
        prop_assert_eq!(decoded, Ok(QueueUri { mode, ..uri }));
    }

    #[test]
    fn no_bytes_make_a_parser_panic(
        version in version(),
        tag in "[A-Z]{2,5} ?|(CMD|PROXY|NAME|ERR) [A-Z]{4,9} ?",
        bytes: Vec<u8>,
    ) {
        for bytes in [&bytes[..], &[tag.as_bytes(), &bytes].concat()] {
            let _ = Command::decode(version, bytes);
            let _ = Response::decode(version, bytes);
            let _ = ErrorType::decode(bytes);
            let _ = TransportError::decode(bytes);
            let _ = RelayAddress::decode(&mut Reader::new(bytes));
            let _ = QueueUri::decode(&mut Reader::new(bytes));
        }
    }

    #[test]
    fn no_change_of_a_command_or_response_makes_a_parser_panic(
        version in version(),
        command in command(),
        response in response(),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let (mut bytes, mut more) = (Vec::new(), Vec::new());
        command.encode(version, &mut bytes).unwrap();
        response.encode(version, &mut more).unwrap();
        let (first, second) = (at.index(bytes.len()), at.index(more.len()));
        (bytes[first], more[second]) = (byte, byte);
        let _ = Command::decode(version, &bytes);
        let _ = Response::decode(version, &more);
    }

    #[test]
    fn no_text_makes_an_address_parser_panic(text: String, rest in "[@:,.#/?&=%a-z0-9\\[\\]-]{0,99}") {
        let identity = "-KAnFTH0QAZPJPYGqtYUryCSFDIgu9bIcU52o4_wdm8=";
        for text in [text, rest.clone(), format!("smp://{identity}{rest}"), format!("smp://{identity}@a/AA#/?{rest}")] {
            let _ = text.parse::<ServerAddress>();
            let _ = text.parse::<RelayAddress>();
            let _ = text.parse::<QueueUri>();
            let _ = text.parse::<Host>();
            let _ = text.parse::<ClientVersionRange>();
        }
    }

    #[test]
    fn an_address_that_is_taken_is_the_same_when_written(rest in "(:[a-z]{1,3})?@[a1.:\\[\\],-]{1,20}(:[0-9]{1,6})?") {
        let identity = "-KAnFTH0QAZPJPYGqtYUryCSFDIgu9bIcU52o4_wdm8=";
        if let Ok(address) = format!("smp://{identity}{rest}").parse::<ServerAddress>() {
            prop_assert_eq!(address.to_string_with_password().parse(), Ok(address));
        }
    }
}
