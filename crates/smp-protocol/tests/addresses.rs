//! Addresses of relays and queue URIs as other programs read and write them, and our own rules.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::Value;
use smp_protocol::{
    AddressError, BasicAuth, ClientVersion, ClientVersionRange, DEFAULT_PORT, DhPublicKey,
    Fingerprint, Host, MAX_ADDRESS, QueueMode, QueueUri, Reader, RelayAddress, SenderId,
    ServerAddress,
};

const LINKS: &str = include_str!("vectors/links.json");
const IDENTITY: &str = "-KAnFTH0QAZPJPYGqtYUryCSFDIgu9bIcU52o4_wdm8=";

fn recorded(key: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(LINKS).unwrap();
    file[key].as_array().unwrap().clone()
}

fn hex(value: &Value) -> Vec<u8> {
    let digits: Vec<u8> = value
        .as_str()
        .unwrap()
        .chars()
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|digits| digits[0] * 16 + digits[1])
        .collect()
}

fn canonical(value: &Value) -> &str {
    value
        .get("canonical")
        .unwrap_or(&value["input"])
        .as_str()
        .unwrap()
}

fn binary(relay: &RelayAddress) -> Vec<u8> {
    let mut out = Vec::new();
    relay.encode(&mut out);
    out
}

fn decode(bytes: &[u8]) -> Option<RelayAddress> {
    let mut reader = Reader::new(bytes);
    RelayAddress::decode(&mut reader)
        .ok()
        .filter(|_| reader.is_empty())
}

fn server(rest: &str) -> Result<ServerAddress, AddressError> {
    format!("smp://{IDENTITY}{rest}").parse()
}

/// What other programs take and this crate does not: nobody can connect with it.
fn is_refused_by_us(input: &str) -> Option<AddressError> {
    if input.ends_with(":70000") {
        return Some(AddressError::Port);
    }
    input
        .contains("-KAnFTH0QAZPJPYGqtYU@")
        .then_some(AddressError::Fingerprint)
}

#[test]
fn recorded_addresses_of_relays_are_read_and_written() {
    let (mut taken, mut refused, mut by_us) = (0, 0, 0);
    for value in recorded("servers") {
        let input = value["input"].as_str().unwrap();
        let parsed = input.parse::<ServerAddress>();
        if let Some(error) = is_refused_by_us(input) {
            assert_eq!(parsed, Err(error));
            assert_eq!(decode(&hex(&value["binary_without_password"])), None);
            by_us += 1;
            continue;
        }
        if value["accepted"] == false {
            assert!(parsed.is_err(), "{input}");
            refused += 1;
            continue;
        }
        let address = parsed.unwrap();
        compare(&address.relay, &value["decoded"]);
        assert_eq!(
            binary(&address.relay),
            hex(&value["binary_without_password"])
        );
        assert_eq!(
            decode(&binary(&address.relay)).as_ref(),
            Some(&address.relay)
        );
        // Where other programs write IPv6 so that the port can be taken for a part of it, we do not.
        let expected = if input.contains('[') {
            input
        } else {
            canonical(&value)
        };
        assert_eq!(*address.to_string_with_password(), expected);
        taken += 1;
    }
    assert_eq!((taken, refused, by_us), (11, 4, 2));
}

