//! `sotto servers`: what messages and calls go through.

use std::time::Instant;

use clap::{Args, Subcommand};
use smp_agent::ServerTestStep;
use smp_protocol::ServerAddress;
use sotto::{AccountError, IceServer, ServerProblem, Servers};
use zeroize::Zeroizing;

use crate::clock::milliseconds;
use crate::context::Context;
use crate::events::{Event, ServerKind};
use crate::failure::{Failure, Status};
use crate::session::{self, Session, failure};
use crate::terminal::or_input;

/// List, add, test and remove servers: message relays (smp://…), and STUN and TURN servers for
/// calls (stun:…, turn:…). Without a subcommand, lists them.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct ServersArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

const EXAMPLES: &str = "\
Examples:
  sotto servers add smp://FINGERPRINT:PASSWORD@relay.example.org
  sotto servers add turn:user:password@turn.example.org:3478
  sotto servers test";

const ADD_EXAMPLES: &str = "\
Example, so that the password does not show in the list of processes:
  sotto servers add - < addresses.txt";

const TEST_EXAMPLES: &str = "\
Example:
  sotto servers test smp://FINGERPRINT:PASSWORD@relay.example.org";

const REMOVE_EXAMPLES: &str = "\
Example, without the password:
  sotto servers remove smp://FINGERPRINT@relay.example.org";

#[derive(Subcommand)]
enum Action {
    /// List the servers, without their passwords
    List,
    /// Add servers
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// Addresses as SimpleX writes them; - reads them from standard input, one a line
        #[arg(value_name = "ADDRESS", required = true)]
        servers: Vec<String>,
    },
    /// See whether servers can be used: connect with relays and make a queue, ask the others for
    /// an address
    #[command(after_help = TEST_EXAMPLES)]
    Test {
        /// These, instead of the profile's; - reads them from standard input
        #[arg(value_name = "ADDRESS")]
        servers: Vec<String>,
    },
    /// Remove servers; queues that are there stay until `sotto contacts rotate`
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove {
        /// Addresses, with passwords or without
        #[arg(value_name = "ADDRESS", required = true)]
        servers: Vec<String>,
    },
}

/// Runs the command.
pub(crate) fn run(args: &ServersArgs, context: &Context) -> Result<(), Failure> {
    let named = match &args.action {
        None | Some(Action::List) => Vec::new(),
        Some(Action::Add { servers } | Action::Test { servers } | Action::Remove { servers }) => {
            addresses(servers)?
        }
    };
    session::run(context, async |session| match args.action {
        None | Some(Action::List) => list(session).await,
        Some(Action::Add { .. }) => add(session, &named).await,
        Some(Action::Test { .. }) => test(session, named).await,
        Some(Action::Remove { .. }) => remove(session, &named).await,
    })
}

/// The addresses that are named, those on standard input among them.
pub(crate) fn addresses(named: &[String]) -> Result<Vec<Zeroizing<String>>, Failure> {
    let mut addresses = Vec::new();
    for name in named {
        let text = or_input(name, "the address")?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        addresses.extend(lines.map(|line| Zeroizing::new(line.to_owned())));
    }
    Ok(addresses)
}

/// Adds servers to the profile.
pub(crate) async fn add(
    session: &mut Session,
    servers: &[Zeroizing<String>],
) -> Result<(), Failure> {
    for server in servers {
        let text = match session.account.add_server(server).await {
            Ok(()) => "added",
            Err(AccountError::Server(ServerProblem::Exists)) => "there already",
            Err(error) => return Err(failure(error)),
        };
        let shown = without_password(server);
        let event = event(server, &shown);
        session.out.tell(event, format_args!("{shown}: {text}"));
    }
    Ok(())
}

async fn remove(session: &mut Session, servers: &[Zeroizing<String>]) -> Result<(), Failure> {
    for server in servers {
        session
            .account
            .remove_server(server)
            .await
            .map_err(failure)?;
        session
            .out
            .say(format_args!("{}: removed", without_password(server)));
    }
    Ok(())
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let servers = session.account.servers().await.map_err(failure)?;
    if servers.smp.is_empty() {
        session.out.say(
            "No message relay: add one with `sotto servers add smp://FINGERPRINT:PASSWORD@HOST`.",
        );
    }
    for server in lines(&servers) {
        let shown = without_password(&server);
        session.out.answer(event(&server, &shown), shown);
    }
    if !servers.ice.iter().any(IceServer::is_relay) {
        session.out.say(
            "No TURN server: calls need `--direct`. Add one with `sotto servers add \
             turn:user:password@host:port`.",
        );
    }
    Ok(())
}

