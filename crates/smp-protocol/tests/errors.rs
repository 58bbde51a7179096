//! Every error that the document's grammar allows, and texts that it does not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use smp_protocol::{
    BlockingInfo, BlockingReason, BrokerError, CommandError, DecodeError, ErrorType,
    HandshakeError, MAX_ERROR_DEPTH, NameError, NetworkError, ProxyError, Response, SmpVersion,
    TransportError,
};

const NEWEST: SmpVersion = SmpVersion::NAMES;

fn text(error: &ErrorType, version: SmpVersion) -> Vec<u8> {
    let mut text = Vec::new();
    error.encode(version, &mut text);
    text
}

fn broker(error: BrokerError) -> ErrorType {
    ErrorType::Proxy(ProxyError::Broker(error))
}

fn network(error: NetworkError) -> ErrorType {
    broker(BrokerError::Network(error))
}

fn transport(error: TransportError) -> ErrorType {
    broker(BrokerError::Transport(error))
}

fn blocked(reason: BlockingReason, notice: Option<&str>) -> ErrorType {
    ErrorType::Blocked(BlockingInfo {
        reason,
        notice: notice.map(str::to_owned),
    })
}

/// Every production of the grammar with its text.
fn grammar() -> Vec<(&'static [u8], ErrorType)> {
    use HandshakeError::{BadAuth, BadService, Identity, Parse};
    let handshake = |error| transport(TransportError::Handshake(error));
    vec![
        (b"BLOCK", ErrorType::Block),
        (b"SESSION", ErrorType::Session),
        (b"CMD UNKNOWN", ErrorType::Cmd(CommandError::Unknown)),
        (b"CMD SYNTAX", ErrorType::Cmd(CommandError::Syntax)),
        (b"CMD PROHIBITED", ErrorType::Cmd(CommandError::Prohibited)),
        (b"CMD NO_AUTH", ErrorType::Cmd(CommandError::NoAuth)),
        (b"CMD HAS_AUTH", ErrorType::Cmd(CommandError::HasAuth)),
        (b"CMD NO_ENTITY", ErrorType::Cmd(CommandError::NoEntity)),
        (
            b"PROXY PROTOCOL AUTH",
            ErrorType::Proxy(ProxyError::Protocol(ErrorType::Auth.into())),
        ),
        (
            b"PROXY PROTOCOL CMD SYNTAX",
            ErrorType::Proxy(ProxyError::Protocol(
                ErrorType::Cmd(CommandError::Syntax).into(),
            )),
        ),
        (b"PROXY BASIC_AUTH", ErrorType::Proxy(ProxyError::BasicAuth)),
        (b"PROXY NO_SESSION", ErrorType::Proxy(ProxyError::NoSession)),
        (
            b"PROXY BROKER RESPONSE \x03bad",
            broker(BrokerError::Response("bad".into())),
        ),
        (
            b"PROXY BROKER UNEXPECTED \x02OK",
            broker(BrokerError::Unexpected("OK".into())),
        ),
        (b"PROXY BROKER NETWORK", network(NetworkError::Failed)),
        (
            b"PROXY BROKER NETWORK CONNECT \x02no",
            network(NetworkError::Connect("no".into())),
        ),
        (
            b"PROXY BROKER NETWORK TLS \x00",
            network(NetworkError::Tls(String::new())),
        ),
        (
            b"PROXY BROKER NETWORK UNKNOWNCA",
            network(NetworkError::UnknownCa),
        ),
        (
            b"PROXY BROKER NETWORK TIMEOUT",
            network(NetworkError::Timeout),
        ),
        (
            b"PROXY BROKER NETWORK SUBSCRIBE \x01x",
            network(NetworkError::Subscribe("x".into())),
        ),
        (b"PROXY BROKER TIMEOUT", broker(BrokerError::Timeout)),
        (b"PROXY BROKER HOST", broker(BrokerError::Host)),
        (b"PROXY BROKER NO_SERVICE", broker(BrokerError::NoService)),
        (
            b"PROXY BROKER TRANSPORT BLOCK",
            transport(TransportError::Block),
        ),
        (
            b"PROXY BROKER TRANSPORT VERSION",
            transport(TransportError::Version),
        ),
        (
            b"PROXY BROKER TRANSPORT LARGE_MSG",
            transport(TransportError::LargeMsg),
        ),
        (
            b"PROXY BROKER TRANSPORT SESSION",
            transport(TransportError::Session),
        ),
        (
            b"PROXY BROKER TRANSPORT NO_AUTH",
            transport(TransportError::NoAuth),
        ),
        (b"PROXY BROKER TRANSPORT HANDSHAKE PARSE", handshake(Parse)),
        (
            b"PROXY BROKER TRANSPORT HANDSHAKE IDENTITY",
            handshake(Identity),
        ),
        (
            b"PROXY BROKER TRANSPORT HANDSHAKE BAD_AUTH",
            handshake(BadAuth),
        ),
        (
            b"PROXY BROKER TRANSPORT HANDSHAKE BAD_SERVICE",
            handshake(BadService),
        ),
        (b"AUTH", ErrorType::Auth),
        (b"BLOCKED reason=spam", blocked(BlockingReason::Spam, None)),
        (
            b"BLOCKED reason=content,notice={\"ttl\": 1, \"a\": 2}",
            blocked(BlockingReason::Content, Some("{\"ttl\": 1, \"a\": 2}")),
        ),
        (b"SERVICE", ErrorType::Service),
        (b"CRYPTO", ErrorType::Crypto),
        (b"QUOTA", ErrorType::Quota),
        (
            b"STORE disk is full",
            ErrorType::Store("disk is full".into()),
        ),
        (b"EXPIRED", ErrorType::Expired),
        (b"NO_MSG", ErrorType::NoMsg),
        (b"LARGE_MSG", ErrorType::LargeMsg),
        (b"INTERNAL", ErrorType::Internal),
        (b"DUPLICATE_", ErrorType::Duplicate),
        (b"NAME NOT_FOUND", ErrorType::Name(NameError::NotFound)),
        (b"NAME NO_RESOLVER", ErrorType::Name(NameError::NoResolver)),
        (
            b"NAME RESOLVER it is down",
            ErrorType::Name(NameError::Resolver("it is down".into())),
        ),
    ]
}

