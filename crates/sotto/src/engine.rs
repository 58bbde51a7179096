//! The engine of the calls with one contact, without sockets, clock or tasks.
//!
//! It ties the call state machine to the live session. The driver feeds it what the user wants and
//! what came in, and carries out what it says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use call_core::{
    CallConfig, CallMachine, EndReason, Event, IceServer, NotRinging, OpenTransport, Output,
    PlaceError, choose_servers,
};
use call_signal::{CallId, CallMedia, CallMessage};
use rand::CryptoRng;

use crate::config::Config;
use crate::gather::ReachableServer;
use crate::media::MediaStreams;
use crate::pipeline::LineChange;
use crate::session::{Session, SessionEvent};
use crate::statistics::Statistics;
use crate::transport::{Datagram, MediaLine, RtcConfig, TransportError};

/// Something that the driver does next.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send a call event; with `receipt`, ask for one and notify.
    Send { message: CallMessage, receipt: bool },
    /// Open sockets, resolve these servers, and call [`Engine::handle_network`].
    OpenNetwork { servers: Vec<IceServer> },
    /// Send what is left to send, then close the sockets.
    CloseNetwork,
    /// Tell the user.
    Event(Event),
    /// The call ended with these figures.
    Final {
        call_id: CallId,
        statistics: Box<Statistics>,
        failure: Option<String>,
    },
}

/// The calls with one contact.
pub(crate) struct Engine {
    machine: CallMachine,
    rng: Box<dyn CryptoRng + Send>,
    config: Config,
    transport: RtcConfig,
    session: Option<Session>,
    /// Streams of the call that is placed or accepted, until it goes live.
    streams: Option<MediaStreams>,
    /// Wait for the session.
    changes: Vec<(MediaLine, LineChange)>,
    actions: VecDeque<Action>,
    /// What a closed session still has to say.
    farewell: VecDeque<Datagram>,
    /// Why media failed, for the final figures.
    failure: Option<String>,
}

impl Engine {
    pub(crate) fn new(
        config: Config,
        transport: RtcConfig,
        machine_rng: impl CryptoRng + Send + 'static,
        rng: impl CryptoRng + Send + 'static,
    ) -> Self {
        let machine = CallConfig {
            require_frame_encryption: config.require_frame_encryption,
            relay_only: config.relay_only,
            ..CallConfig::default()
        };
        Self {
            machine: CallMachine::new(machine, machine_rng),
            rng: Box::new(rng),
            config,
            transport,
            session: None,
            streams: None,
            changes: Vec::new(),
            actions: VecDeque::new(),
            farewell: VecDeque::new(),
            failure: None,
        }
    }

    pub(crate) fn place(
        &mut self,
        now: Instant,
        media: CallMedia,
        streams: MediaStreams,
    ) -> Result<CallId, PlaceError> {
        let call_id = self.machine.place(now, media)?;
        self.streams = Some(streams);
        self.changes.clear();
        self.run(now);
        Ok(call_id)
    }

    pub(crate) fn accept(
        &mut self,
        now: Instant,
        call_id: CallId,
        media: CallMedia,
        streams: MediaStreams,
    ) -> Result<(), NotRinging> {
        self.machine.accept(now, call_id, media)?;
        self.streams = Some(streams);
        self.changes.clear();
        self.run(now);
        Ok(())
    }

    pub(crate) fn decline(&mut self, now: Instant, call_id: CallId) -> Result<(), NotRinging> {
        let result = self.machine.decline(call_id);
        self.run(now);
        result
    }

    /// Ends `call_id`, if it is still the current call.
    pub(crate) fn hang_up(&mut self, now: Instant, call_id: CallId) {
        if self.current_call() == Some(call_id) {
            self.machine.hang_up();
        }
        self.run(now);
    }

    /// Attaches, detaches or mutes a source of the current call.
    pub(crate) fn change(&mut self, now: Instant, line: MediaLine, change: LineChange) {
        match &mut self.session {
            Some(session) => session.change(now, line, change),
            None => self.changes.push((line, change)),
        }
    }

    pub(crate) fn handle_message(&mut self, now: Instant, message: CallMessage, age: Duration) {
        self.machine.handle_message(now, message, age);
        self.run(now);
    }

    pub(crate) fn handle_delivered(&mut self, now: Instant) {
        self.machine.handle_delivered();
        self.run(now);
    }

    pub(crate) fn handle_channel_closed(&mut self, now: Instant) {
        self.machine.handle_channel_closed();
        self.run(now);
    }

