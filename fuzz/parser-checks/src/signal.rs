//! Bodies of chat messages and what is packed in them.

use call_signal::{
    BodyLimit, ChatMessage, MAX_BODY, MAX_CANDIDATES, MAX_MESSAGES, SessionDescription,
    decode_body, encode_body, parse_candidates, write_candidates,
};

/// A body: plain, batched or compressed. What is taken keeps within the limits and survives being
/// written and read again.
pub fn chat_body(data: &[u8]) {
    let Ok(messages) = decode_body(data) else {
        return;
    };
    assert!(messages.len() <= MAX_MESSAGES);
    let messages: Vec<ChatMessage> = messages.into_iter().flatten().collect();
    for message in &messages {
        assert!(message.raw().len() <= MAX_BODY);
        let again = ChatMessage::decode(message.raw());
        assert_eq!(
            again.as_ref(),
            Ok(message),
            "a message changes when it is read again"
        );
    }
    for limit in [BodyLimit::Plain, BodyLimit::PostQuantum] {
        let Ok(body) = encode_body(&messages, limit) else {
            continue;
        };
        let again: Result<Vec<_>, _> = decode_body(&body)
            .unwrap_or_else(|error| panic!("our own body is refused: {error}"))
            .into_iter()
            .collect();
        assert_eq!(
            again.as_ref(),
            Ok(&messages),
            "a body changes when it is read again"
        );
    }
}

/// LZ-string text. The first byte chooses the limit, which nothing passes; what is taken survives
/// being compressed and decompressed again.
pub fn lz_string(data: &[u8]) {
    use call_signal::lz_string::{
        compress_utf16_to_base64, decompress_from_base64, decompress_utf16_from_base64,
    };
    let Some((&limit, encoded)) = data.split_first() else {
        return;
    };
    let Ok(encoded) = str::from_utf8(encoded) else {
        return;
    };
    let limit = usize::from(limit) * 256;
    let _ = decompress_from_base64(encoded, limit);
    let Ok(units) = decompress_utf16_from_base64(encoded, limit) else {
        return;
    };
    assert!(units.len() <= limit);
    let again = decompress_utf16_from_base64(&compress_utf16_to_base64(&units), units.len());
    assert_eq!(again, Ok(units));
}

/// JSON of candidates, and of a session description, which stands beside it in the same event.
pub fn candidates(data: &[u8]) {
    let Ok(json) = str::from_utf8(data) else {
        return;
    };
    if let Ok(candidates) = parse_candidates(json) {
        assert!(candidates.len() <= MAX_CANDIDATES);
        assert_eq!(
            parse_candidates(&write_candidates(&candidates)),
            Ok(candidates)
        );
    }
    if let Ok(description) = SessionDescription::from_json(json) {
        assert_eq!(
            SessionDescription::from_json(&description.to_json()),
            Ok(description)
        );
    }
}
