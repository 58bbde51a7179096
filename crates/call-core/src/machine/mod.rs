//! The call state machine: both roles, no clock, no socket, no task.

mod output;
mod past;
mod state;
mod transitions;
mod trickle;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use call_signal::{
    CallEvent, CallId, CallMedia, CallMessage, CallType, CallVersionRange, IceCandidate,
    Invitation, SessionDescription,
};
use rand::{CryptoRng, Rng as _};

pub use output::{EndReason, Event, MissedReason, OpenTransport, Output, Refusal, SdpSide};
pub use trickle::{BATCH_INTERVAL, FIRST_BATCH_DELAY, TRICKLE_LIMIT};

use crate::relay_policy::{filter_candidate, filter_sdp};
use crate::{CallKeyPair, RemoteCandidates};
use past::PastCalls;
use state::{Calling, Live, Stage, State};
use trickle::Trickle;

/// An invitation lives this long, counted from the moment when the relay took it.
pub const INVITATION_LIFE: Duration = Duration::from_secs(180);

/// From acceptance to connected media.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A call whose network path is down ends after this.
pub const INTERRUPTION_LIMIT: Duration = Duration::from_secs(30);

/// What one side of the calls with one contact does.
///
/// At most one call is live at a time. The owner calls, in any order and with a `now` that never
/// goes back, the user's wishes ([`place`](Self::place), [`accept`](Self::accept),
/// [`decline`](Self::decline), [`hang_up`](Self::hang_up)), what came in (`handle_*`), and
/// [`handle_timeout`](Self::handle_timeout) no later than [`poll_timeout`](Self::poll_timeout)
/// says. After each of these it drains [`poll_output`](Self::poll_output) and carries the outputs
/// out in their order.
///
/// ```text
///            place                    accept
///   Idle ───────────▶ Calling     Ringing ◀─── invitation ── Idle
///                        │ offer     │
///                        ▼           ▼
///                       Live: Describing ─▶ Negotiating ─▶ Connected ⇄ Interrupted
///                        │
///                        ▼   end, hang-up, timeout or refusal, from every state
///                       Idle
/// ```
///
/// If both sides call each other at once, the larger call id wins and is accepted on the losing
/// side without ringing, since its user wants the same call. A message for another call, for the
/// wrong role or for the wrong state is dropped, and a call id that was over once never rings
/// again.
pub struct CallMachine {
    config: CallConfig,
    rng: Box<dyn CryptoRng + Send>,
    state: State,
    available: bool,
    past: PastCalls,
    outputs: VecDeque<Output>,
}

/// What a [`CallMachine`] offers and demands.
#[derive(Clone, Copy, Debug)]
pub struct CallConfig {
    /// Call versions that this side speaks.
    pub versions: CallVersionRange,
    /// Refuse calls whose frames would not be encrypted end to end. On by default.
    pub require_frame_encryption: bool,
    /// Let no candidate that is not a relay's leave this side. On by default.
    pub relay_only: bool,
}

impl Default for CallConfig {
    fn default() -> Self {
        Self {
            versions: SUPPORTED_VERSIONS,
            require_frame_encryption: true,
            relay_only: true,
        }
    }
}

/// Call versions spoken by this crate: 1 and 2.
pub const SUPPORTED_VERSIONS: CallVersionRange = CallVersionRange::SUPPORTED;

/// Why a call can't be placed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// The contact is calling: accept its call instead.
    #[error("the contact is calling already; accept that call instead")]
    Ringing,
    /// There is a call with this contact.
    #[error("there is a call with this contact already; hang up first")]
    InCall,
}

/// There is no ringing call with this id (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no call with this id is ringing: it was cancelled, answered or has expired")]
pub struct NotRinging;

