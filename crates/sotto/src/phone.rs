//! What an application sees: a phone to one contact, and calls.

use std::pin::Pin;
use std::task::{Context, Poll};

use call_core::{EndReason, MissedReason, PlaceError};
use call_signal::{CallId, CallMedia, SignalChannel};
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::{Config, ConfigError};
use crate::driver::{self, CallKey, Command};
use crate::media::{MediaStreams, Source};
use crate::pipeline::LineChange;
use crate::statistics::Statistics;
use crate::transport::{MediaLine, SrtpProfile};

/// Phone events that may wait for the application; further missed calls are dropped.
pub(crate) const EVENT_QUEUE: usize = 64;

/// Calls with one contact, over one signal channel.
///
/// A task of the current tokio runtime drives the calls; it ends when the phone and its calls are
/// dropped, and closes the channel.
#[derive(Debug)]
pub struct Phone {
    commands: mpsc::UnboundedSender<Command>,
    events: mpsc::Receiver<PhoneEvent>,
    signals: JoinHandle<()>,
}

/// Something that happened outside a call.
#[derive(Debug)]
#[non_exhaustive]
pub enum PhoneEvent {
    /// The contact calls.
    Incoming(IncomingCall),
    /// A call of the contact came to nothing.
    Missed {
        /// The call.
        call_id: CallId,
        /// Media that the contact asked for.
        media: CallMedia,
        /// Why.
        reason: MissedReason,
    },
    /// The peer sent something that can't be read; calls go on. The text says what was wrong.
    BadMessage(String),
    /// The signal channel is closed: no call can be placed or come in any more.
    ChannelClosed,
}

/// Why something could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is a call with this contact already.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The call does not ring any more.
    #[error("the call is over: it was cancelled, or has expired")]
    Over,
    /// The signal channel is closed.
    #[error("the signal channel to this contact is closed")]
    ChannelClosed,
    /// A source of video for a line of audio, or the other way round.
    #[error("audio goes to the microphone or the screen's sound, video to camera or screen")]
    WrongKind,
}

impl Phone {
    /// Starts to listen for calls on `channel`. Needs a tokio runtime.
    ///
    /// # Errors
    /// If `config` can't work.
    pub fn new<C>(channel: C, config: Config) -> Result<Self, ConfigError>
    where
        C: SignalChannel + 'static,
    {
        config.check()?;
        let (commands, command_queue) = mpsc::unbounded_channel();
        let (event_queue, events) = mpsc::channel(EVENT_QUEUE);
        let weak = commands.downgrade();
        let signals = driver::spawn(channel, config, weak, command_queue, event_queue);
        Ok(Self {
            commands,
            events,
            signals,
        })
    }

    /// Calls the contact.
    ///
    /// # Errors
    /// [`CallError::Place`] if there is a call already, [`CallError::ChannelClosed`].
    pub async fn place(&self, media: CallMedia, streams: MediaStreams) -> Result<Call, CallError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Place {
            media,
            streams,
            reply,
        };
        self.commands
            .send(command)
            .map_err(|_| CallError::ChannelClosed)?;
        answer.await.map_err(|_| CallError::ChannelClosed)?
    }

    /// The next event; `None` after [`PhoneEvent::ChannelClosed`]. Cancel-safe.
    pub async fn next_event(&mut self) -> Option<PhoneEvent> {
        self.events.recv().await
    }

    /// Hangs up, sends what is left to send and closes the channel. Whoever ends its process
    /// calls this first; dropping the phone does the same without waiting.
    pub async fn close(self) {
        let _ = self.commands.send(Command::Close);
        if let Err(error) = self.signals.await {
            tracing::error!(%error, "the signal task failed");
        }
    }
}

/// A call of the contact that rings. Dropping it declines.
#[derive(Debug)]
pub struct IncomingCall {
    pub(crate) call_id: CallId,
    pub(crate) media: CallMedia,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) cancelled: watch::Receiver<Option<MissedReason>>,
    pub(crate) answered: bool,
}

impl IncomingCall {
    /// The call's id.
    pub fn id(&self) -> CallId {
        self.call_id
    }

    /// Media that the contact asks for.
    pub fn media(&self) -> CallMedia {
        self.media
    }

    /// Waits until the call does not ring any more, because the contact gave up or it expired.
    /// Cancel-safe.
    pub async fn cancelled(&mut self) -> MissedReason {
        match self.cancelled.wait_for(Option::is_some).await {
            Ok(reason) => reason.unwrap_or(MissedReason::Cancelled),
            Err(_) => MissedReason::ChannelClosed,
        }
    }

