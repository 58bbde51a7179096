//! What goes wrong, how often, and when.

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt, SeedableRng};

use crate::Core;
use crate::agent::Failing;
use crate::world::{HOUR, MINUTE, SECOND, What, World};

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) on: bool,
    /// Chances of a command: lost before the relay acts, its answer lost, its answer too late.
    lost: [f64; 3],
    /// The longest of usual delays, in milliseconds, and the chance of an unusual one.
    usual: i64,
    slow: f64,
    /// The chance that a relay does otherwise than it should, each time.
    pub(crate) lies: f64,
}

/// What goes wrong at some time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The write after so many fails, and all after it.
    FailingWrite(usize, u64, Failing),
    /// The disk has room again.
    Room(usize),
    /// The program ends; the outputs of the next input with it, or what is under way.
    Crash(usize, bool),
    Restart(usize),
    Sleep(usize, i64),
    Clock(usize, i64),
    Break(usize, usize),
    Hurry(usize),
    Outage(usize, i64),
    OutageEnds(usize),
    End,
}

impl Fault {
    fn is_relief(self) -> bool {
        matches!(
            self,
            Self::Room(_) | Self::Restart(_) | Self::OutageEnds(_) | Self::End | Self::Break(..)
        )
    }
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Fine,
    /// The relay never has it.
    LostBefore,
    /// The relay does it, and the connection breaks.
    LostAfter,
    /// The relay does it, and the answer comes when nobody waits for it any more.
    Late,
}

impl Faults {
    pub(crate) fn of(rng: &mut StdRng) -> Self {
        let badness = [0.0, 0.02, 0.08, 0.2][rng.random_range(0..4)];
        Self {
            on: true,
            lost: [badness, badness, badness / 2.0],
            usual: [20, 300, 3_000][rng.random_range(0..3)],
            slow: [0.0, 0.03][rng.random_range(0..2)],
            lies: 0.0,
        }
    }

    pub(crate) fn end(&mut self) {
        self.on = false;
        self.lost = [0.0; 3];
        self.slow = 0.0;
        self.lies = 0.0;
    }

    pub(crate) fn fate(&self, rng: &mut StdRng) -> Fate {
        let fates = [Fate::LostBefore, Fate::LostAfter, Fate::Late];
        for (chance, fate) in self.lost.into_iter().zip(fates) {
            if rng.random_bool(chance) {
                return fate;
            }
        }
        Fate::Fine
    }

    pub(crate) fn delay(&self, rng: &mut StdRng) -> i64 {
        if rng.random_bool(self.slow) {
            rng.random_range(SECOND..20 * SECOND)
        } else {
            rng.random_range(1..=self.usual)
        }
    }
}

/// Puts all that goes wrong in a run on the agenda. `length` is the time until it ends.
pub(crate) fn plan(world: &mut World, length: i64) {
    let agents = world.agents.len();
    let relays = world.relays.len();
    for agent in 0..agents {
        for _ in 0..world.rng.random_range(0..6) {
            let writes = world.rng.random_range(1..40);
            at_some_time(
                world,
                length,
                Fault::FailingWrite(agent, writes, Failing::Crash),
            );
        }
        for _ in 0..world.rng.random_range(0..3) {
            let in_input = world.rng.random_bool(0.7);
            at_some_time(world, length, Fault::Crash(agent, in_input));
        }
        for relay in 0..relays {
            for _ in 0..world.rng.random_range(0..4) {
                at_some_time(world, length, Fault::Break(agent, relay));
            }
        }
        if world.rng.random_bool(0.3) {
            let writes = world.rng.random_range(1..40);
            let from = some_time(world, length);
            let to = from + world.rng.random_range(SECOND..10 * MINUTE);
            let full = Fault::FailingWrite(agent, writes, Failing::Full);
            world.after(from, What::Fault(full));
            world.after(to, What::Fault(Fault::Room(agent)));
        }
        if world.rng.random_bool(0.2) {
            let time = world.rng.random_range(MINUTE..2 * HOUR);
            at_some_time(world, length, Fault::Sleep(agent, time));
        }
        if world.rng.random_bool(0.2) {
            let by = world.rng.random_range(-HOUR..HOUR);
            at_some_time(world, length, Fault::Clock(agent, by));
        }
        if world.rng.random_bool(0.3) {
            at_some_time(world, length, Fault::Hurry(agent));
        }
    }
    for relay in 0..relays {
        if world.rng.random_bool(0.3) {
            let time = match world.rng.random_range(0..3) {
                0 => world.rng.random_range(SECOND..MINUTE),
                1 => world.rng.random_range(MINUTE..HOUR),
                _ => world.rng.random_range(HOUR..6 * HOUR),
            };
            at_some_time(world, length, Fault::Outage(relay, time));
        }
    }
    world.after(length, What::Fault(Fault::End));
}

