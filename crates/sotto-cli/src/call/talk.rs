//! A call from its first event to its end, whatever carries its signalling.

use std::time::Duration;

use sotto::{Call, CallEvent, Ended};
use tokio::time::Instant;

use super::outcome;
use crate::events::{Event, Figures};
use crate::failure::{Failure, Status};
use crate::out::Out;
use crate::stop::{Stop, until};

/// Between statistics.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(1);

/// For the engine to end a call.
pub(crate) const FAREWELL: Duration = Duration::from_secs(3);

/// What goes on beside a call and is not part of it.
pub(crate) trait Beside {
    /// What happens.
    type Event;

    /// Waits for the next. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Self::Event>;

    /// Deals with it.
    fn handle(&mut self, event: Self::Event, out: &mut Out) -> impl Future<Output = ()>;
}

/// What a call is told to and ended by.
pub(crate) struct Talk<'a> {
    pub(crate) out: &'a mut Out,
    pub(crate) stop: &'a mut Stop,
    /// How long it lasts once it is connected.
    pub(crate) length: Option<Duration>,
    /// When it must be connected.
    pub(crate) give_up: Option<Instant>,
    /// When it is hung up, connected or not.
    pub(crate) end_at: Option<Instant>,
}

impl Talk<'_> {
    /// Stays until the call is over.
    pub(crate) async fn run(
        mut self,
        mut call: Call,
        beside: &mut impl Beside,
    ) -> Result<(), Failure> {
        let mut course = Course {
            hang_up_at: self.end_at,
            ..Course::default()
        };
        loop {
            tokio::select! {
                event = call.next_event() => match event {
                    Some(CallEvent::Ended(ended)) => return self.conclude(&course, &ended),
                    Some(event) => self.on_call_event(&mut course, &event),
                    None => return Err(Failure::other("the call's engine stopped")),
                },
                event = beside.next() => beside.handle(event, self.out).await,
                () = until(course.statistics_at) => self.tick(&mut course, &call).await,
                () = until(course.hang_up_at) => {
                    course.hang_up_at = None;
                    course.end(&call);
                }
                () = until(self.give_up), if course.connected.is_none() => {
                    self.give_up = None;
                    course.gave_up = Some(timed_out("the call was not connected"));
                    course.end(&call);
                }
                () = self.stop.wanted() => course.end(&call),
                () = until(course.over_by) => {
                    return Err(Failure::other("the call did not end"));
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
                let length_over = self.length.map(|length| now + length);
                course.hang_up_at = [course.hang_up_at, length_over].into_iter().flatten().min();
                let srtp_profile = srtp_profile.name().to_owned();
                let text = format!("connected: {srtp_profile}");
                (Event::Connected { srtp_profile }, text)
            }
            CallEvent::Interrupted => (Event::Interrupted, "connection lost, waiting …".to_owned()),
            CallEvent::Resumed => (Event::Resumed, "connection is back".to_owned()),
            _ => return,
        };
        self.out.progress(event, text);
    }

    async fn tick(&mut self, course: &mut Course, call: &Call) {
        course.statistics_at = Some(Instant::now() + STATISTICS_INTERVAL);
        let Some(statistics) = call.statistics().await else {
            return;
        };
        let elapsed = course.connected.map(|at| at.elapsed()).unwrap_or_default();
        self.out.figures(elapsed, Figures::new(&statistics, false));
    }

    fn conclude(&mut self, course: &Course, ended: &Ended) -> Result<(), Failure> {
        if let Some(statistics) = &ended.statistics {
            let figures = Figures::new(statistics, true);
            self.out.record(Event::Statistics(Box::new(figures)));
        }
        let reason = outcome::end_name(ended.reason).to_owned();
        self.out.record(Event::Ended {
            reason,
            detail: ended.detail.clone(),
        });
        let result = match &course.gave_up {
            Some(failure) => Err(failure.clone()),
            None => outcome::of_ended(ended, course.connected.is_some()),
        };
        if result.is_ok() {
            self.out.hint("the call has ended");
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
    fn end(&mut self, call: &Call) {
        self.over_by.get_or_insert(Instant::now() + FAREWELL);
        call.hang_up();
    }
}

/// What was to happen did not, in the time given.
pub(crate) fn timed_out(what: &str) -> Failure {
    Failure::new(
        Status::Timeout,
        format_args!("timeout: {what} in the time given by --timeout"),
    )
}
