//! Batches, compressed bodies, and the limits of both.

#![expect(
    clippy::unwrap_used,
    reason = "test helpers are no test functions themselves"
)]

use call_signal::{
    BodyError, BodyLimit, ChatMessage, EncodeError, Envelope, MAX_BODY, MAX_INFO, MAX_JSON,
    MAX_MESSAGES, MAX_POST_QUANTUM, MessageError, RawJson, decode_body, encode_body,
};

const OK: &str = r#"{"event":"x.ok","params":{}}"#;

fn names(body: &[u8]) -> Result<Vec<Result<String, MessageError>>, BodyError> {
    let messages = decode_body(body)?.into_iter();
    Ok(messages
        .map(|message| message.map(|message| message.name().to_owned()))
        .collect())
}

fn ok() -> Result<String, MessageError> {
    Ok("x.ok".to_owned())
}

fn passed_through(content: &[u8]) -> Vec<u8> {
    [&[b'0', u8::try_from(content.len()).unwrap()], content].concat()
}

fn zstd_item(frame: &[u8]) -> Vec<u8> {
    [
        b"1".as_slice(),
        &u16::try_from(frame.len()).unwrap().to_be_bytes(),
        frame,
    ]
    .concat()
}

fn zstd_of(content: &[u8]) -> Vec<u8> {
    zstd_item(&zstd::bulk::compress(content, 3).unwrap())
}

fn compressed(items: &[Vec<u8>]) -> Vec<u8> {
    [
        vec![b'X', u8::try_from(items.len()).unwrap()],
        items.concat(),
    ]
    .concat()
}

/// A message with `length` bytes of JSON text that compresses well or not at all.
fn message_of(length: usize, compressible: bool) -> ChatMessage {
    let mut state = 1_u64;
    let mut letter = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'0' + u8::try_from(state >> 33 & 63).unwrap())
    };
    let empty = Envelope::default()
        .event("x.msg.react", &text(""))
        .unwrap()
        .raw()
        .len();
    let letters: String = (empty..length)
        .map(|_| if compressible { 'a' } else { letter() })
        .map(|letter| if letter == '\\' { '~' } else { letter })
        .collect();
    let message = Envelope::default()
        .event("x.msg.react", &text(&letters))
        .unwrap();
    assert_eq!(message.raw().len(), length);
    message
}

fn text(text: &str) -> RawJson {
    RawJson::parse(&format!("{{\"text\":\"{text}\"}}")).unwrap()
}

