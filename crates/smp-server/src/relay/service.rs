//! Client services: one connection that listens to all queues of a service at once.
//!
//! A queue joins a service when it is subscribed to, or created, in the service's session with the
//! service's signature; it leaves when it is subscribed to without.

use smp_protocol::{
    Authorization, Command, CommandError, ErrorType, IdsHash, Response, ServiceRole, SessionParams,
    SignedBytes, SmpVersion, Transmission, verify_signature,
};

use smp_transport::ServiceClient;

use super::Relay;
use super::inbox::Event;
use super::recipient::Answer;
use super::registry::Registry;
use super::session::Session;
use crate::store::{Cursor, QueueChange, QueueId, QueueRecord, ServiceKind, Store};

/// Queues looked at before others get their turn.
const STEP: usize = 256;

/// The service that a connection proved to be in its handshake.
pub(crate) struct ServiceSession {
    pub(crate) id: QueueId,
    pub(crate) role: ServiceRole,
    /// The Ed25519 key of this session, signed by the service's certificate.
    pub(crate) key: [u8; 32],
    /// SHA-256 of the service's certificate, which a queue's key signs beside the command.
    pub(crate) fingerprint: [u8; 32],
    /// Whether SUBS or NSUBS was given since this connection listens for the service.
    pub(crate) subscribed: bool,
    /// How far the service's queues were looked at for what waits in them.
    pub(crate) scan: Option<Cursor>,
}

impl ServiceSession {
    /// A verified service, under the id that this relay gave it.
    pub(crate) fn new(id: QueueId, client: &ServiceClient) -> Self {
        Self {
            id,
            role: client.role,
            key: client.key,
            fingerprint: *client.fingerprint.as_bytes(),
            subscribed: false,
            scan: None,
        }
    }

    pub(crate) fn kind(&self) -> Option<ServiceKind> {
        match self.role {
            ServiceRole::Messaging => Some(ServiceKind::Messages),
            ServiceRole::Notifier => Some(ServiceKind::Notifications),
            ServiceRole::Proxy => None,
        }
    }
}

/// The bytes that a queue's key authorises, and whether the command is the service's too.
pub(super) fn signed<'a>(
    service: Option<&'a ServiceSession>,
    transmission: &'a Transmission<'_>,
    params: &'a SessionParams,
    command: &Command,
) -> Result<(SignedBytes<'a>, bool), ErrorType> {
    let signed = transmission.signed_bytes(params);
    let Some(signature) = &transmission.service_signature else {
        return Ok((signed, false));
    };
    let concerned = matches!(command, Command::New(_) | Command::Sub | Command::Nsub);
    match service {
        Some(service) if concerned && verify_signature(&service.key, signature, &signed) => {
            Ok((signed.with_service(&service.fingerprint), true))
        }
        _ => Err(ErrorType::Service),
    }
}

impl<S: Store> Session<S> {
    /// The service of this session if it takes `kind`.
    pub(super) fn service_for(&self, kind: ServiceKind) -> Option<QueueId> {
        self.service
            .as_ref()
            .filter(|service| service.kind() == Some(kind))
            .map(|one| one.id)
    }

    /// The service that a queue joins by a command of it; this connection listens for it then.
    pub(super) async fn join(
        &mut self,
        kind: ServiceKind,
        as_service: bool,
    ) -> Result<Option<QueueId>, ErrorType> {
        let service = if as_service {
            self.service_for(kind)
        } else {
            None
        };
        if let Some(id) = service {
            self.listen_for_service(id, kind).await?;
        }
        Ok(service)
    }

    /// Makes a queue join the service of this session, or leave the one it is in.
    pub(super) async fn associate(
        &mut self,
        record: &QueueRecord,
        kind: ServiceKind,
        as_service: bool,
    ) -> Result<Option<QueueId>, ErrorType> {
        let service = self.join(kind, as_service).await?;
        let current = match kind {
            ServiceKind::Messages => record.service,
            ServiceKind::Notifications => record.notifier.as_ref().and_then(|one| one.service),
        };
        if service == current {
            return Ok(service);
        }
        let change = QueueChange::Service { kind, service };
        let updated = self.relay.store.update(&record.recipient_id, change).await;
        updated.map_err(|error| self.relay.store_error(&error))?;
        let former = current.and_then(|id| self.relay.service_registry(kind).subscriber(id));
        if let Some(former) = former
            && former.connection != self.id
        {
            former.inbox.push(match (kind, &record.notifier) {
                (ServiceKind::Notifications, Some(notifier)) => Event::NotifierEnded(notifier.id),
                _ => Event::Ended(record.recipient_id),
            });
        }
        Ok(service)
    }

    /// Makes this connection the one that listens for its service; the former learns so.
    async fn listen_for_service(
        &mut self,
        id: QueueId,
        kind: ServiceKind,
    ) -> Result<(), ErrorType> {
        let registry = self.relay.service_registry(kind);
        if registry.has(id, self.id) {
            return Ok(());
        }
        let former = registry.subscribe(id, self.subscriber());
        if let Some(service) = &mut self.service {
            service.subscribed = false;
        }
        if let Some(former) = former {
            let totals = self.relay.store.service_totals(&id, kind).await;
            let (count, ids_hash) = totals.map_err(|error| self.relay.store_error(&error))?;
            former.inbox.push(Event::ServiceEnded { count, ids_hash });
        }
        Ok(())
    }

