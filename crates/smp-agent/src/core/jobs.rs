//! Work at relays: what is under way, and what waits.
//!
//! A job is a name for work that follows from the store. Starting one reads the store; if there is
//! nothing to do any more, it is forgotten. So none of this has to survive a crash.

use std::collections::HashMap;

use smp_protocol::{ErrorType, MessageId};

use super::limits::{FIRST_PAUSE, LONGEST_PAUSE};
use super::output::{Failure, Ticket};
use crate::model::{ConnectionId, OutgoingId, QueueLink, ReceiveQueueId, SendQueueId, Timestamp};

/// Work at a relay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Job {
    /// Create a receive queue.
    Create(ReceiveQueueId),
    /// Tell its relay the sender's key.
    SecureReceive(ReceiveQueueId),
    /// Change the data of its link.
    SetLink(ReceiveQueueId),
    /// Delete it.
    Delete(ReceiveQueueId),
    /// Acknowledge a message of it.
    Acknowledge(ReceiveQueueId, MessageId),
    /// Read the data of the short link that a connection begins with.
    Resolve(ConnectionId),
    /// Secure a send queue, and send what waits there.
    Send(SendQueueId),
}

/// What a request that is under way is for, as far as the store does not say it.
#[derive(Debug)]
pub(crate) enum Pending {
    /// A queue, with the link that it gets.
    Created(Option<QueueLink>),
    /// The sender's key of a receive queue.
    Secured,
    /// The data of a link.
    LinkSet,
    /// A deleted queue.
    Deleted,
    /// An acknowledged message.
    Acknowledged,
    /// The data of a link.
    Resolved,
    /// This sender's key.
    SenderSecure,
    /// A message, through this queue; it may belong to another by now.
    Sent(OutgoingId, SendQueueId),
}

/// What becomes of a job after its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is done.
    Done,
    /// It is tried again after a pause that grows.
    Later,
    /// It is tried again after so many milliseconds.
    After(i64),
}

/// What a relay's refusal means for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It may go well later.
    Later,
    /// The queue is full.
    Full,
    /// There is no such queue, or it is another's.
    Gone,
    /// It will never go well.
    Never,
}

impl Refusal {
    pub(crate) fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Unreachable(_) => Self::Later,
            Failure::TooOld => Self::Never,
            Failure::Refused(error) => match error {
                ErrorType::Quota => Self::Full,
                ErrorType::Auth | ErrorType::Blocked(_) => Self::Gone,
                ErrorType::Internal
                | ErrorType::Store(_)
                | ErrorType::Session
                | ErrorType::Expired
                | ErrorType::Proxy(_)
                | ErrorType::Service => Self::Later,
                _ => Self::Never,
            },
        }
    }
}

/// All jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    states: HashMap<Job, State>,
    under_way: HashMap<Ticket, (Job, Pending)>,
    tickets: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A request is under way; `again`: there may be more to do after it.
    UnderWay { attempt: u32, again: bool },
    /// It waits.
    Waiting { until: Timestamp, attempt: u32 },
}

impl Jobs {
    /// There is work, or may be. Returns whether it should start now.
    pub(crate) fn add(&mut self, job: &Job, hurry: bool) -> bool {
        match self.states.get_mut(job) {
            Some(State::UnderWay { again, .. }) => {
                *again = true;
                false
            }
            Some(State::Waiting { .. }) => hurry,
            None => true,
        }
    }

    /// Whether no request of it is under way.
    pub(crate) fn may_start(&self, job: &Job) -> bool {
        !matches!(self.states.get(job), Some(State::UnderWay { .. }))
    }

    /// It could not start: it waits.
    pub(crate) fn postpone(&mut self, job: Job, until: Timestamp) {
        let attempt = 0;
        self.states.insert(job, State::Waiting { until, attempt });
    }

    /// A job's request goes out.
    pub(crate) fn start(&mut self, job: Job, pending: Pending) -> Ticket {
        let attempt = match self.states.get(&job) {
            Some(State::Waiting { attempt, .. } | State::UnderWay { attempt, .. }) => *attempt,
            None => 0,
        };
        let again = false;
        self.states
            .insert(job.clone(), State::UnderWay { attempt, again });
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.under_way.insert(ticket, (job, pending));
        ticket
    }

    /// There is nothing to do.
    pub(crate) fn forget(&mut self, job: &Job) {
        self.states.remove(job);
    }

    /// The request that has an outcome now.
    pub(crate) fn outcome(&mut self, ticket: Ticket) -> Option<(Job, Pending)> {
        self.under_way.remove(&ticket)
    }

    /// A request is over. Returns whether there may be more to do at once.
    pub(crate) fn finish(&mut self, job: &Job, next: Next, now: Timestamp) -> bool {
        let Some(State::UnderWay { attempt, again }) = self.states.get(job).copied() else {
            return false;
        };
        let pause = match next {
            Next::Done => {
                self.states.remove(job);
                return again;
            }
            Next::After(pause) => pause,
            Next::Later => pause_after(attempt),
        };
        let until = now.plus(pause);
        let attempt = attempt + 1;
        self.states
            .insert(job.clone(), State::Waiting { until, attempt });
        false
    }

    /// The jobs whose pause is over.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<Job> {
        let mut due: Vec<_> = self
            .states
            .iter()
            .filter(|(_, state)| matches!(state, State::Waiting { until, .. } if *until <= now))
            .map(|(job, _)| job.clone())
            .collect();
        due.sort();
        due
    }

    /// All jobs that wait.
    pub(crate) fn waiting(&self) -> Vec<Job> {
        self.due(Timestamp(i64::MAX))
    }

    /// When the next pause ends.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let waiting = self.states.values().filter_map(|state| match state {
            State::Waiting { until, .. } => Some(*until),
            State::UnderWay { .. } => None,
        });
        waiting.min()
    }

    /// How many requests are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }
}

fn pause_after(attempt: u32) -> i64 {
    FIRST_PAUSE
        .saturating_mul(1_i64 << attempt.min(16))
        .min(LONGEST_PAUSE)
}
