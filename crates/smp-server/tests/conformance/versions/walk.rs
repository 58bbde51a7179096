//! One walk through everything that a version has, for each version.

use crate::prelude::*;

/// Makes a test for each version.
macro_rules! walk {
    ($($name:ident: $version:literal,)*) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            walk(SmpVersion($version)).await;
        })*
    };
}

walk! {
    version_6_walks_through_all_that_it_has: 6,
    version_7_walks_through_all_that_it_has: 7,
    version_8_walks_through_all_that_it_has: 8,
    version_9_walks_through_all_that_it_has: 9,
    version_10_walks_through_all_that_it_has: 10,
    version_11_walks_through_all_that_it_has: 11,
    version_12_walks_through_all_that_it_has: 12,
    version_14_walks_through_all_that_it_has: 14,
    version_15_walks_through_all_that_it_has: 15,
    version_16_walks_through_all_that_it_has: 16,
    version_17_walks_through_all_that_it_has: 17,
    version_18_walks_through_all_that_it_has: 18,
    version_19_walks_through_all_that_it_has: 19,
    version_20_walks_through_all_that_it_has: 20,
}

async fn walk(version: SmpVersion) {
    let relay = relay();
    let mut client = relay.client_of(version).await;
    assert_eq!(
        client.run(EntityId::EMPTY, None, Command::Ping).await,
        Response::Pong
    );
    messages(&relay, version).await;
    subscriptions(&relay, version).await;
    notifications(&relay, version).await;
    sender_secures(&relay, version).await;
    links(&relay, version).await;
    blocked(&relay, version).await;
}

/// NEW, SEND, MSG, ACK, KEY, GET, QUE.
async fn messages(relay: &TestRelay, version: SmpVersion) {
    let (mut recipient, mut sender) = (
        relay.client_of(version).await,
        relay.client_of(version).await,
    );
    let queue = create(&mut recipient, CONTACT).await;
    post(&mut sender, &queue, b"unsecured").await;
    let first = recipient.message(&queue).await;
    assert_eq!(first.body, b"unsecured");
    assert_eq!(recipient.ack(&queue, &first).await, OK);
    assert_eq!(recipient.ack(&queue, &first).await, NO_MSG);

    let mut kinds = vec![AuthKeyKind::Ed25519];
    if version >= SmpVersion::AUTH_ENCRYPTION {
        kinds.push(AuthKeyKind::X25519);
    }
    for kind in kinds {
        let queue = create_only(&mut recipient, CONTACT).await;
        let key = key(&mut sender, kind);
        assert_eq!(
            recipient.manage(&queue, Command::Key(key.public())).await,
            OK
        );
        assert_eq!(sender.run(queue.sender(), None, send(b"no")).await, AUTH);
        let longest = vec![b'a'; max_message_length(version)];
        assert_eq!(
            sender.run(queue.sender(), Some(&key), send(&longest)).await,
            OK
        );
        let larger = [&longest[..], b"a"].concat();
        let large = sender.run(queue.sender(), Some(&key), send(&larger)).await;
        assert_eq!(large, error(ErrorType::LargeMsg));
        let message = queue.open(&recipient.manage(&queue, Command::Get).await);
        assert_eq!(message.body, longest);
        assert_eq!(recipient.ack(&queue, &message).await, OK);
        assert_eq!(recipient.manage(&queue, Command::Get).await, OK);
        assert_eq!(recipient.manage(&queue, Command::Sub).await, PROHIBITED);
        assert_eq!(recipient.manage(&queue, Command::Que).await.tag(), "INFO");
    }
}

/// SUB, END, OFF, DEL.
async fn subscriptions(relay: &TestRelay, version: SmpVersion) {
    let (mut first, mut second) = (
        relay.client_of(version).await,
        relay.client_of(version).await,
    );
    let queue = create(&mut first, CONTACT).await;
    post(&mut second, &queue, b"hello").await;
    let message = first.message(&queue).await;
    let subscribed = if version < SmpVersion::SERVICE_CERTS {
        OK
    } else {
        SOK
    };
    assert_eq!(second.manage(&queue, Command::Sub).await, subscribed);
    assert_eq!(second.message(&queue).await, message);
    assert_eq!(
        first.event().await,
        (queue.recipient().into(), Response::End)
    );
    assert_eq!(second.manage(&queue, Command::Off).await, OK);
    assert_eq!(first.run(queue.sender(), None, send(b"no")).await, AUTH);
    assert_eq!(first.manage(&queue, Command::Del).await, OK);
    let deleted = if version < SmpVersion::DELETED_EVENT {
        Response::End
    } else {
        Response::Deld
    };
    assert_eq!(second.event().await, (queue.recipient().into(), deleted));
    assert_eq!(second.ack(&queue, &message).await, AUTH);
}

