//! One call from the invitation to its end.

use std::future::pending;

use sotto::{
    Call, CallError, CallMedia, Config, IncomingCall, MediaStreams, MissedReason, Phone, PhoneEvent,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::channel::Stdio;
use super::talk::{Beside, FAREWELL, Talk, timed_out};
use super::{CallArgs, outcome};
use crate::events::Event;
use crate::failure::{Failure, Status};
use crate::out::Out;
use crate::stop::{Stop, until};

/// The phone, and everything that the call tells of.
pub(super) struct Desk<'a> {
    line: Line,
    channel_closed: oneshot::Receiver<()>,
    out: &'a mut Out,
    stop: Stop,
    args: &'a CallArgs,
    /// When the call must be connected.
    give_up: Option<Instant>,
}

impl<'a> Desk<'a> {
    pub(super) fn open(
        args: &'a CallArgs,
        config: Config,
        out: &'a mut Out,
    ) -> Result<Self, Failure> {
        let stop = Stop::new()?;
        let (channel, channel_closed) = Stdio::open();
        let phone =
            Phone::new(channel, config).map_err(|error| Failure::new(Status::Usage, error))?;
        let give_up = args.timeout.map(|timeout| Instant::now() + timeout);
        Ok(Self {
            line: Line { phone, open: true },
            channel_closed,
            out,
            stop,
            args,
            give_up,
        })
    }

    /// Calls, and stays until the call is over.
    pub(super) async fn place(&mut self, streams: MediaStreams) -> Result<(), Failure> {
        let placed = self.line.phone.place(self.args.media(), streams).await;
        let call = placed.map_err(call_error)?;
        self.out.hint("calling …");
        self.talk(call).await
    }

    /// Waits for an invitation, answers it, and stays until the call is over.
    pub(super) async fn answer(&mut self, streams: MediaStreams) -> Result<(), Failure> {
        self.out.hint("waiting for a call …");
        loop {
            let mut incoming = self.next_incoming().await?;
            if self.args.decline {
                incoming.decline();
                return Err(Failure::new(Status::NotConnected, "declined"));
            }
            if !self.ring(&mut incoming).await? {
                continue;
            }
            let media = match incoming.media() {
                CallMedia::Video => self.args.media(),
                CallMedia::Audio => CallMedia::Audio,
            };
            let call = incoming.accept(media, streams).await.map_err(call_error)?;
            return self.talk(call).await;
        }
    }

    /// Writes out what is still to be said.
    pub(super) async fn close(self) {
        drop(self.line);
        // Either way nothing more can be done for it.
        let _ = timeout(FAREWELL, self.channel_closed).await;
    }

    async fn next_incoming(&mut self) -> Result<IncomingCall, Failure> {
        loop {
            let event = tokio::select! {
                event = self.line.phone.next_event() => event,
                () = until(self.give_up) => return Err(timed_out("no call came")),
                () = self.stop.wanted() => return Err(cancelled()),
            };
            match event {
                Some(PhoneEvent::Incoming(incoming)) => {
                    let media = match incoming.media() {
                        CallMedia::Audio => "audio",
                        CallMedia::Video => "video",
                    };
                    let event = Event::Incoming {
                        media: media.to_owned(),
                        contact: None,
                    };
                    let text = format_args!("incoming {media} call");
                    self.out.progress(event, text);
                    return Ok(incoming);
                }
                Some(PhoneEvent::ChannelClosed) | None => {
                    self.line.handle(event, self.out).await;
                    return Err(outcome::channel_closed());
                }
                Some(PhoneEvent::Missed { reason, .. }) => {
                    self.line.handle(event, self.out).await;
                    if reason != MissedReason::Replaced {
                        return Err(outcome::of_missed(reason));
                    }
                }
                Some(_) => self.line.handle(event, self.out).await,
            }
        }
    }

    /// Lets it ring; false if the caller called again meanwhile.
    async fn ring(&mut self, incoming: &mut IncomingCall) -> Result<bool, Failure> {
        let Some(ring) = self.args.ring else {
            return Ok(true);
        };
        let answer_at = Instant::now() + ring;
        tokio::select! {
            reason = incoming.cancelled() => match reason {
                MissedReason::Replaced => Ok(false),
                reason => Err(outcome::of_missed(reason)),
            },
            () = until(Some(answer_at)) => Ok(true),
            () = until(self.give_up) => Err(timed_out("the call was not connected")),
            () = self.stop.wanted() => Err(cancelled()),
        }
    }

    async fn talk(&mut self, call: Call) -> Result<(), Failure> {
        let talk = Talk {
            out: self.out,
            stop: &mut self.stop,
            length: self.args.seconds,
            give_up: self.give_up,
            end_at: None,
        };
        talk.run(call, &mut self.line).await
    }
}

/// The phone, as long as there is something to hear of it.
struct Line {
    phone: Phone,
    open: bool,
}

impl Beside for Line {
    type Event = Option<PhoneEvent>;

    async fn next(&mut self) -> Self::Event {
        if self.open {
            self.phone.next_event().await
        } else {
            pending().await
        }
    }

    async fn handle(&mut self, event: Self::Event, out: &mut Out) {
        match event {
            Some(PhoneEvent::BadMessage(detail)) => {
                out.say(format_args!("sotto: a message can't be read: {detail}"));
                out.record(Event::BadMessage { detail });
            }
            Some(PhoneEvent::Missed { reason, .. }) => {
                let reason = outcome::missed_name(reason).to_owned();
                out.record(Event::Missed {
                    reason,
                    contact: None,
                });
            }
            Some(PhoneEvent::ChannelClosed) => {
                self.open = false;
                out.record(Event::ChannelClosed);
            }
            // A second call is declined by being dropped.
            Some(_) => {}
            None => self.open = false,
        }
    }
}

fn cancelled() -> Failure {
    Failure::new(
        Status::NotConnected,
        "cancelled before the call was connected",
    )
}

fn call_error(error: CallError) -> Failure {
    match error {
        CallError::ChannelClosed => outcome::channel_closed(),
        error => Failure::new(Status::NotConnected, error),
    }
}
