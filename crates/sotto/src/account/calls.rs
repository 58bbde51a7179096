//! Calls with contacts.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use call_signal::{CallEvent, CallMedia, CallMessage, ChatMessage, ReceivedMessage};
use smp_agent::{ConnectionState, Timestamp};

use super::Account;
use super::channel::Pending;
use super::contact::{CallPermission, ContactId};
use super::error::{AccountError, ContactProblem};
use super::event::{AccountEvent, MissedCall};
use super::shared::{Shared, system_time};
use super::table::ContactRow;
use super::taking::Taking;
use crate::media::MediaStreams;
use crate::phone::{Call, CallError};

pub use call_core::INVITATION_LIFE;

impl Account {
    /// Calls a contact. [`CallEvent::Ringing`](crate::CallEvent::Ringing) tells when its program
    /// has been told, [`CallEvent::Connected`](crate::CallEvent::Connected) when media flow.
    ///
    /// # Errors
    /// [`AccountError::Contact`] if nothing can be sent to the contact, [`AccountError::Config`] if
    /// no call can be made with the account's servers, [`AccountError::Call`] if there is a call
    /// with it, [`AccountError::NoSuchContact`], [`AccountError::Store`].
    pub async fn call(
        &self,
        contact: ContactId,
        media: CallMedia,
        streams: MediaStreams,
    ) -> Result<Call, AccountError> {
        let row = self.reachable(contact).await?;
        let connection = self.shared.agent.connection(row.connection).await?;
        if connection.state != ConnectionState::Connected {
            return Err(ContactProblem::NotConnected.into());
        }
        if connection.sync.forbids_sending() {
            return Err(ContactProblem::OutOfStep.into());
        }
        let line = self.shared.line(contact, row.connection).await?;
        match line.place(media, streams).await {
            // It closed between the two.
            Err(CallError::ChannelClosed) => Err(AccountError::Closed),
            placed => Ok(placed?),
        }
    }
}

/// What is to be done with a call's message.
pub(super) enum Fate {
    /// It goes to the phone.
    Deliver,
    /// It does not, and the application is told of a call that it missed.
    Miss(MissedCall),
    /// Nobody is interested.
    Drop,
}

impl Shared {
    /// What is to be done with a call's message of an unblocked contact.
    pub(super) fn fate(&self, row: &ContactRow, call: &CallMessage, sent_at: Timestamp) -> Fate {
        if !matches!(call.event, CallEvent::Invitation(_)) {
            return match self.lines.of_call(row.id, call.call_id) {
                Some(_) => Fate::Deliver,
                None => Fate::Drop,
            };
        }
        let expired = age(sent_at) >= INVITATION_LIFE;
        if expired {
            return Fate::Miss(MissedCall::Call(call_core::MissedReason::Expired));
        }
        match row.calls {
            // Whoever calls somebody wants to talk to them: then the two calls become one.
            _ if self.lines.is_calling(row.id) => Fate::Deliver,
            CallPermission::Allow => Fate::Deliver,
            CallPermission::Silent => Fate::Miss(MissedCall::Silent),
            CallPermission::Refuse => Fate::Miss(MissedCall::NotAllowed),
        }
    }

    /// Passes a call's message on to the contact's phone.
    pub(super) async fn deliver(
        self: &Arc<Self>,
        row: &ContactRow,
        message: ChatMessage,
        sent_at: Timestamp,
        taking: Option<Taking>,
    ) {
        let Some(call) = message.call().cloned() else {
            return;
        };
        let line = match self.lines.of_call(row.id, call.call_id) {
            Some(line) => Ok(line),
            None => self.line(row.id, row.connection).await,
        };
        match line {
            Ok(line) => {
                let message = ReceivedMessage {
                    message,
                    sent_at: Some(system_time(sent_at)),
                };
                let pending = Pending {
                    at: sent_at,
                    taking,
                };
                line.deliver(&call, message, pending).await;
            }
            Err(AccountError::Config(error)) => {
                let event = missed(row.id, &call, sent_at, MissedCall::NoCalls(error));
                match event {
                    Some(event) => self.tell(event, taking).await,
                    None => taking.iter().for_each(Taking::done),
                }
            }
            Err(error) => tracing::warn!(%error, "a contact's call could not be taken"),
        }
    }
}

/// The event of a call that was missed.
pub(super) fn missed(
    contact: ContactId,
    call: &CallMessage,
    sent_at: Timestamp,
    reason: MissedCall,
) -> Option<AccountEvent> {
    let CallEvent::Invitation(invitation) = &call.event else {
        return None;
    };
    Some(AccountEvent::Missed {
        contact,
        call_id: call.call_id,
        media: invitation.call_type.media,
        at: system_time(sent_at),
        reason,
    })
}

fn age(sent_at: Timestamp) -> Duration {
    SystemTime::now()
        .duration_since(system_time(sent_at))
        .unwrap_or_default()
}
