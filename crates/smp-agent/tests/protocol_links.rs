//! Links as other programs read and write them, and our own rules.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod protocol_golden;

use double_ratchet::{E2eParamsRange, KemParams};
use protocol_golden::{array, base64, e2e_bytes, file, hex, list, text};
use serde_json::Value;
use smp_agent::protocol::{
    AgentVersion, AgentVersionRange, ConnectionLink, ConnectionRequest, ContactKind, LinkServer,
    LinkTextError, MAX_LINK, MAX_QUEUES, RequestKind, ShortLink, ShortLinkKind, ShortLinkScheme,
};
use smp_protocol::{
    AddressError, DecodeError, EncodeError, QueueMode, QueueUri, Reader, RelayAddress,
};

const LINKS: &str = include_str!("vectors/links.json");

const KEY: &str = "xhHWo3lC8pk1RZUbKO7xJjT9l0CKll4uXe2_xOgVmcQ";
const FINGERPRINT: &str = "-KAnFTH0QAZPJPYGqtYUryCSFDIgu9bIcU52o4_wdm8";
const LINK_ID: &str = "mPu372ASTtDDu4j4zfbNqvuQH-pdmugq";
const ONION: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion";

fn recorded(key: &str) -> Vec<Value> {
    list(&file(LINKS), key).to_vec()
}

/// The recorded link with this name.
fn named(name: &str) -> String {
    let links = recorded("links");
    let link = links.iter().find(|link| text(&link["name"]) == name);
    text(&link.unwrap()["input"]).to_owned()
}

fn contact() -> String {
    named("contact address, from the chat program")
}

fn invitation() -> String {
    named("one-time invitation without PQ key, from the chat program")
}

fn pq_invitation() -> String {
    named("invitation with PQ key, sent inside a contact request")
}

fn canonical(value: &Value) -> &str {
    text(value.get("canonical").unwrap_or(&value["input"]))
}

fn read(text: &str) -> Result<ConnectionLink, LinkTextError> {
    text.parse()
}

fn refused(text: &str) -> LinkTextError {
    read(text)
        .err()
        .unwrap_or_else(|| panic!("{text} is taken"))
}

fn binary(request: &ConnectionRequest) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(&mut out).unwrap();
    out
}

#[test]
fn recorded_full_links_are_read_and_written() {
    let (mut taken, mut not) = (0, 0);
    for value in recorded("links") {
        let input = text(&value["input"]);
        if value["accepted"] == false {
            assert!(read(input).is_err(), "{input}");
            not += 1;
            continue;
        }
        let link = read(input).unwrap();
        assert_eq!(link.to_string(), canonical(&value));
        assert_eq!(read(canonical(&value)).as_ref(), Ok(&link));
        let ConnectionLink::Full(request) = link else {
            panic!("{input} is short");
        };
        compare(&request, &value["decoded"]);

        let bytes = base64(&value["binary_b64"]);
        assert_eq!(binary(&request), bytes);
        let mut reader = Reader::new(&bytes);
        let again = ConnectionRequest::decode(&mut reader).unwrap();
        assert!(reader.is_empty());
        assert_eq!(again, request);
        taken += 1;
    }
    assert_eq!((taken, not), (9, 2));
}

fn compare(request: &ConnectionRequest, decoded: &Value) {
    assert_eq!(request.is_invitation(), decoded["mode"] == "invitation");
    assert_eq!(request.versions.min().0, decoded["agent_version_min"]);
    assert_eq!(request.versions.max().0, decoded["agent_version_max"]);
    assert_eq!(
        request.client_data.as_deref(),
        decoded["client_data"].as_str()
    );
    let queues = list(decoded, "queues");
    assert_eq!(request.queues.len(), queues.len());
    for (queue, expected) in request.queues.iter().zip(queues) {
        compare_queue(queue, expected);
    }
    if let RequestKind::Invitation(params) = &request.kind {
        let mut bytes = Vec::new();
        params.encode(&mut bytes);
        assert_eq!(bytes, e2e_bytes(&decoded["e2e"]));
    }
}

