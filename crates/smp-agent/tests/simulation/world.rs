//! Virtual time: an agenda ordered by it, agents, relays, and the network between them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use rand::RngExt;
use rand::rngs::StdRng;
use smp_protocol::{RecipientId, RelayAddress};

use crate::agent::{Agent, Failing};
use crate::faults::{Fate, Fault, Faults};
use crate::relay::{Delivery, Relay};
use crate::scenario::{Action, Scenario};
use crate::{
    Core, CoreConfig, CoreError, Failure, Output, Reply, Request, StoreError, Ticket, Timestamp,
};

/// The time at which every run begins, in milliseconds.
pub(crate) const START: i64 = 1_700_000_000_000;
pub(crate) const SECOND: i64 = 1_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// More things than this never happen in one run.
const MAX_STEPS: u64 = 12_000;

/// Nothing that is under way pauses longer than this, clocks that go back included.
const QUIET: i64 = 2 * HOUR + 10 * MINUTE;

pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) rng: StdRng,
    agenda: BTreeMap<(i64, u64), What>,
    number: u64,
    pub(crate) sessions: u64,
    pub(crate) agents: Vec<Agent>,
    pub(crate) relays: Vec<Relay>,
    pub(crate) faults: Faults,
    pub(crate) scenario: Scenario,
    /// The link that everyone uses, once somebody has it.
    pub(crate) link: Option<String>,
    /// How many messages were written.
    pub(crate) bodies: u64,
    pub(crate) trace: Trace,
    pub(crate) stats: Stats,
}

/// The last things that happened.
#[derive(Clone)]
pub(crate) struct Trace {
    lines: Rc<RefCell<VecDeque<String>>>,
    most: usize,
}

impl Trace {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            lines: Rc::default(),
            most,
        }
    }

    pub(crate) fn lines(&self) -> String {
        let lines = self.lines.borrow();
        lines
            .iter()
            .fold(String::new(), |all, line| all + line + "\n")
    }
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) steps: u64,
    pub(crate) crashes: u64,
    pub(crate) unreachable: u64,
    pub(crate) connected: u64,
    pub(crate) messages: u64,
    pub(crate) told: u64,
    pub(crate) full_queues: u64,
    pub(crate) lies: u64,
    pub(crate) lost_queues: u64,
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.crashes += other.crashes;
        self.unreachable += other.unreachable;
        self.connected += other.connected;
        self.messages += other.messages;
        self.told += other.told;
        self.full_queues += other.full_queues;
        self.lies += other.lies;
        self.lost_queues += other.lost_queues;
    }
}

/// A relay, and a queue there by the id of its recipient.
pub(crate) type Place = (usize, Vec<u8>);

/// What is on the agenda.
pub(crate) enum What {
    Arrives {
        agent: usize,
        epoch: u64,
        session: Option<u64>,
        relay: usize,
        ticket: Ticket,
        request: Request,
        fate: Fate,
    },
    Outcome {
        agent: usize,
        epoch: u64,
        ticket: Ticket,
        outcome: Result<Reply, Failure>,
        created: Option<Place>,
    },
    Subscribe {
        agent: usize,
        relay: usize,
        session: u64,
        recipient: RecipientId,
    },
    Lost {
        agent: usize,
        epoch: u64,
        relay: usize,
        recipient: RecipientId,
    },
    Deliver {
        relay: usize,
        delivery: Delivery,
    },
    Reconnect {
        agent: usize,
        relay: usize,
    },
    Timeout {
        agent: usize,
        epoch: u64,
    },
    Take {
        agent: usize,
        epoch: u64,
    },
    Act {
        agent: usize,
        action: Action,
        tries: u32,
    },
    Fault(Fault),
}

impl World {
    pub(crate) fn new(
        mut rng: StdRng,
        addresses: &[RelayAddress],
        scenario: Scenario,
        faults: Faults,
        trace: Trace,
    ) -> Self {
        let relays = addresses
            .iter()
            .map(|address| Relay::new(address.clone(), rng.random_range(2..9)))
            .collect();
        let agents = scenario.post_quantum.iter().map(|post_quantum| {
            let config = CoreConfig {
                relays: addresses.to_vec(),
                others: Vec::new(),
                post_quantum: *post_quantum,
                rotate_after: None,
            };
            Agent::new(config, addresses.len())
        });
        let agents = agents.collect();
        let mut world = Self {
            now: START,
            rng,
            agenda: BTreeMap::new(),
            number: 0,
            sessions: 0,
            agents,
            relays,
            faults,
            scenario,
            link: None,
            bodies: 0,
            trace,
            stats: Stats::default(),
        };
        for agent in 0..world.agents.len() {
            world.restart(agent);
        }
        world
    }

