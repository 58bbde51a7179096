//! What two people exchange when they connect: profiles and contact requests (chat protocol,
//! "x.contact" and "Sub-protocol for contact profile").

use std::fmt;

use base64::Engine as _;
use rand::CryptoRng;

use crate::content::MessageContent;
use crate::display_name::DisplayName;
use crate::event::BASE64_URL;
use crate::json::RawJson;
use crate::message::MessageId;

/// How somebody presents themselves: content of `x.info`.
#[derive(Clone, PartialEq, Eq)]
pub struct Profile {
    /// The name by which contacts know them.
    pub display_name: DisplayName,
    /// A longer name, often empty; show it through [`printable_line`](crate::printable_line).
    /// At most [`MAX_PROFILE_TEXT`](crate::MAX_PROFILE_TEXT) bytes.
    pub full_name: String,
    /// A sentence about themselves; limited and to be shown as the full name.
    pub short_descr: Option<String>,
    /// A picture.
    pub image: Option<ProfileImage>,
    /// Link of their long-term address; not parsed here.
    pub contact_link: Option<String>,
    /// What kind of peer it is, e.g. `bot`; absent for people.
    pub peer_type: Option<String>,
    /// What they allow in the chat, as received; where it is absent, the defaults of the reader's
    /// program hold.
    pub preferences: Option<RawJson>,
}

impl Profile {
    /// A profile that says no more than a name; what is sent has an empty full name.
    pub fn new(display_name: DisplayName) -> Self {
        Self {
            display_name,
            full_name: String::new(),
            short_descr: None,
            image: None,
            contact_link: None,
            peer_type: None,
            preferences: None,
        }
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Profile(..)")
    }
}

/// A picture as a data URI (RFC 2397), not decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct ProfileImage(String);

impl ProfileImage {
    /// `None` if it does not begin with `data:image/` or is longer than
    /// [`MAX_PROFILE_IMAGE`](crate::MAX_PROFILE_IMAGE) bytes.
    pub fn new(uri: impl Into<String>) -> Option<Self> {
        let uri = uri.into();
        let taken = uri.starts_with("data:image/") && uri.len() <= crate::MAX_PROFILE_IMAGE;
        taken.then_some(Self(uri))
    }

    /// The data URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProfileImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProfileImage({} bytes)", self.0.len())
    }
}

/// Content of `x.contact`, sent to somebody's long-term address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactRequest {
    /// Who asks.
    pub profile: Profile,
    /// The same when the request is repeated, so that it is not taken for a second one.
    pub request_id: Option<ContactRequestId>,
    /// Id of the address's welcome message, if the asker was shown one.
    pub welcome_id: Option<MessageId>,
    /// What the asker wrote to go with the request.
    pub message: Option<RequestMessage>,
}

impl From<Profile> for ContactRequest {
    /// A request that says no more than who asks.
    fn from(profile: Profile) -> Self {
        Self {
            profile,
            request_id: None,
            welcome_id: None,
            message: None,
        }
    }
}

/// A message sent as part of a contact request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestMessage {
    /// Its id; the envelope of a contact request has none.
    pub id: MessageId,
    /// What it says.
    pub content: MessageContent,
}

/// `contactReqId` of a contact request, as text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ContactRequestId(String);

impl ContactRequestId {
    /// A new id as SimpleX makes it: padded base64url of 16 random bytes.
    pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(BASE64_URL.encode(bytes))
    }

    /// An id that was received or kept from before.
    pub fn received(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as the wire has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ContactRequestId {
    /// Prints no id: it would tie two people's logs together.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContactRequestId(..)")
    }
}
