//! What each version knows, byte by byte, where no recorded session shows it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use smp_protocol::{
    AuthPublicKey, Command, CommandError, DhPublicKey, ErrorType, IdsHash, LinkData, LinkId,
    MAX_NAME, MessageFlags, Need, NetworkError, NewQueue, NotifierId, QueueIds, QueueMode,
    QueueRequest, RecipientId, Response, ResponseError, SenderId, ServiceId, SmpVersion,
    UNKNOWN_COUNT,
};

const KEY: AuthPublicKey = AuthPublicKey::Ed25519([1; 32]);
const DH_KEY: DhPublicKey = DhPublicKey([2; 32]);
const HASH: IdsHash = IdsHash([3; 16]);

fn versions() -> impl Iterator<Item = SmpVersion> {
    (6..=20).map(SmpVersion)
}

fn command_bytes(command: &Command, version: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode(SmpVersion(version), &mut bytes).unwrap();
    bytes
}

fn response_bytes(response: &Response, version: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    response.encode(SmpVersion(version), &mut bytes).unwrap();
    bytes
}

fn decode(version: u16, bytes: &[u8]) -> Result<Command, CommandError> {
    Command::decode(SmpVersion(version), bytes)
}

fn spki(key: [u8; 44]) -> Vec<u8> {
    [&[44][..], &key].concat()
}

/// One of each command.
fn commands() -> Vec<Command> {
    let (count, ids_hash) = (7, HASH);
    let data = LinkData {
        fixed: b"fixed".to_vec(),
        user: b"user".to_vec(),
    };
    vec![
        Command::Ping,
        Command::New(Box::new(new_queue())),
        Command::Sub,
        Command::Subs { count, ids_hash },
        Command::Key(KEY),
        Command::Rkey(vec![KEY]),
        Command::Lset {
            link_id: LinkId::new(b"link").unwrap(),
            data,
        },
        Command::Ldel,
        Command::Nkey {
            key: KEY,
            dh_key: DH_KEY,
        },
        Command::Ndel,
        Command::Get,
        Command::Ack([4; 24].into()),
        Command::Off,
        Command::Del,
        Command::Que,
        Command::Skey(KEY),
        Command::Send {
            flags: MessageFlags::default(),
            body: b"body".to_vec(),
        },
        Command::Lkey(KEY),
        Command::Lget,
        Command::Nsub,
        Command::Nsubs { count, ids_hash },
        Command::Prxy {
            relay: "smp://AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=@a"
                .parse()
                .unwrap(),
            basic_auth: None,
        },
        Command::Pfwd {
            version: SmpVersion(18),
            key: DH_KEY,
            body: b"body".to_vec(),
        },
        Command::Rfwd(b"body".to_vec()),
        Command::Rslv("alice.simplex".to_owned()),
    ]
}

fn new_queue() -> NewQueue {
    NewQueue {
        auth_key: KEY,
        dh_key: DH_KEY,
        basic_auth: None,
        subscribe: true,
        request: Some(QueueRequest::Contact(None)),
        notifier: Some((KEY, DH_KEY)),
    }
}

#[test]
fn a_command_is_unknown_before_its_version_and_known_from_then_on() {
    let since = [
        ("PRXY", 8),
        ("PFWD", 8),
        ("RFWD", 8),
        ("SKEY", 9),
        ("RKEY", 15),
        ("LSET", 15),
        ("LDEL", 15),
        ("LKEY", 15),
        ("LGET", 15),
        ("SUBS", 16),
        ("NSUBS", 16),
        ("RSLV", 20),
    ];
    assert_eq!(commands().len(), 25);
    for command in commands() {
        let listed = since.iter().find(|(tag, _)| *tag == command.tag());
        assert_eq!(command.since().0, listed.map_or(6, |(_, since)| *since));
        for version in versions() {
            let decoded = decode(version.0, &command_bytes(&command, version.0));
            if version < command.since() {
                assert_eq!(decoded, Err(CommandError::Unknown));
            } else {
                assert_eq!(decoded.unwrap().tag(), command.tag());
            }
        }
    }
}

