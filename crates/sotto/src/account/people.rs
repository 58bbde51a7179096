//! Contacts: finding, naming, verifying, blocking and deleting them.

use call_signal::{DisplayName, Envelope};
use smp_agent::{Connection, ConnectionState, RatchetSync};

use super::Account;
use super::code::SecurityCode;
use super::contact::{CallPermission, ConnectStage, Contact, ContactId, ContactState};
use super::error::{AccountError, ContactProblem};
use super::names;
use super::shared::{Shared, now, system_time};
use super::table::{self, ContactRow, Origin};

impl Account {
    /// All contacts, in the order in which they were made.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn contacts(&self) -> Result<Vec<Contact>, AccountError> {
        let rows = self.shared.transact(table::contacts).await?;
        let mut contacts = Vec::with_capacity(rows.len());
        for row in rows {
            match self.shared.describe(row).await {
                Ok(contact) => contacts.push(contact),
                // It is being deleted.
                Err(AccountError::NoSuchContact) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(contacts)
    }

    /// One contact.
    ///
    /// # Errors
    /// [`AccountError::NoSuchContact`], [`AccountError::Store`].
    pub async fn contact(&self, contact: ContactId) -> Result<Contact, AccountError> {
        let row = self.row(contact).await?;
        self.shared.describe(row).await
    }

    /// The contact of this name, in capital letters or not.
    ///
    /// # Errors
    /// [`AccountError::NoSuchContact`], [`AccountError::Store`].
    pub async fn find(&self, name: &str) -> Result<Contact, AccountError> {
        let rows = self.shared.transact(table::contacts).await?;
        let found = rows
            .into_iter()
            .find(|row| names::same(&row.name, name.trim()));
        self.shared
            .describe(found.ok_or(AccountError::NoSuchContact)?)
            .await
    }

    /// Gives a contact another name here. It is not told.
    ///
    /// # Errors
    /// [`AccountError::NameTaken`], [`AccountError::Name`] if the name can't be shown as it is,
    /// [`AccountError::NoSuchContact`], [`AccountError::Store`].
    pub async fn rename(&self, contact: ContactId, name: &str) -> Result<(), AccountError> {
        let name = DisplayName::new(name)?;
        self.shared
            .transact(move |tx| table::rename(tx, contact, &name))
            .await
    }

    /// What to compare with the contact, to see that nobody is between.
    ///
    /// # Errors
    /// [`ContactProblem::NotConnected`] before there are keys, [`AccountError::NoSuchContact`],
    /// [`AccountError::Store`].
    pub async fn security_code(&self, contact: ContactId) -> Result<SecurityCode, AccountError> {
        let row = self.row(contact).await?;
        let security = self.shared.agent.security(row.connection).await?;
        let security = security.ok_or(ContactProblem::NotConnected)?;
        Ok(SecurityCode::new(security.code))
    }

    /// The contact's code was compared: `compared` is what the contact reads on its side.
    ///
    /// # Errors
    /// [`AccountError::CodesDiffer`] if it is not the code of this connection; what was verified
    /// before stays so. Otherwise as [`Account::security_code`].
    pub async fn set_verified(
        &self,
        contact: ContactId,
        compared: &SecurityCode,
    ) -> Result<(), AccountError> {
        let code = self.security_code(contact).await?;
        if code != *compared {
            return Err(AccountError::CodesDiffer);
        }
        self.shared
            .transact(move |tx| table::set_verified(tx, contact, Some((code.as_bytes(), now()))))
            .await
    }

    /// The contact does not count as verified any more.
    ///
    /// # Errors
    /// [`AccountError::NoSuchContact`], [`AccountError::Store`].
    pub async fn clear_verified(&self, contact: ContactId) -> Result<(), AccountError> {
        self.shared
            .transact(move |tx| {
                table::contact(tx, contact)?;
                table::set_verified(tx, contact, None)
            })
            .await
    }

    /// Takes nothing of the contact any more, and sends it nothing: it can't tell that from a
    /// device that is off. A call with it loses its signal channel; hang up first.
    ///
    /// # Errors
    /// [`AccountError::NoSuchContact`], [`AccountError::Store`].
    pub async fn block(&self, contact: ContactId) -> Result<(), AccountError> {
        self.shared
            .transact(move |tx| {
                table::contact(tx, contact)?;
                table::set_blocked(tx, contact, true)
            })
            .await?;
        self.shared.lines.cut(contact);
        Ok(())
    }

    /// Takes messages and calls of the contact again. What it sent meanwhile is lost.
    ///
    /// # Errors
    /// [`AccountError::NoSuchContact`], [`AccountError::Store`].
    pub async fn unblock(&self, contact: ContactId) -> Result<(), AccountError> {
        let row = self
            .shared
            .transact(move |tx| {
                table::set_blocked(tx, contact, false)?;
                table::contact(tx, contact)
            })
            .await?;
        self.shared.catch_up(&row).await;
        Ok(())
    }

    /// Says what becomes of the contact's calls. It is not told.
    ///
    /// # Errors
    /// [`AccountError::NoSuchContact`], [`AccountError::Store`].
    pub async fn set_call_permission(
        &self,
        contact: ContactId,
        calls: CallPermission,
    ) -> Result<(), AccountError> {
        self.shared
            .transact(move |tx| {
                table::contact(tx, contact)?;
                table::set_calls(tx, contact, calls)
            })
            .await
    }

    /// Deletes a contact, with its keys and queues. Unless it is blocked it is told, once what
    /// waits to be sent to it is sent. A call with it ends.
    ///
    /// # Errors
    /// [`AccountError::NoSuchContact`], [`AccountError::Store`].
    pub async fn delete(&self, contact: ContactId) -> Result<(), AccountError> {
        let row = self.row(contact).await?;
        let shared = &self.shared;
        shared.lines.close(contact).await;
        let connection = row.connection;
        if !row.blocked && !row.deleted_by_peer {
            let goodbye = Envelope::default().contact_deleted();
            // It may not be connected yet.
            if let Err(error) = shared.send(connection, goodbye, false).await {
                tracing::debug!(%error, "a contact is not told that it is deleted");
            }
        }
        match shared
            .agent
            .delete(connection)
            .await
            .map_err(AccountError::from)
        {
            Ok(()) | Err(AccountError::NoSuchContact) => {}
            Err(error) => return Err(error),
        }
        shared
            .transact(move |tx| table::delete_contact(tx, contact, connection))
            .await
    }

    /// Receives the contact's messages through another relay from now on, if there is another one.
    /// [`AccountEvent::QueueChanged`](super::AccountEvent::QueueChanged) tells when it does.
    ///
    /// # Errors
    /// [`AccountError::Contact`], [`AccountError::NoSuchContact`], [`AccountError::Agent`] if that
    /// is under way already, [`AccountError::Store`].
    pub async fn rotate(&self, contact: ContactId) -> Result<(), AccountError> {
        let row = self.row(contact).await?;
        Ok(self.shared.agent.rotate(row.connection).await?)
    }

    /// Receives the contact's messages through one more relay, so that they come as long as one of
    /// them works. [`AccountEvent::QueueChanged`](super::AccountEvent::QueueChanged) tells when
    /// the contact uses it.
    ///
    /// # Errors
    /// As [`Account::rotate`].
    pub async fn add_queue(&self, contact: ContactId) -> Result<(), AccountError> {
        let row = self.row(contact).await?;
        Ok(self.shared.agent.add_queue(row.connection).await?)
    }

    /// Agrees on new keys, and so on a new security code.
    ///
    /// # Errors
    /// As [`Account::rotate`].
    pub async fn renew_keys(&self, contact: ContactId) -> Result<(), AccountError> {
        let row = self.row(contact).await?;
        Ok(self.shared.agent.resynchronise(row.connection).await?)
    }

    pub(super) async fn row(&self, contact: ContactId) -> Result<ContactRow, AccountError> {
        self.shared
            .transact(move |tx| table::contact(tx, contact))
            .await
    }

    /// A contact to whom something can be sent.
    pub(super) async fn reachable(&self, contact: ContactId) -> Result<ContactRow, AccountError> {
        let row = self.row(contact).await?;
        if row.blocked {
            return Err(ContactProblem::Blocked.into());
        }
        if row.deleted_by_peer {
            return Err(ContactProblem::DeletedByPeer.into());
        }
        Ok(row)
    }
}

impl Shared {
    async fn describe(&self, row: ContactRow) -> Result<Contact, AccountError> {
        let connection = self.agent.connection(row.connection).await?;
        let security = self.agent.security(row.connection).await?;
        let code = security
            .as_ref()
            .map(|security| SecurityCode::new(security.code));
        let verified_code = row.verified_code.map(SecurityCode::new);
        let still = code.is_some() && code == verified_code;
        let post_quantum = security.is_some_and(|security| {
            security.post_quantum_sending && security.post_quantum_receiving
        });
        Ok(Contact {
            id: row.id,
            state: state(&row, &connection),
            verified: row.verified_at.filter(|_| still).map(system_time),
            blocked: row.blocked,
            calls: row.calls,
            post_quantum,
            in_step: !connection.sync.forbids_sending(),
            created: system_time(row.created),
            name: row.name,
            profile: row.profile,
        })
    }

