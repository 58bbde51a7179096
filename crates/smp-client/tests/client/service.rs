//! A session of a service.

use std::sync::Arc;
use std::time::SystemTime;

use smp_client::{ClientError, QueueKey, ServiceIdentity, Session, SessionOptions};
use smp_protocol::{
    AuthKeyKind, AuthPublicKey, Authorization, Command, IdsHash, RecipientId, Response, ServiceId,
    ServiceRole, SignatureAlgorithm, Transmission, verify_signature,
};
use smp_transport::{BlockStream, Purpose, TlsCredentials, Validity, server_handshake};

use crate::fake::{FakeRelay, FakeSession, id, key, rng, session};

fn service() -> ServiceIdentity {
    let validity = Validity::from_now(SystemTime::now(), 365);
    let algorithm = SignatureAlgorithm::Ed25519;
    let rng = &mut rng(20);
    let root =
        TlsCredentials::self_signed(Purpose::Authority, "root", validity, algorithm, rng).unwrap();
    let credentials = root
        .issue(Purpose::Service, "service", validity, algorithm, rng)
        .unwrap();
    ServiceIdentity {
        role: ServiceRole::Messaging,
        credentials: Arc::new(credentials),
    }
}

async fn service_session() -> (Session, FakeSession, ServiceId) {
    let service = service();
    let mut fake = FakeRelay::new();
    let options = SessionOptions {
        service: Some(service.clone()),
        ..SessionOptions::default()
    };
    let address = fake.address();
    let (connector, isolation) = (
        fake.connector.clone(),
        smp_client::Isolation::generate(&mut rng(1)),
    );
    let connect = Session::connect(&connector, &address, &isolation, &options);
    let id = ServiceId(id("service id"));
    let accept = async {
        let link = fake.accepted.recv().await.unwrap();
        let mut io = BlockStream::new(link.stream);
        let chain = service.credentials.chain();
        let now = SystemTime::now();
        let (versions, rng) = (fake.versions, &mut rng(7));
        let begun = server_handshake(
            &mut io,
            &fake.credentials,
            &link.session_id,
            chain,
            versions,
            now,
            rng,
        )
        .await
        .unwrap();
        let mut session = FakeSession::new(io, begun);
        session.accept_service(id.clone()).await;
        session
    };
    let (connected, relay) = tokio::join!(connect, accept);
    (connected.unwrap().0, relay, id)
}

#[tokio::test(start_paused = true)]
async fn a_service_signs_beside_the_queue_when_it_subscribes() {
    let (session, mut relay, service) = service_session().await;
    let (queue, key) = (RecipientId(id("queue")), key(AuthKeyKind::X25519, 1));
    let queue = QueueKey {
        id: &queue,
        key: &key,
    };
    let service_key = relay.session.service.unwrap().key;
    let play = async {
        let sub = relay.expect("SUB").await;
        assert!(relay.is_authorized(&sub, &key.public()));
        let params = &relay.session.params;
        let transmission = Transmission::decode(&sub.bytes, params).unwrap();
        let signature = transmission.service_signature.unwrap();
        assert!(verify_signature(
            &service_key,
            &signature,
            &transmission.signed_bytes(params)
        ));
        relay
            .answer(&sub, Response::Sok(Some(service.clone())))
            .await;

        let delete = relay.expect("DEL").await;
        let transmission = Transmission::decode(&delete.bytes, &relay.session.params).unwrap();
        assert!(transmission.service_signature.is_none());
        assert!(relay.is_authorized(&delete, &key.public()));
        relay.answer(&delete, Response::Ok).await;
    };
    let ask = async {
        let subscribed = session.subscribe(&[queue]).await;
        assert!(matches!(&subscribed[..], [Ok(Some(id))] if *id == service));
        session.delete(queue).await.unwrap();
    };
    tokio::join!(ask, play);
}

#[tokio::test(start_paused = true)]
async fn a_service_subscribes_to_all_its_queues_with_its_own_key() {
    let (session, mut relay, service) = service_session().await;
    let (ours, theirs) = (IdsHash([1; 16]), IdsHash([2; 16]));
    let service_key = AuthPublicKey::Ed25519(relay.session.service.unwrap().key);
    let play = async {
        let subs = relay.expect("SUBS").await;
        assert_eq!(subs.entity, service.0);
        assert_eq!(
            subs.command,
            Command::Subs {
                count: 3,
                ids_hash: ours
            }
        );
        assert!(relay.is_authorized(&subs, &service_key));
        let transmission = Transmission::decode(&subs.bytes, &relay.session.params).unwrap();
        assert!(matches!(
            transmission.authorization,
            Authorization::Signature(_)
        ));
        relay
            .answer(
                &subs,
                Response::Soks {
                    count: 4,
                    ids_hash: theirs,
                },
            )
            .await;
    };
    let (subscribed, ()) = tokio::join!(session.subscribe_service(3, ours), play);
    assert_eq!(subscribed.unwrap(), (4, theirs));
}

#[tokio::test(start_paused = true)]
async fn who_is_no_service_cannot_subscribe_as_one() {
    let (session, _events, _relay) = session().await;
    let subscribed = session.subscribe_service(0, IdsHash::default()).await;
    assert!(matches!(subscribed, Err(ClientError::NoService)));
}
