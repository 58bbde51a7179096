//! A call to a contact, over message relays.

use sotto::{Account, AccountEvent, AccountEvents};

use super::CallArgs;
use super::talk::{Beside, Talk};
use crate::context::Context;
use crate::events::Event;
use crate::failure::Failure;
use crate::network::{DIRECT_TO_CONTACTS, shows_address};
use crate::out::Out;
use crate::session::{self, Teller, deadline, failure};

/// Calls, and stays until the call is over.
pub(super) fn run(args: &CallArgs, name: &str, context: &Context) -> Result<(), Failure> {
    let config = args.network.contact_config()?;
    // Before anything is sent, so that the contact's phone does not ring for a file that is not
    // there.
    let streams = args.files.open()?;
    let mut out = Out::with_events(args.events.as_deref(), context)?;
    if shows_address(&config) {
        out.say(DIRECT_TO_CONTACTS);
    }
    session::run_with(context, config, out, async |session| {
        let give_up = deadline(args.timeout);
        let contact = session.find(name).await?;
        let event = Event::Calling {
            contact: contact.name.clone(),
        };
        let text = format!("calling {} …", contact.name);
        session.out.progress(event, text);
        let call = session
            .account
            .call(contact.id, args.media(), streams)
            .await;
        let call = call.map_err(failure)?;
        let talk = Talk {
            out: &mut session.out,
            stop: &mut session.stop,
            length: args.seconds,
            give_up,
            end_at: None,
        };
        let mut rest = Rest {
            account: &session.account,
            events: &mut session.events,
            open: true,
        };
        talk.run(call, &mut rest).await
    })
}

/// What else happens in the account during a call.
pub(crate) struct Rest<'a> {
    pub(crate) account: &'a Account,
    pub(crate) events: &'a mut AccountEvents,
    pub(crate) open: bool,
}

impl Beside for Rest<'_> {
    type Event = Option<AccountEvent>;

    async fn next(&mut self) -> Self::Event {
        if self.open {
            self.events.next().await
        } else {
            std::future::pending().await
        }
    }

    async fn handle(&mut self, event: Self::Event, out: &mut Out) {
        let Some(event) = event else {
            self.open = false;
            return;
        };
        // Another call is declined by being dropped.
        let account = self.account;
        Teller { account, out }.show(event).await;
    }
}