/// NKEY, NSUB, NMSG, NDEL; from version 17 on in NEW.
async fn notifications(relay: &TestRelay, version: SmpVersion) {
    let (mut client, mut notifier) = (
        relay.client_of(version).await,
        relay.client_of(version).await,
    );
    let (key, dh) = (key_of(&mut client), DhPrivateKey::generate(&mut client.rng));
    let private = DhPrivateKey::from_bytes(dh.as_bytes());
    let (queue, notifier_id, relay_dh) = if version < SmpVersion::NEW_NOTIFIER {
        let queue = create(&mut client, CONTACT).await;
        let nkey = Command::Nkey {
            key: key.public(),
            dh_key: dh.public(),
        };
        let Response::Nid {
            notifier_id,
            dh_key,
        } = client.manage(&queue, nkey).await
        else {
            panic!("expected NID");
        };
        (queue, notifier_id, dh_key)
    } else {
        let notifier = Some((key.public(), dh));
        let options = NewQueueOptions {
            notifier,
            ..Default::default()
        };
        let queue = create_with(&mut client, options).await;
        let (notifier_id, dh_key) = queue.ids.notifier.clone().unwrap();
        (queue, notifier_id, dh_key)
    };
    let nsub = notifier
        .run(notifier_id.clone(), Some(&key), Command::Nsub)
        .await;
    assert_eq!(
        nsub,
        if version < SmpVersion::SERVICE_CERTS {
            OK
        } else {
            SOK
        }
    );
    let sent = client
        .run(queue.sender(), None, send_notified(b"hello"))
        .await;
    assert_eq!(sent, OK);
    let (entity, Response::Nmsg { nonce, meta }) = notifier.event().await else {
        panic!("expected NMSG");
    };
    assert_eq!(entity, notifier_id.into());
    let secret = BoxKey::from(DhSecret::agree(&private, &relay_dh).unwrap());
    let meta = NotificationMeta::open(&secret, &nonce, &meta).unwrap();
    assert_eq!(meta.message_id, client.message(&queue).await.id);
    assert_eq!(client.manage(&queue, Command::Ndel).await, OK);
}

/// SKEY, from version 9 on.
async fn sender_secures(relay: &TestRelay, version: SmpVersion) {
    let mut client = relay.client_of(version).await;
    let queue = create(&mut client, MESSAGING).await;
    let (key, other) = (key_of(&mut client), key_of(&mut client));
    let skey = |key: &AuthPrivateKey| Command::Skey(key.public());
    let secured = client.run(queue.sender(), Some(&key), skey(&key)).await;
    if version < SmpVersion::SKEY {
        assert_eq!(secured, UNKNOWN);
        post(&mut client, &queue, b"open").await;
        return;
    }
    assert_eq!(secured, OK);
    assert_eq!(client.run(queue.sender(), Some(&key), skey(&key)).await, OK);
    assert_eq!(
        client.run(queue.sender(), Some(&other), skey(&other)).await,
        AUTH
    );
    assert_eq!(
        client.run(queue.sender(), Some(&key), send(b"hello")).await,
        OK
    );
    assert_eq!(client.message(&queue).await.body, b"hello");
}

/// LSET, LGET, LKEY, LDEL and RKEY, from version 15 on.
async fn links(relay: &TestRelay, version: SmpVersion) {
    let mut client = relay.client_of(version).await;
    let queue = create(&mut client, CONTACT).await;
    let link_id = LinkId::generate(&mut client.rng);
    let data = link_data(b"fixed", b"user");
    let lset = Command::Lset {
        link_id: link_id.clone(),
        data: data.clone(),
    };
    let rkey = Command::Rkey(vec![queue.key.public()]);
    if version < SmpVersion::SHORT_LINKS {
        for command in [lset, rkey, Command::Ldel] {
            assert_eq!(client.manage(&queue, command).await, UNKNOWN);
        }
        assert_eq!(client.run(link_id, None, Command::Lget).await, UNKNOWN);
        return;
    }
    assert_eq!(client.manage(&queue, lset).await, OK);
    let shown = Response::Lnk {
        sender_id: queue.sender(),
        data: data.clone(),
    };
    assert_eq!(
        client.run(link_id.clone(), None, Command::Lget).await,
        shown
    );
    assert_eq!(client.manage(&queue, rkey).await, OK);
    assert_eq!(client.manage(&queue, Command::Ldel).await, OK);
    assert_eq!(client.run(link_id, None, Command::Lget).await, AUTH);

    let options = NewQueueOptions {
        link: Some(data.clone()),
        ..Default::default()
    };
    let queue = create_with(&mut client, options).await;
    let key = key_of(&mut client);
    let shown = Response::Lnk {
        sender_id: queue.sender(),
        data,
    };
    let lkey = Command::Lkey(key.public());
    assert_eq!(client.run(queue.link(), Some(&key), lkey).await, shown);
}

/// BLOCKED from version 12 on, with a notice from 18 on; before it is AUTH.
async fn blocked(relay: &TestRelay, version: SmpVersion) {
    let mut client = relay.client_of(version).await;
    let queue = create(&mut client, CONTACT).await;
    let notice = Some("{}".to_owned());
    let info = BlockingInfo {
        reason: BlockingReason::Content,
        notice,
    };
    let id = queue.sender().as_bytes().try_into().unwrap();
    assert!(relay.relay.block(id, Some(info)).await.unwrap());
    client.run(queue.sender(), None, send(b"no")).await;
    let expected = match version.0 {
        ..12 => "<ERR AUTH",
        12..18 => "<ERR BLOCKED reason=content",
        18.. => "<ERR BLOCKED reason=content,notice={}",
    };
    assert_eq!(client.transcript.last().unwrap(), expected);
}