impl CallMachine {
    /// A machine for the calls with one contact; ids and keys are drawn from `rng`.
    pub fn new(config: CallConfig, rng: impl CryptoRng + Send + 'static) -> Self {
        Self {
            config,
            rng: Box::new(rng),
            state: State::Idle,
            available: true,
            past: PastCalls::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Calls the contact.
    pub fn place(&mut self, now: Instant, media: CallMedia) -> Result<CallId, PlaceError> {
        match self.state {
            State::Idle => {}
            State::Ringing(_) => return Err(PlaceError::Ringing),
            State::Calling(_) | State::Live(_) => return Err(PlaceError::InCall),
        }
        let mut id = CallId([0; CallId::LEN]);
        self.rng.fill_bytes(&mut id.0);
        let keys = CallKeyPair::generate(&mut self.rng);
        let invitation = Invitation {
            call_type: CallType {
                media,
                encryption: true,
            },
            dh_public_key: Some(keys.public_key()),
            versions: self.config.versions,
        };
        let message = CallMessage {
            call_id: id,
            event: CallEvent::Invitation(invitation),
        };
        self.outputs.push_back(Output::Send {
            message,
            receipt: true,
        });
        self.state = State::Calling(Calling {
            id,
            media,
            keys,
            expires: now + INVITATION_LIFE,
            delivered: false,
            early: RemoteCandidates::new(),
            early_queue: Vec::new(),
        });
        Ok(id)
    }

    /// Accepts the ringing call `call_id` with `media`.
    pub fn accept(
        &mut self,
        now: Instant,
        call_id: CallId,
        media: CallMedia,
    ) -> Result<(), NotRinging> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Ringing(ringing) if ringing.id == call_id => {
                self.answer_invitation(now, call_id, &ringing.invitation, media);
                Ok(())
            }
            other => {
                self.state = other;
                Err(NotRinging)
            }
        }
    }

    /// Declines the ringing call `call_id`. Nothing is sent: the peer goes on ringing, as in
    /// SimpleX Chat.
    pub fn decline(&mut self, call_id: CallId) -> Result<(), NotRinging> {
        match &self.state {
            State::Ringing(ringing) if ringing.id == call_id => {
                self.end(EndReason::Declined, Farewell::Silent);
                Ok(())
            }
            _ => Err(NotRinging),
        }
    }

    /// Ends the call, whatever its state. A ringing call is declined.
    pub fn hang_up(&mut self) {
        match &self.state {
            State::Idle => {}
            State::Ringing(_) => self.end(EndReason::Declined, Farewell::Silent),
            State::Calling(_) | State::Live(_) => self.end(EndReason::HungUp, Farewell::Send),
        }
    }

    /// Whether calls may ring: false while this side is in a call with another contact.
    pub fn set_available(&mut self, available: bool) {
        self.available = available;
    }

    /// A call event came from the peer. `age` is how long ago the relay took it (zero where the
    /// channel can't tell).
    pub fn handle_message(&mut self, now: Instant, message: CallMessage, age: Duration) {
        let id = message.call_id;
        match message.event {
            CallEvent::Invitation(invitation) => self.on_invitation(now, id, invitation, age),
            CallEvent::Offer(offer) => self.on_offer(now, id, offer),
            CallEvent::Answer(answer) => self.on_answer(now, id, answer.session),
            CallEvent::Extra(extra) => self.on_extra(id, &extra.candidates),
            CallEvent::End => self.on_end(id),
        }
    }

    /// The invitation was delivered to the peer's device.
    pub fn handle_delivered(&mut self) {
        if let State::Calling(calling) = &mut self.state
            && !std::mem::replace(&mut calling.delivered, true)
        {
            self.outputs.push_back(Output::Event(Event::Ringing {
                call_id: calling.id,
            }));
        }
    }

    /// The signal channel is closed for good. A connected call goes on without it.
    pub fn handle_channel_closed(&mut self) {
        match &self.state {
            State::Idle => {}
            State::Live(live) if live.connected_once() => {}
            State::Ringing(_) => self.miss_ringing(MissedReason::ChannelClosed),
            State::Calling(_) | State::Live(_) => {
                self.end(EndReason::ChannelClosed, Farewell::Silent);
            }
        }
    }

