//! The envelope of a message, borrowed from the text it came in.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::{RpcError, shortened};
use super::members::{self, LONG, Members};
use super::methods::Method;

/// The id that answers a message whose own id could not be told.
pub const UNKNOWN_ID: RequestId<'static> = RequestId("-1");

/// The longest id, in bytes of JSON: it is held and echoed.
const LONGEST_ID: usize = 1024;

/// The longest text of a method, in bytes of JSON, that is looked through for escapes.
const LONGEST_METHOD: usize = 1024;

/// A request's id as it was written: an integer or a string. Echoed unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId<'a>(&'a str);

impl<'a> RequestId<'a> {
    fn parse(raw: &'a str) -> Option<Self> {
        let is_legal = raw.starts_with('"') || raw.parse::<i64>().is_ok();
        is_legal.then_some(Self(raw))
    }

    /// A copy that outlives the message.
    pub fn to_owned(self) -> OwnedRequestId {
        OwnedRequestId(self.0.into())
    }

    /// Its JSON.
    pub fn as_json(&self) -> &'a str {
        self.0
    }
}

/// A request's id that outlives the message.
#[derive(Clone, Debug)]
pub struct OwnedRequestId(Box<str>);

impl OwnedRequestId {
    /// The id again.
    pub fn borrow(&self) -> RequestId<'_> {
        RequestId(&self.0)
    }
}

/// What a client may send.
#[derive(Debug)]
pub enum Message<'a> {
    /// Wants an answer.
    Request {
        /// To be echoed.
        id: RequestId<'a>,
        /// What to do.
        method: Cow<'a, str>,
        /// With what, as JSON; `None` when left out.
        params: Option<&'a str>,
    },
    /// Wants none.
    Notification {
        /// What happened.
        method: Cow<'a, str>,
    },
    /// An answer to a request of ours. We send none, so it is a stray one.
    Response,
}

impl<'a> Message<'a> {
    /// Decodes the envelope; parameters stay raw. The error says what is
    /// wrong and where, in the words that follow "failed to parse …: ".
    pub fn decode(text: &'a str) -> Result<Self, String> {
        if !text.trim_ascii_start().starts_with('{') {
            return Err(match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => "expected a JSON-RPC object".to_owned(),
                Err(error) => error.to_string(),
            });
        }
        let envelope = match Envelope::divided(text) {
            Some(envelope) => envelope,
            None => serde_json::from_str(text).map_err(|error| error.to_string())?,
        };
        envelope.classify()
    }
}

/// The id of a request of which only the beginning is here; none if it is not in that.
pub fn id_in(head: &[u8]) -> Option<OwnedRequestId> {
    let mut found = None;
    // It ends with an error where the text does, or at the id.
    let mut text = serde_json::Deserializer::from_slice(head);
    let _ = (&mut text).deserialize_map(IdAlone(&mut found));
    let id = RequestId::parse(found?).filter(|id| id.0.len() <= LONGEST_ID)?;
    Some(id.to_owned())
}

/// Looks for the id among the first members.
struct IdAlone<'f, 'a>(&'f mut Option<&'a str>);

impl<'a> Visitor<'a> for IdAlone<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<&RawValue>()? {
            let member = Member::named(name.get());
            if member != Member::Id {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let id = map.next_value::<&RawValue>()?.get();
            // What follows shows that the id is whole.
            map.next_key::<IgnoredAny>()?;
            *self.0 = Some(id);
            break;
        }
        Ok(())
    }
}

/// The members that matter, before their combination is judged.
#[derive(Default)]
struct Envelope<'a> {
    id: Option<&'a str>,
    method: Option<Cow<'a, str>>,
    params: Option<&'a str>,
    is_response: bool,
    seen: [bool; 5],
}

impl<'a> Envelope<'a> {
    /// That of a long message; none where serde_json has to decode it.
    fn divided(text: &'a str) -> Option<Self> {
        if text.len() < LONG {
            return None;
        }
        let mut members = Members::of(text)?;
        let mut envelope = Self::default();
        while let Some((name, value)) = members.next().ok()? {
            let member = envelope.meet::<serde_json::Error>(name).ok()?;
            envelope.add::<serde_json::Error>(member, value).ok()?;
        }
        members.is_all().then_some(envelope)
    }

