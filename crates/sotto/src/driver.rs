//! The task that drives an [`Engine`]: sockets, timers, the signal channel.

use std::time::{Duration, Instant, SystemTime};

use call_core::{Event, MissedReason};
use call_signal::{
    CallId, CallMedia, CallMessage, ChannelError, ChatEvent, Envelope, Incoming, OutgoingMessage,
    ReceivedMessage, SentId, SignalChannel,
};
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::engine::{Action, Engine};
use crate::media::MediaStreams;
use crate::network::Network;
use crate::phone::{Call, CallError, CallEvent, Ended, IncomingCall, PhoneEvent};
use crate::pipeline::LineChange;
use crate::statistics::Statistics;
use crate::transport::{MediaLine, RtcConfig, SrtpProfile};

/// Messages that may wait for a slow signal channel.
const SIGNAL_QUEUE: usize = 256;

/// Datagrams handled in one go before timers and commands get their turn.
const DATAGRAM_BATCH: usize = 64;

/// Names a [`Call`] of the application to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallKey(u64);

/// What the application wants.
pub(crate) enum Command {
    Place {
        media: CallMedia,
        streams: MediaStreams,
        reply: oneshot::Sender<Result<Call, CallError>>,
    },
    Accept {
        call_id: CallId,
        media: CallMedia,
        streams: MediaStreams,
        reply: oneshot::Sender<Result<Call, CallError>>,
    },
    Decline {
        call_id: CallId,
    },
    HangUp {
        key: CallKey,
    },
    /// End everything.
    Close,
    Change {
        key: CallKey,
        line: MediaLine,
        change: LineChange,
    },
    Statistics {
        key: CallKey,
        reply: oneshot::Sender<Option<Statistics>>,
    },
}

/// Starts the driver. The task that is returned ends last: when everything is sent and the channel
/// closed.
pub(crate) fn spawn<C: SignalChannel + 'static>(
    channel: C,
    config: Config,
    commands: mpsc::WeakUnboundedSender<Command>,
    command_queue: mpsc::UnboundedReceiver<Command>,
    events: mpsc::Sender<PhoneEvent>,
) -> JoinHandle<()> {
    let (outbox, outgoing) = mpsc::channel(SIGNAL_QUEUE);
    let (incoming, inbox) = mpsc::channel(SIGNAL_QUEUE);
    let signals = tokio::spawn(carry_signals(channel, outgoing, incoming));
    let transport = RtcConfig::new(config.relay_only);
    let engine = Engine::new(
        config.clone(),
        transport,
        UnwrapErr(SysRng),
        UnwrapErr(SysRng),
    );
    let driver = Driver {
        engine,
        config,
        commands,
        events: Some(events),
        outbox,
        network: None,
        opening: None,
        call: None,
        ringing: None,
        last_key: 0,
        invitation: None,
        last_statistics: None,
    };
    tokio::spawn(driver.run(command_queue, inbox));
    signals
}

/// What the signal task passes to the driver.
enum Signal {
    Message(Box<ReceivedMessage>),
    Sent { call_id: CallId, id: SentId },
    Receipt(SentId),
    Refused(String),
    Closed,
}

struct Outgoing {
    message: CallMessage,
    receipt: bool,
}

/// Owns the channel, so that a slow one never holds media up.
async fn carry_signals<C: SignalChannel>(
    mut channel: C,
    mut outgoing: mpsc::Receiver<Outgoing>,
    incoming: mpsc::Sender<Signal>,
) {
    loop {
        let signal = tokio::select! {
            message = outgoing.recv() => match message {
                Some(message) => send(&mut channel, message).await,
                None => break,
            },
            received = channel.receive() => Some(received_signal(received)),
        };
        let closed = matches!(signal, Some(Signal::Closed));
        let Some(signal) = signal else { continue };
        if incoming.send(signal).await.is_err() {
            send_the_rest(&mut channel, &mut outgoing).await;
            break;
        }
        if closed {
            break;
        }
    }
    if let Err(error) = channel.close().await {
        tracing::debug!(%error, "the signal channel was not closed cleanly");
    }
}