fn compare_queue(queue: &QueueUri, expected: &Value) {
    let server = &expected["server"];
    let hosts: Vec<_> = queue
        .relay
        .hosts()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(hosts, *list(server, "hosts"));
    assert_eq!(queue.relay.port(), text(&server["port"]).parse().ok());
    assert_eq!(queue.relay.fingerprint().0, array(&server["key_hash"]));
    assert_eq!(queue.sender_id.as_bytes(), hex(&expected["sender_id"]));
    assert_eq!(queue.dh_key.to_spki()[..], hex(&expected["dh_public_spki"]));
    // The binary form has no word for a contact's queue; the text has.
    let mode = match &expected["queue_mode"] {
        Value::Null => QueueMode::Contact,
        _ => QueueMode::Messaging,
    };
    assert_eq!(queue.mode, Some(mode));
}

#[test]
fn recorded_short_links_are_read_and_written() {
    let (mut taken, mut not) = (0, 0);
    for value in recorded("short_links") {
        let input = text(&value["input"]);
        if value["accepted"] == false {
            assert!(read(input).is_err(), "{input}");
            not += 1;
            continue;
        }
        let link = read(input).unwrap();
        assert_eq!(link.to_string(), canonical(&value));
        let ConnectionLink::Short(mut link) = link else {
            panic!("{input} is full");
        };
        compare_short(&link, &value["decoded"]);

        let (mut bytes, expected) = (Vec::new(), hex(&value["binary"]));
        link.encode(&mut bytes);
        assert_eq!(bytes, expected);
        let mut reader = Reader::new(&bytes);
        let again = ShortLink::decode(&mut reader).unwrap();
        assert!(reader.is_empty());
        link.scheme = ShortLinkScheme::Https;
        assert_eq!(again, link);
        taken += 1;
    }
    assert_eq!((taken, not), (15, 2));
}

fn compare_short(link: &ShortLink, decoded: &Value) {
    match &link.kind {
        ShortLinkKind::Invitation { link_id } => {
            assert_eq!(decoded["mode"], "invitation");
            assert_eq!(link_id.as_bytes(), hex(&decoded["link_id"]));
        }
        ShortLinkKind::Contact(kind) => {
            let expected = match text(&decoded["type"]) {
                "A" => ContactKind::Contact,
                "C" => ContactKind::Channel,
                "G" => ContactKind::Group,
                _ => ContactKind::Relay,
            };
            assert_eq!(*kind, expected);
        }
    }
    assert_eq!(*link.key.as_bytes(), array(&decoded["link_key"]));
    let server = &decoded["server"];
    let hosts: Vec<_> = link
        .server
        .hosts()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(hosts, *list(server, "hosts"));
    assert_eq!(link.server.port(), text(&server["port"]).parse().ok());
    let fingerprint = link.server.fingerprint().map(|it| it.0.to_vec());
    assert_eq!(fingerprint.unwrap_or_default(), hex(&server["key_hash"]));
}

#[test]
fn an_invitation_holds_the_keys_of_its_maker() {
    let params = |text: &str| -> E2eParamsRange {
        match text.parse::<ConnectionRequest>().unwrap().kind {
            RequestKind::Invitation(params) => params,
            RequestKind::Contact => panic!("an address"),
        }
    };
    assert!(params(&invitation()).kem.is_none());
    let with = params(&pq_invitation());
    assert!(matches!(with.kem, Some(KemParams::Proposed(_))));
    assert_eq!((with.min.0, with.max.0), (2, 3));
}

#[test]
fn a_link_says_whether_it_is_for_one_connection() {
    assert!(read(&invitation()).unwrap().is_invitation());
    assert!(!read(&contact()).unwrap().is_invitation());
    let short = format!("https://h.example/i#{LINK_ID}/{KEY}");
    assert!(read(&short).unwrap().is_invitation());
    assert!(
        !read(&format!("https://h.example/g#{KEY}"))
            .unwrap()
            .is_invitation()
    );
}

#[test]
fn the_order_of_parameters_and_those_of_other_names_do_not_matter() {
    let link = invitation();
    let (before, parameters) = link.split_once('?').unwrap();
    let mut parameters: Vec<_> = parameters.split('&').collect();
    parameters.reverse();
    let turned = format!("{before}?x=%20&{}&v=1&&smp", parameters.join("&"));
    assert_eq!(read(&turned), read(&link));
    let short = format!("https://h.example/a#{KEY}?c={FINGERPRINT}&new=1&p=443&h={ONION}");
    let expected = format!("https://h.example/a#{KEY}?h={ONION}&p=443&c={FINGERPRINT}");
    assert_eq!(read(&short).unwrap().to_string(), expected);
}

