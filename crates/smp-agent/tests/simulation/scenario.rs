//! What the people do: they share a link, connect, talk, change queues and keys, and part.

use rand::RngExt;
use rand::rngs::StdRng;
use smp_agent::StoreKey;
use smp_agent::protocol::ConnectionLink;
use zeroize::Zeroizing;

use crate::agent::{App, info};
use crate::faults::{Fault, some_time};
use crate::world::{HOUR, MINUTE, SECOND, What, World, is_storage};
use crate::{ConnectionId, Core, CoreError, Event, RequestId, Store};

/// What a link shows, at first and later.
const SHOWN: &[u8] = b"a link";
const SHOWN_LATER: &[u8] = b"another text";

/// What happens in one run.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) way: Way,
    /// Whether each agent wants post-quantum keys. The first one makes the link, the others use it.
    pub(crate) post_quantum: Vec<bool>,
    /// Until when things go wrong, in milliseconds.
    pub(crate) length: i64,
    /// How many messages each may send.
    pub(crate) messages: usize,
    pub(crate) rotations: usize,
    pub(crate) additions: usize,
    pub(crate) resynchronisations: usize,
    /// Whether an agent goes back to an older copy of its store.
    pub(crate) restores: bool,
    pub(crate) lies: bool,
}

/// How the agents find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ShortInvitation,
    FullInvitation,
    ShortAddress,
    FullAddress,
}

impl Way {
    pub(crate) fn is_address(self) -> bool {
        matches!(self, Self::ShortAddress | Self::FullAddress)
    }

    fn is_short(self) -> bool {
        matches!(self, Self::ShortInvitation | Self::ShortAddress)
    }
}

/// What somebody does at some time, again and again until it is possible.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Make,
    Join,
    Accept(RequestId),
    Send { receipt: bool },
    Rotate,
    AddQueue,
    Resynchronise(Option<i64>),
    SetLink,
    Copy,
    Restore,
    Delete,
}

impl Scenario {
    pub(crate) fn of(rng: &mut StdRng) -> Self {
        let ways = [
            Way::ShortInvitation,
            Way::FullInvitation,
            Way::ShortAddress,
            Way::FullAddress,
        ];
        let way = ways[[0, 0, 0, 1, 1, 2, 3][rng.random_range(0..7)]];
        let agents = if rng.random_bool(0.15) { 3 } else { 2 };
        let all = rng.random_bool(0.3);
        let none = rng.random_bool(0.5);
        let post_quantum = (0..agents)
            .map(|_| all || (!none && rng.random_bool(0.5)))
            .collect();
        let often = |rng: &mut StdRng, chance: f64| {
            if rng.random_bool(chance) {
                rng.random_range(1..3)
            } else {
                0
            }
        };
        Self {
            way,
            post_quantum,
            length: [2 * MINUTE, 20 * MINUTE, 5 * HOUR][rng.random_range(0..3)],
            messages: [0, 3, 8, 8, 30][rng.random_range(0..5)],
            rotations: often(rng, 0.3),
            additions: often(rng, 0.15),
            resynchronisations: often(rng, 0.2),
            restores: false,
            lies: false,
        }
    }

    /// Puts all that the people do on the agenda.
    pub(crate) fn plan(&self, world: &mut World) {
        world.act_after(0, 0, Action::Make);
        for agent in 1..self.post_quantum.len() {
            let delay = world.rng.random_range(SECOND..20 * SECOND);
            world.act_after(delay, agent, Action::Join);
        }
        for agent in 0..self.post_quantum.len() {
            let messages = world.rng.random_range(0..=self.messages);
            for _ in 0..messages {
                let receipt = world.rng.random_bool(0.5);
                world.act_some_time(agent, Action::Send { receipt });
            }
        }
        for _ in 0..self.rotations {
            world.anyone_acts(Action::Rotate);
        }
        for _ in 0..self.additions {
            world.anyone_acts(Action::AddQueue);
        }
        for _ in 0..self.resynchronisations {
            world.anyone_acts(Action::Resynchronise(None));
        }
        if self.way.is_address() && world.rng.random_bool(0.5) {
            world.act_some_time(0, Action::SetLink);
        }
        if self.restores {
            let agent = world.rng.random_range(0..self.post_quantum.len());
            let (one, other) = (some_time(world, self.length), some_time(world, self.length));
            world.act_after(one.min(other), agent, Action::Copy);
            world.act_after(one.max(other) + 1, agent, Action::Restore);
        }
    }
}