/// The driver is gone: what it said last still reaches the peer.
async fn send_the_rest<C: SignalChannel>(channel: &mut C, outgoing: &mut mpsc::Receiver<Outgoing>) {
    while let Some(message) = outgoing.recv().await {
        send(channel, message).await;
    }
}

async fn send<C: SignalChannel>(channel: &mut C, outgoing: Outgoing) -> Option<Signal> {
    let call_id = outgoing.message.call_id;
    let envelope = Envelope::random(&mut UnwrapErr(SysRng));
    let message = match envelope.call(&outgoing.message) {
        Ok(message) => message,
        Err(error) => {
            tracing::error!(%error, "a call event can't be written");
            return None;
        }
    };
    let receipt = outgoing.receipt;
    let message = OutgoingMessage {
        message,
        want_receipt: receipt,
        notify: receipt,
    };
    match channel.send(message).await {
        Ok(id) => receipt.then_some(Signal::Sent { call_id, id }),
        Err(ChannelError::Message(error)) => {
            tracing::error!(%error, "a call event can't be sent");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "the signal channel is gone");
            Some(Signal::Closed)
        }
    }
}

fn received_signal(received: Result<Incoming, ChannelError>) -> Signal {
    match received {
        Ok(Incoming::Message(message)) => Signal::Message(Box::new(message)),
        Ok(Incoming::Receipt(id)) => Signal::Receipt(id),
        Ok(Incoming::Refused(refused)) => Signal::Refused(refused.to_string()),
        Ok(_) => Signal::Closed,
        Err(error) => {
            tracing::warn!(%error, "the signal channel failed");
            Signal::Closed
        }
    }
}

struct Driver {
    engine: Engine,
    config: Config,
    commands: mpsc::WeakUnboundedSender<Command>,
    /// `None` once the channel is closed.
    events: Option<mpsc::Sender<PhoneEvent>>,
    outbox: mpsc::Sender<Outgoing>,
    network: Option<Network>,
    opening: Option<JoinHandle<Network>>,
    call: Option<CurrentCall>,
    ringing: Option<RingingCall>,
    last_key: u64,
    /// The invitation whose receipt is awaited.
    invitation: Option<(CallId, SentId)>,
    last_statistics: Option<(CallId, Box<Statistics>, Option<String>)>,
}

struct CurrentCall {
    key: CallKey,
    call_id: CallId,
    events: mpsc::UnboundedSender<CallEvent>,
}

struct RingingCall {
    call_id: CallId,
    cancelled: watch::Sender<Option<MissedReason>>,
}

