//! `sotto export`: a copy of the profile.

use std::path::PathBuf;

use clap::Args;
use sotto::StoreKey;

use crate::context::{Context, asked_twice, passphrase_in};
use crate::events::Event;
use crate::failure::{Failure, Status};
use crate::session::{self, failure};

/// Write an encrypted copy of the profile, with contacts, keys and servers, under a passphrase of
/// its own.
///
/// Use one of the two alone: whoever goes on with an old copy breaks the encryption with every
/// contact.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// The copy; it must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Read the copy's passphrase from the first line of this file; otherwise it is asked for
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Example, to another machine:
  sotto export sotto-backup.db
and there, with the copy's passphrase:
  mkdir -m 700 profile && cp sotto-backup.db profile/profile.db
  sotto contacts --data-dir profile";

/// Runs the command.
pub(crate) fn run(args: &ExportArgs, context: &Context) -> Result<(), Failure> {
    if args.file.exists() {
        let text = format_args!("{}: it is there already", args.file.display());
        return Err(Failure::usage(text));
    }
    // The profile's own comes first, so that both are asked for in a sensible order.
    session::run(context, async |session| {
        let passphrase = match &args.new_passphrase_file {
            Some(path) => passphrase_in(path)?,
            None => asked_twice("Passphrase of the copy")?,
        };
        let key = StoreKey::Passphrase(passphrase);
        let exported = session.account.export(&args.file, &key).await;
        exported.map_err(|error| {
            let error = failure(error);
            Failure::new(
                Status::Profile,
                format_args!("{}: {error}", args.file.display()),
            )
        })?;
        let event = Event::Exported {
            file: args.file.clone(),
        };
        let text = format!("The copy is in {}", args.file.display());
        session.out.answer(event, text);
        Ok(())
    })
}
