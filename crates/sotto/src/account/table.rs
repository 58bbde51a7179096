//! The account's own tables, beside the agent's in one store.

use call_signal::{ChatEvent, ChatMessage, DisplayName, Envelope, Profile};
use rusqlite::{OptionalExtension as _, Row, params};
use smp_agent::core::FailReason;
use smp_agent::{ConnectionId, Store, StoreError, Timestamp, Transaction};

use super::contact::{CallPermission, ContactId};
use super::error::AccountError;
use super::link::LinkHash;
use super::names;

/// Fills the part of a row that may leave copies in the file; see the agent's store.
macro_rules! filler {
    () => {
        "filler BLOB NOT NULL DEFAULT (zeroblob(4096))"
    };
}

const STEPS: &[&str] = &[concat!(
    "CREATE TABLE account_profile (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, ",
    filler!(),
    ", info TEXT NOT NULL) STRICT;
     CREATE TABLE account_contacts (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         connection INTEGER NOT NULL UNIQUE,
         origin INTEGER NOT NULL,
         created INTEGER NOT NULL,
         named INTEGER NOT NULL DEFAULT 0,
         blocked INTEGER NOT NULL DEFAULT 0,
         calls INTEGER NOT NULL DEFAULT 0,
         deleted_by_peer INTEGER NOT NULL DEFAULT 0,
         failed INTEGER,
         told INTEGER NOT NULL,
         verified_at INTEGER, ",
    filler!(),
    ",   name TEXT NOT NULL,
         profile TEXT,
         code BLOB,
         verified_code BLOB) STRICT;
     CREATE TABLE account_links (
         hash BLOB PRIMARY KEY,
         connection INTEGER NOT NULL,
         own INTEGER NOT NULL) STRICT;
     CREATE TABLE account_servers (id INTEGER PRIMARY KEY, ",
    filler!(),
    ", line TEXT NOT NULL) STRICT;
     CREATE TABLE account_address (
         id INTEGER PRIMARY KEY CHECK (id = 1),
         connection INTEGER NOT NULL) STRICT;"
)];

/// Makes the tables, or brings them up to date.
pub(super) fn migrate(store: &mut Store) -> Result<(), StoreError> {
    store.migrate("account", STEPS)
}

/// How a contact came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// By an invitation of this side.
    Invited,
    /// By an invitation of the peer.
    Joined,
    /// By the peer's contact address.
    Requested,
    /// By this side's contact address.
    Accepted,
}

/// A contact as the store has it.
pub(super) struct ContactRow {
    pub(super) id: ContactId,
    pub(super) connection: ConnectionId,
    pub(super) origin: Origin,
    pub(super) created: Timestamp,
    /// Whether its name is settled: its profile came, or somebody chose one.
    pub(super) named: bool,
    pub(super) blocked: bool,
    pub(super) calls: CallPermission,
    pub(super) deleted_by_peer: bool,
    pub(super) failed: Option<FailReason>,
    /// The version of this side's profile that it was told.
    pub(super) told: i64,
    pub(super) verified_at: Option<Timestamp>,
    pub(super) name: String,
    pub(super) profile: Option<Profile>,
    /// The security code that the application knows of.
    pub(super) code: Option<[u8; 32]>,
    pub(super) verified_code: Option<[u8; 32]>,
}

/// A new contact.
pub(super) struct NewContact {
    pub(super) connection: ConnectionId,
    pub(super) origin: Origin,
    pub(super) created: Timestamp,
    pub(super) profile: Option<Profile>,
    /// The version of this side's profile that it is told when it connects.
    pub(super) told: i64,
}

/// Own profile, and how often it was changed.
pub(super) fn own_profile(tx: &Transaction<'_>) -> Result<(Profile, i64), AccountError> {
    let found = tx
        .sql()
        .query_row("SELECT info, version FROM account_profile", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?))
        })
        .optional()?;
    let (info, version) = found.ok_or(AccountError::NoProfile)?;
    let profile = read_profile(&info).ok_or(StoreError::Damaged { what: "profile" })?;
    Ok((profile, version))
}

