//! The network between agents and relays: what a driver does with a core's outputs, and how that
//! fails.

use rand::RngExt;
use smp_protocol::{ErrorType, MessageId, RecipientId, RelayAddress};

use crate::faults::{Fate, Fault};
use crate::liar;
use crate::relay::Delivery;
use crate::world::{MINUTE, Place, SECOND, What, World, is_storage};
use crate::{Failure, Reply, Request, Ticket};

impl World {
    pub(crate) fn relay_at(&self, address: &RelayAddress) -> usize {
        let mut relays = self.relays.iter();
        relays.position(|relay| relay.address == *address).unwrap()
    }

    pub(crate) fn request(&mut self, agent: usize, ticket: Ticket, relay: usize, request: Request) {
        self.note(|| format!("agent {agent}: {} to relay {relay}", request.name()));
        let epoch = self.agents[agent].epoch;
        let unreachable = |reason: &str| What::Outcome {
            agent,
            epoch,
            ticket,
            outcome: Err(Failure::Unreachable(reason.to_owned())),
            created: None,
        };
        if !self.relays[relay].up {
            let delay = self.rng.random_range(100..30 * SECOND);
            self.after(delay, unreachable("the relay is away"));
            return;
        }
        let recipients = !request.is_senders();
        if recipients && !self.agents[agent].links[relay].up {
            if self.agents[agent].links[relay].reconnects {
                let delay = self.rng.random_range(SECOND..30 * SECOND);
                self.after(delay, unreachable("no connection"));
                return;
            }
            self.connect(agent, relay);
        }
        let session = recipients.then(|| self.agents[agent].links[relay].session);
        let fate = self.faults.fate(&mut self.rng);
        if recipients && matches!(fate, Fate::LostBefore | Fate::LostAfter) {
            let delay = self.rng.random_range(0..2 * SECOND);
            self.after(delay, What::Fault(Fault::Break(agent, relay)));
        }
        let delay = self.delay();
        self.after(
            delay,
            What::Arrives {
                agent,
                epoch,
                session,
                relay,
                ticket,
                request,
                fate,
            },
        );
    }

    /// A command at its relay.
    pub(crate) fn serve(
        &mut self,
        agent: usize,
        session: Option<u64>,
        relay: usize,
        request: &Request,
        fate: Fate,
    ) -> (Result<Reply, Failure>, Option<Place>) {
        let unreachable = || Failure::Unreachable("lost on the way".to_owned());
        let stale = session.is_some_and(|session| {
            let link = &self.agents[agent].links[relay];
            !link.up || link.session != session
        });
        let never_arrives = stale && self.rng.random_bool(0.5);
        if !self.relays[relay].up || never_arrives || fate == Fate::LostBefore {
            self.stats.unreachable += 1;
            self.note(|| {
                format!(
                    "relay {relay}: {} of agent {agent} never arrives",
                    request.name()
                )
            });
            return (Err(unreachable()), None);
        }
        if let Some(lie) = liar::answer(self, request) {
            self.note(|| format!("relay {relay}: {} of agent {agent}: a lie", request.name()));
            return (lie, None);
        }
        let from = (agent, session.unwrap_or_default());
        let concerned = self.relays[relay].concerns(request);
        let now = self.now;
        let outcome = self.relays[relay].run(request, from, now, &mut self.rng);
        self.note(|| {
            let name = request.name();
            match &outcome {
                Ok(_) => format!("relay {relay}: {name} of agent {agent}, {fate:?}"),
                Err(error) => {
                    format!("relay {relay}: {name} of agent {agent}: {error:?}, {fate:?}")
                }
            }
        });
        if matches!(outcome, Err(Failure::Refused(ErrorType::Quota))) {
            self.stats.full_queues += 1;
        }
        if let Some(queue) = concerned {
            self.deliver(relay, &queue);
        }
        if stale || fate != Fate::Fine {
            self.stats.unreachable += 1;
            return (Err(unreachable()), None);
        }
        let created = match &outcome {
            Ok(Reply::Created(ids)) => Some((relay, ids.recipient_id.as_bytes().to_vec())),
            _ => None,
        };
        (outcome, created)
    }