#[test]
fn a_site_may_add_a_slash_and_its_port() {
    let link = contact();
    let rest = link.strip_prefix("simplex:/contact").unwrap();
    for form in [
        "simplex:/contact/",
        "https://simplex.chat/contact/",
        "https://h:8080/contact",
    ] {
        assert_eq!(read(&format!("{form}{rest}")), read(&link), "{form}");
    }
}

#[test]
fn an_old_contact_link_is_read_with_the_versions_that_its_owner_has_by_now() {
    for (written, expected) in [("1-2", "2"), ("1", "2"), ("1-9", "2-9"), ("3-4", "3-4")] {
        let link = contact().replace("v=2-7", &format!("v={written}"));
        let request: ConnectionRequest = link.parse().unwrap();
        assert_eq!(request.versions.to_string(), expected);
    }
    let link = invitation().replacen("v=2-7", "v=1", 1);
    let request: ConnectionRequest = link.parse().unwrap();
    assert_eq!(
        request.versions.intersect(AgentVersionRange::SUPPORTED),
        None
    );
}

#[test]
fn agents_speak_the_greatest_version_that_both_have() {
    let range = |min, max| AgentVersionRange::new(AgentVersion(min), AgentVersion(max));
    let supported = AgentVersionRange::SUPPORTED;
    assert_eq!(supported.intersect(range(5, 9).unwrap()), range(5, 7));
    assert_eq!(supported.intersect(range(8, 9).unwrap()), None);
    assert!(supported.contains(AgentVersion::PQ) && !supported.contains(AgentVersion(8)));
    assert_eq!(range(3, 2), None);
    assert_eq!(
        AgentVersionRange::decode(&mut Reader::new(&[0, 3, 0, 2])).ok(),
        None
    );
}

#[test]
fn white_space_around_a_link_is_no_part_of_it() {
    for link in [
        contact(),
        invitation(),
        format!("https://h.example/a#{KEY}"),
    ] {
        for (before, after) in [(" ", "\n"), ("\r\n\t", " \u{a0}"), ("\u{feff}", "\u{200b}")] {
            assert_eq!(read(&format!("{before}{link}{after}")), read(&link));
        }
    }
}

#[test]
fn a_link_that_a_mail_program_broke_into_lines_is_put_together() {
    let short = format!("https://smp.example.com/i#{LINK_ID}/{KEY}?p=5223&c={FINGERPRINT}");
    for link in [contact(), invitation(), pq_invitation(), short] {
        for width in [60, 72, 76, 78, 998] {
            for end in ["\n", "\r\n", " \r\n", "\n    "] {
                let lines: Vec<_> = link.as_bytes().chunks(width).collect();
                let lines: Vec<_> = lines
                    .iter()
                    .map(|line| str::from_utf8(line).unwrap())
                    .collect();
                assert_eq!(read(&lines.join(end)), read(&link), "{width}");
            }
        }
    }
}

#[test]
fn text_beside_a_link_is_refused() {
    let link = format!("https://h.example/a#{KEY}?c={FINGERPRINT}");
    assert_eq!(refused(&format!("{link} see you")), LinkTextError::Space);
    assert_eq!(
        refused(&format!("{link}\nsee you there")),
        LinkTextError::Space
    );
    assert_eq!(
        refused(&format!("my link: {link}")),
        LinkTextError::NotALink
    );
    assert_eq!(
        refused(&format!("my link:\n{link}")),
        LinkTextError::NotALink
    );
    assert_eq!(
        refused(&format!("{link}\n{link}")),
        LinkTextError::Ambiguous
    );
    let open = format!("simplex:/a#{KEY}?h=h.example");
    assert_eq!(refused(&format!("{open}\nBye")), LinkTextError::Ambiguous);
    let data = format!("{}&data=%7B%7D", contact());
    assert_eq!(refused(&format!("{data}\nBye")), LinkTextError::Ambiguous);
    // A word that cannot be a part of it.
    assert!(read(&format!("{link}\nBye")).is_err());
    assert!(read(&format!("{}\nBye", contact())).is_err());
}

