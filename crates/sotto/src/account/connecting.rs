//! Invitations, and connecting with those of others.

use std::fmt;
use std::time::Duration;

use call_signal::{ChatMessage, ContactRequestId, Envelope, Profile};
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_agent::core::Links;
use smp_agent::protocol::ConnectionLink;
use smp_agent::{ConnectionId, ConnectionState, Transaction};

use super::Account;
use super::contact::ContactId;
use super::error::{AccountError, LinkProblem};
use super::link::{self, LinkHash};
use super::shared::{Shared, now};
use super::table::{self, NewContact, Origin};

/// How long a relay has to make a queue for a link.
pub const LINK_PATIENCE: Duration = Duration::from_secs(60);

/// Longest data of a link, in bytes; a picture that does not fit is left out.
const LINK_DATA: usize = 10_000;

/// An invitation for one person.
#[derive(Clone)]
pub struct Invitation {
    /// The contact that it becomes.
    pub contact: ContactId,
    /// What to send to that person, by any way that reaches nobody else: whoever is the first to
    /// use it becomes the contact.
    pub links: Links,
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("contact", &self.contact)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// Makes an invitation for one person, and waits until a relay has a queue for it.
    ///
    /// If the future is dropped before, the contact stays; [`Account::links`] gives the links once
    /// there are any.
    ///
    /// # Errors
    /// [`AccountError::Server`] without a message relay, [`AccountError::NoLink`] if none is
    /// reached within [`LINK_PATIENCE`], [`AccountError::Store`].
    pub async fn invite(&self) -> Result<Invitation, AccountError> {
        let shared = &self.shared;
        let (profile, told) = shared.transact(table::own_profile).await?;
        let info = shared.info(Envelope::default().profile(&profile)?)?;
        let data = link_data(&profile)?;
        let connection = shared.agent.invite(&info, &data).await?;
        let contact = shared
            .add_contact(connection, Origin::Invited, None, told)
            .await?;
        match shared.wait_for_links(connection).await {
            Ok(links) => {
                let (made, hashes) = (connection, hashes(&links));
                shared
                    .transact(move |tx| remember_own(tx, &hashes, made))
                    .await?;
                Ok(Invitation { contact, links })
            }
            Err(error) => {
                self.forget(contact, connection).await;
                Err(error)
            }
        }
    }

    /// Connects with whoever made `link`: an invitation, or a contact address. Returns at once;
    /// events tell how far it is, and [`AccountEvent::Connected`](super::AccountEvent::Connected)
    /// when it is done. The peer need not be on line.
    ///
    /// # Errors
    /// [`AccountError::Link`] if the link can't be used, [`AccountError::Server`] without a message
    /// relay, [`AccountError::Store`].
    pub async fn connect(&self, link: &str) -> Result<ContactId, AccountError> {
        let shared = &self.shared;
        let link = link::read(link)?;
        let hash = link::hash(&link);
        let _one_at_a_time = shared.connecting.lock().await;
        let (profile, told) = shared
            .transact(move |tx| {
                check_unused(tx, &hash)?;
                table::own_profile(tx)
            })
            .await?;
        let (message, origin) = introduction(&link, &profile)?;
        let info = shared.info(message)?;
        let connection = shared.agent.connect(&link, &info).await?;
        let contact = shared.add_contact(connection, origin, None, told).await?;
        shared
            .transact(move |tx| table::remember_link(tx, &hash, connection, false))
            .await?;
        Ok(contact)
    }

    /// The links of an invitation that nobody has answered yet; `None` if somebody has, or the
    /// relay has no queue yet.
    ///
    /// # Errors
    /// [`AccountError::NoSuchContact`], [`AccountError::Store`].
    pub async fn links(&self, contact: ContactId) -> Result<Option<Links>, AccountError> {
        let row = self
            .shared
            .transact(move |tx| table::contact(tx, contact))
            .await?;
        if row.origin != Origin::Invited {
            return Ok(None);
        }
        Ok(self.shared.agent.links(row.connection).await?)
    }