#[test]
fn recorded_queue_uris_are_read_and_written() {
    let (mut taken, mut refused) = (0, 0);
    for value in recorded("queue_uris") {
        let input = value["input"].as_str().unwrap();
        let parsed = input.parse::<QueueUri>();
        if value["accepted"] == false {
            assert!(parsed.is_err(), "{input}");
            refused += 1;
            continue;
        }
        let (uri, decoded) = (parsed.unwrap(), &value["decoded"]);
        assert_eq!(uri.versions.min().0, decoded["client_version_min"]);
        assert_eq!(uri.versions.max().0, decoded["client_version_max"]);
        compare(&uri.relay, &decoded["server"]);
        assert_eq!(uri.sender_id.as_bytes(), hex(&decoded["sender_id"]));
        assert_eq!(uri.dh_key.to_spki()[..], hex(&decoded["dh_public_spki"]));
        assert_eq!(uri.to_string(), canonical(&value));

        let mut bytes = Vec::new();
        uri.encode(&mut bytes);
        assert_eq!(bytes, hex(&value["binary"]));
        let mut reader = Reader::new(&bytes);
        let read = QueueUri::decode(&mut reader).unwrap();
        assert!(reader.is_empty());
        assert_eq!(
            read.mode,
            uri.mode.filter(|_| !decoded["queue_mode"].is_null())
        );
        assert_eq!(
            QueueUri {
                mode: uri.mode,
                ..read
            },
            uri
        );
        taken += 1;
    }
    assert_eq!((taken, refused), (10, 2));
}

fn compare(relay: &RelayAddress, decoded: &Value) {
    let hosts: Vec<_> = relay.hosts().iter().map(ToString::to_string).collect();
    assert_eq!(hosts, *decoded["hosts"].as_array().unwrap());
    assert_eq!(
        relay.port().map_or(String::new(), |port| port.to_string()),
        decoded["port"]
    );
    assert_eq!(
        relay.fingerprint().as_bytes()[..],
        hex(&decoded["key_hash"])
    );
}

#[test]
fn no_password_gets_into_a_log() {
    let address = server(":secret@smp.example.com").unwrap();
    let public = format!("smp://{IDENTITY}@smp.example.com");
    assert_eq!(address.to_string(), public);
    assert_eq!(
        format!("{address:?} {:?}", address.basic_auth),
        "ServerAddress Some(BasicAuth)"
    );
    assert_eq!(
        *address.to_string_with_password(),
        format!("smp://{IDENTITY}:secret@smp.example.com")
    );
    assert_eq!(public.parse(), Ok(address.relay));
}

#[test]
fn debug_shows_nothing_of_an_address() {
    let value = &recorded("queue_uris")[0];
    let uri: QueueUri = value["input"].as_str().unwrap().parse().unwrap();
    assert_eq!(format!("{uri:?} {:?}", uri.relay), "QueueUri RelayAddress");
    assert_eq!(format!("{:?}", uri.relay.hosts()), "[Host::Domain]");
}

#[test]
fn a_password_may_not_be_where_none_is_expected() {
    let address = format!("smp://{IDENTITY}:secret@smp.example.com");
    assert_eq!(
        address.parse::<RelayAddress>(),
        Err(AddressError::UnexpectedPassword)
    );
    let value = &recorded("queue_uris")[0];
    let uri = value["input"]
        .as_str()
        .unwrap()
        .replace("@smp", ":secret@smp");
    assert_eq!(
        uri.parse::<QueueUri>(),
        Err(AddressError::UnexpectedPassword)
    );
}

#[test]
fn each_fault_of_an_address_has_its_error() {
    assert_eq!(
        "xftp://a@b".parse::<ServerAddress>(),
        Err(AddressError::Scheme)
    );
    assert_eq!(
        "smp://smp.example.com".parse::<ServerAddress>(),
        Err(AddressError::NoFingerprint)
    );
    assert_eq!(
        "smp://AAAA@host".parse::<ServerAddress>(),
        Err(AddressError::Fingerprint)
    );
    let long = format!("smp://{}", "a".repeat(MAX_ADDRESS));
    assert_eq!(long.parse::<ServerAddress>(), Err(AddressError::TooLong));
    let cases = [
        ("@", AddressError::NoHost),
        ("@a,", AddressError::NoHost),
        ("@,a", AddressError::Host),
        ("@a b", AddressError::Host),
        ("@[::1", AddressError::Host),
        ("@[::1]5223", AddressError::Host),
        ("@192.0.2.999", AddressError::Host),
        ("@a:", AddressError::Port),
        ("@a:0", AddressError::Port),
        ("@a:65536", AddressError::Port),
        ("@a:+5", AddressError::Port),
        ("@[::1]:", AddressError::Port),
        ("@a:b:5223", AddressError::Host),
        (":@a", AddressError::Password),
        (":a:b@a", AddressError::Password),
        ("@a/", AddressError::Trailing),
        ("@a?x=1", AddressError::Trailing),
        ("@a#", AddressError::Trailing),
    ];
    for (rest, error) in cases {
        assert_eq!(server(rest), Err(error), "{rest}");
    }
}

