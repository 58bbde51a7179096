//! Several clients that work all the time, and write down what the relay answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smp_client::{ClientError, Event, Events, Request, SealedMessage, Session, SessionOptions};
use smp_protocol::{
    AuthPrivateKey, Command, EntityId, ErrorType, QueueRequest, Response, ServerAddress,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::journal::{Checked, Journal};
use super::maker::{self, Made};
use crate::support::{PATIENCE, Queue, link, new_key, silent, until};

/// Queues with a sender and a recipient each.
const LANES: u64 = 5;

/// Clients that make and delete queues.
const MAKERS: u64 = 2;

/// SENDs without an answer at a time.
const AT_ONCE: usize = 6;

/// The clients and what they know.
pub(crate) struct Load {
    shared: Arc<Shared>,
    way: watch::Sender<Way>,
    lanes: Vec<Lane>,
    makers: Vec<JoinHandle<Made>>,
}

/// Where the relay is at the moment.
#[derive(Clone, Default)]
struct Way {
    generation: u64,
    address: Option<ServerAddress>,
}

#[derive(Default)]
pub(super) struct Shared {
    answers: AtomicU64,
    winding_down: AtomicBool,
    violations: Mutex<Vec<String>>,
}

struct Lane {
    queue: Arc<LaneQueue>,
    sender: JoinHandle<()>,
    recipient: JoinHandle<()>,
}

/// What a lane's two clients share.
#[derive(Default)]
struct LaneQueue {
    queue: Mutex<Option<Arc<Secured>>>,
    journal: Mutex<Journal>,
}

struct Secured {
    queue: Queue,
    sender_key: AuthPrivateKey,
    is_secured: AtomicBool,
}

/// The session is over, or the work is done.
pub(super) struct Over;

impl Shared {
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn violation(&self, what: String) {
        self.violations.lock().push(what);
    }

    pub(super) fn checked(&self, checked: Checked) {
        if let Err(what) = checked {
            self.violation(what);
        }
    }

    pub(super) fn is_winding_down(&self) -> bool {
        self.winding_down.load(Ordering::Relaxed)
    }

    /// Passes an answer on. An error that the relay should not have given is written down.
    pub(super) fn expect<T>(&self, what: &str, answer: Result<T, ClientError>) -> Result<T, Over> {
        match answer {
            Ok(answer) => {
                self.answered();
                Ok(answer)
            }
            Err(ClientError::Disconnected(_)) => Err(Over),
            Err(error) => {
                self.violation(format!("{what}: {error}"));
                Err(Over)
            }
        }
    }
}

impl Load {
    /// A small quota, so that it is reached, and no rates, so that there is much to lose.
    pub(crate) const CONFIGURATION: &str = "
        messages.quota = 12
        limits.commands_per_second = 1000000
        limits.new_queues_per_minute = 1000000";

    /// Clients that wait for a relay.
    pub(crate) fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let way = watch::Sender::new(Way::default());
        let lane = |number| {
            let queue = Arc::<LaneQueue>::default();
            let recipient = recipient(way.subscribe(), Arc::clone(&shared), Arc::clone(&queue));
            let sender = sender(
                number,
                way.subscribe(),
                Arc::clone(&shared),
                Arc::clone(&queue),
            );
            Lane {
                queue,
                sender: tokio::spawn(sender),
                recipient: tokio::spawn(recipient),
            }
        };
        let lanes = (0..LANES).map(lane).collect();
        let maker = |number| {
            let (mut way, shared) = (way.subscribe(), Arc::clone(&shared));
            tokio::spawn(async move {
                let mut made = Made::new(number);
                while let Some((session, _events)) = come(&mut way, &shared).await {
                    let _ = maker::work(&session, &shared, &mut made).await;
                }
                made
            })
        };
        let makers = (0..MAKERS).map(maker).collect();
        Self {
            shared,
            way,
            lanes,
            makers,
        }
    }

    /// Sends the clients to a relay.
    pub(crate) fn lead_to(&self, address: &ServerAddress) {
        self.way.send_modify(|way| {
            way.generation += 1;
            way.address = Some(address.clone());
        });
    }

    /// Waits until the relay answered so many commands.
    pub(crate) async fn answers(&self, count: u64) {
        let answers = || self.shared.answers.load(Ordering::Relaxed);
        let wanted = answers() + count;
        until("answers come", async || {
            answers() >= wanted || self.has_violations()
        })
        .await;
    }

    fn has_violations(&self) -> bool {
        !self.shared.violations.lock().is_empty()
    }

    /// Fails if something was seen that may not be.
    pub(crate) fn check(&self, round: u32) {
        let violations = self.shared.violations.lock();
        assert!(violations.is_empty(), "in round {round}: {violations:#?}");
    }

    /// Ends the work, with a relay that stays: all that was accepted must be there.
    pub(crate) async fn finish(self) -> String {
        self.shared.winding_down.store(true, Ordering::Relaxed);
        let (mut counts, mut repeated) = ([0; 4], 0);
        for lane in self.lanes {
            timeout(PATIENCE, lane.sender)
                .await
                .expect("a sender hangs")
                .unwrap();
            until("the last message comes", async || {
                lane.queue.journal.lock().is_done() || !self.shared.violations.lock().is_empty()
            })
            .await;
            lane.recipient.abort();
            let journal = lane.queue.journal.lock();
            let sum = counts.iter_mut().zip(journal.counts());
            sum.for_each(|(count, more)| *count += more);
            repeated += journal.repeated;
        }
        let way = self.way.borrow().clone();
        let (link, _) = link(&way.address.unwrap()).await.unwrap();
        let address = self.way.borrow().address.clone().unwrap();
        let (session, _events) = Session::over(link, &address, &SessionOptions::default())
            .await
            .unwrap();
        let mut queues = [0; 2];
        for maker in self.makers {
            let made = timeout(PATIENCE, maker)
                .await
                .expect("a maker hangs")
                .unwrap();
            made.check_all(&session, &self.shared).await;
            let sum = queues.iter_mut().zip(made.counts());
            sum.for_each(|(count, more)| *count += more);
        }
        let violations = self.shared.violations.lock();
        assert!(violations.is_empty(), "at the end: {violations:#?}");
        let [accepted, unsure, stored, refused] = counts;
        let [alive, deleted] = queues;
        let answers = self.shared.answers.load(Ordering::Relaxed);
        format!(
            "{answers} commands answered; {accepted} messages accepted and all delivered, \
             {refused} refused for quota; {unsure} unanswered, of which {stored} were stored; \
             {repeated} delivered again since their ACK was unanswered; \
             {alive} queues kept, {deleted} deleted"
        )
    }
}