    /// Accepts the call with `media`, which may be less than was asked for.
    ///
    /// # Errors
    /// [`CallError::Over`] if it does not ring any more.
    pub async fn accept(
        mut self,
        media: CallMedia,
        streams: MediaStreams,
    ) -> Result<Call, CallError> {
        self.answered = true;
        let (reply, answer) = oneshot::channel();
        let command = Command::Accept {
            call_id: self.call_id,
            media,
            streams,
            reply,
        };
        self.commands.send(command).map_err(|_| CallError::Over)?;
        answer.await.map_err(|_| CallError::Over)?
    }

    /// Declines the call. The contact is not told and goes on ringing, as in SimpleX Chat.
    pub fn decline(self) {}
}

impl Drop for IncomingCall {
    fn drop(&mut self) {
        if !self.answered {
            let call_id = self.call_id;
            let _ = self.commands.send(Command::Decline { call_id });
        }
    }
}

/// A call. Its events are a [`Stream`]; dropping it hangs up.
#[derive(Debug)]
pub struct Call {
    pub(crate) key: CallKey,
    pub(crate) call_id: CallId,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) events: mpsc::UnboundedReceiver<CallEvent>,
}

/// Something that happened in a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CallEvent {
    /// The invitation reached the contact's device.
    Ringing,
    /// The contact called at the same moment and its call won: this call goes on under that id.
    Superseded {
        /// The id of the contact's call.
        by: CallId,
    },
    /// Accepted; the transport connects.
    Connecting,
    /// Media flow, under SRTP with this profile.
    Connected {
        /// The negotiated profile.
        srtp_profile: SrtpProfile,
    },
    /// The network path is down; the call ends if it stays so.
    Interrupted,
    /// The network path is up again.
    Resumed,
    /// The call is over; no event follows.
    Ended(Ended),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// Figures of the call, if it got as far as a transport.
    pub statistics: Option<Box<Statistics>>,
    /// What failed, in words, where media or descriptions did.
    pub detail: Option<String>,
}

impl Call {
    /// The id with which the call began.
    pub fn id(&self) -> CallId {
        self.call_id
    }

    /// The next event; `None` after [`CallEvent::Ended`]. Cancel-safe.
    pub async fn next_event(&mut self) -> Option<CallEvent> {
        self.events.recv().await
    }

    /// Hangs up. [`CallEvent::Ended`] follows.
    pub fn hang_up(&self) {
        // The driver is gone only after the call has ended.
        let _ = self.commands.send(Command::HangUp { key: self.key });
    }

    /// Stops sending a source, or resumes. Nothing is sent while muted, by which SimpleX's peers
    /// tell that a source is off.
    pub fn set_muted(&self, line: MediaLine, muted: bool) {
        self.change(line, LineChange::Mute(muted));
    }

    /// Begins to send `source`, in the place of what was attached to `line` before. That is how a
    /// camera or a screen joins a call: there is no new negotiation. A peer of SimpleX's older
    /// generation has no line for a screen, and in an audio call none for a camera.
    ///
    /// # Errors
    /// [`CallError::WrongKind`] if a video is attached to an audio line, or the other way round.
    pub fn attach(&self, line: MediaLine, source: Source) -> Result<(), CallError> {
        if source.is_video() != line.is_video() {
            return Err(CallError::WrongKind);
        }
        self.change(line, LineChange::Attach(source));
        Ok(())
    }

    /// Stops sending what is attached to `line`, for good, and drops it.
    pub fn detach(&self, line: MediaLine) {
        self.change(line, LineChange::Detach);
    }

    fn change(&self, line: MediaLine, change: LineChange) {
        let key = self.key;
        // After the end of the call there is nothing to change.
        let _ = self.commands.send(Command::Change { key, line, change });
    }

    /// Figures of the call now; `None` before it is accepted and after it has ended.
    pub async fn statistics(&self) -> Option<Statistics> {
        let (reply, answer) = oneshot::channel();
        let key = self.key;
        self.commands
            .send(Command::Statistics { key, reply })
            .ok()?;
        answer.await.ok().flatten()
    }
}

impl Stream for Call {
    type Item = CallEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<CallEvent>> {
        self.events.poll_recv(cx)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // The driver is gone only after the call has ended.
        let _ = self.commands.send(Command::HangUp { key: self.key });
    }
}