    pub(crate) fn after(&mut self, delay: i64, what: What) {
        self.number += 1;
        self.agenda.insert((self.now + delay, self.number), what);
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let mut lines = self.trace.lines.borrow_mut();
        if lines.len() == self.trace.most {
            lines.pop_front();
        }
        let seconds = (self.now - START) as f64 / 1000.0;
        lines.push_back(format!("{seconds:>12.3} {}", line()));
    }

    /// Lets things happen until then.
    pub(crate) fn run(&mut self, until: i64) {
        while self.next_at().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now = until;
    }

    /// Lets things happen until nothing does for hours but what the cores do by themselves every
    /// hour. Returns whether that came to be in time.
    pub(crate) fn rest(&mut self, within: i64) -> bool {
        let end = self.now + within;
        let mut quiet_since = self.now;
        while let Some(at) = self.next_at() {
            if at > quiet_since + QUIET {
                return true;
            }
            if at > end {
                return false;
            }
            if !self.step() {
                quiet_since = self.now;
            }
        }
        true
    }

    pub(crate) fn next_at(&self) -> Option<i64> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// One thing. Returns whether it was a timeout.
    pub(crate) fn step(&mut self) -> bool {
        let Some(((at, _), what)) = self.agenda.pop_first() else {
            return true;
        };
        self.now = self.now.max(at);
        self.stats.steps += 1;
        assert!(self.stats.steps < MAX_STEPS, "it never ends");
        let is_timeout = matches!(what, What::Timeout { .. });
        self.happen(what);
        is_timeout
    }

    pub(crate) fn happen(&mut self, what: What) {
        if let Some(agent) = what.wakes()
            && self.agents[agent].asleep > self.now
        {
            self.after(self.agents[agent].asleep - self.now, what);
            return;
        }
        match what {
            What::Arrives {
                agent,
                epoch,
                session,
                relay,
                ticket,
                request,
                fate,
            } => {
                let (outcome, created) = self.serve(agent, session, relay, &request, fate);
                let delay = self.delay();
                self.after(
                    delay,
                    What::Outcome {
                        agent,
                        epoch,
                        ticket,
                        outcome,
                        created,
                    },
                );
            }
            What::Outcome {
                agent,
                epoch,
                ticket,
                outcome,
                created,
            } => self.outcome(agent, epoch, ticket, outcome, created),
            What::Subscribe {
                agent,
                relay,
                session,
                recipient,
            } => self.subscribe(agent, relay, session, &recipient),
            What::Lost {
                agent,
                epoch,
                relay,
                recipient,
            } => {
                if self.agents[agent].epoch == epoch && self.agents[agent].wants(relay, &recipient)
                {
                    self.stats.lost_queues += 1;
                    let address = self.relays[relay].address.clone();
                    self.input(agent, "queue lost", |core, now| {
                        core.handle_queue_lost(&address, &recipient, now)
                    });
                }
            }
            What::Deliver { relay, delivery } => self.delivered(relay, delivery),
            What::Reconnect { agent, relay } => self.reconnect(agent, relay),
            What::Timeout { agent, epoch } => {
                if self.agents[agent].epoch == epoch {
                    self.agents[agent].timer = None;
                    let now = self.agents[agent].time(self.now);
                    let core = self.agents[agent].core.as_ref();
                    if core.is_some_and(|core| core.next_timeout() <= now) {
                        self.input(agent, "timeout", Core::handle_timeout);
                    } else {
                        self.set_timer(agent);
                    }
                }
            }
            What::Take { agent, epoch } => {
                if self.agents[agent].epoch == epoch {
                    self.agents[agent].takes = false;
                    self.take_events(agent);
                }
            }
            What::Act {
                agent,
                action,
                tries,
            } => self.act(agent, action, tries),
            What::Fault(fault) => self.fault(fault),
        }
    }