/// Connects each time there is a relay to connect to; `None` when the work is done.
async fn come(way: &mut watch::Receiver<Way>, shared: &Shared) -> Option<(Session, Events)> {
    loop {
        if shared.is_winding_down() && way.has_changed().is_ok_and(|changed| !changed) {
            return None;
        }
        let changed = timeout(Duration::from_millis(50), way.changed()).await;
        match changed {
            Ok(Err(_)) => return None,
            Err(_) => continue,
            Ok(Ok(())) => {}
        }
        let address = way.borrow_and_update().address.clone()?;
        // It may be killed meanwhile; the next one comes soon.
        let Ok((link, _)) = link(&address).await else {
            continue;
        };
        if let Ok(session) = Session::over(link, &address, &SessionOptions::default()).await {
            return Some(session);
        }
    }
}

/// The body of a message: its number, and bytes that follow from it.
fn body(number: usize) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(8 + number * 7919 % 15_000, (number % 251) as u8);
    body
}

async fn sender(
    number: u64,
    mut way: watch::Receiver<Way>,
    shared: Arc<Shared>,
    lane: Arc<LaneQueue>,
) {
    let mut rng = StdRng::seed_from_u64(number);
    let mut finished = false;
    while !finished {
        let Some((session, _events)) = come(&mut way, &shared).await else {
            return;
        };
        // Until the session is over.
        while !session.is_closed() && !finished {
            let queue = lane.queue.lock().clone();
            let Some(queue) = queue.filter(|queue| queue.is_secured.load(Ordering::Acquire)) else {
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            };
            let is_last = shared.is_winding_down();
            let count = if is_last {
                1
            } else {
                rng.random_range(1..=AT_ONCE)
            };
            let sent = send(&session, &shared, &lane, &queue, count).await;
            finished = is_last && sent;
        }
    }
}

