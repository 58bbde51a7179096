//! Why something that was asked of an account was not done.

use call_signal::{EncodeError, NameError};
use smp_agent::core::CoreError;
use smp_agent::protocol::LinkTextError;
use smp_agent::{AgentError, StoreError};
use smp_client::ConnectError;
use thiserror::Error;

use super::code::NotACode;
use super::servers::ServerProblem;
use crate::config::ConfigError;
use crate::phone::CallError;

/// Why something that was asked of an account was not done. The text says what to do; only
/// [`AccountError::NameTaken`] and [`LinkProblem::InUse`] hold a name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The file of the account.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The agent refused.
    #[error(transparent)]
    Agent(AgentError),
    /// The store has no profile: it was not made by [`Account::create`](super::Account::create).
    #[error("there is no profile in this store; create one")]
    NoProfile,
    /// The account was closed.
    #[error("the account is closed")]
    Closed,
    /// The way to relays can't be set up.
    #[error("connections with relays can't be set up: {0}")]
    Connector(#[source] ConnectError),
    /// There is no such contact.
    #[error("there is no such contact; it may have been deleted")]
    NoSuchContact,
    /// There is no such request.
    #[error("there is no such request; it may have been answered already")]
    NoSuchRequest,
    /// What the contact is in the way of.
    #[error(transparent)]
    Contact(#[from] ContactProblem),
    /// The link can't be used.
    #[error(transparent)]
    Link(#[from] LinkProblem),
    /// The relay was not reached in time, so that there is no link. Nothing was kept.
    #[error("the message relay did not make a queue in time ({0}); check the server, or try again")]
    NoLink(String),
    /// There is a contact address already.
    #[error("there is a contact address already; delete it first")]
    AddressExists,
    /// There is no contact address.
    #[error("there is no contact address")]
    NoAddress,
    /// The name can't be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Another contact has the name.
    #[error("another contact is called {0}; choose another name")]
    NameTaken(String),
    /// The text is no security code.
    #[error(transparent)]
    NotACode(#[from] NotACode),
    /// The code that was compared is not the one of this connection.
    #[error(
        "the security codes differ: somebody may be between you and this contact. Compare them \
         again; if they differ still, delete the contact and connect anew"
    )]
    CodesDiffer,
    /// A text or profile can't be sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A server can't be used.
    #[error(transparent)]
    Server(#[from] ServerProblem),
    /// Calls can't be made with this configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The call can't be made.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<AgentError> for AccountError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Closed => Self::Closed,
            AgentError::Core(CoreError::NoSuchConnection(_)) => Self::NoSuchContact,
            AgentError::Core(CoreError::NoSuchRequest(_)) => Self::NoSuchRequest,
            AgentError::Core(CoreError::NotConnected) => ContactProblem::NotConnected.into(),
            AgentError::Core(CoreError::OutOfStep) => ContactProblem::OutOfStep.into(),
            AgentError::Core(CoreError::TooManyWaiting) => ContactProblem::TooManyWaiting.into(),
            AgentError::Core(CoreError::NoRelay) => ServerProblem::NoRelay.into(),
            AgentError::Core(CoreError::Version) => LinkProblem::Version.into(),
            AgentError::Core(CoreError::Store(error)) => Self::Store(error),
            other => Self::Agent(other),
        }
    }
}

impl From<rusqlite::Error> for AccountError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What is in the way of talking to a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ContactProblem {
    /// The connection is not made yet, or it failed.
    #[error("the contact is not connected yet")]
    NotConnected,
    /// It was deleted on the other side.
    #[error("the contact deleted you; ask for a new link, and connect again")]
    DeletedByPeer,
    /// It is blocked.
    #[error("the contact is blocked; unblock it first")]
    Blocked,
    /// New keys are being agreed.
    #[error("the encryption with this contact is out of step; wait until new keys are agreed")]
    OutOfStep,
    /// Too much waits to be sent to it.
    #[error("too many messages wait to be sent to this contact; wait until they are")]
    TooManyWaiting,
}

/// Why a link can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkProblem {
    /// It is no link, or a damaged one.
    #[error(transparent)]
    Text(#[from] LinkTextError),
    /// It leads to a group, a channel or a relay of channels.
    #[error("this is the link of a {0}; ask for the link of a person")]
    NotAPerson(&'static str),
    /// It was made here.
    #[error("this link was made here: send it to somebody else, who connects with it")]
    Own,
    /// It was used here before.
    #[error("this link was used here already, for the contact {0}")]
    InUse(String),
    /// It needs a newer program.
    #[error("the link needs a version of the protocol that this program does not know; update it")]
    Version,
}
