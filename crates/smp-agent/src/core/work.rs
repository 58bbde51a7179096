//! What each job asks of a relay, and what its outcome changes.

use smp_protocol::{DhSecret, QueueIds, QueueMode, QueueRequest, RelayAddress};

use super::error::CoreError;
use super::event::FailReason;
use super::jobs::{Job, Next, Pending, Refusal};
use super::links::{NewLink, link_to_set};
use super::output::{Failure, Notice, Reply, Request, Step as Progress};
use super::step::{Effect, Step, StepError, peer};
use crate::model::{
    ConnectionId, ConnectionKind, ConnectionState, ReceiveQueue, ReceiveQueueId, ReceiveQueueIds,
    ReceiveQueueState, ReceiveSwitch, SendQueueState,
};

impl Step<'_> {
    /// What a job asks of which relay; nothing if there is nothing to do any more.
    pub(crate) fn start(
        &mut self,
        job: &Job,
    ) -> Result<Option<(RelayAddress, Request, Pending)>, CoreError> {
        match job {
            Job::Create(id) => self.start_creating(*id),
            Job::SecureReceive(id) => self.start_securing(*id),
            Job::SetLink(id) => self.start_setting_link(*id),
            Job::Delete(id) => self.start_deleting(*id),
            Job::Acknowledge(id, message) => Ok(self.with_ids(*id)?.map(|(queue, ids)| {
                let request = Request::Acknowledge {
                    recipient: ids.recipient,
                    key: queue.key,
                    message: *message,
                };
                (queue.relay, request, Pending::Acknowledged)
            })),
            Job::Resolve(id) => self.start_resolving(*id),
            Job::Send(id) => self.next_to_send(*id),
        }
    }

    fn with_ids(
        &self,
        id: ReceiveQueueId,
    ) -> Result<Option<(ReceiveQueue, ReceiveQueueIds)>, CoreError> {
        let queue = self.receive_queue(id)?;
        Ok(queue.and_then(|queue| {
            let ids = queue.ids.clone()?;
            Some((queue, ids))
        }))
    }

    fn start_creating(
        &mut self,
        id: ReceiveQueueId,
    ) -> Result<Option<(RelayAddress, Request, Pending)>, CoreError> {
        let Some(queue) = self.receive_queue(id)? else {
            return Ok(None);
        };
        if queue.state != ReceiveQueueState::New {
            return Ok(None);
        }
        // A store that takes no writes could not keep the answer, and the queue would be created
        // again and again: it stops here.
        self.tx.save_receive_queue(&queue)?;
        let new_link = self.new_link(&queue)?;
        let (request, corr_id, link) = match new_link {
            Some(NewLink {
                request,
                corr_id,
                link,
            }) => (request, Some(corr_id), Some(link)),
            None => (plain_request(queue.mode), None, None),
        };
        let request = Request::Create {
            key: queue.key.clone(),
            delivery_key: queue.delivery_key.public(),
            request,
            corr_id,
        };
        Ok(Some((queue.relay, request, Pending::Created(link))))
    }

    fn start_securing(
        &mut self,
        id: ReceiveQueueId,
    ) -> Result<Option<(RelayAddress, Request, Pending)>, CoreError> {
        let Some((queue, ids)) = self.with_ids(id)? else {
            return Ok(None);
        };
        let (false, Some(sender_key)) = (queue.secured, queue.sender_key) else {
            return Ok(None);
        };
        let request = Request::Secure {
            recipient: ids.recipient,
            key: queue.key,
            sender_key,
        };
        Ok(Some((queue.relay, request, Pending::Secured)))
    }

    fn start_deleting(
        &mut self,
        id: ReceiveQueueId,
    ) -> Result<Option<(RelayAddress, Request, Pending)>, CoreError> {
        let Some(queue) = self.receive_queue(id)? else {
            return Ok(None);
        };
        let Some(ids) = queue.ids else {
            self.queue_deleted(id)?;
            return Ok(None);
        };
        let request = Request::Delete {
            recipient: ids.recipient,
            key: queue.key,
        };
        Ok(Some((queue.relay, request, Pending::Deleted)))
    }

    /// A relay did what was asked.
    pub(crate) fn succeeded(
        &mut self,
        job: &Job,
        pending: Pending,
        reply: Reply,
    ) -> Result<(), StepError> {
        match (job, pending, reply) {
            (Job::Create(id), Pending::Created(link), Reply::Created(ids)) => {
                self.queue_created(*id, link, &ids)
            }
            (Job::SecureReceive(id), _, _) => Ok(self.receive_queue_secured(*id)?),
            (Job::Delete(id), _, _) => Ok(self.queue_deleted(*id)?),
            (Job::Resolve(id), _, Reply::Link { sender, data }) => {
                self.link_resolved(*id, &sender, &data)
            }
            (Job::Send(id), Pending::SenderSecure, _) => Ok(self.sender_secured(*id)?),
            (Job::Send(_), Pending::Sent(outgoing, _), _) => Ok(self.delivered(outgoing)?),
            (Job::SetLink(id), _, _) => Ok(self.tx.set_setting(&link_to_set(*id), None)?),
            (Job::Acknowledge(..), _, _) => Ok(()),
            _ => Err(StepError::Peer("the relay answered something else")),
        }
    }

    /// A relay did not do what was asked.
    pub(crate) fn refused(
        &mut self,
        job: &Job,
        pending: &Pending,
        failure: &Failure,
    ) -> Result<Next, CoreError> {
        let refusal = Refusal::of(failure);
        self.say_why(job, failure)?;
        match (job, pending) {
            (Job::Create(id), _) => self.queue_not_created(*id, &refusal),
            (Job::SecureReceive(id), _) => {
                let later = refusal == Refusal::Later;
                if let (false, Some(queue)) = (later, self.receive_queue(*id)?) {
                    self.receive_queue_lost(&queue)?;
                }
                Ok(if later { Next::Later } else { Next::Done })
            }
            (Job::Delete(id), _) if refusal != Refusal::Later => {
                self.queue_deleted(*id)?;
                Ok(Next::Done)
            }
            // What was not acknowledged is delivered again with the next subscription.
            (Job::Acknowledge(..), _) => Ok(Next::Done),
            (Job::Resolve(id), _) if refusal != Refusal::Later => {
                self.fail(*id, FailReason::LinkGone)?;
                Ok(Next::Done)
            }
            (Job::SetLink(id), _) if refusal != Refusal::Later => {
                self.tx.set_setting(&link_to_set(*id), None)?;
                Ok(Next::Done)
            }
            (Job::Send(_), Pending::Sent(outgoing, queue)) => {
                self.not_delivered(*outgoing, *queue, &refusal)
            }
            (Job::Send(id), _) => self.sender_not_secured(*id, &refusal),
            _ => Ok(Next::Later),
        }
    }

    /// Shows why something waits.
    fn say_why(&mut self, job: &Job, failure: &Failure) -> Result<(), CoreError> {
        let reason = match failure {
            Failure::Unreachable(reason) => reason.clone(),
            Failure::Refused(error) => error.to_string(),
            Failure::TooOld => "the relay's version of the protocol is too old".to_owned(),
        };
        let (connection, command) = match job {
            Job::Create(id) => (self.connection_of(*id)?, "NEW"),
            Job::SecureReceive(id) => (self.connection_of(*id)?, "KEY"),
            Job::SetLink(id) => (self.connection_of(*id)?, "LSET"),
            Job::Delete(id) => (self.connection_of(*id)?, "DEL"),
            Job::Acknowledge(..) => return Ok(()),
            Job::Resolve(id) => (Some(*id), "LGET"),
            Job::Send(id) => (self.send_queue(*id)?.map(|queue| queue.connection), "SEND"),
        };
        if let Some(connection) = connection {
            self.notice(Notice::Waiting {
                connection,
                command,
                reason,
            });
        }
        Ok(())
    }

    fn connection_of(&self, id: ReceiveQueueId) -> Result<Option<ConnectionId>, CoreError> {
        Ok(self.receive_queue(id)?.map(|queue| queue.connection))
    }

    /// A queue exists.
    fn queue_created(
        &mut self,
        id: ReceiveQueueId,
        link: Option<crate::model::QueueLink>,
        ids: &QueueIds,
    ) -> Result<(), StepError> {
        let Some(mut queue) = self.receive_queue(id)? else {
            return Ok(());
        };
        let secret = peer(
            DhSecret::agree(&queue.delivery_key, &ids.dh_key),
            "the relay's key is weak",
        )?;
        queue.delivery_secret = Some(secret);
        queue.ids = Some(ReceiveQueueIds {
            recipient: ids.recipient_id.clone(),
            sender: ids.sender_id.clone(),
        });
        if ids.mode.is_none() && queue.mode == QueueMode::Messaging {
            return Err(StepError::Peer(
                "the relay is too old for queues that senders secure",
            ));
        }
        // A relay chooses the link's id of an invitation; without one there is no short link.
        queue.link = link.and_then(|link| {
            let id = ids.link_id.clone().or(link.id.clone());
            id.map(|id| crate::model::QueueLink {
                id: Some(id),
                ..link
            })
        });
        if queue.state == ReceiveQueueState::New {
            queue.state = ReceiveQueueState::Active;
        }
        self.tx.save_receive_queue(&queue)?;
        if queue.state == ReceiveQueueState::Deleting {
            self.work(Job::Delete(id));
            return Ok(());
        }
        self.effects.push(Effect::Subscribe(id));
        self.work(Job::SetLink(id));
        Ok(self.go_on_with_queue(&mut queue)?)
    }

    /// What a new queue was wanted for.
    fn go_on_with_queue(&mut self, queue: &mut ReceiveQueue) -> Result<(), CoreError> {
        let mut connection = self.connection(queue.connection)?;
        match (connection.kind, connection.state) {
            (ConnectionKind::Joiner, ConnectionState::Joining) => {
                self.confirm_as_joiner(&mut connection, queue)
            }
            (_, ConnectionState::Preparing) => {
                let contact = self.tx.send_queues(connection.id)?;
                if let Some(contact) = contact.first() {
                    return self.push_request(&mut connection, contact.id);
                }
                connection.state = ConnectionState::Waiting;
                self.tx.save_connection(&connection)?;
                self.progress(connection.id, Progress::LinkReady);
                Ok(())
            }
            (_, ConnectionState::Connected) if queue.switch == ReceiveSwitch::Wanted => {
                self.offer_queue(&mut connection, queue)
            }
            _ => Ok(()),
        }
    }

    fn queue_not_created(
        &mut self,
        id: ReceiveQueueId,
        refusal: &Refusal,
    ) -> Result<Next, CoreError> {
        let Some(mut queue) = self.receive_queue(id)? else {
            return Ok(Next::Done);
        };
        if queue.state == ReceiveQueueState::Deleting {
            self.queue_deleted(id)?;
            return Ok(Next::Done);
        }
        // Another relay may be there, or willing.
        let connection = self.connection(queue.connection)?;
        let mut avoid = vec![queue.relay.clone()];
        avoid.extend(
            self.tx
                .send_queues(connection.id)?
                .into_iter()
                .filter(|queue| queue.state != SendQueueState::Retired)
                .map(|queue| queue.relay),
        );
        let relay = self.choose_relay(&avoid)?;
        let only_one = relay == queue.relay;
        if *refusal != Refusal::Later && only_one {
            if connection.state == ConnectionState::Connected {
                self.tx.delete_receive_queue(id)?;
            } else {
                self.fail(connection.id, FailReason::RelayRefused)?;
            }
            return Ok(Next::Done);
        }
        queue.relay = relay;
        self.tx.save_receive_queue(&queue)?;
        Ok(Next::Later)
    }

    /// A queue is gone, as was wanted.
    fn queue_deleted(&mut self, id: ReceiveQueueId) -> Result<(), CoreError> {
        if let Some(queue) = self.receive_queue(id)? {
            self.tx.set_setting(&link_to_set(id), None)?;
            self.tx.delete_receive_queue(id)?;
            self.finish_deletion(queue.connection)?;
        }
        Ok(())
    }

    /// Forgets a connection that was to be deleted, when its queues are gone and what it still had
    /// to say is said.
    pub(crate) fn finish_deletion(&mut self, id: ConnectionId) -> Result<(), CoreError> {
        let Some(connection) = self.tx.connection(id)? else {
            return Ok(());
        };
        if connection.state != ConnectionState::Deleting || !self.tx.receive_queues(id)?.is_empty()
        {
            return Ok(());
        }
        for queue in self.tx.send_queues(id)? {
            if self.tx.outgoing_count(queue.id)? > 0 {
                return Ok(());
            }
        }
        self.tx.delete_connection(id)?;
        self.notice(Notice::Deleted { connection: id });
        Ok(())
    }
}

/// A queue without link.
fn plain_request(mode: QueueMode) -> QueueRequest {
    match mode {
        QueueMode::Messaging => QueueRequest::Messaging(None),
        QueueMode::Contact => QueueRequest::Contact(None),
    }
}
