//! How a connection is made (document, "Duplex connection procedure" and "Fast duplex connection
//! procedure"). Which of the two it is follows from each queue: its sender secures it (SKEY) or
//! its recipient does (KEY), in which case HELLO tells that it was done.

use double_ratchet::{E2eParams, InitiatorKeys, PqSupport, Ratchet};
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, DhPrivateKey, DhPublicKey, DhSecret, PrivateHeader, QueueMode,
};
use zeroize::Zeroizing;

use super::error::CoreError;
use super::event::Event;
use super::jobs::Job;
use super::limits::MAX_REQUESTS;
use super::output::Step as Progress;
use super::step::{Step, StepError, peer};
use crate::model::{
    Chain, Connection, ConnectionId, ConnectionKind, ConnectionState, OutgoingKind, RatchetSync,
    ReceiveQueue, ReceiveQueueId, ReceiveQueueState, ReceiveSwitch, RequestId, Securing, SendQueue,
    SendQueueId, SendQueueState, StoredRequest,
};
use crate::protocol::{
    AMessage, AgentEnvelope, AgentMessage, AgentVersion, AgentVersionRange, ConnectionRequest,
    QueueInfo, RequestKind, message_hash, padded_info,
};
use smp_protocol::{ClientVersionRange, QueueUri, RelayAddress, SenderId};

/// What a queue's address says to its sender.
pub(crate) struct PeerQueue {
    pub(crate) relay: RelayAddress,
    pub(crate) sender_id: SenderId,
    pub(crate) client_version: u16,
    pub(crate) dh_key: DhPublicKey,
    pub(crate) mode: Option<QueueMode>,
}

impl From<&QueueInfo> for PeerQueue {
    fn from(info: &QueueInfo) -> Self {
        Self {
            relay: info.relay.clone(),
            sender_id: info.sender_id.clone(),
            client_version: info.version.0.min(ClientVersionRange::SUPPORTED.max().0),
            dh_key: info.dh_key,
            mode: info.mode,
        }
    }
}

impl PeerQueue {
    /// The queue of an address, if there is a version of the client protocol in common.
    pub(crate) fn from_uri(uri: &QueueUri) -> Option<Self> {
        let versions = uri.versions.intersect(ClientVersionRange::SUPPORTED)?;
        Some(Self {
            relay: uri.relay.clone(),
            sender_id: uri.sender_id.clone(),
            client_version: versions.max().0,
            dh_key: uri.dh_key,
            mode: uri.mode,
        })
    }
}