/// Tests each server, and fails if one did.
async fn test(session: &mut Session, named: Vec<Zeroizing<String>>) -> Result<(), Failure> {
    let servers = if named.is_empty() {
        lines(&session.account.servers().await.map_err(failure)?)
    } else {
        named
    };
    let mut failed = None;
    for server in &servers {
        if let Err(failure) = test_one(session, server).await {
            failed.get_or_insert(failure);
        }
    }
    if servers.is_empty() {
        session.out.say("There is no server to test.");
    }
    failed.map_or(Ok(()), Err)
}

async fn test_one(session: &mut Session, server: &str) -> Result<(), Failure> {
    let shown = without_password(server);
    session.out.say(format_args!("{shown}"));
    let started = Instant::now();
    let account = session.account.clone();
    let tested = tokio::select! {
        tested = account.test_server(server) => tested,
        () = session.stop.wanted() => {
            return Err(Failure::new(Status::NotConnected, "stopped"));
        }
    };
    let took_ms = milliseconds(started.elapsed());
    let steps = steps(server, &tested);
    let last = steps.len().saturating_sub(1);
    for (index, (step, error)) in steps.iter().enumerate() {
        let took = if index == last {
            format!(", {took_ms:.0} ms")
        } else {
            String::new()
        };
        let text = match error {
            None => format!("  ✓ {step}{took}"),
            Some(error) => format!("  ✗ {step}: {error}"),
        };
        let event = Event::ServerTest {
            address: shown.clone(),
            step: (*step).to_owned(),
            ok: error.is_none(),
            took_ms: (index == last).then_some(took_ms),
            error: error.clone(),
        };
        session.out.answer(event, text);
    }
    tested.map_err(failure)
}

/// What was done and went well, up to what did not.
fn steps(server: &str, tested: &Result<(), AccountError>) -> Vec<(&'static str, Option<String>)> {
    const QUEUE: [(&str, ServerTestStep); 4] = [
        ("connected", ServerTestStep::Connect),
        ("made a queue", ServerTestStep::CreateQueue),
        ("secured the queue", ServerTestStep::SecureQueue),
        ("deleted the queue", ServerTestStep::DeleteQueue),
    ];
    if kind(server) == ServerKind::Ice {
        let error = tested.as_ref().err().map(ToString::to_string);
        return vec![("gave an address", error)];
    }
    let failed = match tested {
        Ok(()) => None,
        Err(AccountError::Server(ServerProblem::SmpTest(error))) => {
            Some((error.step, error.error.to_string()))
        }
        Err(error) => Some((ServerTestStep::Connect, error.to_string())),
    };
    let mut steps = Vec::new();
    for (name, step) in QUEUE {
        match &failed {
            Some((at, error)) if *at == step => {
                steps.push((name, Some(error.clone())));
                break;
            }
            _ => steps.push((name, None)),
        }
    }
    steps
}

fn lines(servers: &Servers) -> Vec<Zeroizing<String>> {
    let smp = servers
        .smp
        .iter()
        .map(|server| server.to_string_with_password());
    let ice = servers.ice.iter().map(IceServer::to_line);
    smp.chain(ice).collect()
}

fn event(server: &str, shown: &str) -> Event {
    Event::Server {
        kind: kind(server),
        address: shown.to_owned(),
        password: has_password(server),
    }
}

fn has_password(server: &str) -> bool {
    let smp = server.parse::<ServerAddress>();
    let ice = server.parse::<IceServer>();
    smp.is_ok_and(|smp| smp.basic_auth.is_some()) || ice.is_ok_and(|ice| ice.is_relay())
}

fn kind(server: &str) -> ServerKind {
    if server.starts_with("smp://") {
        ServerKind::Smp
    } else {
        ServerKind::Ice
    }
}

/// An address as it may be shown.
fn without_password(server: &str) -> String {
    if let Ok(smp) = server.parse::<ServerAddress>() {
        return smp.to_string();
    }
    match server.parse::<IceServer>() {
        Ok(ice) => ice.url(),
        // Whatever it is, it may hold a password.
        Err(_) => "this address".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let fingerprint = "PIiloWr13PLqta2AYdl4nwzP1wNvQilN02Jv7i_-Z38=";
        for (server, shown) in [
            (format!("smp://{fingerprint}:secret@a.example"), "a.example"),
            ("turn:user:secret@b.example:3478".to_owned(), "b.example"),
            ("secret".to_owned(), "this address"),
        ] {
            let text = without_password(&server);
            assert!(text.contains(shown) && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_test_ends_with_the_step_that_failed() {
        let error = AccountError::Server(ServerProblem::IceTest);
        let steps = |server, tested| steps(server, &tested).len();
        assert_eq!(steps("smp://x", Ok(())), 4);
        assert_eq!(steps("smp://x", Err(error)), 1);
        assert_eq!(steps("turn:x", Ok(())), 1);
    }
}
