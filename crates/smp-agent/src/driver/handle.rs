//! What the application holds.

use std::fmt;
use std::sync::{Arc, mpsc as sync_mpsc};

use smp_client::{ClientError, Connector, DisconnectReason, SessionOptions};
use smp_protocol::ServerAddress;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use super::actor::Actor;
use super::clock::Clock;
use super::error::{AgentError, ServerTestError, ServerTestStep};
use super::events::{AgentEvents, Teller};
use super::options::{AgentOptions, MakeRandomness};
use super::server_test;
use crate::core::{Core, CoreError, Links, NumberedEvent, Security};
use crate::model::{Connection, ConnectionId, EventId, RequestId, Timestamp};
use crate::protocol::ConnectionLink;
use crate::store::Store;

/// Commands of the application that wait for the actor.
const COMMANDS: usize = 64;

/// A handle to an agent; a clone is the same agent.
///
/// The agent ends when it is closed, and when the last handle and its [`AgentEvents`] are dropped.
/// The methods are those of [`Core`], and each is done in one transaction of the store. If the
/// future of one is dropped, what was asked may be done nevertheless.
#[derive(Clone)]
pub struct Agent {
    asking: Asking,
    hurry: Arc<Notify>,
    runtime: Handle,
    connector: Arc<dyn Connector>,
    session: SessionOptions,
    random: MakeRandomness,
}

/// The way to the actor.
#[derive(Clone)]
pub(super) struct Asking(mpsc::Sender<Command>);

/// What the core is asked for, answer included.
type Work = Box<dyn FnOnce(&mut Core, Timestamp) + Send>;

/// What the actor is asked for.
pub(super) enum Command {
    /// Something of the core.
    Work(Work),
    /// Other servers.
    Servers(Vec<ServerAddress>, oneshot::Sender<()>),
    /// The end, and the store.
    Close(oneshot::Sender<Store>),
}

/// Where the actor hears of it.
pub(super) struct Asked {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) hurry: Arc<Notify>,
}

impl Agent {
    /// Starts an agent on a thread and runtime of its own, so that neither cryptography nor the
    /// store ever holds up the caller's other work.
    ///
    /// # Errors
    /// [`AgentError::Thread`], [`AgentError::Core`] if the store cannot be read.
    pub fn start(store: Store, options: AgentOptions) -> Result<(Self, AgentEvents), AgentError> {
        let (started, result) = sync_mpsc::channel();
        std::thread::Builder::new()
            .name("smp-agent".to_owned())
            .spawn(move || {
                if let Err(error) = run(store, options, &started) {
                    let _ = started.send(Err(error));
                }
            })
            .map_err(AgentError::Thread)?;
        result.recv().unwrap_or(Err(AgentError::Closed))
    }

    /// Starts an agent in the present runtime, which does the work of the store and all
    /// cryptography, too: for tests in virtual time.
    ///
    /// # Errors
    /// [`AgentError::Core`] if the store cannot be read.
    pub fn start_here(
        store: Store,
        options: AgentOptions,
    ) -> Result<(Self, AgentEvents), AgentError> {
        let (agent, events, actor) = prepare(store, options, Clock::runtime(), &Handle::current())?;
        tokio::spawn(actor.run());
        Ok((agent, events))
    }