#[test]
fn where_white_space_is_not_expected_it_is_not_tolerated() {
    assert!(
        format!(" {}", contact())
            .parse::<ConnectionRequest>()
            .is_err()
    );
    assert!(
        format!("https://h.example/a#{KEY} ")
            .parse::<ShortLink>()
            .is_err()
    );
}

#[test]
fn a_link_without_its_end_is_refused_as_cut_off_unless_what_is_missing_may_be_missing() {
    let short = format!("https://smp.example.com/i#{LINK_ID}/{KEY}?p=5223&c={FINGERPRINT}");
    let simplex = format!("simplex:/a#{KEY}?h=smp.example.com&p=5223&c={FINGERPRINT}");
    for (link, needed, expected) in [
        // What the queue is for.
        (contact(), "YZi1CNjAT5MrgFVvkl8", 3),
        // The padding of base64.
        (invitation(), "PF-0nEKUe7IKXeF3-FlE", 1),
        // The post-quantum key, just where it begins.
        (pq_invitation(), "iojDN1tzn2FfXVFclD7xH8", 2),
        // The rest of a port, the fingerprint, and with `simplex:` the rest of a host.
        (short, KEY, 7),
        (simplex, KEY, 19),
    ] {
        let mut taken = 0;
        for end in 0..link.len() {
            let beginning = &link[..end];
            match read(beginning) {
                Ok(_) => {
                    assert!(beginning.contains(needed), "{beginning}");
                    taken += 1;
                }
                Err(LinkTextError::CutOff) => {}
                Err(LinkTextError::NotALink) => {
                    let site = link
                        .strip_prefix("https://")
                        .and_then(|rest| rest.find('/'));
                    assert!(end <= 8 + site.unwrap_or_default(), "{beginning}");
                }
                Err(LinkTextError::Server(AddressError::Host | AddressError::NoHost)) => {
                    assert!(link.starts_with("simplex:"), "{beginning}");
                }
                Err(error) => panic!("{error:?} for {beginning}"),
            }
        }
        assert_eq!(taken, expected, "{link}");
    }
}

#[test]
fn each_fault_of_a_full_link_has_its_error() {
    use LinkTextError as E;
    let (contact, invitation) = (contact(), invitation());
    let long = format!("{contact}&data={}", "x".repeat(MAX_LINK));
    let queue = contact.split_once("smp=").unwrap().1;
    let many = format!("{contact}{}", format!("%3B{queue}").repeat(MAX_QUEUES));
    let swap = |from: &str, to: &str| {
        assert!(invitation.contains(from), "{from}");
        invitation.replacen(from, to, 1)
    };
    let pq = pq_invitation();
    for (link, error) in [
        (String::new(), E::NotALink),
        ("hello".into(), E::NotALink),
        ("http://simplex.chat/contact#/?v=2".into(), E::NotALink),
        ("https://simplex.chat".into(), E::NotALink),
        ("https://simplex.chat/".into(), E::CutOff),
        ("https://example.com/page#part".into(), E::NotALink),
        ("https:///contact#/?v=2".into(), E::NotALink),
        ("simplex:/file#/?v=2".into(), E::UnknownKind),
        ("simpl".into(), E::CutOff),
        ("simplex:/contact".into(), E::CutOff),
        ("simplex:/contact#".into(), E::CutOff),
        ("simplex:/contact#/".into(), E::CutOff),
        ("simplex:/contact#/?".into(), E::CutOff),
        ("simplex:/contact#?v=2".into(), E::NoParameters),
        ("simplex:/contact#x/?v=2".into(), E::NoParameters),
        (long, E::TooLong),
        (many, E::TooManyQueues),
        (swap("v=2-7", "v=7-2"), E::Versions),
        (swap("v=2-7", "v=x"), E::Versions),
        (swap("v=2-7", "v=+2"), E::Versions),
        (swap("v=2-7", "v=%zz"), E::Encoding),
        (swap("v=2-7", "v=%ff"), E::Encoding),
        (swap("v=2-7&", ""), E::CutOff),
        (
            swap("smp%3A%2F%2F", "xftp%3A%2F%2F"),
            E::Queue(AddressError::Scheme),
        ),
        (swap("%3A25223", "%3A70000"), E::Queue(AddressError::Port)),
        (swap("%3A25223", "%3A0"), E::Queue(AddressError::Port)),
        (
            swap("PIiloWr13", "PIiloWr1"),
            E::Queue(AddressError::Fingerprint),
        ),
        (swap("VuAyEA", "VvAyEA"), E::Queue(AddressError::Key)),
        (swap("v%3D2-3", "v%3D3-2"), E::E2eVersions),
        (swap("v%3D2-3%26", ""), E::CutOff),
        (swap("MEIwBQYDK2VvAzkA", "MEIwBQYDK2VuAzkA"), E::E2eKeys),
        (
            swap("%2CMEIwBQYDK2VvAzkA", "%2CMEIwBQYDK2VuAzkA"),
            E::E2eKeys,
        ),
        (pq.replace("kem_key%3D", "kem_key%3D%2A"), E::KemKey),
        (format!("{pq}AAAA"), E::KemKey),
        (pq[..pq.len() - 4].to_owned(), E::CutOff),
        (
            invitation.split_once("&e2e").unwrap().0.to_owned(),
            E::CutOff,
        ),
    ] {
        assert_eq!(refused(&link), error, "{link}");
    }
}

