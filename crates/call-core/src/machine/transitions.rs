//! What messages, timers and the transport do to the state.

use std::time::{Duration, Instant};

use call_signal::{
    CallEvent, CallId, CallMedia, CallMessage, ExtraCandidates, IceCandidate, Invitation, Offer,
    RtcSession, SdpKind,
};

use super::output::{EndReason, Event, MissedReason, OpenTransport, Output, Refusal, SdpSide};
use super::state::{Live, Ringing, Role, Stage, State};
use super::{CONNECT_TIMEOUT, CallMachine, Farewell, INVITATION_LIFE};
use crate::{CallKeyPair, MediaKey, RemoteCandidates};

impl CallMachine {
    pub(super) fn on_invitation(
        &mut self,
        now: Instant,
        id: CallId,
        invitation: Invitation,
        age: Duration,
    ) {
        if self.state.call_id() == Some(id) || self.past.contains(id) {
            return;
        }
        let media = invitation.call_type.media;
        if let Some(reason) = self.refuse_invitation(&invitation, age) {
            return self.miss(id, media, reason);
        }
        match &self.state {
            State::Idle if !self.available => self.miss(id, media, MissedReason::Busy),
            State::Idle => self.ring(now, id, invitation, age),
            State::Ringing(_) => {
                self.miss_ringing(MissedReason::Replaced);
                self.ring(now, id, invitation, age);
            }
            State::Calling(calling) if id > calling.id => {
                self.lose_glare(now, id, &invitation);
            }
            // The peer will accept our call instead, by the same rule.
            State::Calling(_) => self.past.insert(id),
            State::Live(live) if matches!(live.stage, Stage::Interrupted { .. }) => {
                self.end(EndReason::PeerCalledAgain, Farewell::Silent);
                self.ring(now, id, invitation, age);
            }
            State::Live(_) => self.miss(id, media, MissedReason::Busy),
        }
    }

    pub(super) fn refuse_invitation(
        &self,
        invitation: &Invitation,
        age: Duration,
    ) -> Option<MissedReason> {
        let encrypts = invitation.call_type.encryption && invitation.dh_public_key.is_some();
        if age >= INVITATION_LIFE {
            Some(MissedReason::Expired)
        } else if self
            .config
            .versions
            .highest_common(&invitation.versions)
            .is_none()
        {
            Some(MissedReason::IncompatibleVersion)
        } else if self.config.require_frame_encryption && !encrypts {
            Some(MissedReason::NoFrameEncryption)
        } else {
            None
        }
    }

    pub(super) fn ring(&mut self, now: Instant, id: CallId, invitation: Invitation, age: Duration) {
        let media = invitation.call_type.media;
        let expires = now + INVITATION_LIFE.saturating_sub(age);
        self.state = State::Ringing(Ringing {
            id,
            invitation,
            expires,
        });
        self.outputs
            .push_back(Output::Event(Event::Incoming { call_id: id, media }));
    }

    pub(super) fn lose_glare(&mut self, now: Instant, by: CallId, invitation: &Invitation) {
        let State::Calling(calling) = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        self.past.insert(calling.id);
        // A peer that knows no glare rule may be showing our call: take it off its screen.
        self.send(calling.id, CallEvent::End);
        self.outputs.push_back(Output::Event(Event::Superseded {
            call_id: calling.id,
            by,
        }));
        self.answer_invitation(now, by, invitation, calling.media);
    }

    pub(super) fn answer_invitation(
        &mut self,
        now: Instant,
        id: CallId,
        invitation: &Invitation,
        media: CallMedia,
    ) {
        let Some(version) = self.config.versions.highest_common(&invitation.versions) else {
            return self.miss(id, media, MissedReason::IncompatibleVersion);
        };
        let keys = CallKeyPair::generate(&mut self.rng);
        let peer_key = invitation
            .dh_public_key
            .filter(|_| invitation.call_type.encryption);
        let frame_key = match peer_key
            .map(|peer| keys.agree(&peer, version, &id))
            .transpose()
        {
            Ok(key) => key,
            Err(_) => {
                self.past.insert(id);
                let reason = EndReason::Refused(Refusal::BadKey);
                self.send(id, CallEvent::End);
                return self.outputs.push_back(Output::Event(Event::Ended {
                    call_id: id,
                    reason,
                }));
            }
        };
        let offered_key = frame_key.is_some().then(|| keys.public_key());
        let role = Role::Callee {
            version,
            offered_key,
        };
        self.go_live(now, id, role, media, SdpSide::Offer, frame_key);
    }

    pub(super) fn on_offer(&mut self, now: Instant, id: CallId, offer: Offer) {
        let State::Calling(calling) = &mut self.state else {
            return;
        };
        if calling.id != id {
            return;
        }
        if offer.session.description.kind != SdpKind::Offer {
            return self.end(EndReason::BadSessionDescription, Farewell::Send);
        }
        if !self.config.versions.contains(offer.version) {
            return self.end(EndReason::BadVersion, Farewell::Send);
        }
        let frame_key = match (offer.call_type.encryption, &offer.dh_public_key) {
            (true, Some(peer)) => match calling.keys.agree(peer, offer.version, &id) {
                Ok(key) => Some(key),
                Err(_) => {
                    return self.end(EndReason::Refused(Refusal::BadKey), Farewell::Send);
                }
            },
            _ if self.config.require_frame_encryption => {
                let refusal = EndReason::Refused(Refusal::NoFrameEncryption);
                return self.end(refusal, Farewell::Send);
            }
            _ => None,
        };
        let media = calling.media;
        let early = std::mem::take(&mut calling.early_queue);
        let mut description = offer.session.description;
        description.sdp = calling.early.filter_sdp(&description.sdp);
        let side = SdpSide::Answer(description);
        let filter = std::mem::take(&mut calling.early);
        self.go_live(now, id, Role::Caller, media, side, frame_key);
        self.resume_filter(filter, early);
        self.add_remote_candidates(&offer.session.candidates);
    }