    /// Takes back what came to nothing.
    async fn forget(&self, contact: ContactId, connection: ConnectionId) {
        let shared = &self.shared;
        let deleted = shared.agent.delete(connection).await;
        let forgotten = shared
            .transact(move |tx| table::delete_contact(tx, contact, connection))
            .await;
        if deleted.is_err() || forgotten.is_err() {
            tracing::debug!("an invitation that came to nothing could not be deleted");
        }
    }
}

impl Shared {
    pub(super) async fn add_contact(
        &self,
        connection: ConnectionId,
        origin: Origin,
        profile: Option<Profile>,
        told: i64,
    ) -> Result<ContactId, AccountError> {
        let new = NewContact {
            connection,
            origin,
            created: now(),
            profile,
            told,
        };
        let row = self.transact(move |tx| table::insert_contact(tx, &new));
        Ok(row.await?.id)
    }

    /// Waits until a connection has links.
    pub(super) async fn wait_for_links(
        &self,
        connection: ConnectionId,
    ) -> Result<Links, AccountError> {
        let mut changes = self.changes.subscribe();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if let Some(links) = self.agent.links(connection).await? {
                    return Ok(Some(links));
                }
                let state = self.agent.connection(connection).await?.state;
                if state == ConnectionState::Failed {
                    return Ok(None);
                }
                if changes.changed().await.is_err() {
                    return Err(AccountError::Closed);
                }
            }
        };
        if let Ok(ended) = tokio::time::timeout(LINK_PATIENCE, wait).await
            && let Some(links) = ended?
        {
            return Ok(links);
        }
        let reason = self.take_obstacle(connection);
        Err(AccountError::NoLink(
            reason.unwrap_or_else(|| "no answer".to_owned()),
        ))
    }
}

/// What this side says of itself to whoever made a link.
fn introduction(
    link: &ConnectionLink,
    profile: &Profile,
) -> Result<(ChatMessage, Origin), AccountError> {
    if link.is_invitation() {
        return Ok((Envelope::default().profile(profile)?, Origin::Joined));
    }
    Ok((request(profile)?, Origin::Requested))
}

/// A request to become a contact.
pub(super) fn request(profile: &Profile) -> Result<ChatMessage, AccountError> {
    let mut request = call_signal::ContactRequest::from(profile.clone());
    request.request_id = Some(ContactRequestId::random(&mut UnwrapErr(SysRng)));
    Ok(Envelope::default().contact_request(&request)?)
}

/// What a short link shows before anybody connects.
pub(super) fn link_data(profile: &Profile) -> Result<Vec<u8>, AccountError> {
    let message = Envelope::default().profile(profile)?;
    if message.raw_params().len() <= LINK_DATA {
        return Ok(message.raw_params().as_bytes().to_vec());
    }
    let mut profile = profile.clone();
    profile.image = None;
    let message = Envelope::default().profile(&profile)?;
    Ok(message.raw_params().as_bytes().to_vec())
}

fn check_unused(tx: &Transaction<'_>, hash: &LinkHash) -> Result<(), AccountError> {
    let Some((connection, own)) = table::known_link(tx, hash)? else {
        return Ok(());
    };
    if own {
        return Err(LinkProblem::Own.into());
    }
    match table::contact_of(tx, connection)? {
        Some(row) if row.failed.is_none() => Err(LinkProblem::InUse(row.name).into()),
        _ => Ok(()),
    }
}

/// The hashes of both forms.
pub(super) fn hashes(links: &Links) -> Vec<LinkHash> {
    let texts = [Some(&links.full), links.short.as_ref()];
    let parsed = texts
        .into_iter()
        .flatten()
        .filter_map(|text| text.parse().ok());
    parsed.map(|link| link::hash(&link)).collect()
}

pub(super) fn remember_own(
    tx: &Transaction<'_>,
    hashes: &[LinkHash],
    connection: ConnectionId,
) -> Result<(), AccountError> {
    for hash in hashes {
        table::remember_link(tx, hash, connection, true)?;
    }
    Ok(())
}