    pub(crate) fn outcome(
        &mut self,
        agent: usize,
        epoch: u64,
        ticket: Ticket,
        outcome: Result<Reply, Failure>,
        created: Option<Place>,
    ) {
        if self.agents[agent].epoch != epoch {
            return;
        }
        let done = self.input(agent, "outcome", |core, now| {
            core.handle_outcome(ticket, outcome, now)
        });
        match done {
            Some(Ok(())) => {
                let queue = created.and_then(|(relay, id)| self.relays[relay].queues.get_mut(&id));
                if let Some(queue) = queue {
                    queue.known = true;
                }
            }
            Some(Err(error)) => assert!(is_storage(&error), "outcome: {error}"),
            None => {}
        }
    }

    /// Hands out a queue's next message, if somebody listens.
    pub(crate) fn deliver(&mut self, relay: usize, queue: &[u8]) {
        liar::tamper(self, relay, queue);
        if let Some(mut delivery) = self.relays[relay].deliver(queue) {
            liar::flip(self, &mut delivery.body);
            let delay = self.delay();
            self.after(delay, What::Deliver { relay, delivery });
        }
    }

    pub(crate) fn delivered(&mut self, relay: usize, delivery: Delivery) {
        let (agent, session) = delivery.to;
        let link = &self.agents[agent].links[relay];
        if !link.up || link.session != session {
            return;
        }
        if self.agents[agent].asleep > self.now {
            return;
        }
        self.note(|| format!("agent {agent}: a message through relay {relay}"));
        let address = self.relays[relay].address.clone();
        let id: MessageId = delivery.id;
        self.must(agent, "message", |core, now| {
            core.handle_message(&address, &delivery.recipient, id, delivery.body, now)
        });
    }

    pub(crate) fn want(&mut self, agent: usize, relay: usize, recipient: RecipientId) {
        let link = self.agents[agent].links[relay];
        if link.up {
            let delay = self.delay();
            let session = link.session;
            self.after(
                delay,
                What::Subscribe {
                    agent,
                    relay,
                    session,
                    recipient,
                },
            );
        } else if !link.reconnects {
            self.reconnect_after(agent, relay, SECOND);
        }
    }

    pub(crate) fn subscribe(
        &mut self,
        agent: usize,
        relay: usize,
        session: u64,
        recipient: &RecipientId,
    ) {
        let link = self.agents[agent].links[relay];
        let place = (relay, recipient.as_bytes().to_vec());
        let key = self.agents[agent].wanted.get(&place).cloned();
        let (true, Some(key)) = (
            link.up && link.session == session && self.relays[relay].up,
            key,
        ) else {
            return;
        };
        let answer = match liar::subscription(self) {
            Some(error) => Err(error),
            None => self.relays[relay].subscribe(recipient, &key.public(), (agent, session)),
        };
        match answer {
            Ok(()) => self.deliver(relay, &place.1),
            Err(_) => {
                let (delay, epoch) = (self.delay(), self.agents[agent].epoch);
                self.after(
                    delay,
                    What::Lost {
                        agent,
                        epoch,
                        relay,
                        recipient: recipient.clone(),
                    },
                );
            }
        }
    }

    pub(crate) fn connect(&mut self, agent: usize, relay: usize) {
        self.sessions += 1;
        let link = &mut self.agents[agent].links[relay];
        link.session = self.sessions;
        link.up = true;
    }

    pub(crate) fn reconnect_after(&mut self, agent: usize, relay: usize, most: i64) {
        if self.agents[agent].core.is_some() {
            self.agents[agent].links[relay].reconnects = true;
            let delay = self.rng.random_range(most / 10..=most);
            self.after(delay, What::Reconnect { agent, relay });
        }
    }

    pub(crate) fn reconnect(&mut self, agent: usize, relay: usize) {
        self.agents[agent].links[relay].reconnects = false;
        if self.agents[agent].core.is_none() || self.agents[agent].links[relay].up {
            return;
        }
        let wanted: Vec<_> = self.agents[agent]
            .wanted
            .keys()
            .filter(|(at, _)| *at == relay)
            .map(|(_, recipient)| RecipientId::new(recipient).unwrap())
            .collect();
        if wanted.is_empty() {
            return;
        }
        if !self.relays[relay].up {
            self.reconnect_after(agent, relay, MINUTE);
            return;
        }
        self.connect(agent, relay);
        for recipient in wanted {
            self.want(agent, relay, recipient);
        }
    }

    pub(crate) fn disconnect(&mut self, agent: usize, relay: usize) {
        self.agents[agent].links[relay].up = false;
        if !self.agents[agent].links[relay].reconnects {
            self.reconnect_after(agent, relay, 30 * SECOND);
        }
    }

    /// How long something takes on its way.
    pub(crate) fn delay(&mut self) -> i64 {
        self.faults.delay(&mut self.rng)
    }
}