#[test]
fn what_follows_a_command_is_a_wrong_parameter_and_what_follows_its_tag_makes_another_tag() {
    let open_ended = ["SEND", "PFWD", "RFWD", "RSLV"];
    for command in commands()
        .iter()
        .filter(|command| !open_ended.contains(&command.tag()))
    {
        for more in [&b" "[..], b"\0", b" more"] {
            let bytes = [&command_bytes(command, 20)[..], more].concat();
            let expected = if bytes.contains(&b' ') && bytes[command.tag().len()] == b' ' {
                CommandError::Syntax
            } else {
                CommandError::Unknown
            };
            assert_eq!(decode(20, &bytes), Err(expected), "{}", command.tag());
        }
    }
    for bytes in [
        &b""[..],
        b" ",
        b"ping",
        b"PINGS",
        b" PING",
        b"PONG",
        b"SUB\0",
    ] {
        assert_eq!(decode(20, bytes), Err(CommandError::Unknown));
    }
}

#[test]
fn a_command_with_parameters_needs_them() {
    for command in commands() {
        let without = decode(20, command.tag().as_bytes());
        let has_none = command_bytes(&command, 20) == command.tag().as_bytes();
        assert_eq!(
            without,
            if has_none {
                Ok(command)
            } else {
                Err(CommandError::Syntax)
            }
        );
    }
}

#[test]
fn services_subscribe_with_parameters_from_version_19_on() {
    let parameters = [&[0, 0, 0, 0, 0, 0, 0, 7, 16][..], &[3; 16]].concat();
    let (count, ids_hash) = (7, HASH);
    let subs = Command::Subs { count, ids_hash };
    let nsubs = Command::Nsubs { count, ids_hash };
    assert_eq!(command_bytes(&subs, 18), b"SUBS");
    assert_eq!(command_bytes(&nsubs, 18), b"NSUBS");
    assert_eq!(
        command_bytes(&subs, 19),
        [b"SUBS ", &parameters[..]].concat()
    );
    assert_eq!(
        command_bytes(&nsubs, 20),
        [b"NSUBS ", &parameters[..]].concat()
    );
    let unknown = Command::Subs {
        count: UNKNOWN_COUNT,
        ids_hash: IdsHash::default(),
    };
    assert_eq!(decode(18, b"SUBS"), Ok(unknown));
    assert_eq!(
        decode(18, &command_bytes(&subs, 19)),
        Err(CommandError::Syntax)
    );
    assert_eq!(decode(19, b"SUBS"), Err(CommandError::Syntax));

    let soks = Response::Soks { count, ids_hash };
    let ends = Response::Ends { count, ids_hash };
    assert_eq!(
        response_bytes(&soks, 18),
        [b"SOKS ", &parameters[..8]].concat()
    );
    assert_eq!(
        response_bytes(&ends, 18),
        [b"ENDS ", &parameters[..8]].concat()
    );
    assert_eq!(
        response_bytes(&soks, 19),
        [b"SOKS ", &parameters[..]].concat()
    );
    assert_eq!(
        response_bytes(&ends, 19),
        [b"ENDS ", &parameters[..]].concat()
    );
    assert_eq!(response_bytes(&Response::Alls, 19), b"ALLS");
}

#[test]
fn older_sessions_get_the_older_answers() {
    let service = Response::Sok(Some(ServiceId::new(b"id").unwrap()));
    assert_eq!(response_bytes(&service, 15), b"OK");
    assert_eq!(response_bytes(&service, 16), b"SOK 1\x02id");
    assert_eq!(response_bytes(&Response::Sok(None), 16), b"SOK 0");
    assert_eq!(response_bytes(&Response::Deld, 9), b"END");
    assert_eq!(response_bytes(&Response::Deld, 10), b"DELD");
    let error = ErrorType::decode(b"BLOCKED reason=spam,notice={}").unwrap();
    let error = Response::Err(error);
    assert_eq!(response_bytes(&error, 11), b"ERR AUTH");
    assert_eq!(response_bytes(&error, 12), b"ERR BLOCKED reason=spam");
    assert_eq!(
        response_bytes(&error, 18),
        b"ERR BLOCKED reason=spam,notice={}"
    );
}

