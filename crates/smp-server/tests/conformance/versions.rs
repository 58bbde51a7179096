//! The version history of "Abstract": what a session of each version has and has not.

mod golden;
mod walk;

use crate::prelude::*;

#[tokio::test(start_paused = true)]
async fn versions_commands_are_unknown_before_theirs() {
    let relay = relay();
    let since = [
        ("PING", 6),
        ("NEW", 6),
        ("SUB", 6),
        ("KEY", 6),
        ("NKEY", 6),
        ("NDEL", 6),
        ("GET", 6),
        ("ACK", 6),
        ("OFF", 6),
        ("DEL", 6),
        ("QUE", 6),
        ("SEND", 6),
        ("NSUB", 6),
        ("PRXY", 8),
        ("PFWD", 8),
        ("RFWD", 8),
        ("SKEY", 9),
        ("RKEY", 15),
        ("LSET", 15),
        ("LDEL", 15),
        ("LKEY", 15),
        ("LGET", 15),
        ("SUBS", 16),
        ("NSUBS", 16),
        ("RSLV", 20),
    ];
    for version in 6..=20 {
        let mut client = relay.client_of(SmpVersion(version)).await;
        for (tag, since) in since {
            let answer = client
                .run_bytes(EntityId::EMPTY, None, tag.as_bytes())
                .await;
            assert_eq!(
                answer == UNKNOWN,
                version < since,
                "{tag} in version {version}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn versions_new_is_read_as_each_version_writes_it() {
    let relay = relay_with("[queues]\npassword = \"secret\"");
    // Behind the two keys: password, subscription, mode or request, notifier.
    let forms: [(u16, u16, &[u8], &[u8]); 4] = [
        (6, 8, b"A\x06secretS", b"S"),
        (9, 14, b"1\x06secretST", b"0ST"),
        (15, 16, b"1\x06secretS1M0", b"0S1M0"),
        (17, 20, b"1\x06secretS1M00", b"0S1M00"),
    ];
    for (first, last, with, without) in forms {
        for version in first..=last {
            let mut client = relay.client_of(SmpVersion(version)).await;
            let key = key_of(&mut client);
            let mut command = b"NEW ".to_vec();
            key.public().encode(&mut command);
            dh_key(&mut client).encode(&mut command);
            let refused = [&command, without].concat();
            assert_eq!(
                client
                    .run_bytes(EntityId::EMPTY, Some(&key), &refused)
                    .await,
                AUTH
            );
            let created = [&command, with].concat();
            let answer = client
                .run_bytes(EntityId::EMPTY, Some(&key), &created)
                .await;
            assert_eq!(answer.tag(), "IDS", "version {version}");
            for (_, _, other, _) in forms
                .iter()
                .filter(|form| version < form.0 || version > form.1)
            {
                let foreign = [&command, *other].concat();
                let answer = client
                    .run_bytes(EntityId::EMPTY, Some(&key), &foreign)
                    .await;
                assert_eq!(answer, SYNTAX, "version {version}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn versions_ids_has_what_each_version_knows() {
    let relay = relay();
    let lengths = |version| match version {
        ..=8 => 99,
        9..=14 => 100,
        15 => 102,
        16 => 103,
        _ => 104,
    };
    for version in 6..=20 {
        let mut client = relay.client_of(SmpVersion(version)).await;
        let (key, dh) = (key_of(&mut client), DhPrivateKey::generate(&mut client.rng));
        let request = (version >= 9).then_some(QueueRequest::Contact(None));
        let new = Command::New(Box::new(new_queue(key.public(), &dh, request)));
        let corr_id = client.corr_id();
        let bytes = client.transmission(&corr_id, &EntityId::EMPTY, Some(&key), &new);
        client.send(&[bytes]).await;
        let ids = client.received_for(&corr_id).await;
        assert_eq!(ids.bytes.len(), lengths(version), "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn versions_meet_in_one_queue() {
    let relay = relay();
    let versions = [6, 7, 8, 9, 10, 11, 14, 15, 16, 19, 20].map(SmpVersion);
    for of in versions {
        for to in versions {
            let (mut recipient, mut sender) =
                (relay.client_of(of).await, relay.client_of(to).await);
            let queue = create(&mut recipient, CONTACT).await;
            let key = key_of(&mut sender);
            post(&mut sender, &queue, b"hello").await;
            let hello = recipient.message(&queue).await;
            assert_eq!(hello.body, b"hello");
            assert_eq!(
                recipient.manage(&queue, Command::Key(key.public())).await,
                OK
            );
            assert_eq!(
                sender.run(queue.sender(), Some(&key), send(b"more")).await,
                OK
            );
            let more = queue.open(&recipient.ack(&queue, &hello).await);
            assert_eq!(more.body, b"more");
            assert_eq!(recipient.ack(&queue, &more).await, OK);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn versions_before_9_make_queues_that_no_sender_secures() {
    let relay = relay();
    for version in [6, 8].map(SmpVersion) {
        let mut old = relay.client_of(version).await;
        let queue = create(&mut old, MESSAGING).await;
        assert_eq!(queue.ids.mode, None);
        let mut new = relay.client().await;
        let key = key_of(&mut new);
        let skey = Command::Skey(key.public());
        assert_eq!(new.run(queue.sender(), Some(&key), skey).await, AUTH);
    }
}

#[tokio::test(start_paused = true)]
async fn versions_9_to_14_say_of_a_queue_whether_its_sender_can_secure_it() {
    let relay = relay();
    for version in [9, 11, 14].map(SmpVersion) {
        for mode in [MESSAGING, CONTACT] {
            let mut old = relay.client_of(version).await;
            let queue = create(&mut old, mode).await;
            assert_eq!(queue.ids.mode, Some(mode));
            let mut new = relay.client().await;
            let key = key_of(&mut new);
            let skey = Command::Skey(key.public());
            let expected = if mode == MESSAGING { OK } else { AUTH };
            assert_eq!(new.run(queue.sender(), Some(&key), skey).await, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn versions_before_10_hear_of_a_deleted_queue_as_end() {
    let relay = relay();
    for (version, expected) in [(6, "<END"), (9, "<END"), (10, "<DELD"), (20, "<DELD")] {
        let mut subscriber = relay.client_of(SmpVersion(version)).await;
        let mut other = relay.client().await;
        let queue = create(&mut subscriber, MESSAGING).await;
        assert_eq!(other.manage(&queue, Command::Del).await, OK);
        subscriber.next().await;
        assert_eq!(subscriber.transcript.last().unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn versions_before_16_are_answered_ok_where_later_ones_are_answered_sok() {
    let relay = relay();
    for (version, expected) in [(6, "<OK"), (15, "<OK"), (16, "<SOK"), (20, "<SOK")] {
        let mut client = relay.client_of(SmpVersion(version)).await;
        let queue = create_only(&mut client, MESSAGING).await;
        client.manage(&queue, Command::Sub).await;
        assert_eq!(client.transcript.last().unwrap(), expected);
        let key = key_of(&mut client);
        let nkey = Command::Nkey {
            key: key.public(),
            dh_key: dh_key(&mut client),
        };
        let Response::Nid { notifier_id, .. } = client.manage(&queue, nkey).await else {
            panic!("expected NID");
        };
        client.run(notifier_id, Some(&key), Command::Nsub).await;
        assert_eq!(client.transcript.last().unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn versions_before_16_have_no_service_signature_behind_an_authorization() {
    let relay = relay();
    let lengths = |version| match version {
        6 => 1 + 64 + 33 + 25 + 25 + 3,
        7..=15 => 1 + 80 + 25 + 25 + 3,
        _ => 1 + 80 + 1 + 25 + 25 + 3,
    };
    for version in 6..=20 {
        let mut client = relay.client_of(SmpVersion(version)).await;
        let queue = create(&mut client, MESSAGING).await;
        let corr_id = client.corr_id();
        let entity = EntityId::from(queue.recipient());
        let que = client.transmission(&corr_id, &entity, Some(&queue.key), &Command::Que);
        assert_eq!(que.len(), lengths(version));
        client.send(&[que]).await;
        assert_eq!(client.answer(&corr_id).await.tag(), "INFO");
    }
}
