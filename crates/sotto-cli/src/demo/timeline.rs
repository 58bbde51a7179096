//! How a call over message relays came about, step by step.

use std::time::Instant;

use serde::Serialize;

use super::conduct::Side;
use crate::clock::milliseconds;
use crate::events::Event;

/// The steps, one behind the other.
#[derive(Debug)]
pub(super) struct Timeline {
    started: Instant,
    pub(super) relays: u8,
    /// Whether both sides said that their connection is post-quantum.
    pub(super) post_quantum: bool,
    pub(super) steps: Vec<Step>,
    called: Option<f64>,
    accepted: Option<f64>,
    /// From the call's invitation until the callee's device rings.
    pub(super) call_to_ring_ms: Option<f64>,
}

/// One step. Times are in milliseconds since the demo began.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    /// What was done at its end.
    pub(super) step: String,
    /// Who did it; `None` for both.
    pub(super) side: Option<&'static str>,
    /// When it was done.
    pub(super) at_ms: f64,
    /// How long it took.
    pub(super) took_ms: f64,
}

impl Timeline {
    pub(super) fn start(relays: u8) -> Self {
        Self {
            started: Instant::now(),
            relays,
            post_quantum: false,
            steps: Vec::new(),
            called: None,
            accepted: None,
            call_to_ring_ms: None,
        }
    }

    /// A step is done, which began when the one before it was. Gives a line to show.
    pub(super) fn done(&mut self, side: Option<Side>, step: impl Into<String>) -> String {
        let at_ms = milliseconds(self.started.elapsed());
        let began = self.steps.last().map_or(0.0, |last| last.at_ms);
        self.push(side, step.into(), began, at_ms)
    }

    /// What the processes tell of the call.
    pub(super) fn on_call(&mut self, side: Side, event: &Event) -> Option<String> {
        let now = milliseconds(self.started.elapsed());
        match (side, event) {
            (Side::Caller, Event::Calling { .. }) => {
                self.called = Some(now);
                Some(self.done(Some(side), "calls"))
            }
            (Side::Callee, Event::Incoming { .. }) => {
                let called = self.called?;
                self.call_to_ring_ms = Some(tenth(now - called));
                Some(self.push(Some(side), "rings".to_owned(), called, now))
            }
            (Side::Callee, Event::Connecting) => {
                self.accepted = Some(now);
                Some(self.done(Some(side), "accepts"))
            }
            (Side::Callee, Event::Connected { srtp_profile }) => {
                let accepted = self.accepted?;
                let step = format!("connected, {srtp_profile}");
                Some(self.push(Some(side), step, accepted, now))
            }
            (Side::Callee, Event::Statistics(figures)) => {
                let heard = figures.accept_to_audio_ms?;
                let accepted = self.accepted.take()?;
                let step = "hears the caller".to_owned();
                Some(self.push(Some(side), step, accepted, accepted + heard))
            }
            _ => None,
        }
    }

    fn push(&mut self, side: Option<Side>, step: String, began: f64, at_ms: f64) -> String {
        let step = Step {
            step,
            side: side.map(Side::name),
            at_ms: tenth(at_ms),
            took_ms: tenth(at_ms - began),
        };
        let line = step.line();
        self.steps.push(step);
        line
    }
}

impl Step {
    /// When, how long, who, what.
    pub(super) fn line(&self) -> String {
        format!(
            "{:7.3} s {:>8.1} ms  {}",
            self.at_ms / 1000.0,
            self.took_ms,
            self.text()
        )
    }

    /// Who and what.
    pub(super) fn text(&self) -> String {
        match self.side {
            Some(side) => format!("{side}: {}", self.step),
            None => self.step.clone(),
        }
    }
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Figures;

    fn names(timeline: &Timeline) -> Vec<String> {
        timeline.steps.iter().map(Step::text).collect()
    }

    #[test]
    fn a_call_is_told_from_its_invitation_to_the_first_sound() {
        let mut timeline = Timeline::start(1);
        timeline.done(None, "relay started");
        let calling = Event::Calling {
            contact: "callee".to_owned(),
        };
        let incoming = Event::Incoming {
            media: "audio".to_owned(),
            contact: None,
        };
        let connected = Event::Connected {
            srtp_profile: "GCM".to_owned(),
        };
        let figures = |accept_to_audio_ms| {
            Event::Statistics(Box::new(Figures {
                accept_to_audio_ms,
                ..Figures::default()
            }))
        };
        // It can't ring before somebody calls.
        assert!(timeline.on_call(Side::Callee, &incoming).is_none());
        for (side, event) in [
            (Side::Caller, calling),
            (Side::Callee, incoming),
            (Side::Callee, Event::Connecting),
            (Side::Caller, Event::Connecting),
            (Side::Callee, connected),
            (Side::Callee, figures(None)),
            (Side::Callee, figures(Some(50.0))),
            (Side::Callee, figures(Some(50.0))),
        ] {
            timeline.on_call(side, &event);
        }
        let expected = [
            "relay started",
            "caller: calls",
            "callee: rings",
            "callee: accepts",
            "callee: connected, GCM",
            "callee: hears the caller",
        ];
        assert_eq!(names(&timeline), expected);
        assert_eq!(timeline.steps.last().map(|step| step.took_ms), Some(50.0));
        assert!(timeline.call_to_ring_ms.is_some());
    }
}