    /// Takes in the name of a member, as JSON; no other may have it.
    fn meet<E: Error>(&mut self, name: &str) -> Result<Member, E> {
        let member = Member::named(name);
        let seen = self.seen.get_mut(member as usize);
        match seen.is_some_and(|seen| std::mem::replace(seen, true)) {
            true => Err(duplicate(member)),
            false => Ok(member),
        }
    }

    /// Takes in the value of a member, as JSON.
    fn add<E: Error>(&mut self, member: Member, value: &'a str) -> Result<(), E> {
        match member {
            Member::Id => self.id = Some(value),
            Member::Method => self.method = Some(text_of(value)?),
            // Left out and `null` are the same.
            Member::Params => self.params = (value != "null").then_some(value),
            Member::Result | Member::Error => self.is_response = true,
            Member::Other => {}
        }
        Ok(())
    }

    fn classify(self) -> Result<Message<'a>, String> {
        let id = match self.id {
            None => None,
            Some(raw) if raw.len() > LONGEST_ID => {
                return Err(format!(
                    "the id has {} bytes, more than the {LONGEST_ID} that are allowed",
                    raw.len()
                ));
            }
            Some(raw) => Some(RequestId::parse(raw).ok_or_else(|| {
                "data did not match any variant of untagged enum RequestId".to_owned()
            })?),
        };
        match (self.method, id) {
            (Some(method), Some(id)) => Ok(Message::Request {
                id,
                method,
                params: self.params,
            }),
            (Some(method), None) => Ok(Message::Notification { method }),
            (None, _) if self.is_response => Ok(Message::Response),
            (None, Some(_)) => Err("missing field `error`".to_owned()),
            (None, None) => Err("missing field `method`".to_owned()),
        }
    }
}

/// The envelope's member names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Id,
    Method,
    Params,
    Result,
    Error,
    Other,
}

impl Member {
    /// The longest name, in bytes of JSON with every letter escaped and its quotes.
    const LONGEST: usize = 6 * "params".len() + 2;

