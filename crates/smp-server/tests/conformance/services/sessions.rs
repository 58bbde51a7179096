//! "Service certificates", and which commands a service may sign.

use std::time::SystemTime;

use smp_transport::{BlockIo, ClientHandshakeOptions, ServiceOptions, sign_key};

use super::{id_of, join, nsubs, subs};
use crate::prelude::*;

const ROLES: [ServiceRole; 3] = [
    ServiceRole::Messaging,
    ServiceRole::Notifier,
    ServiceRole::Proxy,
];

#[tokio::test(start_paused = true)]
async fn service_certificates_give_a_lasting_id() {
    let relay = relay();
    let (one, other) = (service_credentials("one"), service_credentials("other"));
    for role in ROLES {
        let first = id_of(&relay.service(role, &one).await);
        assert_eq!(id_of(&relay.service(role, &one).await), first);
        assert_ne!(id_of(&relay.service(role, &other).await), first);
        assert_eq!(first.as_bytes().len(), 24);
    }
}

#[tokio::test(start_paused = true)]
async fn service_certificates_of_two_roles_are_two_services() {
    let relay = relay();
    let credentials = service_credentials("one");
    let ids = [
        id_of(&relay.service(ServiceRole::Messaging, &credentials).await),
        id_of(&relay.service(ServiceRole::Notifier, &credentials).await),
    ];
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test(start_paused = true)]
async fn service_certificates_other_than_in_tls_are_refused() {
    let relay = relay();
    let (shown, claimed) = (service_credentials("shown"), service_credentials("claimed"));
    for chain in [shown.chain(), &[]] {
        let (io, session_id) = relay.stream(VersionRange::SUPPORTED, chain);
        let role = ServiceRole::Messaging;
        let service = Some(ServiceOptions {
            role,
            credentials: &claimed,
        });
        let options = ClientHandshakeOptions {
            versions: VersionRange::SUPPORTED,
            proxy: false,
            service,
            now: SystemTime::now(),
        };
        let refused = relay.shake_hands(io, &session_id, options).await;
        let bad_service = TransportError::Handshake(HandshakeError::BadService);
        assert_eq!(refused.err().unwrap().transport_error(), Some(bad_service));
    }
}

#[tokio::test(start_paused = true)]
async fn service_certificates_must_sign_the_key_of_the_session() {
    let relay = relay();
    let (mine, other) = (service_credentials("mine"), service_credentials("other"));
    let mut client = relay.client().await;
    let key = key(&mut client, AuthKeyKind::Ed25519).public();
    let mut signed = sign_key(&mine, &key.to_spki()).unwrap();
    signed.signed_key = sign_key(&other, &key.to_spki()).unwrap().signed_key;
    let (mut io, _) = relay.stream(VersionRange::SUPPORTED, mine.chain());
    io.read_block().await.unwrap().unwrap();
    let hello = ClientHello {
        version: SmpVersion(20),
        key_hash: relay.identity(),
        client_key: Some(dh_key(&mut client)),
        proxy: false,
        service: Some(ClientService {
            role: ServiceRole::Messaging,
            key: signed,
        }),
    };
    io.write_block(hello.to_block().unwrap()).await.unwrap();
    let reply = ServiceReply::from_block(&io.read_block().await.unwrap().unwrap()).unwrap();
    let bad_service = TransportError::Handshake(HandshakeError::BadService);
    assert_eq!(reply, ServiceReply::Refused(bad_service));
    assert!(
        matches!(io.read_block().await, Ok(None) | Err(_)),
        "and then it is over"
    );
}

#[tokio::test(start_paused = true)]
async fn service_commands_of_an_ordinary_client_are_service() {
    let relay = relay();
    let mut client = relay.client().await;
    let key = key(&mut client, AuthKeyKind::Ed25519);
    let entity = EntityId::generate(&mut client.rng);
    let ids_hash = IdsHash::default();
    for command in [
        Command::Subs { count: 0, ids_hash },
        Command::Nsubs { count: 0, ids_hash },
    ] {
        assert_eq!(
            client
                .run(entity.clone(), Some(&key), command.clone())
                .await,
            SERVICE
        );
        assert_eq!(
            client.run(entity.clone(), None, command.clone()).await,
            NO_AUTH
        );
        assert_eq!(
            client.run(EntityId::EMPTY, Some(&key), command).await,
            NO_AUTH
        );
    }
}

#[tokio::test(start_paused = true)]
async fn service_commands_of_another_role_are_service() {
    let relay = relay();
    let credentials = service_credentials("one");
    let mut messaging = relay.service(ServiceRole::Messaging, &credentials).await;
    let mut notifier = relay.service(ServiceRole::Notifier, &credentials).await;
    let mut proxy = relay.service(ServiceRole::Proxy, &credentials).await;
    assert_eq!(nsubs(&mut messaging).await, SERVICE);
    assert_eq!(subs(&mut notifier).await, SERVICE);
    assert_eq!(subs(&mut proxy).await, SERVICE);
    assert_eq!(nsubs(&mut proxy).await, SERVICE);
}

