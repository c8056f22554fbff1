//! JSON objects with long strings, which are passed over with vector instructions.
//!
//! serde_json looks at a string eight bytes at a time, which was a fifth of what a megabyte of input
//! costs. Here an object is divided into its members; a long string without escapes is handed on
//! where it stands, and anything else is serde_json's. Whatever is unusual or wrong ends the attempt,
//! and the whole is serde_json's: so what is accepted, and what an error says, is not decided here.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::value::RawValue;
use serde_json::{Error, StreamDeserializer};

use crate::sys::vector;

/// Text below this size is serde_json's at once.
pub(super) const LONG: usize = 4096;
/// Objects in objects that are divided.
const DEPTH: usize = 4;

/// Decodes `text` as [`serde_json::from_str`] does.
///
/// # Errors
/// As there.
pub(super) fn from_str<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    if text.len() >= LONG
        && let Some(members) = Members::of(text)
        && let Ok(value) = Object::decode(members)
    {
        return Ok(value);
    }
    serde_json::from_str(text)
}

/// What divides an object: the text that is left of it.
pub(super) struct Members<'a> {
    rest: &'a str,
    is_first: bool,
    depth: usize,
}

/// This is for serde_json to decide.
#[derive(Debug)]
pub(super) struct Unclear;

impl<'a> Members<'a> {
    /// None if `text` does not begin like an object.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        Self::nested(text, DEPTH)
    }

    fn nested(text: &'a str, depth: usize) -> Option<Self> {
        Some(Self {
            rest: without_blanks(text).strip_prefix('{')?,
            is_first: true,
            depth,
        })
    }

    /// The next member: the JSON of its name, and of its value; none at the end of the object.
    pub(super) fn next(&mut self) -> Result<Option<(&'a str, &'a str)>, Unclear> {
        let mut rest = without_blanks(self.rest);
        let separator = if self.is_first { "" } else { "," };
        if let Some(behind) = rest.strip_prefix('}') {
            self.rest = behind;
            return Ok(None);
        }
        rest = without_blanks(rest.strip_prefix(separator).ok_or(Unclear)?);
        self.is_first = false;
        let (name, rest) = plain_string(rest).ok_or(Unclear)?;
        let rest = without_blanks(rest).strip_prefix(':').ok_or(Unclear)?;
        let rest = without_blanks(rest);
        let (value, rest) = divide(rest, self.depth).ok_or(Unclear)?;
        self.rest = rest;
        Ok(Some((name, value)))
    }

    /// Whether nothing follows the object, whose end was found.
    pub(super) fn is_all(&self) -> bool {
        without_blanks(self.rest).is_empty()
    }
}

/// The value at the start of `text`, and what follows it.
fn divide(text: &str, depth: usize) -> Option<(&str, &str)> {
    if text.starts_with('"') {
        return plain_string(text);
    }
    if text.starts_with('{') && depth > 0 {
        let mut members = Members::nested(text, depth - 1)?;
        while members.next().ok()?.is_some() {}
        return text.split_at_checked(text.len() - members.rest.len());
    }
    let mut values: StreamDeserializer<'_, _, &RawValue> =
        serde_json::Deserializer::from_str(text).into_iter();
    values.next()?.ok()?;
    text.split_at_checked(values.byte_offset())
}

/// The JSON of a string without escapes at the start of `text`, and what follows it.
fn plain_string(text: &str) -> Option<(&str, &str)> {
    let len = vector::plain_len(text.strip_prefix('"')?.as_bytes());
    let (string, rest) = text.split_at_checked(len + 2)?;
    string.ends_with('"').then_some((string, rest))
}

fn without_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

/// What is between the quotation marks of a plain string.
fn content(string: &str) -> Option<&str> {
    string.strip_prefix('"')?.strip_suffix('"')
}

/// An object as serde takes it.
struct Object<'m, 'de> {
    members: &'m mut Members<'de>,
    value: &'de str,
}

impl<'de> Object<'_, 'de> {
    fn decode<T: Deserialize<'de>>(mut members: Members<'de>) -> Result<T, Error> {
        let members = &mut members;
        let decoded = T::deserialize(Object { members, value: "" })?;
        // What does not want all members has not come to the end.
        match members.rest.is_empty() || members.is_all() {
            true => Ok(decoded),
            false => Err(unclear()),
        }
    }
}

fn unclear() -> Error {
    Error::custom("unclear")
}

