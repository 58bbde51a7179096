//! Links as people paste them.

use sha2::{Digest as _, Sha256};
use smp_agent::protocol::{ConnectionLink, ConnectionRequest, ContactKind, ShortLinkKind};

use super::error::LinkProblem;

/// Names a link in the store, whatever form of it was pasted.
pub(super) type LinkHash = [u8; 32];

/// Reads a link to a person.
pub(super) fn read(text: &str) -> Result<ConnectionLink, LinkProblem> {
    let link: ConnectionLink = text.parse()?;
    match not_a_person(&link) {
        Some(what) => Err(LinkProblem::NotAPerson(what)),
        None => Ok(link),
    }
}

fn not_a_person(link: &ConnectionLink) -> Option<&'static str> {
    match link {
        ConnectionLink::Short(short) => match short.kind {
            ShortLinkKind::Contact(ContactKind::Channel) => Some("channel"),
            ShortLinkKind::Contact(ContactKind::Group) => Some("group"),
            ShortLinkKind::Contact(ContactKind::Relay) => Some("relay of channels"),
            ShortLinkKind::Contact(ContactKind::Contact) | ShortLinkKind::Invitation { .. } => None,
        },
        ConnectionLink::Full(request) => is_group(request).then_some("group"),
    }
}

/// SimpleX marks the full links of groups with a JSON object.
fn is_group(request: &ConnectionRequest) -> bool {
    let mark: String = request
        .client_data
        .iter()
        .flat_map(|data| data.chars())
        .filter(|character| !character.is_whitespace())
        .collect();
    mark.contains("\"type\":\"group\"")
}

/// The same for a link of either scheme; a short link and the full one to the same queue differ.
pub(super) fn hash(link: &ConnectionLink) -> LinkHash {
    let mut hash = Sha256::new();
    match link {
        ConnectionLink::Short(short) => {
            hash.update(b"short");
            // The key is the hash of what is behind the link.
            hash.update(short.key.as_bytes());
        }
        ConnectionLink::Full(request) => {
            hash.update(b"full");
            for queue in &request.queues {
                hash.update(queue.relay.fingerprint().as_bytes());
                hash.update(queue.sender_id.as_bytes());
            }
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str = "PIiloWr13PLqta2AYdl4nwzP1wNvQilN02Jv7i_-Z38";
    const KEY: &str = "Tj7IbWPdiUOj0kOWHiEUsi8E3GLl4ZiTDMNmv2a4yvQ";
    const ADDRESS: &str = "simplex:/contact#/?v=2-7&smp=smp%3A%2F%2FPIiloWr13PLqta2AYdl4nwzP1wNvQilN02Jv7i_-Z38%3D%40localhost%3A25223%2FrAc73I77d1Zq950xpvFByx7j0i472qXc%23%2F%3Fv%3D1-4%26dh%3DMCowBQYDK2VuAyEAqX8qVzI4pFvfzIEw3JQAnCJgYZi1CNjAT5MrgFVvkl8%253D%26q%3Dc";

    #[test]
    fn links_of_groups_and_channels_are_refused_by_name() {
        for (letter, what) in [('g', "group"), ('c', "channel"), ('r', "relay of channels")] {
            let link = format!("https://localhost/{letter}#{KEY}?p=25223&c={FINGERPRINT}");
            assert_eq!(read(&link), Err(LinkProblem::NotAPerson(what)));
        }
        let group =
            format!("{ADDRESS}&data=%7B%22type%22%3A%22group%22%2C%22groupLinkId%22%3A%22a%22%7D");
        assert_eq!(read(&group), Err(LinkProblem::NotAPerson("group")));
        assert!(read(ADDRESS).is_ok());
    }

    #[test]
    fn one_link_has_one_hash_however_it_is_written() {
        let web = format!("https://localhost/a#{KEY}?p=25223&c={FINGERPRINT}");
        let app = format!("simplex:/a#{KEY}?h=localhost&p=25223&c={FINGERPRINT}");
        assert_eq!(hash(&read(&web).unwrap()), hash(&read(&app).unwrap()));
        let web = ADDRESS.replace("simplex:/", "https://simplex.chat/");
        assert_eq!(hash(&read(&web).unwrap()), hash(&read(ADDRESS).unwrap()));
        assert_ne!(hash(&read(&app).unwrap()), hash(&read(ADDRESS).unwrap()));
    }

    #[test]
    fn what_is_no_link_is_refused_with_the_reason() {
        assert!(matches!(read("hello"), Err(LinkProblem::Text(_))));
        assert!(matches!(read(&ADDRESS[..40]), Err(LinkProblem::Text(_))));
    }
}