/// Sends some messages at once; returns whether all were accepted.
async fn send(
    session: &Session,
    shared: &Shared,
    lane: &LaneQueue,
    queue: &Secured,
    count: usize,
) -> bool {
    let entity = EntityId::from(queue.queue.ids.sender_id.clone());
    let numbers: Vec<_> = (0..count).map(|_| lane.journal.lock().ask()).collect();
    let commands: Vec<_> = numbers
        .iter()
        .map(|number| Command::Send {
            flags: silent(),
            body: body(*number),
        })
        .collect();
    let requests = commands
        .iter()
        .map(|command| Request::about(&entity, Some(&queue.sender_key), command));
    let answers = session.request_all(requests.collect()).await;
    let (mut accepted, mut full) = (0, false);
    for (number, answer) in numbers.iter().zip(answers) {
        let mut journal = lane.journal.lock();
        match answer {
            Ok(Response::Ok) => {
                accepted += 1;
                shared.answered();
                shared.checked(journal.accepted(*number));
            }
            Err(ClientError::Refused(ErrorType::Quota)) => {
                full = true;
                shared.answered();
                shared.checked(journal.refused(*number));
            }
            Err(ClientError::Disconnected(_)) => journal.unsure(*number),
            other => {
                journal.unsure(*number);
                shared.violation(format!("SEND: {other:?}"));
            }
        }
    }
    if full {
        // Most of what is sent shall be taken.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    accepted == count
}

async fn recipient(mut way: watch::Receiver<Way>, shared: Arc<Shared>, lane: Arc<LaneQueue>) {
    loop {
        // It stays until it is told to go, so that all messages are taken.
        let (session, mut events) = match come(&mut way, &shared).await {
            Some(connected) => connected,
            None => {
                tokio::task::yield_now().await;
                continue;
            }
        };
        let _ = receive(&session, &mut events, &shared, &lane).await;
    }
}

/// Makes the queue if there is none, and takes messages until the session is over.
async fn receive(
    session: &Session,
    events: &mut Events,
    shared: &Shared,
    lane: &LaneQueue,
) -> Result<(), Over> {
    let known = lane.queue.lock().clone();
    let queue = match known {
        Some(queue) => queue,
        None => {
            let made = Queue::try_create(session, QueueRequest::Messaging(None)).await;
            let queue = Arc::new(Secured {
                queue: shared.expect("NEW", made)?,
                sender_key: new_key(),
                is_secured: AtomicBool::new(false),
            });
            *lane.queue.lock() = Some(Arc::clone(&queue));
            queue
        }
    };
    // If it was done without an answer, once more does no harm.
    let secured = session
        .secure(queue.queue.key(), queue.sender_key.public())
        .await;
    shared.expect("KEY", secured)?;
    queue.is_secured.store(true, Ordering::Release);
    for subscribed in session.subscribe(&[queue.queue.key()]).await {
        shared.expect("SUB", subscribed)?;
    }
    while let Some(event) = events.next().await {
        match event {
            Event::Message { message, .. } => {
                take(session, shared, lane, &queue.queue, message).await?;
            }
            Event::Disconnected(_) => return Err(Over),
            other => shared.violation(format!("{other:?}")),
        }
    }
    Err(Over)
}

/// Acknowledges a message and those that come with the answers.
async fn take(
    session: &Session,
    shared: &Shared,
    lane: &LaneQueue,
    queue: &Queue,
    message: SealedMessage,
) -> Result<(), Over> {
    let mut next = Some(message);
    while let Some(mut message) = next {
        let id = message.id;
        let number = match queue.open(&mut message) {
            None => None,
            Some(content) => {
                let number = usize::from_be_bytes(content[..8].try_into().unwrap());
                if content != body(number) {
                    shared.violation(format!("message {number} has changed"));
                }
                shared.checked(lane.journal.lock().receive(number));
                Some(number)
            }
        };
        let answer = session.acknowledge(queue.key(), id).await;
        next = shared.expect("ACK", answer)?;
        if let Some(number) = number {
            lane.journal.lock().acknowledged(number);
        }
    }
    Ok(())
}
