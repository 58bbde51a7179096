//! "Resolver commands": this relay resolves no names and says so.

use crate::prelude::*;

const NO_RESOLVER: Response = Response::Err(ErrorType::Name(NameError::NoResolver));

#[tokio::test(start_paused = true)]
async fn resolve_name_is_answered_by_no_resolver() {
    let relay = relay();
    let mut client = relay.client().await;
    for name in ["privacy.simplex", "a.b.c.example", &"a".repeat(253)] {
        let rslv = Command::Rslv(name.to_owned());
        assert_eq!(client.run(EntityId::EMPTY, None, rslv).await, NO_RESOLVER);
    }
    assert_eq!(client.transcript.last().unwrap(), "<ERR NAME NO_RESOLVER");
}

#[tokio::test(start_paused = true)]
async fn resolve_name_is_unauthenticated_and_about_no_queue() {
    let relay = relay();
    let mut client = relay.client().await;
    let rslv = || Command::Rslv("privacy.simplex".to_owned());
    let key = key_of(&mut client);
    let entity = EntityId::generate(&mut client.rng);
    assert_eq!(
        client.run(EntityId::EMPTY, Some(&key), rslv()).await,
        HAS_AUTH
    );
    assert_eq!(client.run(entity, None, rslv()).await, HAS_AUTH);
}

#[tokio::test(start_paused = true)]
async fn resolve_name_takes_1_to_253_bytes_without_spaces() {
    let relay = relay();
    let mut client = relay.client().await;
    let long = [b"RSLV ", &[b'a'; 254][..]].concat();
    for command in [&b"RSLV"[..], b"RSLV ", b"RSLV a b", b"RSLV \xff", &long] {
        assert_eq!(
            client.run_bytes(EntityId::EMPTY, None, command).await,
            SYNTAX
        );
    }
}

#[tokio::test(start_paused = true)]
async fn resolve_name_is_unknown_before_version_20() {
    let relay = relay();
    let mut client = relay.client_of(SmpVersion(19)).await;
    let answer = client
        .run_bytes(EntityId::EMPTY, None, b"RSLV privacy.simplex")
        .await;
    assert_eq!(answer, UNKNOWN);
}
