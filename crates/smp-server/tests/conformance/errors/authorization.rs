//! `AUTH`, for every command and everything that leads to it.

use super::{Full, full, recipient_commands};
use crate::prelude::*;

const KINDS: [AuthKeyKind; 2] = [AuthKeyKind::Ed25519, AuthKeyKind::X25519];

fn other_kind(kind: AuthKeyKind) -> AuthKeyKind {
    match kind {
        AuthKeyKind::Ed25519 => AuthKeyKind::X25519,
        AuthKeyKind::X25519 => AuthKeyKind::Ed25519,
    }
}

/// Every command that a queue's key authorizes, with the right id and key.
fn authorized(client: &mut Client, full: &Full) -> Vec<(EntityId, AuthPrivateKey, Command)> {
    let copy = |key: &AuthPrivateKey| AuthPrivateKey::from_bytes(key.kind(), key.as_bytes());
    let recipient = EntityId::from(full.queue.recipient());
    let mut all: Vec<_> = recipient_commands(client)
        .into_iter()
        .map(|command| (recipient.clone(), copy(&full.queue.key), command))
        .collect();
    all.push((
        full.queue.sender().into(),
        copy(&full.sender),
        send(b"hello"),
    ));
    all.push((
        full.queue.notifier().into(),
        copy(&full.notifier),
        Command::Nsub,
    ));
    let skey = Command::Skey(full.sender.public());
    all.push((full.queue.sender().into(), copy(&full.sender), skey));
    let lkey = Command::Lkey(full.sender.public());
    all.push((full.queue.link().into(), copy(&full.sender), lkey));
    all
}

#[tokio::test(start_paused = true)]
async fn auth_is_every_command_with_a_wrong_key_of_either_kind() {
    let relay = relay();
    for kind in KINDS {
        let mut client = relay.client().await;
        let full = full(&mut client, MESSAGING, kind).await;
        for (entity, _, command) in authorized(&mut client, &full) {
            for wrong in [kind, other_kind(kind)] {
                let wrong = key(&mut client, wrong);
                let answer = client
                    .run(entity.clone(), Some(&wrong), command.clone())
                    .await;
                assert_eq!(answer, AUTH, "{}", command.tag());
            }
        }
        assert_eq!(client.manage(&full.queue, Command::Que).await.tag(), "INFO");
    }
}

#[tokio::test(start_paused = true)]
async fn auth_is_every_command_on_a_queue_that_does_not_exist() {
    let relay = relay();
    for kind in KINDS {
        let mut client = relay.client().await;
        let full = full(&mut client, MESSAGING, kind).await;
        for (_, key, command) in authorized(&mut client, &full) {
            let missing = EntityId::generate(&mut client.rng);
            let short = EntityId::new(&missing.as_bytes()[..16]).unwrap();
            let long = EntityId::new(&[missing.as_bytes(), b"x"].concat()).unwrap();
            for entity in [missing, short, long] {
                let answer = client.run(entity, Some(&key), command.clone()).await;
                assert_eq!(answer, AUTH, "{}", command.tag());
            }
        }
        let missing = EntityId::generate(&mut client.rng);
        assert_eq!(client.run(missing.clone(), None, Command::Lget).await, AUTH);
        assert_eq!(client.run(missing, None, send(b"no")).await, AUTH);
    }
}