impl Step<'_> {
    /// A new connection. Its queues come after it.
    pub(crate) fn new_connection(
        &mut self,
        kind: ConnectionKind,
        state: ConnectionState,
        own_info: &[u8],
    ) -> Result<Connection, CoreError> {
        let mut connection = Connection {
            id: ConnectionId(0),
            kind,
            state,
            version: AgentVersionRange::SUPPORTED.max(),
            post_quantum: self.config.post_quantum,
            sent: Chain::default(),
            received: Chain::default(),
            missing: 0,
            sync: RatchetSync::Ok,
            created: self.now,
        };
        connection.id = self.tx.insert_connection(&connection)?;
        self.tx.set_own_info(connection.id, own_info)?;
        Ok(connection)
    }

    /// A queue to be created at one of the configured relays.
    pub(crate) fn new_receive_queue(
        &mut self,
        connection: ConnectionId,
        mode: QueueMode,
        avoid: &[RelayAddress],
    ) -> Result<ReceiveQueue, CoreError> {
        let relay = self.choose_relay(avoid)?;
        let mut queue = ReceiveQueue {
            id: ReceiveQueueId(0),
            connection,
            relay,
            state: ReceiveQueueState::New,
            ids: None,
            key: AuthPrivateKey::generate(self.rng(), AuthKeyKind::Ed25519),
            delivery_key: DhPrivateKey::generate(self.rng()),
            delivery_secret: None,
            e2e_key: DhPrivateKey::generate(self.rng()),
            e2e_secret: None,
            mode,
            sender_key: None,
            secured: false,
            replaces: None,
            switch: ReceiveSwitch::None,
            link: None,
            created: self.now,
        };
        queue.id = self.tx.insert_receive_queue(&queue)?;
        self.work(Job::Create(queue.id));
        Ok(queue)
    }

    /// A queue of the peer.
    pub(crate) fn new_send_queue(
        &mut self,
        connection: ConnectionId,
        queue: &PeerQueue,
        key: Option<AuthPrivateKey>,
    ) -> Result<SendQueue, StepError> {
        let e2e = DhPrivateKey::generate(self.rng());
        let e2e_secret = peer(
            DhSecret::agree(&e2e, &queue.dh_key),
            "the key in the address of the peer's queue is weak",
        )?;
        let (secured, key) = match key {
            Some(key) => (true, key),
            None => (
                false,
                AuthPrivateKey::generate(self.rng(), AuthKeyKind::X25519),
            ),
        };
        let mut queue = SendQueue {
            id: SendQueueId(0),
            connection,
            relay: queue.relay.clone(),
            sender_id: queue.sender_id.clone(),
            client_version: queue.client_version,
            key,
            securing: match queue.mode {
                Some(QueueMode::Messaging) => Securing::Sender,
                Some(QueueMode::Contact) => Securing::Never,
                None => Securing::Recipient,
            },
            secured,
            e2e_key: e2e.public(),
            e2e_secret,
            state: SendQueueState::New,
            replaces: None,
            full_since: None,
        };
        queue.id = self.tx.insert_send_queue(&queue)?;
        Ok(queue)
    }

    /// Starts to answer an invitation: makes the ratchet and both queues.
    pub(crate) fn join(
        &mut self,
        connection: &mut Connection,
        request: &ConnectionRequest,
        secured_with: Option<AuthPrivateKey>,
    ) -> Result<(), StepError> {
        let RequestKind::Invitation(params) = &request.kind else {
            return Err(CoreError::WrongLink("it is not an invitation").into());
        };
        let versions = AgentVersionRange::SUPPORTED
            .intersect(request.versions)
            .ok_or(CoreError::Version)?;
        let uri = request.queues.first().ok_or(CoreError::Version)?;
        let peer_queue = PeerQueue::from_uri(uri).ok_or(CoreError::Version)?;
        connection.version = versions.max();
        connection.post_quantum &= connection.version >= AgentVersion::PQ;
        connection.state = ConnectionState::Joining;

        let support = pq_support(connection.post_quantum);
        let (ratchet, own) = Ratchet::joiner(params, support, &mut self.keys())?;
        self.tx.save_ratchet(connection.id, &ratchet)?;
        self.tx.save_joiner_params(connection.id, &own)?;
        self.tx.set_joining(connection.id, None)?;
        self.tx.save_connection(connection)?;

        let send = self.new_send_queue(connection.id, &peer_queue, secured_with)?;
        self.work(Job::Send(send.id));
        self.new_receive_queue(connection.id, QueueMode::Messaging, &[peer_queue.relay])?;
        Ok(())
    }

    /// The reply queue is there: sends the joiner's confirmation.
    pub(crate) fn confirm_as_joiner(
        &mut self,
        connection: &mut Connection,
        reply: &ReceiveQueue,
    ) -> Result<(), CoreError> {
        let Some(params) = self.tx.joiner_params(connection.id)? else {
            return Ok(());
        };
        let Some(info) = queue_info(reply) else {
            return Ok(());
        };
        let message = AgentMessage::ConnectionInfoReply {
            queues: vec![info],
            info: self.tx.own_info(connection.id)?,
        };
        self.push_confirmation(connection, Some(params), &message)?;
        self.tx.delete_joiner_params(connection.id)?;
        self.progress(connection.id, Progress::ReplyQueueCreated);
        Ok(())
    }

    /// Encrypts a confirmation, message 1 of this direction, and lays it before the peer's queue.
    fn push_confirmation(
        &mut self,
        connection: &mut Connection,
        e2e: Option<E2eParams>,
        message: &AgentMessage,
    ) -> Result<(), CoreError> {
        let mut ratchet = self
            .tx
            .ratchet(connection.id)?
            .ok_or(CoreError::NotConnected)?;
        let encoded = Zeroizing::new(message.to_bytes()?);
        let encrypted = ratchet.encrypt(
            &encoded,
            padded_info(is_on(ratchet.support())),
            Some(connection.post_quantum),
        )?;
        let envelope = AgentEnvelope::Confirmation {
            version: connection.version,
            e2e,
            encrypted: &encrypted,
        }
        .to_bytes()?;
        self.tx.save_ratchet(connection.id, &ratchet)?;
        connection.sent = Chain {
            id: 1,
            hash: message_hash(&encoded),
        };
        connection.state = ConnectionState::Confirming;
        self.tx.save_connection(connection)?;
        for queue in self.tx.send_queues(connection.id)? {
            self.push(
                queue.id,
                OutgoingKind::Confirmation,
                1,
                true,
                envelope.clone(),
            )?;
        }
        Ok(())
    }

    /// The joiner's confirmation: makes the initiator's ratchet, and answers.
    pub(crate) fn confirmed_by_joiner(
        &mut self,
        connection: &mut Connection,
        queue: &mut ReceiveQueue,
        confirmation: &Confirmation<'_>,
    ) -> Result<(), StepError> {
        let Some(params) = &confirmation.e2e else {
            return Err(StepError::Peer(
                "a confirmation without keys for the ratchet",
            ));
        };
        let Some(keys) = self.tx.initiator_keys(connection.id)? else {
            return Err(StepError::Peer("a second confirmation"));
        };
        connection.version = confirmation.version.min(AgentVersionRange::SUPPORTED.max());
        connection.post_quantum &= connection.version >= AgentVersion::PQ;
        let mut ratchet = peer(
            Ratchet::initiator(&keys, params, pq_support(connection.post_quantum)),
            "a confirmation with unusable keys",
        )?;
        let opened = peer(
            ratchet.decrypt(confirmation.encrypted, &mut self.keys()),
            "a confirmation that does not open",
        )?;
        let message = peer(
            AgentMessage::decode(&opened.plain),
            "a confirmation that cannot be read",
        )?;
        let AgentMessage::ConnectionInfoReply { queues, info } = message else {
            return Err(StepError::Peer(
                "a confirmation without a queue to answer to",
            ));
        };
        let Some(reply) = queues.first() else {
            return Err(StepError::Peer(
                "a confirmation without a queue to answer to",
            ));
        };
        self.tx.save_ratchet(connection.id, &ratchet)?;
        self.tx.delete_initiator_keys(connection.id)?;
        connection.received = Chain {
            id: 1,
            hash: message_hash(&opened.plain),
        };
        self.take_sender_key(queue, confirmation.header)?;
        let send = self.new_send_queue(connection.id, &reply.into(), None)?;
        self.tell(connection.id, &Event::PeerInfo(Zeroizing::new(info)))?;
        self.progress(connection.id, Progress::ConfirmationReceived);
        let own = AgentMessage::ConnectionInfo(self.tx.own_info(connection.id)?);
        self.push_confirmation(connection, None, &own)?;
        self.work(Job::Send(send.id));
        Ok(())
    }

    /// The initiator's confirmation: the connection is made, or this side's queue has to be
    /// secured first.
    pub(crate) fn confirmed_by_initiator(
        &mut self,
        connection: &mut Connection,
        queue: &mut ReceiveQueue,
        confirmation: &Confirmation<'_>,
    ) -> Result<(), StepError> {
        if connection.received.id != 0 {
            return Err(StepError::Peer("a second confirmation"));
        }
        let mut ratchet = self
            .tx
            .ratchet(connection.id)?
            .ok_or(StepError::Peer("a confirmation before this side's"))?;
        let opened = peer(
            ratchet.decrypt(confirmation.encrypted, &mut self.keys()),
            "a confirmation that does not open",
        )?;
        let message = peer(
            AgentMessage::decode(&opened.plain),
            "a confirmation that cannot be read",
        )?;
        let AgentMessage::ConnectionInfo(info) = message else {
            return Err(StepError::Peer("a confirmation of the wrong kind"));
        };
        self.tx.save_ratchet(connection.id, &ratchet)?;
        connection.received = Chain {
            id: 1,
            hash: message_hash(&opened.plain),
        };
        self.tx.save_connection(connection)?;
        self.take_sender_key(queue, confirmation.header)?;
        self.tell(connection.id, &Event::PeerInfo(Zeroizing::new(info)))?;
        self.progress(connection.id, Progress::ConfirmationReceived);
        if queue.sender_key.is_none() {
            self.connected(connection)?;
        }
        Ok(())
    }

    /// Keeps what the header says about the sender's key.
    fn take_sender_key(
        &mut self,
        queue: &mut ReceiveQueue,
        header: PrivateHeader,
    ) -> Result<(), CoreError> {
        match header {
            PrivateHeader::Confirmation(key) => {
                queue.sender_key = Some(key);
                self.work(Job::SecureReceive(queue.id));
            }
            PrivateHeader::Empty => queue.secured = true,
        }
        self.tx.save_receive_queue(queue)?;
        Ok(())
    }

    /// This side's receive queue is secured by KEY.
    pub(crate) fn receive_queue_secured(&mut self, id: ReceiveQueueId) -> Result<(), CoreError> {
        let Some(mut queue) = self.receive_queue(id)? else {
            return Ok(());
        };
        queue.secured = true;
        self.tx.save_receive_queue(&queue)?;
        let mut connection = self.connection(queue.connection)?;
        for send in self.tx.send_queues(connection.id)? {
            self.work(Job::Send(send.id));
        }
        if queue.switch == ReceiveSwitch::Offered {
            return self.tell_to_use(&mut connection, &mut queue);
        }
        if connection.kind == ConnectionKind::Joiner
            && connection.state == ConnectionState::Confirming
        {
            self.push_hello(&mut connection)?;
        }
        Ok(())
    }

    fn push_hello(&mut self, connection: &mut Connection) -> Result<(), CoreError> {
        let queues: Vec<_> = self
            .tx
            .send_queues(connection.id)?
            .iter()
            .map(|queue| queue.id)
            .collect();
        self.push_message_to(connection, &queues, OutgoingKind::Hello, AMessage::Hello)?;
        Ok(())
    }

    /// HELLO of the peer: its queue is secured, so this side's messages get through.
    pub(crate) fn hello(&mut self, connection: &mut Connection) -> Result<(), CoreError> {
        if connection.state != ConnectionState::Confirming {
            return Ok(());
        }
        match connection.kind {
            ConnectionKind::Joiner => self.connected(connection),
            _ => self.push_hello(connection),
        }
    }

    /// The peer's relay has this side's confirmation.
    pub(crate) fn confirmation_delivered(
        &mut self,
        connection: &mut Connection,
        queue: &mut SendQueue,
    ) -> Result<(), CoreError> {
        self.progress(connection.id, Progress::ConfirmationSent);
        // The relay took it unsigned; the recipient gives it the key from here on.
        queue.secured = true;
        self.tx.save_send_queue(queue)?;
        if connection.kind == ConnectionKind::Initiator && queue.securing == Securing::Sender {
            self.connected(connection)?;
        }
        Ok(())
    }

    /// The peer's relay has this side's HELLO; an initiator sends it after the peer's.
    pub(crate) fn hello_delivered(
        &mut self,
        connection: &mut Connection,
        _queue: &mut SendQueue,
    ) -> Result<(), CoreError> {
        if connection.kind == ConnectionKind::Initiator {
            self.connected(connection)?;
        }
        Ok(())
    }

    /// Both sides can send.
    pub(crate) fn connected(&mut self, connection: &mut Connection) -> Result<(), CoreError> {
        if connection.state != ConnectionState::Confirming {
            return Ok(());
        }
        connection.state = ConnectionState::Connected;
        self.tx.save_connection(connection)?;
        for mut queue in self.tx.send_queues(connection.id)? {
            queue.state = SendQueueState::Active;
            self.tx.save_send_queue(&queue)?;
        }
        self.tell(connection.id, &Event::Connected)?;
        Ok(())
    }

    /// Someone wrote to a contact address.
    pub(crate) fn requested(
        &mut self,
        address: &Connection,
        request: &ConnectionRequest,
        info: &[u8],
    ) -> Result<(), StepError> {
        if !matches!(request.kind, RequestKind::Invitation(_)) {
            return Err(StepError::Peer("a request with a contact address"));
        }
        if self.tx.request_count(address.id)? >= MAX_REQUESTS {
            return Err(StepError::Peer("too many requests wait for an answer"));
        }
        let id = self.tx.insert_request(&StoredRequest {
            id: RequestId(0),
            address: address.id,
            link: Zeroizing::new(request.to_string()),
            info: info.to_vec(),
            received: self.now,
        })?;
        let info = Zeroizing::new(info.to_vec());
        self.tell(address.id, &Event::Requested { request: id, info })?;
        Ok(())
    }

    /// Asks at a contact address to be connected: the invitation goes there once its queue exists.
    pub(crate) fn prepare_request(
        &mut self,
        connection: &mut Connection,
        request: &ConnectionRequest,
    ) -> Result<(), StepError> {
        let uri = request.queues.first().ok_or(CoreError::Version)?;
        let mut peer_queue = PeerQueue::from_uri(uri).ok_or(CoreError::Version)?;
        AgentVersionRange::SUPPORTED
            .intersect(request.versions)
            .ok_or(CoreError::Version)?;
        peer_queue.mode = Some(QueueMode::Contact);
        connection.state = ConnectionState::Preparing;
        self.tx.save_connection(connection)?;
        self.tx.set_joining(connection.id, None)?;
        let keys = InitiatorKeys::generate(&mut self.keys(), false);
        self.tx.save_initiator_keys(connection.id, &keys)?;
        self.new_send_queue(connection.id, &peer_queue, None)?;
        self.new_receive_queue(connection.id, QueueMode::Messaging, &[peer_queue.relay])?;
        Ok(())
    }

    /// The queue of the request exists: sends it.
    pub(crate) fn push_request(
        &mut self,
        connection: &mut Connection,
        contact: SendQueueId,
    ) -> Result<(), CoreError> {
        let Some(request) = self.invitation_of(connection.id)? else {
            return Ok(());
        };
        let info = self.tx.own_info(connection.id)?;
        let envelope = AgentEnvelope::Invitation {
            version: connection.version,
            request,
            info: &info,
        }
        .to_bytes()?;
        connection.state = ConnectionState::Requesting;
        self.tx.save_connection(connection)?;
        self.push(contact, OutgoingKind::Invitation, 0, true, envelope)
    }

    /// The contact address has the request; its queue is not needed any more.
    pub(crate) fn request_delivered(
        &mut self,
        connection: &mut Connection,
        queue: &SendQueue,
    ) -> Result<(), CoreError> {
        self.tx.delete_send_queue(queue.id)?;
        if connection.state == ConnectionState::Requesting {
            connection.state = ConnectionState::Waiting;
            self.tx.save_connection(connection)?;
        }
        self.progress(connection.id, Progress::ConfirmationSent);
        Ok(())
    }

    /// The full link of a connection that waits for its peer.
    pub(crate) fn invitation_of(
        &self,
        id: ConnectionId,
    ) -> Result<Option<ConnectionRequest>, CoreError> {
        let Some(keys) = self.tx.initiator_keys(id)? else {
            return Ok(None);
        };
        let queues: Vec<_> = self
            .tx
            .receive_queues(id)?
            .iter()
            .filter_map(queue_uri)
            .collect();
        if queues.is_empty() {
            return Ok(None);
        }
        let mut params = keys.params();
        // A KEM key would make the link ten times as long; short links carry it.
        params.kem = None;
        Ok(Some(ConnectionRequest {
            kind: RequestKind::Invitation(params),
            versions: AgentVersionRange::SUPPORTED,
            queues,
            client_data: None,
        }))
    }
}

