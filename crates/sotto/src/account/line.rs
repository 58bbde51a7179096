//! Phones of contacts: one for each with whom there is a call, made when it is needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use call_core::MissedReason;
use call_signal::{CallId, CallMedia, CallMessage, Incoming, ReceivedMessage, SentId};
use smp_agent::ConnectionId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::channel::{AgentChannel, Pending, Wire};
use super::contact::ContactId;
use super::error::{AccountError, ContactProblem};
use super::event::{AccountEvent, MissedCall};
use super::shared::{Shared, now, stopped, system_time};
use crate::media::MediaStreams;
use crate::phone::{Call, CallError, Phone, PhoneEvent};

/// The lines of all contacts.
#[derive(Default)]
pub(super) struct Lines {
    open: Mutex<HashMap<ContactId, Vec<Arc<Line>>>>,
    /// One line is made at a time, so that a contact does not get two.
    making: tokio::sync::Mutex<()>,
}

/// A phone of one contact, driven by a task.
pub(super) struct Line {
    wire: Arc<Wire>,
    inbox: mpsc::Sender<Incoming>,
    orders: mpsc::UnboundedSender<Order>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What a line is to do.
enum Order {
    Place {
        media: CallMedia,
        streams: MediaStreams,
        reply: oneshot::Sender<Result<Call, CallError>>,
    },
    /// No further call comes or goes here. Present ones go on.
    Retire,
    /// Hang up.
    Close,
}

impl Lines {
    /// The line that takes new calls, if there is one.
    fn present(&self, contact: ContactId) -> Option<Arc<Line>> {
        let mut open = self.open();
        let lines = open.get_mut(&contact)?;
        lines.retain(|line| !line.inbox.is_closed());
        lines
            .last()
            .filter(|line| !line.orders.is_closed())
            .cloned()
    }

    /// The line of a call.
    pub(super) fn of_call(&self, contact: ContactId, call: CallId) -> Option<Arc<Line>> {
        let open = self.open();
        let mut lines = open.get(&contact)?.iter();
        lines.find(|line| line.wire.knows(call)).cloned()
    }

    /// Whether this side is calling the contact.
    pub(super) fn is_calling(&self, contact: ContactId) -> bool {
        self.present(contact)
            .is_some_and(|line| line.wire.is_calling())
    }

    /// Passes a receipt on; says whether it was one of a call.
    pub(super) async fn receipt(&self, contact: ContactId, message: i64) -> bool {
        let line = {
            let open = self.open();
            let mut lines = open.get(&contact).into_iter().flatten();
            lines.find(|line| line.wire.receipt(message)).cloned()
        };
        let Some(line) = line else { return false };
        let receipt = Incoming::Receipt(SentId(u64::try_from(message).unwrap_or(0)));
        // The call may be over.
        let _ = line.inbox.send(receipt).await;
        true
    }

    /// Calls from now on are made with another configuration, or under other keys.
    pub(super) fn retire_all(&self) {
        for line in self.open().values().flatten() {
            let _ = line.orders.send(Order::Retire);
        }
    }

    /// As [`Self::retire_all`], of one contact.
    pub(super) fn retire(&self, contact: ContactId) {
        for line in self.open().get(&contact).into_iter().flatten() {
            let _ = line.orders.send(Order::Retire);
        }
    }

    /// Nothing goes to the contact any more, not even a good-bye.
    pub(super) fn cut(&self, contact: ContactId) {
        for line in self.open().remove(&contact).into_iter().flatten() {
            line.wire.cut();
            let _ = line.orders.send(Order::Close);
        }
    }

    /// Hangs up, and waits until the contact's relay is to be told.
    pub(super) async fn close(&self, contact: ContactId) {
        let lines = self.open().remove(&contact).unwrap_or_default();
        close(lines).await;
    }