    /// Does what a contact was kept from while it could not be reached: agrees on keys, tells it
    /// this side's profile.
    pub(super) async fn catch_up(&self, row: &ContactRow) {
        let connection = match self.agent.connection(row.connection).await {
            Ok(connection) => connection,
            Err(error) => return tracing::debug!(%error, "a contact's connection is not there"),
        };
        if row.blocked || row.deleted_by_peer || connection.state != ConnectionState::Connected {
            return;
        }
        if connection.sync == RatchetSync::Required {
            self.resynchronise(row.connection).await;
        } else if let Err(error) = self.tell_profile(row.id).await {
            tracing::debug!(%error, "a contact could not be told the profile");
        }
    }

    /// Offers new keys, if that is not under way.
    pub(super) async fn resynchronise(&self, connection: smp_agent::ConnectionId) {
        if let Err(error) = self.agent.resynchronise(connection).await {
            tracing::debug!(%error, "new keys are not offered");
        }
    }
}

/// How far a contact is.
fn state(row: &ContactRow, connection: &Connection) -> ContactState {
    let failed = row.failed.unwrap_or(smp_agent::core::FailReason::LinkGone);
    let connecting = ContactState::Connecting;
    match (connection.state, row.origin) {
        (ConnectionState::Failed, _) => ContactState::Failed(failed),
        _ if row.deleted_by_peer => ContactState::DeletedByPeer,
        (ConnectionState::Connected | ConnectionState::Deleting, _) => ContactState::Connected,
        (ConnectionState::Resolving, _) => connecting(ConnectStage::ReadingLink),
        (ConnectionState::Preparing | ConnectionState::Waiting, Origin::Invited) => {
            ContactState::Inviting
        }
        (ConnectionState::Waiting, _) => connecting(ConnectStage::Requested),
        (
            ConnectionState::Preparing | ConnectionState::Joining | ConnectionState::Requesting,
            _,
        ) => connecting(ConnectStage::Preparing),
        (ConnectionState::Confirming, _) => connecting(ConnectStage::Confirming),
    }
}