#[test]
fn every_error_of_the_grammar_is_read_and_written() {
    assert_eq!(grammar().len(), 47);
    for (bytes, error) in grammar() {
        assert_eq!(ErrorType::decode(bytes), Ok(error.clone()));
        assert_eq!(text(&error, NEWEST), bytes);
        let response = Response::decode(NEWEST, &[b"ERR ", bytes].concat());
        assert_eq!(response, Ok(Response::Err(error)));
    }
}

#[test]
fn an_error_that_the_grammar_has_not_is_refused() {
    let refused: [&[u8]; 22] = [
        b"",
        b" ",
        b"auth",
        b"AUTH ",
        b"AUTHENTIC",
        b"CMD",
        b"CMD ",
        b"CMD SOMETHING",
        b"CMD SYNTAX ",
        b"PROXY",
        b"PROXY NEW",
        b"PROXY BROKER",
        b"PROXY PROTOCOL",
        b"PROXY PROTOCOL X",
        b"PROXY BROKER RESPONSE \x05bad",
        b"PROXY BROKER RESPONSE \x02bad",
        b"PROXY BROKER TRANSPORT HANDSHAKE",
        b"BLOCKED",
        b"BLOCKED spam",
        b"BLOCKED reason=spam,other={}",
        b"BLOCKED reason=",
        b"NAME LATER",
    ];
    for bytes in refused {
        assert!(
            ErrorType::decode(bytes).is_err(),
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn unknown_details_of_a_network_error_mean_that_it_failed() {
    for details in [
        " FAILED",
        " NEWER \x03abc",
        " CONNECT",
        " TLS \x09short",
        " TIMEOUT x",
        " ",
        "",
    ] {
        let bytes = format!("PROXY BROKER NETWORK{details}");
        assert_eq!(
            ErrorType::decode(bytes.as_bytes()),
            Ok(network(NetworkError::Failed))
        );
    }
}

#[test]
fn a_reason_of_newer_relays_is_kept() {
    let bytes = b"BLOCKED reason=by_law-2,notice={}";
    let error = ErrorType::decode(bytes).unwrap();
    assert_eq!(
        error,
        blocked(BlockingReason::Unknown("by_law-2".into()), Some("{}"))
    );
    assert_eq!(text(&error, NEWEST), bytes);
}

#[test]
fn older_sessions_get_what_they_know() {
    let info = blocked(BlockingReason::Spam, Some("{}"));
    assert_eq!(text(&info, SmpVersion(11)), b"AUTH");
    assert_eq!(text(&info, SmpVersion(12)), b"BLOCKED reason=spam");
    assert_eq!(text(&info, SmpVersion(17)), b"BLOCKED reason=spam");
    assert_eq!(
        text(&info, SmpVersion(18)),
        b"BLOCKED reason=spam,notice={}"
    );
    let error = network(NetworkError::Connect("no".into()));
    assert_eq!(text(&error, SmpVersion(19)), b"PROXY BROKER NETWORK");
    assert_eq!(
        text(&error, SmpVersion(20)),
        b"PROXY BROKER NETWORK CONNECT \x02no"
    );
    let nested = ErrorType::Proxy(ProxyError::Protocol(Box::new(info)));
    assert_eq!(text(&nested, SmpVersion(11)), b"PROXY PROTOCOL AUTH");
}

#[test]
fn long_details_are_cut_between_two_letters() {
    let error = broker(BrokerError::Response("é".repeat(200)));
    let bytes = text(&error, NEWEST);
    assert_eq!(bytes.len(), b"PROXY BROKER RESPONSE \x00".len() + 254);
    assert_eq!(
        ErrorType::decode(&bytes),
        Ok(broker(BrokerError::Response("é".repeat(127))))
    );
}

#[test]
fn errors_of_proxies_are_not_nested_without_end() {
    let nested = |depth: usize| ["PROXY PROTOCOL ".repeat(depth).as_str(), "AUTH"].concat();
    assert!(ErrorType::decode(nested(MAX_ERROR_DEPTH).as_bytes()).is_ok());
    assert_eq!(
        ErrorType::decode(nested(MAX_ERROR_DEPTH + 1).as_bytes()),
        Err(DecodeError::Limit("proxy error"))
    );
    assert!(ErrorType::decode(nested(1000).as_bytes()).is_err());
}

#[test]
fn a_transport_error_stands_alone_in_the_answer_to_a_service() {
    for (bytes, error) in grammar() {
        let Some(bytes) = bytes.strip_prefix(b"PROXY BROKER TRANSPORT ") else {
            continue;
        };
        let alone = TransportError::decode(bytes).unwrap();
        assert_eq!(transport(alone), error);
        let mut out = Vec::new();
        alone.encode(&mut out);
        assert_eq!(out, bytes);
    }
    assert!(TransportError::decode(b"BLOCK ").is_err());
}

#[test]
fn each_error_has_a_sentence_that_repeats_no_words_of_the_relay() {
    let mut sentences = BTreeSet::new();
    for (_, error) in grammar() {
        let sentence = error.to_string();
        assert!(
            sentence.len() > 15 && !sentence.contains(['_', '"']),
            "{sentence}"
        );
        for word in ["bad", "OK", "disk", "ttl", "it is down"] {
            assert!(!sentence.contains(word) || word == "OK", "{sentence}");
        }
        sentences.insert(sentence);
    }
    assert_eq!(sentences.len(), grammar().len());
}
