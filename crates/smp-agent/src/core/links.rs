//! Links: what this side gives out, and what it reads behind a peer's short link.

use rand::Rng as _;
use smp_protocol::{
    CorrId, LinkData, LinkId, NONCE_SIZE, QueueMode, QueueRequest, RelayAddress, SenderId,
};
use zeroize::Zeroizing;

use super::error::CoreError;
use super::event::FailReason;
use super::handshake::queue_uri;
use super::jobs::Pending;
use super::output::{Request, Step as Progress};
use super::step::{Step, StepError};
use crate::model::{
    Connection, ConnectionId, ConnectionKind, ConnectionState, QueueLink, ReceiveQueue,
    ReceiveQueueId, ReceiveQueueIds,
};
use crate::protocol::{
    AgentVersionRange, ConnectionRequest, ContactKind, FixedLinkData, LinkKey, LinkNonces,
    LinkSecrets, LinkServer, LinkSigningKey, RequestKind, ShortLink, ShortLinkKind,
    ShortLinkScheme, UserLinkData, open_link, seal_link, seal_user_data,
};

/// The links of a connection. Both lead to the same queue; who has one of them can connect.
#[derive(Clone)]
pub struct Links {
    /// The short one, if the relay keeps data for links. It carries post-quantum keys, and what
    /// was given to show.
    pub short: Option<Zeroizing<String>>,
    /// The full one. It needs no relay to be read, and is too short for post-quantum keys: the
    /// connection gets these with its second exchange.
    pub full: Zeroizing<String>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Links")
    }
}

/// A queue's link before the queue exists.
pub(crate) struct NewLink {
    pub(crate) request: QueueRequest,
    pub(crate) corr_id: CorrId,
    pub(crate) link: QueueLink,
}

