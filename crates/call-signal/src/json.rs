//! JSON values kept as the text in which they came, and typed reading that never echoes it.

use std::fmt;

use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::error::{FieldError, FieldFault};

/// One JSON value as text, byte for byte as it was sent or received, without white space around.
#[derive(Clone, PartialEq, Eq)]
pub struct RawJson(Box<str>);

impl RawJson {
    /// Checks that `text` is one JSON value and keeps it, white space inside included.
    ///
    /// # Errors
    /// If it is not JSON, or something follows the value.
    pub fn parse(text: &str) -> Result<Self, NotJson> {
        Ok(Self::from(parse(text)?))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `json` must be one JSON value.
    pub(crate) fn trusted(json: String) -> Self {
        Self(json.into_boxed_str())
    }
}

impl From<&RawValue> for RawJson {
    fn from(value: &RawValue) -> Self {
        Self(value.get().into())
    }
}

impl fmt::Debug for RawJson {
    /// Prints no content: it may hold keys, addresses and what people wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.0.len())
    }
}

/// The text is not one JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not JSON at line {line}, column {column}")]
pub struct NotJson {
    /// Line of the first fault, from 1.
    pub line: usize,
    /// Column in that line in bytes, from 1; 0 where the line has just begun.
    pub column: usize,
}

/// One JSON value with nothing behind it.
pub(crate) fn parse(text: &str) -> Result<&RawValue, NotJson> {
    serde_json::from_str(text).map_err(|error| NotJson {
        line: error.line(),
        column: error.column(),
    })
}

/// Reads the fields of an object; `T` derives [`Deserialize`] and its fields are `Option<&RawValue>`.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a RawValue) -> Result<T, FieldFault> {
    // A derived struct would take an array as well, by position.
    if !json.get().starts_with('{') {
        return Err(FieldFault::NotAnObject);
    }
    serde_json::from_str(json.get()).map_err(|error| match error.classify() {
        Category::Data => FieldFault::DuplicateKey,
        Category::Io | Category::Syntax | Category::Eof => FieldFault::NotUnicode,
    })
}

pub(crate) fn text(json: &RawValue) -> Result<String, FieldFault> {
    if !json.get().starts_with('"') {
        return Err(FieldFault::NotAString);
    }
    serde_json::from_str(json.get()).map_err(|_| FieldFault::NotUnicode)
}

pub(crate) fn boolean(json: &RawValue) -> Result<bool, FieldFault> {
    match json.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(FieldFault::NotABoolean),
    }
}

pub(crate) fn number(json: &RawValue) -> Result<u16, FieldFault> {
    json.get().parse().map_err(|_| FieldFault::NotANumber)
}

/// A whole number with or without sign.
pub(crate) fn integer(json: &RawValue) -> Result<i64, FieldFault> {
    json.get().parse().map_err(|_| FieldFault::NotAnInteger)
}

/// Reads a required field.
pub(crate) fn read<T, E: Into<FieldError>>(
    field: Option<&RawValue>,
    name: &str,
    read: impl FnOnce(&RawValue) -> Result<T, E>,
) -> Result<T, FieldError> {
    required(field)
        .map_err(FieldError::from)
        .and_then(|json| read(json).map_err(Into::into))
        .at(name)
}

/// Reads a field that may be absent.
pub(crate) fn optional<T, E: Into<FieldError>>(
    field: Option<&RawValue>,
    name: &str,
    read: impl FnOnce(&RawValue) -> Result<T, E>,
) -> Result<Option<T>, FieldError> {
    field.map(read).transpose().at(name)
}

/// What a required field says.
pub(crate) fn required(field: Option<&RawValue>) -> Result<&RawValue, FieldFault> {
    field.ok_or(FieldFault::Missing)
}

/// The first elements of a JSON array and how it went on.
pub(crate) struct Elements<'a> {
    pub(crate) items: Vec<&'a RawValue>,
    pub(crate) end: ArrayEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArrayEnd {
    /// The array held these elements and no more.
    Complete,
    /// It had at least one more; the rest was not looked at.
    More,
    /// What follows these elements is not JSON.
    Broken(NotJson),
}

/// At most `limit` elements of the array `text`.
pub(crate) fn elements(text: &str, limit: usize) -> Result<Elements<'_>, FieldFault> {
    if !text.trim_ascii_start().starts_with('[') {
        return Err(FieldFault::NotAnArray);
    }
    let mut collector = Collector {
        items: Vec::new(),
        limit,
        more: false,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = serde::Deserializer::deserialize_seq(&mut deserializer, &mut collector)
        .and_then(|()| deserializer.end());
    let end = match read {
        _ if collector.more => ArrayEnd::More,
        Ok(()) => ArrayEnd::Complete,
        Err(error) => ArrayEnd::Broken(NotJson {
            line: error.line(),
            column: error.column(),
        }),
    };
    Ok(Elements {
        items: collector.items,
        end,
    })
}

/// Keeps what it has collected when the text turns out to be broken further on.
struct Collector<'a> {
    items: Vec<&'a RawValue>,
    limit: usize,
    more: bool,
}

impl<'de> Visitor<'de> for &mut Collector<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element()? {
            if self.items.len() == self.limit {
                self.more = true;
                break;
            }
            self.items.push(item);
        }
        Ok(())
    }
}

