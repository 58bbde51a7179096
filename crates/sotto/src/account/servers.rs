//! Servers of an account: message relays, and STUN and TURN servers for calls.

use std::fmt;
use std::time::Instant;

use call_core::{IceServer, IceServerError};
use smp_agent::{ServerTestError, Transaction};
use smp_protocol::{AddressError, ServerAddress};
use thiserror::Error;

use super::Account;
use super::error::AccountError;
use super::table;
use crate::gather::{GatherEvent, Gatherer};
use crate::network::Network;

/// How the address of a message relay begins.
const SMP: &str = "smp://";

/// Servers of an account. `Debug` shows how many.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Servers {
    /// Message relays: queues are made at one of them, chosen at random each time, and messages to
    /// the relays of contacts go through another. Two of different operators are the least with
    /// which no relay sees who talks to whom.
    pub smp: Vec<ServerAddress>,
    /// STUN and TURN servers, for calls.
    pub ice: Vec<IceServer>,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers")
            .field("smp", &self.smp.len())
            .field("ice", &self.ice.len())
            .finish()
    }
}

/// Why a server can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerProblem {
    /// There is none where queues can be made.
    #[error("there is no message relay; add one, for example smp://FINGERPRINT@HOST")]
    NoRelay,
    /// It is no server's address.
    #[error(
        "a server is smp://FINGERPRINT:PASSWORD@HOST for messages, or stun:HOST or \
         turn:USER:PASSWORD@HOST for calls"
    )]
    Unknown,
    /// The address of a message relay is wrong.
    #[error("this is no message relay: {0}")]
    Smp(#[from] AddressError),
    /// The address of a STUN or TURN server is wrong.
    #[error("this is no server for calls: {0}")]
    Ice(#[from] IceServerError),
    /// The account has it already.
    #[error("this server is there already")]
    Exists,
    /// The account does not have it.
    #[error("this server is not among the account's")]
    NotThere,
    /// A message relay did not do what it has to.
    #[error("the message relay can't be used: {0}")]
    SmpTest(#[from] ServerTestError),
    /// A STUN or TURN server gave no address.
    #[error("the server for calls gave no address: it can't be reached, or refuses the password")]
    IceTest,
}

/// A server in SimpleX's text formats.
#[derive(Clone, PartialEq, Eq)]
enum Server {
    Smp(ServerAddress),
    Ice(IceServer),
}

impl Account {
    /// The servers of the account.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn servers(&self) -> Result<Servers, AccountError> {
        self.shared.transact(read).await
    }

    /// Adds a server: `smp://…` for messages, `stun:…`, `turn:…` and so on for calls, as SimpleX
    /// writes them. If it is there already with another password, it gets the new one.
    ///
    /// # Errors
    /// [`AccountError::Server`] if it is none or there already, [`AccountError::Store`].
    pub async fn add_server(&self, server: &str) -> Result<(), AccountError> {
        let server = Server::parse(server)?;
        self.change_servers(move |tx| {
            if known(tx)?.iter().any(|(_, other)| *other == server) {
                return Err(ServerProblem::Exists.into());
            }
            put(tx, &server)
        })
        .await
    }

    /// Removes a server; the password need not be said. Queues that are there stay:
    /// [`Account::rotate`] moves them.
    ///
    /// # Errors
    /// [`AccountError::Server`] if it is none or not there, [`AccountError::Store`].
    pub async fn remove_server(&self, server: &str) -> Result<(), AccountError> {
        let place = Place::parse(server)?;
        self.change_servers(move |tx| {
            let mut removed = false;
            for (id, other) in known(tx)? {
                if place.is_of(&other) {
                    table::delete_server(tx, id)?;
                    removed = true;
                }
            }
            if removed {
                Ok(())
            } else {
                Err(ServerProblem::NotThere.into())
            }
        })
        .await
    }

    /// Sees whether a server can be used: makes and deletes a queue at a message relay, asks a STUN
    /// or TURN server for an address. It need not be one of the account's.
    ///
    /// # Errors
    /// [`AccountError::Server`] with what did not work.
    pub async fn test_server(&self, server: &str) -> Result<(), AccountError> {
        match Server::parse(server)? {
            Server::Smp(address) => {
                let tested = self.shared.agent.test_server(&address).await;
                Ok(tested.map_err(ServerProblem::from)?)
            }
            Server::Ice(ice) => {
                let config = crate::Config {
                    ice_servers: vec![ice.clone()],
                    relay_only: false,
                    ..self.shared.config.clone()
                };
                config.check()?;
                if gives_address(ice, config).await {
                    Ok(())
                } else {
                    Err(ServerProblem::IceTest.into())
                }
            }
        }
    }

    async fn change_servers(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<(), AccountError> + Send + 'static,
    ) -> Result<(), AccountError> {
        let shared = &self.shared;
        let servers = shared
            .transact(move |tx| {
                change(tx)?;
                read(tx)
            })
            .await?;
        shared.lines.retire_all();
        shared.agent.set_servers(servers.smp).await?;
        Ok(())
    }
}

/// Asks a server for an address.
async fn gives_address(ice: IceServer, config: crate::Config) -> bool {
    // A TURN server gives relayed addresses, any other this side's own.
    let relay_only = ice.is_relay();
    let mut network = Network::open(config.bind, true, vec![ice]).await;
    let mut gatherer = Gatherer::new(relay_only);
    let now = Instant::now();
    for server in &network.servers {
        gatherer.add_server(now, server);
    }
    gatherer.all_added(now);
    loop {
        while let Some(datagram) = gatherer.poll_datagram() {
            network.send(&datagram);
        }
        match gatherer.poll_event() {
            Some(GatherEvent::Candidate(_)) => {
                gatherer.close(Instant::now());
                while let Some(datagram) = gatherer.poll_datagram() {
                    network.send(&datagram);
                }
                return true;
            }
            Some(GatherEvent::Complete) => return false,
            None => {}
        }
        let Some(deadline) = gatherer.poll_timeout() else {
            return false;
        };
        tokio::select! {
            received = network.receive() => match received {
                Some(received) => {
                    let now = Instant::now();
                    gatherer.handle_datagram(now, received.local, received.peer, &received.bytes);
                }
                None => return false,
            },
            () = tokio::time::sleep_until(deadline.into()) => gatherer.handle_timeout(Instant::now()),
        }
    }
}

/// The servers in the store.
pub(super) fn read(tx: &Transaction<'_>) -> Result<Servers, AccountError> {
    let mut servers = Servers::default();
    for (_, server) in known(tx)? {
        match server {
            Server::Smp(address) => servers.smp.push(address),
            Server::Ice(ice) => servers.ice.push(ice),
        }
    }
    Ok(servers)
}

/// Puts servers into the store that are not there.
pub(super) fn keep(tx: &Transaction<'_>, more: &Servers) -> Result<(), AccountError> {
    let smp = more.smp.iter().cloned().map(Server::Smp);
    for server in smp.chain(more.ice.iter().cloned().map(Server::Ice)) {
        if known(tx)?.iter().all(|(_, other)| *other != server) {
            put(tx, &server)?;
        }
    }
    Ok(())
}

fn known(tx: &Transaction<'_>) -> Result<Vec<(i64, Server)>, AccountError> {
    let lines = table::server_lines(tx)?.into_iter();
    let parsed = lines.filter_map(|(id, line)| Some((id, Server::parse(&line).ok()?)));
    Ok(parsed.collect())
}

/// Adds a server, in the place of the same one with another password.
fn put(tx: &Transaction<'_>, server: &Server) -> Result<(), AccountError> {
    let place = Place::of(server);
    for (id, other) in known(tx)? {
        if place.is_of(&other) {
            table::delete_server(tx, id)?;
        }
    }
    let line = match server {
        Server::Smp(address) => address.to_string_with_password(),
        Server::Ice(ice) => ice.to_line(),
    };
    table::insert_server(tx, &line)
}

impl Server {
    fn parse(text: &str) -> Result<Self, ServerProblem> {
        let text = text.trim();
        if text.starts_with(SMP) {
            return Ok(Self::Smp(text.parse()?));
        }
        match text.parse() {
            Ok(ice) => Ok(Self::Ice(ice)),
            Err(IceServerError::UnknownScheme) => Err(ServerProblem::Unknown),
            Err(error) => Err(error.into()),
        }
    }
}

/// Where a server is, without what it takes to use it.
#[derive(PartialEq, Eq)]
enum Place {
    Smp(smp_protocol::RelayAddress),
    Ice(String),
}

impl Place {
    fn of(server: &Server) -> Self {
        match server {
            Server::Smp(address) => Self::Smp(address.relay.clone()),
            Server::Ice(ice) => Self::Ice(ice.url()),
        }
    }

    /// Takes a TURN server without user and password, too.
    fn parse(text: &str) -> Result<Self, ServerProblem> {
        match Server::parse(text) {
            Err(ServerProblem::Ice(IceServerError::NoCredentials)) => {
                let text = text.trim();
                let (scheme, host) = text.split_once(':').ok_or(ServerProblem::Unknown)?;
                Ok(Self::of(&Server::parse(&format!("{scheme}:-:-@{host}"))?))
            }
            parsed => Ok(Self::of(&parsed?)),
        }
    }

    fn is_of(&self, server: &Server) -> bool {
        *self == Self::of(server)
    }
}

#[cfg(test)]
mod tests {
    use smp_agent::Store;

    use super::*;

    const RELAY: &str = "smp://PIiloWr13PLqta2AYdl4nwzP1wNvQilN02Jv7i_-Z38=@relay.example";
    const WITH_PASSWORD: &str =
        "smp://PIiloWr13PLqta2AYdl4nwzP1wNvQilN02Jv7i_-Z38=:secret@relay.example";

    fn store() -> Store {
        let mut store = Store::in_memory().unwrap();
        table::migrate(&mut store).unwrap();
        store
    }

    fn within<T>(
        store: &mut Store,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AccountError>,
    ) -> T {
        store.transaction(work).unwrap()
    }

    fn servers(lines: &[&str]) -> Servers {
        let mut servers = Servers::default();
        for line in lines {
            match Server::parse(line).unwrap() {
                Server::Smp(address) => servers.smp.push(address),
                Server::Ice(ice) => servers.ice.push(ice),
            }
        }
        servers
    }

    #[test]
    fn servers_come_back_with_their_passwords() {
        let mut store = store();
        let both = servers(&[WITH_PASSWORD, "turn:user:pa@ss:w@turn.example"]);
        let kept = both.clone();
        within(&mut store, move |tx| keep(tx, &kept));
        assert_eq!(within(&mut store, read), both);
    }

    #[test]
    fn another_password_takes_the_place_of_the_former() {
        let mut store = store();
        within(&mut store, |tx| {
            keep(tx, &servers(&[RELAY, "turn:a:b@turn.example"]))
        });
        within(&mut store, |tx| {
            keep(tx, &servers(&[WITH_PASSWORD, "turn:a:c@turn.example"]))
        });
        let now = within(&mut store, read);
        assert_eq!(now, servers(&[WITH_PASSWORD, "turn:a:c@turn.example"]));
    }

    #[test]
    fn a_server_is_removed_without_its_password() {
        for (server, named) in [
            (WITH_PASSWORD, RELAY),
            ("turn:user:secret@turn.example:3478", "turn:turn.example"),
            ("stun:stun.example", "stun:stun.example:3478"),
        ] {
            let place = Place::parse(named).unwrap();
            assert!(place.is_of(&Server::parse(server).unwrap()), "{named}");
        }
        let other = Place::parse("turn:other.example").unwrap();
        assert!(!other.is_of(&Server::parse("turn:user:secret@turn.example").unwrap()));
    }

    #[test]
    fn what_is_no_server_is_refused_with_what_one_looks_like() {
        assert!(matches!(
            Server::parse("hello"),
            Err(ServerProblem::Unknown)
        ));
        assert!(matches!(
            Server::parse("smp://x"),
            Err(ServerProblem::Smp(_))
        ));
        assert!(matches!(
            Server::parse("turn:host"),
            Err(ServerProblem::Ice(_))
        ));
        assert!(!format!("{:?}", servers(&[RELAY])).contains("relay"));
    }
}
