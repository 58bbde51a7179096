//! What is known of one queue from outside, and what follows from it for the relay.
//!
//! One sender and one recipient use the queue. Each writes down what it is about to do, and what
//! the relay answered. Where a connection ended before the answer it is unknown whether the relay
//! did it, and both are allowed until something decides it.

use smp_protocol::MessageId;

use crate::DAY;
use crate::support::Opened;

/// Upkeep looks for old messages each hour.
const UPKEEP: u64 = 3600;

/// For the few seconds between a clock's two readings.
const LEEWAY: u64 = 5;

/// Everything that happened to a queue.
pub(crate) struct Ledger {
    quota: usize,
    entries: Vec<Entry>,
    marker: Option<Marker>,
    markers: u64,
    /// Of the last message that was answered by OK: then the queue was not full.
    last_accepted: Option<usize>,
    /// Messages that had been sent when a marker was acknowledged last.
    sent_before_ack: usize,
}

/// A message.
struct Entry {
    fate: Fate,
    deletion: Deletion,
    sent: u64,
    id: Option<MessageId>,
    /// Whether the queue may have been full when it was sent.
    may_be_refused: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    /// SEND was sent, and no answer was seen.
    Unknown,
    /// The relay answered OK, or delivered it.
    Accepted,
    /// The relay refused it, or a later one was delivered before it.
    Refused,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Deletion {
    No,
    /// ACK was sent, and no answer was seen.
    Asked,
    /// ACK was answered.
    Done,
}

/// The mark that the queue was full.
struct Marker {
    number: u64,
    /// Whether it is there for sure, unless its deletion was asked for.
    certain: bool,
    since: u64,
    deletion: Deletion,
}

impl Marker {
    fn is_there(&self, now: u64) -> bool {
        self.certain && self.deletion == Deletion::No && !may_expire(self.since, now)
    }
}

/// An ACK or GET on its way.
pub(crate) struct Taking {
    what: Taken,
    /// What was there for sure when it began.
    waiting: Vec<usize>,
    marker: Option<u64>,
}

enum Taken {
    Message(usize),
    Marker(u64),
    Nothing,
}

impl Ledger {
    pub(crate) fn new(quota: usize) -> Self {
        Self {
            quota,
            entries: Vec::new(),
            marker: None,
            markers: 0,
            last_accepted: None,
            sent_before_ack: 0,
        }
    }

    /// How many messages the relay accepted, how many were acknowledged, and how many refused.
    pub(crate) fn counts(&self) -> [usize; 3] {
        let count =
            |wanted: fn(&Entry) -> bool| self.entries.iter().filter(|entry| wanted(entry)).count();
        [
            count(|entry| entry.fate == Fate::Accepted),
            count(|entry| entry.deletion == Deletion::Done),
            count(|entry| entry.fate == Fate::Refused),
        ]
    }

    /// The sender is about to send a message; returns its number.
    pub(crate) fn send_begins(&mut self, now: u64) -> usize {
        let may_be_refused = self.marker.is_some()
            || self.unknown_refusal().is_some()
            || self.at_most(now) >= self.quota;
        let (fate, deletion) = (Fate::Unknown, Deletion::No);
        self.entries.push(Entry {
            fate,
            deletion,
            sent: now,
            id: None,
            may_be_refused,
        });
        self.entries.len() - 1
    }

    /// The relay answered OK.
    pub(crate) fn accepted(&mut self, number: usize, now: u64) {
        assert_ne!(
            self.entries[number].fate,
            Fate::Refused,
            "a later one was delivered before"
        );
        let held = (0..number)
            .filter(|number| self.is_there(*number, now))
            .count();
        assert!(held < self.quota, "accepted with {held} in the queue");
        let full = self
            .marker
            .as_ref()
            .is_some_and(|marker| marker.is_there(now));
        assert!(!full, "accepted before the quota marker was received");
        self.entries[number].fate = Fate::Accepted;
        self.last_accepted = Some(number);
        self.marker = None;
    }

    /// The relay answered QUOTA.
    pub(crate) fn over_quota(&mut self, number: usize, now: u64) {
        let entry = &mut self.entries[number];
        assert!(entry.may_be_refused, "QUOTA for a queue with room");
        assert_ne!(entry.fate, Fate::Accepted, "it was delivered");
        entry.fate = Fate::Refused;
        match &mut self.marker {
            Some(marker) => marker.certain |= marker.deletion == Deletion::No,
            // Else that marker has come and gone before this answer was read.
            None if number >= self.sent_before_ack => self.mark(now),
            None => {}
        }
    }

    fn mark(&mut self, now: u64) {
        self.markers += 1;
        self.marker = Some(Marker {
            number: self.markers,
            certain: true,
            since: self.unknown_refusal().unwrap_or(now),
            deletion: Deletion::No,
        });
    }

    /// When a message was sent first that may have been refused without anyone knowing, so that
    /// there may be a marker.
    fn unknown_refusal(&self) -> Option<u64> {
        let begin = self.last_accepted.map_or(0, |number| number + 1);
        let unknown = |entry: &&Entry| entry.may_be_refused && entry.fate != Fate::Accepted;
        self.entries[begin..]
            .iter()
            .find(unknown)
            .map(|entry| entry.sent)
    }