impl World {
    fn anyone_acts(&mut self, action: Action) {
        let agent = self.rng.random_range(0..self.agents.len());
        self.act_some_time(agent, action);
    }

    fn act_some_time(&mut self, agent: usize, action: Action) {
        let delay = some_time(self, self.scenario.length);
        self.act_after(delay, agent, action);
    }

    pub(crate) fn act_after(&mut self, delay: i64, agent: usize, action: Action) {
        let tries = 0;
        self.after(
            delay,
            What::Act {
                agent,
                action,
                tries,
            },
        );
    }

    /// Does something, or tries again later.
    pub(crate) fn act(&mut self, agent: usize, action: Action, tries: u32) {
        if self.attempt(agent, action) || tries >= action.tries() {
            return;
        }
        let pause = self.rng.random_range(SECOND..20 * SECOND) * i64::from(1 + tries.min(80) / 8);
        let tries = tries + 1;
        self.after(
            pause,
            What::Act {
                agent,
                action,
                tries,
            },
        );
    }

    /// Returns whether it is done, or will never be.
    fn attempt(&mut self, agent: usize, action: Action) -> bool {
        if self.agents[agent].core.is_none() {
            return false;
        }
        match action {
            Action::Make => self.make(agent),
            Action::Join => self.join(agent),
            Action::Accept(request) => self.accept(agent, request),
            Action::Send { receipt } => match self.side_of(agent) {
                Some(side) => self.send(agent, side, receipt),
                None => false,
            },
            Action::Rotate => self.change(agent, |side| side.rotations += 1, Core::rotate),
            Action::AddQueue => self.change(agent, |side| side.rotations += 1, Core::add_queue),
            Action::Resynchronise(None) => self.change(agent, |_| {}, Core::resynchronise),
            Action::Resynchronise(Some(side)) => {
                let done = self.input(agent, "resynchronise", |core, now| {
                    core.resynchronise(ConnectionId(side), now)
                });
                matches!(done, Some(Ok(()) | Err(CoreError::Busy(_))))
            }
            Action::SetLink => self.set_link(agent),
            Action::Copy => self.copy(agent),
            Action::Restore => self.restore(agent),
            Action::Delete => self.delete(agent),
        }
    }

    fn make(&mut self, agent: usize) -> bool {
        let address = self.scenario.way.is_address();
        let made = self.input(agent, "make", |core, now| {
            if address {
                core.create_address(SHOWN, now)
            } else {
                core.invite(&info(agent), SHOWN, now)
            }
        });
        let Some(Ok(id)) = made else {
            return false;
        };
        self.agents[agent].app.made = Some(id);
        self.agents[agent].app.shows = SHOWN;
        if !address {
            self.agents[agent].app.sides.entry(id.0).or_default();
        }
        true
    }

    fn join(&mut self, agent: usize) -> bool {
        let link = match self.link.clone() {
            Some(link) => link,
            None => match self.link_of_first() {
                Some(link) => self.link.insert(link).clone(),
                None => return false,
            },
        };
        let link: ConnectionLink = link.parse().unwrap();
        let joined = self.input(agent, "connect", |core, now| {
            core.connect(&link, &info(agent), now)
        });
        match joined {
            Some(Ok(id)) => {
                self.agents[agent].app.sides.entry(id.0).or_default();
                true
            }
            Some(Err(error)) => {
                assert!(is_storage(&error), "connect: {error}");
                false
            }
            None => false,
        }
    }

