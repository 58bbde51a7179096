//! The task of a session: blocks out, blocks in.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use smp_protocol::{
    Block, BlockCipher, BlockOpener, BlockSealer, BlockWriter, CorrId, EntityId, NotifierId,
    Response, Transmission, plain_content, transmissions,
};
use smp_transport::{BlockIo, BlockIoError, BlockStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::pending::{AnswerKind, Outgoing, message};
use super::{Shared, keep_alive};
use crate::connect::Stream;
use crate::error::{DisconnectReason, Misbehaviour};
use crate::event::Event;

/// Blocks that are made before the first of them is sent.
const BLOCKS_AHEAD: usize = 8;

/// For the goodbye of TLS.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs a session to its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    io: BlockStream<Box<dyn Stream>>,
    cipher: Option<BlockCipher>,
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
) {
    let (sealer, opener) = cipher.map(|both| (both.sealer, both.opener)).unzip();
    let mut driver = Driver {
        shared: Arc::clone(&shared),
        io,
        sealer,
        opener,
        outgoing,
    };
    let reason = tokio::select! {
        reason = shared.closed() => reason,
        reason = driver.exchange() => reason,
        reason = keep_alive::run(&shared) => reason,
    };
    tracing::debug!("a session with a relay is over: {reason}");
    shared.close(reason);
    let _ = timeout(FAREWELL, driver.io.close()).await;
}

struct Driver {
    shared: Arc<Shared>,
    io: BlockStream<Box<dyn Stream>>,
    sealer: Option<BlockSealer>,
    opener: Option<BlockOpener>,
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
}

impl Driver {
    async fn exchange(&mut self) -> DisconnectReason {
        loop {
            // Answers are always read: whoever is to take the events may wait for one.
            let reading = !self.shared.inbox.is_full() || !self.shared.pending.is_empty();
            let may_send = self.io.queued() < BLOCKS_AHEAD;
            let received = tokio::select! {
                moved = transfer(&mut self.io, reading, may_send) => moved,
                next = self.outgoing.recv(), if may_send => match next {
                    Some(next) => {
                        self.send(next);
                        None
                    }
                    None => return DisconnectReason::Closed,
                },
                () = self.shared.inbox.has_room(), if !reading => None,
            };
            let over = match received {
                None => continue,
                Some(Ok(Some(block))) => self.receive(block).err(),
                Some(Ok(None)) => Some(DisconnectReason::ClosedByRelay),
                Some(Err(error)) => Some(error.into()),
            };
            if let Some(reason) = over {
                return reason;
            }
        }
    }

    /// Puts everything that waits into as few blocks as hold it.
    fn send(&mut self, first: Outgoing) {
        let mut block = BlockWriter::new();
        let mut next = Some(first);
        while let Some(Outgoing { corr_id, bytes }) = next {
            if self.shared.pending.is_wanted(&corr_id) && !block.try_push(&bytes) {
                self.queue(std::mem::take(&mut block));
                // It was checked that each fits alone.
                let _ = block.try_push(&bytes);
            }
            let more = self.io.queued() + 1 < BLOCKS_AHEAD;
            next = if more {
                self.outgoing.try_recv().ok()
            } else {
                None
            };
        }
        if !block.is_empty() {
            self.queue(block);
        }
    }

    fn queue(&mut self, block: BlockWriter) {
        self.io.queue(block.finish(self.sealer.as_mut()));
    }

    fn receive(&mut self, mut block: Box<Block>) -> Result<(), DisconnectReason> {
        self.shared.activity.heard();
        let unreadable = DisconnectReason::Misbehaved(Misbehaviour::Unreadable);
        let content = match &mut self.opener {
            Some(opener) => opener.open(&mut block).map(|content| &*content),
            None => plain_content(&block),
        };
        let Ok(all) = content.map(transmissions) else {
            return Err(unreadable);
        };
        for bytes in all.map_err(|_| unreadable.clone())? {
            let transmission = Transmission::decode(bytes, &self.shared.params);
            let transmission = transmission.map_err(|_| unreadable.clone())?;
            self.shared.dispatch(&transmission)?;
        }
        self.io.recycle(block);
        Ok(())
    }
}

/// Reads a block and sends those that are queued; without `reading` only the latter. Gives nothing
/// when more may be queued and `may_send` says that it could not: what waits for its turn does not
/// wait for an answer.
async fn transfer(
    io: &mut BlockStream<Box<dyn Stream>>,
    reading: bool,
    may_send: bool,
) -> Option<Result<Option<Box<Block>>, BlockIoError>> {
    poll_fn(|cx| {
        let moved = if reading {
            pin!(io.read_block()).poll(cx)
        } else {
            match pin!(io.flush()).poll(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Pending,
            }
        };
        match moved {
            Poll::Ready(received) => Poll::Ready(Some(received)),
            Poll::Pending if !may_send && io.queued() < BLOCKS_AHEAD => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

impl Shared {
    /// Hands what came from the relay to whom it concerns.
    fn dispatch(&self, transmission: &Transmission<'_>) -> Result<(), DisconnectReason> {
        let response = Response::decode(self.params.version, transmission.command);
        let response = response.map_err(|_| Misbehaviour::Unreadable);
        match &transmission.corr_id {
            Some(corr_id) => self.answered(corr_id, &transmission.entity, response)?,
            None => self.told(&transmission.entity, response?)?,
        }
        Ok(())
    }

    fn answered(
        &self,
        corr_id: &CorrId,
        entity: &EntityId,
        response: Result<Response, Misbehaviour>,
    ) -> Result<(), Misbehaviour> {
        let waiting = self
            .pending
            .take(corr_id)
            .ok_or(Misbehaviour::UnknownCommand)?;
        // Errors may come without the entity, when the relay could not even read that.
        let bare_error = entity.is_empty() && matches!(response, Ok(Response::Err(_)));
        if waiting.entity != *entity && !bare_error {
            let _ = waiting.answer(Err(Misbehaviour::ForeignEntity));
            return Err(Misbehaviour::ForeignEntity);
        }
        match (waiting.kind, response) {
            (AnswerKind::Subscription, Ok(Response::Msg { id, body })) => {
                let _ = waiting.answer(Ok(Response::Sok(None)));
                self.happened(message(entity, id, body))
            }
            (AnswerKind::Message, response) => match waiting.answer(response) {
                Err(Ok(Response::Msg { id, body })) => self.happened(message(entity, id, body)),
                _ => Ok(()),
            },
            // An answer that cannot be read is the matter of its command alone.
            (_, response) => {
                let _ = waiting.answer(response);
                Ok(())
            }
        }
    }

    fn told(&self, entity: &EntityId, response: Response) -> Result<(), DisconnectReason> {
        let queue = entity.clone();
        let event = match response {
            Response::Msg { id, body } => message(entity, id, body),
            Response::End => Event::End { queue },
            Response::Deld => Event::Deleted { queue },
            Response::Nmsg { nonce, meta } => Event::Notification {
                queue: NotifierId(queue),
                nonce,
                meta,
            },
            Response::Ends { count, ids_hash } => Event::ServiceEnd { count, ids_hash },
            Response::Alls => Event::AllDelivered,
            // It could not read a command, nobody knows which.
            Response::Err(error) => return Err(DisconnectReason::Refused(error)),
            other => return Err(Misbehaviour::Unasked(other.tag()).into()),
        };
        Ok(self.happened(event)?)
    }

    fn happened(&self, event: Event) -> Result<(), Misbehaviour> {
        if self.inbox.push_within(event, self.activity.subscriptions()) {
            Ok(())
        } else {
            Err(Misbehaviour::Flood)
        }
    }
}