#[tokio::test(start_paused = true)]
async fn auth_is_every_command_with_an_id_of_another_party() {
    let relay = relay();
    for kind in KINDS {
        let mut client = relay.client().await;
        let full = full(&mut client, MESSAGING, kind).await;
        let ids: [EntityId; 4] = [
            full.queue.recipient().into(),
            full.queue.sender().into(),
            full.queue.notifier().into(),
            full.queue.link().into(),
        ];
        for (right, key, command) in authorized(&mut client, &full) {
            for entity in ids.iter().filter(|id| **id != right) {
                let answer = client
                    .run(entity.clone(), Some(&key), command.clone())
                    .await;
                assert_eq!(answer, AUTH, "{}", command.tag());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn auth_is_every_command_with_another_partys_key() {
    let relay = relay();
    for kind in KINDS {
        let mut client = relay.client().await;
        let full = full(&mut client, MESSAGING, kind).await;
        for (entity, right, command) in authorized(&mut client, &full) {
            for key in [&full.queue.key, &full.sender, &full.notifier] {
                if key.as_bytes() != right.as_bytes() {
                    let answer = client.run(entity.clone(), Some(key), command.clone()).await;
                    assert_eq!(answer, AUTH, "{}", command.tag());
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn auth_is_a_signature_or_authenticator_with_one_bit_changed() {
    let relay = relay();
    for kind in KINDS {
        let mut client = relay.client().await;
        let key = key(&mut client, kind);
        let dh = DhPrivateKey::generate(&mut client.rng);
        let new = Command::New(Box::new(new_queue(key.public(), &dh, None)));
        let corr_id = client.corr_id();
        let right = client.transmission(&corr_id, &EntityId::EMPTY, Some(&key), &new);
        for at in 1..=usize::from(right[0]) {
            let mut wrong = right.clone();
            wrong[at] ^= 1 << (at % 8);
            client.send(&[wrong]).await;
            assert_eq!(client.answer(&corr_id).await, AUTH);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn auth_is_an_authorization_of_another_session() {
    let relay = relay();
    for version in [7, 16, 20].map(SmpVersion) {
        for kind in KINDS {
            let mut client = relay.client_of(version).await;
            let mut other = relay.client_of(version).await;
            let key = key(&mut client, kind);
            let dh = DhPrivateKey::generate(&mut client.rng);
            let new = Command::New(Box::new(new_queue(key.public(), &dh, None)));
            let corr_id = client.corr_id();
            let bytes = client.transmission(&corr_id, &EntityId::EMPTY, Some(&key), &new);
            other.send(std::slice::from_ref(&bytes)).await;
            assert_eq!(other.answer(&corr_id).await, AUTH);
            client.send(&[bytes]).await;
            assert_eq!(client.answer(&corr_id).await.tag(), "IDS");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn auth_is_an_authorization_of_another_correlation_id_queue_or_command() {
    let relay = relay();
    let mut client = relay.client().await;
    for kind in KINDS {
        // One key for two queues, so that nothing but the id tells them apart.
        let key = key(&mut client, kind);
        let mut queues = Vec::new();
        for _ in 0..2 {
            let dh = DhPrivateKey::generate(&mut client.rng);
            let new = Command::New(Box::new(new_queue(key.public(), &dh, None)));
            let answer = client.run(EntityId::EMPTY, Some(&key), new).await;
            let Response::Ids(ids) = answer else {
                panic!("expected IDS");
            };
            queues.push(EntityId::from(ids.recipient_id));
        }
        let corr_id = client.corr_id();
        let bytes = client.transmission(&corr_id, &queues[0], Some(&key), &Command::Sub);
        let authorization = match kind {
            AuthKeyKind::Ed25519 => Authorization::Signature(bytes[1..65].try_into().unwrap()),
            AuthKeyKind::X25519 => Authorization::Authenticator(bytes[1..81].try_into().unwrap()),
        };
        let elsewhere = client.corr_id();
        for (corr_id, entity, command) in [
            (&elsewhere, &queues[0], &b"SUB"[..]),
            (&corr_id, &queues[1], b"SUB"),
            (&corr_id, &queues[0], b"DEL"),
        ] {
            let bytes = client.authorized(corr_id, entity, &authorization, None, command);
            client.send(&[bytes]).await;
            assert_eq!(client.answer(corr_id).await, AUTH);
        }
        client.send(&[bytes]).await;
        assert_eq!(client.answer(&corr_id).await, SOK);
    }
}

#[tokio::test(start_paused = true)]
async fn auth_is_not_a_correlation_id_that_is_used_again() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let corr_id = client.corr_id();
    let entity = EntityId::from(queue.recipient());
    let sub = client.transmission(&corr_id, &entity, Some(&queue.key), &Command::Sub);
    let off = client.transmission(&corr_id, &entity, Some(&queue.key), &Command::Off);
    // A client that repeats itself only harms itself; each command gets its answer.
    client.send(&[sub.clone(), sub, off]).await;
    for expected in [SOK, SOK, OK] {
        let received = client.next().await;
        assert_eq!(
            (received.corr_id, received.response),
            (Some(corr_id), expected)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn auth_is_an_x25519_key_in_version_6() {
    let relay = relay();
    let mut client = relay.client_of(SmpVersion(6)).await;
    let key = key(&mut client, AuthKeyKind::X25519);
    let dh = DhPrivateKey::generate(&mut client.rng);
    let new = Command::New(Box::new(new_queue(key.public(), &dh, None)));
    let mut command = Vec::new();
    new.encode(SmpVersion(6), &mut command).unwrap();
    let corr_id = client.corr_id();
    for authorization in [
        Authorization::Authenticator([1; 80]),
        Authorization::Signature([1; 64]),
    ] {
        let bytes = client.authorized(&corr_id, &EntityId::EMPTY, &authorization, None, &command);
        client.send(&[bytes]).await;
        assert_eq!(client.answer(&corr_id).await, AUTH);
    }
}
