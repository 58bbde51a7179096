//! What relays and their clients send each other.

use smp_protocol::{
    BlockWriter, BoxKey, ClientEnvelope, ClientHello, ClientVersion, Command, CommandError, CorrId,
    DhPrivateKey, ErrorType, ForwardSecret, ForwardedResponse, ForwardedTransmission, MAX_ADDRESS,
    MAX_CONTENT, MAX_ERROR_DEPTH, MAX_HOSTS, MessageId, Nonce, NotificationMeta, ProxyError,
    QueueMode, QueueUri, Reader, ReceivedMessage, RelayAddress, Response, ServerAddress,
    ServerHello, ServiceReply, SessionId, SessionParams, SignedKey, SmpVersion, TAG_SIZE,
    Transmission, TransmissionError, TransportError, Unsigned, plain_content, transmissions,
};

const KEY: [u8; 32] = [7; 32];

/// The id of the recorded session of version 6 in the corpus, the only one that sends it.
const SESSION: [u8; 32] = [
    0x35, 0xc3, 0x35, 0x3a, 0xc1, 0x45, 0xd1, 0x33, 0x15, 0xe0, 0x47, 0x24, 0x4b, 0x59, 0x36, 0x17,
    0xc4, 0x4d, 0xfe, 0xd9, 0x83, 0xc7, 0x64, 0xdc, 0xa8, 0x83, 0x8b, 0xd3, 0xa2, 0xf2, 0xcf, 0x7c,
];

/// A command behind a byte that chooses the version. What is taken is known to the version, and
/// is the same command when it is written and read again.
pub fn smp_command(data: &[u8]) {
    let Some((version, bytes)) = versioned(data) else {
        return;
    };
    match Command::decode(version, bytes) {
        Ok(command) => {
            assert!(command.since() <= version);
            assert!(bytes.starts_with(command.tag().as_bytes()));
            let mut again = Vec::new();
            let written = command.encode(version, &mut again);
            assert_eq!(written, Ok(()), "a command cannot be written");
            assert_eq!(Command::decode(version, &again), Ok(command));
        }
        Err(error) => assert!(matches!(
            error,
            CommandError::Unknown | CommandError::Syntax
        )),
    }
}

/// A response behind a byte that chooses the version. What is taken is written as the version knows
/// it, and is then the same response when it is read and written once more.
pub fn smp_response(data: &[u8]) {
    let Some((version, bytes)) = versioned(data) else {
        return;
    };
    let Ok(response) = Response::decode(version, bytes) else {
        return;
    };
    let again = rewritten(version, &response);
    assert_eq!(rewritten(version, &again), again);
}

fn rewritten(version: SmpVersion, response: &Response) -> Response {
    let mut bytes = Vec::new();
    let written = response.encode(version, &mut bytes);
    assert_eq!(written, Ok(()), "a response cannot be written");
    Response::decode(version, &bytes)
        .unwrap_or_else(|error| panic!("our own response is refused: {error}"))
}

/// The text of an error. What is taken has a sentence, nests within the limit, and is the same when
/// it is written and read again, once its words are text.
pub fn smp_error(data: &[u8]) {
    if let Ok(error) = TransportError::decode(data) {
        let mut again = Vec::new();
        error.encode(&mut again);
        assert_eq!(again, data);
    }
    let Ok(mut error) = ErrorType::decode(data) else {
        return;
    };
    assert!(!error.to_string().is_empty());
    for version in 6..=20 {
        let rewrite = |error: &ErrorType| {
            let mut bytes = Vec::new();
            error.encode(SmpVersion(version), &mut bytes);
            ErrorType::decode(&bytes).unwrap_or_else(|error| panic!("refused: {error}"))
        };
        let again = rewrite(&error);
        assert_eq!(rewrite(&again), again);
    }
    let mut depth = 0;
    while let ErrorType::Proxy(ProxyError::Protocol(inner)) = error {
        error = *inner;
        depth += 1;
    }
    assert!(depth <= MAX_ERROR_DEPTH);
}