    /// As [`Core::invite`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn invite(&self, info: &[u8], link_data: &[u8]) -> Result<ConnectionId, AgentError> {
        let (info, link_data) = (own(info), own(link_data));
        self.asking
            .core(move |core, now| core.invite(&info, &link_data, now))
            .await
    }

    /// As [`Core::create_address`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn create_address(&self, link_data: &[u8]) -> Result<ConnectionId, AgentError> {
        let link_data = own(link_data);
        self.asking
            .core(move |core, now| core.create_address(&link_data, now))
            .await
    }

    /// As [`Core::connect`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn connect(
        &self,
        link: &ConnectionLink,
        info: &[u8],
    ) -> Result<ConnectionId, AgentError> {
        let (link, info) = (link.clone(), own(info));
        self.asking
            .core(move |core, now| core.connect(&link, &info, now))
            .await
    }

    /// As [`Core::accept`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn accept(
        &self,
        request: RequestId,
        info: &[u8],
    ) -> Result<ConnectionId, AgentError> {
        let info = own(info);
        self.asking
            .core(move |core, now| core.accept(request, &info, now))
            .await
    }

    /// As [`Core::reject`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn reject(&self, request: RequestId) -> Result<(), AgentError> {
        self.asking
            .core(move |core, now| core.reject(request, now))
            .await
    }

    /// As [`Core::send`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn send(
        &self,
        connection: ConnectionId,
        body: &[u8],
        want_receipt: bool,
    ) -> Result<i64, AgentError> {
        let body = own(body);
        self.asking
            .core(move |core, now| core.send(connection, &body, want_receipt, now))
            .await
    }

    /// As [`Core::message_limit`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn message_limit(&self, connection: ConnectionId) -> Result<usize, AgentError> {
        self.asking
            .core(move |core, _| core.message_limit(connection))
            .await
    }

    /// As [`Core::events`]. [`AgentEvents`] tells the same events as they come.
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn events(
        &self,
        after: EventId,
        limit: usize,
    ) -> Result<Vec<NumberedEvent>, AgentError> {
        self.asking
            .core(move |core, _| core.events(after, limit))
            .await
    }

    /// As [`Core::take_event`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn take_event(&self, event: EventId, receipt: bool) -> Result<bool, AgentError> {
        self.asking
            .core(move |core, now| core.take_event(event, receipt, now))
            .await
    }

    /// As [`Core::rotate`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn rotate(&self, connection: ConnectionId) -> Result<(), AgentError> {
        self.asking
            .core(move |core, now| core.rotate(connection, now))
            .await
    }

    /// As [`Core::add_queue`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn add_queue(&self, connection: ConnectionId) -> Result<(), AgentError> {
        self.asking
            .core(move |core, now| core.add_queue(connection, now))
            .await
    }

    /// As [`Core::resynchronise`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn resynchronise(&self, connection: ConnectionId) -> Result<(), AgentError> {
        self.asking
            .core(move |core, now| core.resynchronise(connection, now))
            .await
    }

    /// As [`Core::delete`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn delete(&self, connection: ConnectionId) -> Result<(), AgentError> {
        self.asking
            .core(move |core, now| core.delete(connection, now))
            .await
    }

    /// As [`Core::set_link_data`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn set_link_data(
        &self,
        connection: ConnectionId,
        link_data: &[u8],
    ) -> Result<(), AgentError> {
        let link_data = own(link_data);
        self.asking
            .core(move |core, now| core.set_link_data(connection, &link_data, now))
            .await
    }

    /// As [`Core::links`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn links(&self, connection: ConnectionId) -> Result<Option<Links>, AgentError> {
        self.asking
            .core(move |core, _| core.links(connection))
            .await
    }

    /// As [`Core::connections`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn connections(&self) -> Result<Vec<Connection>, AgentError> {
        self.asking.core(|core, _| core.connections()).await
    }

    /// As [`Core::connection`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn connection(&self, id: ConnectionId) -> Result<Connection, AgentError> {
        self.asking.core(move |core, _| core.connection(id)).await
    }

    /// As [`Core::security`].
    ///
    /// # Errors
    /// As there, and [`AgentError::Closed`].
    pub async fn security(&self, id: ConnectionId) -> Result<Option<Security>, AgentError> {
        self.asking.core(move |core, _| core.security(id)).await
    }

    /// Lets `work` use the store, for the tables of whoever uses the agent. The agent does nothing
    /// else meanwhile.
    ///
    /// # Errors
    /// [`AgentError::Closed`].
    pub async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Result<T, AgentError> {
        self.asking.ask(move |core, _| work(core.store())).await
    }

    /// Uses these servers from now on: for new queues, and as proxies. Present queues stay where
    /// they are.
    ///
    /// # Errors
    /// [`AgentError::Closed`].
    pub async fn set_servers(&self, servers: Vec<ServerAddress>) -> Result<(), AgentError> {
        let (reply, done) = oneshot::channel();
        self.asking.send(Command::Servers(servers, reply)).await?;
        done.await.map_err(|_| AgentError::Closed)
    }

    /// The network is back: connects, and tries what waits, now.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Makes a queue at a server, secures it and deletes it. The server need not be configured.
    ///
    /// # Errors
    /// [`ServerTestError`]: the step that did not work, and why.
    pub async fn test_server(&self, server: &ServerAddress) -> Result<(), ServerTestError> {
        let (connector, session) = (Arc::clone(&self.connector), self.session.clone());
        let test = server_test::run(connector, server.clone(), session, (self.random)());
        // It runs where the agent does: the caller need not have a runtime with I/O.
        let test = AbortOnDropHandle::new(self.runtime.spawn(test));
        let ended = ServerTestError {
            step: ServerTestStep::Connect,
            error: ClientError::Disconnected(DisconnectReason::Closed),
        };
        test.await.unwrap_or(Err(ended))
    }

    /// Ends the agent, once what is under way at relays is answered or some seconds have passed,
    /// and gives the store back. Nothing if another handle closed it.
    pub async fn close(self) -> Option<Store> {
        let (reply, store) = oneshot::channel();
        self.asking.send(Command::Close(reply)).await.ok()?;
        store.await.ok()
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Agent")
    }
}