fn at_some_time(world: &mut World, length: i64, fault: Fault) {
    let at = some_time(world, length);
    world.after(at, What::Fault(fault));
}

/// Much happens in the first seconds of a connection: as often in them as in the hours after.
pub(crate) fn some_time(world: &mut World, length: i64) -> i64 {
    let most = (length as f64).ln();
    world.rng.random_range(4.0..most).exp() as i64
}

impl World {
    pub(crate) fn fault(&mut self, fault: Fault) {
        if !self.faults.on && !fault.is_relief() {
            return;
        }
        self.note(|| format!("{fault:?}"));
        match fault {
            Fault::FailingWrite(agent, writes, failing) => {
                let agent = &mut self.agents[agent];
                if let (Some(core), None) = (&mut agent.core, agent.armed) {
                    core.store().crash_after_writes(Some(writes));
                    agent.armed = Some(failing);
                }
            }
            Fault::Room(agent) => self.room(agent),
            Fault::Crash(agent, in_input) => {
                if in_input {
                    self.agents[agent].loses_outputs = true;
                } else {
                    self.crash(agent);
                }
            }
            Fault::Restart(agent) => self.restart(agent),
            Fault::Sleep(agent, until) => self.agents[agent].asleep = self.now + until,
            Fault::Clock(agent, by) => {
                self.agents[agent].clock += by;
                self.set_timer(agent);
            }
            Fault::Break(agent, relay) => self.disconnect(agent, relay),
            Fault::Hurry(agent) => {
                self.input(agent, "hurry", |core, now| {
                    core.hurry(now);
                    Ok(())
                });
            }
            Fault::Outage(relay, time) => {
                self.relays[relay].up = false;
                for agent in 0..self.agents.len() {
                    self.disconnect(agent, relay);
                }
                self.after(time, What::Fault(Fault::OutageEnds(relay)));
            }
            Fault::OutageEnds(relay) => self.relays[relay].up = true,
            Fault::End => self.end_faults(),
        }
    }

    /// From now on all goes well.
    pub(crate) fn end_faults(&mut self) {
        self.faults.end();
        for relay in &mut self.relays {
            relay.up = true;
        }
        for agent in 0..self.agents.len() {
            self.room(agent);
            self.agents[agent].asleep = 0;
            self.agents[agent].loses_outputs = false;
            self.restart(agent);
            for relay in 0..self.relays.len() {
                // Whatever a suspended computer or a lying relay did to them.
                self.disconnect(agent, relay);
            }
        }
    }

    pub(crate) fn room(&mut self, agent: usize) {
        self.agents[agent].armed = None;
        if let Some(core) = &mut self.agents[agent].core {
            core.store().crash_after_writes(None);
        }
    }

    pub(crate) fn crash(&mut self, agent: usize) {
        self.stats.crashes += 1;
        let Some(core) = self.agents[agent].core.take() else {
            return;
        };
        let mut store = core.into_store();
        store.crash_after_writes(None);
        let one = &mut self.agents[agent];
        one.store = Some(store);
        one.armed = None;
        one.epoch += 1;
        one.timer = None;
        one.takes = false;
        one.wanted.clear();
        for link in &mut one.links {
            link.up = false;
        }
        let away = match self.rng.random_range(0..10) {
            0 => self.rng.random_range(MINUTE..2 * HOUR),
            1..4 => self.rng.random_range(SECOND..MINUTE),
            _ => self.rng.random_range(0..SECOND),
        };
        self.after(away, What::Fault(Fault::Restart(agent)));
    }

    pub(crate) fn restart(&mut self, agent: usize) {
        let Some(store) = self.agents[agent].store.take() else {
            return;
        };
        let random = Box::new(StdRng::seed_from_u64(self.rng.next_u64()));
        let config = self.agents[agent].config.clone();
        let now = self.agents[agent].time(self.now);
        self.agents[agent].core = Some(Core::new(store, config, random, now).unwrap());
        self.take_outputs(agent);
        self.set_timer(agent);
    }
}