/// The content of a block behind a byte that chooses the version. What is taken apart is put
/// together again from its parts, to the same bytes.
pub fn smp_transmission(data: &[u8]) {
    let Some((version, content)) = versioned(data) else {
        return;
    };
    let Ok(session_id) = SessionId::new(&SESSION) else {
        return;
    };
    let params = SessionParams::new(version, session_id);
    let Ok(all) = transmissions(content) else {
        return;
    };
    let mut block = BlockWriter::new();
    for bytes in all {
        let fits = block.fits(bytes.len());
        assert!(fits || content.len() > MAX_CONTENT);
        assert_eq!(block.try_push(bytes), fits);
        transmission(bytes, &params);
    }
    if content.len() <= MAX_CONTENT {
        assert!(plain_content(&block.finish(None)) == Ok(content));
    }
}

fn transmission(bytes: &[u8], params: &SessionParams) {
    let transmission = match Transmission::decode(bytes, params) {
        Ok(transmission) => transmission,
        Err(TransmissionError::Session { .. }) => {
            assert!(!params.implicit_session_id());
            return;
        }
        Err(_) => return,
    };
    let _ = Command::decode(params.version, transmission.command);
    let _ = Response::decode(params.version, transmission.command);
    let Transmission {
        corr_id,
        entity,
        command,
        ..
    } = &transmission;
    let made = Unsigned::new(params, corr_id.as_ref(), entity, |out| {
        out.extend_from_slice(command);
        Ok::<_, CommandError>(())
    });
    let Ok(made) = made else {
        return;
    };
    let signed = transmission.signed_bytes(params).to_vec();
    assert!(
        made.signed_bytes(params).to_vec() == signed,
        "other bytes are authorised"
    );
    let mut again = Vec::new();
    let signature = transmission.service_signature.as_ref();
    made.encode(params, &transmission.authorization, signature, &mut again);
    assert_eq!(again, bytes);
}

/// Hellos of both sides, the answer to a service, and a signed key. What is taken is the same when
/// it is written and read again.
pub fn smp_handshake(data: &[u8]) {
    if let Ok(hello) = ServerHello::decode(data) {
        let again = hello.encode().map(|bytes| ServerHello::decode(&bytes));
        assert!(again == Ok(Ok(hello)), "the relay's hello changes");
    }
    if let Ok(hello) = ClientHello::decode(data) {
        let again = hello.encode().map(|bytes| ClientHello::decode(&bytes));
        assert!(again == Ok(Ok(hello)), "the client's hello changes");
    }
    if let Ok(reply) = ServiceReply::decode(data) {
        assert!(
            ServiceReply::decode(&reply.encode()) == Ok(reply),
            "the reply changes"
        );
    }
    if let Ok(key) = SignedKey::from_der(data) {
        assert_eq!(key.to_der(), data);
    }
}

/// The address of a relay, as text and in binary. What is taken has 1 to 255 hosts, shows its
/// password only when asked, and is the same when it is written and read again.
pub fn smp_address(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data)
        && let Ok(address) = text.parse::<ServerAddress>()
    {
        // Brackets make the text longer, which may then be too long.
        let written = address.to_string_with_password();
        if written.len() <= MAX_ADDRESS {
            assert_eq!(address.to_string().parse(), Ok(address.relay.clone()));
            assert_eq!(written.parse(), Ok(address.clone()));
        }
        relay_address(&address.relay);
    }
    let mut reader = Reader::new(data);
    if let Ok(address) = RelayAddress::decode(&mut reader) {
        relay_address(&address);
    }
}

fn relay_address(address: &RelayAddress) {
    assert!((1..=MAX_HOSTS).contains(&address.hosts().len()));
    assert_ne!(address.port_or_default(), 0);
    let mut bytes = Vec::new();
    address.encode(&mut bytes);
    let mut reader = Reader::new(&bytes);
    assert_eq!(RelayAddress::decode(&mut reader).as_ref(), Ok(address));
    assert!(reader.is_empty());
}

/// A queue URI, as text and in binary. What is taken is the same when it is written and read again,
/// but for what its client version cannot say.
pub fn smp_queue_uri(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data)
        && let Ok(uri) = text.parse::<QueueUri>()
    {
        let written = uri.to_string();
        // Brackets and percent signs make the text longer, which may then be too long.
        if written.len() <= MAX_ADDRESS {
            assert_eq!(written.parse().as_ref(), Ok(&uri));
        }
        queue_uri_in_binary(uri);
    }
    if let Ok(uri) = QueueUri::decode(&mut Reader::new(data)) {
        queue_uri_in_binary(uri);
    }
}

