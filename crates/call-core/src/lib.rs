//! Pure call state machine, media keys, frame encryption and ICE policy

mod candidate;
mod frame;
mod ice_choice;
mod ice_server;
mod ip_literal;
mod machine;
mod media_key;
mod relay_policy;
mod remote_candidates;
mod sdp;
mod sdp_lines;

pub use candidate::{
    Candidate, CandidateAddress, CandidateError, CandidateExtension, CandidateKind,
    CandidateTransport, MAX_CANDIDATE_EXTENSIONS, MAX_CANDIDATE_LEN, RelatedAddress,
};
pub use frame::{
    DecryptStats, EncryptStats, FRAME_OVERHEAD, FrameDecryptor, FrameEncryptor, FrameError,
    FrameKind, MAX_FRAME_LEN, MAX_FRAMES_PER_KEY,
};
pub use ice_choice::{MAX_RELAYS_PER_CALL, MAX_STUN_PER_CALL, NoRelayServer, choose_servers};
pub use ice_server::{
    IceHost, IceServer, IceServerError, IceServerScheme, IceTransport, MAX_ICE_SERVER_LINE,
    MAX_ICE_SERVERS, ServerListError, TurnCredentials, parse_servers,
};
pub use machine::{
    BATCH_INTERVAL, CONNECT_TIMEOUT, CallConfig, CallMachine, EndReason, Event, FIRST_BATCH_DELAY,
    INTERRUPTION_LIMIT, INVITATION_LIFE, MissedReason, NotRinging, OpenTransport, Output,
    PlaceError, Refusal, SUPPORTED_VERSIONS, SdpSide, TRICKLE_LIMIT,
};
pub use media_key::{CallKeyPair, KeyError, MediaKey};
pub use relay_policy::{filter_candidate, filter_sdp};
pub use remote_candidates::{CandidateRefusal, MAX_REMOTE_CANDIDATES, RemoteCandidates};
pub use sdp::{
    Fingerprint, HashAlgorithm, MAX_FINGERPRINTS, MAX_MEDIA_SECTIONS, MAX_MID_LEN, MAX_SDP_LEN,
    MAX_SSRCS, MediaSection, SdpError, SdpSummary, SectionKind, SetupRole,
};
