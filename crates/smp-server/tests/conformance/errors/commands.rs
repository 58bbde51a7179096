//! `CMD`. `PROHIBITED` is tested with the commands that can be.

use super::{full, recipient_commands};
use crate::prelude::*;

const KIND: AuthKeyKind = AuthKeyKind::X25519;

#[tokio::test(start_paused = true)]
async fn unknown_is_what_no_version_has() {
    let relay = relay();
    let mut client = relay.client().await;
    let commands = [
        &b""[..],
        b" ",
        b"FOO",
        b"FOO bar",
        b"ping",
        b"Ping",
        b"PINGS",
        b"PONG",
        b"OK",
        b"ERR AUTH",
        b"MSG x",
        b"\xff\xfe",
        b"SUB\n",
        &[b'A'; 10_000],
    ];
    for command in commands {
        assert_eq!(
            client.run_bytes(EntityId::EMPTY, None, command).await,
            UNKNOWN
        );
    }
}

#[tokio::test(start_paused = true)]
async fn syntax_is_what_follows_a_command_without_parameters() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    for tag in ["SUB", "LDEL", "NDEL", "GET", "OFF", "DEL", "QUE", "NSUB"] {
        for more in [" ", " x"] {
            let command = format!("{tag}{more}");
            let answer = client
                .run_bytes(queue.recipient(), Some(&queue.key), command.as_bytes())
                .await;
            assert_eq!(answer, SYNTAX, "{command}");
        }
    }
    assert_eq!(
        client.run_bytes(EntityId::EMPTY, None, b"PING x").await,
        SYNTAX
    );
    assert_eq!(
        client.run_bytes(queue.sender(), None, b"LGET x").await,
        SYNTAX
    );
}

#[tokio::test(start_paused = true)]
async fn syntax_is_what_lacks_its_parameters() {
    let relay = relay();
    let mut client = relay.client().await;
    let tags = [
        "NEW", "KEY", "RKEY", "LSET", "NKEY", "ACK", "SKEY", "SEND", "LKEY", "SUBS", "NSUBS",
        "PRXY", "PFWD", "RFWD", "RSLV",
    ];
    for tag in tags {
        let answer = client
            .run_bytes(EntityId::EMPTY, None, tag.as_bytes())
            .await;
        assert_eq!(answer, SYNTAX, "{tag}");
        if tag != "RFWD" {
            let command = format!("{tag} ");
            let answer = client
                .run_bytes(EntityId::EMPTY, None, command.as_bytes())
                .await;
            assert_eq!(answer, SYNTAX, "{command}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn syntax_is_found_before_missing_credentials_and_queues() {
    let relay = relay();
    let mut client = relay.client().await;
    let nowhere = EntityId::generate(&mut client.rng);
    assert_eq!(client.run_bytes(nowhere, None, b"KEY x").await, SYNTAX);
    assert_eq!(
        client.run_bytes(EntityId::EMPTY, None, b"KEY x").await,
        SYNTAX
    );
}

#[tokio::test(start_paused = true)]
async fn no_auth_is_a_command_that_lacks_its_authorization() {
    let relay = relay();
    let mut client = relay.client().await;
    let full = full(&mut client, CONTACT, KIND).await;
    for command in recipient_commands(&mut client) {
        let answer = client
            .run(full.queue.recipient(), None, command.clone())
            .await;
        assert_eq!(answer, NO_AUTH, "{}", command.tag());
    }
    let key = stranger(&mut client);
    let ids_hash = IdsHash::default();
    let others = [
        (EntityId::from(full.queue.sender()), Command::Skey(key)),
        (full.queue.link().into(), Command::Lkey(key)),
        (full.queue.notifier().into(), Command::Nsub),
        (
            full.queue.recipient().into(),
            Command::Subs { count: 0, ids_hash },
        ),
        (
            full.queue.recipient().into(),
            Command::Nsubs { count: 0, ids_hash },
        ),
    ];
    for (entity, command) in others {
        assert_eq!(
            client.run(entity, None, command.clone()).await,
            NO_AUTH,
            "{}",
            command.tag()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_auth_is_an_authorized_command_that_lacks_its_queue() {
    let relay = relay();
    let mut client = relay.client().await;
    let full = full(&mut client, CONTACT, KIND).await;
    let mut commands = recipient_commands(&mut client);
    let key = stranger(&mut client);
    commands.extend([Command::Skey(key), Command::Lkey(key), Command::Nsub]);
    for command in commands {
        let answer = client
            .run(EntityId::EMPTY, Some(&full.queue.key), command.clone())
            .await;
        assert_eq!(answer, NO_AUTH, "{}", command.tag());
    }
}

#[tokio::test(start_paused = true)]
async fn has_auth_is_a_command_that_may_have_no_authorization() {
    let relay = relay();
    let mut client = relay.client().await;
    let full = full(&mut client, CONTACT, KIND).await;
    let key = &full.queue.key;
    let commands = [
        (EntityId::EMPTY, Command::Ping),
        (full.queue.link().into(), Command::Lget),
        (EntityId::EMPTY, Command::Rfwd(vec![0; 40])),
        (EntityId::EMPTY, Command::Rslv("a.b".to_owned())),
        (
            EntityId::EMPTY,
            Command::Prxy {
                relay: relay.address(),
                basic_auth: None,
            },
        ),
    ];
    for (entity, command) in commands {
        let answer = client.run(entity, Some(key), command.clone()).await;
        assert_eq!(answer, HAS_AUTH, "{}", command.tag());
    }
}

#[tokio::test(start_paused = true)]
async fn has_auth_is_a_command_that_may_have_no_queue() {
    let relay = relay();
    let mut client = relay.client().await;
    let full = full(&mut client, CONTACT, KIND).await;
    let commands = [
        Command::Ping,
        Command::Rfwd(vec![0; 40]),
        Command::Rslv("a.b".to_owned()),
        Command::Prxy {
            relay: relay.address(),
            basic_auth: None,
        },
    ];
    for command in commands {
        let answer = client
            .run(full.queue.recipient(), None, command.clone())
            .await;
        assert_eq!(answer, HAS_AUTH, "{}", command.tag());
    }
}

#[tokio::test(start_paused = true)]
async fn no_entity_is_an_unauthorized_command_that_lacks_its_queue() {
    let relay = relay();
    let mut client = relay.client().await;
    let key = key_of(&mut client);
    let pfwd = Command::Pfwd {
        version: SmpVersion(18),
        key: dh_key(&mut client),
        body: vec![1],
    };
    for command in [send(b"x"), Command::Lget, pfwd] {
        assert_eq!(client.run(EntityId::EMPTY, None, command).await, NO_ENTITY);
    }
    assert_eq!(
        client.run(EntityId::EMPTY, Some(&key), send(b"x")).await,
        NO_ENTITY
    );
}
