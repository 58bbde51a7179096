//! Links as people paste them.

use super::{LinkTextError, MAX_LINK};

/// Most lines that a link is looked for in.
const MAX_LINES: usize = 512;

/// Characters that stand in links, and seldom in what people write below one.
const OF_LINKS: [char; 6] = ['#', '?', '&', '%', '=', '/'];

/// Reads a link with `read`, which takes no white space.
///
/// What surrounds the link is no part of it: white space and characters that are not seen. Inside,
/// line breaks with the white space beside them are taken out (RFC 3986, appendix C), because mail
/// programs break long lines. A space within a line is refused, since the text beside it may be
/// anything. So is a second link, and a link that could end with one of the lines where what
/// follows may be a word.
pub(super) fn link<T>(
    text: &str,
    read: impl Fn(&str) -> Result<T, LinkTextError>,
) -> Result<T, LinkTextError> {
    if text.len() > MAX_LINK {
        return Err(LinkTextError::TooLong);
    }
    let lines: Vec<&str> = text
        .split(is_line_break)
        .map(|line| line.trim_matches(is_nothing))
        .filter(|line| !line.is_empty())
        .collect();
    if !lines.first().is_some_and(|line| begins_link(line)) {
        // No link, but perhaps its beginning.
        return read(lines.first().unwrap_or(&"")).and(Err(LinkTextError::NotALink));
    }
    if lines.len() > MAX_LINES || lines.iter().skip(1).any(|line| begins_link(line)) {
        return Err(LinkTextError::Ambiguous);
    }
    let joined = lines.concat();
    if joined.contains(is_nothing) {
        return Err(LinkTextError::Space);
    }
    let link = read(&joined)?;
    let mut end = 0;
    for line in &lines {
        end += line.len();
        let (start, rest) = joined.split_at(end);
        if !rest.is_empty() && !rest.contains(OF_LINKS) && read(start).is_ok() {
            return Err(LinkTextError::Ambiguous);
        }
    }
    Ok(link)
}

fn begins_link(line: &str) -> bool {
    line.starts_with("simplex:/") || line.starts_with("https://")
}

fn is_line_break(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// White space, and characters that nobody sees: of zero width, or marks of direction and order.
fn is_nothing(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{ad}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
        )
}
