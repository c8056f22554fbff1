//! Parameters that are read up to a bound, so that a message never becomes many times its own size
//! in memory: a million empty strings are 3 MB of text, and 40 MB once they are built.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::{ErrorKind, RpcError};
use super::message::without_position;
use crate::memory::{Kind, Reserved, UNCOUNTED};

/// The most arguments, variables or patterns of a request, each kind for itself.
pub const MAX_TEXTS: usize = 128 * 1024;
/// Their bytes together: what Linux gives a program at most of both arguments and variables.
pub const MAX_TEXT_BYTES: usize = 6 * 1024 * 1024;
/// The most bytes of JSON of an object that is small where it makes sense.
pub const MAX_OBJECT: usize = 64 * 1024;

/// Parameters of at most so many bytes need no room in the server's memory.
const LITTLE: usize = UNCOUNTED / 4;
/// What a string takes besides its bytes, about.
const STRING: usize = 64;

/// How much memory is taken by what is made of parameters, at most, about: bytes that are decoded,
/// strings that are copied, of which each is a piece of its own, and what the decoder makes of
/// escapes.
pub fn weight(params: &str) -> usize {
    let (text, len) = (params.as_bytes(), params.len());
    if len <= LITTLE {
        return len;
    }
    let strings = memchr::memchr_iter(b'"', text).count() / 2;
    let unescaped = memchr::memchr(b'\\', text).map_or(0, |_| 2 * len);
    // No request has more than two full lists of them.
    len + strings.min(2 * MAX_TEXTS) * STRING + unescaped
}

/// Room for what is made of the parameters of a request, to be had before they are decoded.
///
/// # Errors
/// There is none now.
pub fn room(params: Option<&str>) -> Result<Reserved, RpcError> {
    let mut room = Reserved::none(Kind::Requests);
    let params = params.unwrap_or_default();
    if params.len() > LITTLE && !room.set(weight(params)) {
        let message = format!(
            "there is no memory now for what {} bytes of parameters become; try again later",
            params.len()
        );
        return Err(RpcError::new(ErrorKind::Busy, message));
    }
    Ok(room)
}

/// Reads the list of texts that is the member `name`.
pub(super) fn texts<'de, D: Deserializer<'de>>(
    from: D,
    name: &'static str,
) -> Result<Vec<String>, D::Error> {
    from.deserialize_seq(List(Room::of(name)))
}

/// Reads the map of texts that is the member `name`.
pub(super) fn variables<'de, D: Deserializer<'de>>(
    from: D,
    name: &'static str,
) -> Result<BTreeMap<String, String>, D::Error> {
    from.deserialize_map(Map(Room::of(name)))
}

/// Reads the member `name`, of at most [`MAX_OBJECT`] bytes.
pub(super) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
    name: &str,
) -> Result<T, D::Error> {
    let json = <&RawValue>::deserialize(from)?.get();
    if json.len() > MAX_OBJECT {
        return Err(D::Error::custom(format_args!(
            "{name} has {} bytes, more than {MAX_OBJECT}",
            json.len()
        )));
    }
    serde_json::from_str(json)
        .map_err(|error| D::Error::custom(without_position(&error.to_string())))
}

/// Reads a list of which no more than `MOST` and one are kept, however many come: one more tells
/// that there were too many.
pub(super) fn at_most<'de, const MOST: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Beginning<const MOST: usize, T>(PhantomData<T>);

    impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for Beginning<MOST, T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a sequence")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut kept = Vec::new();
            while kept.len() <= MOST {
                match list.next_element()? {
                    Some(item) => kept.push(item),
                    None => return Ok(kept),
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(kept)
        }
    }

    deserializer.deserialize_seq(Beginning::<MOST, T>(PhantomData))
}

/// How much more a member may have.
struct Room {
    name: &'static str,
    texts: usize,
    bytes: usize,
}

impl Room {
    fn of(name: &'static str) -> Self {
        Self {
            name,
            texts: MAX_TEXTS,
            bytes: MAX_TEXT_BYTES,
        }
    }

    fn take<E: Error>(&mut self, text: &str) -> Result<(), E> {
        let left = (
            self.texts.checked_sub(1),
            self.bytes.checked_sub(text.len()),
        );
        let (Some(texts), Some(bytes)) = left else {
            return Err(E::custom(format_args!(
                "{} has more than {MAX_TEXTS} strings or {MAX_TEXT_BYTES} bytes",
                self.name
            )));
        };
        (self.texts, self.bytes) = (texts, bytes);
        Ok(())
    }
}

/// One text, which is copied only if there is room.
struct Text<'r>(&'r mut Room);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        self.0.take(text)?;
        Ok(text.to_owned())
    }
}

struct List(Room);

impl<'de> Visitor<'de> for List {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element_seed(Text(&mut self.0))? {
            texts.push(text);
        }
        Ok(texts)
    }
}

struct Map(Room);

impl<'de> Visitor<'de> for Map {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut texts = BTreeMap::new();
        while let Some(name) = map.next_key_seed(Text(&mut self.0))? {
            texts.insert(name, map.next_value_seed(Text(&mut self.0))?);
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::methods::process::{EnvPolicy, StartParams};

    fn start(members: &str) -> Result<(), String> {
        let text = format!(r#"{{"processId":"p",{members}}}"#);
        let started: Result<StartParams<'_>, _> = serde_json::from_str(&text);
        started
            .map(|_| ())
            .map_err(|error| without_position(&error.to_string()).to_owned())
    }

    #[test]
    fn a_list_may_have_the_most_texts_and_not_one_more() {
        let argv = |count: usize| start(&format!(r#""argv":[{}"a"]"#, r#""a","#.repeat(count - 1)));
        assert_eq!(argv(MAX_TEXTS), Ok(()));
        assert_eq!(
            argv(MAX_TEXTS + 1).unwrap_err(),
            "argv has more than 131072 strings or 6291456 bytes"
        );
    }

    #[test]
    fn the_bytes_of_a_map_count_with_its_keys() {
        let env = |len: usize| start(&format!(r#""argv":[],"env":{{"k":"{}"}}"#, "v".repeat(len)));
        assert_eq!(env(MAX_TEXT_BYTES - 1), Ok(()));
        assert!(env(MAX_TEXT_BYTES).unwrap_err().starts_with("env has more"));
        let set = format!(r#"{{"set":{{"{}":""}}}}"#, "k".repeat(MAX_TEXT_BYTES + 1));
        let policy: Result<EnvPolicy, _> = serde_json::from_str(&set);
        assert!(
            policy
                .unwrap_err()
                .to_string()
                .starts_with("envPolicy.set has")
        );
    }

    #[test]
    fn what_is_of_another_type_is_told_in_the_same_words() {
        let error = start(r#""argv":[1]"#).unwrap_err();
        assert_eq!(error, "invalid type: integer `1`, expected a string");
        let error = start(r#""argv":{}"#).unwrap_err();
        assert_eq!(error, "invalid type: map, expected a sequence");
        let error = start(r#""argv":[],"env":null"#).unwrap_err();
        assert_eq!(error, "invalid type: null, expected a map");
        assert_eq!(start("").unwrap_err(), "trailing comma");
    }

    #[test]
    fn a_small_object_is_no_place_for_much() {
        let limits = format!(
            r#""argv":[],"rlimits":{{{}"b":1}}"#,
            r#""a":1,"#.repeat(20_000)
        );
        let error = start(&limits).unwrap_err();
        assert_eq!(error, "rlimits has 120007 bytes, more than 65536");
    }
}
