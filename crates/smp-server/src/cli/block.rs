//! `sotto-smp block` and `unblock`.

use anyhow::bail;
use base64::Engine;
use clap::Args;
use smp_protocol::QueueUri;

use super::{Dir, say};
use crate::control::{self, Answer, Reason, Request};

#[derive(Args)]
#[command(after_help = "\
Example:
  sotto-smp block --dir relay --reason spam 'smp://…@relay.example.org/3kR…#/?v=1-4&dh=…'")]
pub(super) struct Block {
    #[command(flatten)]
    dir: Dir,
    /// What senders are told
    #[arg(long, value_enum, default_value_t = Reason::Content)]
    reason: Reason,
    /// The queue's address, or the sender's or link's id in it
    // One in 64 ids begins with a hyphen.
    #[arg(allow_hyphen_values = true)]
    queue: String,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  sotto-smp unblock --dir relay 'smp://…@relay.example.org/3kR…#/?v=1-4&dh=…'")]
pub(super) struct Unblock {
    #[command(flatten)]
    dir: Dir,
    /// The queue's address, or the sender's or link's id in it
    // One in 64 ids begins with a hyphen.
    #[arg(allow_hyphen_values = true)]
    queue: String,
}

impl Block {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let request = Request::Block {
            id: id(&self.queue),
            reason: self.reason,
        };
        ask(&self.dir, &request, "The queue is blocked.").await
    }
}

impl Unblock {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let request = Request::Unblock {
            id: id(&self.queue),
        };
        ask(&self.dir, &request, "The queue is open again.").await
    }
}

/// The sender's id of a queue address, or what was given.
fn id(queue: &str) -> String {
    match queue.parse::<QueueUri>() {
        Ok(uri) => {
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(uri.sender_id.as_bytes())
        }
        Err(_) => queue.to_owned(),
    }
}

async fn ask(dir: &Dir, request: &Request, done: &str) -> anyhow::Result<()> {
    match control::ask(dir.paths().run(), request).await? {
        Answer::Failed { error } => bail!(error),
        _ => Ok(say(done)?),
    }
}
