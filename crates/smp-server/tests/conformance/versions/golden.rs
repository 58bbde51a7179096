//! The same commands in the same order as in recorded sessions of a real relay: the answers and
//! events have the same words, errors word by word.

use std::path::Path;

use serde_json::Value;

use crate::prelude::*;

/// What each connection of a recording said and heard.
fn recorded(file: &str, name: &str) -> Option<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../smp-protocol/tests/vectors");
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let sessions: Value = serde_json::from_str(&text).unwrap();
    let session = sessions["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == name)?;
    let mut all = Vec::new();
    for block in session["blocks"].as_array().unwrap() {
        let arrow = if block["from"] == "client" { ">" } else { "<" };
        for transmission in block["transmissions"].as_array().unwrap() {
            let word = match transmission["tag"].as_str().unwrap() {
                "ERR" => error_text(transmission["bytes"].as_str().unwrap()),
                tag => tag.to_owned(),
            };
            all.push(format!("{arrow}{word}"));
        }
    }
    Some(all)
}

/// The end of a transmission in hexadecimal digits, from ERR on.
fn error_text(hex: &str) -> String {
    let digits = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
    let bytes: Vec<u8> = digits.collect::<Result<_, _>>().unwrap();
    let at = bytes.windows(4).rposition(|part| part == b"ERR ").unwrap();
    String::from_utf8(bytes[at..].to_vec()).unwrap()
}

/// The recordings of some versions have one connection alone.
fn assert_as_recorded(client: &Client, file: &str, name: &str) {
    if let Some(recorded) = recorded(file, name) {
        assert_eq!(client.transcript, recorded, "{name}");
    } else {
        assert!(
            !name.ends_with("recipient") && !name.starts_with("v19"),
            "{name} is missing"
        );
    }
}

macro_rules! recordings {
    ($($name:ident: $version:literal,)*) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            basic_session($version).await;
        })*
    };
}

recordings! {
    recorded_version_6_is_answered_alike: 6,
    recorded_version_7_is_answered_alike: 7,
    recorded_version_8_is_answered_alike: 8,
    recorded_version_9_is_answered_alike: 9,
    recorded_version_10_is_answered_alike: 10,
    recorded_version_11_is_answered_alike: 11,
    recorded_version_12_is_answered_alike: 12,
    recorded_version_14_is_answered_alike: 14,
    recorded_version_15_is_answered_alike: 15,
    recorded_version_16_is_answered_alike: 16,
    recorded_version_17_is_answered_alike: 17,
    recorded_version_18_is_answered_alike: 18,
}

/// The three connections of the recordings of versions 6 to 18.
async fn basic_session(number: u16) {
    let (relay, version) = (relay(), SmpVersion(number));
    let mut recipient = relay.client_of(version).await;
    let mut second = relay.client_of(version).await;
    let mut sender = relay.client_of(version).await;
    let own = key(&mut sender, AuthKeyKind::Ed25519);

    recipient.run(EntityId::EMPTY, None, Command::Ping).await;
    let contact = create(&mut recipient, CONTACT).await;
    sender
        .run(contact.sender(), None, send(b"unsecured hello"))
        .await;
    let message = recipient.message(&contact).await;
    recipient.ack(&contact, &message).await;
    recipient.manage(&contact, Command::Key(own.public())).await;
    sender.run(contact.sender(), None, send(b"no")).await;
    sender
        .run(contact.sender(), Some(&own), send(b"secured hello"))
        .await;
    let message = recipient.message(&contact).await;
    recipient.ack(&contact, &message).await;

    let messaging = create_only(&mut recipient, MESSAGING).await;
    let mut secured = None;
    if version >= SmpVersion::SKEY {
        let (key, other) = (key_of(&mut sender), key_of(&mut sender));
        let to = messaging.sender();
        sender
            .run(to.clone(), Some(&key), Command::Skey(key.public()))
            .await;
        sender
            .run(to.clone(), Some(&key), Command::Skey(key.public()))
            .await;
        sender
            .run(to, Some(&other), Command::Skey(other.public()))
            .await;
        secured = Some(key);
    }
    sender
        .run(messaging.sender(), secured.as_ref(), send(b"one"))
        .await;
    let message = messaging.open(&recipient.manage(&messaging, Command::Get).await);
    recipient.ack(&messaging, &message).await;
    if version >= SmpVersion::SKEY {
        recipient.manage(&messaging, Command::Get).await;
    }
    sender
        .run(messaging.sender(), secured.as_ref(), send(b"second"))
        .await;

    second.manage(&messaging, Command::Sub).await;
    let message = second.message(&messaging).await;
    second.ack(&messaging, &message).await;
    second.manage(&contact, Command::Sub).await;
    assert_eq!(recipient.event().await.1, Response::End);
    second.manage(&contact, Command::Off).await;
    sender.run(contact.sender(), Some(&own), send(b"no")).await;
    recipient.manage(&contact, Command::Del).await;
    recipient.manage(&contact, Command::Sub).await;
    second.event().await;
    second.ack(&messaging, &message).await;

    let file = if number <= 10 {
        "smp_v6_v10.json"
    } else {
        "smp_v11_v18.json"
    };
    assert_as_recorded(&recipient, file, &format!("v{number} recipient"));
    assert_as_recorded(
        &second,
        file,
        &format!("v{number} second recipient connection"),
    );
    assert_as_recorded(&sender, file, &format!("v{number} sender"));
}