impl<'de> Deserializer<'de> for Object<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Object<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let next = self.members.next().map_err(|Unclear| unclear())?;
        let Some((name, value)) = next else {
            return Ok(None);
        };
        self.value = value;
        let name = content(name).ok_or_else(unclear)?;
        seed.deserialize(BorrowedStrDeserializer::new(name))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match content(self.value) {
            Some(text) if text.len() >= LONG => seed.deserialize(LongString(text)),
            _ => seed.deserialize(&mut serde_json::Deserializer::from_str(self.value)),
        }
    }
}

/// A string without escapes.
struct LongString<'de>(&'de str);

impl<'de> Deserializer<'de> for LongString<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::Value;

    use super::*;
    use crate::rpc::methods::fs::WriteFileParams;
    use crate::rpc::methods::process::WriteParams;

    fn long() -> String {
        "QUJD".repeat(LONG)
    }

    /// What both say of a text: the value, or the error.
    fn both<'a, T: Deserialize<'a> + std::fmt::Debug>(text: &'a str) -> (String, String) {
        let show = |it: Result<T, Error>| match it {
            Ok(value) => format!("{value:?}"),
            Err(error) => error.to_string(),
        };
        (show(from_str(text)), show(serde_json::from_str(text)))
    }

    #[test]
    fn a_long_string_is_borrowed_and_the_rest_is_as_ever() {
        let text = format!(
            " {{ \"chunk\" :\t\"{}\" , \"more\":[1,{{}},\"]\"],\"processId\":\"a\",\"writeId\":null}}\n",
            long()
        );
        let write: WriteParams<'_> = Object::decode(Members::of(&text).unwrap()).unwrap();
        assert!(matches!(write.chunk, Cow::Borrowed(chunk) if chunk == long()));
        assert_eq!((&*write.process_id, write.write_id), ("a", None));

        let text = format!(
            r#"{{"dataBase64":"{}","path":"/x","sandbox":{{"a":[{{}}]}},"overwrite":true}}"#,
            long()
        );
        let write: WriteFileParams<'_> = Object::decode(Members::of(&text).unwrap()).unwrap();
        assert_eq!(write.data_base64, long());
        assert_eq!(write.sandbox.unwrap().get(), r#"{"a":[{}]}"#);
        assert_eq!(write.overwrite, Some(true));
    }

    #[test]
    fn what_is_accepted_and_what_is_said_is_serde_json_s() {
        let long = long();
        for frame in [
            r#"{"processId":"p","chunk":"@"}"#,
            r#"{"processId":"p","chunk":"@","writeId":"@"}"#,
            r#"{"processId":"p","chunk":"@","chunk":"@"}"#,
            r#"{"processId":"p","chunk":"@","x":{"a":{"b":{"c":{"d":{"e":"@"}}}}}}"#,
            r#"{"processId":"p","chunk":"@","x":-1.5e3,"y":[],"z":{}}"#,
            r#"{"processId":"p","ch\u0075nk":"@"}"#,
            r#"{"processId":"p","chunk":"@\n"}"#,
            r#"{"processId":"p","chunk":"@ü@"}"#,
            "{\"processId\":\"p\",\"chunk\":\"@\n\"}",
            "{\"processId\":\"p\",\"chunk\":\"@\u{c}\"}",
            "\u{c}{\"processId\":\"p\",\"chunk\":\"@\"}",
            r#"{"processId":"p","chunk":"@"}}"#,
            r#"{"processId":"p","chunk":"@"} x"#,
            r#"{"processId":"p","chunk":"@",}"#,
            r#"{,"processId":"p","chunk":"@"}"#,
            r#"{"processId":"p" "chunk":"@"}"#,
            r#"{"processId":"p","chunk":"@""#,
            r#"{"processId":"p","chunk":"@"#,
            r#"{"processId":"p","chunk":"#,
            r#"{"chunk":"@"}"#,
            r#"{"processId":7,"chunk":"@"}"#,
            r#"{"processId":"p","chunk":["@"]}"#,
            r#"{"processId":"p","chunk":"@","writeId":01}"#,
            r#"{"processId":"p","chunk":"@","x":nul}"#,
            r#"{"processId":"p","chunk":"@","x":tru"#,
            r#"{"processId":"p","chunk":"@","x":1"#,
            r#"["p","@"]"#,
            r#"["p","@",1,2]"#,
            r#""@""#,
        ] {
            let text = frame.replace('@', &long);
            let (ours, theirs) = both::<WriteParams<'_>>(&text);
            assert_eq!(ours, theirs, "{frame}");
            let (ours, theirs) = both::<Value>(&text);
            assert_eq!(ours, theirs, "{frame}");
            let (ours, theirs) = both::<Option<WriteParams<'_>>>(&text);
            assert_eq!(ours, theirs, "{frame}");
            let (ours, theirs) = both::<&RawValue>(&text);
            assert_eq!(ours, theirs, "{frame}");
        }
    }
}
