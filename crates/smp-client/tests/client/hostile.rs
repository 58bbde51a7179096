//! Relays that do not keep to the protocol.

use smp_client::{
    ClientError, ConnectError, DisconnectReason, Event, Fault, Isolation, Misbehaviour, QueueKey,
    Session, SessionOptions,
};
use smp_protocol::{
    AuthKeyKind, BlockWriter, CorrId, EntityId, ErrorType, MessageId, RecipientId, Response,
    SEALED_MESSAGE_SIZE,
};
use smp_transport::{BlockIo, BlockStream, ClientHandshakeError, ServerHandshake};

use crate::fake::{FakeRelay, address_of, credentials, id, key, rng, session};

#[tokio::test(start_paused = true)]
async fn an_answer_to_nothing_ends_the_session() {
    let (_session, mut events, mut relay) = session().await;
    relay
        .send(Some(CorrId([1; 24])), &EntityId::EMPTY, Response::Ok)
        .await;
    let why = DisconnectReason::Misbehaved(Misbehaviour::UnknownCommand);
    assert_eq!(why.fault(), Fault::Relay);
    assert_eq!(events.next().await, Some(Event::Disconnected(why)));
    assert!(relay.receive_block().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_another_queue_ends_the_session() {
    let (session, mut events, mut relay) = session().await;
    let (queue, key) = (RecipientId(id("mine")), key(AuthKeyKind::Ed25519, 1));
    let play = async {
        let info = relay.expect("QUE").await;
        relay
            .send(
                Some(info.corr_id),
                &id("other"),
                Response::Info(String::new()),
            )
            .await;
    };
    let (answer, ()) = tokio::join!(
        session.queue_info(QueueKey {
            id: &queue,
            key: &key
        }),
        play
    );
    let Err(ClientError::Misbehaved(Misbehaviour::ForeignEntity)) = answer else {
        panic!()
    };
    let why = DisconnectReason::Misbehaved(Misbehaviour::ForeignEntity);
    assert_eq!(events.next().await, Some(Event::Disconnected(why)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_command_is_named() {
    let (session, _events, mut relay) = session().await;
    let play = async {
        let ping = relay.expect("PING").await;
        relay.answer(&ping, Response::Ok).await;
    };
    let (answer, ()) = tokio::join!(session.ping(), play);
    let Err(ClientError::Misbehaved(error)) = answer else {
        panic!()
    };
    assert_eq!(
        error,
        Misbehaviour::Unexpected {
            command: "PING",
            response: "OK"
        }
    );
    assert!(!session.is_closed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_fails_its_command_alone() {
    let (session, _events, mut relay) = session().await;
    let play = async {
        let ping = relay.expect("PING").await;
        let mut block = BlockWriter::new();
        let transmission = [
            &[0, 24][..],
            ping.corr_id.as_bytes(),
            &[0],
            b"ERR NEW_KIND_OF_ERROR",
        ]
        .concat();
        assert!(block.try_push(&transmission));
        relay.send_block(block).await;
    };
    let (answer, ()) = tokio::join!(session.ping(), play);
    let Err(ClientError::Misbehaved(Misbehaviour::Unreadable)) = answer else {
        panic!()
    };
    assert!(!session.is_closed());
}

#[tokio::test(start_paused = true)]
async fn events_and_blocks_that_cannot_be_read_end_the_session() {
    let transmissions: [&[u8]; 3] = [b"\0\0\0NOISE", b"\0\0\0PONG", b"\x05abc"];
    let reasons = [
        Misbehaviour::Unreadable,
        Misbehaviour::Unasked("PONG"),
        Misbehaviour::Unreadable,
    ];
    for (transmission, reason) in transmissions.iter().zip(reasons) {
        let (_session, mut events, mut relay) = session().await;
        let mut block = BlockWriter::new();
        assert!(block.try_push(transmission));
        relay.send_block(block).await;
        let why = DisconnectReason::Misbehaved(reason);
        assert_eq!(events.next().await, Some(Event::Disconnected(why)));
    }
    let (_session, mut events, mut relay) = session().await;
    relay
        .io
        .write_block(Box::new([7; smp_protocol::BLOCK_SIZE]))
        .await
        .unwrap();
    let why = DisconnectReason::Misbehaved(Misbehaviour::Unreadable);
    assert_eq!(events.next().await, Some(Event::Disconnected(why)));
}

#[tokio::test(start_paused = true)]
async fn an_error_about_nothing_ends_the_session_with_its_name() {
    let (_session, mut events, mut relay) = session().await;
    relay
        .tell(&EntityId::EMPTY, Response::Err(ErrorType::Block))
        .await;
    let why = DisconnectReason::Refused(ErrorType::Block);
    assert_eq!(events.next().await, Some(Event::Disconnected(why)));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_events_while_an_answer_is_awaited_ends_the_session() {
    let (session, _events, mut relay) = session().await;
    let flood = async {
        relay.expect("PING").await;
        for n in 0..10_000u32 {
            let message = Response::Msg {
                id: MessageId([1; 24]),
                body: vec![0; SEALED_MESSAGE_SIZE],
            };
            let mut bytes = Vec::new();
            bytes.extend_from_slice(b"\0\0\x04");
            bytes.extend_from_slice(&n.to_be_bytes());
            message.encode(session.version(), &mut bytes).unwrap();
            let mut block = BlockWriter::new();
            assert!(block.try_push(&bytes));
            let sealer = relay
                .session
                .cipher
                .as_mut()
                .map(|cipher| &mut cipher.sealer);
            if relay.io.write_block(block.finish(sealer)).await.is_err() {
                return n;
            }
        }
        panic!("everything was taken");
    };
    let (answer, taken) = tokio::join!(session.ping(), flood);
    let why = DisconnectReason::Misbehaved(Misbehaviour::Flood);
    let Err(ClientError::Disconnected(reason)) = answer else {
        panic!()
    };
    assert_eq!(reason, why);
    assert!(taken < 300, "{taken} messages were taken");
}

#[tokio::test(start_paused = true)]
async fn another_relay_is_refused() {
    let mut fake = FakeRelay::new();
    let address = address_of(&credentials(2)).into();
    let (connector, options) = (fake.connector.clone(), SessionOptions::default());
    let isolation = Isolation::generate(&mut rng(1));
    let connect = Session::connect(&connector, &address, &isolation, &options);
    let accept = async {
        let link = fake.accepted.recv().await.unwrap();
        let mut io = BlockStream::new(link.stream);
        let (_, hello) = ServerHandshake::begin(
            &fake.credentials,
            &link.session_id,
            fake.versions,
            &mut rng(2),
        )
        .unwrap();
        io.write_block(hello).await.unwrap();
        assert!(io.read_block().await.unwrap().is_none());
    };
    let (connected, ()) = tokio::join!(connect, accept);
    let error = connected.unwrap_err();
    assert!(matches!(
        error,
        ConnectError::Handshake(ClientHandshakeError::OtherIdentity)
    ));
    assert_eq!(error.fault(), Fault::Relay);
}

#[tokio::test(start_paused = true)]
async fn a_hello_for_another_connection_is_refused() {
    let mut fake = FakeRelay::new();
    let (connector, options) = (fake.connector.clone(), SessionOptions::default());
    let (isolation, address) = (Isolation::generate(&mut rng(1)), fake.address());
    let connect = Session::connect(&connector, &address, &isolation, &options);
    let accept = async {
        let mut link = fake.accepted.recv().await.unwrap();
        link.session_id = smp_protocol::SessionId::generate(&mut rng(3));
        let mut io = BlockStream::new(link.stream);
        let (_, hello) = ServerHandshake::begin(
            &fake.credentials,
            &link.session_id,
            fake.versions,
            &mut rng(2),
        )
        .unwrap();
        io.write_block(hello).await.unwrap();
    };
    let (connected, ()) = tokio::join!(connect, accept);
    let error = connected.unwrap_err();
    assert!(matches!(
        error,
        ConnectError::Handshake(ClientHandshakeError::OtherSession)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_says_nothing_is_left() {
    let mut fake = FakeRelay::new();
    let (connector, options) = (fake.connector.clone(), SessionOptions::default());
    let (isolation, address) = (Isolation::generate(&mut rng(1)), fake.address());
    let connected = Session::connect(&connector, &address, &isolation, &options).await;
    assert!(matches!(connected.unwrap_err(), ConnectError::Timeout));
    drop(fake.accepted.recv().await);
}