    /// The transport described itself, as [`Output::Open`] asked.
    pub fn handle_local_description(&mut self, now: Instant, description: SessionDescription) {
        let relay_only = self.config.relay_only;
        let State::Live(live) = &mut self.state else {
            return;
        };
        if live.stage != Stage::Describing || live.description.is_some() {
            return;
        }
        let sdp = if relay_only {
            filter_sdp(&description.sdp)
        } else {
            description.sdp
        };
        live.description = Some(SessionDescription {
            kind: description.kind,
            sdp,
        });
        live.trickle = Some(Trickle::new(now));
        self.flush_candidates(now);
    }

    /// The transport found candidates of this side.
    pub fn handle_local_candidates(&mut self, now: Instant, candidates: Vec<IceCandidate>) {
        let relay_only = self.config.relay_only;
        let State::Live(Live {
            trickle: Some(trickle),
            ..
        }) = &mut self.state
        else {
            return;
        };
        if relay_only {
            trickle.add(now, candidates.iter().filter_map(filter_candidate));
        } else {
            trickle.add(now, candidates);
        }
        self.flush_candidates(now);
    }

    /// The transport has no more candidates to find.
    pub fn handle_gathering_complete(&mut self, now: Instant) {
        let State::Live(Live {
            trickle: Some(trickle),
            ..
        }) = &mut self.state
        else {
            return;
        };
        if trickle.complete(now) {
            self.flush_candidates(now);
        } else {
            self.end(EndReason::NoCandidates, Farewell::Send);
        }
    }

    /// The transport is connected: the DTLS certificate and the SRTP profile were checked.
    pub fn handle_connected(&mut self) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        let call_id = live.id;
        let event = match live.stage {
            Stage::Connected => return,
            Stage::Interrupted { .. } => Event::Resumed { call_id },
            Stage::Describing | Stage::Negotiating => Event::Connected { call_id },
        };
        live.stage = Stage::Connected;
        self.outputs.push_back(Output::Event(event));
    }

    /// The transport lost the path to the peer.
    pub fn handle_interrupted(&mut self, now: Instant) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        if live.stage == Stage::Connected {
            live.stage = Stage::Interrupted {
                until: now + INTERRUPTION_LIMIT,
            };
            self.outputs
                .push_back(Output::Event(Event::Interrupted { call_id: live.id }));
        }
    }

    /// The transport can't go on; `reason` says why.
    pub fn handle_transport_failed(&mut self, reason: EndReason) {
        if let State::Live(_) = self.state {
            self.end(reason, Farewell::Send);
        }
    }

    /// The peer closed the transport, and with it the call.
    pub fn handle_transport_closed(&mut self) {
        if let State::Live(_) = self.state {
            self.end(EndReason::PeerHungUp, Farewell::Silent);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, if at all.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Calling(calling) => Some(calling.expires),
            State::Ringing(ringing) => Some(ringing.expires),
            State::Live(live) => live.poll_timeout(),
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.flush_candidates(now);
        match &self.state {
            State::Calling(calling) if calling.expires <= now => {
                self.end(EndReason::Unanswered, Farewell::Send);
            }
            State::Ringing(ringing) if ringing.expires <= now => {
                self.miss_ringing(MissedReason::Expired);
            }
            State::Live(live) if live.deadline().is_some_and(|at| at <= now) => {
                let reason = match live.stage {
                    Stage::Interrupted { .. } => EndReason::Disconnected,
                    _ => EndReason::ConnectTimeout,
                };
                self.end(reason, Farewell::Send);
            }
            _ => {}
        }
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The call that is placed, ringing or live.
    pub fn current_call(&self) -> Option<CallId> {
        self.state.call_id()
    }

    /// Whether media may flow.
    pub fn is_connected(&self) -> bool {
        matches!(&self.state, State::Live(live) if live.connected_once())
    }
}

/// Whether the peer is told that a call is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Farewell {
    Send,
    Silent,
}

#[cfg(test)]
mod tests;
