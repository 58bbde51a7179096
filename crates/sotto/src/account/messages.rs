//! Texts, and this side's profile.

use call_signal::{Envelope, Profile};
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_agent::{ConnectionState, Transaction};

use super::Account;
use super::connecting::{link_data, request};
use super::contact::{ContactId, TextId};
use super::error::AccountError;
use super::shared::Shared;
use super::table::{self, Origin};

impl Account {
    /// Sends a text. It waits in the store until the contact's relay has it, also when the account
    /// is closed meanwhile. [`AccountEvent::Delivered`](super::AccountEvent::Delivered) tells when
    /// it is on the contact's device.
    ///
    /// # Errors
    /// [`AccountError::Contact`] if nothing can be sent to the contact, [`AccountError::Encode`] if
    /// the text is empty or too long, [`AccountError::NoSuchContact`], [`AccountError::Store`].
    pub async fn send_text(&self, contact: ContactId, text: &str) -> Result<TextId, AccountError> {
        let row = self.reachable(contact).await?;
        let message = Envelope::random(&mut UnwrapErr(SysRng)).text(text)?;
        let sent = self.shared.send(row.connection, message, true);
        Ok(TextId(sent.await?))
    }

    /// What contacts are told of this side.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn profile(&self) -> Result<Profile, AccountError> {
        Ok(self.shared.transact(table::own_profile).await?.0)
    }

    /// Changes what contacts are told of this side, and tells those that are not blocked.
    ///
    /// # Errors
    /// [`AccountError::Encode`] if it is too long to be sent, [`AccountError::Store`].
    pub async fn set_profile(&self, profile: &Profile) -> Result<(), AccountError> {
        let shared = &self.shared;
        let info = shared.info(Envelope::default().profile(profile)?)?;
        let asking = shared.info(request(profile)?)?;
        let data = link_data(profile)?;
        let kept = profile.clone();
        let (rows, address) = shared
            .transact(move |tx| {
                let version = table::own_profile(tx)?.1 + 1;
                table::set_own_profile(tx, &kept, version)?;
                renew_infos(tx, &info, &asking, version)?;
                Ok((table::contacts(tx)?, table::address(tx)?))
            })
            .await?;
        for row in rows {
            shared.catch_up(&row).await;
        }
        if let Some(address) = address {
            shared.agent.set_link_data(address, &data).await?;
        }
        Ok(())
    }
}

/// Changes what those are told that are not connected yet.
fn renew_infos(
    tx: &Transaction<'_>,
    info: &[u8],
    asking: &[u8],
    version: i64,
) -> Result<(), AccountError> {
    for row in table::contacts(tx)? {
        let Some(connection) = tx.connection(row.connection)? else {
            continue;
        };
        let info = match (connection.state, row.origin) {
            (ConnectionState::Waiting, _) => info,
            (ConnectionState::Resolving | ConnectionState::Preparing, Origin::Requested) => asking,
            (ConnectionState::Resolving | ConnectionState::Preparing, _) => info,
            // It is on its way, or was sent.
            _ => continue,
        };
        tx.set_own_info(connection.id, info)?;
        table::set_told(tx, row.id, version)?;
    }
    Ok(())
}

impl Shared {
    /// Tells a contact this side's profile, if it knows another one.
    pub(super) async fn tell_profile(&self, contact: ContactId) -> Result<(), AccountError> {
        let (row, (profile, version)) = self
            .transact(move |tx| Ok((table::contact(tx, contact)?, table::own_profile(tx)?)))
            .await?;
        if row.told >= version {
            return Ok(());
        }
        let message = Envelope::random(&mut UnwrapErr(SysRng)).profile(&profile)?;
        self.send(row.connection, message, false).await?;
        self.transact(move |tx| table::set_told(tx, contact, version))
            .await
    }

    /// A contact address has this side's request; whoever accepts it is told the profile itself.
    pub(super) async fn requested(&self, contact: ContactId) -> Result<(), AccountError> {
        let (row, (profile, version)) = self
            .transact(move |tx| Ok((table::contact(tx, contact)?, table::own_profile(tx)?)))
            .await?;
        if row.origin != Origin::Requested {
            return Ok(());
        }
        let info = self.info(Envelope::default().profile(&profile)?)?;
        self.transact(move |tx| {
            let waits = tx
                .connection(row.connection)?
                .is_some_and(|connection| connection.state == ConnectionState::Waiting);
            if waits {
                tx.set_own_info(row.connection, &info)?;
                table::set_told(tx, row.id, version)?;
            }
            Ok(())
        })
        .await
    }
}