#[tokio::test(start_paused = true)]
async fn service_commands_are_signed_by_the_session_about_the_service() {
    let relay = relay();
    let credentials = service_credentials("one");
    let mut service = relay.service(ServiceRole::Messaging, &credentials).await;
    let other = relay
        .service(ServiceRole::Messaging, &service_credentials("other"))
        .await;
    let command = Command::Subs {
        count: 0,
        ids_hash: IdsHash::default(),
    };
    let wrong = key(&mut service, AuthKeyKind::Ed25519);
    let kind = key(&mut service, AuthKeyKind::X25519);
    let id = id_of(&service);
    assert_eq!(
        service.run(id.clone(), Some(&wrong), command.clone()).await,
        SERVICE
    );
    assert_eq!(service.run(id, Some(&kind), command.clone()).await, SERVICE);
    let session = service.service.as_ref().unwrap();
    let right = AuthPrivateKey::from_bytes(AuthKeyKind::Ed25519, session.key.as_bytes());
    assert_eq!(
        service.run(id_of(&other), Some(&right), command).await,
        SERVICE
    );
}

#[tokio::test(start_paused = true)]
async fn service_signature_in_an_ordinary_session_is_service() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let corr_id = client.corr_id();
    let authorization = Authorization::Signature([1; 64]);
    let sub = client.authorized(
        &corr_id,
        &queue.recipient().into(),
        &authorization,
        Some(&[2; 64]),
        b"SUB",
    );
    client.send(&[sub]).await;
    assert_eq!(client.answer(&corr_id).await, SERVICE);
}

#[tokio::test(start_paused = true)]
async fn service_signature_belongs_to_new_sub_and_nsub_alone() {
    let relay = relay();
    let credentials = service_credentials("one");
    let mut service = relay.service(ServiceRole::Messaging, &credentials).await;
    let queue = create(&mut service, MESSAGING).await;
    for command in [
        Command::Get,
        Command::Off,
        Command::Que,
        Command::Del,
        Command::Ndel,
    ] {
        let answer = service
            .run_as_service(queue.recipient(), &queue.key, command)
            .await;
        assert_eq!(answer, SERVICE);
    }
    assert_eq!(
        service.manage(&queue, Command::Que).await.tag(),
        "INFO",
        "without it is fine"
    );
}

#[tokio::test(start_paused = true)]
async fn service_signature_that_is_wrong_is_service() {
    let relay = relay();
    let credentials = service_credentials("one");
    let mut service = relay.service(ServiceRole::Messaging, &credentials).await;
    let queue = create(&mut service, MESSAGING).await;
    let session_key = AuthPrivateKey::generate(&mut service.rng, AuthKeyKind::Ed25519);
    let right = std::mem::replace(&mut service.service.as_mut().unwrap().key, session_key);
    let answer = service
        .run_as_service(queue.recipient(), &queue.key, Command::Sub)
        .await;
    assert_eq!(answer, SERVICE);
    service.service.as_mut().unwrap().key = right;
    join(&mut service, &queue).await;
}

#[tokio::test(start_paused = true)]
async fn service_is_in_what_the_queues_key_authorizes() {
    let relay = relay();
    let credentials = service_credentials("one");
    let mut service = relay.service(ServiceRole::Messaging, &credentials).await;
    let queue = create(&mut service, MESSAGING).await;
    // Both signatures are right, but the queue's key did not agree to this service.
    let (corr_id, entity) = (service.corr_id(), queue.recipient().into());
    let params = service.params.clone();
    let unsigned = Unsigned::new(&params, Some(&corr_id), &entity, |out| {
        Command::Sub.encode(params.version, out)
    });
    let unsigned = unsigned.unwrap();
    let signed = unsigned.signed_bytes(&params);
    let session = service.service.as_ref().unwrap();
    let session = authorize(&session.key, None, &corr_id, &signed).unwrap();
    let Authorization::Signature(of_service) = session else {
        panic!("services sign");
    };
    let alone = authorize(&queue.key, service.session_key.as_ref(), &corr_id, &signed).unwrap();
    let sub = service.authorized(&corr_id, &entity, &alone, Some(&of_service), b"SUB");
    service.send(&[sub]).await;
    assert_eq!(service.answer(&corr_id).await, AUTH);
    join(&mut service, &queue).await;
}

#[tokio::test(start_paused = true)]
async fn service_may_use_queues_as_any_client_does() {
    let relay = relay();
    let credentials = service_credentials("one");
    let mut service = relay.service(ServiceRole::Messaging, &credentials).await;
    let queue = create(&mut service, MESSAGING).await;
    assert_eq!(queue.ids.service_id, None);
    assert_eq!(service.manage(&queue, Command::Sub).await, SOK);
    post(&mut service, &queue, b"hello").await;
    let message = service.message(&queue).await;
    assert_eq!(service.ack(&queue, &message).await, OK);
    let notifier = relay.service(ServiceRole::Notifier, &credentials).await;
    let mut notifier = notifier;
    let sub = notifier
        .run_as_service(queue.recipient(), &queue.key, Command::Sub)
        .await;
    assert_eq!(sub, SOK, "a notifier's service takes no queue's messages");
}
