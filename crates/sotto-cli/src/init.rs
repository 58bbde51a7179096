//! `sotto init`: a new profile.

use clap::Args;
use sotto::{Account, DisplayName, StoreKey};

use crate::context::{Context, make_key_file};
use crate::events::{Event, KeyKind};
use crate::failure::{Failure, Status};
use crate::files::make_private_folder;
use crate::out::Out;
use crate::servers;
use crate::session;
use crate::terminal;

/// Make a profile: an encrypted file that holds contacts, keys and servers.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct InitArgs {
    /// What contacts will see as your name; asked for if it is not given
    #[arg(long)]
    name: Option<String>,
    /// Keep a random key in a file beside the profile, instead of a passphrase
    #[arg(long, conflicts_with = "passphrase_file")]
    no_passphrase: bool,
    /// A server to begin with, one each time, as for `sotto servers add`; - reads standard input
    #[arg(long, value_name = "ADDRESS")]
    server: Vec<String>,
}

const EXAMPLES: &str = "\
Example, with a passphrase that is asked for twice:
  sotto init --name alice

For scripts the passphrase comes from --passphrase-file or SOTTO_PASSPHRASE.";

/// Runs the command.
pub(crate) fn run(args: &InitArgs, context: &Context) -> Result<(), Failure> {
    // Before anything is asked for or written.
    let servers = servers::addresses(&args.server)?;
    let mut out = Out::new(context);
    let made = make(args, context, &mut out);
    match made {
        // A passphrase that was asked for is not asked for again.
        Ok(key) if !servers.is_empty() => {
            session::run_with_key(context, &key, out, async |session| {
                servers::add(session, &servers).await
            })
        }
        made => {
            let result = made.map(drop);
            if result.is_ok() {
                out.say("Next: `sotto servers add smp://…`, a relay for your messages.");
            }
            out.record_exit(&result);
            result
        }
    }
}

fn make(args: &InitArgs, context: &Context, out: &mut Out) -> Result<StoreKey, Failure> {
    let (folder, store) = (context.folder()?, context.store()?);
    if store.exists() {
        let text = format_args!("{}: there is a profile already", store.display());
        return Err(Failure::new(Status::Profile, text));
    }
    let name = args.name()?;
    let key = if args.no_passphrase {
        None
    } else {
        Some(context.new_key()?)
    };
    make_private_folder(&folder).map_err(|error| {
        let text = format_args!("{}: {error}", folder.display());
        Failure::new(Status::Profile, text)
    })?;
    let (key, key_file) = match key {
        Some(key) => (key, None),
        None => {
            let (key, path) = make_key_file(&folder)?;
            (key, Some(path))
        }
    };
    let created =
        Account::create(&store, &key, &name).map_err(|error| Failure::new(Status::Profile, error));
    if let (Err(failure), Some(path)) = (&created, &key_file) {
        // Otherwise the next attempt would find a key without a profile.
        if !store.exists() {
            let _ = std::fs::remove_file(path);
        }
        return Err(failure.clone());
    }
    created?;
    let event = Event::Profile {
        name: name.as_str().to_owned(),
        store: store.clone(),
        key: key_file
            .as_ref()
            .map_or(KeyKind::Passphrase, |_| KeyKind::File),
    };
    out.answer(
        event,
        format_args!("The profile of {name} is in {}", store.display()),
    );
    match &key_file {
        Some(path) => out.say(format_args!(
            "It has no passphrase: whoever can read {} can read it.",
            path.display()
        )),
        None => out.say("Without its passphrase nobody can open it, you neither."),
    }
    Ok(key)
}

impl InitArgs {
    fn name(&self) -> Result<DisplayName, Failure> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None if terminal::is_there() => terminal::ask("Your name, as contacts see it:")?,
            None => {
                return Err(Failure::usage(
                    "say how contacts are to see you: --name NAME",
                ));
            }
        };
        DisplayName::new(name).map_err(|error| Failure::usage(format_args!("--name: {error}")))
    }
}
