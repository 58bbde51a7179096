//! What an application is told.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use call_core::MissedReason;
use call_signal::{CallId, CallMedia, MessageId};
use smp_agent::core::{FailReason, Step, UndeliveredReason};
use smp_protocol::RelayAddress;
use tokio::sync::{mpsc, watch};

use super::contact::{ContactId, ContactRequest, TextId};
use super::shared::stopped;
use super::taking::Taking;
use crate::config::ConfigError;
use crate::phone::IncomingCall;

/// Something that happened in an account. `Debug` says what and with whom, and nothing that was
/// said.
#[non_exhaustive]
pub enum AccountEvent {
    /// A connection came further.
    Progress {
        /// With whom.
        contact: ContactId,
        /// How far.
        step: Step,
    },
    /// Something could not be done yet, and is tried again; nothing needs to be done.
    Waiting {
        /// With whom.
        contact: ContactId,
        /// Why.
        reason: String,
    },
    /// The connection is made: texts and calls get through.
    Connected {
        /// With whom.
        contact: ContactId,
    },
    /// The connection came to nothing. The contact stays until it is deleted.
    Failed {
        /// With whom.
        contact: ContactId,
        /// Why.
        reason: FailReason,
    },
    /// Somebody found the contact address and wants to connect.
    Requested(ContactRequest),
    /// The contact wrote something.
    Text {
        /// Who.
        contact: ContactId,
        /// What, as it was written: it may have line breaks and characters that are not shown.
        text: String,
        /// When its relay took it, by the relay's clock.
        sent_at: SystemTime,
        /// Names it in [`AccountEvent::TextEdited`] and [`AccountEvent::TextWithdrawn`].
        message: Option<MessageId>,
        /// If there is more than the text: what, e.g. `image`.
        with: Option<String>,
    },
    /// The contact changed what it had written.
    TextEdited {
        /// Who.
        contact: ContactId,
        /// Which text; if it was never told, this is a new one.
        message: MessageId,
        /// What it says now.
        text: String,
    },
    /// The contact took back what it had written.
    TextWithdrawn {
        /// Who.
        contact: ContactId,
        /// Which text; to be ignored if somebody else wrote it.
        message: MessageId,
    },
    /// The contact's relay has a message.
    Sent {
        /// For whom.
        contact: ContactId,
        /// Which one; it may be one that a call sent.
        text: TextId,
    },
    /// A text is on the contact's device.
    Delivered {
        /// Whose.
        contact: ContactId,
        /// Which one.
        text: TextId,
        /// Whether it is there as it was sent.
        intact: bool,
    },
    /// A message will not reach the contact.
    NotDelivered {
        /// Whom.
        contact: ContactId,
        /// Which one; it may be one that a call sent.
        text: TextId,
        /// Why.
        reason: UndeliveredReason,
    },
    /// Messages of the contact are missing: a relay lost them.
    Lost {
        /// Whose.
        contact: ContactId,
        /// How many.
        messages: u32,
    },
    /// The contact calls.
    Incoming {
        /// Who.
        contact: ContactId,
        /// Accepts it; dropping it declines.
        call: IncomingCall,
    },
    /// A call of the contact came to nothing.
    Missed {
        /// Whose.
        contact: ContactId,
        /// The call.
        call_id: CallId,
        /// Media that the contact asked for.
        media: CallMedia,
        /// When it began, by the relay's clock.
        at: SystemTime,
        /// Why.
        reason: MissedCall,
    },
    /// The contact changed what it says of itself. Its name here stays.
    ProfileChanged {
        /// Who.
        contact: ContactId,
    },
    /// The contact deleted the connection.
    DeletedByPeer {
        /// Who.
        contact: ContactId,
    },
    /// Messages of the contact can't be opened any more. New keys are being agreed; until then
    /// nothing can be sent.
    OutOfStep {
        /// Who.
        contact: ContactId,
    },
    /// Messages can be sent and opened again.
    InStep {
        /// Who.
        contact: ContactId,
    },
    /// New keys were agreed, and with them a new security code. Whoever compared the former one has
    /// to compare the new one.
    SecurityChanged {
        /// With whom.
        contact: ContactId,
        /// Whether the former code had been compared.
        was_verified: bool,
    },
    /// Messages of the contact come through a new queue.
    QueueChanged {
        /// Whose.
        contact: ContactId,
    },
    /// A queue is gone at its relay. Another takes its place, as long as there is a way to tell the
    /// contact.
    QueueLost {
        /// Whose; `None` for the contact address, which can't be found any more then.
        contact: Option<ContactId>,
    },
    /// The contact sent what can't be read. The text says what was wrong.
    BadMessage {
        /// Who.
        contact: ContactId,
        /// What was wrong.
        reason: String,
    },
    /// The connection with a message relay began or ended.
    Server {
        /// Which one.
        relay: RelayAddress,
        /// Why it ended; `None` if it began.
        lost: Option<String>,
    },
}

/// Why a call of a contact did not become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissedCall {
    /// The call itself.
    Call(MissedReason),
    /// [`CallPermission::Silent`](super::CallPermission::Silent).
    Silent,
    /// [`CallPermission::Refuse`](super::CallPermission::Refuse).
    NotAllowed,
    /// No call can be made with the account's configuration.
    NoCalls(ConfigError),
}