impl Asking {
    /// Asks the core for something that may fail.
    pub(super) async fn core<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Core, Timestamp) -> Result<T, CoreError> + Send + 'static,
    ) -> Result<T, AgentError> {
        Ok(self.ask(work).await??)
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Core, Timestamp) -> T + Send + 'static,
    ) -> Result<T, AgentError> {
        let (reply, answer) = oneshot::channel();
        let work = move |core: &mut Core, now| {
            let _ = reply.send(work(core, now));
        };
        self.send(Command::Work(Box::new(work))).await?;
        answer.await.map_err(|_| AgentError::Closed)
    }

    async fn send(&self, command: Command) -> Result<(), AgentError> {
        self.0.send(command).await.map_err(|_| AgentError::Closed)
    }
}

/// What the application gave, for another task; wiped when that has it.
fn own(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.to_vec())
}

/// What [`Agent::start`] returns.
type Started = Result<(Agent, AgentEvents), AgentError>;

/// Runs an agent in this thread, to its end.
fn run(
    store: Store,
    options: AgentOptions,
    started: &sync_mpsc::Sender<Started>,
) -> Result<(), AgentError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(AgentError::Thread)?;
    let prepared = {
        // Its clock is the runtime's.
        let _entered = runtime.enter();
        prepare(store, options, Clock::system(), runtime.handle())
    };
    let (agent, events, actor) = prepared?;
    let _ = started.send(Ok((agent, events)));
    runtime.block_on(actor.run());
    runtime.shutdown_background();
    Ok(())
}

/// An agent that does not run yet.
fn prepare(
    store: Store,
    options: AgentOptions,
    mut clock: Clock,
    runtime: &Handle,
) -> Result<(Agent, AgentEvents, Actor), AgentError> {
    let core = Core::new(
        store,
        options.core_config(),
        (options.random)(),
        clock.now(),
    )?;
    let (sender, commands) = mpsc::channel(COMMANDS);
    let hurry = Arc::new(Notify::new());
    let asking = Asking(sender);
    let (teller, events) = Teller::new(asking.clone());
    let agent = Agent {
        asking,
        hurry: Arc::clone(&hurry),
        runtime: runtime.clone(),
        connector: Arc::clone(&options.connector),
        session: options.relay.session.clone(),
        random: Arc::clone(&options.random),
    };
    let asked = Asked { commands, hurry };
    Ok((
        agent,
        events,
        Actor::new(core, clock, options, teller, asked),
    ))
}
