//! Takes what the agent tells: records it, and passes it on.

use std::sync::Arc;
use std::time::Duration;

use call_signal::{ChatEvent, ChatMessage, MessageContent, decode_body};
use smp_agent::core::{Event, FailReason, Notice, NumberedEvent, Step};
use smp_agent::{AgentEvent, AgentEvents, ConnectionId, EventId, RelayState, Timestamp};

use super::calls::{Fate, missed};
use super::contact::{ContactId, TextId};
use super::error::AccountError;
use super::event::{AccountEvent, MissedCall};
use super::open::adopt;
use super::requests;
use super::shared::{Shared, stopped, system_time};
use super::table::{self, ContactRow};
use super::taking::Take;

/// The pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Runs until the account is closed.
pub(super) async fn run(shared: Arc<Shared>, mut events: AgentEvents) {
    let mut stop = shared.stop.subscribe();
    tokio::select! {
        biased;
        () = stopped(&mut stop) => {}
        () = dispatch(&shared, &mut events) => {}
    }
}

async fn dispatch(shared: &Arc<Shared>, events: &mut AgentEvents) {
    shared.resume().await;
    while let Some(event) = events.next().await {
        match event {
            AgentEvent::Event(event) => shared.on_event(&event).await,
            AgentEvent::Notice(notice) => shared.on_notice(notice).await,
            AgentEvent::Relay { relay, state } => {
                let lost = match state {
                    RelayState::Connected => None,
                    RelayState::Disconnected(reason) => Some(reason),
                    _ => Some("this account is open in another place".to_owned()),
                };
                shared
                    .tell(AccountEvent::Server { relay, lost }, None)
                    .await;
            }
            _ => {}
        }
        shared.changed();
    }
}

/// What is to be handed over of an event, in order.
enum Part {
    Tell(AccountEvent),
    Deliver(ChatMessage),
}

/// What came of an event.
#[derive(Default)]
struct Outcome {
    parts: Vec<Part>,
    /// Whether the sender is told that its message is here.
    receipt: bool,
    /// When the peer's relay took it.
    sent_at: Timestamp,
    /// A security code that the application is being told of.
    code: Option<(ContactId, [u8; 32])>,
    contact: Option<ContactRow>,
}

impl Outcome {
    fn tell(event: AccountEvent) -> Self {
        Self {
            parts: vec![Part::Tell(event)],
            ..Self::default()
        }
    }
}

impl Shared {
    /// What was left to do when the account was closed.
    async fn resume(&self) {
        let rows = match self.transact(table::contacts).await {
            Ok(rows) => rows,
            Err(error) => return tracing::warn!(%error, "contacts can't be read"),
        };
        for row in rows {
            if let Err(error) = self.requested(row.id).await {
                tracing::debug!(%error, "what a contact is told could not be prepared");
            }
            self.catch_up(&row).await;
        }
    }