impl fmt::Display for MissedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Call(MissedReason::Expired) => "nobody answered within 3 minutes",
            Self::Call(MissedReason::Cancelled) => "the caller gave up",
            Self::Call(MissedReason::Replaced) => "the caller called again",
            Self::Call(MissedReason::Busy) => "there was another call with this contact",
            Self::Call(MissedReason::IncompatibleVersion) => {
                "the caller's program speaks another version of calls"
            }
            Self::Call(MissedReason::NoFrameEncryption) => {
                "the caller's program does not encrypt media end to end"
            }
            Self::Call(MissedReason::ChannelClosed) => "the account was closed",
            Self::Call(_) => "the call could not be taken",
            Self::Silent => "calls of this contact do not ring",
            Self::NotAllowed => "calls of this contact are refused",
            Self::NoCalls(error) => return error.fmt(f),
        })
    }
}

impl AccountEvent {
    /// Whom it is about.
    pub fn contact(&self) -> Option<ContactId> {
        match self {
            Self::Progress { contact, .. }
            | Self::Waiting { contact, .. }
            | Self::Connected { contact }
            | Self::Failed { contact, .. }
            | Self::Text { contact, .. }
            | Self::TextEdited { contact, .. }
            | Self::TextWithdrawn { contact, .. }
            | Self::Sent { contact, .. }
            | Self::Delivered { contact, .. }
            | Self::NotDelivered { contact, .. }
            | Self::Lost { contact, .. }
            | Self::Incoming { contact, .. }
            | Self::Missed { contact, .. }
            | Self::ProfileChanged { contact }
            | Self::DeletedByPeer { contact }
            | Self::OutOfStep { contact }
            | Self::InStep { contact }
            | Self::SecurityChanged { contact, .. }
            | Self::QueueChanged { contact }
            | Self::BadMessage { contact, .. } => Some(*contact),
            Self::QueueLost { contact } => *contact,
            Self::Requested(_) | Self::Server { .. } => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Progress { .. } => "Progress",
            Self::Waiting { .. } => "Waiting",
            Self::Connected { .. } => "Connected",
            Self::Failed { .. } => "Failed",
            Self::Requested(_) => "Requested",
            Self::Text { .. } => "Text",
            Self::TextEdited { .. } => "TextEdited",
            Self::TextWithdrawn { .. } => "TextWithdrawn",
            Self::Sent { .. } => "Sent",
            Self::Delivered { .. } => "Delivered",
            Self::NotDelivered { .. } => "NotDelivered",
            Self::Lost { .. } => "Lost",
            Self::Incoming { .. } => "Incoming",
            Self::Missed { .. } => "Missed",
            Self::ProfileChanged { .. } => "ProfileChanged",
            Self::DeletedByPeer { .. } => "DeletedByPeer",
            Self::OutOfStep { .. } => "OutOfStep",
            Self::InStep { .. } => "InStep",
            Self::SecurityChanged { .. } => "SecurityChanged",
            Self::QueueChanged { .. } => "QueueChanged",
            Self::QueueLost { .. } => "QueueLost",
            Self::BadMessage { .. } => "BadMessage",
            Self::Server { .. } => "Server",
        }
    }
}

impl fmt::Debug for AccountEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(self.name());
        if let Some(contact) = self.contact() {
            shown.field("contact", &contact.0);
        }
        match self {
            Self::Progress { step, .. } => shown.field("step", step),
            Self::Failed { reason, .. } => shown.field("reason", reason),
            Self::Missed { reason, .. } => shown.field("reason", reason),
            Self::NotDelivered { reason, .. } => shown.field("reason", reason),
            Self::BadMessage { reason, .. } => shown.field("reason", reason),
            _ => &mut shown,
        };
        shown.finish_non_exhaustive()
    }
}

/// What happens in an account, in order.
///
/// What came from a contact stays in the store until the application has it: an event counts as
/// handled when the next one is asked for, or when the account is closed in order. What was not is
/// told again after the next start. Only then the contact hears that its text was delivered; of a
/// call it hears as soon as that is handed out.
///
/// Whoever does not ask for events for a long time does not get calls either, for there is room for
/// a limited number that wait.
pub struct AccountEvents {
    pub(super) queue: mpsc::Receiver<Told>,
    pub(super) handed: Arc<Handed>,
    pub(super) stop: watch::Receiver<bool>,
}

/// The last event that was handed out, until it counts as handled.
#[derive(Default)]
pub(super) struct Handed(Mutex<Option<Taking>>);

impl Handed {
    fn replace(&self, next: Option<Taking>) {
        let last = {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, next)
        };
        if let Some(last) = last {
            last.done();
        }
    }

    /// The application has handled it.
    pub(super) fn handled(&self) {
        self.replace(None);
    }
}

/// An event on its way to the application.
pub(super) struct Told {
    pub(super) event: AccountEvent,
    pub(super) taking: Option<Taking>,
}

impl AccountEvents {
    /// The next event; `None` after the account was closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<AccountEvent> {
        self.handed.handled();
        let Told { event, taking } = tokio::select! {
            biased;
            () = stopped(&mut self.stop) => return None,
            told = self.queue.recv() => told?,
        };
        match (&event, taking) {
            // The caller is to hear now that it rings.
            (AccountEvent::Incoming { .. }, Some(taking)) => taking.done(),
            (_, taking) => self.handed.replace(taking),
        }
        Some(event)
    }
}

impl fmt::Debug for AccountEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountEvents")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_that_was_said() {
        let event = AccountEvent::Text {
            contact: ContactId(3),
            text: "secret".to_owned(),
            sent_at: SystemTime::UNIX_EPOCH,
            message: Some(MessageId::received("secret")),
            with: None,
        };
        assert_eq!(format!("{event:?}"), "Text { contact: 3, .. }");
    }
}
