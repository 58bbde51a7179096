//! `sotto contacts`: who they are, and what may be changed about them.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};
use sotto::{AccountEvent, CallPermission, ConnectStage, Contact, ContactState, SecurityCode};

use crate::context::Context;
use crate::events::{ContactRecord, Event};
use crate::failure::{Failure, Status};
use crate::session::{self, Session, deadline, failure, unix_ms_at};
use crate::terminal::{confirm, is_there};

/// List contacts; show, rename, verify, block or delete one. Without a subcommand, lists them.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct ContactsArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

const EXAMPLES: &str = "\
Examples:
  sotto contacts
  sotto contacts verify bob '12345 67890 …'
  sotto contacts calls bob silent";

/// For a contact to agree on another queue.
const ROTATION: Duration = Duration::from_secs(60);

#[derive(Subcommand)]
enum Action {
    /// List all contacts
    List,
    /// Show one contact, with its security code
    Show {
        /// The contact
        name: String,
    },
    /// Give a contact another name here
    #[command(after_help = "Example:\n  sotto contacts rename 'contact 3' bob")]
    Rename {
        /// The contact
        name: String,
        /// The new name
        new_name: String,
    },
    /// Compare security codes; without CODE, show it and ask whether the contact's is the same
    #[command(after_help = "Example, with the code that bob reads out:\n  \
                            sotto contacts verify bob '12345 67890 …'")]
    Verify {
        /// The contact
        name: String,
        /// What the contact reads on its side
        code: Option<SecurityCode>,
        /// The contact does not count as verified any more
        #[arg(long, conflicts_with = "code")]
        clear: bool,
    },
    /// Take nothing of a contact any more, and send it nothing; it is not told
    Block {
        /// The contact
        name: String,
    },
    /// Take messages and calls of a contact again
    Unblock {
        /// The contact
        name: String,
    },
    /// Say what becomes of a contact's calls
    #[command(after_help = "Example:\n  sotto contacts calls bob silent")]
    Calls {
        /// The contact
        name: String,
        /// What becomes of them
        #[arg(value_enum)]
        permission: Permission,
    },
    /// Delete a contact with its keys; unless it is blocked, it is told
    Delete {
        /// The contact
        name: String,
    },
    /// Receive a contact's messages through another relay from now on
    Rotate {
        /// The contact
        name: String,
        /// Do not wait until the contact agrees
        #[arg(long)]
        no_wait: bool,
    },
}

/// What becomes of a contact's calls.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Permission {
    /// They ring.
    Allow,
    /// They do not ring, and are shown as missed; the caller hears that it rings.
    Silent,
    /// They do not ring, and the caller hears nothing.
    Refuse,
}