impl Step<'_> {
    /// The link for a queue that is being created, if it is to get one. The data holds the queue's
    /// sender id, so that one is chosen here, anew for each attempt.
    pub(crate) fn new_link(&mut self, queue: &ReceiveQueue) -> Result<Option<NewLink>, CoreError> {
        let connection = self.connection(queue.connection)?;
        let wanted = connection.state == ConnectionState::Preparing
            && self.tx.send_queues(connection.id)?.is_empty();
        if !wanted {
            return Ok(None);
        }
        let corr_id = CorrId::generate(self.rng());
        let sender = QueueRequest::link_sender_id(&corr_id);
        let mut placed = queue.clone();
        placed.ids = Some(ReceiveQueueIds {
            recipient: sender.0.clone().into(),
            sender: sender.clone(),
        });
        let Some(request) = self.request_for(&connection, &placed)? else {
            return Ok(None);
        };
        let root = LinkSigningKey::generate(self.rng());
        let fixed = FixedLinkData {
            versions: AgentVersionRange::SUPPORTED,
            root_key: root.verifying_key(),
            request,
            entity_id: None,
        };
        let user = self.user_link_data(&connection)?;
        let nonces = LinkNonces::generate(self.rng());
        let (key, data) = seal_link(&fixed, &user, &root, &nonces)?;
        let link_id = match queue.mode {
            QueueMode::Messaging => None,
            QueueMode::Contact => Some(LinkSecrets::contact(&key).link_id().clone()),
        };
        let link = QueueLink {
            id: link_id.clone(),
            key: Zeroizing::new(*key.as_bytes()),
            root_key: Zeroizing::new(*root.as_bytes()),
            fixed: data.fixed.clone(),
        };
        let request = match link_id {
            None => QueueRequest::Messaging(Some((sender, data))),
            Some(id) => QueueRequest::Contact(Some((id, sender, data))),
        };
        Ok(Some(NewLink {
            request,
            corr_id,
            link,
        }))
    }

    /// What a link to this queue stands for, post-quantum keys included.
    fn request_for(
        &self,
        connection: &Connection,
        queue: &ReceiveQueue,
    ) -> Result<Option<ConnectionRequest>, CoreError> {
        let kind = match connection.kind {
            ConnectionKind::Address => RequestKind::Contact,
            _ => match self.tx.initiator_keys(connection.id)? {
                Some(keys) => RequestKind::Invitation(keys.params()),
                None => return Ok(None),
            },
        };
        Ok(queue_uri(queue).map(|uri| ConnectionRequest {
            kind,
            versions: AgentVersionRange::SUPPORTED,
            queues: vec![uri],
            client_data: None,
        }))
    }

    fn user_link_data(&self, connection: &Connection) -> Result<UserLinkData, CoreError> {
        let data = self.tx.link_data(connection.id)?;
        let versions = AgentVersionRange::SUPPORTED;
        Ok(match connection.kind {
            ConnectionKind::Address => UserLinkData::Contact {
                versions,
                direct: true,
                owners: Vec::new(),
                relays: Vec::new(),
                data,
            },
            _ => UserLinkData::Invitation { versions, data },
        })
    }

    /// The links of a connection.
    pub(crate) fn links(&self, connection: &Connection) -> Result<Option<Links>, CoreError> {
        let waiting = match connection.kind {
            ConnectionKind::Address => connection.state != ConnectionState::Deleting,
            ConnectionKind::Initiator => connection.state == ConnectionState::Waiting,
            ConnectionKind::Joiner => false,
        };
        let queues = self.tx.receive_queues(connection.id)?;
        let (true, Some(queue)) = (waiting, queues.first()) else {
            return Ok(None);
        };
        let full = match connection.kind {
            ConnectionKind::Address => self.request_for(connection, queue)?,
            _ => self.invitation_of(connection.id)?,
        };
        Ok(full.map(|full| Links {
            short: short_link(queue).map(|link| Zeroizing::new(link.to_string())),
            full: Zeroizing::new(full.to_string()),
        }))
    }

    /// Changes the data behind a link.
    pub(crate) fn start_setting_link(
        &mut self,
        id: ReceiveQueueId,
    ) -> Result<Option<(RelayAddress, Request, Pending)>, CoreError> {
        let wanted = self.tx.setting(&link_to_set(id))?.is_some();
        let (true, Some(queue)) = (wanted, self.receive_queue(id)?) else {
            return Ok(None);
        };
        let (Some(ids), Some(link)) = (&queue.ids, &queue.link) else {
            return Ok(None);
        };
        let Some(link_id) = link.id.clone() else {
            return Ok(None);
        };
        let connection = self.connection(queue.connection)?;
        let user = self.user_link_data(&connection)?;
        let mut nonce = [0; NONCE_SIZE];
        self.rng().fill_bytes(&mut nonce);
        let root = LinkSigningKey::from_bytes(&link.root_key);
        let key = LinkKey::from_bytes(&link.key);
        let data = LinkData {
            fixed: link.fixed.clone(),
            user: seal_user_data(&key, &user, &root, &nonce)?,
        };
        let request = Request::SetLink {
            recipient: ids.recipient.clone(),
            key: queue.key.clone(),
            link: link_id,
            data,
        };
        Ok(Some((queue.relay, request, Pending::LinkSet)))
    }

    /// Asks for the data behind a peer's short link.
    pub(crate) fn start_resolving(
        &mut self,
        id: ConnectionId,
    ) -> Result<Option<(RelayAddress, Request, Pending)>, CoreError> {
        let Some(joining) = self.tx.joining(id)? else {
            return Ok(None);
        };
        let Ok(link) = joining.link.parse::<ShortLink>() else {
            self.fail(id, FailReason::LinkForged)?;
            return Ok(None);
        };
        let Some(relay) = link.server.relay(&self.config.known_relays()) else {
            self.fail(id, FailReason::UnknownRelay)?;
            return Ok(None);
        };
        let link_id: LinkId = LinkSecrets::of(&link).link_id().clone();
        let request = match link.kind {
            ShortLinkKind::Invitation { .. } => Request::LinkKey {
                link: link_id,
                key: joining.key,
            },
            ShortLinkKind::Contact(_) => Request::LinkData { link: link_id },
        };
        Ok(Some((relay, request, Pending::Resolved)))
    }

    /// The data behind a peer's short link: goes on with what it leads to.
    pub(crate) fn link_resolved(
        &mut self,
        id: ConnectionId,
        sender: &SenderId,
        data: &LinkData,
    ) -> Result<(), StepError> {
        let Some(joining) = self.tx.joining(id)? else {
            return Ok(());
        };
        let mut connection = self.connection(id)?;
        let Ok(link) = joining.link.parse::<ShortLink>() else {
            return Ok(self.fail(id, FailReason::LinkForged)?);
        };
        let Some(request) = checked(&link, sender, data) else {
            return Ok(self.fail(id, FailReason::LinkForged)?);
        };
        self.progress(id, Progress::LinkRead);
        let went_on = match request.kind {
            RequestKind::Invitation(_) => self.join(&mut connection, &request, Some(joining.key)),
            RequestKind::Contact => self.prepare_request(&mut connection, &request),
        };
        match went_on {
            Err(StepError::Core(CoreError::Version)) => Ok(self.fail(id, FailReason::Version)?),
            Err(StepError::Core(CoreError::Keys(_)) | StepError::Peer(_)) => {
                Ok(self.fail(id, FailReason::LinkForged)?)
            }
            other => other,
        }
    }
}

/// The name of the mark that a link's data has to be changed at the relay.
pub(crate) fn link_to_set(queue: ReceiveQueueId) -> String {
    format!("link-to-set-{}", queue.0)
}

/// What a link stands for, if the relay has what its maker wrote.
fn checked(link: &ShortLink, sender: &SenderId, data: &LinkData) -> Option<ConnectionRequest> {
    let (fixed, _) = open_link(link, data).ok()?;
    let queue = fixed.request.queues.first()?;
    let fits = queue.sender_id == *sender && fixed.request.is_invitation() == link.is_invitation();
    fits.then_some(fixed.request)
}

fn short_link(queue: &ReceiveQueue) -> Option<ShortLink> {
    let link = queue.link.as_ref()?;
    let kind = match queue.mode {
        QueueMode::Messaging => ShortLinkKind::Invitation {
            link_id: link.id.clone()?,
        },
        QueueMode::Contact => ShortLinkKind::Contact(ContactKind::Contact),
    };
    let relay = &queue.relay;
    let server = LinkServer::new(
        relay.hosts().to_vec(),
        relay.port(),
        Some(*relay.fingerprint()),
    );
    Some(ShortLink {
        scheme: ShortLinkScheme::Simplex,
        kind,
        server: server.ok()?,
        key: LinkKey::from_bytes(&link.key),
    })
}