fn queue_uri_in_binary(uri: QueueUri) {
    let mut bytes = Vec::new();
    uri.encode(&mut bytes);
    let mut reader = Reader::new(&bytes);
    let again = QueueUri::decode(&mut reader);
    assert!(reader.is_empty());
    let mode = uri.mode.filter(|mode| {
        *mode == QueueMode::Messaging || uri.versions.min() >= ClientVersion::SHORT_LINKS
    });
    assert_eq!(again, Ok(QueueUri { mode, ..uri }));
}

/// Behind a byte that chooses: an envelope, or what is inside one, inside a message or inside a
/// notification, with its padding. What is taken apart is borrowed from inside.
pub fn smp_envelope(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    let (key, nonce) = (BoxKey::from_bytes(&KEY), Nonce::default());
    match kind % 4 {
        0 => {
            if let Ok(envelope) = ClientEnvelope::decode(bytes) {
                assert!(bytes.ends_with(envelope.sealed));
                assert!(
                    envelope.open(&key).is_err(),
                    "a box of another key is opened"
                );
            }
        }
        1 => {
            let sealed = &key.seal(&nonce, bytes);
            let envelope = ClientEnvelope {
                version: 4,
                sender_key: None,
                nonce,
                sealed,
            };
            if let Ok(opened) = envelope.open(&key) {
                let message = opened.message();
                assert!(message.body.len() < bytes.len());
                let sealed = message.seal(4, None, &key, &nonce);
                let again = sealed.as_deref().map(ClientEnvelope::decode);
                if let Ok(Ok(again)) = again {
                    assert!(
                        again
                            .open(&key)
                            .is_ok_and(|again| again.message() == message)
                    );
                }
            }
        }
        2 => {
            let (id, mut sealed) = (MessageId(nonce), key.seal(&nonce, bytes));
            if let Ok(message) = ReceivedMessage::open(&key, &id, &mut sealed)
                && let Ok(mut again) = message.seal_for_recipient(&key, &id)
            {
                assert_eq!(ReceivedMessage::open(&key, &id, &mut again), Ok(message));
            }
        }
        _ => {
            let sealed = key.seal(&nonce, bytes);
            if let Ok(meta) = NotificationMeta::open(&key, &nonce, &sealed) {
                let again = meta.seal(&key, &nonce);
                assert_eq!(NotificationMeta::open(&key, &nonce, &again), Ok(meta));
            }
        }
    }
}

/// Behind a byte that chooses: what is inside `RFWD`, `RRES`, or the boxes for relay and client.
/// What is taken is the same when it is sealed and opened again.
pub fn smp_proxy(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    let (key, id) = (BoxKey::from_bytes(&KEY), CorrId(Nonce::default()));
    let mut sealed = key.seal(id.as_bytes(), bytes);
    match kind % 3 {
        0 => {
            if let Ok(forwarded) = ForwardedTransmission::open(&key, &id, &mut sealed) {
                let mut again = forwarded.seal(&key, &id);
                assert!(again.len() == bytes.len() + TAG_SIZE);
                let again = ForwardedTransmission::open(&key, &id, &mut again);
                assert!(again.is_ok_and(|again| again == forwarded));
            }
        }
        1 => {
            if let Ok(forwarded) = ForwardedResponse::open(&key, &id, &mut sealed) {
                let mut again = forwarded.seal(&key, &id);
                let again = ForwardedResponse::open(&key, &id, &mut again);
                assert!(again.is_ok_and(|again| again == forwarded));
            }
        }
        _ => {
            let private = DhPrivateKey::from_bytes(&KEY);
            let Ok(secret) = ForwardSecret::agree(&private, &private.public(), &id) else {
                return;
            };
            assert!(
                secret.open_command(&mut bytes.to_vec()).is_err(),
                "a box is opened"
            );
            if let Ok(mut sealed) = secret.seal_command(bytes) {
                assert_eq!(secret.open_command(&mut sealed).ok(), Some(bytes));
            }
            if let Ok(mut sealed) = secret.seal_response(bytes) {
                assert_eq!(secret.open_response(&mut sealed).ok(), Some(bytes));
            }
        }
    }
}

/// The version that the first byte chooses, and what follows it.
fn versioned(data: &[u8]) -> Option<(SmpVersion, &[u8])> {
    let (&byte, bytes) = data.split_first()?;
    Some((SmpVersion(6 + u16::from(byte % 15)), bytes))
}
