//! What time brings: queues that are old or whose relay is dead are replaced, and what nobody needs
//! any more is forgotten.

use std::collections::HashMap;

use smp_protocol::RelayAddress;

use super::error::CoreError;
use super::limits::{DEAD_RELAY, MESSAGE_LIFETIME};
use super::step::Step;
use crate::model::{ConnectionState, ReceiveQueue, ReceiveQueueState, Timestamp};

impl Step<'_> {
    /// One round of maintenance. `down` says since when relays have been out of reach.
    pub(crate) fn maintain(
        &mut self,
        down: &HashMap<RelayAddress, Timestamp>,
    ) -> Result<(), CoreError> {
        self.tx
            .forget_sent_before(self.now.plus(-MESSAGE_LIFETIME))?;
        for mut connection in self.tx.connections()? {
            if connection.state != ConnectionState::Connected {
                continue;
            }
            self.finish_switches(&connection)?;
            self.leave_stuck_queues(&mut connection)?;
            let queues = self.tx.receive_queues(connection.id)?;
            let due = queues.iter().find(|queue| self.is_due(queue, down));
            if let Some(queue) = due {
                match self.replace_queue(&connection, queue.id) {
                    // It is tried again with the next round.
                    Ok(()) | Err(CoreError::Busy(_) | CoreError::OutOfStep) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn is_due(&self, queue: &ReceiveQueue, down: &HashMap<RelayAddress, Timestamp>) -> bool {
        if queue.state != ReceiveQueueState::Active {
            return false;
        }
        let dead = down
            .get(&queue.relay)
            .is_some_and(|since| since.plus(DEAD_RELAY) <= self.now)
            && self.config.relays.iter().any(|relay| *relay != queue.relay);
        let old = self
            .config
            .rotate_after
            .is_some_and(|age| queue.created.plus(age) <= self.now);
        dead || old
    }
}
