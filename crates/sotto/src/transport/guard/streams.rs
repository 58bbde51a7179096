//! RTP streams of the peer.

use call_core::SdpSummary;

/// Most streams that the peer did not declare, where it declared none in some section.
pub(super) const MAX_UNDECLARED: usize = 8;

/// Most senders of RTCP that send no RTP.
pub(super) const MAX_REPORTERS: usize = 16;

/// RTP header without extensions, and the tag of AES-GCM (RFC 7714).
const MIN_SRTP: usize = 12 + 16;

/// RTCP header with the sender's SSRC, the tag and the SRTCP index.
const MIN_SRTCP: usize = 8 + 16 + 4;

/// Second bytes that make a packet RTCP (RFC 5761 §4).
const RTCP_TYPES: std::ops::RangeInclusive<u8> = 192..=223;

/// Keeps the library from making a context for every SSRC that someone writes into a packet: it
/// makes them before it checks the packet's tag.
#[derive(Default)]
pub(super) struct StreamGuard {
    /// At most `MAX_MEDIA_SECTIONS` times `MAX_SSRCS`.
    declared: Vec<u32>,
    /// A section in use has no declared stream.
    incomplete: bool,
    undeclared: Vec<u32>,
    reporters: Vec<u32>,
}

impl StreamGuard {
    pub(super) fn declare(&mut self, summary: &SdpSummary) {
        let sections = || summary.media().iter().filter(|section| !section.rejected);
        self.declared = sections()
            .flat_map(|section| section.ssrcs.iter().copied())
            .collect();
        self.incomplete = sections().any(|section| section.ssrcs.is_empty());
    }

    /// Whether an SRTP or SRTCP packet is of a stream that may come.
    pub(super) fn admit(&mut self, bytes: &[u8]) -> bool {
        let is_rtcp = bytes.get(1).is_some_and(|kind| RTCP_TYPES.contains(kind));
        let (at, min) = if is_rtcp {
            (4, MIN_SRTCP)
        } else {
            (8, MIN_SRTP)
        };
        let ssrc = bytes
            .get(at..at + 4)
            .and_then(|ssrc| <[u8; 4]>::try_from(ssrc).ok())
            .map(u32::from_be_bytes);
        let Some(ssrc) = ssrc.filter(|_| bytes.len() >= min) else {
            return false;
        };
        if self.declared.contains(&ssrc) || self.undeclared.contains(&ssrc) {
            return true;
        }
        if is_rtcp {
            admit_first(&mut self.reporters, ssrc, MAX_REPORTERS)
        } else {
            self.incomplete && admit_first(&mut self.undeclared, ssrc, MAX_UNDECLARED)
        }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.undeclared.len() + self.reporters.len()
    }
}

/// First come, first served.
fn admit_first(set: &mut Vec<u32>, ssrc: u32, limit: usize) -> bool {
    if set.contains(&ssrc) {
        return true;
    }
    let room = set.len() < limit;
    if room {
        set.push(ssrc);
    }
    room
}
