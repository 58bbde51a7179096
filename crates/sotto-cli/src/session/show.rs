//! What happens beside a command's own work, told as `sotto listen` does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use call_signal::printable_line;
use sotto::{Account, AccountEvent, CallMedia, ConnectStep, ContactId, MissedCall};

use crate::call::outcome;
use crate::clock::milliseconds;
use crate::events::Event;
use crate::failure::Failure;
use crate::out::Out;
use crate::session::failure;

/// Tells of an account's events.
pub(crate) struct Teller<'a> {
    pub(crate) account: &'a Account,
    pub(crate) out: &'a mut Out,
}

impl Teller<'_> {
    /// Tells of an event. It counts as handled then.
    pub(crate) async fn show(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Progress { contact, step } => {
                let name = self.name(contact).await;
                let text = format!("{name}: {} …", step_text(step));
                self.out.tell(progress(name, step), text);
            }
            AccountEvent::Connected { contact } => {
                // What is shown of it can't be wrong; a failure here is one of the next command.
                let _ = self.secured(contact).await;
            }
            AccountEvent::Failed { contact, reason } => {
                let name = self.name(contact).await;
                let text = format!("{name}: it came to nothing: {reason}");
                let event = Event::Failed {
                    contact: Some(name),
                    reason: reason.to_string(),
                };
                self.out.tell(event, text);
            }
            AccountEvent::Text { .. }
            | AccountEvent::TextEdited { .. }
            | AccountEvent::TextWithdrawn { .. } => self.show_text(event).await,
            AccountEvent::Incoming { .. } | AccountEvent::Missed { .. } => {
                self.show_call(event).await;
            }
            AccountEvent::Requested(request) => {
                let name = request.profile.map_or("somebody".to_owned(), |profile| {
                    profile.display_name.to_string()
                });
                let text = format!("{name} wants to connect: `sotto invite --contact` answers");
                self.out.tell(
                    Event::Request {
                        name,
                        accepted: None,
                    },
                    text,
                );
            }
            event => self.show_notice(event).await,
        }
    }

    /// The name of a contact, as far as there is one.
    pub(crate) async fn name(&self, contact: ContactId) -> String {
        match self.account.contact(contact).await {
            Ok(contact) => contact.name,
            Err(_) => "somebody".to_owned(),
        }
    }

    /// Tells of a new connection.
    pub(crate) async fn secured(&mut self, id: ContactId) -> Result<(), Failure> {
        let contact = self.account.contact(id).await.map_err(failure)?;
        let code = self.account.security_code(id).await.map_err(failure)?;
        let (name, code) = (contact.name, code.to_string());
        let keys = if contact.post_quantum { "on" } else { "off" };
        let text = format!(
            "connected with {name}\n  security code: {code}\n  post-quantum keys: {keys}\n\
             Compare the code by another way, then: sotto contacts verify {name:?}"
        );
        let event = Event::Secured {
            contact: name,
            code,
            post_quantum: contact.post_quantum,
        };
        self.out.tell(event, text);
        Ok(())
    }

    async fn show_call(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Incoming { contact, call } => {
                let media = media_name(call.media());
                let name = self.name(contact).await;
                let text = format!("{name} calls ({media}): `sotto listen` answers calls");
                self.out.tell(incoming(name, media), text);
            }
            AccountEvent::Missed {
                contact,
                media,
                at,
                reason,
                ..
            } => {
                let name = self.name(contact).await;
                let media = media_name(media);
                let text = format!(
                    "missed {media} call of {name}, {} ago: {}",
                    ago(at),
                    missed_text(&reason)
                );
                let event = Event::Missed {
                    reason: missed_name(&reason).to_owned(),
                    contact: Some(name),
                };
                self.out.tell(event, text);
            }
            _ => {}
        }
    }

    async fn show_text(&mut self, event: AccountEvent) {
        let (contact, text, sent_at, change) = match event {
            AccountEvent::Text {
                contact,
                text,
                sent_at,
                with,
                ..
            } => {
                let with = with.map_or(String::new(), |with| format!(" [with {with}]"));
                (contact, text + &with, Some(sent_at), "")
            }
            AccountEvent::TextEdited { contact, text, .. } => (contact, text, None, " (changed)"),
            AccountEvent::TextWithdrawn { contact, .. } => {
                self.notice(contact, "took back something that was written")
                    .await;
                return;
            }
            _ => return,
        };
        let name = self.name(contact).await;
        let line = format!("{name}{change}: {}", printable(&text));
        let event = Event::Text {
            contact: name,
            text,
            sent_unix_ms: sent_at.map(unix_ms_at),
        };
        self.out.answer(event, line);
    }

    async fn show_notice(&mut self, event: AccountEvent) {
        let Some(contact) = event.contact() else {
            self.show_server(&event);
            return;
        };
        let text = match event {
            AccountEvent::Delivered { contact, .. } => {
                let contact = self.name(contact).await;
                let text = format!("{contact} has your message");
                self.out.tell(Event::Delivered { contact }, text);
                return;
            }
            AccountEvent::NotDelivered { reason, .. } => {
                format!("a message was not delivered: {reason}")
            }
            AccountEvent::Waiting { reason, .. } => {
                let name = self.name(contact).await;
                let text = format!("waiting: {reason}");
                let line = format!("{name}: {text}");
                self.out.tell_once(notice_of(Some(name), text), line);
                return;
            }
            AccountEvent::Lost { messages, .. } => {
                format!("{messages} messages are missing: a relay lost them")
            }
            AccountEvent::ProfileChanged { .. } => "changed the profile".to_owned(),
            AccountEvent::DeletedByPeer { .. } => "deleted the connection".to_owned(),
            AccountEvent::OutOfStep { .. } => {
                "the encryption is out of step; new keys are being agreed".to_owned()
            }
            AccountEvent::InStep { .. } => "new keys are agreed".to_owned(),
            AccountEvent::SecurityChanged { was_verified, .. } => {
                let again = if was_verified { " again" } else { "" };
                format!("the security code is a new one: compare it{again}")
            }
            AccountEvent::QueueChanged { .. } => "messages come through a new queue".to_owned(),
            AccountEvent::QueueLost { .. } => "a queue is gone at its relay".to_owned(),
            AccountEvent::BadMessage { reason, .. } => {
                format!("a message can't be read: {reason}")
            }
            _ => return,
        };
        self.notice(contact, &text).await;
    }

    fn show_server(&mut self, event: &AccountEvent) {
        let text = match event {
            AccountEvent::Server { lost: None, .. } => {
                self.out.forget();
                return;
            }
            AccountEvent::Server {
                lost: Some(reason), ..
            } => format!("no connection with a message relay: {reason}"),
            AccountEvent::QueueLost { .. } => {
                "the contact address is gone at its relay: make a new one".to_owned()
            }
            _ => return,
        };
        self.out.tell_once(notice_of(None, text.clone()), text);
    }

    async fn notice(&mut self, contact: ContactId, text: &str) {
        let name = self.name(contact).await;
        let line = format!("{name}: {text}");
        self.out.tell(notice_of(Some(name), text.to_owned()), line);
    }
}

