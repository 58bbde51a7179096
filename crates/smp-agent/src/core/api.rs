//! What the application asks.

use smp_protocol::{AuthKeyKind, AuthPrivateKey, QueueMode};
use zeroize::Zeroizing;

use super::error::CoreError;
use super::event::{Event, NumberedEvent};
use super::jobs::Job;
use super::links::link_to_set;
use super::step::{Step, StepError};
use super::{Core, Links};
use crate::model::{
    Connection, ConnectionId, ConnectionKind, ConnectionState, EventId, Joining, OutgoingKind,
    ReceiveQueueState, RequestId, Timestamp,
};
use crate::protocol::{
    AMessage, AgentVersion, ConnectionLink, ConnectionRequest, Receipt, RequestKind, padded_message,
};
use double_ratchet::InitiatorKeys;

/// What the application asks. Each method is one transaction: on error nothing was changed.
impl Core {
    /// Makes an invitation for one peer. [`Step::LinkReady`](super::Step::LinkReady) tells when
    /// [`Self::links`] has it. `info` is what the peer learns of this side once it has answered;
    /// `link_data` is kept encrypted behind the short link, and what it shows before.
    ///
    /// # Errors
    /// [`CoreError::NoRelay`], [`CoreError::Store`].
    pub fn invite(
        &mut self,
        info: &[u8],
        link_data: &[u8],
        now: Timestamp,
    ) -> Result<ConnectionId, CoreError> {
        self.ask(now, |step| {
            let kind = ConnectionKind::Initiator;
            let connection = step.new_connection(kind, ConnectionState::Preparing, info)?;
            step.tx.set_link_data(connection.id, link_data)?;
            let post_quantum = connection.post_quantum;
            let keys = InitiatorKeys::generate(&mut step.keys(), post_quantum);
            step.tx.save_initiator_keys(connection.id, &keys)?;
            step.new_receive_queue(connection.id, QueueMode::Messaging, &[])?;
            Ok(connection.id)
        })
    }

    /// Makes a contact address: a link for any number of peers, who ask to be connected
    /// ([`Event::Requested`]).
    ///
    /// # Errors
    /// As [`Self::invite`].
    pub fn create_address(
        &mut self,
        link_data: &[u8],
        now: Timestamp,
    ) -> Result<ConnectionId, CoreError> {
        self.ask(now, |step| {
            let kind = ConnectionKind::Address;
            let connection = step.new_connection(kind, ConnectionState::Preparing, &[])?;
            step.tx.set_link_data(connection.id, link_data)?;
            step.new_receive_queue(connection.id, QueueMode::Contact, &[])?;
            Ok(connection.id)
        })
    }

    /// Answers an invitation, or asks at a contact address to be connected.
    ///
    /// # Errors
    /// [`CoreError::Version`] or [`CoreError::WrongLink`] if the link cannot be used,
    /// [`CoreError::NoRelay`], [`CoreError::Store`].
    pub fn connect(
        &mut self,
        link: &ConnectionLink,
        info: &[u8],
        now: Timestamp,
    ) -> Result<ConnectionId, CoreError> {
        self.ask(now, |step| match link {
            ConnectionLink::Full(request) => {
                let kind = role(request.is_invitation());
                let mut connection = step.new_connection(kind, ConnectionState::Joining, info)?;
                match request.kind {
                    RequestKind::Invitation(_) => step.join(&mut connection, request, None)?,
                    RequestKind::Contact => step.prepare_request(&mut connection, request)?,
                }
                Ok(connection.id)
            }
            ConnectionLink::Short(short) => {
                let kind = role(short.is_invitation());
                let connection = step.new_connection(kind, ConnectionState::Resolving, info)?;
                let joining = Joining {
                    link: Zeroizing::new(short.to_string()),
                    key: AuthPrivateKey::generate(step.rng(), AuthKeyKind::X25519),
                };
                step.tx.set_joining(connection.id, Some(&joining))?;
                step.work(Job::Resolve(connection.id));
                Ok(connection.id)
            }
        })
    }