    fn link_of_first(&mut self) -> Option<String> {
        let id = self.agents[0].app.made?;
        let short = self.scenario.way.is_short();
        let links = self.input(0, "links", |core, _| core.links(id))?.ok()??;
        if short {
            Some(links.short.expect("a short link").to_string())
        } else {
            Some(links.full.to_string())
        }
    }

    fn accept(&mut self, agent: usize, request: RequestId) -> bool {
        let accepted = self.input(agent, "accept", |core, now| {
            core.accept(request, &info(agent), now)
        });
        match accepted {
            Some(Ok(id)) => {
                self.agents[agent].app.sides.entry(id.0).or_default();
                true
            }
            Some(Err(error)) => {
                assert!(is_storage(&error), "accept: {error}");
                false
            }
            None => false,
        }
    }

    /// One of an agent's connections that did not come to nothing.
    fn side_of(&mut self, agent: usize) -> Option<i64> {
        let sides = &self.agents[agent].app.sides;
        let alive: Vec<_> = sides
            .iter()
            .filter(|(_, side)| side.failed.is_empty() && !side.deleted)
            .map(|(id, _)| *id)
            .collect();
        let at = self.rng.random_range(0..alive.len().max(1));
        alive.get(at).copied()
    }

    pub(crate) fn send(&mut self, agent: usize, side: i64, receipt: bool) -> bool {
        self.bodies += 1;
        let mut body = format!("message {} of agent {agent} ", self.bodies).into_bytes();
        let padding = self.rng.random_range(0..300);
        body.extend((0..padding).map(|_| self.rng.random::<u8>()));
        let sent = self.input(agent, "send", |core, now| {
            core.send(ConnectionId(side), &body, receipt, now)
        });
        match sent {
            Some(Ok(id)) => {
                self.stats.messages += 1;
                self.note(|| format!("agent {agent}: message {id} of connection {side}"));
                let side = self.agents[agent].app.sides.get_mut(&side).unwrap();
                assert!(
                    side.sent.last().is_none_or(|(last, ..)| *last < id),
                    "numbers rise"
                );
                side.sent.push((id, body, receipt));
                true
            }
            Some(Err(
                CoreError::NotConnected | CoreError::OutOfStep | CoreError::TooManyWaiting,
            ))
            | None => false,
            Some(Err(error)) => {
                assert!(is_storage(&error), "send: {error}");
                false
            }
        }
    }

    fn change(
        &mut self,
        agent: usize,
        count: impl FnOnce(&mut crate::agent::Side),
        change: impl FnOnce(&mut Core, ConnectionId, crate::Timestamp) -> Result<(), CoreError>,
    ) -> bool {
        let Some(side) = self.side_of(agent) else {
            return false;
        };
        let done = self.input(agent, "change", |core, now| {
            change(core, ConnectionId(side), now)
        });
        let done = matches!(done, Some(Ok(())));
        if done {
            self.note(|| format!("agent {agent} changes queues or keys of connection {side}"));
            count(self.agents[agent].app.sides.get_mut(&side).unwrap());
        }
        done
    }

    fn set_link(&mut self, agent: usize) -> bool {
        let Some(id) = self.agents[agent].app.made else {
            return false;
        };
        let set = self.input(agent, "set link", |core, now| {
            core.set_link_data(id, SHOWN_LATER, now)
        });
        let set = matches!(set, Some(Ok(())));
        if set {
            self.agents[agent].app.shows = SHOWN_LATER;
        }
        set
    }

    fn delete(&mut self, agent: usize) -> bool {
        let made = self.agents[agent].app.made.map(|id| id.0);
        let sides = &self.agents[agent].app.sides;
        let left = sides
            .iter()
            .filter(|(_, side)| !side.deleted)
            .map(|(id, _)| *id);
        let mut ids: Vec<_> = left.chain(made).collect();
        ids.dedup();
        for id in ids {
            let deleted = self.input(agent, "delete", |core, now| {
                core.delete(ConnectionId(id), now)
            });
            match deleted {
                Some(Ok(())) => {
                    if let Some(side) = self.agents[agent].app.sides.get_mut(&id) {
                        side.deleted = true;
                    }
                    if made == Some(id) {
                        self.agents[agent].app.made = None;
                    }
                }
                Some(Err(error)) => {
                    assert!(is_storage(&error), "delete: {error}");
                    return false;
                }
                None => return false,
            }
        }
        true
    }