    /// The member that this JSON string names. A long one is not decoded: that would take a copy.
    fn named(json: &str) -> Self {
        match json {
            "\"id\"" => Self::Id,
            "\"method\"" => Self::Method,
            "\"params\"" => Self::Params,
            "\"result\"" => Self::Result,
            "\"error\"" => Self::Error,
            _ if json.len() > Self::LONGEST || !json.contains('\\') => Self::Other,
            _ => {
                let name: Option<String> = serde_json::from_str(json).ok();
                name.map_or(Self::Other, |name| Self::named(&format!("\"{name}\"")))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON-RPC object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(name) = map.next_key::<&RawValue>()? {
                    let member = envelope.meet(name.get())?;
                    envelope.add(member, map.next_value::<&RawValue>()?.get())?;
                }
                Ok(envelope)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

fn duplicate<E: Error>(member: Member) -> E {
    let name = match member {
        Member::Id => "id",
        Member::Method => "method",
        Member::Params => "params",
        Member::Result => "result",
        Member::Error | Member::Other => "error",
    };
    E::custom(format_args!("duplicate JSON object key `{name}`"))
}

/// The text of a raw JSON string, without a copy where it has no escapes.
fn text_of<E: Error>(raw: &str) -> Result<Cow<'_, str>, E> {
    let inner = raw
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inner {
        // No method's name is so long, however it is written.
        Some(text) if text.len() > LONGEST_METHOD || !text.contains('\\') => {
            Ok(Cow::Borrowed(text))
        }
        Some(_) => serde_json::from_str(raw).map(Cow::Owned).map_err(E::custom),
        None => Err(E::custom("the method must be a string")),
    }
}

/// Decodes a method's parameters; left out and `null` are the same.
///
/// Objects are matched by name with unknown members ignored, arrays by the
/// order of the fields.
pub fn decode_params<'a, T: Deserialize<'a>>(params: Option<&'a str>) -> Result<T, RpcError> {
    serde_json::from_str(params.unwrap_or("null")).map_err(|error| wrong_params(&error))
}

/// The same for those of the method `M`.
pub fn decode_params_of<M: Method>(params: Option<&str>) -> Result<M::Params<'_>, RpcError> {
    match params {
        Some(params) if M::HAS_LONG_TEXT => {
            members::from_str(params).map_err(|error| wrong_params(&error))
        }
        _ => decode_params(params),
    }
}

fn wrong_params(error: &serde_json::Error) -> RpcError {
    RpcError::invalid_params(without_position(&told(error)))
}

/// What an error of the decoder says, which may repeat whatever was sent.
fn told(error: &serde_json::Error) -> String {
    struct Told(String);

    impl fmt::Write for Told {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            self.0.push_str(&shortened(piece));
            Ok(())
        }
    }

    let mut told = Told(String::new());
    // Writing there cannot fail.
    let _ = fmt::Write::write_fmt(&mut told, format_args!("{error}"));
    told.0
}

/// A position inside the parameters would mislead: the client counts from the message's start.
pub(super) fn without_position(message: &str) -> &str {
    match message.rfind(" at line ") {
        Some(end) => &message[..end],
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        Message::decode(text).expect_err(text)
    }

    #[test]
    fn a_request_borrows_its_parts() {
        let text = r#" {"jsonrpc":"2.0","id":"a\n","method":"m","params":{"x":1},"more":[]} "#;
        let Ok(Message::Request { id, method, params }) = Message::decode(text) else {
            panic!("not a request");
        };
        assert_eq!(id.as_json(), r#""a\n""#);
        assert!(matches!(method, Cow::Borrowed("m")));
        assert_eq!(params, Some(r#"{"x":1}"#));
    }

    #[test]
    fn an_escaped_method_name_is_the_same_method() {
        let message = Message::decode(r#"{"id":-5,"method":"process\/start"}"#);
        let Ok(Message::Request { id, method, .. }) = message else {
            panic!("not a request");
        };
        assert_eq!((id.as_json(), &*method), ("-5", "process/start"));
    }

    #[test]
    fn faults_are_named_in_the_reference_s_words() {
        let table = [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{bad", "key must be a string at line 1 column 2"),
            ("[]", "expected a JSON-RPC object"),
            ("42", "expected a JSON-RPC object"),
            (r#"{"id":11}"#, "missing field `error`"),
            (
                r#"{"id":1,"id":2,"method":"x"}"#,
                "duplicate JSON object key `id` at line 1 column 12",
            ),
            (
                r#"{"id":1.5,"method":"x"}"#,
                "data did not match any variant of untagged enum RequestId",
            ),
            (
                r#"{"id":null,"method":"x"}"#,
                "data did not match any variant of untagged enum RequestId",
            ),
            (
                r#"{"id":1,"method":"x"} x"#,
                "trailing characters at line 1 column 23",
            ),
        ];
        for (text, message) in table {
            assert_eq!(error_of(text), message, "{text}");
        }
    }

    #[test]
    fn an_id_that_is_too_long_is_not_taken_and_not_shown() {
        let message = |len: usize| format!(r#"{{"id":"{}","method":"x"}}"#, "i".repeat(len));
        assert!(Message::decode(&message(LONGEST_ID - 2)).is_ok());
        assert_eq!(
            error_of(&message(LONGEST_ID - 1)),
            "the id has 1025 bytes, more than the 1024 that are allowed"
        );
    }

    #[test]
    fn the_id_is_found_in_a_beginning_that_has_all_of_it() {
        let table = [
            (r#"{"id":12,"method":"m","params":{"x":"aaaa"#, Some("12")),
            (r#"{"method":"m","id":"a","params":["#, Some(r#""a""#)),
            (r#"{"params":{"id":5},"id":6,"x"#, None),
            (r#"{"params":{"id":5},"id":6,"x":"#, Some("6")),
            (r#"{"id":12"#, None),
            (r#"{"id":1.5,"x":1"#, None),
            (r#"{"method":"m","params":{"id":5,"#, None),
            ("aaaa", None),
            ("", None),
        ];
        for (head, id) in table {
            let found = id_in(head.as_bytes());
            assert_eq!(found.as_ref().map(|id| id.borrow().0), id, "{head}");
        }
    }

    #[test]
    fn strays_and_notifications_are_told_apart() {
        assert!(matches!(
            Message::decode(r#"{"id":1,"result":null}"#),
            Ok(Message::Response)
        ));
        assert!(matches!(
            Message::decode(r#"{"method":"initialized","params":{}}"#),
            Ok(Message::Notification { .. })
        ));
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let depth = 1_000_000;
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let text =
            format!(r#"{{"id":1,"method":"x","more":{open}{close},"params":{open}{close}}}"#);
        assert!(Message::decode(&text).is_ok());
        assert!(Message::decode(&format!(r#"{{"id":1,"params":{open}"#)).is_err());
    }
}