/// The three connections of the recording of version 19.
struct Nineteen {
    recipient: Client,
    sender: Client,
    second: Client,
}

#[tokio::test(start_paused = true)]
async fn recorded_version_19_is_answered_alike() {
    let relay = relay_with("[queues]\npassword = \"testpass\"");
    let version = SmpVersion(19);
    let mut all = Nineteen {
        recipient: relay.client_of(version).await,
        sender: relay.client_of(version).await,
        second: relay.client_of(version).await,
    };
    all.first_queues().await;
    let (messaging, contact) = all.refused_commands().await;
    all.links(&contact).await;
    all.notifications(&messaging, &contact).await;
    all.quota_and_sizes().await;
    let file = "smp_v19.json";
    assert_as_recorded(&all.recipient, file, "v19 recipient");
    assert_as_recorded(&all.second, file, "v19 second recipient connection");
    assert_as_recorded(&all.sender, file, "v19 sender");
}

impl Nineteen {
    async fn create(&mut self, request: QueueRequest, subscribe: bool) -> Queue {
        let client = &mut self.recipient;
        let corr_id = client.corr_id();
        self.create_with(corr_id, request, subscribe).await
    }

    async fn create_with(
        &mut self,
        corr_id: CorrId,
        request: QueueRequest,
        subscribe: bool,
    ) -> Queue {
        let client = &mut self.recipient;
        let (key, dh) = (key_of(client), DhPrivateKey::generate(&mut client.rng));
        let new = NewQueue {
            subscribe,
            basic_auth: Some("testpass".parse().unwrap()),
            ..new_queue(key.public(), &dh, Some(request))
        };
        let new = Command::New(Box::new(new));
        let answer = client
            .run_with(corr_id, &EntityId::EMPTY, Some(&key), new)
            .await;
        let Response::Ids(ids) = answer else {
            panic!("expected IDS, not {answer:?}");
        };
        Queue { key, dh, ids: *ids }
    }

