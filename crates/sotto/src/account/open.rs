//! From a file to a running account.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use call_signal::{DisplayName, Profile};
use smp_agent::{
    Agent, AgentOptions, ConnectionKind, ConnectionState, Store, StoreKey, Transaction,
};
use smp_client::{Connector, TcpConnector, TcpOptions};
use tokio::sync::{mpsc, watch};

use super::Account;
use super::dispatch;
use super::error::AccountError;
use super::event::{AccountEvents, Handed};
use super::line::Lines;
use super::options::AccountOptions;
use super::servers::{self, Servers};
use super::shared::{Guard, Shared};
use super::table::{self, NewContact, Origin};
use super::taking::Taker;

/// Events that may wait for the application; with more, the account waits too.
const EVENT_QUEUE: usize = 1024;

impl Account {
    /// Makes a store with a profile of this name. This takes some tenths of a second, in which it
    /// blocks.
    ///
    /// # Errors
    /// [`AccountError::Store`] if there is a file already, or the disk refuses.
    pub fn create(path: &Path, key: &StoreKey, name: &DisplayName) -> Result<(), AccountError> {
        let mut store = Store::create(path, key)?;
        table::migrate(&mut store)?;
        let profile = Profile::new(name.clone());
        store.transaction(|tx| table::set_own_profile(tx, &profile, 1))
    }

    /// Opens the account and goes on where it was: connects with relays, sends what waits, tells
    /// what was not handled. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// [`AccountError::Store`] if there is no such file, the key is wrong or another program has it
    /// open; [`AccountError::NoProfile`]; [`AccountError::Connector`].
    pub async fn open(
        path: &Path,
        key: &StoreKey,
        options: AccountOptions,
    ) -> Result<(Self, AccountEvents), AccountError> {
        let connector: Arc<dyn Connector> = match options.connector {
            Some(connector) => connector,
            None => {
                let connector = TcpConnector::new(TcpOptions::default(), None);
                Arc::new(connector.map_err(AccountError::Connector)?)
            }
        };
        let (path, key, more) = (path.to_owned(), copy(key), options.servers);
        let read = tokio::task::spawn_blocking(move || read(&path, &key, &more));
        let (store, servers) = read.await.map_err(|_| AccountError::Closed)??;
        let agent_options = AgentOptions {
            routing: options.routing,
            relay: options.relay,
            post_quantum: !options.no_post_quantum,
            ..AgentOptions::new(servers.smp, connector)
        };
        let (agent, agent_events) = Agent::start(store, agent_options)?;
        let (told, queue) = mpsc::channel(EVENT_QUEUE);
        let (stop, stopped) = watch::channel(false);
        let handed = Arc::new(Handed::default());
        let shared = Arc::new(Shared {
            taker: Taker::start(agent.clone()),
            agent,
            lines: Lines::default(),
            told,
            handed: Arc::clone(&handed),
            changes: watch::Sender::default(),
            obstacles: Mutex::new(HashMap::new()),
            config: options.config,
            post_quantum: !options.no_post_quantum,
            connecting: tokio::sync::Mutex::default(),
            stop,
        });
        tokio::spawn(dispatch::run(Arc::clone(&shared), agent_events));
        let account = Self {
            _guard: Arc::new(Guard(Arc::clone(&shared))),
            shared,
        };
        let events = AccountEvents {
            queue,
            handed,
            stop: stopped,
        };
        Ok((account, events))
    }
}

/// Opens the store and reads what is needed before the agent runs.
fn read(path: &Path, key: &StoreKey, more: &Servers) -> Result<(Store, Servers), AccountError> {
    let mut store = Store::open(path, key)?;
    table::migrate(&mut store)?;
    let servers = store.transaction(|tx| {
        table::own_profile(tx)?;
        servers::keep(tx, more)?;
        repair(tx)?;
        servers::read(tx)
    })?;
    Ok((store, servers))
}

/// Puts right what a program left half done: the agent's connections and the account's contacts
/// are made and deleted in two steps.
fn repair(tx: &Transaction<'_>) -> Result<(), AccountError> {
    let address = table::address(tx)?;
    let connections = tx.connections()?;
    for connection in &connections {
        let gone = connection.state == ConnectionState::Deleting;
        match connection.kind {
            ConnectionKind::Address if address.is_none() && !gone => {
                table::set_address(tx, Some(connection.id))?;
            }
            ConnectionKind::Address => {}
            _ => adopt(tx, connection)?,
        }
    }
    for row in table::contacts(tx)? {
        let alive = connections.iter().any(|connection| {
            connection.id == row.connection && connection.state != ConnectionState::Deleting
        });
        if !alive {
            table::delete_contact(tx, row.id, row.connection)?;
        }
    }
    Ok(())
}

/// Makes a contact of a connection that has none.
pub(super) fn adopt(
    tx: &Transaction<'_>,
    connection: &smp_agent::Connection,
) -> Result<(), AccountError> {
    let none =
        connection.kind == ConnectionKind::Address || connection.state == ConnectionState::Deleting;
    if none || table::contact_of(tx, connection.id)?.is_some() {
        return Ok(());
    }
    let origin = match connection.kind {
        ConnectionKind::Joiner => Origin::Joined,
        _ => Origin::Invited,
    };
    table::insert_contact(
        tx,
        &NewContact {
            connection: connection.id,
            origin,
            created: connection.created,
            profile: None,
            // It is told the profile once more.
            told: 0,
        },
    )?;
    Ok(())
}

/// The same key once more, for another thread.
pub(super) fn copy(key: &StoreKey) -> StoreKey {
    match key {
        StoreKey::Passphrase(passphrase) => StoreKey::Passphrase(passphrase.clone()),
        StoreKey::Raw(raw) => StoreKey::Raw(raw.clone()),
    }
}