    /// The relay delivered a message with this number; `at` is when, if that is known.
    pub(crate) fn delivered(&mut self, number: usize, message: &Opened, at: Option<u64>, now: u64) {
        let [earlier @ .., entry] = &mut self.entries[..=number] else {
            unreachable!("there is an entry");
        };
        assert_ne!(
            entry.fate,
            Fate::Refused,
            "message {number} was refused or left out"
        );
        assert_ne!(
            entry.deletion,
            Deletion::Done,
            "message {number} after its ACK was answered"
        );
        match entry.id {
            None => entry.id = Some(message.id),
            Some(id) => assert!(id == message.id, "message {number} has another id now"),
        }
        let received = u64::try_from(message.timestamp).unwrap();
        assert!((entry.sent..=now).contains(&received), "a wrong timestamp");
        let expired = at.is_some_and(|at| has_expired(received, at));
        assert!(!expired, "message {number} should have expired");
        entry.fate = Fate::Accepted;
        for (before, entry) in earlier.iter_mut().enumerate() {
            if entry.deletion != Deletion::No || may_expire(entry.sent, now) {
                continue;
            }
            assert_ne!(
                entry.fate,
                Fate::Accepted,
                "message {number} came before {before}"
            );
            entry.fate = Fate::Refused;
        }
    }

    /// The relay delivered the quota marker.
    pub(crate) fn marker_delivered(&mut self, now: u64) {
        let there = |entry: &Entry| {
            entry.fate == Fate::Accepted
                && entry.deletion == Deletion::No
                && !may_expire(entry.sent, now)
        };
        assert!(
            !self.entries.iter().any(there),
            "the marker came before a message"
        );
        match &mut self.marker {
            Some(marker) => marker.certain |= marker.deletion == Deletion::No,
            None => {
                assert!(
                    self.unknown_refusal().is_some(),
                    "a marker of a queue that had room"
                );
                self.mark(now);
            }
        }
    }

    /// The recipient is about to acknowledge a message, or the marker.
    pub(crate) fn ack_begins(&mut self, number: Option<usize>, now: u64) -> Taking {
        let what = match number {
            Some(number) => {
                self.entries[number].deletion = Deletion::Asked;
                Taken::Message(number)
            }
            None => match &mut self.marker {
                Some(marker) => {
                    self.sent_before_ack = self.entries.len();
                    marker.deletion = Deletion::Asked;
                    Taken::Marker(marker.number)
                }
                None => Taken::Nothing,
            },
        };
        Taking {
            what,
            ..self.get_begins(now)
        }
    }

    /// The recipient is about to ask for a message.
    pub(crate) fn get_begins(&mut self, now: u64) -> Taking {
        let waiting = (0..self.entries.len()).filter(|number| self.is_there(*number, now));
        let marker = self.marker.as_ref().filter(|marker| marker.is_there(now));
        let marker = marker.map(|marker| marker.number);
        Taking {
            what: Taken::Nothing,
            waiting: waiting.collect(),
            marker,
        }
    }

    /// ACK was answered.
    pub(crate) fn acknowledged(&mut self, taking: &Taking) {
        match taking.what {
            Taken::Message(number) => self.entries[number].deletion = Deletion::Done,
            Taken::Marker(number) => {
                self.marker.take_if(|marker| marker.number == number);
            }
            Taken::Nothing => {}
        }
    }

    /// The relay said that there is nothing more.
    pub(crate) fn was_empty(&self, taking: &Taking, now: u64) {
        for number in &taking.waiting {
            assert!(
                !self.is_there(*number, now),
                "message {number} is there and was not given"
            );
        }
        if let (Some(number), Some(marker)) = (taking.marker, &self.marker) {
            let there = marker.number == number && marker.is_there(now);
            assert!(!there, "the marker is there and was not given");
        }
    }

    /// Nothing came to a subscriber for a while: nothing may wait that came before `since`.
    pub(crate) fn was_quiet(&self, since: u64, now: u64) {
        for (number, entry) in self.entries.iter().enumerate() {
            let waits = self.is_there(number, now) && entry.sent < since;
            assert!(
                !waits,
                "message {number} waits and its subscriber was not told"
            );
        }
    }

    /// Whether a message is in the queue for sure.
    fn is_there(&self, number: usize, now: u64) -> bool {
        let entry = &self.entries[number];
        entry.fate == Fate::Accepted
            && entry.deletion == Deletion::No
            && !may_expire(entry.sent, now)
    }

    /// How many messages there may be.
    fn at_most(&self, now: u64) -> usize {
        let may_be_there = |entry: &&Entry| {
            entry.fate != Fate::Refused
                && entry.deletion != Deletion::Done
                && !has_expired(entry.sent, now)
        };
        self.entries.iter().filter(may_be_there).count()
    }
}

fn may_expire(sent: u64, now: u64) -> bool {
    now.saturating_sub(sent) + LEEWAY > DAY
}

fn has_expired(sent: u64, now: u64) -> bool {
    now.saturating_sub(sent) > DAY + UPKEEP + LEEWAY
}
