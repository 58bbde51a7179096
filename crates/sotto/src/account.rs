//! A profile with its contacts, over queues at message relays.
//!
//! Top to bottom: [`Account`] is what an application asks; the dispatcher takes what the agent
//! tells, records it, and passes it on to the application or to a contact's line; a line is a
//! [`Phone`](crate::Phone) over the contact's connection.

mod calls;
mod channel;
mod code;
mod connecting;
mod contact;
mod dispatch;
mod error;
mod event;
mod line;
mod link;
mod messages;
mod names;
mod open;
mod options;
mod people;
mod requests;
mod servers;
mod shared;
mod table;
mod taking;

use std::path::Path;
use std::sync::Arc;

use smp_agent::StoreKey;

pub use calls::INVITATION_LIFE;
pub use code::{NotACode, SecurityCode};
pub use connecting::{Invitation, LINK_PATIENCE};
pub use contact::{
    CallPermission, ConnectStage, Contact, ContactId, ContactRequest, ContactState, TextId,
};
pub use error::{AccountError, ContactProblem, LinkProblem};
pub use event::{AccountEvent, AccountEvents, MissedCall};
pub use options::AccountOptions;
pub use servers::{ServerProblem, Servers};

use shared::{Guard, Shared};

/// One profile, its contacts and calls with them. All of it is in one encrypted file.
///
/// A clone is the same account. It runs as tasks of the present tokio runtime and, for cryptography
/// and the store, on a thread of its own; all end with [`Account::close`], or when the last clone is
/// dropped.
#[derive(Clone)]
pub struct Account {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

impl Account {
    /// Writes a copy of all that there is to a new file, encrypted with a key of its own.
    ///
    /// Whoever opens a copy goes on from there: two programs must not use copies of one account at
    /// the same time, nor one after the other, for the encryption falls out of step.
    ///
    /// # Errors
    /// [`AccountError::Store`] if there is such a file, or the disk refuses.
    pub async fn export(&self, to: &Path, key: &StoreKey) -> Result<(), AccountError> {
        let (to, key) = (to.to_owned(), open::copy(key));
        let exported = self
            .shared
            .agent
            .with_store(move |store| store.export(&to, &key));
        Ok(exported.await??)
    }

    /// Encrypts the file with another key.
    ///
    /// # Errors
    /// [`AccountError::Store`] if the disk refuses.
    pub async fn change_key(&self, key: &StoreKey) -> Result<(), AccountError> {
        let key = open::copy(key);
        let changed = self
            .shared
            .agent
            .with_store(move |store| store.change_key(&key));
        Ok(changed.await??)
    }

    /// Ends calls, waits for what is under way at most some seconds, and gives the file back. What
    /// waits to be sent goes out when the account is opened again. All clones are closed with it.
    pub async fn close(self) {
        self.shared.close().await;
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Account")
    }
}
