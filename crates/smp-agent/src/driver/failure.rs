//! What errors on the way to a relay mean to the core.
//!
//! The core gives a message up, or a whole connection, when a relay refuses it. So only the relay
//! itself may be believed that: what a proxy says, of itself or of the relay, is never more than a
//! reason to try again.

use smp_client::{ClientError, RoutingError};
use smp_protocol::ErrorType;

use crate::core::Failure;

/// Of a command to the relay itself.
pub(super) fn of_client(error: ClientError) -> Failure {
    match error {
        ClientError::Refused(error) => Failure::Refused(error),
        ClientError::Version { .. } | ClientError::Authorize(_) => Failure::TooOld,
        // It never fits, whatever relay it is for.
        ClientError::Encode(_) => Failure::Refused(ErrorType::LargeMsg),
        other => Failure::Unreachable(other.to_string()),
    }
}

/// Of a command that may have gone through a proxy.
pub(super) fn of_routing(error: RoutingError) -> Failure {
    match error {
        RoutingError::Relay(error) => Failure::Refused(error),
        RoutingError::Command(error) => of_client(error),
        other => Failure::Unreachable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use smp_client::{ConnectError, DisconnectReason, Misbehaviour};
    use smp_protocol::{BrokerError, EncodeError, NetworkError, ProxyError, SmpVersion};

    use super::*;

    fn refused_by_proxy(error: ProxyError) -> RoutingError {
        RoutingError::Proxy(ClientError::Refused(ErrorType::Proxy(error)))
    }

    #[test]
    fn what_the_destination_refuses_is_refused_with_and_without_proxy() {
        for error in [ErrorType::Auth, ErrorType::Quota, ErrorType::LargeMsg] {
            let refused = Failure::Refused(error.clone());
            assert_eq!(of_client(ClientError::Refused(error.clone())), refused);
            assert_eq!(of_routing(RoutingError::Relay(error)), refused);
        }
    }

    #[test]
    fn what_a_proxy_says_is_no_refusal_of_the_destination() {
        let network = NetworkError::Connect("relay.example:5223".to_owned());
        let errors = [
            refused_by_proxy(ProxyError::BasicAuth),
            refused_by_proxy(ProxyError::NoSession),
            refused_by_proxy(ProxyError::Protocol(Box::new(ErrorType::Auth))),
            refused_by_proxy(ProxyError::Broker(BrokerError::Network(network))),
            RoutingError::Proxy(ClientError::Refused(ErrorType::Auth)),
            RoutingError::Proxy(ClientError::Timeout),
            RoutingError::Answer(Misbehaviour::Forged),
            RoutingError::NoProxy,
        ];
        for error in errors {
            let failure = of_routing(error);
            let Failure::Unreachable(text) = &failure else {
                panic!("{failure:?}")
            };
            assert!(!text.contains("relay.example"), "{text}");
        }
    }

    #[test]
    fn what_the_network_does_is_no_refusal() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let errors = [
            ClientError::Timeout,
            ClientError::Disconnected(DisconnectReason::ClosedByRelay),
            ClientError::Connect(Arc::new(ConnectError::Tcp(refused))),
            ClientError::Misbehaved(Misbehaviour::Unreadable),
        ];
        for error in errors {
            assert!(matches!(of_client(error), Failure::Unreachable(_)));
        }
    }

    #[test]
    fn what_a_relay_is_too_old_for_never_goes_well() {
        let (needs, has) = (SmpVersion(15), SmpVersion(8));
        let error = ClientError::Version { needs, has };
        assert_eq!(of_client(error.clone()), Failure::TooOld);
        assert_eq!(of_routing(RoutingError::Command(error)), Failure::TooOld);
        let error = ClientError::Encode(EncodeError("transmission"));
        assert_eq!(of_client(error), Failure::Refused(ErrorType::LargeMsg));
    }
}
