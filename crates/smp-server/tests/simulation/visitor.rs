//! A client that makes queues of its own, uses them for a while and deletes them.

use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;
use smp_protocol::{Command, ErrorType, QueueMode, Response};
use tokio::time::sleep;

use crate::support::{create, secure, send};
use crate::{World, minutes};

pub(crate) async fn live(world: Arc<World>, mut rng: StdRng) {
    while world.is_open() {
        let mut client = world.client(&mut rng, 65_536).await;
        let mut other = world.client(&mut rng, 65_536).await;
        let queue = create(&mut client, QueueMode::Messaging).await;
        let secured = client.version() >= smp_protocol::SmpVersion::SKEY
            && other.version() >= smp_protocol::SmpVersion::SKEY;
        let key = if secured {
            Some(secure(&mut other, &queue).await)
        } else {
            None
        };
        let sent = rng.random_range(1..=5);
        for number in 0..sent {
            let answer = other
                .run(queue.sender(), key.as_ref(), send(&[number]))
                .await;
            assert_eq!(answer, Response::Ok);
        }
        let mut message = client.message(&queue).await;
        for _ in 0..rng.random_range(0..sent) {
            let time = minutes(&mut rng, 0..30);
            client.rest(time).await;
            message = queue.open(&client.ack(&queue, &message).await);
        }
        // Sometimes the other device deletes it, and this one hears of it.
        if rng.random_bool(0.5) {
            let mut device = world.client(&mut rng, 65_536).await;
            assert_eq!(device.manage(&queue, Command::Del).await, Response::Ok);
            let (_, response) = client.event().await;
            assert!(matches!(response, Response::Deld | Response::End));
        } else {
            assert_eq!(client.manage(&queue, Command::Del).await, Response::Ok);
        }
        let auth = Response::Err(ErrorType::Auth);
        assert_eq!(client.ack(&queue, &message).await, auth);
        let mut late = world.client(&mut rng, 65_536).await;
        assert_eq!(
            late.run(queue.sender(), key.as_ref(), send(b"late")).await,
            auth
        );
        sleep(minutes(&mut rng, 0..120)).await;
    }
}