#[test]
fn each_fault_of_a_queue_uri_has_its_error() {
    let queue = format!("smp://{IDENTITY}@smp.example.com");
    let key = "MCowBQYDK2VuAyEAOUR4O8GZ9tJiBUQIEVF1rs50uqBm5W9p95APTE8mEJI";
    let good = format!("{queue}/AAAA#/?v=1-4&dh={key}");
    assert!(good.parse::<QueueUri>().is_ok());
    let cases = [
        (queue.clone(), AddressError::NoParameters),
        (format!("{queue}#/?v=1&dh={key}"), AddressError::QueueId),
        (format!("{queue}/#/?v=1&dh={key}"), AddressError::QueueId),
        (format!("{queue}/A#/?v=1&dh={key}"), AddressError::QueueId),
        (
            format!("{queue}/{}#/?v=1&dh={key}", "A".repeat(344)),
            AddressError::QueueId,
        ),
        (format!("{queue}/AAAA#"), AddressError::Key),
        (format!("{queue}/AAAA#/?dh={key}"), AddressError::Versions),
        (
            format!("{queue}/AAAA#/?v=4-1&dh={key}"),
            AddressError::Versions,
        ),
        (
            format!("{queue}/AAAA#/?v=+1&dh={key}"),
            AddressError::Versions,
        ),
        (
            format!("{queue}/AAAA#/?v=65536&dh={key}"),
            AddressError::Versions,
        ),
        (format!("{queue}/AAAA#/?v=1"), AddressError::Key),
        (format!("{queue}/AAAA#/?v=1&dh=AAAA"), AddressError::Key),
        (format!("{good}&x=%"), AddressError::Encoding),
        (format!("{good}&x=%fg"), AddressError::Encoding),
        (format!("{good}&x=%ff"), AddressError::Encoding),
        (format!("{good}&q=x"), AddressError::Mode),
        (format!("{good}&srv=a,"), AddressError::Host),
    ];
    for (uri, error) in cases {
        assert_eq!(uri.parse::<QueueUri>(), Err(error), "{uri}");
    }
}

#[test]
fn ipv6_is_read_with_and_without_brackets_and_written_in_them() {
    let bracketed = server("@[2001:db8::1]").unwrap();
    assert_eq!(
        bracketed.to_string(),
        format!("smp://{IDENTITY}@[2001:db8::1]")
    );
    assert_eq!(server("@2001:db8::1").unwrap(), bracketed);
    assert_eq!(bracketed.relay.port_or_default(), DEFAULT_PORT);
    // What is an address as a whole has no port; nine groups cannot be one.
    assert_eq!(server("@2001:db8::1:5223").unwrap().relay.port(), None);
    let full = server("@2001:db8:1:2:3:4:5:6:443").unwrap();
    assert_eq!(
        full.to_string(),
        format!("smp://{IDENTITY}@[2001:db8:1:2:3:4:5:6]:443")
    );
    let two = server("@2001:db8::1,a.example:443").unwrap();
    assert_eq!(
        two.to_string(),
        format!("smp://{IDENTITY}@[2001:db8::1],a.example:443")
    );
}

