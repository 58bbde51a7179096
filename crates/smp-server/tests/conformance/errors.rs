//! "Error responses". `EXPIRED`, `INTERNAL` and `DUPLICATE_` are errors that no client can bring
//! about here; the proxy's errors are in [`crate::proxying`].

mod authorization;
mod blocked;
mod blocks;
mod commands;
mod storage;

use crate::prelude::*;

/// A queue with everything that a queue can have: link, sender's key and notifier.
struct Full {
    queue: Queue,
    sender: AuthPrivateKey,
    notifier: AuthPrivateKey,
}

async fn full(client: &mut Client, mode: QueueMode, kind: AuthKeyKind) -> Full {
    let (sender, notifier) = (key(client, kind), key(client, kind));
    let notifier_dh = DhPrivateKey::generate(&mut client.rng);
    let options = NewQueueOptions {
        mode,
        link: Some(link_data(b"fixed", b"user")),
        notifier: Some((notifier.public(), notifier_dh)),
        ..Default::default()
    };
    let queue = create_with(client, options).await;
    assert_eq!(
        client.manage(&queue, Command::Key(sender.public())).await,
        OK
    );
    Full {
        queue,
        sender,
        notifier,
    }
}

/// Every command with the recipient's id.
fn recipient_commands(client: &mut Client) -> Vec<Command> {
    let (key, dh_key) = (stranger(client), dh_key(client));
    let link_id = LinkId::generate(&mut client.rng);
    vec![
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
        Command::Ack(MessageId::generate(&mut client.rng)),
        Command::Off,
        Command::Del,
        Command::Que,
    ]
}
