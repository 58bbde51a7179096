//! What a command says: to people, or one JSON object a line.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::clock::{Clock, unix_ms};
use crate::context::Context;
use crate::events::{Event, Figures, Journal};
use crate::failure::Failure;
use crate::live::Live;

/// Standard output and standard error of a command.
///
/// For people, answers go to standard output, and what happens on the way to standard error. With
/// `--json` standard output has one JSON object a line, and standard error failures alone.
pub(crate) struct Out {
    journal: Journal,
    live: Live,
    json: bool,
    /// What need not be said again.
    told: HashSet<String>,
}

impl Out {
    pub(crate) fn new(context: &Context) -> Self {
        let live = Live::new(false);
        if context.json() {
            return Self {
                journal: Journal::to_output(context.clock()),
                live: live.without_figures(),
                json: true,
                told: HashSet::new(),
            };
        }
        Self {
            journal: Journal::none(context.clock()),
            live,
            json: false,
            told: HashSet::new(),
        }
    }

    /// For calls: events may go to a file as well. Begins with the first of them.
    pub(crate) fn with_events(events: Option<&Path>, context: &Context) -> Result<Self, Failure> {
        let mut out = Self::new(context);
        if events.is_some() {
            if context.json() {
                return Err(Failure::usage(
                    "--events and --json tell the same: choose one",
                ));
            }
            out.journal = Journal::open(events, context.clock())?;
        }
        if events == Some(Path::new("-")) {
            out.live = out.live.without_figures();
        }
        out.record(Event::Started {
            unix_ms: unix_ms(Instant::now()),
        });
        Ok(out)
    }

    /// Says nothing.
    pub(crate) fn silent(clock: Clock) -> Self {
        Self {
            journal: Journal::none(clock),
            live: Live::new(false).without_figures(),
            json: true,
            told: HashSet::new(),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// For programs alone.
    pub(crate) fn record(&mut self, event: Event) {
        self.journal.write(event);
    }

    /// The last event: how the command ends.
    pub(crate) fn record_exit(&mut self, result: &Result<(), Failure>) {
        self.record(match result {
            Ok(()) => Event::Exit {
                status: 0,
                message: None,
            },
            Err(failure) => Event::Exit {
                status: failure.status as u8,
                message: Some(failure.to_string()),
            },
        });
    }

    /// What happens on the way.
    pub(crate) fn tell(&mut self, event: Event, text: impl fmt::Display) {
        self.record(event);
        self.say(text);
    }

    /// What happens on the way again and again; people are told once.
    pub(crate) fn tell_once(&mut self, event: Event, text: String) {
        self.record(event);
        if !self.told.contains(&text) {
            self.say(&text);
            self.told.insert(text);
        }
    }

    /// What was told once may be told again.
    pub(crate) fn forget(&mut self) {
        self.told.clear();
    }

    /// What happens on the way, and is of interest to whoever watches.
    pub(crate) fn progress(&mut self, event: Event, text: impl fmt::Display) {
        self.record(event);
        self.live.progress(text);
    }

    /// What the command is for.
    pub(crate) fn answer(&mut self, event: Event, text: impl fmt::Display) {
        self.record(event);
        self.print(text);
    }

    /// For people alone, on the way.
    pub(crate) fn say(&mut self, text: impl fmt::Display) {
        if !self.json {
            self.live.say(text);
        }
    }

    /// For people alone, while they watch.
    pub(crate) fn hint(&mut self, text: impl fmt::Display) {
        self.live.progress(text);
    }

    /// For people alone, as the command's answer.
    pub(crate) fn print(&mut self, text: impl fmt::Display) {
        if !self.json {
            self.live.clear();
            // Whoever does not read it does not want it.
            let _ = writeln!(io::stdout().lock(), "{text}");
        }
    }

    /// How a call is doing.
    pub(crate) fn figures(&mut self, elapsed: Duration, figures: Figures) {
        self.record(Event::Statistics(Box::new(figures.clone())));
        self.live.show(elapsed, figures);
    }
}