    /// Goes on with the candidate filter of the time before the offer.
    pub(super) fn resume_filter(&mut self, filter: RemoteCandidates, early: Vec<IceCandidate>) {
        if let State::Live(live) = &mut self.state {
            live.remote = filter;
        }
        if !early.is_empty() {
            self.outputs.push_back(Output::AddCandidates(early));
        }
    }

    pub(super) fn go_live(
        &mut self,
        now: Instant,
        call_id: CallId,
        role: Role,
        media: CallMedia,
        side: SdpSide,
        frame_key: Option<MediaKey>,
    ) {
        self.state = State::Live(Live::new(call_id, role, media, now + CONNECT_TIMEOUT));
        self.outputs
            .push_back(Output::Event(Event::Connecting { call_id }));
        self.outputs.push_back(Output::Open(OpenTransport {
            call_id,
            media,
            side,
            frame_key,
        }));
    }

    pub(super) fn on_answer(&mut self, now: Instant, id: CallId, session: RtcSession) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        if live.id != id || !live.awaits_answer() {
            return;
        }
        if session.description.kind != SdpKind::Answer {
            return self.end(EndReason::BadSessionDescription, Farewell::Send);
        }
        live.remote_described = true;
        let held = std::mem::take(&mut live.held);
        let mut answer = session.description;
        answer.sdp = live.remote.filter_sdp(&answer.sdp);
        self.outputs.push_back(Output::ApplyAnswer(answer));
        self.add_remote_candidates(&session.candidates);
        if !held.is_empty() {
            self.outputs.push_back(Output::AddCandidates(held));
        }
        self.flush_candidates(now);
    }

    pub(super) fn on_extra(&mut self, id: CallId, candidates: &[IceCandidate]) {
        match &mut self.state {
            State::Calling(calling) if calling.id == id => {
                calling
                    .early_queue
                    .extend(admit(&mut calling.early, candidates));
            }
            State::Live(live) if live.id == id => self.add_remote_candidates(candidates),
            _ => {}
        }
    }

    pub(super) fn on_end(&mut self, id: CallId) {
        if self.state.call_id() != Some(id) {
            // The invitation may come after its end.
            return self.past.insert(id);
        }
        match self.state {
            State::Ringing(_) => self.miss_ringing(MissedReason::Cancelled),
            _ => self.end(EndReason::PeerHungUp, Farewell::Silent),
        }
    }

    pub(super) fn add_remote_candidates(&mut self, candidates: &[IceCandidate]) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        let new = admit(&mut live.remote, candidates);
        if !live.remote_described {
            live.held.extend(new);
        } else if !new.is_empty() {
            self.outputs.push_back(Output::AddCandidates(new));
        }
    }

    pub(super) fn flush_candidates(&mut self, now: Instant) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        let Some(candidates) = live.trickle.as_mut().and_then(|t| t.take_due(now)) else {
            return;
        };
        let event = if live.stage == Stage::Describing {
            live.stage = Stage::Negotiating;
            live.first_event(candidates)
        } else {
            (!candidates.is_empty()).then_some(CallEvent::Extra(ExtraCandidates { candidates }))
        };
        let id = live.id;
        if let Some(event) = event {
            self.send(id, event);
        }
    }

    pub(super) fn send(&mut self, call_id: CallId, event: CallEvent) {
        let message = CallMessage { call_id, event };
        self.outputs.push_back(Output::Send {
            message,
            receipt: false,
        });
    }

    pub(super) fn miss(&mut self, call_id: CallId, media: CallMedia, reason: MissedReason) {
        self.past.insert(call_id);
        self.outputs.push_back(Output::Event(Event::Missed {
            call_id,
            media,
            reason,
        }));
    }

    pub(super) fn miss_ringing(&mut self, reason: MissedReason) {
        if let State::Ringing(ringing) = std::mem::replace(&mut self.state, State::Idle) {
            self.miss(ringing.id, ringing.invitation.call_type.media, reason);
        }
    }

    pub(super) fn end(&mut self, reason: EndReason, farewell: Farewell) {
        let state = std::mem::replace(&mut self.state, State::Idle);
        let Some(call_id) = state.call_id() else {
            return;
        };
        self.past.insert(call_id);
        if farewell == Farewell::Send {
            self.send(call_id, CallEvent::End);
        }
        if matches!(state, State::Live(_)) {
            self.outputs.push_back(Output::CloseTransport { call_id });
        }
        self.outputs
            .push_back(Output::Event(Event::Ended { call_id, reason }));
    }
}

/// The candidates that a peer may add.
fn admit(filter: &mut RemoteCandidates, candidates: &[IceCandidate]) -> Vec<IceCandidate> {
    candidates
        .iter()
        .filter_map(|candidate| filter.take(candidate).ok())
        .collect()
}
