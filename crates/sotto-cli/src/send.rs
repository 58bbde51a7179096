//! `sotto send`: a text.

use std::time::Duration;

use clap::Args;
use sotto::{AccountEvent, ContactId, TextId};

use crate::call::seconds;
use crate::context::Context;
use crate::events::Event;
use crate::failure::{Failure, Status};
use crate::session::{self, Session, deadline, failure};
use crate::terminal::or_input;

/// Send a text, and wait until a relay of the contact has it.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct SendArgs {
    /// The contact, as `sotto contacts` shows it
    #[arg(value_name = "NAME")]
    contact: String,
    /// The text; - reads standard input, so that it does not show in the list of processes
    #[arg(value_name = "TEXT")]
    text: String,
    /// Wait until the contact's device has it
    #[arg(long)]
    receipt: bool,
    /// Stop waiting after this long; the text is kept and sent later
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  sotto send bob 'back in ten minutes'
  sotto send bob - --receipt < letter.txt";

/// Runs the command.
pub(crate) fn run(args: &SendArgs, context: &Context) -> Result<(), Failure> {
    let text = or_input(&args.text, "the text")?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    if text.is_empty() {
        return Err(Failure::usage("the text is empty"));
    }
    session::run(context, async |session| {
        let contact = session.find(&args.contact).await?.id;
        let sent = session.account.send_text(contact, text).await;
        let sent = sent.map_err(failure)?;
        follow(args, session, contact, sent).await
    })
}

async fn follow(
    args: &SendArgs,
    session: &mut Session,
    contact: ContactId,
    sent: TextId,
) -> Result<(), Failure> {
    let give_up = deadline(args.timeout);
    let later = "it is not sent yet; `sotto listen` goes on trying";
    loop {
        let event = session.next(give_up).await;
        match event.map_err(|ending| ending.failure(later))? {
            AccountEvent::Sent { text, contact: to } if (text, to) == (sent, contact) => {
                let text = format!("{}'s relay has it", args.contact);
                let contact = args.contact.clone();
                session.out.tell(Event::Sent { contact }, text);
                if !args.receipt {
                    return Ok(());
                }
            }
            AccountEvent::Delivered {
                text,
                intact,
                contact: to,
            } if (text, to) == (sent, contact) => {
                let text = format!("{}'s device has it", args.contact);
                let contact = args.contact.clone();
                session.out.tell(Event::Delivered { contact }, text);
                if !intact {
                    let text = "what arrived is not what was sent";
                    return Err(Failure::new(Status::Security, text));
                }
                return Ok(());
            }
            AccountEvent::NotDelivered {
                text,
                reason,
                contact: to,
            } if (text, to) == (sent, contact) => {
                let text = format_args!("it was not delivered: {reason}");
                return Err(Failure::new(Status::Contact, text));
            }
            event => session.show(event).await,
        }
    }
}