#[test]
fn one_bad_item_does_not_lose_the_others() {
    let batch = format!(r#"[{OK}, 7, {{"event":"x.call.end","params":{{}}}}, {OK}]"#);
    let items = names(batch.as_bytes()).unwrap();
    assert_eq!((&items[0], &items[3], items.len()), (&ok(), &ok(), 4));
    assert_eq!(items[1], Err(MessageError::NotAnObject));
    assert!(matches!(
        &items[2],
        Err(MessageError::Call {
            event: "x.call.end",
            ..
        })
    ));
}

#[test]
fn a_batch_keeps_the_text_of_each_item() {
    let batch = format!("[ {OK} ,\n{{\"event\": \"x.ok\",\"params\":{{ }}}}]");
    let decoded: Vec<ChatMessage> = decode_body(batch.as_bytes())
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(decoded[0].raw(), OK);
    assert_eq!(decoded[1].raw(), "{\"event\": \"x.ok\",\"params\":{ }}");
    let again = encode_body(&decoded, BodyLimit::Plain).unwrap();
    assert_eq!(
        again,
        format!("[{},{}]", decoded[0].raw(), decoded[1].raw()).as_bytes()
    );
}

#[test]
fn an_empty_batch_holds_no_message() {
    assert_eq!(names(b"[]"), Ok(vec![]));
}

#[test]
fn what_is_neither_json_nor_compressed_is_refused() {
    assert_eq!(names(b""), Err(BodyError::Empty));
    assert_eq!(names(b" \n"), Err(BodyError::Empty));
    assert_eq!(names(b"F\0binary chunk"), Err(BodyError::UnknownForm));
}

#[test]
fn broken_json_is_one_bad_message() {
    for body in [&b"{"[..], b"[{},", b"[1] 2"] {
        let messages = names(body).unwrap();
        assert!(
            matches!(messages[..], [Err(MessageError::NotJson(_))]),
            "{messages:?}"
        );
    }
    assert_eq!(
        names(b"{\"a\":\"\xff\"}"),
        Ok(vec![Err(MessageError::NotUtf8)])
    );
}

#[test]
fn compressed_items_of_both_kinds_are_read_in_order() {
    let batch = format!("[{OK},{OK}]");
    let body = compressed(&[
        passed_through(OK.as_bytes()),
        zstd_of(batch.as_bytes()),
        zstd_of(b"{"),
    ]);
    let items = names(&body).unwrap();
    assert_eq!(items[..3], [ok(), ok(), ok()]);
    assert!(matches!(items[3..], [Err(MessageError::NotJson(_))]));
}

#[test]
fn a_damaged_list_is_refused() {
    let good = compressed(&[zstd_of(OK.as_bytes())]);
    assert_eq!(names(b"X"), Err(BodyError::Truncated));
    assert_eq!(names(b"X\0"), Err(BodyError::NoItems));
    assert_eq!(
        names(b"X\x017"),
        Err(BodyError::UnknownItemTag { tag: b'7' })
    );
    assert_eq!(names(&good[..good.len() - 1]), Err(BodyError::Truncated));
    assert_eq!(names(b"X\x010"), Err(BodyError::Truncated));
    assert_eq!(names(b"X\x011\0"), Err(BodyError::Truncated));
    assert_eq!(
        names(&[&good[..], b"!"].concat()),
        Err(BodyError::TrailingBytes { count: 1 })
    );
}

#[test]
fn nested_compression_is_refused() {
    let inner = compressed(&[zstd_of(OK.as_bytes())]);
    assert_eq!(
        names(&compressed(&[zstd_of(&inner)])),
        Err(BodyError::NestedCompression)
    );
    assert_eq!(
        names(&compressed(&[passed_through(&inner)])),
        Err(BodyError::NestedCompression)
    );
}

#[test]
fn a_bomb_is_refused_by_its_stated_size() {
    let bomb = zstd_of(&vec![b'a'; 100_000_000]);
    let error = BodyError::TooLong {
        limit: MAX_BODY,
        actual: 100_000_000,
    };
    assert_eq!(names(&compressed(&[bomb])), Err(error));
}

#[test]
fn the_limit_counts_all_items_together() {
    let padded = |length: usize| format!("{OK}{}", " ".repeat(length - OK.len())).into_bytes();
    let half = zstd_of(&padded(MAX_BODY / 2));
    assert_eq!(
        names(&compressed(&[half.clone(), half.clone()])),
        Ok(vec![ok(), ok()])
    );
    let over = passed_through(OK.as_bytes());
    let error = BodyError::TooLong {
        limit: MAX_BODY,
        actual: MAX_BODY + OK.len(),
    };
    assert_eq!(names(&compressed(&[half.clone(), half, over])), Err(error));
    assert_eq!(names(&padded(MAX_BODY)), Ok(vec![ok()]));
    let error = BodyError::TooLong {
        limit: MAX_BODY,
        actual: MAX_BODY + 1,
    };
    assert_eq!(names(&padded(MAX_BODY + 1)), Err(error));
}

#[test]
fn a_frame_without_its_size_is_refused() {
    let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
    compressor
        .set_parameter(zstd::zstd_safe::CParameter::ContentSizeFlag(false))
        .unwrap();
    let frame = compressor.compress(OK.as_bytes()).unwrap();
    assert_eq!(
        names(&compressed(&[zstd_item(&frame)])),
        Err(BodyError::NoContentSize)
    );
    assert_eq!(
        names(&compressed(&[zstd_item(b"nothing")])),
        Err(BodyError::NoContentSize)
    );
}

#[test]
fn a_frame_that_lies_about_its_size_is_refused() {
    let frame = zstd::bulk::compress(OK.as_bytes(), 3).unwrap();
    // One byte holds the size of so short a content, right behind magic number and descriptor.
    assert_eq!(usize::from(frame[5]), OK.len());
    for lie in [0, 1, OK.len() - 1, OK.len() + 1, 255] {
        let mut frame = frame.clone();
        frame[5] = u8::try_from(lie).unwrap();
        assert_eq!(
            names(&compressed(&[zstd_item(&frame)])),
            Err(BodyError::CorruptFrame)
        );
    }
}

#[test]
fn a_second_frame_or_rubbish_behind_a_frame_is_refused() {
    let frame = zstd::bulk::compress(OK.as_bytes(), 3).unwrap();
    for item in [
        [&frame[..], &frame].concat(),
        [&frame[..], b"rubbish"].concat(),
    ] {
        assert_eq!(
            names(&compressed(&[zstd_item(&item)])),
            Err(BodyError::CorruptFrame)
        );
    }
}

#[test]
fn a_checksum_in_a_frame_is_tolerated() {
    let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
    compressor
        .set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))
        .unwrap();
    let frame = compressor.compress(OK.as_bytes()).unwrap();
    assert_eq!(names(&compressed(&[zstd_item(&frame)])), Ok(vec![ok()]));
}

