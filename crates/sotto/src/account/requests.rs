//! The contact address: a link that anybody may use, and that can be published.

use call_signal::{ChatEvent, Envelope, Profile, decode_body};
use smp_agent::core::Links;
use smp_agent::{ConnectionId, RequestId, StoredRequest};

use super::Account;
use super::connecting::{hashes, link_data, remember_own};
use super::contact::{ContactId, ContactRequest};
use super::error::AccountError;
use super::shared::system_time;
use super::table::{self, Origin};

impl Account {
    /// Makes a contact address: a link for any number of people, who ask to become contacts
    /// ([`AccountEvent::Requested`](super::AccountEvent::Requested)). Waits until a relay has it.
    ///
    /// # Errors
    /// [`AccountError::AddressExists`], and as [`Account::invite`].
    pub async fn create_address(&self) -> Result<Links, AccountError> {
        let shared = &self.shared;
        let _one_at_a_time = shared.connecting.lock().await;
        let (profile, address) = shared
            .transact(|tx| Ok((table::own_profile(tx)?.0, table::address(tx)?)))
            .await?;
        if address.is_some() {
            return Err(AccountError::AddressExists);
        }
        let connection = shared.agent.create_address(&link_data(&profile)?).await?;
        shared
            .transact(move |tx| table::set_address(tx, Some(connection)))
            .await?;
        match shared.wait_for_links(connection).await {
            Ok(links) => {
                let hashes = hashes(&links);
                shared
                    .transact(move |tx| remember_own(tx, &hashes, connection))
                    .await?;
                Ok(links)
            }
            Err(error) => {
                self.drop_address(connection).await?;
                Err(error)
            }
        }
    }

    /// The contact address, if there is one and a relay has it.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn address(&self) -> Result<Option<Links>, AccountError> {
        match self.shared.transact(table::address).await? {
            Some(connection) => Ok(self.shared.agent.links(connection).await?),
            None => Ok(None),
        }
    }

    /// Deletes the contact address: nobody finds it any more. Contacts that came by it stay,
    /// requests that were not answered go.
    ///
    /// # Errors
    /// [`AccountError::NoAddress`], [`AccountError::Store`].
    pub async fn delete_address(&self) -> Result<(), AccountError> {
        let address = self.shared.transact(table::address).await?;
        self.drop_address(address.ok_or(AccountError::NoAddress)?)
            .await
    }

    async fn drop_address(&self, connection: ConnectionId) -> Result<(), AccountError> {
        match self
            .shared
            .agent
            .delete(connection)
            .await
            .map_err(AccountError::from)
        {
            Ok(()) | Err(AccountError::NoSuchContact) => {}
            Err(error) => return Err(error),
        }
        self.shared
            .transact(move |tx| {
                for request in tx.requests()? {
                    if request.address == connection {
                        tx.delete_request(request.id)?;
                    }
                }
                table::forget_links(tx, connection)?;
                table::set_address(tx, None)
            })
            .await
    }

    /// Requests that were neither accepted nor rejected.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn requests(&self) -> Result<Vec<ContactRequest>, AccountError> {
        let stored = self.shared.transact(|tx| Ok(tx.requests()?)).await?;
        Ok(stored.iter().map(read).collect())
    }

    /// Accepts a request. Returns at once; the rest is as with [`Account::connect`].
    ///
    /// # Errors
    /// [`AccountError::NoSuchRequest`], [`AccountError::Server`] without a message relay,
    /// [`AccountError::Store`].
    pub async fn accept_request(&self, request: RequestId) -> Result<ContactId, AccountError> {
        let shared = &self.shared;
        let (stored, (profile, told)) = shared
            .transact(move |tx| Ok((tx.request(request)?, table::own_profile(tx)?)))
            .await?;
        let stored = stored.ok_or(AccountError::NoSuchRequest)?;
        let asking = read_info(&stored.info).map(|(profile, _)| profile);
        let info = shared.info(Envelope::default().profile(&profile)?)?;
        let connection = shared.agent.accept(request, &info).await?;
        shared
            .add_contact(connection, Origin::Accepted, asking, told)
            .await
    }

    /// Rejects a request. Whoever asked is not told.
    ///
    /// # Errors
    /// [`AccountError::NoSuchRequest`], [`AccountError::Store`].
    pub async fn reject_request(&self, request: RequestId) -> Result<(), AccountError> {
        Ok(self.shared.agent.reject(request).await?)
    }
}

pub(super) fn read(stored: &StoredRequest) -> ContactRequest {
    let (profile, text) = match read_info(&stored.info) {
        Some((profile, text)) => (Some(profile), text),
        None => (None, None),
    };
    ContactRequest {
        id: stored.id,
        profile,
        text,
        received: system_time(stored.received),
    }
}

/// What somebody says of themselves when they connect: a profile, or a request with one.
pub(super) fn read_info(info: &[u8]) -> Option<(Profile, Option<String>)> {
    let messages = decode_body(info).ok()?;
    messages
        .into_iter()
        .flatten()
        .find_map(|message| match message.into_event() {
            ChatEvent::Profile(profile) => Some((*profile, None)),
            ChatEvent::ContactRequest(request) => {
                let text = request
                    .message
                    .map(|message| message.content.text().to_owned());
                Some((request.profile, text))
            }
            _ => None,
        })
}