    /// Up to the deleted queue.
    async fn first_queues(&mut self) {
        let own = key(&mut self.sender, AuthKeyKind::Ed25519);
        self.recipient
            .run(EntityId::EMPTY, None, Command::Ping)
            .await;
        let contact = self.create(QueueRequest::Contact(None), true).await;
        self.sender
            .run(contact.sender(), None, send_notified(b"unsecured hello"))
            .await;
        let message = self.recipient.message(&contact).await;
        self.recipient.ack(&contact, &message).await;
        self.recipient
            .manage(&contact, Command::Key(own.public()))
            .await;
        self.sender.run(contact.sender(), None, send(b"no")).await;
        self.sender
            .run(contact.sender(), Some(&own), send(b"secured hello"))
            .await;
        let message = self.recipient.message(&contact).await;
        self.recipient.ack(&contact, &message).await;

        let messaging = self.create(QueueRequest::Messaging(None), false).await;
        let (key, other) = (key_of(&mut self.sender), key_of(&mut self.sender));
        let to = messaging.sender();
        self.sender
            .run(to.clone(), Some(&key), Command::Skey(key.public()))
            .await;
        self.sender
            .run(to.clone(), Some(&key), Command::Skey(key.public()))
            .await;
        self.sender
            .run(to.clone(), Some(&other), Command::Skey(other.public()))
            .await;
        self.sender.run(to.clone(), Some(&key), send(b"one")).await;
        let message = messaging.open(&self.recipient.manage(&messaging, Command::Get).await);
        self.recipient.ack(&messaging, &message).await;
        self.recipient.manage(&messaging, Command::Get).await;
        self.sender.run(to, Some(&key), send(b"again")).await;

        self.second.manage(&messaging, Command::Sub).await;
        let message = self.second.message(&messaging).await;
        self.second.ack(&messaging, &message).await;
        self.second.manage(&contact, Command::Sub).await;
        assert_eq!(self.recipient.event().await.1, Response::End);
        self.second.manage(&contact, Command::Off).await;
        self.sender
            .run(contact.sender(), Some(&own), send(b"no"))
            .await;
        self.recipient.manage(&contact, Command::Del).await;
        self.recipient.manage(&contact, Command::Sub).await;
        self.second.event().await;
        self.second.ack(&messaging, &message).await;
    }

    /// A batch, and what is wrong with commands.
    async fn refused_commands(&mut self) -> (Queue, Queue) {
        let messaging = self.create(QueueRequest::Messaging(None), true).await;
        let contact = self.create(QueueRequest::Contact(None), true).await;
        let client = &mut self.recipient;
        let mut block = Vec::new();
        for queue in [&messaging, &contact] {
            let (corr_id, entity) = (client.corr_id(), queue.recipient().into());
            let sub = Command::Sub;
            block.push(client.transmission(&corr_id, &entity, Some(&queue.key), &sub));
        }
        let last = client.corr_id();
        block.push(client.transmission(&last, &EntityId::EMPTY, None, &Command::Ping));
        client.send(&block).await;
        client.answer(&last).await;

        let of = messaging.recipient();
        client.run_bytes(EntityId::EMPTY, None, b"FOO").await;
        client
            .run_bytes(of.clone(), Some(&messaging.key), b"KEY x")
            .await;
        client.run(of.clone(), None, Command::Sub).await;
        client
            .run(EntityId::EMPTY, Some(&messaging.key), Command::Ping)
            .await;
        client.run(EntityId::EMPTY, None, send(b"x")).await;
        let wrong = key_of(client);
        client.run(of, Some(&wrong), Command::Sub).await;
        let nowhere = EntityId::new(&[7; 24]).unwrap();
        client
            .run(nowhere, Some(&messaging.key), Command::Sub)
            .await;
        for password in [Some("wrong"), None] {
            let (key, dh) = (key_of(client), DhPrivateKey::generate(&mut client.rng));
            let new = NewQueue {
                basic_auth: password.map(|text| text.parse().unwrap()),
                ..new_queue(key.public(), &dh, Some(QueueRequest::Messaging(None)))
            };
            client
                .run(EntityId::EMPTY, Some(&key), Command::New(Box::new(new)))
                .await;
        }
        let to = contact.sender();
        self.sender
            .run(to.clone(), None, send(&[b'A'; 16_049]))
            .await;
        self.sender.run(to, None, send(&[b'A'; 16_048])).await;
        (messaging, contact)
    }