impl From<Permission> for CallPermission {
    fn from(permission: Permission) -> Self {
        match permission {
            Permission::Allow => Self::Allow,
            Permission::Silent => Self::Silent,
            Permission::Refuse => Self::Refuse,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &ContactsArgs, context: &Context) -> Result<(), Failure> {
    session::run(context, async |session| {
        let action = args.action.as_ref().unwrap_or(&Action::List);
        if let Action::List = action {
            return list(session).await;
        }
        let contact = session.find(action.name()).await?;
        change(session, action, contact).await
    })
}

impl Action {
    fn name(&self) -> &str {
        match self {
            Self::List => "",
            Self::Show { name }
            | Self::Rename { name, .. }
            | Self::Verify { name, .. }
            | Self::Block { name }
            | Self::Unblock { name }
            | Self::Calls { name, .. }
            | Self::Delete { name }
            | Self::Rotate { name, .. } => name,
        }
    }
}

async fn change(session: &mut Session, action: &Action, contact: Contact) -> Result<(), Failure> {
    let account = session.account.clone();
    let (id, name) = (contact.id, contact.name.clone());
    let text = match action {
        Action::List | Action::Show { .. } => return show(session, contact).await,
        Action::Verify { code, clear, .. } => {
            return verify(session, contact, code.as_ref(), *clear).await;
        }
        Action::Rotate { no_wait, .. } => return rotate(session, contact, *no_wait).await,
        Action::Rename { new_name, .. } => {
            account.rename(id, new_name).await.map_err(failure)?;
            format!("{name} is {new_name} now")
        }
        Action::Block { .. } => {
            account.block(id).await.map_err(failure)?;
            format!("{name} is blocked, without being told")
        }
        Action::Unblock { .. } => {
            account.unblock(id).await.map_err(failure)?;
            format!("{name} is not blocked any more")
        }
        Action::Calls { permission, .. } => {
            let permission = (*permission).into();
            let changed = account.set_call_permission(id, permission).await;
            changed.map_err(failure)?;
            format!("{name}: {}", calls_text(permission))
        }
        Action::Delete { .. } => {
            account.delete(id).await.map_err(failure)?;
            session.out.say(format_args!("{name} is deleted"));
            return Ok(());
        }
    };
    session.out.say(text);
    let contact = account.contact(id).await.map_err(failure)?;
    session
        .out
        .record(Event::Contact(Box::new(record(contact, None))));
    Ok(())
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let contacts = session.account.contacts().await.map_err(failure)?;
    if contacts.is_empty() {
        session
            .out
            .say("No contacts: `sotto invite` makes a link, `sotto connect` answers one.");
        return Ok(());
    }
    if !session.out.is_json() {
        session.out.print(table(&contacts));
    }
    for contact in contacts {
        session
            .out
            .record(Event::Contact(Box::new(record(contact, None))));
    }
    Ok(())
}

async fn show(session: &mut Session, contact: Contact) -> Result<(), Failure> {
    let code = session.account.security_code(contact.id).await.ok();
    let code = code.map(|code| code.to_string());
    let record = record(contact, code);
    let mut lines = vec![
        record.name.clone(),
        format!("  state:              {}", record.state.replace('_', " ")),
        format!(
            "  calls itself:       {}",
            record.profile_name.as_deref().unwrap_or("–")
        ),
        format!(
            "  post-quantum keys:  {}",
            if record.post_quantum { "on" } else { "off" }
        ),
        format!(
            "  verified:           {}",
            if record.verified { "yes" } else { "no" }
        ),
        format!(
            "  blocked:            {}",
            if record.blocked { "yes" } else { "no" }
        ),
        format!("  calls:              {}", record.calls),
    ];
    if let Some(code) = &record.code {
        lines.push(format!("  security code:      {code}"));
    }
    session
        .out
        .answer(Event::Contact(Box::new(record)), lines.join("\n"));
    Ok(())
}

async fn verify(
    session: &mut Session,
    contact: Contact,
    code: Option<&SecurityCode>,
    clear: bool,
) -> Result<(), Failure> {
    let (id, name) = (contact.id, &contact.name);
    if clear {
        session.account.clear_verified(id).await.map_err(failure)?;
    } else if let Some(code) = code {
        session
            .account
            .set_verified(id, code)
            .await
            .map_err(failure)?;
    } else {
        let own = session.account.security_code(id).await.map_err(failure)?;
        if !is_there() {
            let text = "give the CODE that the contact reads, or compare on a terminal";
            return Err(Failure::usage(text));
        }
        let question = format!("{own}\nDoes {name} read the same code?");
        if !confirm(&question)? {
            let text = "not verified: if the codes differ, somebody may be between you";
            return Err(Failure::new(Status::Security, text));
        }
        session
            .account
            .set_verified(id, &own)
            .await
            .map_err(failure)?;
    }
    let text = if clear {
        format!("{name} does not count as verified any more")
    } else {
        format!("{name} is verified: nobody is between you")
    };
    session.out.say(text);
    let contact = session.account.contact(id).await.map_err(failure)?;
    session
        .out
        .record(Event::Contact(Box::new(record(contact, None))));
    Ok(())
}

async fn rotate(session: &mut Session, contact: Contact, no_wait: bool) -> Result<(), Failure> {
    let id = contact.id;
    session.account.rotate(id).await.map_err(failure)?;
    session.out.say("making a queue at another relay …");
    if no_wait {
        session.out.say("`sotto listen` goes on.");
        return Ok(());
    }
    let give_up = deadline(Some(ROTATION));
    loop {
        let event = session.next(give_up).await.map_err(|ending| {
            ending.failure("the contact has not agreed yet; `sotto listen` goes on")
        })?;
        let done = matches!(event, AccountEvent::QueueChanged { contact } if contact == id);
        session.show(event).await;
        if done {
            return Ok(());
        }
    }
}

fn record(contact: Contact, code: Option<String>) -> ContactRecord {
    ContactRecord {
        profile_name: contact
            .profile
            .map(|profile| profile.display_name.to_string()),
        state: state_name(contact.state).to_owned(),
        post_quantum: contact.post_quantum,
        verified: contact.verified.is_some(),
        blocked: contact.blocked,
        calls: calls_name(contact.calls).to_owned(),
        created_unix_ms: unix_ms_at(contact.created),
        in_step: contact.in_step,
        code,
        name: contact.name,
    }
}

/// As `--json` names it; `_` is a space for people.
fn state_name(state: ContactState) -> &'static str {
    match state {
        ContactState::Inviting => "inviting",
        ContactState::Connecting(ConnectStage::ReadingLink) => "reading_link",
        ContactState::Connecting(ConnectStage::Preparing) => "preparing",
        ContactState::Connecting(ConnectStage::Requested) => "requested",
        ContactState::Connecting(_) => "confirming",
        ContactState::Connected => "connected",
        ContactState::Failed(_) => "failed",
        ContactState::DeletedByPeer => "deleted_by_peer",
        _ => "other",
    }
}

fn calls_name(calls: CallPermission) -> &'static str {
    match calls {
        CallPermission::Allow => "allow",
        CallPermission::Silent => "silent",
        CallPermission::Refuse => "refuse",
    }
}

fn calls_text(calls: CallPermission) -> &'static str {
    match calls {
        CallPermission::Allow => "calls ring",
        CallPermission::Silent => "calls do not ring, and are shown as missed",
        CallPermission::Refuse => "calls are refused, without a word to the caller",
    }
}

fn table(contacts: &[Contact]) -> String {
    let mut rows = vec![["NAME", "STATE", "KEYS", "VERIFIED", "CALLS", "SINCE"].map(str::to_owned)];
    for contact in contacts {
        let keys = if contact.post_quantum {
            "post-quantum"
        } else {
            "–"
        };
        let verified = if contact.verified.is_some() {
            "yes"
        } else {
            "no"
        };
        let calls = if contact.blocked {
            "blocked"
        } else {
            calls_name(contact.calls)
        };
        rows.push([
            contact.name.clone(),
            state_name(contact.state).replace('_', " "),
            keys.to_owned(),
            verified.to_owned(),
            calls.to_owned(),
            since(contact.created),
        ]);
    }
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        line.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn since(created: SystemTime) -> String {
    let minutes = created.elapsed().unwrap_or(Duration::ZERO).as_secs() / 60;
    match minutes {
        0..60 => format!("{minutes} min"),
        60..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}