    /// Accepts a request that came to a contact address.
    ///
    /// # Errors
    /// [`CoreError::NoSuchRequest`], and as [`Self::connect`].
    pub fn accept(
        &mut self,
        request: RequestId,
        info: &[u8],
        now: Timestamp,
    ) -> Result<ConnectionId, CoreError> {
        self.ask(now, |step| {
            let stored = step
                .tx
                .request(request)?
                .ok_or(CoreError::NoSuchRequest(request))?;
            let link: ConnectionRequest = stored
                .link
                .parse()
                .map_err(|_| CoreError::WrongLink("the stored request cannot be read"))?;
            let kind = ConnectionKind::Joiner;
            let mut connection = step.new_connection(kind, ConnectionState::Joining, info)?;
            step.join(&mut connection, &link, None)?;
            step.tx.delete_request(request)?;
            Ok(connection.id)
        })
    }

    /// Forgets a request. Whoever asked is not told.
    ///
    /// # Errors
    /// [`CoreError::NoSuchRequest`], [`CoreError::Store`].
    pub fn reject(&mut self, request: RequestId, now: Timestamp) -> Result<(), CoreError> {
        self.ask(now, |step| {
            step.tx
                .request(request)?
                .ok_or(CoreError::NoSuchRequest(request))?;
            Ok(step.tx.delete_request(request)?)
        })
    }

    /// Sends a message; it waits in the store until the peer's relay has it. Returns its number.
    /// With `want_receipt`, [`Event::Received`] tells when the peer's device has it.
    ///
    /// # Errors
    /// [`CoreError::NotConnected`], [`CoreError::OutOfStep`], [`CoreError::TooLong`],
    /// [`CoreError::TooManyWaiting`], [`CoreError::Store`].
    pub fn send(
        &mut self,
        connection: ConnectionId,
        body: &[u8],
        want_receipt: bool,
        now: Timestamp,
    ) -> Result<i64, CoreError> {
        self.ask(now, |step| {
            let mut connection = step.connection(connection)?;
            if connection.state != ConnectionState::Connected {
                return Err(CoreError::NotConnected.into());
            }
            let limit = step.message_limit(&connection)?;
            if body.len() > limit {
                let length = body.len();
                return Err(CoreError::TooLong { length, limit }.into());
            }
            let message = AMessage::Message(body.to_vec());
            let id = step.push_message(&mut connection, OutgoingKind::Message, message)?;
            if want_receipt {
                step.tx
                    .remember_sent(connection.id, id, &connection.sent.hash, now)?;
            }
            Ok(id)
        })
    }

    /// The longest message that [`Self::send`] takes, in bytes.
    ///
    /// # Errors
    /// [`CoreError::NoSuchConnection`], [`CoreError::NotConnected`], [`CoreError::Store`].
    pub fn message_limit(&mut self, connection: ConnectionId) -> Result<usize, CoreError> {
        self.ask(Timestamp::default(), |step| {
            let connection = step.connection(connection)?;
            Ok(step.message_limit(&connection)?)
        })
    }

