//! `sotto listen`: messages as they come, and calls.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sotto::{AccountEvent, CallId, CallMedia, ContactId, IncomingCall, MissedCall, MissedReason};
use tokio::time::Instant;

use crate::call::contact::Rest;
use crate::call::outcome;
use crate::call::seconds;
use crate::call::talk::Talk;
use crate::context::Context;
use crate::events::Event;
use crate::failure::{Failure, Status};
use crate::network::{DIRECT_TO_CONTACTS, NetworkArgs, shows_address};
use crate::out::Out;
use crate::session::{self, Ending, NO_TURN, Session, deadline, failure, incoming, media_name};
use crate::stop::until;
use crate::streams::MediaFiles;
use crate::terminal::{Keys, is_there, key};

/// Show messages as they come, take calls, and let in those who use an invitation, until Ctrl-C.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct ListenArgs {
    /// What to do when a contact calls [default: ask on a terminal, no elsewhere]
    #[arg(long, value_enum)]
    answer: Option<Answer>,
    /// End after the first call or message
    #[arg(long)]
    once: bool,
    /// End after this long, and hang up if there is a call
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<Duration>,
    #[command(flatten)]
    files: MediaFiles,
    #[command(flatten)]
    network: NetworkArgs,
    /// Write events and statistics of calls there as JSON lines; - is standard error
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples, by hand, and for a script that takes one call:
  sotto listen
  sotto listen --once --answer auto --audio hello.wav --record heard.wav

Files are opened for each call anew: what the last one recorded stays.";

/// What to do when a contact calls.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Answer {
    /// Answer at once.
    Auto,
    /// Ask on the terminal: y answers, n does not.
    Ask,
    /// Let it ring.
    No,
}

/// Runs the command.
pub(crate) fn run(args: &ListenArgs, context: &Context) -> Result<(), Failure> {
    let answer = args.answer()?;
    let config = args.network.contact_config()?;
    args.files.check()?;
    let mut out = Out::with_events(args.events.as_deref(), context)?;
    if shows_address(&config) {
        out.say(DIRECT_TO_CONTACTS);
    }
    let needs_turn =
        config.relay_only && !config.ice_servers.iter().any(sotto::IceServer::is_relay);
    session::run_with(context, config, out, async |session| {
        if needs_turn && !has_turn(session).await? {
            session
                .out
                .say(format_args!("sotto: no calls will come in: {NO_TURN}"));
        }
        let mut listening = Listening {
            args,
            answer,
            session,
            end_at: deadline(args.seconds),
        };
        listening.listen().await
    })
}

async fn has_turn(session: &Session) -> Result<bool, Failure> {
    let servers = session.account.servers().await.map_err(failure)?;
    Ok(servers.ice.iter().any(sotto::IceServer::is_relay))
}

impl ListenArgs {
    fn answer(&self) -> Result<Answer, Failure> {
        match self.answer {
            Some(Answer::Ask) if !is_there() => {
                Err(Failure::usage("--answer ask needs a terminal"))
            }
            Some(answer) => Ok(answer),
            None if is_there() => Ok(Answer::Ask),
            None => Ok(Answer::No),
        }
    }
}

struct Listening<'a> {
    args: &'a ListenArgs,
    answer: Answer,
    session: &'a mut Session,
    end_at: Option<Instant>,
}

impl Listening<'_> {
    async fn listen(&mut self) -> Result<(), Failure> {
        let text = "listening; Ctrl-C ends …";
        self.session.out.progress(Event::Listening, text);
        loop {
            let event = match self.session.next(self.end_at).await {
                Ok(event) => event,
                Err(Ending::Closed) => return Err(Ending::Closed.failure("")),
                Err(Ending::Stopped | Ending::TimeOver) => return Ok(()),
            };
            let counts = matches!(
                event,
                AccountEvent::Incoming { .. }
                    | AccountEvent::Text { .. }
                    | AccountEvent::TextEdited { .. }
                    | AccountEvent::Missed { .. }
            );
            let result = match event {
                AccountEvent::Incoming { contact, call } => self.on_call(contact, call).await,
                event => {
                    self.session.show(event).await;
                    Ok(())
                }
            };
            let over = self.end_at.is_some_and(|end_at| end_at <= Instant::now());
            if (counts && self.args.once) || self.session.stop.seen() || over {
                return result;
            }
            if let Err(failure) = result {
                self.session.out.say(format_args!("sotto: {failure}"));
            }
        }
    }

    async fn on_call(&mut self, contact: ContactId, call: IncomingCall) -> Result<(), Failure> {
        let name = self.session.teller().name(contact).await;
        let media = media_name(call.media());
        let text = format!("{name} calls: {media}");
        self.session.out.tell(incoming(name.clone(), media), text);
        let wanted = match self.answer {
            Answer::Auto => Ring::Answer,
            Answer::No => self.ring(call.id(), None).await,
            Answer::Ask => {
                self.session.out.say("y answers, n lets it ring …");
                self.ring(call.id(), Keys::open()).await
            }
        };
        match wanted {
            Ring::Answer => self.talk(call).await,
            Ring::Declined => {
                call.decline();
                Err(Failure::new(
                    Status::NotConnected,
                    "the call was not answered",
                ))
            }
            Ring::Over(reason) => Err(outcome::of_missed(reason)),
        }
    }

    /// Until somebody decides, or the call rings no more, which is shown.
    async fn ring(&mut self, call: CallId, mut keys: Option<Keys>) -> Ring {
        loop {
            tokio::select! {
                key = key(&mut keys) => match key {
                    b'y' | b'Y' => return Ring::Answer,
                    b'n' | b'N' => return Ring::Declined,
                    _ => {}
                },
                event = self.session.events.next() => match event {
                    // Another one calls: this one is first.
                    Some(event) => {
                        let over = missed(&event, call);
                        self.session.show(event).await;
                        if let Some(reason) = over {
                            return Ring::Over(reason);
                        }
                    }
                    None => return Ring::Declined,
                },
                () = until(self.end_at) => return Ring::Declined,
                () = self.session.stop.wanted() => return Ring::Declined,
            }
        }
    }

    async fn talk(&mut self, call: IncomingCall) -> Result<(), Failure> {
        let streams = self.args.files.open()?;
        let media = match call.media() {
            CallMedia::Video => self.args.files.media(),
            CallMedia::Audio => CallMedia::Audio,
        };
        let call = call
            .accept(media, streams)
            .await
            .map_err(|error| Failure::new(Status::NotConnected, error))?;
        let talk = Talk {
            out: &mut self.session.out,
            stop: &mut self.session.stop,
            length: None,
            give_up: None,
            end_at: self.end_at,
        };
        let mut rest = Rest {
            account: &self.session.account,
            events: &mut self.session.events,
            open: true,
        };
        talk.run(call, &mut rest).await
    }
}

/// Why a call rings no more, if this event tells it.
fn missed(event: &AccountEvent, call: CallId) -> Option<MissedReason> {
    match event {
        AccountEvent::Missed {
            call_id,
            reason: MissedCall::Call(reason),
            ..
        } if *call_id == call => Some(*reason),
        _ => None,
    }
}

/// What became of a ringing call.
enum Ring {
    Answer,
    Declined,
    Over(MissedReason),
}