#[test]
fn a_queue_is_created_with_what_the_version_has() {
    let keys = [spki(KEY.to_spki()), spki(DH_KEY.to_spki())].concat();
    let new = Command::New(Box::new(new_queue()));
    let after_keys = |version| {
        let bytes = command_bytes(&new, version);
        bytes
            .strip_prefix(&[b"NEW ", &keys[..]].concat()[..])
            .unwrap()
            .to_vec()
    };
    assert_eq!(after_keys(8), b"S");
    assert_eq!(after_keys(9), b"0SF");
    assert_eq!(after_keys(14), b"0SF");
    assert_eq!(after_keys(15), b"0S1C0");
    assert_eq!(after_keys(16), b"0S1C0");
    assert_eq!(after_keys(17), [b"0S1C01", &keys[..]].concat());

    let ids = |notifier| {
        Response::Ids(Box::new(QueueIds {
            recipient_id: RecipientId::new(b"r").unwrap(),
            sender_id: SenderId::new(b"s").unwrap(),
            dh_key: DH_KEY,
            mode: Some(QueueMode::Messaging),
            link_id: None,
            service_id: Some(ServiceId::new(b"x").unwrap()),
            notifier,
        }))
    };
    let notifier = Some((NotifierId::new(b"n").unwrap(), DH_KEY));
    let dh_key = spki(DH_KEY.to_spki());
    let start = [b"IDS \x01r\x01s", &dh_key[..]].concat();
    let after_key = |version| {
        let bytes = response_bytes(&ids(notifier.clone()), version);
        bytes.strip_prefix(&start[..]).unwrap().to_vec()
    };
    assert_eq!(after_key(8), b"");
    assert_eq!(after_key(14), b"T");
    assert_eq!(after_key(15), b"1M0");
    assert_eq!(after_key(16), b"1M01\x01x");
    assert_eq!(after_key(17), [b"1M01\x01x1\x01n", &dh_key[..]].concat());
    assert_eq!(
        response_bytes(&ids(None), 20),
        [&start[..], b"1M01\x01x0"].concat()
    );
}

#[test]
fn a_queue_without_a_mode_is_created_as_one_for_requests_before_version_15() {
    let new = Command::New(Box::new(NewQueue {
        request: None,
        ..new_queue()
    }));
    assert!(command_bytes(&new, 14).ends_with(b"0SF"));
    assert!(command_bytes(&new, 16).ends_with(b"0S0"));
    assert_eq!(
        decode(16, &command_bytes(&new, 16)).map(|new| command_bytes(&new, 15)),
        { Ok(command_bytes(&new, 15)) }
    );
}

#[test]
fn flags_of_newer_versions_are_skipped() {
    let send = |notification, body: &[u8]| {
        Ok(Command::Send {
            flags: MessageFlags { notification },
            body: body.to_vec(),
        })
    };
    assert_eq!(decode(20, b"SEND Txyz body"), send(true, b"body"));
    assert_eq!(decode(20, b"SEND F "), send(false, b""));
    assert_eq!(decode(20, b"SEND F  T "), send(false, b" T "));
    for bytes in [&b"SEND T"[..], b"SEND  body", b"SEND x body", b"SEND Tbody"] {
        assert_eq!(decode(20, bytes), Err(CommandError::Syntax));
    }
}

#[test]
fn a_name_has_1_to_253_bytes_without_spaces() {
    let longest = "a".repeat(MAX_NAME);
    let rslv = |name: &str| decode(20, format!("RSLV {name}").as_bytes());
    assert_eq!(rslv(&longest), Ok(Command::Rslv(longest.clone())));
    assert_eq!(
        rslv("ünïcode.simplex"),
        Ok(Command::Rslv("ünïcode.simplex".to_owned()))
    );
    for name in ["", "a b", " a", "a ", &"a".repeat(MAX_NAME + 1)] {
        assert_eq!(rslv(name), Err(CommandError::Syntax));
        let written = Command::Rslv(name.to_owned()).encode(SmpVersion(20), &mut Vec::new());
        assert!(written.is_err());
    }
    assert_eq!(decode(20, b"RSLV \xff"), Err(CommandError::Syntax));
}