    pub(super) async fn close_all(&self) {
        let lines = std::mem::take(&mut *self.open());
        close(lines.into_values().flatten().collect()).await;
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ContactId, Vec<Arc<Line>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn close(lines: Vec<Arc<Line>>) {
    for line in &lines {
        let _ = line.orders.send(Order::Close);
    }
    for line in lines {
        let task = {
            let mut task = line.task.lock().unwrap_or_else(PoisonError::into_inner);
            task.take()
        };
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "a contact's line failed");
        }
    }
}

impl Line {
    pub(super) async fn place(
        &self,
        media: CallMedia,
        streams: MediaStreams,
    ) -> Result<Call, CallError> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Place {
            media,
            streams,
            reply,
        };
        self.orders
            .send(order)
            .map_err(|_| CallError::ChannelClosed)?;
        answer.await.map_err(|_| CallError::ChannelClosed)?
    }

    /// Passes a call's message on. If the phone is gone, what was pending stays in the store.
    pub(super) async fn deliver(
        &self,
        call: &CallMessage,
        message: ReceivedMessage,
        pending: Pending,
    ) {
        let Ok(room) = self.inbox.reserve().await else {
            return tracing::debug!("a call's message came after its line was closed");
        };
        self.wire.receives(call, pending);
        room.send(Incoming::Message(message));
    }
}

impl Shared {
    /// The line that takes new calls, made if there is none.
    pub(super) async fn line(
        self: &Arc<Self>,
        contact: ContactId,
        connection: ConnectionId,
    ) -> Result<Arc<Line>, AccountError> {
        let _one_at_a_time = self.lines.making.lock().await;
        if let Some(line) = self.lines.present(contact) {
            return Ok(line);
        }
        let config = self.call_config().await?;
        let security = self.agent.security(connection).await?;
        let binding = security.ok_or(ContactProblem::NotConnected)?.code;
        let (channel, wire, inbox) = AgentChannel::new(self.agent.clone(), connection, binding);
        let phone = Phone::new(channel, config)?;
        let (orders, queue) = mpsc::unbounded_channel();
        let runner = Runner {
            shared: Arc::clone(self),
            contact,
            wire: Arc::clone(&wire),
        };
        let line = Arc::new(Line {
            wire,
            inbox,
            orders,
            task: Mutex::new(Some(tokio::spawn(runner.run(phone, queue)))),
        });
        if *self.stop.borrow() {
            let _ = line.orders.send(Order::Close);
        }
        let mut open = self.lines.open();
        open.entry(contact).or_default().push(Arc::clone(&line));
        Ok(line)
    }
}

/// Drives a line.
struct Runner {
    shared: Arc<Shared>,
    contact: ContactId,
    wire: Arc<Wire>,
}

impl Runner {
    async fn run(self, mut phone: Phone, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut stop = self.shared.stop.subscribe();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                order = orders.recv() => match order {
                    Some(Order::Place { media, streams, reply }) => {
                        let placed = phone.place(media, streams).await;
                        // If whoever asked is gone, the call's destructor hangs up.
                        let _ = reply.send(placed);
                    }
                    // Without its phone the driver lives as long as a call does.
                    Some(Order::Retire) => return,
                    Some(Order::Close) | None => break,
                },
                event = phone.next_event() => match event {
                    Some(event) => self.on_event(event).await,
                    None => break,
                },
            }
        }
        phone.close().await;
    }

    async fn on_event(&self, event: PhoneEvent) {
        let contact = self.contact;
        match event {
            PhoneEvent::Incoming(call) => {
                let taking = self
                    .wire
                    .take_invitation(call.id())
                    .and_then(|pending| pending.taking);
                let event = AccountEvent::Incoming { contact, call };
                self.shared.tell(event, taking).await;
            }
            PhoneEvent::Missed {
                call_id,
                media,
                reason,
            } => {
                let pending = self.wire.take_invitation(call_id);
                let (at, taking) = match pending {
                    Some(pending) => (pending.at, pending.taking),
                    None => (now(), None),
                };
                if reason == MissedReason::ChannelClosed && taking.is_some() {
                    // It is told after the next start, or rings again.
                    return;
                }
                let event = AccountEvent::Missed {
                    contact,
                    call_id,
                    media,
                    at: system_time(at),
                    reason: MissedCall::Call(reason),
                };
                self.shared.tell(event, taking).await;
            }
            PhoneEvent::BadMessage(reason) => {
                let event = AccountEvent::BadMessage { contact, reason };
                self.shared.tell(event, None).await;
            }
            PhoneEvent::ChannelClosed => {}
        }
    }
}
