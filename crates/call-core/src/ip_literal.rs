//! Finds IP addresses in any text and puts placeholders in their place.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Longest text of an IPv6 address: eight groups of which the last two are an IPv4 address.
const MAX_IPV6_TEXT: usize = 45;

/// Whether `text` is an unspecified or loopback address, which says nothing about anyone.
pub(crate) fn is_placeholder(text: &str) -> bool {
    matches!(text, "0.0.0.0" | "127.0.0.1" | "::" | "::1")
}

/// Replaces every address by `0.0.0.0` or `::`, but for those that are placeholders already.
pub(crate) fn redact_addresses(text: &str) -> Cow<'_, str> {
    let (mut redacted, mut done, mut at) = (String::new(), 0, 0);
    while let Some((range, placeholder)) = find_address(text, at) {
        at = range.end;
        if !is_placeholder(&text[range.clone()]) {
            redacted.push_str(&text[done..range.start]);
            redacted.push_str(placeholder);
            done = range.end;
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    redacted.push_str(&text[done..]);
    Cow::Owned(redacted)
}

/// The first address at or after `from`, and the placeholder of its family.
fn find_address(text: &str, from: usize) -> Option<(Range<usize>, &'static str)> {
    (from..text.len()).find_map(|start| {
        let v6 = ipv6_end(text, start).map(|end| (start..end, "::"));
        v6.or_else(|| ipv4_end(text, start).map(|end| (start..end, "0.0.0.0")))
    })
}

/// Where the longest IPv6 address that begins at `start` ends.
fn ipv6_end(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let begins = start == 0 || !bytes[start - 1].is_ascii_alphanumeric();
    if !begins {
        return None;
    }
    let run = bytes[start..]
        .iter()
        .take(MAX_IPV6_TEXT)
        .take_while(|b| b.is_ascii_hexdigit() || **b == b':' || **b == b'.');
    let (len, colons) = run.fold((0, 0), |(n, c), b| (n + 1, c + usize::from(*b == b':')));
    if colons < 2 {
        return None;
    }
    (start + 2..=start + len).rev().find(|&end| {
        let ends = bytes.get(end).is_none_or(|b| !b.is_ascii_alphanumeric());
        ends && text[start..end].parse::<Ipv6Addr>().is_ok()
    })
}

/// Where the IPv4 address that begins at `start` ends. Leading zeros count too: people read them.
fn ipv4_end(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    if start > 0 && bytes[start - 1].is_ascii_digit() {
        return None;
    }
    let mut at = start;
    for octet in 0..4 {
        if octet > 0 {
            at += usize::from(*bytes.get(at)? == b'.');
        }
        let digits = bytes[at..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if !(1..=3).contains(&digits) || text[at..at + digits].parse::<u8>().is_err() {
            return None;
        }
        at += digits;
    }
    Some(at)
}

/// The placeholder of an address type of SDP (RFC 8866 §5.7): `any` for where media go, which
/// names no host, or a loopback address for where the session was made.
pub(crate) fn placeholder(address_type: &str, any: bool) -> String {
    let (v4, v6) = if any {
        (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)
    } else {
        (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)
    };
    if address_type == "IP6" {
        format!("IP6 {v6}")
    } else {
        format!("IP4 {v4}")
    }
}

#[cfg(test)]
mod tests {
    use super::redact_addresses;

    #[test]
    fn addresses_of_both_families_are_replaced_wherever_they_stand() {
        for (text, redacted) in [
            ("10.1.2.3", "0.0.0.0"),
            ("cname:alice@192.168.1.5", "cname:alice@0.0.0.0"),
            ("cname:2001:db8::5 x", "cname::: x"),
            ("[fe80::1%eth0]:99", "[::%eth0]:99"),
            ("::ffff:10.0.0.1", "::"),
            ("a=x:2001:db8:0:0:0:0:0:1.", "a=x:::."),
            ("010.001.002.003,10.1.2.4", "0.0.0.0,0.0.0.0"),
            ("v10.1.2.3.", "v0.0.0.0."),
            ("€10.1.2.3€", "€0.0.0.0€"),
        ] {
            assert_eq!(redact_addresses(text), redacted, "{text}");
        }
    }

    #[test]
    fn text_without_addresses_is_left_alone() {
        for text in [
            "",
            "a=rtcp:9 IN IP4 0.0.0.0",
            "o=- 46117317 2 IN IP4 127.0.0.1",
            "c=IN IP6 ::",
            "::1",
            "a=fmtp:111 minptime=10;useinbandfec=1",
            "a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid",
            "a=x:12:34:56",
            "1.2.3",
            "300.1.2.3",
            "1.2.3.4567",
        ] {
            assert_eq!(redact_addresses(text), text);
        }
    }
}
