//! "Get queue state".

use serde_json::{Value, json};

use crate::prelude::*;

/// What QUE says of a queue.
async fn state(client: &mut Client, queue: &Queue) -> Value {
    let Response::Info(text) = client.manage(queue, Command::Que).await else {
        panic!("expected INFO");
    };
    serde_json::from_str(&text).unwrap()
}

fn base64(id: MessageId) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(id.as_bytes())
}

#[tokio::test(start_paused = true)]
async fn queue_state_of_a_new_queue_has_the_required_properties_alone() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    let expected = json!({ "qiSnd": false, "qiNtf": false, "qiSize": 0 });
    assert_eq!(state(&mut client, &queue).await, expected);
}

#[tokio::test(start_paused = true)]
async fn queue_state_shows_the_senders_key_and_the_notifier() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    secure(&mut client, &queue).await;
    let expected = json!({ "qiSnd": true, "qiNtf": false, "qiSize": 0 });
    assert_eq!(state(&mut client, &queue).await, expected);
    let nkey = Command::Nkey {
        key: stranger(&mut client),
        dh_key: dh_key(&mut client),
    };
    assert!(matches!(
        client.manage(&queue, nkey).await,
        Response::Nid { .. }
    ));
    let expected = json!({ "qiSnd": true, "qiNtf": true, "qiSize": 0 });
    assert_eq!(state(&mut client, &queue).await, expected);
}

#[tokio::test(start_paused = true)]
async fn queue_state_shows_the_subscription_and_the_first_message() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let expected = json!({
        "qiSnd": false, "qiNtf": false, "qiSize": 0, "qiSub": { "qSubThread": "noSub" }
    });
    assert_eq!(state(&mut client, &queue).await, expected);
    post(&mut client, &queue, b"one").await;
    post(&mut client, &queue, b"two").await;
    let first = client.message(&queue).await;
    let expected = json!({
        "qiSnd": false,
        "qiNtf": false,
        "qiSub": { "qSubThread": "noSub", "qDelivered": base64(first.id) },
        "qiSize": 2,
        "qiMsg": {
            "msgId": base64(first.id),
            "msgTs": "2027-01-15T08:00:00Z",
            "msgType": "message",
        },
    });
    assert_eq!(first.timestamp, START as i64, "which is that moment");
    assert_eq!(state(&mut client, &queue).await, expected);
}

#[tokio::test(start_paused = true)]
async fn queue_state_shows_subscriptions_of_its_own_connection_alone() {
    let relay = relay();
    let (mut client, mut other) = (relay.client().await, relay.client().await);
    let queue = create(&mut client, MESSAGING).await;
    assert_eq!(state(&mut other, &queue).await.get("qiSub"), None);
}

#[tokio::test(start_paused = true)]
async fn queue_state_shows_that_get_prohibits_a_subscription() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    assert_eq!(client.manage(&queue, Command::Get).await, OK);
    let state = state(&mut client, &queue).await;
    assert_eq!(state["qiSub"], json!({ "qSubThread": "prohibitSub" }));
}

#[tokio::test(start_paused = true)]
async fn queue_state_shows_the_quota_marker_as_such() {
    let relay = relay_with("[messages]\nquota = 1");
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"one").await;
    assert_eq!(client.run(queue.sender(), None, send(b"two")).await, QUOTA);
    let message = client.message(&queue).await;
    let marker = queue.open(&client.ack(&queue, &message).await);
    let state = state(&mut client, &queue).await;
    assert_eq!(state["qiSize"], 1);
    assert_eq!(state["qiMsg"]["msgType"], "quota");
    assert_eq!(state["qiMsg"]["msgId"], base64(marker.id));
}

#[tokio::test(start_paused = true)]
async fn queue_state_is_for_the_recipient() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let key = secure(&mut client, &queue).await;
    assert_eq!(
        client.run(queue.sender(), Some(&key), Command::Que).await,
        AUTH
    );
    assert_eq!(
        client.run(queue.recipient(), None, Command::Que).await,
        NO_AUTH
    );
}
