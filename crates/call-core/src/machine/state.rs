//! States of a call.

use std::time::Instant;

use call_signal::{
    Answer, CallDhPublicKey, CallEvent, CallId, CallMedia, CallType, CallVersion, IceCandidate,
    Invitation, Offer, RtcSession, SessionDescription,
};

use super::trickle::Trickle;
use crate::{CallKeyPair, RemoteCandidates};

pub(super) enum State {
    /// No call.
    Idle,
    /// This side sent an invitation (`invitationSent`).
    Calling(Calling),
    /// The peer's invitation waits for the user (`invitationReceived`).
    Ringing(Ringing),
    /// Accepted (`offerReceived`, `offerSent`, `negotiated`).
    Live(Live),
}

impl State {
    pub(super) fn call_id(&self) -> Option<CallId> {
        match self {
            Self::Idle => None,
            Self::Calling(calling) => Some(calling.id),
            Self::Ringing(ringing) => Some(ringing.id),
            Self::Live(live) => Some(live.id),
        }
    }
}

pub(super) struct Calling {
    pub(super) id: CallId,
    pub(super) media: CallMedia,
    pub(super) keys: CallKeyPair,
    pub(super) expires: Instant,
    pub(super) delivered: bool,
    /// Candidates that overtook the offer.
    pub(super) early: RemoteCandidates,
    pub(super) early_queue: Vec<IceCandidate>,
}

pub(super) struct Ringing {
    pub(super) id: CallId,
    pub(super) invitation: Invitation,
    pub(super) expires: Instant,
}

pub(super) struct Live {
    pub(super) id: CallId,
    pub(super) role: Role,
    pub(super) media: CallMedia,
    pub(super) stage: Stage,
    pub(super) connect_by: Instant,
    /// The local description, until it is sent.
    pub(super) description: Option<SessionDescription>,
    pub(super) trickle: Option<Trickle>,
    pub(super) remote: RemoteCandidates,
    /// The peer's description was given to the transport.
    pub(super) remote_described: bool,
    /// Candidates that overtook the peer's answer.
    pub(super) held: Vec<IceCandidate>,
}

pub(super) enum Role {
    Caller,
    Callee {
        version: CallVersion,
        offered_key: Option<CallDhPublicKey>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The local description is not sent yet.
    Describing,
    /// It is sent; the transport connects.
    Negotiating,
    /// Media flows.
    Connected,
    /// The path is down.
    Interrupted { until: Instant },
}

impl Live {
    pub(super) fn new(id: CallId, role: Role, media: CallMedia, connect_by: Instant) -> Self {
        let remote_described = matches!(role, Role::Caller);
        Self {
            id,
            role,
            media,
            stage: Stage::Describing,
            connect_by,
            description: None,
            trickle: None,
            remote: RemoteCandidates::new(),
            remote_described,
            held: Vec::new(),
        }
    }

    pub(super) fn connected_once(&self) -> bool {
        matches!(self.stage, Stage::Connected | Stage::Interrupted { .. })
    }

    pub(super) fn awaits_answer(&self) -> bool {
        matches!(self.role, Role::Callee { .. })
            && self.stage == Stage::Negotiating
            && !self.remote_described
    }

    /// When the call ends if nothing changes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Describing | Stage::Negotiating => Some(self.connect_by),
            Stage::Connected => None,
            Stage::Interrupted { until } => Some(until),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let batch = self.trickle.as_ref().and_then(Trickle::poll_timeout);
        [self.deadline(), batch].into_iter().flatten().min()
    }

    /// The event that carries the local description.
    pub(super) fn first_event(&mut self, candidates: Vec<IceCandidate>) -> Option<CallEvent> {
        let session = RtcSession {
            description: self.description.take()?,
            candidates,
        };
        Some(match self.role {
            Role::Caller => CallEvent::Answer(Answer { session }),
            Role::Callee {
                version,
                offered_key,
            } => CallEvent::Offer(Offer {
                call_type: CallType {
                    media: self.media,
                    encryption: offered_key.is_some(),
                },
                session,
                dh_public_key: offered_key,
                version,
            }),
        })
    }
}