pub(super) fn set_own_profile(
    tx: &Transaction<'_>,
    profile: &Profile,
    version: i64,
) -> Result<(), AccountError> {
    tx.execute(
        "INSERT INTO account_profile (id, info, version) VALUES (1, ?1, ?2)
         ON CONFLICT (id) DO UPDATE SET info = ?1, version = ?2",
        params![write_profile(profile)?, version],
    )?;
    Ok(())
}

/// A profile as the store has it: the message that tells it.
fn write_profile(profile: &Profile) -> Result<String, AccountError> {
    Ok(Envelope::default().profile(profile)?.raw().to_owned())
}

fn read_profile(info: &str) -> Option<Profile> {
    match ChatMessage::decode(info).ok()?.into_event() {
        ChatEvent::Profile(profile) => Some(*profile),
        _ => None,
    }
}

const COLUMNS: &str = "id, connection, origin, created, named, blocked, calls, deleted_by_peer, \
                       failed, told, verified_at, name, profile, code, verified_code";

/// All contacts, in the order in which they were made.
pub(super) fn contacts(tx: &Transaction<'_>) -> Result<Vec<ContactRow>, AccountError> {
    let sql = format!("SELECT {COLUMNS} FROM account_contacts ORDER BY id");
    let mut statement = tx.sql().prepare(&sql)?;
    let rows = statement.query_map([], contact_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A contact.
pub(super) fn contact(tx: &Transaction<'_>, id: ContactId) -> Result<ContactRow, AccountError> {
    let sql = format!("SELECT {COLUMNS} FROM account_contacts WHERE id = ?1");
    let found = tx.sql().query_row(&sql, [id.0], contact_row).optional()?;
    found.ok_or(AccountError::NoSuchContact)
}

/// The contact of a connection.
pub(super) fn contact_of(
    tx: &Transaction<'_>,
    connection: ConnectionId,
) -> Result<Option<ContactRow>, AccountError> {
    let sql = format!("SELECT {COLUMNS} FROM account_contacts WHERE connection = ?1");
    let found = tx.sql().query_row(&sql, [connection.0], contact_row);
    Ok(found.optional()?)
}

/// Adds a contact. If its connection has one already, which was found before it was told of, it
/// gets what is known of it.
pub(super) fn insert_contact(
    tx: &Transaction<'_>,
    new: &NewContact,
) -> Result<ContactRow, AccountError> {
    let known = contact_of(tx, new.connection)?;
    tx.execute(
        "INSERT INTO account_contacts (connection, origin, created, told, name)
         VALUES (?1, ?2, ?3, ?4, '')
         ON CONFLICT (connection) DO UPDATE SET origin = ?2, told = ?4",
        params![new.connection.0, new.origin as i64, new.created.0, new.told],
    )?;
    if known.is_none() {
        let id = tx.sql().last_insert_rowid();
        let name = names::unique(&names::placeholder(id), &taken_names(tx, ContactId(id))?);
        set_name(tx, ContactId(id), &name, false)?;
    }
    let row = contact_of(tx, new.connection)?.ok_or(AccountError::NoSuchContact)?;
    match &new.profile {
        Some(profile) => {
            introduce(tx, row.id, profile)?;
            contact(tx, row.id)
        }
        None => Ok(row),
    }
}

/// What a contact says of itself, for the first time or anew; the first name becomes its own here.
pub(super) fn introduce(
    tx: &Transaction<'_>,
    id: ContactId,
    profile: &Profile,
) -> Result<(), AccountError> {
    tx.execute(
        "UPDATE account_contacts SET profile = ?2 WHERE id = ?1",
        params![id.0, write_profile(profile)?],
    )?;
    if contact(tx, id)?.named {
        return Ok(());
    }
    let Some(name) = names::local(&profile.display_name) else {
        return Ok(());
    };
    let name = names::unique(&name, &taken_names(tx, id)?);
    set_name(tx, id, &name, true)
}

/// Gives a contact a name that somebody chose.
pub(super) fn rename(
    tx: &Transaction<'_>,
    id: ContactId,
    name: &DisplayName,
) -> Result<(), AccountError> {
    contact(tx, id)?;
    let taken = taken_names(tx, id)?;
    if names::is_taken(name.as_str(), &taken) {
        return Err(AccountError::NameTaken(name.to_string()));
    }
    set_name(tx, id, name.as_str(), true)
}

fn set_name(
    tx: &Transaction<'_>,
    id: ContactId,
    name: &str,
    named: bool,
) -> Result<(), AccountError> {
    tx.execute(
        "UPDATE account_contacts SET name = ?2, named = ?3 WHERE id = ?1",
        params![id.0, name, named],
    )?;
    Ok(())
}

/// The names of all others.
fn taken_names(tx: &Transaction<'_>, id: ContactId) -> Result<Vec<String>, AccountError> {
    let mut statement = tx
        .sql()
        .prepare("SELECT name FROM account_contacts WHERE id <> ?1")?;
    let names = statement.query_map([id.0], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

pub(super) fn set_blocked(
    tx: &Transaction<'_>,
    id: ContactId,
    blocked: bool,
) -> Result<(), AccountError> {
    tx.execute(
        "UPDATE account_contacts SET blocked = ?2 WHERE id = ?1",
        params![id.0, blocked],
    )?;
    Ok(())
}

pub(super) fn set_calls(
    tx: &Transaction<'_>,
    id: ContactId,
    calls: CallPermission,
) -> Result<(), AccountError> {
    tx.execute(
        "UPDATE account_contacts SET calls = ?2 WHERE id = ?1",
        params![id.0, calls as i64],
    )?;
    Ok(())
}

pub(super) fn set_deleted_by_peer(tx: &Transaction<'_>, id: ContactId) -> Result<(), AccountError> {
    tx.execute(
        "UPDATE account_contacts SET deleted_by_peer = 1 WHERE id = ?1",
        [id.0],
    )?;
    Ok(())
}

pub(super) fn set_failed(
    tx: &Transaction<'_>,
    id: ContactId,
    reason: FailReason,
) -> Result<(), AccountError> {
    tx.execute(
        "UPDATE account_contacts SET failed = ?2 WHERE id = ?1",
        params![id.0, fail_code(reason)],
    )?;
    Ok(())
}

pub(super) fn set_told(
    tx: &Transaction<'_>,
    id: ContactId,
    version: i64,
) -> Result<(), AccountError> {
    tx.execute(
        "UPDATE account_contacts SET told = ?2 WHERE id = ?1",
        params![id.0, version],
    )?;
    Ok(())
}

/// The application knows of this security code.
pub(super) fn set_code(
    tx: &Transaction<'_>,
    id: ContactId,
    code: &[u8; 32],
) -> Result<(), AccountError> {
    tx.execute(
        "UPDATE account_contacts SET code = ?2 WHERE id = ?1",
        params![id.0, code],
    )?;
    Ok(())
}

pub(super) fn set_verified(
    tx: &Transaction<'_>,
    id: ContactId,
    verified: Option<(&[u8; 32], Timestamp)>,
) -> Result<(), AccountError> {
    let (code, at) = match verified {
        Some((code, at)) => (Some(code), Some(at.0)),
        None => (None, None),
    };
    tx.execute(
        "UPDATE account_contacts SET verified_code = ?2, verified_at = ?3 WHERE id = ?1",
        params![id.0, code, at],
    )?;
    Ok(())
}

pub(super) fn delete_contact(
    tx: &Transaction<'_>,
    id: ContactId,
    connection: ConnectionId,
) -> Result<(), AccountError> {
    forget_links(tx, connection)?;
    tx.execute("DELETE FROM account_contacts WHERE id = ?1", [id.0])?;
    Ok(())
}

/// Remembers a link, so that it is not used twice.
pub(super) fn remember_link(
    tx: &Transaction<'_>,
    hash: &LinkHash,
    connection: ConnectionId,
    own: bool,
) -> Result<(), AccountError> {
    tx.execute(
        "INSERT OR REPLACE INTO account_links (hash, connection, own) VALUES (?1, ?2, ?3)",
        params![hash, connection.0, own],
    )?;
    Ok(())
}

/// Whose link it is, and whether it was made here.
pub(super) fn known_link(
    tx: &Transaction<'_>,
    hash: &LinkHash,
) -> Result<Option<(ConnectionId, bool)>, AccountError> {
    let sql = "SELECT connection, own FROM account_links WHERE hash = ?1";
    let found = tx.sql().query_row(sql, [hash], |row| {
        Ok((ConnectionId(row.get(0)?), row.get(1)?))
    });
    Ok(found.optional()?)
}

pub(super) fn forget_links(
    tx: &Transaction<'_>,
    connection: ConnectionId,
) -> Result<(), AccountError> {
    tx.execute(
        "DELETE FROM account_links WHERE connection = ?1",
        [connection.0],
    )?;
    Ok(())
}

/// The servers, in SimpleX's text formats, in the order in which they were added.
pub(super) fn server_lines(tx: &Transaction<'_>) -> Result<Vec<(i64, String)>, AccountError> {
    let sql = "SELECT id, line FROM account_servers ORDER BY id";
    let mut statement = tx.sql().prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn insert_server(tx: &Transaction<'_>, line: &str) -> Result<(), AccountError> {
    tx.execute("INSERT INTO account_servers (line) VALUES (?1)", [line])?;
    Ok(())
}

pub(super) fn delete_server(tx: &Transaction<'_>, id: i64) -> Result<(), AccountError> {
    tx.execute("DELETE FROM account_servers WHERE id = ?1", [id])?;
    Ok(())
}

/// The connection that is the contact address.
pub(super) fn address(tx: &Transaction<'_>) -> Result<Option<ConnectionId>, AccountError> {
    let sql = "SELECT connection FROM account_address";
    let found = tx
        .sql()
        .query_row(sql, [], |row| row.get(0).map(ConnectionId));
    Ok(found.optional()?)
}

pub(super) fn set_address(
    tx: &Transaction<'_>,
    connection: Option<ConnectionId>,
) -> Result<(), AccountError> {
    tx.execute("DELETE FROM account_address", [])?;
    if let Some(connection) = connection {
        tx.execute(
            "INSERT INTO account_address (id, connection) VALUES (1, ?1)",
            [connection.0],
        )?;
    }
    Ok(())
}

fn contact_row(row: &Row<'_>) -> rusqlite::Result<ContactRow> {
    let profile: Option<String> = row.get(12)?;
    Ok(ContactRow {
        id: ContactId(row.get(0)?),
        connection: ConnectionId(row.get(1)?),
        origin: origin(row.get(2)?),
        created: Timestamp(row.get(3)?),
        named: row.get(4)?,
        blocked: row.get(5)?,
        calls: permission(row.get(6)?),
        deleted_by_peer: row.get(7)?,
        failed: row.get::<_, Option<i64>>(8)?.map(fail_reason),
        told: row.get(9)?,
        verified_at: row.get::<_, Option<i64>>(10)?.map(Timestamp),
        name: row.get(11)?,
        profile: profile.as_deref().and_then(read_profile),
        code: row.get(13)?,
        verified_code: row.get(14)?,
    })
}

fn origin(code: i64) -> Origin {
    [Origin::Joined, Origin::Requested, Origin::Accepted]
        .into_iter()
        .find(|origin| *origin as i64 == code)
        .unwrap_or(Origin::Invited)
}

/// What can't be understood does not ring.
fn permission(code: i64) -> CallPermission {
    [CallPermission::Allow, CallPermission::Silent]
        .into_iter()
        .find(|permission| *permission as i64 == code)
        .unwrap_or(CallPermission::Refuse)
}

const FAIL_REASONS: [FailReason; 6] = [
    FailReason::LinkGone,
    FailReason::LinkForged,
    FailReason::Version,
    FailReason::PeerGone,
    FailReason::RelayRefused,
    FailReason::UnknownRelay,
];

fn fail_code(reason: FailReason) -> i64 {
    let place = FAIL_REASONS.iter().position(|known| *known == reason);
    place
        .and_then(|place| i64::try_from(place).ok())
        .unwrap_or(0)
}

fn fail_reason(code: i64) -> FailReason {
    let place = usize::try_from(code).unwrap_or(0);
    FAIL_REASONS
        .get(place)
        .copied()
        .unwrap_or(FailReason::LinkGone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        let mut store = Store::in_memory().unwrap();
        migrate(&mut store).unwrap();
        store
    }

    fn new(connection: i64, name: Option<&str>) -> NewContact {
        NewContact {
            connection: ConnectionId(connection),
            origin: Origin::Joined,
            created: Timestamp(1_000),
            profile: name.map(|name| Profile::new(DisplayName::received(name))),
            told: 1,
        }
    }

    fn within<T>(
        store: &mut Store,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AccountError>,
    ) -> T {
        store.transaction(work).unwrap()
    }

    #[test]
    fn contacts_come_back_with_all_that_was_kept() {
        let mut store = store();
        within(&mut store, |tx| {
            let row = insert_contact(tx, &new(7, Some("bob")))?;
            set_failed(tx, row.id, FailReason::RelayRefused)?;
            set_calls(tx, row.id, CallPermission::Silent)?;
            set_blocked(tx, row.id, true)?;
            set_code(tx, row.id, &[3; 32])?;
            set_verified(tx, row.id, Some((&[3; 32], Timestamp(5_000))))?;
            set_deleted_by_peer(tx, row.id)
        });
        let row = within(&mut store, |tx| contact_of(tx, ConnectionId(7))).unwrap();
        assert_eq!((row.name.as_str(), row.named), ("bob", true));
        assert_eq!(row.origin, Origin::Joined);
        assert_eq!(row.failed, Some(FailReason::RelayRefused));
        assert_eq!(row.calls, CallPermission::Silent);
        assert!(row.blocked && row.deleted_by_peer);
        assert_eq!(
            (row.code, row.verified_code),
            (Some([3; 32]), Some([3; 32]))
        );
        assert_eq!(row.verified_at, Some(Timestamp(5_000)));
        assert_eq!(row.profile.unwrap().display_name.as_str(), "bob");
    }

    #[test]
    fn names_are_unique_and_stay_when_a_profile_changes() {
        let mut store = store();
        let names = within(&mut store, |tx| {
            insert_contact(tx, &new(1, Some("bob")))?;
            insert_contact(tx, &new(2, Some("Bob")))?;
            insert_contact(tx, &new(3, None))?;
            let again = insert_contact(tx, &new(3, None))?;
            introduce(
                tx,
                ContactId(1),
                &Profile::new(DisplayName::received("rob")),
            )?;
            assert_eq!(again.id, ContactId(3));
            Ok(contacts(tx)?
                .into_iter()
                .map(|row| row.name)
                .collect::<Vec<_>>())
        });
        assert_eq!(names, ["bob", "Bob 2", "contact 3"]);
    }

    #[test]
    fn a_name_that_somebody_has_is_refused() {
        let mut store = store();
        within(&mut store, |tx| {
            insert_contact(tx, &new(1, Some("bob")))?;
            insert_contact(tx, &new(2, Some("carol")))?;
            let bob = DisplayName::new("BOB").unwrap();
            let refused = rename(tx, ContactId(2), &bob);
            assert!(matches!(refused, Err(AccountError::NameTaken(_))));
            rename(tx, ContactId(1), &bob)?;
            assert_eq!(contact(tx, ContactId(1))?.name, "BOB");
            Ok(())
        });
    }

    #[test]
    fn a_name_that_was_chosen_stays_when_the_contact_tells_its_own() {
        let mut store = store();
        within(&mut store, |tx| {
            let row = insert_contact(tx, &new(1, None))?;
            rename(tx, row.id, &DisplayName::new("my friend").unwrap())?;
            introduce(tx, row.id, &Profile::new(DisplayName::received("bob")))?;
            assert_eq!(contact(tx, row.id)?.name, "my friend");
            Ok(())
        });
    }

    #[test]
    fn a_deleted_contact_leaves_no_link_and_its_id_is_not_used_again() {
        let mut store = store();
        within(&mut store, |tx| {
            let row = insert_contact(tx, &new(1, None))?;
            remember_link(tx, &[1; 32], row.connection, false)?;
            assert_eq!(known_link(tx, &[1; 32])?, Some((ConnectionId(1), false)));
            delete_contact(tx, row.id, row.connection)?;
            assert_eq!(known_link(tx, &[1; 32])?, None);
            assert!(insert_contact(tx, &new(2, None))?.id > row.id);
            Ok(())
        });
    }

    #[test]
    fn every_reason_to_fail_comes_back() {
        for reason in FAIL_REASONS {
            assert_eq!(fail_reason(fail_code(reason)), reason);
        }
        assert_eq!(fail_reason(99), FailReason::LinkGone);
    }
}
