//! What every command has in common: where the profile is, what opens it, and how it is talked about.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use etcetera::BaseStrategy as _;
use rand::TryRng as _;
use rand::rngs::SysRng;
use sotto::StoreKey;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::failure::{Failure, Status};
use crate::files::create_private;
use crate::terminal;

/// The folder of the profile, where `--data-dir` does not name one.
const DATA_DIR: &str = "SOTTO_DATA_DIR";

/// The passphrase, where nothing else gives it.
const PASSPHRASE: &str = "SOTTO_PASSPHRASE";

/// Within the folder: the encrypted file with everything in it.
const STORE: &str = "profile.db";

/// Within the folder: the key of a profile without a passphrase.
const KEY: &str = "profile.key";

const KEY_SIZE: usize = 32;

/// Options that every command takes.
#[derive(Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct ContextArgs {
    /// Where the profile is, or is to be [default: SOTTO_DATA_DIR, or sotto below XDG_DATA_HOME]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Read the profile's passphrase from the first line of this file. Otherwise it is taken from
    /// SOTTO_PASSPHRASE, or asked for
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Write one JSON object a line on standard output; docs/CLI.md describes them
    #[arg(long, global = true)]
    json: bool,
}

/// What every command has in common.
pub(crate) struct Context {
    args: ContextArgs,
    clock: Clock,
}

impl Context {
    pub(crate) fn new(args: ContextArgs, clock: Clock) -> Self {
        Self { args, clock }
    }

    pub(crate) fn json(&self) -> bool {
        self.args.json
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// The folder of the profile; it need not be there.
    pub(crate) fn folder(&self) -> Result<PathBuf, Failure> {
        if let Some(folder) = &self.args.data_dir {
            return Ok(folder.clone());
        }
        let named = std::env::var_os(DATA_DIR).filter(|folder| !folder.is_empty());
        if let Some(folder) = named {
            return Ok(folder.into());
        }
        let places = etcetera::choose_base_strategy().map_err(|error| {
            let text = format_args!("no place for the profile ({error}): name one with --data-dir");
            Failure::new(Status::Profile, text)
        })?;
        Ok(places.data_dir().join("sotto"))
    }

    pub(crate) fn store(&self) -> Result<PathBuf, Failure> {
        Ok(self.folder()?.join(STORE))
    }

    /// What opens the profile that is there.
    pub(crate) fn key(&self) -> Result<StoreKey, Failure> {
        let folder = self.folder()?;
        if !folder.join(STORE).exists() {
            let text = format_args!(
                "there is no profile in {}: make one with `sotto init`, or name its folder with \
                 --data-dir",
                folder.display()
            );
            return Err(Failure::new(Status::Profile, text));
        }
        if self.args.passphrase_file.is_none()
            && let Some(key) = read_key(&folder.join(KEY))?
        {
            return Ok(key);
        }
        match self.given_passphrase()? {
            Some(passphrase) => Ok(StoreKey::Passphrase(passphrase)),
            None => asked("Passphrase").map(StoreKey::Passphrase),
        }
    }

    /// What shall open a new profile.
    pub(crate) fn new_key(&self) -> Result<StoreKey, Failure> {
        let passphrase = match self.given_passphrase()? {
            Some(passphrase) => passphrase,
            None => asked_twice("Passphrase of the new profile")?,
        };
        Ok(StoreKey::Passphrase(passphrase))
    }

    /// A passphrase that need not be asked for.
    fn given_passphrase(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        if let Some(path) = &self.args.passphrase_file {
            return passphrase_in(path).map(Some);
        }
        let Ok(passphrase) = std::env::var(PASSPHRASE) else {
            return Ok(None);
        };
        Ok(Some(Zeroizing::new(passphrase)).filter(|passphrase| !passphrase.is_empty()))
    }
}

/// Makes a random key and keeps it in a file beside the store.
pub(crate) fn make_key_file(folder: &Path) -> Result<(StoreKey, PathBuf), Failure> {
    let mut key = Zeroizing::new([0; KEY_SIZE]);
    SysRng.try_fill_bytes(&mut *key).map_err(Failure::other)?;
    let path = folder.join(KEY);
    write_key(&path, &key)?;
    Ok((StoreKey::Raw(key), path))
}

/// Writes a key to a new file.
pub(crate) fn write_key(path: &Path, key: &[u8; KEY_SIZE]) -> Result<(), Failure> {
    let mut digits = Zeroizing::new(String::with_capacity(2 * KEY_SIZE + 1));
    for byte in key {
        digits.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        digits.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
    digits.push('\n');
    create_private(path, digits.as_bytes()).map_err(|error| {
        let text = format_args!("{} can't be written: {error}", path.display());
        Failure::new(Status::Profile, text)
    })
}

/// The key in a file, if there is one.
fn read_key(path: &Path) -> Result<Option<StoreKey>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let text = format_args!("{} can't be read: {error}", path.display());
            return Err(Failure::new(Status::Profile, text));
        }
    };
    let key = parse_key(text.trim_end()).ok_or_else(|| {
        let text = format_args!("{} holds no key", path.display());
        Failure::new(Status::Profile, text)
    })?;
    Ok(Some(StoreKey::Raw(key)))
}

fn parse_key(digits: &str) -> Option<Zeroizing<[u8; KEY_SIZE]>> {
    let mut key = Zeroizing::new([0; KEY_SIZE]);
    if digits.len() != 2 * KEY_SIZE {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let digit = |character: u8| char::from(character).to_digit(16);
        let (high, low) = (digit(*pair.first()?)?, digit(*pair.get(1)?)?);
        *byte = (high << 4 | low) as u8;
    }
    Some(key)
}

/// The first line of a file.
pub(crate) fn passphrase_in(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        let text = format_args!("--passphrase-file {}: {error}", path.display());
        Failure::new(Status::Profile, text)
    })?;
    let text = Zeroizing::new(text);
    let passphrase = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
    if passphrase.is_empty() {
        let text = format_args!(
            "--passphrase-file {}: its first line is empty",
            path.display()
        );
        return Err(Failure::new(Status::Profile, text));
    }
    Ok(passphrase)
}

fn asked(question: &str) -> Result<Zeroizing<String>, Failure> {
    if !terminal::is_there() {
        let text = "the profile needs its passphrase, and there is no terminal to ask for it: see \
                    --passphrase-file";
        return Err(Failure::new(Status::Profile, text));
    }
    terminal::passphrase(question)
}

/// Asks for a new passphrase, and again, so that a slip of the finger locks nobody out.
pub(crate) fn asked_twice(question: &str) -> Result<Zeroizing<String>, Failure> {
    let passphrase = asked(question)?;
    if passphrase.is_empty() {
        let text = "the passphrase is empty; see --no-passphrase";
        return Err(Failure::new(Status::Profile, text));
    }
    if terminal::passphrase("The same again")? != passphrase {
        return Err(Failure::new(Status::Profile, "the two passphrases differ"));
    }
    Ok(passphrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (made, path) = make_key_file(folder.path()).unwrap();
        let read = read_key(&path).unwrap();
        let (StoreKey::Raw(made), Some(StoreKey::Raw(read))) = (made, read) else {
            panic!()
        };
        assert_eq!(made, read);
        // A key is never written over.
        assert!(make_key_file(folder.path()).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", "ab", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert!(parse_key(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_passphrase_is_the_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words");
        fs::write(&path, "two words \nmore\n").unwrap();
        assert_eq!(*passphrase_in(&path).unwrap(), "two words ");
        fs::write(&path, "\n").unwrap();
        assert!(passphrase_in(&path).is_err());
    }
}
