//! What can go wrong between the application and the agent.

use std::{fmt, io};

use smp_client::ClientError;
use thiserror::Error;

use crate::core::CoreError;

/// Why something that was asked of the agent was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The core refused, or its store failed; nothing was changed.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The agent was closed, perhaps before it came to this.
    #[error("the agent was closed")]
    Closed,
    /// The system gives the agent no thread, or no runtime to it.
    #[error("the agent cannot run: {0}")]
    Thread(#[source] io::Error),
}

/// Why a server is of no use, and when that showed.
#[derive(Clone, Debug, Error)]
#[error("{step}: {error}")]
pub struct ServerTestError {
    /// What did not work.
    pub step: ServerTestStep,
    /// Why.
    #[source]
    pub error: ClientError,
}

/// A step of testing a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerTestStep {
    /// Connecting with it.
    Connect,
    /// Making a queue, which may need a password.
    CreateQueue,
    /// Giving that queue a sender.
    SecureQueue,
    /// Deleting it again.
    DeleteQueue,
}

impl fmt::Display for ServerTestStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::CreateQueue => "creating a queue",
            Self::SecureQueue => "securing a queue",
            Self::DeleteQueue => "deleting a queue",
        })
    }
}