fn notice_of(contact: Option<String>, text: String) -> Event {
    Event::Notice { contact, text }
}

pub(crate) fn incoming(name: String, media: &str) -> Event {
    Event::Incoming {
        media: media.to_owned(),
        contact: Some(name),
    }
}

pub(crate) fn media_name(media: CallMedia) -> &'static str {
    match media {
        CallMedia::Audio => "audio",
        CallMedia::Video => "video",
    }
}

/// A step of making a connection.
pub(super) fn progress(name: String, step: ConnectStep) -> Event {
    Event::Progress {
        contact: Some(name),
        step: step_name(step).to_owned(),
    }
}

/// In words.
pub(super) fn step_text(step: ConnectStep) -> &'static str {
    match step {
        ConnectStep::ConfirmationSent => "the confirmation is sent; waiting for the peer",
        step => stage_text(step_name(step)),
    }
}

/// As `--json` names it.
fn step_name(step: ConnectStep) -> &'static str {
    match step {
        ConnectStep::LinkReady => "link_ready",
        ConnectStep::LinkRead => "link_read",
        ConnectStep::PeerQueueSecured => "peer_queue_secured",
        ConnectStep::ReplyQueueCreated => "reply_queue_created",
        ConnectStep::ConfirmationSent => "confirmation_sent",
        ConnectStep::ConfirmationReceived => "confirmation_received",
        _ => "other",
    }
}

/// What a step of that name means to people.
pub(crate) fn stage_text(step: &str) -> &'static str {
    match step {
        "link_ready" => "the link is ready",
        "link_read" => "the link is read",
        "peer_queue_secured" => "the peer's queue is secured",
        "reply_queue_created" => "the queue for the peer's messages is made",
        "confirmation_sent" => "the confirmation is sent",
        "confirmation_received" => "the peer's confirmation is here",
        _ => "a step further",
    }
}

/// Why a call was missed, in words.
pub(crate) fn missed_text(reason: &MissedCall) -> String {
    reason.to_string()
}

/// As events name it.
pub(crate) fn missed_name(reason: &MissedCall) -> &'static str {
    match reason {
        MissedCall::Call(reason) => outcome::missed_name(*reason),
        MissedCall::Silent => "silent",
        MissedCall::NotAllowed => "not_allowed",
        MissedCall::NoCalls(_) => "no_calls",
        _ => "other",
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms_at(at: SystemTime) -> f64 {
    milliseconds(at.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn ago(at: SystemTime) -> String {
    let seconds = at.elapsed().unwrap_or(Duration::ZERO).as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// What others wrote, without what a terminal would take for commands. Lines stay.
fn printable(text: &str) -> String {
    let lines = text.lines().map(|line| printable_line(line, usize::MAX));
    lines.collect::<Vec<_>>().join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_write_does_not_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\nc\u{7}"), "a[2Jb\n  c");
    }

    #[test]
    fn times_are_short() {
        let before = |seconds| SystemTime::now() - Duration::from_secs(seconds);
        assert_eq!(ago(before(5)), "5 s");
        assert_eq!(ago(before(600)), "10 min");
        assert_eq!(ago(before(90_000)), "25 h");
    }
}