#[test]
fn an_address_has_1_to_255_hosts() {
    let host: Host = "a".parse().unwrap();
    let relay = |hosts| RelayAddress::new(Fingerprint([1; 32]), vec![host.clone(); hosts], None);
    assert_eq!(relay(0), Err(AddressError::NoHost));
    assert_eq!(relay(256), Err(AddressError::TooManyHosts));
    let most = relay(255).unwrap();
    assert_eq!(decode(&binary(&most)).as_ref(), Some(&most));
    assert_eq!(most.to_string().parse(), Ok(most));
    assert_eq!(
        server(&format!("@{}", vec!["a"; 256].join(","))),
        Err(AddressError::TooManyHosts)
    );
    assert_eq!(
        RelayAddress::new(Fingerprint([1; 32]), vec![host], Some(0)),
        Err(AddressError::Port)
    );
}

#[test]
fn the_least_client_version_says_how_a_queue_uri_is_written() {
    let hosts = ["a.example", "[2001:db8::1]", "b.example"];
    let hosts = hosts.map(|host| host.parse().unwrap()).to_vec();
    let uri = |min: u16, mode| QueueUri {
        versions: ClientVersionRange::new(ClientVersion(min), ClientVersion(4)).unwrap(),
        relay: RelayAddress::new(Fingerprint([0; 32]), hosts.clone(), Some(443)).unwrap(),
        sender_id: SenderId::new(&[7; 24]).unwrap(),
        dh_key: DhPublicKey([9; 32]),
        mode,
    };
    let end = |min, mode| {
        let text = uri(min, mode).to_string();
        assert_eq!(text.parse(), Ok(uri(min, mode)));
        text.split_once("%3D").map(|(_, end)| end.to_owned())
    };
    let srv = "&srv=%5B2001%3Adb8%3A%3A1%5D%2Cb.example";
    assert_eq!(end(1, None).as_deref(), Some(srv));
    let messaging = Some(QueueMode::Messaging);
    assert_eq!(end(1, messaging), Some(format!("&q=m&k=s{srv}")));
    assert_eq!(end(2, messaging).as_deref(), Some("&q=m&k=s"));
    assert_eq!(end(4, messaging).as_deref(), Some("&q=m"));
    assert_eq!(end(4, Some(QueueMode::Contact)).as_deref(), Some("&q=c"));
    assert_eq!(end(4, None).as_deref(), Some(""));
}

#[test]
fn something_may_follow_a_binary_queue_uri() {
    let value = &recorded("queue_uris")[0];
    let uri: QueueUri = value["input"].as_str().unwrap().parse().unwrap();
    let versions = ClientVersionRange::new(ClientVersion(4), ClientVersion(4)).unwrap();
    let newer = QueueUri {
        versions,
        ..uri.clone()
    };
    for uri in [
        uri.clone(),
        newer.clone(),
        QueueUri { mode: None, ..uri },
        QueueUri {
            mode: None,
            ..newer
        },
    ] {
        let mut bytes = Vec::new();
        uri.encode(&mut bytes);
        bytes.extend(b"0rest");
        let mut reader = Reader::new(&bytes);
        assert_eq!(QueueUri::decode(&mut reader), Ok(uri));
        assert_eq!(reader.rest(), b"0rest");
    }
}

#[test]
fn a_password_is_compared_and_encoded_whole() {
    let password = BasicAuth::new("p4ss+w.rd-!").unwrap();
    let mut bytes = Vec::new();
    password.encode(&mut bytes);
    assert_eq!(bytes, b"\x0bp4ss+w.rd-!");
    assert_eq!(
        BasicAuth::decode(&mut Reader::new(&bytes)),
        Ok(password.clone())
    );
    for no_password in [&b"\x0bp4ss w.rd-!"[..], b"\x03ab\xff", b"\x00"] {
        let decoded = BasicAuth::decode(&mut Reader::new(no_password)).unwrap();
        assert_ne!(decoded, password);
        assert!(BasicAuth::new(decoded.as_str()).is_err());
    }
    assert!(BasicAuth::decode(&mut Reader::new(b"\x03ab")).is_err());
}
