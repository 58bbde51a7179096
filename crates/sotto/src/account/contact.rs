//! What an application sees of a contact.

use std::fmt;
use std::time::SystemTime;

use call_signal::Profile;
use smp_agent::RequestId;
use smp_agent::core::FailReason;

/// Names a contact of an account; never used again after it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContactId(pub i64);

impl fmt::Display for ContactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a text to one contact; counts up, with gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextId(pub i64);

impl fmt::Display for TextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Somebody with whom there is a connection, or is to be one. `Debug` shows no name.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contact {
    /// Names the contact.
    pub id: ContactId,
    /// Its name here: no other contact has it, and it can be shown as it is. It does not change by
    /// itself once the contact has told its name.
    pub name: String,
    /// What the contact says of itself; `None` until it has.
    pub profile: Option<Profile>,
    /// How far the connection is.
    pub state: ContactState,
    /// When its security code was compared, if that code is still the present one.
    pub verified: Option<SystemTime>,
    /// Whether nothing of it is taken and nothing sent to it.
    pub blocked: bool,
    /// What becomes of its calls.
    pub calls: CallPermission,
    /// Whether messages in both directions are encrypted with keys that a quantum computer does not
    /// find.
    pub post_quantum: bool,
    /// Whether the keys of both sides fit together. If not, new ones are being agreed, and nothing
    /// can be sent until then.
    pub in_step: bool,
    /// When it was made.
    pub created: SystemTime,
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact")
            .field("id", &self.id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// How far the connection with a contact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContactState {
    /// There is an invitation; nobody has answered it yet.
    Inviting,
    /// The connection is being made.
    Connecting(ConnectStage),
    /// Both sides can send.
    Connected,
    /// It came to nothing.
    Failed(FailReason),
    /// The contact deleted the connection; it can't be reached any more.
    DeletedByPeer,
}

/// What a connection that is being made waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectStage {
    /// The relay of the link, for what is behind it.
    ReadingLink,
    /// This side's relay, for a queue; or the peer's, to take what is sent there.
    Preparing,
    /// Whoever has the contact address, to accept the request.
    Requested,
    /// The peer, which need not be on line.
    Confirming,
}

/// What becomes of a contact's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CallPermission {
    /// They ring.
    #[default]
    Allow,
    /// They do not ring here, and are told as missed. The caller hears that it rings.
    Silent,
    /// They do not ring, and are told as missed. Nothing is sent: to the caller this device seems
    /// to be off.
    Refuse,
}

/// Somebody who found the contact address and wants to connect. `Debug` shows no name.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContactRequest {
    /// Names the request.
    pub id: RequestId,
    /// Who asks, as they say themselves; `None` if that can't be read.
    pub profile: Option<Profile>,
    /// What they wrote with it.
    pub text: Option<String>,
    /// When it came.
    pub received: SystemTime,
}

impl fmt::Debug for ContactRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContactRequest")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