    /// LSET, LGET, LDEL, LKEY and queues with links.
    async fn links(&mut self, contact: &Queue) {
        let link_id = LinkId::generate(&mut self.recipient.rng);
        let lset = |fixed: &[u8], user: &[u8]| Command::Lset {
            link_id: link_id.clone(),
            data: link_data(fixed, user),
        };
        let fixed = b"opaque fixed data";
        // The message that was sent before comes first.
        self.recipient
            .manage(contact, lset(fixed, b"opaque user data"))
            .await;
        self.recipient.message(contact).await;
        self.sender.run(link_id.clone(), None, Command::Lget).await;
        self.recipient
            .manage(contact, lset(fixed, b"changed user data"))
            .await;
        self.sender.run(link_id.clone(), None, Command::Lget).await;
        self.recipient
            .manage(contact, lset(b"other", b"opaque user data"))
            .await;
        self.recipient.manage(contact, Command::Ldel).await;
        self.sender.run(link_id.clone(), None, Command::Lget).await;

        let data = || link_data(fixed, b"opaque user data");
        let corr_id = self.recipient.corr_id();
        let sender_id = QueueRequest::link_sender_id(&corr_id);
        let request = QueueRequest::Messaging(Some((sender_id, data())));
        let linked = self.create_with(corr_id, request, true).await;
        let key = key_of(&mut self.sender);
        self.sender.run(linked.link(), None, Command::Lget).await;
        self.sender
            .run(linked.link(), Some(&key), Command::Lkey(key.public()))
            .await;
        self.sender
            .run(linked.sender(), Some(&key), send(b"after LKEY"))
            .await;
        let corr_id = self.recipient.corr_id();
        let sender_id = QueueRequest::link_sender_id(&corr_id);
        let link_id = LinkId::generate(&mut self.recipient.rng);
        let request = QueueRequest::Contact(Some((link_id, sender_id, data())));
        self.create_with(corr_id, request, true).await;
        self.recipient.message(&linked).await;
    }

    /// NKEY, NSUB, NMSG, QUE, RKEY.
    async fn notifications(&mut self, messaging: &Queue, contact: &Queue) {
        let (key, dh_key) = (key_of(&mut self.second), dh_key(&mut self.recipient));
        let nkey = Command::Nkey {
            key: key.public(),
            dh_key,
        };
        let Response::Nid { notifier_id, .. } = self.recipient.manage(messaging, nkey).await else {
            panic!("expected NID");
        };
        self.second
            .run(notifier_id, Some(&key), Command::Nsub)
            .await;
        let own = key_of(&mut self.sender);
        let skey = Command::Skey(own.public());
        self.sender.run(messaging.sender(), Some(&own), skey).await;
        self.sender
            .run(messaging.sender(), Some(&own), send_notified(b"notify"))
            .await;
        self.second.event().await;
        self.recipient.message(messaging).await;
        let other = MessageId::generate(&mut self.recipient.rng);
        self.recipient.manage(messaging, Command::Ack(other)).await;
        self.recipient.manage(messaging, Command::Ndel).await;
        self.recipient.manage(messaging, Command::Que).await;
        let added = key_of(&mut self.recipient);
        self.recipient
            .manage(messaging, Command::Rkey(vec![added.public()]))
            .await;
        let keys = vec![contact.key.public(), added.public()];
        self.recipient.manage(contact, Command::Rkey(keys)).await;
        self.recipient
            .run(contact.recipient(), Some(&added), Command::Sub)
            .await;
        self.recipient.message(contact).await;
    }

    /// 128 messages and the marker; the longest envelopes.
    async fn quota_and_sizes(&mut self) {
        let queue = self.create(QueueRequest::Messaging(None), true).await;
        for number in 0..129 {
            let before = self.sender.transcript.len();
            self.sender.run(queue.sender(), None, send(b"filler")).await;
            // The recording has the first two and the refused one.
            if (2..128).contains(&number) {
                self.sender.transcript.truncate(before);
            }
        }
        let before = self.recipient.transcript.len();
        let mut message = self.recipient.message(&queue).await;
        for _ in 0..127 {
            message = queue.open(&self.recipient.ack(&queue, &message).await);
        }
        self.recipient.transcript.truncate(before);
        let marker = queue.open(&self.recipient.ack(&queue, &message).await);
        assert_eq!(marker.flags, None);
        self.recipient.ack(&queue, &marker).await;

        let queue = self.create(QueueRequest::Messaging(None), true).await;
        for _ in 0..2 {
            self.sender
                .run(queue.sender(), None, send(&[b'x'; 16_048]))
                .await;
            let message = self.recipient.message(&queue).await;
            self.recipient.ack(&queue, &message).await;
        }
    }
}
