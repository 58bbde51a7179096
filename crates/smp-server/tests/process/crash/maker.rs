//! A client that makes, changes and deletes queues, and knows which of it was answered.

use rand::rand_core::UnwrapErr;
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng};
use smp_client::{ClientError, Session};
use smp_protocol::{AuthPrivateKey, ErrorType, LinkData, LinkId, QueueRequest};

use super::load::{Over, Shared};
use crate::support::{Queue, new_key, silent};

/// Queues that are kept at most.
const KEPT: usize = 100;

/// What became of a change.
enum State<T> {
    /// It was never asked for.
    Not,
    /// It was answered with OK.
    Done(T),
    /// It was not answered.
    Unsure,
}

/// A queue that is there.
struct Kept {
    queue: Queue,
    sender_key: State<AuthPrivateKey>,
    link: State<(LinkId, LinkData)>,
    suspended: State<()>,
}

/// All that one client made.
pub(super) struct Made {
    rng: StdRng,
    kept: Vec<Kept>,
    deleted: Vec<Queue>,
    /// DEL without an answer: it is done or not, and whatever it is, it stays so.
    unsure: Vec<Queue>,
    count: u64,
}

/// Works until the session is over or the work is done.
pub(super) async fn work(session: &Session, shared: &Shared, made: &mut Made) -> Result<(), Over> {
    made.check_some(session, shared).await?;
    while !shared.is_winding_down() {
        match made.rng.random_range(0..6) {
            0 | 1 if made.kept.len() < KEPT => made.create(session, shared).await?,
            0..=2 => made.delete(session, shared).await?,
            3 => made.secure(session, shared).await?,
            4 => made.set_link(session, shared).await?,
            _ => made.suspend(session, shared).await?,
        }
    }
    Ok(())
}

impl Made {
    pub(super) fn new(number: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(1000 + number),
            kept: Vec::new(),
            deleted: Vec::new(),
            unsure: Vec::new(),
            count: 0,
        }
    }

    /// Queues that are there, and queues that were deleted.
    pub(super) fn counts(&self) -> [u64; 2] {
        [self.kept.len() as u64, self.count]
    }

    async fn create(&mut self, session: &Session, shared: &Shared) -> Result<(), Over> {
        let made = Queue::try_create(session, QueueRequest::Contact(None)).await;
        self.kept.push(Kept {
            queue: shared.expect("NEW", made)?,
            sender_key: State::Not,
            link: State::Not,
            suspended: State::Not,
        });
        Ok(())
    }

    async fn delete(&mut self, session: &Session, shared: &Shared) -> Result<(), Over> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let at = self.rng.random_range(0..self.kept.len());
        let Kept { queue, .. } = self.kept.swap_remove(at);
        let answer = session.delete(queue.key()).await;
        match shared.expect("DEL", answer) {
            Ok(()) => {
                self.deleted.push(queue);
                self.count += 1;
                // Enough to look at.
                if self.deleted.len() > KEPT {
                    self.deleted.swap_remove(0);
                }
                Ok(())
            }
            Err(over) => {
                self.unsure.push(queue);
                Err(over)
            }
        }
    }

    fn any(&mut self) -> Option<&mut Kept> {
        let count = self.kept.len();
        let at = if count == 0 {
            0
        } else {
            self.rng.random_range(0..count)
        };
        self.kept.get_mut(at)
    }

    async fn secure(&mut self, session: &Session, shared: &Shared) -> Result<(), Over> {
        let Some(kept) = self.any() else {
            return Ok(());
        };
        let State::Not = kept.sender_key else {
            return Ok(());
        };
        let key = new_key();
        kept.sender_key = State::Unsure;
        let answer = session.secure(kept.queue.key(), key.public()).await;
        shared.expect("KEY", answer)?;
        kept.sender_key = State::Done(key);
        Ok(())
    }

    async fn set_link(&mut self, session: &Session, shared: &Shared) -> Result<(), Over> {
        let user = vec![self.rng.random(); self.rng.random_range(1..5000)];
        let Some(kept) = self.any() else {
            return Ok(());
        };
        let link = match &kept.link {
            State::Not => LinkId::generate(&mut UnwrapErr(SysRng)),
            State::Done((link, _)) => link.clone(),
            State::Unsure => return Ok(()),
        };
        let data = LinkData {
            fixed: b"fixed".to_vec(),
            user,
        };
        kept.link = State::Unsure;
        let answer = session
            .set_link(kept.queue.key(), link.clone(), data.clone())
            .await;
        shared.expect("LSET", answer)?;
        kept.link = State::Done((link, data));
        Ok(())
    }

    async fn suspend(&mut self, session: &Session, shared: &Shared) -> Result<(), Over> {
        // Few, since nothing else can be done with such a queue.
        if self.rng.random_range(0..8) > 0 {
            return Ok(());
        }
        let Some(kept) = self.any() else {
            return Ok(());
        };
        kept.suspended = State::Unsure;
        let answer = session.suspend(kept.queue.key()).await;
        shared.expect("OFF", answer)?;
        kept.suspended = State::Done(());
        Ok(())
    }

    /// Looks at some of what there should be and should not be.
    async fn check_some(&mut self, session: &Session, shared: &Shared) -> Result<(), Over> {
        for _ in 0..3 {
            if let Some(kept) = self.any() {
                check(kept, session, shared).await?;
            }
        }
        for gone in self.deleted.iter().rev().take(3) {
            check_gone(gone, session, shared).await?;
        }
        let unsure: Vec<_> = self.unsure.drain(..).collect();
        for queue in unsure {
            match session.queue_info(queue.key()).await {
                Err(ClientError::Refused(ErrorType::Auth)) => self.deleted.push(queue),
                Ok(_) => self.kept.push(Kept {
                    queue,
                    sender_key: State::Unsure,
                    link: State::Unsure,
                    suspended: State::Unsure,
                }),
                other => {
                    shared.expect("QUE", other.map(drop))?;
                }
            }
        }
        Ok(())
    }

    /// Looks at all of it.
    pub(super) async fn check_all(&self, session: &Session, shared: &Shared) {
        for kept in &self.kept {
            let _ = check(kept, session, shared).await;
        }
        for gone in &self.deleted {
            let _ = check_gone(gone, session, shared).await;
        }
    }
}

