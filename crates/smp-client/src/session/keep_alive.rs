//! Whether the relay is still there.

use std::sync::Arc;

use smp_protocol::Command;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Request, Shared};
use crate::error::DisconnectReason;

/// Asks the relay whenever there is a reason to, and ends when it answers no more.
///
/// A reason is a command without an answer, and for whoever is subscribed to something also
/// silence: then nothing else would show that the connection is gone.
pub(super) async fn run(shared: &Arc<Shared>) -> DisconnectReason {
    let most = shared.options.keep_alive.unanswered.max(1);
    loop {
        reason_to_ask(shared).await;
        let mut unanswered = 0;
        while !answers(shared).await {
            unanswered += 1;
            if unanswered == most {
                return DisconnectReason::Unresponsive;
            }
        }
    }
}

async fn reason_to_ask(shared: &Shared) {
    let activity = &shared.activity;
    loop {
        if activity.take_probe() {
            return;
        }
        if activity.subscriptions() == 0 {
            activity.changed().await;
            continue;
        }
        let silent = activity.last_heard() + shared.options.keep_alive.silence;
        if Instant::now() >= silent {
            return;
        }
        tokio::select! {
            () = sleep_until(silent) => {}
            () = activity.changed() => {}
        }
    }
}

/// Sends a `PING`. Whatever comes from the relay is an answer to the question.
async fn answers(shared: &Arc<Shared>) -> bool {
    let blocks = shared.activity.blocks();
    let ping = Request::new(&Command::Ping);
    // Without a slot: all of them may be taken by commands that are not answered.
    let Ok(in_flight) = shared.send(ping, None) else {
        return false;
    };
    let _ = timeout(shared.options.keep_alive.answer, in_flight.answer()).await;
    shared.activity.blocks() != blocks
}
