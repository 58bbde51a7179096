//! A relay that lies: it answers what is not so, and does to messages what it likes.

use rand::RngExt;
use rand::seq::IndexedRandom as _;
use smp_protocol::{ErrorType, MessageId};

use crate::world::World;
use crate::{Failure, Reply, Request};

fn lies(world: &mut World) -> bool {
    let chance = world.faults.lies;
    let lie = chance > 0.0 && world.rng.random_bool(chance);
    world.stats.lies += u64::from(lie);
    lie
}

/// An answer that is not so, if it is to be one.
pub(crate) fn answer(world: &mut World, request: &Request) -> Option<Result<Reply, Failure>> {
    if !lies(world) {
        return None;
    }
    let errors = [
        ErrorType::Quota,
        ErrorType::Internal,
        ErrorType::NoMsg,
        ErrorType::LargeMsg,
        ErrorType::Crypto,
    ];
    Some(match (world.rng.random_range(0..4), request) {
        (0, _) => Err(Failure::Refused(ErrorType::Auth)),
        (1, Request::Create { .. } | Request::LinkKey { .. } | Request::LinkData { .. }) => {
            Ok(Reply::Done)
        }
        (1, _) => Ok(Reply::Done),
        _ => Err(Failure::Refused(
            errors.choose(&mut world.rng).unwrap().clone(),
        )),
    })
}

/// The refusal of a subscription, if it is to be one.
pub(crate) fn subscription(world: &mut World) -> Option<ErrorType> {
    lies(world).then_some(ErrorType::Auth)
}

/// Changes what lies in a queue.
pub(crate) fn tamper(world: &mut World, relay: usize, queue: &[u8]) {
    if !lies(world) {
        return;
    }
    let id = MessageId(world.rng.random());
    let kind = world.rng.random_range(0..5);
    let others: Vec<_> = world.relays[relay].queues.keys().cloned().collect();
    let other = others.choose(&mut world.rng).cloned();
    let at = world.rng.random_range(0..16_000);
    let Some(messages) = world.relays[relay]
        .queues
        .get_mut(queue)
        .map(|queue| &mut queue.messages)
    else {
        return;
    };
    match kind {
        0 => drop(messages.pop_front()),
        1 => {
            if let Some(mut copy) = messages.front().cloned() {
                copy.id = id;
                messages.push_back(copy);
            }
        }
        2 if messages.len() > 1 => messages.swap(0, 1),
        3 => {
            if let Some((_, body)) = messages
                .front_mut()
                .and_then(|first| first.content.as_mut())
            {
                let at = at % body.len();
                body[at] ^= 1;
            }
        }
        _ => {
            let mine = messages.front().cloned();
            let other = other.and_then(|other| world.relays[relay].queues.get_mut(&other));
            if let (Some(mut mine), Some(other)) = (mine, other) {
                mine.id = id;
                other.messages.push_back(mine);
            }
        }
    }
}

/// Flips a bit of what the relay encrypted.
pub(crate) fn flip(world: &mut World, body: &mut [u8]) {
    if lies(world) && world.rng.random_bool(0.3) {
        let at = world.rng.random_range(0..body.len());
        body[at] ^= 1 << world.rng.random_range(0..8);
    }
}
