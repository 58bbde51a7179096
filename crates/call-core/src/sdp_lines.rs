//! Lines of an SDP with their ends, for code that must put them together again unchanged.

/// Cuts a text into `(line, end)`, where `end` is `\r\n`, `\r`, `\n`, or empty after the last
/// line. Concatenated they are the text. A lone `\r` ends a line too, lest a line hide behind one.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['\r', '\n']).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        let end_len = if tail.starts_with("\r\n") {
            2
        } else {
            tail.len().min(1)
        };
        let (line_end, tail) = tail.split_at(end_len);
        rest = tail;
        Some((line, line_end))
    })
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn every_kind_of_line_end_ends_a_line() {
        let cut: Vec<_> = lines("a\r\nb\nc\rd\r\r\n\ne").collect();
        let expected = [
            ("a", "\r\n"),
            ("b", "\n"),
            ("c", "\r"),
            ("d", "\r"),
            ("", "\r\n"),
            ("", "\n"),
            ("e", ""),
        ];
        assert_eq!(cut, expected);
    }

    proptest::proptest! {
        #[test]
        fn lines_put_together_are_the_text(text in "[\r\nab\u{20ac}]{0,40}") {
            let joined: String = lines(&text).flat_map(|(line, end)| [line, end]).collect();
            proptest::prop_assert_eq!(joined, text);
        }
    }
}
