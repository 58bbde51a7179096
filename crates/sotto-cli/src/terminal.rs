//! Questions on the terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use crate::failure::{Failure, Status};

/// Whether somebody is there to answer.
pub(crate) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a line. The question goes to standard error.
pub(crate) fn ask(question: &str) -> Result<String, Failure> {
    let mut errors = io::stderr().lock();
    let asked = write!(errors, "{question} ").and_then(|()| errors.flush());
    asked.map_err(Failure::other)?;
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(Failure::other)?;
    Ok(line.trim().to_owned())
}

/// Asks a question whose answer is yes or no.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    let answer = ask(&format!("{question} [y/n]"))?;
    Ok(matches!(answer.as_str(), "y" | "Y" | "yes"))
}

/// Asks for a passphrase, without showing what is typed.
pub(crate) fn passphrase(question: &str) -> Result<Zeroizing<String>, Failure> {
    let answer = rpassword::prompt_password(format!("{question}: "));
    let answer = answer.map_err(|error| {
        let text = format_args!("the passphrase can't be asked for here: {error}");
        Failure::new(Status::Profile, text)
    })?;
    Ok(Zeroizing::new(answer))
}

/// Standard input key by key, as long as this lives. Ctrl-C is a signal as ever.
pub(crate) struct Keys {
    input: tokio::io::Stdin,
    before: Termios,
}

impl Keys {
    /// `None` without a terminal.
    pub(crate) fn open() -> Option<Self> {
        if !is_there() {
            return None;
        }
        let before = tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut keys = before.clone();
        keys.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &keys).ok()?;
        let input = tokio::io::stdin();
        Some(Self { input, before })
    }

    /// The next key; `None` when there are no more. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<u8> {
        let mut key = [0];
        match self.input.read(&mut key).await {
            Ok(1) => Some(key[0]),
            _ => None,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // The shell sets its own modes if this fails.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The next of these keys, or nothing for ever without a terminal. Cancel-safe.
pub(crate) async fn key(keys: &mut Option<Keys>) -> u8 {
    loop {
        match keys {
            None => return std::future::pending().await,
            Some(open) => match open.next().await {
                Some(key) => return key,
                None => *keys = None,
            },
        }
    }
}

/// What a secret, a link or a text is given as: `-` stands for standard input, so that it does not
/// show in the list of processes.
pub(crate) fn or_input(text: &str, what: &str) -> Result<Zeroizing<String>, Failure> {
    if text != "-" {
        return Ok(Zeroizing::new(text.to_owned()));
    }
    /// Nothing that is read here is longer.
    const LONGEST: u64 = 64 * 1024;
    let mut all = Zeroizing::new(String::with_capacity(4096));
    let read = io::Read::take(io::stdin().lock(), LONGEST + 1);
    io::Read::read_to_string(&mut { read }, &mut all)
        .map_err(|error| Failure::other(format_args!("{what} can't be read: {error}")))?;
    if all.len() as u64 > LONGEST {
        return Err(Failure::usage(format_args!("{what} is too long")));
    }
    Ok(all)
}