/// A confirmation on its way through the layers.
pub(crate) struct Confirmation<'a> {
    pub(crate) version: AgentVersion,
    pub(crate) header: PrivateHeader,
    pub(crate) e2e: Option<E2eParams>,
    pub(crate) encrypted: &'a [u8],
}

pub(crate) fn pq_support(post_quantum: bool) -> PqSupport {
    if post_quantum {
        PqSupport::On
    } else {
        PqSupport::Off
    }
}

pub(crate) fn is_on(support: PqSupport) -> bool {
    support == PqSupport::On
}

/// The address of a receive queue, for confirmations.
pub(crate) fn queue_info(queue: &ReceiveQueue) -> Option<QueueInfo> {
    let ids = queue.ids.as_ref()?;
    Some(QueueInfo {
        version: ClientVersionRange::SUPPORTED.max(),
        relay: queue.relay.clone(),
        sender_id: ids.sender.clone(),
        dh_key: queue.e2e_key.public(),
        mode: Some(queue.mode),
    })
}

/// The address of a receive queue, for links and QADD.
pub(crate) fn queue_uri(queue: &ReceiveQueue) -> Option<QueueUri> {
    let ids = queue.ids.as_ref()?;
    Some(QueueUri {
        versions: ClientVersionRange::SUPPORTED,
        relay: queue.relay.clone(),
        sender_id: ids.sender.clone(),
        dh_key: queue.e2e_key.public(),
        mode: Some(queue.mode),
    })
}