impl Driver {
    async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut inbox: mpsc::Receiver<Signal>,
    ) {
        let mut signals_open = true;
        loop {
            self.carry_out();
            let deadline = self.engine.poll_timeout();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Close) | None => break,
                    Some(command) => self.on_command(command),
                },
                signal = inbox.recv(), if signals_open => match signal {
                    Some(Signal::Closed) | None => {
                        signals_open = false;
                        self.engine.handle_channel_closed(Instant::now());
                        self.tell(PhoneEvent::ChannelClosed);
                        self.events = None;
                    }
                    Some(signal) => self.on_signal(signal),
                },
                network = opened(&mut self.opening) => self.on_network(network),
                received = receive(&mut self.network) => {
                    let now = Instant::now();
                    self.engine.handle_datagram(now, received.local, received.peer, &received.bytes);
                    self.drain_datagrams(now);
                }
                () = sleep_until(deadline) => self.engine.handle_timeout(Instant::now()),
            }
        }
        self.hang_up_all();
    }

    /// Phone and calls are gone: the peer is told.
    fn hang_up_all(&mut self) {
        if let Some(call) = &self.call {
            let call_id = call.call_id;
            self.engine.hang_up(Instant::now(), call_id);
        }
        self.carry_out();
    }

    fn drain_datagrams(&mut self, now: Instant) {
        for _ in 0..DATAGRAM_BATCH {
            let Some(received) = self.network.as_mut().and_then(Network::try_receive) else {
                return;
            };
            self.engine
                .handle_datagram(now, received.local, received.peer, &received.bytes);
        }
    }

    fn on_command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Place {
                media,
                streams,
                reply,
            } => {
                let placed = self.engine.place(now, media, streams);
                let answer = placed.map(|id| self.new_call(id)).map_err(CallError::from);
                // Whoever asked may be gone; the call's destructor hangs up then.
                let _ = reply.send(answer);
            }
            Command::Accept {
                call_id,
                media,
                streams,
                reply,
            } => {
                let accepted = self.engine.accept(now, call_id, media, streams);
                let answer = accepted.map(|()| self.new_call(call_id));
                if answer.is_ok() {
                    self.ringing = None;
                }
                let _ = reply.send(answer.map_err(|_| CallError::Over));
            }
            Command::Decline { call_id } => {
                self.ringing.take_if(|ringing| ringing.call_id == call_id);
                // It may have been cancelled meanwhile.
                let _ = self.engine.decline(now, call_id);
            }
            Command::HangUp { key } => {
                if let Some(call_id) = self.call_id(key) {
                    self.engine.hang_up(now, call_id);
                }
            }
            Command::Change { key, line, change } => {
                if self.call_id(key).is_some() {
                    self.engine.change(now, line, change);
                }
            }
            // Ends the loop that calls this.
            Command::Close => {}
            Command::Statistics { key, reply } => {
                let live = self.call_id(key).is_some();
                let statistics = if live {
                    self.engine.statistics(now)
                } else {
                    None
                };
                let _ = reply.send(statistics);
            }
        }
    }

    fn call_id(&self, key: CallKey) -> Option<CallId> {
        self.call
            .as_ref()
            .filter(|call| call.key == key)
            .map(|call| call.call_id)
    }

    fn new_call(&mut self, call_id: CallId) -> Call {
        self.last_key += 1;
        let key = CallKey(self.last_key);
        let (sender, events) = mpsc::unbounded_channel();
        self.call = Some(CurrentCall {
            key,
            call_id,
            events: sender,
        });
        Call {
            key,
            call_id,
            commands: self.commands(),
            events,
        }
    }

    /// A sender for a handle. The queue is open while a command is handled.
    fn commands(&self) -> mpsc::UnboundedSender<Command> {
        self.commands
            .upgrade()
            .unwrap_or_else(|| mpsc::unbounded_channel().0)
    }

    fn on_signal(&mut self, signal: Signal) {
        let now = Instant::now();
        match signal {
            Signal::Message(received) => {
                let ReceivedMessage {
                    message, sent_at, ..
                } = *received;
                let age = sent_at.map_or(Duration::ZERO, age);
                if let ChatEvent::Call(message) = message.into_event() {
                    self.engine.handle_message(now, message, age);
                }
            }
            Signal::Sent { call_id, id } => self.invitation = Some((call_id, id)),
            Signal::Receipt(id) => {
                let invitation = self.invitation.take_if(|(_, sent)| *sent == id);
                if invitation.is_some_and(|(id, _)| self.engine.current_call() == Some(id)) {
                    self.engine.handle_delivered(now);
                }
            }
            Signal::Refused(text) => self.tell(PhoneEvent::BadMessage(text)),
            Signal::Closed => {}
        }
    }

    fn on_network(&mut self, network: Network) {
        let now = Instant::now();
        self.engine
            .handle_network(now, &network.hosts, &network.servers);
        self.network = Some(network);
    }

    /// Does what the engine asks for.
    fn carry_out(&mut self) {
        loop {
            self.flush_datagrams();
            let Some(action) = self.engine.poll_action() else {
                break;
            };
            match action {
                Action::Send { message, receipt } => self.send(message, receipt),
                Action::OpenNetwork { servers } => {
                    let (bind, relay_only) = (self.config.bind.clone(), self.config.relay_only);
                    let open = Network::open(bind, relay_only, servers);
                    self.opening = Some(tokio::spawn(open));
                }
                Action::CloseNetwork => {
                    self.flush_datagrams();
                    self.network = None;
                    if let Some(opening) = self.opening.take() {
                        opening.abort();
                    }
                }
                Action::Final {
                    call_id,
                    statistics,
                    failure,
                } => {
                    self.last_statistics = Some((call_id, statistics, failure));
                }
                Action::Event(event) => self.on_event(&event),
            }
        }
    }

    fn flush_datagrams(&mut self) {
        while let Some(datagram) = self.engine.poll_datagram() {
            if let Some(network) = &self.network {
                network.send(&datagram);
            }
        }
    }

    fn send(&mut self, message: CallMessage, receipt: bool) {
        if self.outbox.try_send(Outgoing { message, receipt }).is_err() {
            tracing::warn!("a call event was not sent: the signal channel is closed or stuck");
        }
    }

    fn on_event(&mut self, event: &Event) {
        match *event {
            Event::Incoming { call_id, media } => self.on_incoming(call_id, media),
            Event::Missed {
                call_id,
                media,
                reason,
            } => {
                if let Some(ringing) = self.ringing.take_if(|r| r.call_id == call_id) {
                    ringing.cancelled.send_replace(Some(reason));
                }
                self.tell(PhoneEvent::Missed {
                    call_id,
                    media,
                    reason,
                });
            }
            Event::Superseded { call_id, by } => {
                if let Some(call) = self.call.as_mut().filter(|c| c.call_id == call_id) {
                    call.call_id = by;
                }
                self.tell_call(by, CallEvent::Superseded { by });
            }
            Event::Ringing { call_id } => self.tell_call(call_id, CallEvent::Ringing),
            Event::Connecting { call_id } => self.tell_call(call_id, CallEvent::Connecting),
            Event::Connected { call_id } => {
                let srtp_profile = SrtpProfile::AeadAes256Gcm;
                self.tell_call(call_id, CallEvent::Connected { srtp_profile });
            }
            Event::Interrupted { call_id } => self.tell_call(call_id, CallEvent::Interrupted),
            Event::Resumed { call_id } => self.tell_call(call_id, CallEvent::Resumed),
            Event::Ended { call_id, reason } => {
                let last = self.last_statistics.take_if(|(id, ..)| *id == call_id);
                let (statistics, detail) = match last {
                    Some((_, statistics, detail)) => (Some(statistics), detail),
                    None => (None, None),
                };
                let ended = Ended {
                    reason,
                    statistics,
                    detail,
                };
                self.tell_call(call_id, CallEvent::Ended(ended));
                self.call.take_if(|call| call.call_id == call_id);
            }
            _ => {}
        }
    }

    fn on_incoming(&mut self, call_id: CallId, media: CallMedia) {
        let (sender, cancelled) = watch::channel(None);
        self.ringing = Some(RingingCall {
            call_id,
            cancelled: sender,
        });
        let commands = self.commands();
        let call = IncomingCall {
            call_id,
            media,
            commands,
            cancelled,
            answered: false,
        };
        // If the application does not listen, the call's destructor declines it.
        self.tell(PhoneEvent::Incoming(call));
    }

    fn tell(&self, event: PhoneEvent) {
        let Some(events) = &self.events else { return };
        if events.try_send(event).is_err() {
            tracing::debug!("the application does not listen to the phone's events");
        }
    }

    fn tell_call(&self, call_id: CallId, event: CallEvent) {
        if let Some(call) = self.call.as_ref().filter(|call| call.call_id == call_id) {
            // The handle may be dropped; the call hangs up then.
            let _ = call.events.send(event);
        }
    }
}

fn age(sent_at: SystemTime) -> Duration {
    SystemTime::now()
        .duration_since(sent_at)
        .unwrap_or_default()
}

async fn opened(opening: &mut Option<JoinHandle<Network>>) -> Network {
    loop {
        match opening {
            None => std::future::pending().await,
            Some(handle) => {
                let result = handle.await;
                *opening = None;
                match result {
                    Ok(network) => return network,
                    Err(error) => tracing::error!(%error, "opening the network failed"),
                }
            }
        }
    }
}

async fn receive(network: &mut Option<Network>) -> crate::network::Received {
    match network.as_mut() {
        Some(network) => match network.receive().await {
            Some(received) => received,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
