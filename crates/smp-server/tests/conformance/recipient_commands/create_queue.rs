//! "Create queue command" and "Simplex queue IDs".

use std::collections::HashSet;

use crate::prelude::*;

/// NEW with fresh keys, changed by `change`; what answers it, and the queue's keys.
async fn new_with(
    client: &mut Client,
    change: impl FnOnce(&mut NewQueue),
) -> (Response, AuthPrivateKey, DhPrivateKey) {
    let key = key_of(client);
    let dh = DhPrivateKey::generate(&mut client.rng);
    let mut new = new_queue(key.public(), &dh, Some(QueueRequest::Messaging(None)));
    change(&mut new);
    let answer = client
        .run(EntityId::EMPTY, Some(&key), Command::New(Box::new(new)))
        .await;
    (answer, key, dh)
}

fn ids(answer: Response) -> QueueIds {
    match answer {
        Response::Ids(ids) => *ids,
        other => panic!("expected IDS, not {other:?}"),
    }
}

fn password(text: &str) -> Option<BasicAuth> {
    Some(text.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn create_queue_ids_come_with_an_empty_queue_id() {
    let relay = relay();
    let mut client = relay.client().await;
    // `run` compares the answer's queue id with the command's.
    let (answer, ..) = new_with(&mut client, |_| {}).await;
    let ids = ids(answer);
    assert_eq!(ids.recipient_id.as_bytes().len(), 24);
    assert_eq!(ids.sender_id.as_bytes().len(), 24);
    assert_eq!((ids.link_id, ids.service_id), (None, None));
    assert!(ids.notifier.is_none());
}

#[tokio::test(start_paused = true)]
async fn simplex_queue_ids_are_different_and_unique() {
    let relay = relay();
    let (mut one, mut other) = (relay.client().await, relay.client().await);
    let mut seen = HashSet::new();
    for _ in 0..20 {
        for client in [&mut one, &mut other] {
            let queue = create(client, MESSAGING).await;
            assert!(seen.insert(EntityId::from(queue.recipient())));
            assert!(seen.insert(EntityId::from(queue.sender())));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn create_queue_gives_each_queue_another_key_for_its_messages() {
    let relay = relay();
    let mut client = relay.client().await;
    let queues = [
        create(&mut client, MESSAGING).await,
        create(&mut client, MESSAGING).await,
    ];
    assert_ne!(
        queues[0].ids.dh_key.as_bytes(),
        queues[1].ids.dh_key.as_bytes()
    );
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_wrong_password_is_auth() {
    let relay = relay_with("[queues]\npassword = \"secret\"");
    let mut client = relay.client().await;
    let wrong = new_with(&mut client, |new| new.basic_auth = password("secre")).await;
    assert_eq!(wrong.0, AUTH);
    let longer = new_with(&mut client, |new| new.basic_auth = password("secret1")).await;
    assert_eq!(longer.0, AUTH);
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_missing_password_is_auth() {
    let relay = relay_with("[queues]\npassword = \"secret\"");
    let mut client = relay.client().await;
    assert_eq!(new_with(&mut client, |_| {}).await.0, AUTH);
}

#[tokio::test(start_paused = true)]
async fn create_queue_the_password_lets_in_and_is_not_asked_for_afterwards() {
    let relay = relay_with("[queues]\npassword = \"secret\"");
    let mut client = relay.client().await;
    let (answer, key, dh) = new_with(&mut client, |new| new.basic_auth = password("secret")).await;
    let queue = Queue {
        key,
        dh,
        ids: ids(answer),
    };
    assert_eq!(client.manage(&queue, Command::Sub).await, SOK);
    post(&mut client, &queue, b"hello").await;
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_password_that_nobody_asks_for_is_fine() {
    let relay = relay();
    let mut client = relay.client().await;
    ids(
        new_with(&mut client, |new| new.basic_auth = password("any"))
            .await
            .0,
    );
}

#[tokio::test(start_paused = true)]
async fn create_queue_is_auth_when_the_operator_makes_no_queues() {
    let relay = relay_with("[queues]\nallow_new = false\npassword = \"secret\"");
    let mut client = relay.client().await;
    let answer = new_with(&mut client, |new| new.basic_auth = password("secret"))
        .await
        .0;
    assert_eq!(answer, AUTH);
}

#[tokio::test(start_paused = true)]
async fn create_queue_is_authorized_by_the_key_in_it() {
    let relay = relay();
    let mut client = relay.client().await;
    for kind in [AuthKeyKind::Ed25519, AuthKeyKind::X25519] {
        let (key, other) = (key(&mut client, kind), key(&mut client, kind));
        let dh = DhPrivateKey::generate(&mut client.rng);
        let new = Command::New(Box::new(new_queue(key.public(), &dh, None)));
        assert_eq!(
            client.run(EntityId::EMPTY, Some(&other), new.clone()).await,
            AUTH
        );
        assert_eq!(
            client.run(EntityId::EMPTY, None, new.clone()).await,
            NO_AUTH
        );
        ids(client.run(EntityId::EMPTY, Some(&key), new).await);
    }
}

#[tokio::test(start_paused = true)]
async fn create_queue_with_a_queue_id_is_has_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let dh = DhPrivateKey::generate(&mut client.rng);
    let new = Command::New(Box::new(new_queue(queue.key.public(), &dh, None)));
    assert_eq!(client.manage(&queue, new).await, HAS_AUTH);
}

#[tokio::test(start_paused = true)]
async fn create_queue_subscribes_at_once_if_asked_to() {
    let relay = relay();
    let (mut recipient, mut sender) = (relay.client().await, relay.client().await);
    let queue = create(&mut recipient, MESSAGING).await;
    post(&mut sender, &queue, b"hello").await;
    assert_eq!(recipient.message(&queue).await.body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn create_queue_without_subscribing_delivers_nothing_until_sub() {
    let relay = relay();
    let (mut recipient, mut sender) = (relay.client().await, relay.client().await);
    let queue = create_only(&mut recipient, MESSAGING).await;
    post(&mut sender, &queue, b"hello").await;
    assert!(recipient.silent().await);
    assert_eq!(recipient.manage(&queue, Command::Sub).await, SOK);
    assert_eq!(recipient.message(&queue).await.body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_messaging_queue_can_be_secured_by_its_sender() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    assert_eq!(queue.ids.mode, Some(MESSAGING));
    secure(&mut client, &queue).await;
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_contact_queue_cannot_be_secured_by_its_sender() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    assert_eq!(queue.ids.mode, Some(CONTACT));
    let key = key_of(&mut client);
    let skey = Command::Skey(key.public());
    assert_eq!(client.run(queue.sender(), Some(&key), skey).await, AUTH);
}

#[tokio::test(start_paused = true)]
async fn create_queue_without_mode_makes_a_queue_that_only_its_recipient_secures() {
    let relay = relay();
    let mut client = relay.client().await;
    let (answer, key, dh) = new_with(&mut client, |new| new.request = None).await;
    let queue = Queue {
        key,
        dh,
        ids: ids(answer),
    };
    assert_eq!(queue.ids.mode, None);
    let key = key_of(&mut client);
    let skey = Command::Skey(key.public());
    assert_eq!(client.run(queue.sender(), Some(&key), skey).await, AUTH);
    assert_eq!(client.manage(&queue, Command::Key(key.public())).await, OK);
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_messaging_link_gets_its_id_from_the_relay() {
    let relay = relay();
    let mut client = relay.client().await;
    let data = link_data(b"fixed", b"user");
    let link = Some(data.clone());
    let queue = create_with(
        &mut client,
        NewQueueOptions {
            link,
            ..Default::default()
        },
    )
    .await;
    let key = key_of(&mut client);
    let answer = client
        .run(queue.link(), Some(&key), Command::Lkey(key.public()))
        .await;
    assert_eq!(
        answer,
        Response::Lnk {
            sender_id: queue.sender(),
            data
        }
    );
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_contact_link_has_both_ids_from_the_client() {
    let relay = relay();
    let mut client = relay.client().await;
    let (key, dh) = (key_of(&mut client), DhPrivateKey::generate(&mut client.rng));
    let corr_id = client.corr_id();
    let (link_id, sender_id) = (
        LinkId::generate(&mut client.rng),
        QueueRequest::link_sender_id(&corr_id),
    );
    let data = link_data(b"fixed", b"user");
    let request = QueueRequest::Contact(Some((link_id.clone(), sender_id.clone(), data.clone())));
    let new = Command::New(Box::new(new_queue(key.public(), &dh, Some(request))));
    let ids = ids(client
        .run_with(corr_id, &EntityId::EMPTY, Some(&key), new)
        .await);
    assert_eq!(ids.sender_id, sender_id);
    assert_eq!(ids.link_id, Some(link_id.clone()));
    let answer = client.run(link_id, None, Command::Lget).await;
    assert_eq!(answer, Response::Lnk { sender_id, data });
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_sender_id_that_is_not_of_the_correlation_id_is_prohibited() {
    let relay = relay();
    let mut client = relay.client().await;
    let (sender_id, link_id) = (
        SenderId::generate(&mut client.rng),
        LinkId::generate(&mut client.rng),
    );
    let data = link_data(b"fixed", b"user");
    let messaging = QueueRequest::Messaging(Some((sender_id.clone(), data.clone())));
    let contact = QueueRequest::Contact(Some((link_id.clone(), sender_id.clone(), data)));
    for request in [messaging, contact] {
        let answer = new_with(&mut client, |new| new.request = Some(request))
            .await
            .0;
        assert_eq!(answer, PROHIBITED);
    }
    assert_eq!(
        client.run(link_id, None, Command::Lget).await,
        AUTH,
        "nothing was created"
    );
    assert_eq!(client.run(sender_id, None, send(b"hello")).await, AUTH);
}

/// NEW of a contact queue with this link and correlation id.
async fn new_contact(client: &mut Client, corr_id: CorrId, link_id: &LinkId) -> Response {
    let (key, dh) = (key_of(client), DhPrivateKey::generate(&mut client.rng));
    let sender_id = QueueRequest::link_sender_id(&corr_id);
    let link = (link_id.clone(), sender_id, link_data(b"fixed", b"user"));
    let new = new_queue(key.public(), &dh, Some(QueueRequest::Contact(Some(link))));
    let new = Command::New(Box::new(new));
    client
        .run_with(corr_id, &EntityId::EMPTY, Some(&key), new)
        .await
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_link_id_that_is_taken_is_auth_and_stays_with_its_queue() {
    let relay = relay();
    let mut client = relay.client().await;
    let link_id = LinkId::generate(&mut client.rng);
    let (first, second) = (client.corr_id(), client.corr_id());
    let created = ids(new_contact(&mut client, first, &link_id).await);
    assert_eq!(new_contact(&mut client, second, &link_id).await, AUTH);
    let Response::Lnk { sender_id, .. } = client.run(link_id, None, Command::Lget).await else {
        panic!("the link is gone");
    };
    assert_eq!(sender_id, created.sender_id);
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_link_id_that_names_something_else_is_free() {
    let relay = relay();
    let mut client = relay.client().await;
    let other = create(&mut client, CONTACT).await;
    let (recipient, sender) = (other.recipient(), other.sender());
    for id in [EntityId::from(recipient), EntityId::from(sender)] {
        let (link_id, corr_id) = (LinkId::new(id.as_bytes()).unwrap(), client.corr_id());
        ids(new_contact(&mut client, corr_id, &link_id).await);
    }
    assert_eq!(client.manage(&other, Command::Sub).await, SOK);
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_sender_id_that_is_taken_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let corr_id = client.corr_id();
    let links = [
        LinkId::generate(&mut client.rng),
        LinkId::generate(&mut client.rng),
    ];
    ids(new_contact(&mut client, corr_id, &links[0]).await);
    assert_eq!(new_contact(&mut client, corr_id, &links[1]).await, AUTH);
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_link_id_of_another_length_is_refused() {
    let relay = relay();
    let mut client = relay.client().await;
    for length in [0, 23, 25, 255] {
        let link_id = LinkId::new(&vec![1; length]).unwrap();
        let corr_id = client.corr_id();
        assert_eq!(
            new_contact(&mut client, corr_id, &link_id).await,
            PROHIBITED
        );
    }
}

#[tokio::test(start_paused = true)]
async fn create_queue_with_notifier_credentials_enables_notifications() {
    let relay = relay();
    let (mut client, mut sender) = (relay.client().await, relay.client().await);
    let ntf_key = key(&mut client, AuthKeyKind::Ed25519);
    let ntf_dh = DhPrivateKey::generate(&mut client.rng);
    let secret = DhPrivateKey::from_bytes(ntf_dh.as_bytes());
    let notifier = Some((ntf_key.public(), ntf_dh));
    let queue = create_with(
        &mut client,
        NewQueueOptions {
            notifier,
            ..Default::default()
        },
    )
    .await;
    let (notifier_id, relay_dh) = queue.ids.notifier.clone().unwrap();
    assert_ne!(
        EntityId::from(notifier_id.clone()),
        queue.recipient().into()
    );
    assert_ne!(EntityId::from(notifier_id.clone()), queue.sender().into());
    let mut notifier = relay.client().await;
    let nsub = notifier
        .run(notifier_id, Some(&ntf_key), Command::Nsub)
        .await;
    assert_eq!(nsub, SOK);
    let sent = sender
        .run(queue.sender(), None, send_notified(b"hello"))
        .await;
    assert_eq!(sent, OK);
    let (_, Response::Nmsg { nonce, meta }) = notifier.event().await else {
        panic!("expected NMSG");
    };
    let secret = BoxKey::from(DhSecret::agree(&secret, &relay_dh).unwrap());
    let meta = NotificationMeta::open(&secret, &nonce, &meta).unwrap();
    assert_eq!(meta.message_id, client.message(&queue).await.id);
}

#[tokio::test(start_paused = true)]
async fn create_queue_a_weak_key_for_messages_is_crypto() {
    let relay = relay();
    let mut client = relay.client().await;
    let weak = DhPublicKey([0; 32]);
    let answer = new_with(&mut client, |new| new.dh_key = weak).await.0;
    assert_eq!(answer, CRYPTO);
    let key = stranger(&mut client);
    let answer = new_with(&mut client, |new| new.notifier = Some((key, weak)))
        .await
        .0;
    assert_eq!(answer, CRYPTO);
}

#[tokio::test(start_paused = true)]
async fn create_queue_parameters_that_cannot_be_read_are_syntax() {
    let relay = relay();
    let mut client = relay.client().await;
    let key = key_of(&mut client);
    let dh = DhPrivateKey::generate(&mut client.rng);
    let mut good = Vec::new();
    let new = Command::New(Box::new(new_queue(key.public(), &dh, None)));
    new.encode(client.version(), &mut good).unwrap();
    let mut cases = vec![
        b"NEW".to_vec(),
        b"NEW ".to_vec(),
        [&good[..], b"0"].concat(),
    ];
    cases.extend(
        (4..good.len())
            .step_by(7)
            .map(|length| good[..length].to_vec()),
    );
    // What is neither `S` nor `C`, and a queue that is neither `M` nor `C`.
    let subscribe = good.len() - 3;
    assert_eq!(good[subscribe..], *b"S00");
    cases.push([&good[..subscribe], b"X00"].concat());
    cases.push([&good[..subscribe], b"S1X00"].concat());
    for case in cases {
        let answer = client.run_bytes(EntityId::EMPTY, Some(&key), &case).await;
        assert_eq!(answer, SYNTAX);
    }
    let answer = client.run_bytes(EntityId::EMPTY, Some(&key), &good).await;
    ids(answer);
}