    /// The first event that was not taken.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn first_event(&mut self) -> Result<Option<NumberedEvent>, CoreError> {
        Ok(self.events(EventId(0), 1)?.pop())
    }

    /// Events after one, at most so many.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn events(
        &mut self,
        after: EventId,
        limit: usize,
    ) -> Result<Vec<NumberedEvent>, CoreError> {
        self.ask(Timestamp::default(), |step| {
            let stored = step.tx.events(after, limit)?;
            let events = stored.iter().map(|stored| {
                Ok(NumberedEvent {
                    id: stored.id,
                    connection: stored.connection,
                    at: stored.at,
                    event: Event::decode(&stored.body).map_err(CoreError::Event)?,
                })
            });
            Ok(events.collect::<Result<_, CoreError>>()?)
        })
    }

    /// The application has an event for good. With `receipt`, the sender of a message is told.
    /// Returns whether the event was there.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn take_event(
        &mut self,
        id: EventId,
        receipt: bool,
        now: Timestamp,
    ) -> Result<bool, CoreError> {
        let taken = self.ask(now, |step| {
            let mut stored = step.tx.events(EventId(id.0 - 1), 1)?;
            let Some(stored) = stored.pop().filter(|stored| stored.id == id) else {
                return Ok(false);
            };
            step.tx.remove_event(id)?;
            if let (true, Ok(Event::Message { id, hash, .. })) =
                (receipt, Event::decode(&stored.body))
            {
                let hash = hash.to_vec();
                let info = Vec::new();
                step.send_receipt(stored.connection, Receipt { id, hash, info })?;
            }
            Ok(true)
        })?;
        if !self.stalled.is_empty() && self.stalled_until.is_none() {
            self.stalled_until = Some(now);
        }
        Ok(taken)
    }

    /// Receives through another relay from now on: makes a queue that takes the place of the
    /// present one. [`Event::QueueChanged`] tells when it has.
    ///
    /// # Errors
    /// [`CoreError::NotConnected`], [`CoreError::OutOfStep`], [`CoreError::Busy`],
    /// [`CoreError::Store`].
    pub fn rotate(&mut self, connection: ConnectionId, now: Timestamp) -> Result<(), CoreError> {
        self.ask(now, |step| {
            let connection = step.connection(connection)?;
            Ok(step.rotate(&connection)?)
        })
    }

    /// Receives through one more relay, so that messages come as long as one of them works.
    /// [`Event::QueueChanged`] tells when the peer uses it.
    ///
    /// # Errors
    /// As [`Self::rotate`].
    pub fn add_queue(&mut self, connection: ConnectionId, now: Timestamp) -> Result<(), CoreError> {
        self.ask(now, |step| {
            let connection = step.connection(connection)?;
            Ok(step.add_queue(&connection)?)
        })
    }

    /// Agrees on new keys, after [`Event::OutOfStep`] or when the application wants them.
    /// [`Event::InStep`] tells when they are in use.
    ///
    /// # Errors
    /// [`CoreError::NotConnected`], [`CoreError::Busy`], [`CoreError::Store`].
    pub fn resynchronise(
        &mut self,
        connection: ConnectionId,
        now: Timestamp,
    ) -> Result<(), CoreError> {
        self.ask(now, |step| {
            let mut connection = step.connection(connection)?;
            Ok(step.resynchronise(&mut connection)?)
        })
    }

    /// Deletes a connection and its queues. What waits to be sent still goes out.
    ///
    /// # Errors
    /// [`CoreError::NoSuchConnection`], [`CoreError::Store`].
    pub fn delete(&mut self, connection: ConnectionId, now: Timestamp) -> Result<(), CoreError> {
        self.ask(now, |step| {
            let mut connection = step.connection(connection)?;
            connection.state = ConnectionState::Deleting;
            step.tx.save_connection(&connection)?;
            step.tx.delete_initiator_keys(connection.id)?;
            step.tx.set_joining(connection.id, None)?;
            step.delete_receive_queues(connection.id)?;
            Ok(step.finish_deletion(connection.id)?)
        })
    }

    /// Changes what the short link of a contact address shows.
    ///
    /// # Errors
    /// [`CoreError::NoSuchConnection`], [`CoreError::Store`].
    pub fn set_link_data(
        &mut self,
        connection: ConnectionId,
        link_data: &[u8],
        now: Timestamp,
    ) -> Result<(), CoreError> {
        self.ask(now, |step| {
            let connection = step.connection(connection)?;
            step.tx.set_link_data(connection.id, link_data)?;
            for queue in step.tx.receive_queues(connection.id)? {
                if queue.state != ReceiveQueueState::Deleting {
                    step.tx.set_setting(&link_to_set(queue.id), Some(&[]))?;
                    step.work(Job::SetLink(queue.id));
                }
            }
            Ok(())
        })
    }

    /// The links of a connection that waits for its peer, or of a contact address.
    ///
    /// # Errors
    /// [`CoreError::NoSuchConnection`], [`CoreError::Store`].
    pub fn links(&mut self, connection: ConnectionId) -> Result<Option<Links>, CoreError> {
        self.ask(Timestamp::default(), |step| {
            let connection = step.connection(connection)?;
            Ok(step.links(&connection)?)
        })
    }

    /// All connections.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn connections(&mut self) -> Result<Vec<Connection>, CoreError> {
        self.ask(Timestamp::default(), |step| Ok(step.tx.connections()?))
    }

    /// One connection.
    ///
    /// # Errors
    /// [`CoreError::NoSuchConnection`], [`CoreError::Store`].
    pub fn connection(&mut self, id: ConnectionId) -> Result<Connection, CoreError> {
        self.ask(Timestamp::default(), |step| Ok(step.connection(id)?))
    }

    /// How well a connection is protected. `None` before there are keys.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn security(&mut self, id: ConnectionId) -> Result<Option<Security>, CoreError> {
        self.ask(Timestamp::default(), |step| {
            let ratchet = step.tx.ratchet(id)?;
            Ok(ratchet.map(|ratchet| Security {
                code: security_code(ratchet.associated_data()),
                post_quantum_sending: ratchet.pq_sending(),
                post_quantum_receiving: ratchet.pq_receiving(),
            }))
        })
    }

    fn ask<T>(
        &mut self,
        now: Timestamp,
        f: impl FnOnce(&mut Step<'_>) -> Result<T, StepError>,
    ) -> Result<T, CoreError> {
        let result = self.try_step(now, f).map_err(|error| match error {
            StepError::Core(error) => error,
            StepError::Peer(reason) => CoreError::WrongLink(reason),
        });
        self.pump(now);
        result
    }
}

