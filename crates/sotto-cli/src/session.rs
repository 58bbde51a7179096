//! An open profile, and what goes on in it while a command does its work.

mod show;

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use smp_client::Fallback;
use sotto::{
    Account, AccountError, AccountEvent, AccountEvents, AccountOptions, Config, ConfigError,
    ConnectStep, Contact, ContactId, ContactProblem, LinkProblem, Routing, ServerProblem,
    StoreError, StoreKey,
};
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::call::talk::timed_out;
use crate::context::Context;
use crate::failure::{Failure, Status};
use crate::out::Out;
use crate::stop::{Stop, until};

pub(crate) use show::{Teller, incoming, media_name, stage_text, unix_ms_at};

/// The profile of this command, open until the command is done.
pub(crate) struct Session {
    pub(crate) account: Account,
    pub(crate) events: AccountEvents,
    pub(crate) out: Out,
    pub(crate) stop: Stop,
}

/// Opens the profile, does `work` with it, and closes it in order.
pub(crate) fn run(
    context: &Context,
    work: impl AsyncFnOnce(&mut Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    run_with(context, Config::default(), Out::new(context), work)
}

/// The same, for calls: with `config`, and with an `out` that may write events.
pub(crate) fn run_with(
    context: &Context,
    config: Config,
    mut out: Out,
    work: impl AsyncFnOnce(&mut Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // The passphrase is asked for before there are signals to be heard.
    let result = context
        .key()
        .and_then(|key| open_and_work(context, &key, config, &mut out, work));
    out.record_exit(&result);
    result
}

/// The same, where the key is at hand.
pub(crate) fn run_with_key(
    context: &Context,
    key: &StoreKey,
    mut out: Out,
    work: impl AsyncFnOnce(&mut Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let result = open_and_work(context, key, Config::default(), &mut out, work);
    out.record_exit(&result);
    result
}

fn open_and_work(
    context: &Context,
    key: &StoreKey,
    config: Config,
    out: &mut Out,
    work: impl AsyncFnOnce(&mut Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let store = context.store()?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::other)?;
    let result = runtime.block_on(async {
        let stop = Stop::new()?;
        let opened = Account::open(&store, key, options(config)).await;
        let (account, events) = opened.map_err(|error| opening(error, &store))?;
        let silent = Out::silent(context.clock());
        let mut session = Session {
            account,
            events,
            out: std::mem::replace(out, silent),
            stop,
        };
        let result = work(&mut session).await;
        session.account.close().await;
        *out = session.out;
        result
    });
    // A read of the terminal may still be waiting for a key.
    runtime.shutdown_background();
    result
}

fn options(config: Config) -> AccountOptions {
    AccountOptions {
        config,
        // A profile with one relay reaches contacts at that relay, which knows its address anyway.
        routing: Routing::Proxied(Fallback::IfUnavailable),
        ..AccountOptions::default()
    }
}

impl Session {
    /// The contact of this name.
    pub(crate) async fn find(&self, name: &str) -> Result<Contact, Failure> {
        self.account.find(name).await.map_err(|error| match error {
            AccountError::NoSuchContact => {
                let text = "there is no contact of this name: see `sotto contacts`";
                Failure::new(Status::Contact, text)
            }
            error => failure(error),
        })
    }

    /// What tells of events.
    pub(crate) fn teller(&mut self) -> Teller<'_> {
        Teller {
            account: &self.account,
            out: &mut self.out,
        }
    }

    /// Tells of an event. It counts as handled then.
    pub(crate) async fn show(&mut self, event: AccountEvent) {
        self.teller().show(event).await;
    }

    /// The next event; fails when the user or the time given ends the command.
    pub(crate) async fn next(&mut self, give_up: Option<Instant>) -> Result<AccountEvent, Ending> {
        tokio::select! {
            event = self.events.next() => event.ok_or(Ending::Closed),
            () = until(give_up) => Err(Ending::TimeOver),
            () = self.stop.wanted() => Err(Ending::Stopped),
        }
    }

    /// Does something that may take long, unless the user ends the command, and tells what happens
    /// meanwhile.
    pub(crate) async fn unless_stopped<T>(
        &mut self,
        work: impl Future<Output = Result<T, AccountError>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        loop {
            let event = tokio::select! {
                done = &mut work => return done.map_err(failure),
                event = self.next(None) => event.map_err(|ending| ending.failure("it was not done"))?,
            };
            match event {
                // What is waited for tells that itself.
                AccountEvent::Progress { .. } => {}
                event => self.show(event).await,
            }
        }
    }

    /// Waits until there is a connection with `contact`, and tells of each step.
    pub(crate) async fn connected(
        &mut self,
        contact: ContactId,
        wanted_name: Option<&str>,
        give_up: Option<Instant>,
    ) -> Result<(), Failure> {
        loop {
            let event = self.next(give_up).await.map_err(|ending| {
                ending.failure("the contact did not connect; `sotto listen` goes on waiting")
            })?;
            match event {
                AccountEvent::Connected { contact: who } if who == contact => {
                    if let Some(name) = wanted_name {
                        self.account.rename(contact, name).await.map_err(failure)?;
                    }
                    return self.teller().secured(contact).await;
                }
                AccountEvent::Failed {
                    contact: who,
                    reason,
                } if who == contact => {
                    return Err(Failure::new(
                        Status::Contact,
                        format_args!("it came to nothing: {reason}"),
                    ));
                }
                AccountEvent::Progress { contact: who, step } if who == contact => {
                    let name = self.teller().name(contact).await;
                    let event = show::progress(name, step);
                    if step == ConnectStep::LinkReady {
                        // It was shown already.
                        self.out.record(event);
                    } else {
                        self.out
                            .tell(event, format_args!("{} …", show::step_text(step)));
                    }
                }
                event => self.show(event).await,
            }
        }
    }
}

/// Why there is no further event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The user ended the command.
    Stopped,
    /// The time given is over.
    TimeOver,
    /// The account was closed beneath.
    Closed,
}

impl Ending {
    /// `what` did not happen.
    pub(crate) fn failure(self, what: &str) -> Failure {
        match self {
            Self::Stopped => Failure::new(Status::NotConnected, format_args!("stopped: {what}")),
            Self::TimeOver => timed_out(what),
            Self::Closed => Failure::other("the profile was closed"),
        }
    }
}

/// When to give up.
pub(crate) fn deadline(after: Option<Duration>) -> Option<Instant> {
    after.map(|after| Instant::now() + after)
}

/// Why the profile can't be opened.
fn opening(error: AccountError, store: &Path) -> Failure {
    let text = match error {
        AccountError::Store(StoreError::InUse) => {
            "the profile is in use by another `sotto`: end that first, or wait until it is done"
                .to_owned()
        }
        AccountError::Store(error) => format!("{}: {error}", store.display()),
        error => return failure(error),
    };
    Failure::new(Status::Profile, text)
}

/// What the account refused, with its exit status.
pub(crate) fn failure(error: AccountError) -> Failure {
    let status = match &error {
        AccountError::Store(_) | AccountError::NoProfile | AccountError::Closed => Status::Profile,
        AccountError::NoSuchContact
        | AccountError::NoSuchRequest
        | AccountError::Contact(_)
        | AccountError::Link(_)
        | AccountError::AddressExists
        | AccountError::NoAddress
        | AccountError::NameTaken(_) => Status::Contact,
        AccountError::CodesDiffer => Status::Security,
        AccountError::NoLink(_) | AccountError::Server(_) | AccountError::Connector(_) => {
            Status::Server
        }
        AccountError::Name(_) | AccountError::NotACode(_) | AccountError::Config(_) => {
            Status::Usage
        }
        AccountError::Call(_) => Status::NotConnected,
        _ => Status::Other,
    };
    match error {
        AccountError::Server(ServerProblem::NoRelay) => no_server(),
        AccountError::Config(ConfigError::NoRelay) => Failure::new(Status::Server, NO_TURN),
        AccountError::Contact(ContactProblem::NotConnected) => Failure::new(
            status,
            "the contact is not connected yet: `sotto listen` goes on connecting",
        ),
        AccountError::Link(LinkProblem::Text(error)) => {
            Failure::new(status, format_args!("the link can't be read: {error}"))
        }
        error => Failure::new(status, error),
    }
}

/// Calls have no way that hides this machine.
pub(crate) const NO_TURN: &str = "calls go through a TURN server, and there is none: add one with `sotto servers add \
     turn:user:password@host:port`, or say --direct: the contact then learns this machine's address";

/// There is nowhere to make a queue.
fn no_server() -> Failure {
    Failure::new(
        Status::Server,
        "no message relay is configured: add one with `sotto servers add \
         smp://FINGERPRINT:PASSWORD@HOST`, or host your own (`sotto-smp init`, `sotto-smp start`)",
    )
}
