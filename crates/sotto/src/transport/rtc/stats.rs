//! Reads the figures that webrtc-rs keeps.

use std::time::Instant;

use rtc::peer_connection::RTCPeerConnection;
use rtc::statistics::StatsSelector;
use rtc::statistics::report::RTCStatsReport;

use super::lines::Lines;
use crate::transport::{LineStatistics, MediaLine, SrtpProfile, TransportStatistics};

/// The profile that DTLS negotiated, by webrtc-rs's name; empty before.
pub(super) fn srtp_cipher(pc: &mut RTCPeerConnection, now: Instant) -> String {
    let report = pc.get_stats(now, StatsSelector::None);
    report
        .transport()
        .map(|transport| transport.srtp_cipher.clone())
        .unwrap_or_default()
}

pub(super) fn collect(
    pc: &mut RTCPeerConnection,
    now: Instant,
    srtp_profile: Option<SrtpProfile>,
    lines: &Lines,
) -> TransportStatistics {
    let report = pc.get_stats(now, StatsSelector::None);
    let mut statistics = TransportStatistics {
        srtp_profile,
        ..Default::default()
    };
    if let Some(transport) = report.transport() {
        statistics.dtls_version.clone_from(&transport.tls_version);
        statistics.dtls_cipher.clone_from(&transport.dtls_cipher);
        selected_pair(
            &report,
            &transport.selected_candidate_pair_id,
            &mut statistics,
        );
    }
    if let Some(pair) = lines.selected_pair(pc) {
        statistics.local_candidate_type = Some(pair.local().typ.to_string());
        statistics.remote_candidate_type = Some(pair.remote().typ.to_string());
    }
    statistics.lines = line_statistics(&report, lines);
    statistics
}

fn selected_pair(report: &RTCStatsReport, id: &str, statistics: &mut TransportStatistics) {
    let Some(pair) = report.candidate_pairs().find(|pair| pair.stats.id == id) else {
        return;
    };
    statistics.bytes_sent = pair.bytes_sent;
    statistics.bytes_received = pair.bytes_received;
    statistics.round_trip_time =
        (pair.current_round_trip_time > 0.0).then_some(pair.current_round_trip_time);
}

fn line_statistics(report: &RTCStatsReport, lines: &Lines) -> Vec<LineStatistics> {
    let mut found: Vec<LineStatistics> = Vec::new();
    let mut of = |line: MediaLine, update: &dyn Fn(&mut LineStatistics)| {
        let index = found
            .iter()
            .position(|f| f.line == line)
            .unwrap_or_else(|| {
                found.push(LineStatistics::new(line));
                found.len() - 1
            });
        update(&mut found[index]);
    };
    for outbound in report.outbound_rtp_streams() {
        let sent = &outbound.sent_rtp_stream_stats;
        if let Some(line) = lines.line_of_ssrc(sent.rtp_stream_stats.ssrc) {
            of(line, &|statistics| {
                statistics.packets_sent = sent.packets_sent;
                statistics.bytes_sent = sent.bytes_sent;
            });
        }
    }
    for inbound in report.inbound_rtp_streams() {
        let received = &inbound.received_rtp_stream_stats;
        if let Some(line) = lines.line_of_remote_ssrc(received.rtp_stream_stats.ssrc) {
            of(line, &|statistics| {
                statistics.packets_received = received.packets_received;
                statistics.bytes_received = inbound.bytes_received;
                statistics.packets_lost = received.packets_lost;
                statistics.jitter = received.jitter / clock_rate(line);
            });
        }
    }
    for statistics in &mut found {
        statistics.peer_fraction_lost = lines.peer_fraction_lost(statistics.line);
    }
    found.retain(|line| line.packets_sent + line.packets_received > 0);
    found.sort_by_key(|line| line.line);
    found
}

fn clock_rate(line: MediaLine) -> f64 {
    if line.is_video() { 90_000.0 } else { 48_000.0 }
}