    /// The sockets that [`Action::OpenNetwork`] asked for are open.
    pub(crate) fn handle_network(
        &mut self,
        now: Instant,
        sockets: &[SocketAddr],
        servers: &[ReachableServer],
    ) {
        if let Some(session) = &mut self.session {
            session.handle_network(now, sockets, servers);
        }
        self.run(now);
    }

    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        peer: SocketAddr,
        bytes: &[u8],
    ) {
        if let Some(session) = &mut self.session {
            session.handle_datagram(now, local, peer, bytes);
        }
        self.run(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
        if let Some(session) = &mut self.session {
            session.handle_timeout(now);
        }
        self.run(now);
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let session = self.session.as_mut().and_then(Session::poll_timeout);
        [self.machine.poll_timeout(), session]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(crate) fn poll_datagram(&mut self) -> Option<Datagram> {
        if let Some(datagram) = self.farewell.pop_front() {
            return Some(datagram);
        }
        self.session.as_mut()?.poll_datagram()
    }

    /// The call that is placed, ringing or live.
    pub(crate) fn current_call(&self) -> Option<CallId> {
        self.machine.current_call()
    }

    /// Figures of the live call.
    pub(crate) fn statistics(&mut self, now: Instant) -> Option<Statistics> {
        self.session.as_mut().map(|session| figures(session, now))
    }

    #[cfg(any(test, feature = "harness"))]
    pub(crate) fn live_session(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// Carries out what the machine and the session say until both are quiet.
    fn run(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.machine.poll_output() {
                self.on_output(now, output);
            } else if let Some(event) = self.session.as_mut().and_then(Session::poll_event) {
                self.on_session_event(now, event);
            } else {
                break;
            }
        }
    }

    fn on_output(&mut self, now: Instant, output: Output) {
        match output {
            Output::Send { message, receipt } => {
                self.actions.push_back(Action::Send { message, receipt });
            }
            Output::Open(open) => self.open(now, &open),
            Output::ApplyAnswer(answer) => {
                let Some(session) = &mut self.session else {
                    return;
                };
                if let Err(error) = session.apply_answer(now, &answer) {
                    self.fail(&error);
                }
            }
            Output::AddCandidates(candidates) => {
                if let Some(session) = &mut self.session {
                    session.add_remote_candidates(now, &candidates);
                }
            }
            Output::CloseTransport { call_id } => self.close(now, call_id),
            Output::Event(event) => self.on_event(event),
        }
    }

    fn open(&mut self, now: Instant, open: &OpenTransport) {
        let servers = match choose_servers(
            &self.config.ice_servers,
            self.config.relay_only,
            &mut self.rng,
        ) {
            Ok(servers) => servers,
            Err(error) => {
                tracing::error!(%error);
                return self
                    .machine
                    .handle_transport_failed(EndReason::NoCandidates);
            }
        };
        let streams = self.streams.take().unwrap_or_default();
        match Session::open(now, self.transport, open, streams, &mut self.rng) {
            Ok((mut session, description)) => {
                for (line, change) in self.changes.drain(..) {
                    session.change(now, line, change);
                }
                self.session = Some(session);
                self.machine.handle_local_description(now, description);
                self.actions.push_back(Action::OpenNetwork { servers });
            }
            Err(error) => self.fail(&error),
        }
    }

    fn on_session_event(&mut self, now: Instant, event: SessionEvent) {
        match event {
            SessionEvent::LocalCandidates(candidates) => {
                self.machine.handle_local_candidates(now, candidates);
            }
            SessionEvent::GatheringComplete => self.machine.handle_gathering_complete(now),
            SessionEvent::Connected | SessionEvent::Resumed => self.machine.handle_connected(),
            SessionEvent::Interrupted => self.machine.handle_interrupted(now),
            SessionEvent::Failed(EndReason::PeerHungUp) => {
                self.machine.handle_transport_closed();
            }
            SessionEvent::Failed(reason) => self.machine.handle_transport_failed(reason),
        }
    }

    fn on_event(&mut self, event: Event) {
        if let Event::Ended { .. } | Event::Missed { .. } = event {
            self.streams = None;
        }
        self.actions.push_back(Action::Event(event));
    }

    fn fail(&mut self, error: &TransportError) {
        tracing::warn!(%error, "the call can't be set up");
        self.failure = Some(error.to_string());
        self.machine.handle_transport_failed(match error {
            TransportError::BadDescription(_) => EndReason::BadSessionDescription,
            TransportError::Local(_) => EndReason::MediaFailed,
        });
    }

    fn close(&mut self, now: Instant, call_id: CallId) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        let statistics = Box::new(figures(&mut session, now));
        session.close(now);
        while let Some(datagram) = session.poll_datagram() {
            self.farewell.push_back(datagram);
        }
        let failure = session.take_failure().or(self.failure.take());
        self.actions.push_back(Action::Final {
            call_id,
            statistics,
            failure,
        });
        self.actions.push_back(Action::CloseNetwork);
    }
}

fn figures(session: &mut Session, now: Instant) -> Statistics {
    Statistics::new(
        session.times(),
        session.transport_statistics(now),
        session.frame_statistics(),
        session.audio_statistics(),
    )
}