#[test]
fn each_fault_of_a_short_link_has_its_error() {
    use LinkTextError as E;
    let short = |rest: &str| format!("https://smp.example.com/{rest}");
    let no_server = format!("simplex:/a#{KEY}");
    let many = "h,".repeat(255);
    for (link, error) in [
        (short("z#x"), E::UnknownKind),
        (short("A#x"), E::UnknownKind),
        (short(&format!("a#{}", &KEY[..42])), E::CutOff),
        (short(&format!("a#{}?p=1", &KEY[..42])), E::LinkKey),
        (short(&format!("a#{KEY}A")), E::LinkKey),
        (short(&format!("a#{KEY}AAAA")), E::LinkKey),
        (short(&format!("a#{}*", &KEY[..42])), E::LinkKey),
        (short(&format!("a#/{KEY}")), E::LinkKey),
        (short(&format!("i#{KEY}")), E::CutOff),
        (short(&format!("i#{KEY}?p=1")), E::LinkId),
        (short(&format!("i#/{KEY}")), E::LinkId),
        (short(&format!("i#*/{KEY}")), E::LinkId),
        (short(&format!("i#{}/{KEY}", "A".repeat(344))), E::LinkId),
        (
            short(&format!("a#{KEY}?p=70000")),
            E::Server(AddressError::Port),
        ),
        (
            short(&format!("a#{KEY}?p=0&x=")),
            E::Server(AddressError::Port),
        ),
        (short(&format!("a#{KEY}?p=")), E::CutOff),
        (
            short(&format!("a#{KEY}?c={}", &FINGERPRINT[..20])),
            E::CutOff,
        ),
        (
            short(&format!("a#{KEY}?c={}&p=1", &FINGERPRINT[..20])),
            E::Server(AddressError::Fingerprint),
        ),
        (
            short(&format!("a#{KEY}?c={FINGERPRINT}AAAA")),
            E::Server(AddressError::Fingerprint),
        ),
        (
            short(&format!("a#{KEY}?h=a..b")),
            E::Server(AddressError::Host),
        ),
        (
            short(&format!("a#{KEY}?h={many}h")),
            E::Server(AddressError::TooManyHosts),
        ),
        (
            short(&format!("a#{KEY}?h={}h", &many[2..])),
            E::Server(AddressError::TooManyHosts),
        ),
        (short(&format!("a#{KEY}?h=%")), E::CutOff),
        (
            format!("https://h.example:443/a#{KEY}"),
            E::Server(AddressError::Host),
        ),
        (format!("https://-/a#{KEY}"), E::Server(AddressError::Host)),
        (no_server.clone(), E::CutOff),
        (
            format!("{no_server}?c={FINGERPRINT}"),
            E::Server(AddressError::NoHost),
        ),
    ] {
        assert_eq!(refused(&link), error, "{link}");
    }
}