#[test]
fn too_many_messages_are_refused_however_they_are_packed() {
    let batch = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    assert_eq!(
        names(batch(MAX_MESSAGES).as_bytes()).unwrap().len(),
        MAX_MESSAGES
    );
    let error = Err(BodyError::TooManyMessages {
        limit: MAX_MESSAGES,
    });
    assert_eq!(names(batch(MAX_MESSAGES + 1).as_bytes()), error);
    let half = zstd_of(batch(MAX_MESSAGES / 2).as_bytes());
    let one = passed_through(b"{}");
    assert_eq!(
        names(&compressed(&[half.clone(), half.clone()]))
            .unwrap()
            .len(),
        MAX_MESSAGES,
    );
    assert_eq!(
        names(&compressed(&[half.clone(), half.clone(), one])),
        error
    );
    let full = zstd_of(batch(MAX_MESSAGES / 2 + 1).as_bytes());
    assert_eq!(names(&compressed(&[half, full])), error);
}

#[test]
fn a_body_is_compressed_only_when_it_has_to_be() {
    let fits = message_of(MAX_POST_QUANTUM, true);
    let body = encode_body(std::slice::from_ref(&fits), BodyLimit::PostQuantum).unwrap();
    assert_eq!(body, fits.raw().as_bytes());
    let longer = message_of(MAX_POST_QUANTUM + 1, true);
    let body = encode_body(std::slice::from_ref(&longer), BodyLimit::PostQuantum).unwrap();
    assert!(body.starts_with(b"X\x011"));
    assert_eq!(decode_body(&body).unwrap(), [Ok(longer.clone())]);
    let body = encode_body(std::slice::from_ref(&longer), BodyLimit::Plain).unwrap();
    assert_eq!(body, longer.raw().as_bytes());
}

#[test]
fn what_does_not_fit_is_refused_with_its_sizes() {
    let longest = message_of(MAX_JSON, false);
    assert!(encode_body(std::slice::from_ref(&longest), BodyLimit::Plain).is_ok());
    let too_long = message_of(MAX_JSON + 1, true);
    for limit in [BodyLimit::Plain, BodyLimit::PostQuantum] {
        let error = encode_body(std::slice::from_ref(&too_long), limit).unwrap_err();
        assert_eq!(
            error,
            EncodeError::JsonTooLong {
                limit: MAX_JSON,
                actual: MAX_JSON + 1
            }
        );
    }
    // Six random bits a byte: zstd cannot squeeze 15,602 of those into 11,000.
    let error = encode_body(&[longest.clone(), longest], BodyLimit::Plain).unwrap_err();
    assert!(matches!(error, EncodeError::JsonTooLong { actual, .. } if actual > 2 * MAX_JSON));
    assert_eq!(
        encode_body(&[], BodyLimit::Plain),
        Err(EncodeError::NoMessage)
    );
}

#[test]
fn connection_info_without_post_quantum_keys_is_never_compressed() {
    let body = encode_body(&[message_of(MAX_INFO, true)], BodyLimit::Info).unwrap();
    assert_eq!(body.len(), MAX_INFO);
    let error = encode_body(&[message_of(MAX_INFO + 1, true)], BodyLimit::Info);
    let expected = EncodeError::JsonTooLong {
        limit: 14_694,
        actual: MAX_INFO + 1,
    };
    assert_eq!(error, Err(expected));
}

#[test]
fn a_body_that_does_not_even_fit_compressed_says_so() {
    let error = encode_body(&[message_of(MAX_JSON, false)], BodyLimit::PostQuantumInfo);
    let Err(EncodeError::CompressedTooLong {
        limit,
        json,
        compressed,
    }) = error
    else {
        panic!("{error:?}")
    };
    assert_eq!((limit, json), (10_968, MAX_JSON));
    assert!(compressed > limit && compressed < json, "{compressed}");
}
