//! How webrtc-rs is set up, and candidates of this side in its terms.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use rtc::dtls::cipher_suite::CipherSuiteId;
use rtc::ice::candidate::candidate_relay::CandidateRelayConfig;
use rtc::ice::candidate::candidate_server_reflexive::CandidateServerReflexiveConfig;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{NackGeneratorBuilder, NackResponderBuilder, Slot};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::interceptor_registry::{
    Registry, configure_rtcp_reports, configure_twcc_receiver_only,
};
use rtc::peer_connection::configuration::setting_engine::{SettingEngine, SettingEngineBuilder};
use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, RTCDtlsRole, RTCIceCandidate, RTCIceCandidateInit,
};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::shared::error::Error;

use super::{RtcConfig, codecs};
use crate::transport::LocalCandidate;
use crate::transport::interceptor::DeliverFeedback;
use crate::transport::nack_limit::{self, NackLimit};

/// Tick of the ICE agent. The library's default of 200 ms costs up to a second of set-up.
pub(super) const ICE_TICK: Duration = Duration::from_millis(20);

/// Checks of a pair before it is given up: more than
/// [`CONNECT_TIMEOUT`](call_core::CONNECT_TIMEOUT) worth of ticks, since that timer decides.
const MAX_CHECKS: u16 = 2_000;

/// Without a word from the peer for this long the path counts as down.
const ICE_DISCONNECTED: Duration = Duration::from_secs(5);

/// The library gives the path up only after our own limit has ended the call.
const ICE_FAILED: Duration = Duration::from_secs(120);

/// Consent checks while connected (RFC 7675 wants them within 5 s).
const ICE_KEEPALIVE: Duration = Duration::from_secs(2);

/// A relay is used at once in relay-only mode; otherwise better paths get this head start.
const RELAY_WAIT: Duration = Duration::from_millis(500);

/// Between two requests for missing packets.
const NACK_INTERVAL: Duration = Duration::from_millis(40);

/// Requests for one missing packet: as long as a frame waits for it.
const MAX_NACKS: u16 = 5;

pub(super) fn peer_connection(now: Instant, config: RtcConfig) -> Result<RTCPeerConnection, Error> {
    let mut media_engine = codecs::media_engine()?;
    // The defaults but for the header extensions of simulcast: no call has it, and all streams
    // are told apart by their SSRC.
    let nack = NackGeneratorBuilder::new()
        .with_interval(NACK_INTERVAL)
        .with_max_nacks_per_packet(MAX_NACKS);
    let registry = Registry::new()
        .with(Slot::NackResponder, NackResponderBuilder::new().build())
        .with(Slot::NackGenerator, nack.build());
    let registry = configure_twcc_receiver_only(registry, &mut media_engine)?;
    let registry = configure_rtcp_reports(registry)
        .with(nack_limit::slot(), NackLimit::default())
        .with(Slot::from(14_000), DeliverFeedback::default());
    RTCPeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_setting_engine(settings(config))
        .with_media_engine(media_engine)
        .with_interceptor_registry(registry)
        .build(now)
}

fn settings(config: RtcConfig) -> SettingEngine {
    let wait = if config.relay_only {
        Duration::ZERO
    } else {
        RELAY_WAIT
    };
    SettingEngineBuilder::new()
        .with_srtp_protection_profiles(vec![config.srtp_profile])
        .with_dtls_cipher_suites(vec![
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
        ])
        // `check_handshake` compares the certificate itself, against every fingerprint and before
        // anything flows: the library's own check stalls the handshake without a word.
        .with_disable_certificate_fingerprint_verification(true)
        .with_answering_dtls_role(RTCDtlsRole::Client)
        .with_ice_connection_attempts(Some(ICE_TICK), Some(MAX_CHECKS))
        .with_ice_timeouts(
            Some(ICE_DISCONNECTED),
            Some(ICE_FAILED),
            Some(ICE_KEEPALIVE),
        )
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_relay_acceptance_min_wait(Some(wait))
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .build()
}

pub(super) fn local_candidate(candidate: LocalCandidate) -> Result<RTCIceCandidateInit, Error> {
    let base_config = |address: SocketAddr| CandidateConfig {
        network: "udp".to_owned(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        ..Default::default()
    };
    let candidate = match candidate {
        LocalCandidate::Host(address) => CandidateHostConfig {
            base_config: base_config(address),
            ..Default::default()
        }
        .new_candidate_host()?,
        LocalCandidate::ServerReflexive { address, base } => CandidateServerReflexiveConfig {
            base_config: base_config(address),
            rel_addr: base.ip().to_string(),
            rel_port: base.port(),
            ..Default::default()
        }
        .new_candidate_server_reflexive()?,
        LocalCandidate::Relay { address } => CandidateRelayConfig {
            base_config: base_config(address),
            rel_addr: unspecified(address.ip()).to_string(),
            rel_port: 0,
            ..Default::default()
        }
        .new_candidate_relay()?,
    };
    RTCIceCandidate::from(&candidate).to_json()
}

/// Stands for a related address that the peer need not know (RFC 8839 §5.1).
fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