#[test]
fn a_short_link_is_no_full_one_and_the_other_way_round() {
    let short = format!("https://h.example/a#{KEY}");
    assert_eq!(
        short.parse::<ConnectionRequest>().err(),
        Some(LinkTextError::NotFull)
    );
    assert_eq!(
        contact().parse::<ShortLink>().err(),
        Some(LinkTextError::NotShort)
    );
    let link: ShortLink = short.parse().unwrap();
    assert_eq!(
        ConnectionLink::from(link.clone()),
        ConnectionLink::Short(link)
    );
}

#[test]
fn a_host_of_ipv6_stands_in_brackets() {
    let link =
        format!("https://[2001:db8::1]/a#{KEY}?h=%5B2001%3Adb8%3A%3A2%5D&p=443&c={FINGERPRINT}");
    assert_eq!(read(&link).unwrap().to_string(), link);
}

#[test]
fn a_link_without_a_fingerprint_leads_to_a_known_relay() {
    let known: Vec<RelayAddress> = [
        format!("smp://{FINGERPRINT}@smp.example.com,{ONION}"),
        format!("smp://{KEY}@other.example.com:5224"),
    ]
    .iter()
    .map(|address| address.parse().unwrap())
    .collect();
    let relay = |rest: &str| {
        let link: ShortLink = format!("https://{rest}").parse().unwrap();
        link.server.relay(&known)
    };
    let link = format!("a#{KEY}");
    assert_eq!(
        relay(&format!("smp.example.com/{link}")).as_ref(),
        Some(&known[0])
    );
    assert_eq!(
        relay(&format!("smp.example.com/{link}?p=443")).as_ref(),
        Some(&known[0])
    );
    assert_eq!(relay(&format!("smp.example.com/{link}?p=444")), None);
    assert_eq!(
        relay(&format!("other.example.com/{link}?p=5224")).as_ref(),
        Some(&known[1])
    );
    assert_eq!(relay(&format!("other.example.com/{link}?p=443")), None);
    assert_eq!(relay(&format!("third.example.com/{link}")), None);
    let own = relay(&format!("smp.example.com/{link}?c={KEY}")).unwrap();
    assert_eq!(own.to_string(), format!("smp://{KEY}=@smp.example.com"));
    assert_eq!(
        LinkServer::from(&known[1]).relay(&[]).as_ref(),
        Some(&known[1])
    );
}

#[test]
fn an_accepted_post_quantum_key_is_no_part_of_an_invitation() {
    let mut request: ConnectionRequest = pq_invitation().parse().unwrap();
    let agent = file(include_str!("vectors/agent.json"));
    let accepted = &agent["messages"][15]["agent_envelope"]["e2e_params"];
    let accepted = e2e_bytes(accepted);
    let range = [&[0, 2], &accepted[..]].concat();
    let params = E2eParamsRange::decode(&mut Reader::new(&range)).unwrap();
    let mut bytes = binary(&request);
    request.kind = RequestKind::Invitation(params);
    let refused = request.encode(&mut Vec::new());
    assert_eq!(refused, Err(EncodeError("keys of an invitation")));
    // It is written without the answer, and not at all in binary.
    assert!(request.to_string().parse::<ConnectionRequest>().is_ok());
    let end = bytes.len() - e2e_bytes(&recorded("links")[4]["decoded"]["e2e"]).len();
    bytes.truncate(end);
    bytes.extend(&range);
    let read = ConnectionRequest::decode(&mut Reader::new(&bytes));
    assert_eq!(read, Err(DecodeError::Value("keys of an invitation")));
}

#[test]
fn debug_shows_nothing_of_a_link() {
    let full = read(&pq_invitation()).unwrap();
    assert_eq!(format!("{full:?}"), "ConnectionLink::Full");
    let short: ShortLink = format!("https://h.example/i#{LINK_ID}/{KEY}?c={FINGERPRINT}")
        .parse()
        .unwrap();
    assert_eq!(format!("{short:?}"), "ShortLink");
    assert_eq!(format!("{:?}", short.kind), "ShortLinkKind::Invitation");
    assert_eq!(format!("{:?}", short.key), "LinkKey");
    assert_eq!(format!("{:?}", short.server), "LinkServer");
    let ConnectionLink::Full(request) = full else {
        panic!("short");
    };
    assert_eq!(
        format!("{request:?} {:?}", request.kind),
        "ConnectionRequest RequestKind::Invitation"
    );
}
