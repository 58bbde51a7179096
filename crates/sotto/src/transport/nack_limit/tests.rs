//! How often a packet is sent again.

use std::time::{Duration, Instant};

use rtc::interceptor::{
    AttributedPacket, Interceptor, NackResponderBuilder, Packet, RTCPFeedback, Registry, Slot,
    StreamInfo, TaggedPacket,
};
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtc::rtp;
use rtc::sansio::Protocol as _;
use rtc::shared::TransportContext;

use super::{MAX_PER_STREAM, NackLimit, slot};

const SSRC: u32 = 7;

fn tagged(now: Instant, packet: Packet) -> TaggedPacket {
    TaggedPacket {
        now,
        transport: TransportContext::default(),
        message: AttributedPacket::new(packet),
    }
}

fn nack(now: Instant, nacks: Vec<NackPair>) -> TaggedPacket {
    let nack = TransportLayerNack {
        sender_ssrc: 1,
        media_ssrc: SSRC,
        nacks,
    };
    tagged(now, Packet::Rtcp(vec![Box::new(nack)]))
}

/// The library's responder behind the limit, with the packets 0 to 999 sent.
fn responder(now: Instant) -> impl Interceptor {
    let mut chain = Registry::new()
        .with(slot(), NackLimit::default())
        .with(Slot::NackResponder, NackResponderBuilder::new().build())
        .build();
    chain.bind_local_stream(&StreamInfo {
        ssrc: SSRC,
        rtcp_feedback: vec![RTCPFeedback {
            typ: "nack".to_owned(),
            parameter: String::new(),
        }],
        ..StreamInfo::default()
    });
    for sequence_number in 0..1_000 {
        let header = rtp::Header {
            version: 2,
            ssrc: SSRC,
            sequence_number,
            ..rtp::Header::default()
        };
        let payload = vec![0; 100].into();
        let packet = Packet::Rtp(rtp::Packet { header, payload });
        chain.handle_write(tagged(now, packet)).unwrap();
    }
    assert_eq!(sent(&mut chain), 1_000);
    chain
}

fn sent(chain: &mut impl Interceptor) -> usize {
    while chain.poll_read().is_some() {}
    std::iter::from_fn(|| chain.poll_write()).count()
}

#[test]
fn one_feedback_packet_does_not_ask_for_thousands_of_packets() {
    let now = Instant::now();
    let mut chain = responder(now);
    let of_one = vec![NackPair::new(5); 8_500];
    chain.handle_read(nack(now, of_one)).unwrap();
    assert_eq!(sent(&mut chain), 2);
    let of_all = |from: u16| NackPair {
        packet_id: from,
        lost_packets: 0xffff,
    };
    let of_all: Vec<_> = (0..1_000).step_by(17).map(of_all).collect();
    for _ in 0..10 {
        chain.handle_read(nack(now, of_all.clone())).unwrap();
    }
    assert_eq!(sent(&mut chain), MAX_PER_STREAM - 2);
}

#[test]
fn a_lost_packet_is_sent_again_in_each_window() {
    let start = Instant::now();
    let mut chain = responder(start);
    for n in 0..5 {
        let now = start + Duration::from_millis(100) * n;
        let pair = NackPair {
            packet_id: 10,
            lost_packets: 0b101,
        };
        chain.handle_read(nack(now, vec![pair])).unwrap();
        assert_eq!(sent(&mut chain), 3);
    }
}

#[test]
fn other_feedback_passes_and_requests_for_no_stream_of_ours_do_not() {
    let now = Instant::now();
    let mut limit = NackLimit::default();
    limit
        .handle_read(nack(now, vec![NackPair::new(5)]))
        .unwrap();
    assert!(limit.poll_read().is_none());
    let report = ReceiverReport::default();
    let request = TransportLayerNack {
        media_ssrc: 9,
        ..TransportLayerNack::default()
    };
    let both = Packet::Rtcp(vec![Box::new(report), Box::new(request)]);
    limit.handle_read(tagged(now, both)).unwrap();
    let Some(passed) = limit.poll_read() else {
        panic!("the report is gone");
    };
    let Packet::Rtcp(packets) = passed.message.packet else {
        panic!("the report is no RTCP");
    };
    assert_eq!(packets.len(), 1);
    assert!(packets[0].as_any().is::<ReceiverReport>());
}
