//! Two ends of a channel in memory.

use std::collections::VecDeque;
use std::time::SystemTime;

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{ChannelError, Incoming, OutgoingMessage, SentId, SignalChannel, decode_incoming};
use crate::body::{BodyLimit, encode_body};

/// Messages that wait for one end of a [`memory_pair`] before the other one's `send` waits too.
pub const MEMORY_CAPACITY: usize = 64;

/// Two connected ends without binding.
///
/// Messages pass as encoded bodies and within the limit for post-quantum keys, so that they meet
/// the same limits as over a relay. The receipt comes when the peer's `receive` has taken the
/// message. An end that never receives loses receipts beyond [`MEMORY_CAPACITY`].
pub fn memory_pair() -> (MemoryChannel, MemoryChannel) {
    let (to_right, from_left) = mpsc::channel(MEMORY_CAPACITY);
    let (to_left, from_right) = mpsc::channel(MEMORY_CAPACITY);
    let (receipts_to_right, receipts_from_left) = mpsc::channel(MEMORY_CAPACITY);
    let (receipts_to_left, receipts_from_right) = mpsc::channel(MEMORY_CAPACITY);
    let left = Link {
        bodies_out: to_right,
        bodies_in: from_right,
        receipts_out: receipts_to_right,
        receipts_in: receipts_from_right,
    };
    let right = Link {
        bodies_out: to_left,
        bodies_in: from_left,
        receipts_out: receipts_to_left,
        receipts_in: receipts_from_left,
    };
    (MemoryChannel::new(left), MemoryChannel::new(right))
}

/// One end of a [`memory_pair`]. Dropping it closes the channel.
#[derive(Debug)]
pub struct MemoryChannel {
    /// `None` once this end was closed.
    link: Option<Link>,
    /// Messages of a batch that were not handed out yet.
    decoded: VecDeque<Incoming>,
    sent: u64,
    sent_at: Option<SystemTime>,
    binding: Option<[u8; 32]>,
}

#[derive(Debug)]
struct Link {
    bodies_out: Sender<Parcel>,
    bodies_in: Receiver<Parcel>,
    receipts_out: Sender<SentId>,
    receipts_in: Receiver<SentId>,
}

#[derive(Debug)]
struct Parcel {
    body: Vec<u8>,
    sent_at: Option<SystemTime>,
    /// What to acknowledge.
    receipt: Option<SentId>,
}

impl MemoryChannel {
    /// Sets what [`SignalChannel::binding`] of this end returns. A man in the middle is played by
    /// two ends with different bindings.
    pub fn set_binding(&mut self, binding: Option<[u8; 32]>) {
        self.binding = binding;
    }

    /// Sets what messages from this end carry from now on as
    /// [`ReceivedMessage::sent_at`](super::ReceivedMessage::sent_at).
    pub fn set_sent_at(&mut self, sent_at: Option<SystemTime>) {
        self.sent_at = sent_at;
    }

    /// Sends bytes as they are, as a hostile or strange peer might.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] if either side has closed the channel.
    pub async fn send_body(&mut self, body: Vec<u8>) -> Result<SentId, ChannelError> {
        self.post(body, false).await
    }

    fn new(link: Link) -> Self {
        Self {
            link: Some(link),
            decoded: VecDeque::new(),
            sent: 0,
            sent_at: None,
            binding: None,
        }
    }

    async fn post(&mut self, body: Vec<u8>, want_receipt: bool) -> Result<SentId, ChannelError> {
        let link = self.link.as_ref().ok_or(ChannelError::Closed)?;
        let room = link
            .bodies_out
            .reserve()
            .await
            .map_err(|_| ChannelError::Closed)?;
        self.sent += 1;
        let id = SentId(self.sent);
        room.send(Parcel {
            body,
            sent_at: self.sent_at,
            receipt: want_receipt.then_some(id),
        });
        Ok(id)
    }
}

impl SignalChannel for MemoryChannel {
    async fn send(&mut self, message: OutgoingMessage) -> Result<SentId, ChannelError> {
        let OutgoingMessage {
            message,
            want_receipt,
            notify: _,
        } = message;
        let body = encode_body(&[message], BodyLimit::PostQuantum)?;
        self.post(body, want_receipt).await
    }

    async fn receive(&mut self) -> Result<Incoming, ChannelError> {
        loop {
            if let Some(incoming) = self.decoded.pop_front() {
                return Ok(incoming);
            }
            let Some(link) = &mut self.link else {
                return Ok(Incoming::Closed);
            };
            // Receipts first: the peer took our message before it answered.
            let parcel = tokio::select! {
                biased;
                Some(receipt) = link.receipts_in.recv() => return Ok(Incoming::Receipt(receipt)),
                parcel = link.bodies_in.recv() => parcel,
            };
            let Some(parcel) = parcel else {
                return Ok(Incoming::Closed);
            };
            if let Some(receipt) = parcel.receipt {
                // Fails if the peer has gone or does not listen.
                let _ = link.receipts_out.try_send(receipt);
            }
            self.decoded
                .extend(decode_incoming(&parcel.body, parcel.sent_at));
        }
    }

    async fn close(&mut self) -> Result<(), ChannelError> {
        self.link = None;
        self.decoded.clear();
        Ok(())
    }

    fn binding(&self) -> Option<[u8; 32]> {
        self.binding
    }
}
