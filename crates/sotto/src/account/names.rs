//! The names under which contacts are known here: each is one contact's.

use call_signal::DisplayName;

/// The name of a contact of whom nothing is known.
pub(super) fn placeholder(id: i64) -> String {
    format!("contact {id}")
}

/// What may be the local name of somebody who calls themselves `name`; `None` if nothing of it can
/// be shown.
pub(super) fn local(name: &DisplayName) -> Option<String> {
    let shown = name.to_string();
    let shown = shown.trim_start_matches(['#', '@', ' ']);
    (!shown.is_empty()).then(|| shown.to_owned())
}

/// `wanted`, or that with the first number behind it that nobody has.
pub(super) fn unique(wanted: &str, taken: &[String]) -> String {
    if !is_taken(wanted, taken) {
        return wanted.to_owned();
    }
    let mut number = 2_u64;
    loop {
        let suffix = format!(" {number}");
        let room = DisplayName::MAX_CHARS - suffix.chars().count();
        let begin: String = wanted.chars().take(room).collect();
        let name = format!("{}{suffix}", begin.trim_end());
        if !is_taken(&name, taken) {
            return name;
        }
        number += 1;
    }
}

/// Whether somebody has this name, in capital letters or not.
pub(super) fn is_taken(name: &str, taken: &[String]) -> bool {
    taken.iter().any(|other| same(other, name))
}

/// Whether two names are the same to people.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_name_that_is_taken_gets_the_first_free_number() {
        assert_eq!(unique("alice", &[]), "alice");
        assert_eq!(unique("alice", &taken(&["Alice"])), "alice 2");
        let names = taken(&["alice", "alice 2", "ALICE 3"]);
        assert_eq!(unique("alice", &names), "alice 4");
    }

    #[test]
    fn a_long_name_leaves_room_for_its_number() {
        let long = "é".repeat(DisplayName::MAX_CHARS);
        let name = unique(&long, &taken(&[&long]));
        assert_eq!(name.chars().count(), DisplayName::MAX_CHARS);
        assert!(name.ends_with("é 2"));
        assert!(DisplayName::new(name).is_ok());
    }

    #[test]
    fn the_name_of_a_peer_becomes_one_that_can_be_shown() {
        for (name, shown) in [
            ("bob", Some("bob")),
            (" b\u{202e}o\nb ", Some("bo b")),
            ("#@ team", Some("team")),
            ("\u{200b}", None),
            ("@", None),
        ] {
            let local = local(&DisplayName::received(name));
            assert_eq!(local.as_deref(), shown);
            if let Some(local) = local {
                assert!(DisplayName::new(local).is_ok());
            }
        }
    }
}
