//! One call from the invitation to its end.

use std::future::pending;
use std::time::Duration;

use sotto::{
    Call, CallError, CallEvent, CallMedia, Config, Ended, IncomingCall, MediaStreams, MissedReason,
    Phone, PhoneEvent,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::channel::Stdio;
use super::{CallArgs, outcome};
use crate::events::{Event, Figures, Journal};
use crate::failure::{Failure, Status};
use crate::live::Live;

/// Between statistics.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(1);

/// For the last message to be written, and for the engine to end a call.
const FAREWELL: Duration = Duration::from_secs(3);

/// The phone, and everything that the call tells of.
pub(super) struct Desk<'a> {
    phone: Phone,
    phone_open: bool,
    channel_closed: oneshot::Receiver<()>,
    journal: &'a mut Journal,
    live: &'a mut Live,
    stop: Stop,
    args: &'a CallArgs,
    /// When the call must be connected.
    give_up: Option<Instant>,
}

impl<'a> Desk<'a> {
    pub(super) fn open(
        args: &'a CallArgs,
        config: Config,
        journal: &'a mut Journal,
        live: &'a mut Live,
    ) -> Result<Self, Failure> {
        let stop = Stop::new().map_err(|error| Failure::new(Status::Other, error))?;
        let (channel, channel_closed) = Stdio::open();
        let phone =
            Phone::new(channel, config).map_err(|error| Failure::new(Status::Usage, error))?;
        let give_up = args.timeout.map(|timeout| Instant::now() + timeout);
        Ok(Self {
            phone,
            phone_open: true,
            channel_closed,
            journal,
            live,
            stop,
            args,
            give_up,
        })
    }

    /// Calls, and stays until the call is over.
    pub(super) async fn place(&mut self, streams: MediaStreams) -> Result<(), Failure> {
        let placed = self.phone.place(self.media(), streams).await;
        let call = placed.map_err(call_error)?;
        self.live.progress("calling …");
        self.talk(call).await
    }

