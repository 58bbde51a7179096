//! `sotto invite`: a link to give away.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sotto::{Account, AccountError, AccountEvent, ContactRequest, LINK_PATIENCE, Links};
use tokio::time::{Instant, sleep};

use crate::call::seconds;
use crate::context::Context;
use crate::events::{Event, LinkKind};
use crate::failure::Failure;
use crate::qr;
use crate::session::{self, Ending, Session, deadline, failure};
use crate::terminal::{Keys, is_there, key};

/// Make a link for one person to connect with, show it as text and as QR code, and wait until they
/// are connected. The link opens a connection once; send it by a way that you trust.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct InviteArgs {
    /// Show the contact address instead: a link for any number of people, each of whom asks to be
    /// connected
    #[arg(long)]
    contact: bool,
    /// Your own name for the contact
    #[arg(long, conflicts_with = "contact")]
    name: Option<String>,
    /// Show the full link, which any program can read without the relay; it is long
    #[arg(long)]
    full: bool,
    /// Show the link and end; `sotto listen` lets them in
    #[arg(long)]
    no_wait: bool,
    /// Stop waiting after this long
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "no_wait")]
    timeout: Option<Duration>,
    /// Write the QR code there, too
    #[arg(long, value_name = "FILE.svg")]
    qr: Option<PathBuf>,
    /// With --contact: let in everybody who asks
    #[arg(long, requires = "contact")]
    accept: bool,
    /// With --contact: delete the address, so that nobody can ask any more
    #[arg(long, requires = "contact", conflicts_with_all = ["accept", "no_wait", "full", "qr"])]
    delete: bool,
}

const EXAMPLES: &str = "\
Examples, for one person, and for whoever finds the address:
  sotto invite --name bob
  sotto invite --contact --accept";

/// Runs the command.
pub(crate) fn run(args: &InviteArgs, context: &Context) -> Result<(), Failure> {
    session::run(context, async |session| {
        if args.delete {
            session.account.delete_address().await.map_err(failure)?;
            session.out.say("The contact address is deleted.");
            return Ok(());
        }
        if args.contact {
            address(args, session).await
        } else {
            invitation(args, session).await
        }
    })
}

async fn invitation(args: &InviteArgs, session: &mut Session) -> Result<(), Failure> {
    session.out.say("making a link …");
    let account = session.account.clone();
    let invitation = session.unless_stopped(account.invite()).await?;
    show(args, session, LinkKind::Invitation, &invitation.links)?;
    if args.no_wait {
        if let Some(name) = &args.name {
            let renamed = session.account.rename(invitation.contact, name).await;
            renamed.map_err(failure)?;
        }
        session
            .out
            .say("`sotto listen` waits for whoever connects with it.");
        return Ok(());
    }
    session
        .out
        .say("waiting for the peer; Ctrl-C stops waiting, the link stays good …");
    let name = args.name.as_deref();
    session
        .connected(invitation.contact, name, deadline(args.timeout))
        .await
}

async fn address(args: &InviteArgs, session: &mut Session) -> Result<(), Failure> {
    let links = match session.account.address().await.map_err(failure)? {
        Some(links) => links,
        None => {
            session.out.say("making the contact address …");
            let account = session.account.clone();
            session.unless_stopped(made_address(account)).await?
        }
    };
    show(args, session, LinkKind::Address, &links)?;
    if args.no_wait {
        session
            .out
            .say("`sotto invite --contact` shows it again, and lets people in.");
        return Ok(());
    }
    let what = if args.accept {
        "letting in everybody who asks; Ctrl-C ends"
    } else {
        "waiting for people who ask; Ctrl-C ends"
    };
    session.out.say(format_args!("{what} …"));
    for request in session.account.requests().await.map_err(failure)? {
        decide(args, session, request).await?;
    }
    let give_up = deadline(args.timeout);
    loop {
        match session.next(give_up).await {
            Ok(AccountEvent::Requested(request)) => decide(args, session, request).await?,
            Ok(event) => session.show(event).await,
            Err(Ending::Closed) => return Err(Ending::Closed.failure("")),
            // That is how this ends.
            Err(Ending::Stopped | Ending::TimeOver) => return Ok(()),
        }
    }
}

/// Makes the contact address, or waits for the one that is being made since an earlier time.
async fn made_address(account: Account) -> Result<Links, AccountError> {
    match account.create_address().await {
        Err(AccountError::AddressExists) => {}
        made => return made,
    }
    let begun = Instant::now();
    loop {
        if let Some(links) = account.address().await? {
            return Ok(links);
        }
        if begun.elapsed() > LINK_PATIENCE {
            return Err(AccountError::NoLink("no answer".to_owned()));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Shows a link as text, and as QR code to whoever sits before it.
fn show(
    args: &InviteArgs,
    session: &mut Session,
    kind: LinkKind,
    links: &Links,
) -> Result<(), Failure> {
    let full = links.full.as_str();
    let short = links.short.as_ref().map(|short| short.as_str());
    let shown = if args.full {
        full
    } else {
        short.unwrap_or(full)
    };
    if let Some(path) = &args.qr {
        qr::write(shown, path)?;
    }
    if is_there() {
        match qr::blocks(shown) {
            Some(blocks) => session.out.say(blocks),
            None => session.out.say("The link is too long for a QR code."),
        }
    }
    let event = Event::Link {
        kind,
        short: short.map(str::to_owned),
        full: full.to_owned(),
    };
    session.out.answer(event, shown);
    Ok(())
}

/// Lets somebody in who asks, or not.
async fn decide(
    args: &InviteArgs,
    session: &mut Session,
    request: ContactRequest,
) -> Result<(), Failure> {
    let name = request.profile.map_or("somebody".to_owned(), |profile| {
        profile.display_name.to_string()
    });
    let accepted = if args.accept {
        Some(true)
    } else {
        ask(session, &name).await
    };
    match accepted {
        Some(true) => {
            let accepting = session.account.accept_request(request.id).await;
            accepting.map_err(failure)?;
        }
        Some(false) => {
            let rejecting = session.account.reject_request(request.id).await;
            rejecting.map_err(failure)?;
        }
        None => {}
    }
    let text = match accepted {
        Some(true) => format!("{name}: accepted"),
        Some(false) => format!("{name}: rejected, without being told"),
        None => format!("{name} asks to be connected; --accept lets everybody in"),
    };
    session.out.tell(Event::Request { name, accepted }, text);
    Ok(())
}

/// `None` where nobody can answer.
async fn ask(session: &mut Session, name: &str) -> Option<bool> {
    let mut keys = Keys::open();
    keys.as_ref()?;
    session.out.say(format_args!(
        "{name} wants to connect: y accepts, n rejects, l decides later"
    ));
    loop {
        let key = tokio::select! {
            key = key(&mut keys) => key,
            () = session.stop.wanted() => return None,
        };
        match key {
            b'y' | b'Y' => return Some(true),
            b'n' | b'N' => return Some(false),
            b'l' | b'L' => return None,
            _ => {}
        }
    }
}