/// Whether a queue is there and as it was left.
async fn check(kept: &Kept, session: &Session, shared: &Shared) -> Result<(), Over> {
    let answer = session.queue_info(kept.queue.key()).await;
    let info = shared.expect("QUE", answer)?;
    let is_secured = info.contains("\"qiSnd\":true");
    let wrong = match kept.sender_key {
        State::Not => is_secured,
        State::Done(_) => !is_secured,
        State::Unsure => false,
    };
    if wrong {
        shared.violation(format!("a queue's sender key is lost or came: {info}"));
    }
    if let State::Done((link, data)) = &kept.link {
        let answer = session.link_data(link).await;
        let (is_suspended, _) = (matches!(kept.suspended, State::Not), ());
        if is_suspended {
            let (sender_id, shown) = shared.expect("LGET", answer)?;
            if shown != *data || sender_id != kept.queue.ids.sender_id {
                shared.violation("a link shows something else".into());
            }
        }
    }
    if let State::Done(()) = kept.suspended {
        let key = match &kept.sender_key {
            State::Done(key) => Some(key),
            _ => None,
        };
        let sender_id = &kept.queue.ids.sender_id;
        let sent = session
            .send_message(sender_id, key, silent(), b"late".to_vec())
            .await;
        refused("a suspended queue", sent, shared)?;
    }
    Ok(())
}

async fn check_gone(queue: &Queue, session: &Session, shared: &Shared) -> Result<(), Over> {
    let info = session.queue_info(queue.key()).await.map(drop);
    refused("a deleted queue", info, shared)
}

fn refused(what: &str, answer: Result<(), ClientError>, shared: &Shared) -> Result<(), Over> {
    match answer {
        Err(ClientError::Refused(ErrorType::Auth)) => Ok(()),
        Err(ClientError::Disconnected(_)) => Err(Over),
        other => {
            shared.violation(format!("{what} answers {other:?}"));
            Ok(())
        }
    }
}