    /// Waits for an invitation, answers it, and stays until the call is over.
    pub(super) async fn answer(&mut self, streams: MediaStreams) -> Result<(), Failure> {
        self.live.progress("waiting for a call …");
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
                CallMedia::Video => self.media(),
                CallMedia::Audio => CallMedia::Audio,
            };
            let call = incoming.accept(media, streams).await.map_err(call_error)?;
            return self.talk(call).await;
        }
    }

    /// Writes out what is still to be said.
    pub(super) async fn close(self) {
        drop(self.phone);
        // Either way nothing more can be done for it.
        let _ = timeout(FAREWELL, self.channel_closed).await;
    }

    fn media(&self) -> CallMedia {
        if self.args.files.has_video() {
            CallMedia::Video
        } else {
            CallMedia::Audio
        }
    }

    async fn next_incoming(&mut self) -> Result<IncomingCall, Failure> {
        loop {
            let event = tokio::select! {
                event = self.phone.next_event() => event,
                () = until(self.give_up) => return Err(timed_out("no call came")),
                () = self.stop.wanted() => return Err(cancelled()),
            };
            match event {
                Some(PhoneEvent::Incoming(incoming)) => {
                    let media = match incoming.media() {
                        CallMedia::Audio => "audio",
                        CallMedia::Video => "video",
                    };
                    self.journal.write(Event::Incoming {
                        media: media.to_owned(),
                    });
                    self.live.progress(format_args!("incoming {media} call"));
                    return Ok(incoming);
                }
                Some(PhoneEvent::ChannelClosed) | None => {
                    self.on_phone_event(event);
                    return Err(outcome::channel_closed());
                }
                Some(PhoneEvent::Missed { reason, .. }) => {
                    self.on_phone_event(event);
                    if reason != MissedReason::Replaced {
                        return Err(outcome::of_missed(reason));
                    }
                }
                Some(_) => self.on_phone_event(event),
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

    async fn talk(&mut self, mut call: Call) -> Result<(), Failure> {
        let mut course = Course::default();
        loop {
            tokio::select! {
                event = call.next_event() => match event {
                    Some(CallEvent::Ended(ended)) => return self.conclude(&course, &ended),
                    Some(event) => self.on_call_event(&mut course, &event),
                    None => return Err(Failure::new(Status::Other, "the call's engine stopped")),
                },
                event = self.phone.next_event(), if self.phone_open => self.on_phone_event(event),
                () = until(course.statistics_at) => self.tick(&mut course, &call).await,
                () = until(course.hang_up_at) => {
                    course.hang_up_at = None;
                    course.end(&call).await;
                }
                () = until(self.give_up), if course.connected.is_none() => {
                    self.give_up = None;
                    course.gave_up = Some(timed_out("the call was not connected"));
                    course.end(&call).await;
                }
                () = self.stop.wanted() => course.end(&call).await,
                () = until(course.over_by) => {
                    return Err(Failure::new(Status::Other, "the call did not end"));
                }
            }
        }
    }

    fn on_call_event(&mut self, course: &mut Course, event: &CallEvent) {
        let (event, text) = match event {
            CallEvent::Ringing => (Event::Ringing, "ringing …".to_owned()),
            CallEvent::Superseded { .. } => (
                Event::Superseded,
                "the peer called at the same time: taking that call".to_owned(),
            ),
            CallEvent::Connecting => (Event::Connecting, "connecting …".to_owned()),
            CallEvent::Connected { srtp_profile } => {
                let now = Instant::now();
                course.connected = Some(now);
                course.statistics_at = Some(now + STATISTICS_INTERVAL);
                course.hang_up_at = self.args.seconds.map(|seconds| now + seconds);
                let srtp_profile = srtp_profile.name().to_owned();
                let text = format!("connected: {srtp_profile}");
                (Event::Connected { srtp_profile }, text)
            }
            CallEvent::Interrupted => (Event::Interrupted, "connection lost, waiting …".to_owned()),
            CallEvent::Resumed => (Event::Resumed, "connection is back".to_owned()),
            _ => return,
        };
        self.journal.write(event);
        self.live.progress(text);
    }

    fn on_phone_event(&mut self, event: Option<PhoneEvent>) {
        match event {
            Some(PhoneEvent::BadMessage(detail)) => {
                self.live
                    .say(format_args!("sotto: a message can't be read: {detail}"));
                self.journal.write(Event::BadMessage { detail });
            }
            Some(PhoneEvent::Missed { reason, .. }) => {
                let reason = outcome::missed_name(reason).to_owned();
                self.journal.write(Event::Missed { reason });
            }
            Some(PhoneEvent::ChannelClosed) => {
                self.phone_open = false;
                self.journal.write(Event::ChannelClosed);
            }
            // A second call is declined by being dropped.
            Some(_) => {}
            None => self.phone_open = false,
        }
    }

    async fn tick(&mut self, course: &mut Course, call: &Call) {
        course.statistics_at = Some(Instant::now() + STATISTICS_INTERVAL);
        let Some(statistics) = call.statistics().await else {
            return;
        };
        let figures = Figures::new(&statistics, false);
        self.journal
            .write(Event::Statistics(Box::new(figures.clone())));
        let elapsed = course.connected.map(|at| at.elapsed()).unwrap_or_default();
        self.live.show(elapsed, figures);
    }

    fn conclude(&mut self, course: &Course, ended: &Ended) -> Result<(), Failure> {
        if let Some(statistics) = &ended.statistics {
            let figures = Figures::new(statistics, true);
            self.journal.write(Event::Statistics(Box::new(figures)));
        }
        let reason = outcome::end_name(ended.reason).to_owned();
        self.journal.write(Event::Ended {
            reason,
            detail: ended.detail.clone(),
        });
        let result = match &course.gave_up {
            Some(failure) => Err(failure.clone()),
            None => outcome::of_ended(ended, course.connected.is_some()),
        };
        if result.is_ok() {
            self.live.progress("the call has ended");
        }
        result
    }
}

/// How far a call has come.
#[derive(Default)]
struct Course {
    connected: Option<Instant>,
    statistics_at: Option<Instant>,
    hang_up_at: Option<Instant>,
    /// It was hung up, so that its end must come until then.
    over_by: Option<Instant>,
    /// Why this side hung up, where that is not what the user wanted.
    gave_up: Option<Failure>,
}

impl Course {
    async fn end(&mut self, call: &Call) {
        self.over_by.get_or_insert(Instant::now() + FAREWELL);
        call.hang_up();
    }
}

/// Signals by which the system or the user ends the program.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Cancel-safe.
    async fn wanted(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

fn timed_out(what: &str) -> Failure {
    Failure::new(
        Status::Timeout,
        format_args!("timeout: {what} in the time given by --timeout"),
    )
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
