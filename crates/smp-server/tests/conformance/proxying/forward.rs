//! "Forward command to destination router", seen by a proxy.

use super::{Route, Sealed};
use crate::prelude::*;

/// Sends RFWD and opens the proxy's layer of the answer.
async fn forward(proxy: &mut Client, sealed: &Sealed) -> Result<Vec<u8>, Response> {
    let corr_id = proxy.corr_id();
    let rfwd = sealed.rfwd(proxy, &corr_id);
    match proxy.run_with(corr_id, &EntityId::EMPTY, None, rfwd).await {
        Response::Rres(mut body) => {
            let key = proxy.forward_key.as_ref().unwrap();
            let answer = ForwardedResponse::open(key, &corr_id, &mut body).unwrap();
            assert_eq!(answer.corr_id, sealed.corr_id);
            Ok(answer.body.to_vec())
        }
        other => Err(other),
    }
}

/// A command of a client of version 18 through the proxy, and what the relay answers to it.
async fn run(
    proxy: &mut Client,
    entity: impl Into<EntityId>,
    key: Option<&AuthPrivateKey>,
    command: Command,
) -> Response {
    run_of(proxy, 18, entity, key, command).await
}

async fn run_of(
    proxy: &mut Client,
    version: u16,
    entity: impl Into<EntityId>,
    key: Option<&AuthPrivateKey>,
    command: Command,
) -> Response {
    let sealed = Route::of(proxy).seal(proxy, version, entity, key, &command);
    sealed.open(forward(proxy, &sealed).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn forward_send_reaches_the_recipient() {
    let relay = relay();
    let mut recipient = relay.client().await;
    let queue = create(&mut recipient, MESSAGING).await;
    for version in [8, 10, 14, 16, 19, 20].map(SmpVersion) {
        let mut proxy = relay.proxy_of(version).await;
        assert_eq!(
            run(&mut proxy, queue.sender(), None, send(b"hello")).await,
            OK
        );
        let message = recipient.message(&queue).await;
        assert_eq!(message.body, b"hello");
        assert_eq!(recipient.ack(&queue, &message).await, OK);
    }
}

#[tokio::test(start_paused = true)]
async fn forward_authorizes_with_the_session_of_proxy_and_relay() {
    let relay = relay();
    let mut recipient = relay.client().await;
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    for kind in [AuthKeyKind::Ed25519, AuthKeyKind::X25519] {
        let queue = create(&mut recipient, MESSAGING).await;
        let (key, other) = (key(&mut proxy, kind), key(&mut proxy, kind));
        let skey = Command::Skey(key.public());
        assert_eq!(
            run(&mut proxy, queue.sender(), Some(&other), skey.clone()).await,
            AUTH
        );
        assert_eq!(run(&mut proxy, queue.sender(), Some(&key), skey).await, OK);
        assert_eq!(
            run(&mut proxy, queue.sender(), None, send(b"no")).await,
            AUTH
        );
        assert_eq!(
            run(&mut proxy, queue.sender(), Some(&other), send(b"no")).await,
            AUTH
        );
        assert_eq!(
            run(&mut proxy, queue.sender(), Some(&key), send(b"yes")).await,
            OK
        );
        assert_eq!(recipient.message(&queue).await.body, b"yes");
    }
}

#[tokio::test(start_paused = true)]
async fn forward_an_authorization_for_another_session_is_auth() {
    let relay = relay();
    let mut recipient = relay.client().await;
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    let queue = create(&mut recipient, MESSAGING).await;
    let key = key(&mut proxy, AuthKeyKind::Ed25519);
    let route = Route::of(&proxy);
    let foreign = Route {
        session_id: SessionId::new(&[9; 32]).unwrap(),
        ..route
    };
    let skey = Command::Skey(key.public());
    let sealed = foreign.seal(&mut proxy, 18, queue.sender(), Some(&key), &skey);
    assert_eq!(
        sealed.open(forward(&mut proxy, &sealed).await.unwrap()),
        AUTH
    );
}

#[tokio::test(start_paused = true)]
async fn forward_lkey_and_lget_show_links() {
    let relay = relay();
    let mut recipient = relay.client().await;
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    let data = || link_data(&[1; 2048], &[2; 13_824]);
    let key = key_of(&mut proxy);
    let of = |mode| NewQueueOptions {
        mode,
        link: Some(data()),
        ..Default::default()
    };
    let messaging = create_with(&mut recipient, of(MESSAGING)).await;
    let lkey = Command::Lkey(key.public());
    let answer = run(&mut proxy, messaging.link(), Some(&key), lkey).await;
    assert_eq!(
        answer,
        Response::Lnk {
            sender_id: messaging.sender(),
            data: data()
        }
    );
    let contact = create_with(&mut recipient, of(CONTACT)).await;
    let answer = run(&mut proxy, contact.link(), None, Command::Lget).await;
    assert_eq!(
        answer,
        Response::Lnk {
            sender_id: contact.sender(),
            data: data()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn forward_rslv_is_answered_as_it_is_directly() {
    let relay = relay();
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    let rslv = Command::Rslv("privacy.simplex".into());
    let answer = run_of(&mut proxy, 20, EntityId::EMPTY, None, rslv.clone()).await;
    assert_eq!(answer, error(ErrorType::Name(NameError::NoResolver)));
    assert_eq!(
        run_of(&mut proxy, 19, EntityId::EMPTY, None, rslv).await,
        UNKNOWN
    );
}

#[tokio::test(start_paused = true)]
async fn forward_no_other_command_is_allowed() {
    let relay = relay();
    let mut recipient = relay.client().await;
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    let queue = create(&mut recipient, MESSAGING).await;
    let (key, dh_key) = (stranger(&mut proxy), dh_key(&mut proxy));
    let ids_hash = IdsHash::default();
    let own = DhPrivateKey::generate(&mut proxy.rng);
    let new = new_queue(queue.key.public(), &own, None);
    let link_id = LinkId::generate(&mut proxy.rng);
    let managing = [
        Command::Sub,
        Command::Key(key),
        Command::Rkey(vec![key]),
        Command::Lset {
            link_id,
            data: link_data(b"fixed", b"user"),
        },
        Command::Ldel,
        Command::Nkey { key, dh_key },
        Command::Ndel,
        Command::Get,
        Command::Ack(MessageId::generate(&mut proxy.rng)),
        Command::Off,
        Command::Del,
        Command::Que,
        Command::Nsub,
        Command::Subs { count: 0, ids_hash },
        Command::Nsubs { count: 0, ids_hash },
    ];
    for command in managing {
        let answer = run_of(&mut proxy, 20, queue.recipient(), Some(&queue.key), command).await;
        assert_eq!(answer, PROHIBITED);
    }
    let pfwd = Command::Pfwd {
        version: SmpVersion(18),
        key: dh_key,
        body: vec![0; 99],
    };
    let prxy = Command::Prxy {
        relay: relay.address(),
        basic_auth: None,
    };
    let others = [Command::Ping, prxy, pfwd, Command::Rfwd(vec![0; 99])];
    for command in others {
        let answer = run_of(&mut proxy, 20, EntityId::EMPTY, None, command).await;
        assert_eq!(answer, PROHIBITED);
    }
    let create = Command::New(Box::new(new));
    let answer = run_of(&mut proxy, 20, EntityId::EMPTY, Some(&queue.key), create).await;
    assert_eq!(answer, PROHIBITED);
    assert_eq!(
        recipient.manage(&queue, Command::Sub).await,
        SOK,
        "nothing happened to it"
    );
}

#[tokio::test(start_paused = true)]
async fn forward_errors_come_back_inside() {
    let relay = relay_with("[messages]\nquota = 1");
    let mut recipient = relay.client().await;
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    let queue = create(&mut recipient, MESSAGING).await;
    let nowhere = SenderId::generate(&mut proxy.rng);
    assert_eq!(run(&mut proxy, nowhere, None, send(b"no")).await, AUTH);
    assert_eq!(
        run(&mut proxy, queue.recipient(), None, send(b"no")).await,
        AUTH
    );
    assert_eq!(
        run(&mut proxy, EntityId::EMPTY, None, send(b"no")).await,
        NO_ENTITY
    );
    let skey = Command::Skey(stranger(&mut proxy));
    assert_eq!(run(&mut proxy, queue.sender(), None, skey).await, NO_AUTH);
    let large = send(&[0; 16_049]);
    let answer = run(&mut proxy, queue.sender(), None, large.clone()).await;
    assert_eq!(answer, error(ErrorType::LargeMsg));
    assert_eq!(
        run_of(&mut proxy, 10, queue.sender(), None, large).await,
        OK
    );
    assert_eq!(
        run(&mut proxy, queue.sender(), None, send(b"no")).await,
        QUOTA
    );
    for (command, expected) in [(&b"FOO"[..], UNKNOWN), (b"SEND x", SYNTAX)] {
        let sealed = Route::of(&proxy).seal_bytes(&mut proxy, 18, queue.sender(), None, command);
        assert_eq!(
            sealed.open(forward(&mut proxy, &sealed).await.unwrap()),
            expected
        );
    }
}

#[tokio::test(start_paused = true)]
async fn forward_speaks_the_version_of_the_client() {
    let relay = relay();
    let mut recipient = relay.client().await;
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    let queue = create(&mut recipient, MESSAGING).await;
    let id = queue.sender().as_bytes().try_into().unwrap();
    let notice = Some("{}".to_owned());
    let info = BlockingInfo {
        reason: BlockingReason::Spam,
        notice,
    };
    assert!(relay.relay.block(id, Some(info.clone())).await.unwrap());
    let short = BlockingInfo {
        notice: None,
        ..info.clone()
    };
    for (version, expected) in [
        (8, AUTH),
        (11, AUTH),
        (12, error(ErrorType::Blocked(short))),
        (18, error(ErrorType::Blocked(info))),
    ] {
        let answer = run_of(&mut proxy, version, queue.sender(), None, send(b"no")).await;
        assert_eq!(answer, expected);
    }
    let key = key_of(&mut proxy);
    let skey = Command::Skey(key.public());
    assert_eq!(
        run_of(&mut proxy, 8, queue.sender(), Some(&key), skey).await,
        UNKNOWN
    );
}

#[tokio::test(start_paused = true)]
async fn forward_what_another_encrypted_is_crypto() {
    let relay = relay();
    let mut recipient = relay.client().await;
    let queue = create(&mut recipient, MESSAGING).await;
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    let other = relay.proxy_of(SmpVersion(20)).await;
    let route = Route::of(&proxy);
    let sealed = route.seal(&mut proxy, 18, queue.sender(), None, &send(b"no"));
    // The proxy's layer: the key of another session, the nonce of another command, other bytes.
    let (corr_id, elsewhere) = (proxy.corr_id(), proxy.corr_id());
    let foreign = sealed.rfwd(&other, &corr_id);
    let moved = sealed.rfwd(&proxy, &elsewhere);
    for rfwd in [
        foreign,
        moved,
        Command::Rfwd(vec![7; 16_000]),
        Command::Rfwd(Vec::new()),
    ] {
        let answer = proxy.run_with(corr_id, &EntityId::EMPTY, None, rfwd).await;
        assert_eq!(answer, CRYPTO);
    }
    // The client's layer.
    let body = vec![7; FORWARDED_SIZE];
    assert_eq!(
        forward(&mut proxy, &Sealed { body, ..sealed }).await,
        Err(CRYPTO)
    );
    let weak = route.seal(&mut proxy, 18, queue.sender(), None, &send(b"no"));
    let key = DhPublicKey([0; 32]);
    assert_eq!(
        forward(&mut proxy, &Sealed { key, ..weak }).await,
        Err(CRYPTO)
    );
    assert!(recipient.silent().await);
}

#[tokio::test(start_paused = true)]
async fn forward_anything_but_one_transmission_is_block() {
    let relay = relay();
    let mut recipient = relay.client().await;
    let queue = create(&mut recipient, MESSAGING).await;
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    let route = Route::of(&proxy);
    let private = DhPrivateKey::generate(&mut proxy.rng);
    let corr_id = proxy.corr_id();
    let key = BoxKey::from(DhSecret::agree(&private, &route.key).unwrap());
    let inner = {
        let params = SessionParams::new(SmpVersion(18), route.session_id.clone());
        let unsigned = Unsigned::new(&params, Some(&corr_id), &queue.sender().into(), |out| {
            send(b"no").encode(SmpVersion(18), out)
        });
        let mut out = Vec::new();
        unsigned
            .unwrap()
            .encode(&params, &Authorization::None, None, &mut out);
        out
    };
    let length = (inner.len() as u16).to_be_bytes();
    let one = [&length[..], &inner].concat();
    let sealed = route.seal(&mut proxy, 18, queue.sender(), None, &send(b"no"));
    let two = [&[2], &one[..], &one].concat();
    let none = vec![0];
    let cut = [&[1], &one[..one.len() - 1]].concat();
    for content in [two, none, cut, Vec::new()] {
        let body = key
            .seal_padded(corr_id.as_bytes(), &content, 16_226)
            .unwrap();
        let forwarded = Sealed {
            params: sealed.params.clone(),
            secret: ForwardSecret::agree(&private, &route.key, &corr_id).unwrap(),
            corr_id,
            entity: queue.sender().into(),
            version: SmpVersion(18),
            key: private.public(),
            body,
        };
        assert_eq!(
            forward(&mut proxy, &forwarded).await,
            Err(error(ErrorType::Block))
        );
    }
    assert!(recipient.silent().await);
}

#[tokio::test(start_paused = true)]
async fn forward_a_transmission_that_cannot_be_read_is_block_inside() {
    let relay = relay();
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    let route = Route::of(&proxy);
    let params = SessionParams::new(SmpVersion(18), route.session_id.clone());
    let corr_id = proxy.corr_id();
    let sealed = route.seal_transmission(&mut proxy, params, corr_id, EntityId::EMPTY, b"\x05oops");
    let mut body = forward(&mut proxy, &sealed).await.unwrap();
    let (corr_id, entity, response) = sealed.open_all(&mut body);
    assert_eq!(
        (corr_id, entity, response),
        (None, EntityId::EMPTY, error(ErrorType::Block))
    );
}

#[tokio::test(start_paused = true)]
async fn forward_comes_without_queue_id_and_authorization() {
    let relay = relay();
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    let key = key_of(&mut proxy);
    let rfwd = Command::Rfwd(vec![0; 100]);
    assert_eq!(
        proxy.run(EntityId::EMPTY, Some(&key), rfwd.clone()).await,
        HAS_AUTH
    );
    let entity = EntityId::generate(&mut proxy.rng);
    assert_eq!(proxy.run(entity, None, rfwd).await, HAS_AUTH);
}

#[tokio::test(start_paused = true)]
async fn forward_answers_have_one_length() {
    let relay = relay();
    let mut recipient = relay.client().await;
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    let link = Some(link_data(b"fixed", &[0; 5000]));
    let options = NewQueueOptions {
        mode: CONTACT,
        link,
        ..Default::default()
    };
    let queue = create_with(&mut recipient, options).await;
    let commands = [
        (EntityId::from(queue.link()), Command::Lget),
        (queue.sender().into(), send(b"hello")),
        (EntityId::EMPTY, send(b"hello")),
    ];
    for (entity, command) in commands {
        let sealed = Route::of(&proxy).seal(&mut proxy, 18, entity, None, &command);
        let answer = forward(&mut proxy, &sealed).await.unwrap();
        assert_eq!(answer.len(), FORWARDED_SIZE);
    }
}

#[tokio::test(start_paused = true)]
async fn forward_a_proxy_may_send_many_before_it_reads() {
    let relay = relay();
    let mut recipient = relay.client().await;
    let mut proxy = relay.proxy_of(SmpVersion(20)).await;
    let queue = create(&mut recipient, MESSAGING).await;
    let mut expected = Vec::new();
    for number in 0..3 {
        let route = Route::of(&proxy);
        let sealed = route.seal(&mut proxy, 18, queue.sender(), None, &send(&[number]));
        let corr_id = proxy.corr_id();
        let rfwd = sealed.rfwd(&proxy, &corr_id);
        let bytes = proxy.transmission(&corr_id, &EntityId::EMPTY, None, &rfwd);
        proxy.send(&[bytes]).await;
        expected.push((corr_id, sealed));
    }
    for (corr_id, sealed) in expected {
        let Response::Rres(mut body) = proxy.answer(&corr_id).await else {
            panic!("expected RRES");
        };
        let key = proxy.forward_key.as_ref().unwrap();
        let answer = ForwardedResponse::open(key, &corr_id, &mut body).unwrap();
        assert_eq!(sealed.open(answer.body.to_vec()), OK);
    }
    assert_eq!(recipient.message(&queue).await.body, [0]);
}
