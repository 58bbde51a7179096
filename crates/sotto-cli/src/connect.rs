//! `sotto connect`: answers a link.

use std::time::Duration;

use clap::Args;

use crate::call::seconds;
use crate::context::Context;
use crate::failure::Failure;
use crate::session::{self, deadline, failure};
use crate::terminal::or_input;

/// Connect with somebody whose link you have, and wait until both sides are sure of each other.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct ConnectArgs {
    /// The link: an invitation or a contact address of Sotto or SimpleX Chat; - reads standard
    /// input, so that it does not show in the list of processes
    #[arg(value_name = "LINK")]
    link: String,
    /// Your own name for the contact
    #[arg(long)]
    name: Option<String>,
    /// Begin, and end; `sotto listen` goes on
    #[arg(long)]
    no_wait: bool,
    /// Stop waiting after this long
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "no_wait")]
    timeout: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  sotto connect 'https://relay.example.org/i#…' --name alice
  wl-paste | sotto connect -";

/// Runs the command.
pub(crate) fn run(args: &ConnectArgs, context: &Context) -> Result<(), Failure> {
    let link = or_input(&args.link, "the link")?;
    session::run(context, async |session| {
        let give_up = deadline(args.timeout);
        session.out.say("reading the link …");
        let contact = session.account.connect(&link).await.map_err(failure)?;
        if args.no_wait {
            if let Some(name) = &args.name {
                session
                    .account
                    .rename(contact, name)
                    .await
                    .map_err(failure)?;
            }
            session.out.say("`sotto listen` goes on connecting.");
            return Ok(());
        }
        session
            .connected(contact, args.name.as_deref(), give_up)
            .await
    })
}
