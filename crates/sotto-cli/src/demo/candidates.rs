//! Rewrites addresses in the signalling, so that media takes another way.

use std::net::SocketAddr;

use call_signal::lz_string::{compress_to_base64, decompress_from_base64};
use call_signal::{
    CallEvent, CallMessage, ChatMessage, Envelope, IceCandidate, MAX_CANDIDATES_TEXT, MAX_SDP,
    SessionDescription, parse_candidates, write_candidates,
};
use serde_json::Value;

/// Replaces each candidate's address in a chat message by what `expose` gives for it. Candidates
/// for which it gives nothing are left out. Everything else stays, and so do messages that hold no
/// candidates.
pub(super) fn redirect(
    line: &str,
    mut expose: impl FnMut(SocketAddr) -> Option<SocketAddr>,
) -> String {
    rewrite(line, &mut expose).unwrap_or_else(|| line.to_owned())
}

/// The message that ends the call to which `line` belongs.
pub(super) fn end_of_same_call(line: &str) -> Option<String> {
    let call_id = ChatMessage::decode(line).ok()?.call()?.call_id;
    let end = CallMessage {
        call_id,
        event: CallEvent::End,
    };
    Some(Envelope::default().call(&end).ok()?.raw().to_owned())
}

type Expose<'a> = dyn FnMut(SocketAddr) -> Option<SocketAddr> + 'a;

fn rewrite(line: &str, expose: &mut Expose<'_>) -> Option<String> {
    let mut message: Value = serde_json::from_str(line).ok()?;
    let holder = match message.get("event")?.as_str()? {
        "x.call.offer" => "/params/offer/rtcSession",
        "x.call.answer" => "/params/answer/rtcSession",
        "x.call.extra" => "/params/extra/rtcExtraInfo",
        _ => return None,
    };
    let holder = message.pointer_mut(holder)?.as_object_mut()?;
    if let Some(text) = holder.get("rtcIceCandidates").and_then(Value::as_str) {
        let text = decompress_from_base64(text, MAX_CANDIDATES_TEXT).ok()?;
        let candidates = parse_candidates(&text).ok()?;
        let candidates: Vec<IceCandidate> = candidates
            .into_iter()
            .filter_map(|candidate| moved(candidate, expose))
            .collect();
        let text = compress_to_base64(&write_candidates(&candidates));
        holder.insert("rtcIceCandidates".to_owned(), text.into());
    }
    if let Some(text) = holder.get("rtcSession").and_then(Value::as_str) {
        let text = decompress_from_base64(text, 6 * MAX_SDP).ok()?;
        let mut description = SessionDescription::from_json(&text).ok()?;
        description.sdp = moved_sdp(&description.sdp, expose);
        let text = compress_to_base64(&description.to_json());
        holder.insert("rtcSession".to_owned(), text.into());
    }
    serde_json::to_string(&message).ok()
}

fn moved(mut candidate: IceCandidate, expose: &mut Expose<'_>) -> Option<IceCandidate> {
    // An empty one says that there are no more.
    if !candidate.candidate.is_empty() {
        candidate.candidate = moved_attribute(&candidate.candidate, expose)?;
    }
    Some(candidate)
}

fn moved_sdp(sdp: &str, expose: &mut Expose<'_>) -> String {
    let moved = sdp.split_inclusive('\n').filter_map(|line| {
        let text = line.trim_end();
        match text.strip_prefix("a=candidate:") {
            Some(rest) => {
                moved_attribute(rest, expose).map(|rest| format!("a=candidate:{rest}\r\n"))
            }
            None => Some(line.to_owned()),
        }
    });
    moved.collect()
}

/// Foundation, component, transport, priority, address, port and more (RFC 8839 §5.1).
fn moved_attribute(attribute: &str, expose: &mut Expose<'_>) -> Option<String> {
    let mut fields: Vec<&str> = attribute.split(' ').collect();
    if !fields.get(2)?.eq_ignore_ascii_case("udp") {
        return None;
    }
    let real = SocketAddr::new(fields.get(4)?.parse().ok()?, fields.get(5)?.parse().ok()?);
    let exposed = expose(real)?;
    let (ip, port) = (exposed.ip().to_string(), exposed.port().to_string());
    *fields.get_mut(4)? = &ip;
    *fields.get_mut(5)? = &port;
    Some(fields.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use call_signal::{Answer, CallId, ExtraCandidates, RtcSession, SdpKind};

    const UDP: &str = "candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host generation 0";
    const TCP: &str = "candidate:2 1 tcp 1 127.0.0.1 9 typ host tcptype active";

    fn candidate(text: &str) -> IceCandidate {
        IceCandidate {
            candidate: text.to_owned(),
            ..IceCandidate::default()
        }
    }

    fn line(event: CallEvent) -> String {
        let message = CallMessage {
            call_id: CallId([3; 16]),
            event,
        };
        Envelope::default().call(&message).unwrap().raw().to_owned()
    }

    fn event(line: &str) -> CallEvent {
        ChatMessage::decode(line)
            .unwrap()
            .call()
            .unwrap()
            .event
            .clone()
    }

    fn to_5000(real: SocketAddr) -> Option<SocketAddr> {
        assert_eq!(real.to_string(), "127.0.0.1:4000");
        "127.0.0.9:5000".parse().ok()
    }

    #[test]
    fn candidates_get_the_exposed_address_and_others_are_left_out() {
        let candidates = vec![candidate(UDP), candidate(TCP), candidate("")];
        let extra = line(CallEvent::Extra(ExtraCandidates { candidates }));
        let CallEvent::Extra(extra) = event(&redirect(&extra, to_5000)) else {
            panic!()
        };
        let texts: Vec<&str> = extra
            .candidates
            .iter()
            .map(|c| c.candidate.as_str())
            .collect();
        let moved = "candidate:1 1 udp 2130706431 127.0.0.9 5000 typ host generation 0";
        assert_eq!(texts, [moved, ""]);
    }

    #[test]
    fn candidates_in_the_description_are_moved_too() {
        let sdp = format!("v=0\r\na={UDP}\r\na={TCP}\r\na=mid:0\r\n");
        let description = SessionDescription {
            kind: SdpKind::Answer,
            sdp,
        };
        let session = RtcSession {
            description,
            candidates: Vec::new(),
        };
        let answer = line(CallEvent::Answer(Answer { session }));
        let CallEvent::Answer(answer) = event(&redirect(&answer, to_5000)) else {
            panic!()
        };
        assert_eq!(
            answer.session.description.sdp,
            "v=0\r\na=candidate:1 1 udp 2130706431 127.0.0.9 5000 typ host generation 0\r\n\
             a=mid:0\r\n",
        );
    }

    #[test]
    fn other_messages_stay_as_they_are() {
        for other in [
            &line(CallEvent::End),
            "no JSON",
            r#"{"event":"x.msg.new","params":{}}"#,
        ] {
            assert_eq!(redirect(other, |_| None), other);
        }
    }

    #[test]
    fn the_end_is_that_of_the_same_call() {
        let candidates = Vec::new();
        let extra = line(CallEvent::Extra(ExtraCandidates { candidates }));
        assert_eq!(end_of_same_call(&extra), Some(line(CallEvent::End)));
        assert_eq!(end_of_same_call("no JSON"), None);
    }
}
