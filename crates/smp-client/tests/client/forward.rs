//! A proxy's session with a relay.

use smp_client::{ClientError, ConnectError, ForwardSession, Misbehaviour, SessionOptions};
use smp_protocol::{
    BrokerError, Command, CorrId, DhPublicKey, ErrorType, ForwardedResponse, ForwardedTransmission,
    ProxyError, Response, SmpVersion, TransportError, VersionRange,
};

use crate::fake::{FakeRelay, FakeSession, Received};

const CLIENT: CorrId = CorrId([9; 24]);

async fn connect(relay: &mut FakeRelay) -> (Result<ForwardSession, ConnectError>, FakeSession) {
    let (connector, address) = (relay.connector.clone(), relay.address().relay);
    let options = SessionOptions::default();
    tokio::join!(
        ForwardSession::connect(&connector, &address, &options),
        relay.accept()
    )
}

fn forwarded(body: &[u8]) -> ForwardedTransmission<'_> {
    let key = DhPublicKey([8; 32]);
    ForwardedTransmission {
        corr_id: CLIENT,
        version: SmpVersion(18),
        key,
        body,
    }
}

/// What the relay finds in a command: its client's id and the body.
fn open(relay: &FakeSession, received: &Received) -> (CorrId, Vec<u8>) {
    let Command::Rfwd(sealed) = &received.command else {
        panic!()
    };
    let mut sealed = sealed.clone();
    let key = relay.proxy_key();
    let opened = ForwardedTransmission::open(&key, &received.corr_id, &mut sealed).unwrap();
    assert_eq!(
        (opened.version, opened.key),
        (SmpVersion(18), DhPublicKey([8; 32]))
    );
    (opened.corr_id, opened.body.to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_proxy_tells_of_the_relay_what_its_hello_had() {
    let mut fake = FakeRelay::new();
    let (session, relay) = connect(&mut fake).await;
    let session = session.unwrap();
    assert!(relay.session.proxy && !relay.session.params.block_encryption);
    let offer = session.offer();
    assert_eq!(
        offer.session_id.as_bytes(),
        relay.session.params.session_id.as_bytes()
    );
    assert_eq!(offer.versions, VersionRange::PROXIED);
    let now = std::time::SystemTime::now();
    let identity = fake.credentials.identity();
    let key = smp_transport::verify_relay_key(&offer.certificates, &identity, now).unwrap();
    assert_eq!(key, relay.session.key.as_ref().unwrap().public());
    assert!(matches!(offer.to_response(), Response::Pkey { .. }));
}

#[tokio::test(start_paused = true)]
async fn commands_of_several_clients_are_forwarded_at_once() {
    let mut fake = FakeRelay::new();
    let (session, mut relay) = connect(&mut fake).await;
    let session = session.unwrap();
    let (first, second) = (vec![1; 16_242], vec![2; 16_242]);
    let play = async {
        let commands = [relay.expect("RFWD").await, relay.expect("RFWD").await];
        for command in commands.iter().rev() {
            assert!(command.entity.is_empty() && relay.is_unauthorized(command));
            let (corr_id, mut body) = open(&relay, command);
            assert_eq!(corr_id, CLIENT);
            body.reverse();
            body.push(3);
            let response = ForwardedResponse {
                corr_id,
                body: &body,
            };
            let sealed = response.seal(&relay.proxy_key(), &command.corr_id);
            relay.answer(command, Response::Rres(sealed)).await;
        }
    };
    let (a, b, ()) = tokio::join!(
        session.forward(forwarded(&first)),
        session.forward(forwarded(&second)),
        play
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!((a.len(), a[0], a[16_242]), (16_243, 1, 3));
    assert_eq!((b.len(), b[0], b[16_242]), (16_243, 2, 3));
}

#[tokio::test(start_paused = true)]
async fn what_the_relay_refuses_is_told_to_the_client() {
    let mut fake = FakeRelay::new();
    let (session, mut relay) = connect(&mut fake).await;
    let session = session.unwrap();
    let play = async {
        let command = relay.expect("RFWD").await;
        relay
            .answer(&command, Response::Err(ErrorType::Crypto))
            .await;
        let command = relay.expect("RFWD").await;
        let response = ForwardedResponse {
            corr_id: CorrId([1; 24]),
            body: &[],
        };
        let sealed = response.seal(&relay.proxy_key(), &command.corr_id);
        relay.answer(&command, Response::Rres(sealed)).await;
        let command = relay.expect("RFWD").await;
        relay.answer(&command, Response::Rres(vec![0; 100])).await;
        let command = relay.expect("RFWD").await;
        relay.answer(&command, Response::Ok).await;
        drop(relay);
    };
    let ask = async {
        let error = session.forward(forwarded(&[])).await.unwrap_err();
        assert_eq!(
            error.to_proxy_error(),
            ProxyError::Protocol(Box::new(ErrorType::Crypto))
        );
        for misbehaviour in [Misbehaviour::UnknownCommand, Misbehaviour::Forged] {
            let error = session.forward(forwarded(&[])).await.unwrap_err();
            assert!(matches!(&error, ClientError::Misbehaved(what) if *what == misbehaviour));
            let response = ProxyError::Broker(BrokerError::Response(String::new()));
            assert_eq!(error.to_proxy_error(), response);
        }
        let error = session.forward(forwarded(&[])).await.unwrap_err();
        let unexpected = ProxyError::Broker(BrokerError::Unexpected(String::new()));
        assert_eq!(error.to_proxy_error(), unexpected);
        session.closed().await;
        assert!(matches!(
            session
                .forward(forwarded(&[]))
                .await
                .unwrap_err()
                .to_proxy_error(),
            ProxyError::Broker(BrokerError::Network(_))
        ));
    };
    tokio::join!(ask, play);
}

#[tokio::test(start_paused = true)]
async fn relays_before_version_8_take_no_forwarded_commands() {
    for version in [6, 7] {
        let mut fake = FakeRelay::with_versions(6, version);
        let (session, _relay) = connect(&mut fake).await;
        let error = session.unwrap_err();
        assert!(matches!(error, ConnectError::TooOld(_)));
        let too_old = ProxyError::Broker(BrokerError::Transport(TransportError::Version));
        assert_eq!(error.to_proxy_error(), too_old);
    }
}

#[tokio::test(start_paused = true)]
async fn relays_that_do_not_know_proxies_are_spoken_to_without_block_encryption() {
    for (max, spoken) in [(8, 8), (10, 10), (12, 10), (13, 10), (14, 14), (18, 18)] {
        let mut fake = FakeRelay::with_versions(6, max);
        let (session, relay) = connect(&mut fake).await;
        let session = session.unwrap();
        assert_eq!(session.version(), SmpVersion(spoken));
        assert!(!relay.session.params.block_encryption);
        assert_eq!(session.offer().versions.max(), SmpVersion(max));
    }
}
