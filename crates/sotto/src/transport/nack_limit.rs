//! Limits retransmissions (RFC 4585 §6.2.1).
//!
//! The library's responder sends a packet again as often as it is asked to: one feedback packet of
//! a few kilobytes asks for thousands.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rtc::interceptor::{Interceptor, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

/// Span of time in which requests are counted.
const WINDOW: Duration = Duration::from_millis(100);

/// Most retransmissions of one packet in a window.
const MAX_PER_PACKET: u8 = 2;

/// Most retransmissions of one stream in a window: more than what a call sends in it.
pub(super) const MAX_PER_STREAM: usize = 200;

/// Most streams of this side that are followed: its lines, with room.
const MAX_STREAMS: usize = 16;

/// In front of the responder, seen from the network.
pub(super) fn slot() -> Slot {
    Slot::from(3_500)
}

/// Passes requests for retransmission as long as there are not too many.
#[derive(Default)]
pub(super) struct NackLimit {
    streams: HashMap<u32, Window>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

/// What was asked for lately of one stream.
#[derive(Default)]
struct Window {
    since: Option<Instant>,
    /// Times that each sequence number was asked for, at most [`MAX_PER_STREAM`] in sum.
    asked: HashMap<u16, u8>,
    total: usize,
}

impl Window {
    fn admit(&mut self, now: Instant, sequence: u16) -> bool {
        let over = |since| now.saturating_duration_since(since) >= WINDOW;
        if self.since.is_none_or(over) {
            self.since = Some(now);
            self.asked.clear();
            self.total = 0;
        }
        if self.total == MAX_PER_STREAM {
            return false;
        }
        let times = self.asked.entry(sequence).or_default();
        let admitted = *times < MAX_PER_PACKET;
        if admitted {
            *times += 1;
            self.total += 1;
        }
        admitted
    }
}

impl NackLimit {
    /// What may pass of a request; `None` if nothing does.
    fn limit(&mut self, now: Instant, nack: &TransportLayerNack) -> Option<TransportLayerNack> {
        let window = self.streams.get_mut(&nack.media_ssrc)?;
        let nacks: Vec<NackPair> = nack
            .nacks
            .iter()
            .flat_map(|pair| pair.into_iter())
            .filter(|sequence| window.admit(now, *sequence))
            .map(NackPair::new)
            .collect();
        (!nacks.is_empty()).then(|| TransportLayerNack {
            nacks,
            ..nack.clone()
        })
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for NackLimit {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut msg: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &mut msg.message.packet {
            let before = packets.len();
            let all = std::mem::take(packets).into_iter();
            *packets = all
                .filter_map(
                    |packet| match packet.as_any().downcast_ref::<TransportLayerNack>() {
                        Some(nack) => Some(Box::new(self.limit(msg.now, nack)?) as Box<_>),
                        None => Some(packet),
                    },
                )
                .collect();
            // No packet at all means something else to the library.
            if packets.is_empty() && before > 0 {
                return Ok(());
            }
        }
        self.reads.push_back(msg);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, msg: TaggedPacket) -> Result<(), Error> {
        self.writes.push_back(msg);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for NackLimit {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        if self.streams.len() < MAX_STREAMS {
            self.streams.entry(info.ssrc).or_default();
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.streams.remove(&info.ssrc);
    }

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

#[cfg(test)]
mod tests;