/// Names the field in which a fault was found.
pub(crate) trait At<T> {
    fn at(self, field: &str) -> Result<T, FieldError>;
}

impl<T, E: Into<FieldError>> At<T> for Result<T, E> {
    fn at(self, field: &str) -> Result<T, FieldError> {
        self.map_err(|error| error.into().within(field))
    }
}

/// Writes an object without white space; its keys come in the order in which they are added.
#[derive(Default)]
pub(crate) struct ObjectWriter {
    members: String,
}

impl ObjectWriter {
    pub(crate) fn raw(&mut self, key: &str, json: &str) -> &mut Self {
        if !self.members.is_empty() {
            self.members.push(',');
        }
        self.members.push_str(&quoted(key));
        self.members.push(':');
        self.members.push_str(json);
        self
    }

    pub(crate) fn text(&mut self, key: &str, text: &str) -> &mut Self {
        self.raw(key, &quoted(text))
    }

    /// Leaves the key out where there is no text.
    pub(crate) fn optional_text(&mut self, key: &str, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(key, text),
            None => self,
        }
    }

    /// Leaves the key out where there is no value.
    pub(crate) fn optional_raw(&mut self, key: &str, json: Option<&str>) -> &mut Self {
        match json {
            Some(json) => self.raw(key, json),
            None => self,
        }
    }

    /// Leaves the key out where it would be false.
    pub(crate) fn flag(&mut self, key: &str, value: bool) -> &mut Self {
        self.optional_raw(key, value.then_some("true"))
    }

    pub(crate) fn finish_json(&mut self) -> RawJson {
        RawJson::trusted(self.finish())
    }

    pub(crate) fn finish(&mut self) -> String {
        format!("{{{}}}", std::mem::take(&mut self.members))
    }
}

/// A JSON string with the escapes that `JSON.stringify` uses.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Pair<'a> {
        #[serde(borrow)]
        a: Option<&'a RawValue>,
    }

    fn pair(json: &str) -> Result<Option<&str>, FieldFault> {
        object::<Pair<'_>>(parse(json).unwrap()).map(|pair| pair.a.map(RawValue::get))
    }

    #[test]
    fn null_counts_as_absent() {
        assert_eq!(pair(r#"{"a":null}"#), Ok(None));
        assert_eq!(pair("{}"), Ok(None));
    }

    #[test]
    fn a_value_keeps_its_white_space_and_unknown_keys_are_ignored() {
        assert_eq!(pair(r#"{"b":1,"a": [ 1 ] ,"b":2}"#), Ok(Some("[ 1 ]")));
    }

    #[test]
    fn an_array_is_not_taken_for_an_object() {
        assert_eq!(pair("[1]"), Err(FieldFault::NotAnObject));
    }

    #[test]
    fn a_known_key_may_not_come_twice() {
        assert_eq!(pair(r#"{"a":1,"a":2}"#), Err(FieldFault::DuplicateKey));
    }

    #[test]
    fn numbers_are_plain_digits() {
        for (json, number_expected) in [("0", Some(0)), ("65535", Some(65535)), ("65536", None)] {
            assert_eq!(number(parse(json).unwrap()).ok(), number_expected);
        }
        for json in ["-1", "1.0", "1e1", "\"1\"", "true", "[1]"] {
            assert_eq!(number(parse(json).unwrap()), Err(FieldFault::NotANumber));
        }
    }

    #[test]
    fn integers_may_be_negative() {
        for (json, expected) in [
            ("0", Some(0)),
            ("-5", Some(-5)),
            ("9223372036854775808", None),
        ] {
            assert_eq!(integer(parse(json).unwrap()).ok(), expected);
        }
        for json in ["1.0", "1e1", "\"1\"", "true", "[1]"] {
            assert_eq!(integer(parse(json).unwrap()), Err(FieldFault::NotAnInteger));
        }
    }

    #[test]
    fn a_lone_surrogate_is_no_text() {
        assert_eq!(
            text(parse(r#""\ud83d""#).unwrap()),
            Err(FieldFault::NotUnicode)
        );
    }

    #[test]
    fn elements_stop_at_the_limit_without_reading_on() {
        let few = elements("[1,2,3 nonsense", 2).unwrap();
        assert_eq!((few.items.len(), few.end), (2, ArrayEnd::More));
    }

    #[test]
    fn elements_before_a_fault_are_kept() {
        let few = elements("[1,2,{\"a", 9).unwrap();
        assert_eq!(few.items.len(), 2);
        assert!(matches!(few.end, ArrayEnd::Broken(_)));
        assert!(matches!(
            elements("[1] 2", 9).unwrap().end,
            ArrayEnd::Broken(_)
        ));
        assert_eq!(elements(" [ 1 , 2 ] ", 9).unwrap().end, ArrayEnd::Complete);
    }

    #[test]
    fn strings_are_escaped_as_browsers_do() {
        assert_eq!(
            quoted("\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}é\u{2028}"),
            "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\u{7f}é\u{2028}\"",
        );
    }

    #[test]
    fn nesting_deeper_than_any_stack_is_harmless() {
        let deep = "[".repeat(60_000) + &"]".repeat(60_000);
        assert_eq!(RawJson::parse(&deep).unwrap().as_str(), deep);
        assert_eq!(elements(&deep, 1).unwrap().items.len(), 1);
    }
}
