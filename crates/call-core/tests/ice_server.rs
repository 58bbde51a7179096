//! Server lines, and the choice of servers for a call.

use std::collections::HashMap;

use call_core::{
    IceHost, IceServer, IceServerError, IceServerScheme, IceTransport, MAX_ICE_SERVER_LINE,
    MAX_ICE_SERVERS, MAX_RELAYS_PER_CALL, MAX_STUN_PER_CALL, NoRelayServer, choose_servers,
    parse_servers,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

#[test]
fn a_line_of_each_scheme_gives_its_url() {
    for (line, url) in [
        ("stun:stun.example.org:443", "stun:stun.example.org:443"),
        ("stun:stun.example.org", "stun:stun.example.org:3478"),
        ("stuns:stun.example.org", "stuns:stun.example.org:5349"),
        (
            "turn:u:p@turn.example.org:443",
            "turn:turn.example.org:443?transport=udp",
        ),
        ("turn:u:p@192.0.2.1", "turn:192.0.2.1:3478?transport=udp"),
        (
            "turns:u:p@turn.example.org",
            "turns:turn.example.org:5349?transport=tcp",
        ),
        (
            "turns:u:p@turn.example.org:443?transport=udp",
            "turns:turn.example.org:443?transport=udp",
        ),
        (
            "turn:u:p@[2001:db8::1]:443?transport=tcp",
            "turn:[2001:db8::1]:443?transport=tcp",
        ),
        (
            "turn:u:p@[2001:db8::1]",
            "turn:[2001:db8::1]:3478?transport=udp",
        ),
        ("  STUN:localhost \r", "stun:localhost:3478"),
    ] {
        assert_eq!(parse(line).unwrap().url(), url, "{line}");
    }
}

#[test]
fn the_parts_of_a_turn_line_are_found() {
    let server = parse("turns:alice:pw@turn.example.org:443?transport=tcp").unwrap();
    assert_eq!(server.scheme(), IceServerScheme::Turns);
    assert_eq!(*server.host(), IceHost::Name("turn.example.org".into()));
    assert_eq!(
        (server.port(), server.transport()),
        (443, IceTransport::Tcp)
    );
    let credentials = server.credentials().unwrap();
    assert_eq!(
        (credentials.username(), credentials.password()),
        ("alice", "pw")
    );
}

#[test]
fn any_symbol_works_in_a_password_and_none_is_decoded() {
    for password in [
        "p@ss",
        "p:a:ss",
        "p?transport=udp",
        "p%40ss",
        "#/[]{}\"'\\ <>&=+",
        "пароль",
        "@",
        ":",
    ] {
        let server = parse(&format!("turn:user/?%@name:{password}@host:1")).unwrap();
        let credentials = server.credentials().unwrap();
        assert_eq!(
            (credentials.username(), credentials.password()),
            ("user/?%@name", password)
        );
        assert_eq!(server.url(), "turn:host:1?transport=udp");
    }
}

#[test]
fn a_wrong_line_says_what_is_wrong_and_what_to_do() {
    use IceServerError::*;
    for (line, error, advice) in [
        ("", UnknownScheme, "put one in front"),
        (
            "turn.example.org:3478",
            UnknownScheme,
            "stun:, stuns:, turn: or turns:",
        ),
        ("http:host", UnknownScheme, "put one in front"),
        ("turn://u:p@host", Slashes, "remove it"),
        (
            "turn:host:3478",
            NoCredentials,
            "write turn:username:password@host:port",
        ),
        (
            "turn:user@host",
            NoPassword,
            "write turn:username:password@host:port",
        ),
        ("turn::p@host", NoPassword, "user name is missing"),
        ("turn:u:@host", NoPassword, "password"),
        ("turn:u:p\u{7}@host", ControlCharacter, "type it anew"),
        ("stun:u:p@host", CredentialsForStun, "write turn:"),
        ("stun:", NoHost, "write its name or address"),
        ("turn:u:p@:3478", NoHost, "write its name or address"),
        ("stun:ho st", InvalidHost, "check it"),
        ("stun:a..b", InvalidHost, "check it"),
        ("stun:1.2.3.999", InvalidHost, "check it"),
        ("stun:[::g]:1", InvalidHost, "check it"),
        ("stun:2001:db8::1", Brackets, "[2001:db8::1]:3478"),
        ("stun:[::1", Brackets, "in brackets"),
        ("stun:host:0", InvalidPort, "1 to 65535"),
        ("stun:host:65536", InvalidPort, "1 to 65535"),
        ("stun:host:+1", InvalidPort, "1 to 65535"),
        ("stun:host:", InvalidPort, "leave it and the : out"),
        ("stun:[::1]1", InvalidPort, "1 to 65535"),
        (
            "turn:u:p@host?transport=sctp",
            UnknownQuery,
            "transport=udp",
        ),
        ("turn:u:p@host?x", UnknownQuery, "transport=tcp"),
        ("stun:host?transport=udp", TransportForStun, "remove the ?"),
    ] {
        let found = parse(line).unwrap_err();
        assert_eq!(found, error, "{line}");
        assert!(found.to_string().contains(advice), "{found}");
    }
}

#[test]
fn lengths_are_bounded() {
    let host = format!(
        "{}.org",
        ["a".repeat(63), "b".repeat(63), "c".repeat(63)].join(".")
    );
    assert!(parse(&format!("stun:{host}")).is_ok());
    assert_eq!(
        parse(&format!("stun:a{host}")),
        Err(IceServerError::InvalidHost)
    );
    let (user, password) = ("u".repeat(508), "p".repeat(512));
    assert!(parse(&format!("turn:{user}:{password}@host")).is_ok());
    for line in [
        format!("turn:u{user}:{password}@host"),
        format!("turn:{user}:p{password}@host"),
    ] {
        assert_eq!(parse(&line), Err(IceServerError::CredentialsTooLong));
    }
    let line = format!("stun:{}", "a".repeat(MAX_ICE_SERVER_LINE));
    assert_eq!(parse(&line), Err(IceServerError::TooLong));
}

#[test]
fn neither_host_nor_password_is_printed() {
    let server = parse("turn:alice:secret@turn.example.org:443").unwrap();
    let text = format!("{server:?} {:?} {:?}", server.host(), server.credentials());
    for part in ["alice", "secret", "example"] {
        assert!(!text.contains(part), "{text}");
    }
    let error = parse("turn:alice:secret@turn.example.org:x").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[test]
fn a_list_skips_blank_lines_and_names_the_line_that_is_wrong() {
    let servers = parse_servers("\nstun:a\r\n  \nturn:u:p@b\n").unwrap();
    assert_eq!(servers.len(), 2);
    let error = parse_servers("stun:a\n\nturn:b\n").unwrap_err();
    assert_eq!(
        (error.line, error.error),
        (3, IceServerError::NoCredentials)
    );
    assert!(error.to_string().starts_with("line 3 of the server list: "));
    let many = "stun:a\n".repeat(MAX_ICE_SERVERS + 1);
    let error = parse_servers(&many).unwrap_err();
    assert_eq!(
        (error.line, error.error),
        (MAX_ICE_SERVERS + 1, IceServerError::TooMany)
    );
}

#[test]
fn a_call_uses_two_turn_servers_and_one_stun_server() {
    let chosen = choose_servers(&configured(), false, &mut rng(1)).unwrap();
    let relays: Vec<_> = chosen.iter().map(IceServer::is_relay).collect();
    assert_eq!(relays, [true, true, false]);
    assert_ne!(chosen[0], chosen[1]);
    assert_eq!(chosen.len(), MAX_RELAYS_PER_CALL + MAX_STUN_PER_CALL);
    assert_eq!(
        chosen,
        choose_servers(&configured(), false, &mut rng(1)).unwrap()
    );
}

#[test]
fn a_relay_only_call_uses_turn_servers_alone_and_fails_without_one() {
    let chosen = choose_servers(&configured(), true, &mut rng(1)).unwrap();
    assert!(chosen.iter().all(IceServer::is_relay) && chosen.len() == 2);
    let stun = parse_servers("stun:a\nstuns:b").unwrap();
    for servers in [&stun[..], &[]] {
        let error = choose_servers(servers, true, &mut rng(1)).unwrap_err();
        assert_eq!(error, NoRelayServer);
        assert!(
            error
                .to_string()
                .contains("add a line turn:username:password@host:port")
        );
    }
    assert_eq!(choose_servers(&[], false, &mut rng(1)), Ok(vec![]));
    assert_eq!(choose_servers(&stun, false, &mut rng(1)).unwrap().len(), 1);
}

#[test]
fn a_server_listed_twice_is_chosen_once() {
    let servers = parse_servers(&"turn:u:p@a\n".repeat(5)).unwrap();
    assert_eq!(
        choose_servers(&servers, true, &mut rng(1)).unwrap().len(),
        1
    );
}

#[test]
fn each_pair_of_turn_servers_is_as_likely_as_any_other() {
    const DRAWS: usize = 12_000;
    let (servers, mut rng) = (configured(), rng(7));
    let mut counts: HashMap<(String, String), usize> = HashMap::new();
    for _ in 0..DRAWS {
        let chosen = choose_servers(&servers, true, &mut rng).unwrap();
        *counts
            .entry((chosen[0].url(), chosen[1].url()))
            .or_default() += 1;
    }
    // 4 × 3 ordered pairs, each expected 1,000 times with a standard deviation of 30.
    assert_eq!(counts.len(), 12);
    assert!(
        counts.values().all(|count| (850..1150).contains(count)),
        "{counts:?}"
    );
}

proptest! {
    #[test]
    fn a_server_written_as_a_line_is_the_same_server(line in line()) {
        let server = parse(&line).unwrap();
        let written = server.to_line();
        prop_assert_eq!(parse(&written).unwrap(), server);
        prop_assert_eq!(written.to_lowercase(), line.to_lowercase());
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(stun|turns?)?:?\\PC{0,60}|.*") {
        if let Ok(server) = parse(&text) {
            prop_assert_eq!(parse(&server.to_line()).unwrap(), server);
        }
        let _ = parse_servers(&text);
    }
}

fn line() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "[a-z0-9_-]{1,20}(\\.[a-z]{1,10}){0,3}[a-z]".prop_map(|name| name),
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| format!("[{address}]")),
    ];
    let port = prop::option::of(1u16..).prop_map(|port| port.map(|p| format!(":{p}")));
    let credentials = "[^:\\pC]{1,20}:\\PC{1,20}"
        .prop_filter("no slashes in front", |text| !text.starts_with("//"));
    let query = prop_oneof![Just(""), Just("?transport=udp"), Just("?transport=tcp")];
    (any::<bool>(), any::<bool>(), credentials, host, port, query).prop_map(
        |(relay, tls, credentials, host, port, query)| {
            let port = port.unwrap_or_default();
            let tls = if tls { "s" } else { "" };
            if relay {
                format!("turn{tls}:{credentials}@{host}{port}{query}")
            } else {
                format!("stun{tls}:{host}{port}")
            }
        },
    )
}

fn configured() -> Vec<IceServer> {
    let lines = "stun:a\nstun:b\nturn:u:p@c\nturn:u:p@d\nturns:u:p@e\nturn:u:p@f?transport=tcp";
    parse_servers(lines).unwrap_or_else(|error| panic!("{error}"))
}

fn parse(line: &str) -> Result<IceServer, IceServerError> {
    line.parse()
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}
