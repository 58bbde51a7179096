//! Names that people give themselves: kept as they came, shown only after cleaning.

use std::fmt;

use thiserror::Error;

/// Name of a profile (chat protocol, `displayName`), exactly as its owner wrote it.
///
/// A peer may put anything into it, so [`fmt::Display`] shows it through [`printable_line`]: one
/// line of at most [`DisplayName::MAX_CHARS`] characters, empty if nothing of it can be shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DisplayName(String);

impl DisplayName {
    /// Longest name of our own, and the most that is shown of another's, in characters.
    pub const MAX_CHARS: usize = 50;

    /// A name of our own. It has to look the same to everybody: `printable_line` leaves it alone.
    ///
    /// # Errors
    /// If it is empty, too long, begins with `#` or `@`, or has characters that are not shown,
    /// white space at an end, two spaces in a row, or white space other than a space.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let actual = name.chars().count();
        if actual == 0 {
            return Err(NameError::Empty);
        }
        if actual > Self::MAX_CHARS {
            let limit = Self::MAX_CHARS;
            return Err(NameError::TooLong { limit, actual });
        }
        if name.starts_with(['#', '@']) {
            return Err(NameError::FirstCharacter);
        }
        if printable_line(&name, Self::MAX_CHARS) != name {
            return Err(NameError::NotPrintable);
        }
        Ok(Self(name))
    }

    /// A name that somebody else chose, or one kept from before; nothing is checked.
    pub fn received(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as its owner wrote it, to be kept or sent. To show it, use [`fmt::Display`].
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&printable_line(&self.0, Self::MAX_CHARS))
    }
}

impl fmt::Debug for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DisplayName(..)")
    }
}

/// A name that we may not take for ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// No character at all.
    #[error("the name is empty")]
    Empty,
    /// Longer than [`DisplayName::MAX_CHARS`].
    #[error("the name has {actual} characters, {limit} at most are allowed")]
    TooLong {
        /// The limit in characters.
        limit: usize,
        /// Characters of the name.
        actual: usize,
    },
    /// `#` or `@`, which mark groups and contacts in SimpleX's commands.
    #[error("the name begins with # or @")]
    FirstCharacter,
    /// It would not be shown as it is written.
    #[error("the name has characters that are not shown, or white space in the wrong place")]
    NotPrintable,
}

/// What may be shown of `text` in one line, at most `max_chars` characters.
///
/// Runs of white space and line breaks become one space, and none stays at the ends. Control
/// characters, those that turn the direction of writing, and invisible ones are left out. Where
/// something was cut off, the last character is `…`.
pub fn printable_line(text: &str, max_chars: usize) -> String {
    let mut shown: Vec<char> = Vec::new();
    let mut gap = false;
    for character in text.chars() {
        if character.is_whitespace() {
            gap = !shown.is_empty();
        } else if !is_hidden(character) {
            if std::mem::take(&mut gap) {
                shown.push(' ');
            }
            shown.push(character);
        }
        if shown.len() > max_chars {
            shown.truncate(max_chars.saturating_sub(1));
            let cut: String = shown.into_iter().collect();
            let mark = if max_chars == 0 { "" } else { "…" };
            return format!("{}{mark}", cut.trim_end());
        }
    }
    shown.into_iter().collect()
}

/// Controls, marks of writing direction, and what has no picture of its own. Joiners stay, since
/// emoji and some scripts need them.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_as_it_came_and_shown_in_one_line() {
        for (name, shown) in [
            ("alice", "alice"),
            (" al\n\tice \u{2028}b\r\n", "al ice b"),
            ("\u{202e}ecila", "ecila"),
            ("a\u{2066}b\u{2069}c\u{200f}\u{61c}", "abc"),
            ("a\u{1b}[31mb\0", "a[31mb"),
            ("\u{200b}\u{feff}\u{ad}", ""),
            ("👩\u{200d}🚀 é", "👩\u{200d}🚀 é"),
            ("", ""),
        ] {
            let received = DisplayName::received(name);
            assert_eq!(received.as_str(), name);
            assert_eq!(received.to_string(), shown);
        }
    }

    #[test]
    fn a_long_name_is_cut_with_a_mark() {
        let shown = DisplayName::received("é".repeat(1000)).to_string();
        assert_eq!(shown, "é".repeat(DisplayName::MAX_CHARS - 1) + "…");
        let whole = "é".repeat(DisplayName::MAX_CHARS);
        assert_eq!(DisplayName::received(&whole).to_string(), whole);
        assert_eq!(printable_line("ab cd", 4), "ab…");
        assert_eq!(printable_line("ab", 1), "…");
        assert_eq!(printable_line("ab", 0), "");
    }

    #[test]
    fn a_name_of_our_own_is_shown_as_it_is_written() {
        for name in ["alice", "Alice B.", "Ձայն", "a#@", "👩\u{200d}🚀"] {
            assert_eq!(DisplayName::new(name).unwrap().to_string(), name);
        }
        for (name, error) in [
            ("", NameError::Empty),
            ("#team", NameError::FirstCharacter),
            ("@alice", NameError::FirstCharacter),
            (" alice", NameError::NotPrintable),
            ("alice ", NameError::NotPrintable),
            ("a  b", NameError::NotPrintable),
            ("a\nb", NameError::NotPrintable),
            ("a\u{202e}b", NameError::NotPrintable),
            ("\u{7f}", NameError::NotPrintable),
        ] {
            assert_eq!(DisplayName::new(name), Err(error), "{name:?}");
        }
        let error = NameError::TooLong {
            limit: DisplayName::MAX_CHARS,
            actual: 51,
        };
        assert_eq!(DisplayName::new("é".repeat(51)), Err(error));
    }

    #[test]
    fn width_applies_to_what_is_shown() {
        let name = DisplayName::received("a\nb");
        assert_eq!(format!("{name:5}|"), "a b  |");
    }
}