#[test]
fn what_does_not_fit_its_field_is_not_written() {
    let command = |command: Command| command.encode(SmpVersion(20), &mut Vec::new());
    assert!(command(Command::Rkey(vec![KEY; 255])).is_ok());
    assert!(command(Command::Rkey(vec![KEY; 256])).is_err());
    assert!(command(Command::Rkey(Vec::new())).is_err());
    let data = |user| LinkData {
        fixed: Vec::new(),
        user: vec![0; user],
    };
    let lset = |user| Command::Lset {
        link_id: LinkId::new(b"").unwrap(),
        data: data(user),
    };
    assert!(command(lset(65_535)).is_ok());
    assert!(command(lset(65_536)).is_err());
    let nmsg = |meta| Response::Nmsg {
        nonce: [0; 24],
        meta: vec![0; meta],
    };
    assert!(nmsg(255).encode(SmpVersion(20), &mut Vec::new()).is_ok());
    assert!(nmsg(256).encode(SmpVersion(20), &mut Vec::new()).is_err());
    assert_eq!(decode(20, b"RKEY \x00"), Err(CommandError::Syntax));
}

#[test]
fn ids_of_messages_have_24_bytes() {
    assert_eq!(
        decode(20, &[b"ACK \x18", &[4; 24][..]].concat()),
        Ok(Command::Ack([4; 24].into()))
    );
    assert_eq!(
        decode(20, &[b"ACK \x17", &[4; 23][..]].concat()),
        Err(CommandError::Syntax)
    );
    assert_eq!(decode(20, b"ACK \x00"), Err(CommandError::Syntax));
}

#[test]
fn what_is_no_response_is_told_apart_from_a_malformed_one() {
    let decode = |bytes: &[u8]| Response::decode(SmpVersion(20), bytes);
    for bytes in [&b""[..], b"PING", b"OKAY", b"ok", b"SUBS"] {
        assert_eq!(decode(bytes), Err(ResponseError::Unknown));
    }
    for bytes in [
        &b"OK "[..],
        b"SOK",
        b"SOK 2",
        b"IDS ",
        b"ERR",
        b"ERR X",
        b"INFO \xff",
        b"END\0",
    ] {
        let error = decode(bytes).unwrap_err();
        assert_eq!(
            error == ResponseError::Unknown,
            bytes == b"END\0",
            "{error}"
        );
    }
}

#[test]
fn only_what_senders_ask_is_forwarded() {
    let all = commands();
    let forwarded = all.iter().filter(|command| command.may_be_forwarded());
    let tags: Vec<_> = forwarded.map(Command::tag).collect();
    assert_eq!(tags, ["SKEY", "SEND", "LKEY", "LGET", "RSLV"]);
}

#[test]
fn each_command_needs_its_credentials() {
    use Need::{Forbidden, Optional, Required};
    for command in commands() {
        let expected = match command.tag() {
            "PING" | "PRXY" | "RFWD" | "RSLV" => (Forbidden, Forbidden),
            "NEW" => (Required, Forbidden),
            "SEND" => (Optional, Required),
            "LGET" | "PFWD" => (Forbidden, Required),
            _ => (Required, Required),
        };
        let credentials = command.credentials();
        assert_eq!(
            (credentials.authorization, credentials.entity),
            expected,
            "{}",
            command.tag()
        );
    }
}

#[test]
fn debug_shows_the_tag_alone() {
    let send = Command::Send {
        flags: MessageFlags::default(),
        body: b"secret".to_vec(),
    };
    assert_eq!(format!("{send:?}"), "Command(SEND)");
    assert_eq!(
        format!("{:?}", Response::Info("secret".to_owned())),
        "Response(INFO)"
    );
    let error = NetworkError::Connect("secret".to_owned()).to_string();
    assert!(!error.contains("secret"));
    let debug = format!("{:?}", new_queue());
    assert!(
        !debug.contains(", 1, 1") && !debug.contains("[2"),
        "{debug}"
    );
}