/// Who answers an invitation joins; who writes to a contact address invites.
fn role(invitation: bool) -> ConnectionKind {
    if invitation {
        ConnectionKind::Joiner
    } else {
        ConnectionKind::Initiator
    }
}

/// What a message needs besides its text, in bytes: the length before the padding, two tags, its
/// number, and the hash of the message before it.
const MESSAGE_OVERHEAD: usize = 2 + 1 + 8 + 1 + 32 + 1;

/// How well a connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// SHA-256 of the ratchet's associated data: the same on both sides, and nowhere else. People
    /// compare it, calls are bound to it.
    pub code: [u8; 32],
    /// Whether messages to the peer are encrypted with keys that a quantum computer does not find.
    pub post_quantum_sending: bool,
    /// The same for messages of the peer.
    pub post_quantum_receiving: bool,
}

fn security_code(associated_data: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(associated_data).into()
}

impl Step<'_> {
    fn message_limit(&self, connection: &Connection) -> Result<usize, CoreError> {
        let ratchet = self
            .tx
            .ratchet(connection.id)?
            .ok_or(CoreError::NotConnected)?;
        let padded = padded_message(super::handshake::is_on(ratchet.support()));
        Ok(padded - MESSAGE_OVERHEAD)
    }

    /// Tells the sender of a message that the application has it; if new keys have to be agreed
    /// before, afterwards.
    fn send_receipt(&mut self, id: ConnectionId, receipt: Receipt) -> Result<(), CoreError> {
        let Some(mut connection) = self.tx.connection(id)? else {
            return Ok(());
        };
        if connection.state != ConnectionState::Connected
            || connection.version < AgentVersion::RECEIPTS
        {
            return Ok(());
        }
        if connection.sync.forbids_sending() {
            self.tx.owe_receipt(id, &receipt)?;
            return Ok(());
        }
        let message = AMessage::Received(vec![receipt]);
        self.push_message(&mut connection, OutgoingKind::Received, message)?;
        Ok(())
    }
}