    /// Subscribe to multiple queues: all of the service.
    pub(super) async fn subs(&mut self, transmission: &Transmission<'_>) -> Answer {
        self.subscribe_service(transmission, ServiceKind::Messages)
            .await
    }

    /// Subscribe to multiple queue notifications.
    pub(super) async fn nsubs(&mut self, transmission: &Transmission<'_>) -> Answer {
        self.subscribe_service(transmission, ServiceKind::Notifications)
            .await
    }

    async fn subscribe_service(
        &mut self,
        transmission: &Transmission<'_>,
        kind: ServiceKind,
    ) -> Answer {
        let Some(service) = self
            .service
            .as_ref()
            .filter(|service| service.kind() == Some(kind))
        else {
            return Err(ErrorType::Service);
        };
        let Authorization::Signature(signature) = &transmission.authorization else {
            return Err(ErrorType::Service);
        };
        let signed = transmission.signed_bytes(&self.params);
        if transmission.entity.as_bytes() != service.id.as_bytes()
            || !verify_signature(&service.key, signature, &signed)
        {
            return Err(ErrorType::Service);
        }
        let id = service.id;
        self.listen_for_service(id, kind).await?;
        let fresh = match &mut self.service {
            Some(service) => !std::mem::replace(&mut service.subscribed, true),
            None => false,
        };
        let totals = self.relay.store.service_totals(&id, kind).await;
        let (count, ids_hash) = totals.map_err(|error| self.relay.store_error(&error))?;
        if fresh && count == 0 {
            self.all_delivered(kind);
        } else if fresh && let Some(service) = &mut self.service {
            service.scan = Some(Cursor::default());
        }
        Ok(Response::Soks { count, ids_hash })
    }

    /// Whether this connection takes messages of a queue by its service.
    pub(super) fn service_takes(&self, record: &QueueRecord) -> bool {
        let joined = |service: &ServiceSession| record.service == Some(service.id);
        self.service.as_ref().is_some_and(joined) && self.serves(ServiceKind::Messages)
    }

    /// Whether this connection listens for its service, which takes `kind`.
    pub(super) fn serves(&self, kind: ServiceKind) -> bool {
        self.service_for(kind)
            .is_some_and(|id| self.relay.service_registry(kind).has(id, self.id))
    }

    /// Whether the service's queues have yet to be looked at.
    pub(crate) fn scanning(&self) -> bool {
        self.service
            .as_ref()
            .is_some_and(|service| service.scan.is_some())
    }

    /// Looks at some of the service's queues for what waits in them.
    pub(crate) async fn scan(&mut self) {
        let Some(service) = &mut self.service else {
            return;
        };
        let (Some(cursor), Some(kind)) = (service.scan.take(), service.kind()) else {
            return;
        };
        let id = service.id;
        match self
            .relay
            .store
            .service_queues(&id, kind, cursor, STEP)
            .await
        {
            Ok(page) => {
                for queue in page.ids {
                    self.inbox.push(match kind {
                        ServiceKind::Messages => Event::Message(queue),
                        ServiceKind::Notifications => Event::Notification(queue),
                    });
                }
                match page.next {
                    Some(next) => {
                        if let Some(service) = &mut self.service {
                            service.scan = Some(next);
                        }
                    }
                    None => self.all_delivered(kind),
                }
            }
            Err(error) => {
                self.relay.store_error(&error);
            }
        }
    }

    /// Another connection listens for the service, unless this one does so again since.
    pub(super) fn service_ended(&mut self, count: i64, ids_hash: IdsHash) {
        let Some(service) = &mut self.service else {
            return;
        };
        let (id, kind) = (service.id, service.kind());
        if kind.is_some_and(|kind| self.relay.service_registry(kind).has(id, self.id)) {
            return;
        }
        service.subscribed = false;
        service.scan = None;
        self.subscriptions
            .retain(|_, subscription| !subscription.by_service);
        self.respond(None, id, &Response::Ends { count, ids_hash });
    }

    /// Everything that waited for the service is on its way. Only messages have a word for it,
    /// and only since that version.
    fn all_delivered(&self, kind: ServiceKind) {
        if kind == ServiceKind::Messages && self.version() >= SmpVersion::SERVICE_SUBS {
            self.inbox.push(Event::AllDelivered);
        }
    }

    /// The connection ended.
    pub(super) fn close_service(&mut self) {
        if let Some(service) = self.service.take()
            && let Some(kind) = service.kind()
        {
            self.relay
                .service_registry(kind)
                .unsubscribe(service.id, self.id);
        }
    }
}

impl<S: Store> Relay<S> {
    pub(super) fn service_registry(&self, kind: ServiceKind) -> &Registry {
        match kind {
            ServiceKind::Messages => &self.services,
            ServiceKind::Notifications => &self.notifier_services,
        }
    }
}

/// The answer to a command in the wrong place.
pub(super) fn prohibited() -> ErrorType {
    ErrorType::Cmd(CommandError::Prohibited)
}