    /// An input of a core, with what follows from it.
    pub(crate) fn input<T>(
        &mut self,
        agent: usize,
        name: &str,
        f: impl FnOnce(&mut Core, Timestamp) -> Result<T, CoreError>,
    ) -> Option<Result<T, CoreError>> {
        let now = self.agents[agent].time(self.now);
        let core = self.agents[agent].core.as_mut()?;
        let result = f(core, now);
        let failing = self.writes_fail(agent);
        let lost = std::mem::take(&mut self.agents[agent].loses_outputs);
        if lost || failing == Some(Failing::Crash) {
            self.note(|| format!("agent {agent} crashes in {name}"));
            self.crash(agent);
            return match result {
                // Who was about to say so is gone, but it is so.
                Ok(value) => Some(Ok(value)),
                Err(error) if is_storage(&error) => None,
                Err(error) => Some(Err(error)),
            };
        }
        if let Err(error) = &result {
            let expected = failing == Some(Failing::Full) && is_storage(error);
            if !matches!(error, CoreError::NotConnected) {
                self.note(|| format!("agent {agent}: {name}: {error}"));
            }
            assert!(expected || !is_storage(error), "{name}: {error}");
        }
        self.take_outputs(agent);
        self.set_timer(agent);
        Some(result)
    }

    /// An input that nothing but a failing store refuses.
    pub(crate) fn must(
        &mut self,
        agent: usize,
        name: &str,
        f: impl FnOnce(&mut Core, Timestamp) -> Result<(), CoreError>,
    ) {
        if let Some(Err(error)) = self.input(agent, name, f) {
            assert!(is_storage(&error), "{name}: {error}");
        }
    }

    /// Whether writes fail by now.
    pub(crate) fn writes_fail(&mut self, agent: usize) -> Option<Failing> {
        let failing = self.agents[agent].armed?;
        let core = self.agents[agent].core.as_mut()?;
        let probe = core
            .store()
            .transaction(|tx| tx.set_setting("probe", Some(b"1")));
        match probe {
            Ok(()) => None,
            Err(StoreError::Crashed | StoreError::Undone) => Some(failing),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn take_outputs(&mut self, agent: usize) {
        while let Some(output) = self.agents[agent].core.as_mut().and_then(Core::poll_output) {
            match output {
                Output::Request {
                    ticket,
                    relay,
                    request,
                } => {
                    let relay = self.relay_at(&relay);
                    self.request(agent, ticket, relay, request);
                }
                Output::Subscribe {
                    relay,
                    recipient,
                    key,
                } => {
                    let relay = self.relay_at(&relay);
                    let place = (relay, recipient.as_bytes().to_vec());
                    self.agents[agent].wanted.insert(place, key);
                    self.want(agent, relay, recipient);
                }
                Output::Unsubscribe { relay, recipient } => {
                    let relay = self.relay_at(&relay);
                    let place = (relay, recipient.as_bytes().to_vec());
                    self.agents[agent].wanted.remove(&place);
                }
                Output::Events => self.tell(agent),
                Output::Notice(notice) => self.note(|| format!("agent {agent}: {notice:?}")),
                other => unreachable!("an output that this driver does not know: {other:?}"),
            }
        }
    }

    pub(crate) fn set_timer(&mut self, agent: usize) {
        let Some(core) = &self.agents[agent].core else {
            return;
        };
        let due = core.next_timeout();
        let at = (due.0 - self.agents[agent].clock).max(self.now);
        if self.agents[agent].timer.is_none_or(|timer| at < timer) {
            self.agents[agent].timer = Some(at);
            let epoch = self.agents[agent].epoch;
            self.after(at - self.now, What::Timeout { agent, epoch });
        }
    }

    pub(crate) fn tell(&mut self, agent: usize) {
        if !std::mem::replace(&mut self.agents[agent].takes, true) {
            let delay = self.delay();
            let epoch = self.agents[agent].epoch;
            self.after(delay, What::Take { agent, epoch });
        }
    }
}

impl What {
    /// The agent that has to be awake for it.
    fn wakes(&self) -> Option<usize> {
        match self {
            Self::Outcome { agent, .. }
            | Self::Lost { agent, .. }
            | Self::Timeout { agent, .. }
            | Self::Take { agent, .. }
            | Self::Reconnect { agent, .. }
            | Self::Act { agent, .. } => Some(*agent),
            _ => None,
        }
    }
}

pub(crate) fn is_storage(error: &CoreError) -> bool {
    matches!(
        error,
        CoreError::Store(StoreError::Crashed | StoreError::Undone)
    )
}