    fn copy(&mut self, agent: usize) -> bool {
        let one = &mut self.agents[agent];
        let connected = |side: &crate::agent::Side| side.connected > 0 || !side.failed.is_empty();
        if one.app.sides.is_empty() || !one.app.sides.values().all(connected) {
            return false;
        }
        let folder = tempfile::tempdir().unwrap();
        let Some(core) = &mut one.core else {
            return false;
        };
        core.store()
            .export(&folder.path().join("copy"), &copy_key())
            .unwrap();
        one.copy = Some((folder, one.app.clone()));
        true
    }

    fn restore(&mut self, agent: usize) -> bool {
        let one = &mut self.agents[agent];
        let Some((folder, app)) = &one.copy else {
            return false;
        };
        let store = Store::open(&folder.path().join("copy"), &copy_key()).unwrap();
        let app: App = app.clone();
        self.crash(agent);
        let one = &mut self.agents[agent];
        one.store = Some(store);
        one.app = app;
        one.restored = true;
        self.note(|| format!("agent {agent} goes back to a copy of its store"));
        self.fault(Fault::Restart(agent));
        true
    }

    /// The application takes events until there is none, or until it does something else.
    pub(crate) fn take_events(&mut self, agent: usize) {
        while let Some(Ok(Some(event))) = self.input(agent, "events", |core, _| core.first_event())
        {
            if self.faults.on && self.rng.random_bool(0.05) {
                let (delay, epoch) = (
                    self.rng.random_range(SECOND..MINUTE),
                    self.agents[agent].epoch,
                );
                self.agents[agent].takes = true;
                self.after(delay, What::Take { agent, epoch });
                return;
            }
            let receipt = self.rng.random_bool(0.8);
            let taken = self.input(agent, "take", |core, now| {
                core.take_event(event.id, receipt, now)
            });
            match taken {
                Some(Ok(taken)) => assert!(taken, "an event was gone"),
                Some(Err(error)) => {
                    assert!(is_storage(&error), "take: {error}");
                    self.take_later(agent);
                    return;
                }
                None => return,
            }
            self.note(|| {
                format!(
                    "agent {agent} is told {:?} of {}",
                    event.event, event.connection.0
                )
            });
            match event.event {
                Event::Connected => self.stats.connected += 1,
                Event::Message { .. } => self.stats.told += 1,
                _ => {}
            }
            let one = &mut self.agents[agent];
            one.app
                .take(event.id, event.connection, &event.event, receipt);
            let delay = self.rng.random_range(SECOND..MINUTE);
            match event.event {
                Event::Requested { request, .. } => {
                    self.act_after(delay, agent, Action::Accept(request));
                }
                Event::OutOfStep => {
                    let side = Some(event.connection.0);
                    self.act_after(delay, agent, Action::Resynchronise(side));
                }
                _ => {}
            }
        }
    }

    fn take_later(&mut self, agent: usize) {
        let epoch = self.agents[agent].epoch;
        self.agents[agent].takes = true;
        self.after(5 * SECOND, What::Take { agent, epoch });
    }
}

impl Action {
    /// How often it is tried again.
    fn tries(self) -> u32 {
        match self {
            Self::Rotate | Self::AddQueue | Self::Resynchronise(_) | Self::SetLink => 10,
            Self::Copy | Self::Restore => 40,
            Self::Send { .. } => 40,
            Self::Make | Self::Join | Self::Accept(_) | Self::Delete => 1_000,
        }
    }
}

fn copy_key() -> StoreKey {
    StoreKey::Raw(Zeroizing::new([7; 32]))
}