    async fn on_event(self: &Arc<Self>, event: &NumberedEvent) {
        let outcome = loop {
            match self.record(event).await {
                Ok(outcome) => break outcome,
                Err(AccountError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "what happened could not be recorded");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        };
        self.hand_over(event.id, outcome).await;
    }

    async fn hand_over(self: &Arc<Self>, event: EventId, outcome: Outcome) {
        let take = Take {
            event,
            receipt: outcome.receipt,
            code: outcome.code,
        };
        let taking = self.taker.taking(take, outcome.parts.len());
        for part in outcome.parts {
            match (part, &outcome.contact) {
                (Part::Tell(event), _) => self.tell(event, taking.clone()).await,
                (Part::Deliver(message), Some(row)) => {
                    self.deliver(row, message, outcome.sent_at, taking.clone())
                        .await;
                }
                (Part::Deliver(_), None) => {}
            }
        }
    }

    /// Records what happened. It may be done twice, before a crash and after it.
    async fn record(&self, event: &NumberedEvent) -> Result<Outcome, AccountError> {
        let connection = event.connection;
        let row = self
            .transact(move |tx| {
                if let Some(connection) = tx.connection(connection)? {
                    adopt(tx, &connection)?;
                }
                table::contact_of(tx, connection)
            })
            .await?;
        match row {
            Some(row) => self.record_contact(row, event).await,
            None => self.record_address(event).await,
        }
    }

    /// What happened with the contact address, or a contact that was deleted.
    async fn record_address(&self, event: &NumberedEvent) -> Result<Outcome, AccountError> {
        Ok(match &event.event {
            Event::Requested { request, .. } => {
                let id = *request;
                match self.transact(move |tx| Ok(tx.request(id)?)).await? {
                    Some(stored) => Outcome::tell(AccountEvent::Requested(requests::read(&stored))),
                    None => Outcome::default(),
                }
            }
            Event::Failed(reason) => {
                self.set_obstacle(event.connection, reason.to_string());
                Outcome::default()
            }
            Event::QueueLost => Outcome::tell(AccountEvent::QueueLost { contact: None }),
            _ => Outcome::default(),
        })
    }

    async fn record_contact(
        &self,
        row: ContactRow,
        event: &NumberedEvent,
    ) -> Result<Outcome, AccountError> {
        let contact = row.id;
        Ok(match &event.event {
            Event::PeerInfo(info) => self.introduced(contact, info).await?,
            Event::Connected => self.connected(row).await?,
            Event::Failed(reason) => self.failed(&row, *reason).await?,
            Event::Message { sent_at, body, .. } => self.message(row, *sent_at, body).await?,
            Event::Missing(messages) => Outcome::tell(AccountEvent::Lost {
                contact,
                messages: *messages,
            }),
            Event::Received { id, matches } => {
                if self.lines.receipt(contact, *id).await {
                    Outcome::default()
                } else {
                    Outcome::tell(AccountEvent::Delivered {
                        contact,
                        text: TextId(*id),
                        intact: *matches,
                    })
                }
            }
            Event::NotDelivered { id, reason } => Outcome::tell(AccountEvent::NotDelivered {
                contact,
                text: TextId(*id),
                reason: *reason,
            }),
            Event::OutOfStep => {
                if !row.blocked {
                    self.resynchronise(row.connection).await;
                }
                Outcome::tell(AccountEvent::OutOfStep { contact })
            }
            Event::InStep => self.in_step(row).await?,
            Event::QueueChanged => Outcome::tell(AccountEvent::QueueChanged { contact }),
            Event::QueueLost => Outcome::tell(AccountEvent::QueueLost {
                contact: Some(contact),
            }),
            _ => Outcome::default(),
        })
    }

    /// The peer says who it is.
    async fn introduced(&self, contact: ContactId, info: &[u8]) -> Result<Outcome, AccountError> {
        let Some((profile, _)) = requests::read_info(info) else {
            return Ok(Outcome::tell(AccountEvent::BadMessage {
                contact,
                reason: "what it says of itself can't be read".to_owned(),
            }));
        };
        self.transact(move |tx| table::introduce(tx, contact, &profile))
            .await?;
        Ok(Outcome::default())
    }

    async fn connected(&self, row: ContactRow) -> Result<Outcome, AccountError> {
        let (contact, connection) = (row.id, row.connection);
        self.take_obstacle(connection);
        if let Some(security) = self.agent.security(connection).await? {
            let code = security.code;
            self.transact(move |tx| match table::contact(tx, contact)?.code {
                None => table::set_code(tx, contact, &code),
                Some(_) => Ok(()),
            })
            .await?;
        }
        self.catch_up(&row).await;
        Ok(Outcome::tell(AccountEvent::Connected { contact }))
    }

    async fn failed(&self, row: &ContactRow, reason: FailReason) -> Result<Outcome, AccountError> {
        let contact = row.id;
        self.set_obstacle(row.connection, reason.to_string());
        self.transact(move |tx| table::set_failed(tx, contact, reason))
            .await?;
        Ok(Outcome::tell(AccountEvent::Failed { contact, reason }))
    }

    /// The keys fit together again; new ones have another security code.
    async fn in_step(&self, row: ContactRow) -> Result<Outcome, AccountError> {
        let contact = row.id;
        let mut outcome = Outcome::tell(AccountEvent::InStep { contact });
        let Some(security) = self.agent.security(row.connection).await? else {
            return Ok(outcome);
        };
        if row.code != Some(security.code) {
            let was_verified = row.verified_code.is_some();
            let event = AccountEvent::SecurityChanged {
                contact,
                was_verified,
            };
            outcome.parts.push(Part::Tell(event));
            outcome.code = Some((contact, security.code));
            // Calls are bound to the code.
            self.lines.retire(contact);
        }
        self.catch_up(&row).await;
        Ok(outcome)
    }

    async fn message(
        &self,
        row: ContactRow,
        sent_at: Timestamp,
        body: &[u8],
    ) -> Result<Outcome, AccountError> {
        if row.blocked {
            return Ok(Outcome::default());
        }
        let contact = row.id;
        let mut outcome = Outcome {
            sent_at,
            ..Outcome::default()
        };
        match decode_body(body) {
            Ok(messages) => {
                for message in messages {
                    match message {
                        Ok(message) => self.chat_message(&row, message, &mut outcome).await?,
                        Err(error) => outcome.bad(contact, &error),
                    }
                }
            }
            Err(error) => outcome.bad(contact, &error),
        }
        outcome.contact = Some(row);
        Ok(outcome)
    }

    async fn chat_message(
        &self,
        row: &ContactRow,
        message: ChatMessage,
        outcome: &mut Outcome,
    ) -> Result<(), AccountError> {
        if message.call().is_some() {
            self.call_message(row, message, outcome);
            return Ok(());
        }
        let contact = row.id;
        let id = message.id().cloned();
        let event = match message.into_event() {
            ChatEvent::Message(new) => {
                outcome.receipt = true;
                let (text, with) = content(new.content);
                AccountEvent::Text {
                    contact,
                    text,
                    sent_at: system_time(outcome.sent_at),
                    message: id,
                    with,
                }
            }
            ChatEvent::MessageUpdate(update) => AccountEvent::TextEdited {
                contact,
                message: update.id,
                text: content(update.content).0,
            },
            ChatEvent::MessageDeletion(deletion) => AccountEvent::TextWithdrawn {
                contact,
                message: deletion.id,
            },
            ChatEvent::Profile(profile) => {
                self.transact(move |tx| table::introduce(tx, contact, &profile))
                    .await?;
                AccountEvent::ProfileChanged { contact }
            }
            ChatEvent::ContactDeleted => {
                self.transact(move |tx| table::set_deleted_by_peer(tx, contact))
                    .await?;
                AccountEvent::DeletedByPeer { contact }
            }
            ChatEvent::Call(_) | ChatEvent::ContactRequest(_) | ChatEvent::Other { .. } => {
                return Ok(());
            }
        };
        outcome.parts.push(Part::Tell(event));
        Ok(())
    }

    fn call_message(&self, row: &ContactRow, message: ChatMessage, outcome: &mut Outcome) {
        let Some(call) = message.call() else { return };
        let sent_at = outcome.sent_at;
        match self.fate(row, call, sent_at) {
            Fate::Deliver => {
                outcome.receipt |= matches!(call.event, call_signal::CallEvent::Invitation(_));
                outcome.parts.push(Part::Deliver(message));
            }
            Fate::Miss(reason) => {
                outcome.receipt |= reason == MissedCall::Silent;
                let event = missed(row.id, call, sent_at, reason);
                outcome.parts.extend(event.map(Part::Tell));
            }
            Fate::Drop => {}
        }
    }

    async fn on_notice(&self, notice: Notice) {
        let event = match notice {
            Notice::Progress { connection, step } => {
                let Some(contact) = self.contact_of(connection).await else {
                    return;
                };
                if step == Step::ConfirmationSent
                    && let Err(error) = self.requested(contact).await
                {
                    tracing::debug!(%error, "what a contact is told could not be prepared");
                }
                self.take_obstacle(connection);
                AccountEvent::Progress { contact, step }
            }
            Notice::Sent {
                connection,
                message_id,
                ..
            } => {
                let Some(contact) = self.contact_of(connection).await else {
                    return;
                };
                let text = TextId(message_id);
                AccountEvent::Sent { contact, text }
            }
            Notice::Waiting {
                connection, reason, ..
            } => {
                self.set_obstacle(connection, reason.clone());
                let Some(contact) = self.contact_of(connection).await else {
                    return;
                };
                AccountEvent::Waiting { contact, reason }
            }
            Notice::Dropped { connection, reason } => {
                let Some(contact) = self.contact_of(connection).await else {
                    return;
                };
                AccountEvent::BadMessage { contact, reason }
            }
            _ => return,
        };
        self.tell(event, None).await;
    }

    /// The contact of a connection, unless it is blocked.
    async fn contact_of(&self, connection: ConnectionId) -> Option<ContactId> {
        let row = self
            .transact(move |tx| table::contact_of(tx, connection))
            .await;
        row.ok()
            .flatten()
            .filter(|row| !row.blocked)
            .map(|row| row.id)
    }
}

impl Outcome {
    fn bad(&mut self, contact: ContactId, error: &dyn std::error::Error) {
        let reason = error.to_string();
        let event = AccountEvent::BadMessage { contact, reason };
        self.parts.push(Part::Tell(event));
    }
}

fn content(content: MessageContent) -> (String, Option<String>) {
    match content {
        MessageContent::Text(text) => (text, None),
        MessageContent::Other { kind, text } => (text, Some(kind)),
    }
}
